// Package delivery brings the output of a run to whoever asked for it: as it comes (Direct), or when it is whole
// (Spooled), and decides on the way whether a request becomes a job. It owns that decision, the digest and the end of
// an answer: one that is not whole never looks whole. It does not know HTTP: a Response stands for it.
package delivery

import (
	"context"
	"io"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of deliveries.
const (
	// CodeClientGone is the code of a client that does not take what it has asked for.
	CodeClientGone = "delivery.client_gone"
	// CodeNoJobs is the code of a request that would become a job, where none can be made.
	CodeNoJobs = "delivery.jobs_not_available"
)

// Response is where an answer goes. Its methods are called one after another, but for Cut.
type Response interface {
	// Begin sends the status and the header. It is called once, before everything else, and not at all for a run that
	// fails before its first byte: whoever asked can be told why.
	Begin(Head) (Body, error)
	// Finish ends an answer that is whole, with the trailers that are in Tail.
	Finish(Tail) error
	// Cut ends an answer that is not whole so that nobody takes it for whole. It may be called at any time after Begin,
	// from another goroutine while the body is written, and more than once: it makes that write return soon.
	Cut()
}

// Body is the body of a response.
type Body interface {
	io.Writer
	// Flush sends what was written on its way.
	Flush() error
}

// Head is what is known of an answer before its first byte.
type Head struct {
	RunID string
	Media engine.Media
	// Length is how many bytes come, and Rows and SHA256 (hexadecimal, of the bytes as they are sent) what they are. An
	// answer that is sent as it comes has a Length of -1, and the others in its Tail.
	Length int64
	Rows   int64
	SHA256 string
}

// Tail is what is known of an answer that is sent as it comes when it is whole.
type Tail struct {
	Rows   int64
	SHA256 string
}

// Run runs a plan to its end: what (*engine.Engine).Run does, with everything that the run holds, such as memory, taken
// before and given back after.
type Run func(ctx context.Context, sink engine.Sink, options engine.RunOptions) (*engine.Receipt, error)

// Direct sends the output of a run as it comes.
type Direct struct {
	To Response
	// Options are those of the run; the events and the gate in them are kept.
	Options engine.RunOptions
}

// Run runs. The error is that of the run, after which the response was cut if it had begun.
func (d Direct) Run(ctx context.Context, run Run) (*engine.Receipt, error) { return nil, nil }

// Reason is why a request that could have been answered with rows becomes a job.
type Reason string

// The reasons; metadata.reason of a job.
const (
	ReasonRequested Reason = "requested"
	ReasonRows      Reason = "rows"
	ReasonSize      Reason = "size"
	ReasonTime      Reason = "time"
	ReasonLoad      Reason = "load"
)

// Switch makes a request a job and returns the sink that takes its run over: it is opened and given all bytes from the
// first on, and the run goes on without the client. It is called once at most for a request, before any byte was sent.
// Its error ends the run and is its error. With ReasonLoad there is no run yet, and no sink is returned.
type Switch func(ctx context.Context, reason Reason) (engine.Sink, error)

// NoJobs is the Switch of a service that has no jobs.
func NoJobs(_ context.Context, reason Reason) (engine.Sink, error) {
	return nil, fault.New(CodeNoJobs, fault.Usage, "the request would become a job (%s), and this service has none", reason)
}

// Limits is how large an answer may become, and how long it may take, before the request becomes a job. 0 is none.
type Limits struct {
	Rows int64
	// Bytes are those that the encoder makes, before compression and encryption.
	Bytes int64
	// Time counts from the start of the request.
	Time time.Duration
}

// AutoLimits are those of the mode auto.
var AutoLimits = Limits{Rows: 100_000, Bytes: 50_000_000, Time: 25 * time.Second}

// Spooled keeps the output of a run until it is whole.
type Spooled struct {
	// Spool is empty, and belongs to the run from then on: it is closed, but that of an answer by whoever gets that.
	Spool   *spool.Spool
	Options engine.RunOptions
	// Limits and Switch are those of the mode auto; without a Switch there is no limit but the spool's.
	Limits Limits
	Switch Switch
	// Started is when the request came.
	Started time.Time
}

// Answer is what became of a spooled run.
type Answer struct {
	// Receipt is that of the run. One that goes on as a job has none yet.
	Receipt *engine.Receipt
	Object  engine.Object
	// Spool holds all bytes; nil when there is no answer.
	Spool *spool.Spool
	// Switched is why the run goes on as a job; empty when it does not.
	Switched Reason
}

// Run runs until there is an answer, the run has failed or goes on as a job. The error is that of the run or of Switch.
func (s Spooled) Run(ctx context.Context, run Run) (Answer, error) { return Answer{}, nil }

// Send sends an answer. It may be called any number of times.
func (a Answer) Send(ctx context.Context, to Response) error { return nil }
