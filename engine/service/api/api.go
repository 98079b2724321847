// Package api is the service's HTTP: the operations, made from the catalogue of pipelines; what a request may say; how an
// answer is sent, and how one that is not whole is kept from looking whole; and the errors, which are one table. It is
// the only package of the service that knows HTTP. It owns no customer, no limit and no record: it asks the interfaces
// below, and runs what was asked for on the engine.
//
// # Where the bytes are in order
//
// The library of operations (huma) routes and describes. Bodies, answers and errors are read and written here:
// its own reading of a body answers a mistake at a time, in an error model of its own, and takes members of JSON that are
// given twice.
package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Engine runs pipelines; *engine.Engine is one.
type Engine interface {
	Names() []string
	Prepare(name string) (*engine.Prepared, diag.List)
	Memory(plan *engine.Plan) int64
	Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error)
}

// Customers says who asks, and what they may have; *customer.Registry is one.
type Customers interface {
	// Authenticate says whose a bearer key is.
	Authenticate(ctx context.Context, bearer string, from netip.Addr) (customer.Principal, error)
	// Customer is a customer that a principal may use for something.
	Customer(ctx context.Context, p customer.Principal, id string, scope customer.Scope) (*customer.Customer, error)
	// Sealing is the key with which the customer's answers are sealed now, for one run.
	Sealing(ctx context.Context, c *customer.Customer) (*customer.Sealing, error)
}

// Admission says who may begin, and when; *admission.Controller is one.
type Admission interface {
	Stream(ctx context.Context, customer string, limit int, memory int64) (release func(), err error)
	// StreamOrJob is Stream of a run that may go on as a job, and is no stream of the customer's then.
	StreamOrJob(ctx context.Context, customer string, limit int, memory int64) (release, becomeJob func(), err error)
	Take(policy admission.Policy, key string) admission.Decision
}

// Requests remembers what became of requests, for a day; the record is one.
type Requests interface {
	BeginRequest(ctx context.Context, r store.Request, audit ...store.Audit) error
	EndRequest(ctx context.Context, r store.Request, audit ...store.Audit) error
	Request(ctx context.Context, customer, id string) (store.Request, error)
}

// Spools makes spools; *spool.Pool is one.
type Spools interface{ New() *spool.Spool }

// Observer is told of every request, for metrics and traces. It may be nil.
type Observer interface {
	// Begin is called when a request has come. The context that it returns is that of the request from then on, and
	// traceparent what its runs are to carry, empty for that of the client.
	Begin(ctx context.Context, r *http.Request) (_ context.Context, traceparent string)
	// Run is called when a request is going to run a procedure; what it returns is told how that goes.
	Run(ctx context.Context, runID, procedure string) RunObserver
	// End is called when the answer has ended.
	End(ctx context.Context, x Exchange)
}

// RunObserver is told of one run. Its methods are called one at a time.
type RunObserver interface {
	// Traceparent is the trace context that the run's stages are given; empty for that of the request.
	Traceparent() string
	// Admitted is called when the run has what it needs, and Event with every event from then on.
	Admitted(plan *engine.Plan)
	Event(engine.Event)
	// End is called when it is over, with the code of the error or none. It may be called again; the first one counts.
	End(code string)
}

// Exchange is a request and what became of it: no row, no key, no value of a field that is free text.
type Exchange struct {
	RequestID string
	// Route is the pattern that the request matched, such as "POST /v1/procedures/patients"; empty is none.
	Route, Method, Proto string
	Status               int
	// Code is the code of the error; of an answer that was cut it is why, beside the status that was sent.
	Code Code
	// Policy is the one whose rate the request went beyond.
	Policy string
	// Cut is true of an answer that was begun and not ended.
	Cut bool
	// Customer and KeyID are empty when nobody was recognised.
	Customer, KeyID  string
	From             netip.Addr
	Procedure, RunID string
	// JobID is the job that the answer is, or is about.
	JobID        string
	Mode, Format string
	// Cached is true of an answer that was kept from an earlier request.
	Cached bool
	// Rows are those of the answer, and Bytes those of its body.
	Rows, Bytes         int64
	Started             time.Time
	FirstByte, Duration time.Duration
}

// Config is what the API is made of. Engine, Customers, Admission, Spools and Requests have to be given.
type Config struct {
	Engine    Engine
	Customers Customers
	Admission Admission
	Spools    Spools
	Requests  Requests
	// Observer is told of every request. Default none.
	Observer Observer
	// Log receives a line for every request. Default nowhere.
	Log *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Servers are the base URLs in the OpenAPI document. Default the one that it is fetched from.
	Servers []string
	// TLS says that clients come by TLS, here or at a proxy: the answers tell them to stay with it.
	TLS bool
	// Version is that of the program.
	Version string
	// Isolation spreads the stages of a run over processes. Default the engine's.
	Isolation engine.Isolation
	// Tuning is what Tune changes.
	Tuning Tuning
	// StreamTimeout is the time limit of a run that is streamed. Default 30 seconds.
	StreamTimeout time.Duration
	// BodyTimeout is how long the body of a request may take. Default 10 seconds.
	BodyTimeout time.Duration
	// Auto are the limits of the mode auto. Default delivery.AutoLimits.
	Auto delivery.Limits
	// Jobs makes and remembers jobs. Default there are none; with them JobRecord and LinkKey have to be given.
	Jobs      Jobs
	JobRecord JobRecord
	// Webhooks, if set, has customers told of what happens. Default nobody is.
	Webhooks *Webhooks
	// Operators do what only operators may. Default nobody does.
	Operators Operators
	// Schedules keeps schedules. Default there are none; they need Jobs and States, which says how far their jobs have
	// come.
	Schedules Schedules
	States    States
	// DataStreams, if set, are the data streams of customers. Default there are none.
	DataStreams DataStreams
	// LinkKey signs the links to objects of buckets that sign none themselves: at least 32 bytes, the same in all processes.
	LinkKey []byte
	// JobsRefused is asked for why no jobs are accepted now, a code, and says nothing where they are. Default they are.
	JobsRefused func() string
	// ReferenceAge is how long a reference list is kept. Default 5 minutes.
	ReferenceAge time.Duration
	// ReferenceBytes is how many bytes of reference lists are kept in all. Default 64 MiB.
	ReferenceBytes int64
	// Metrics, if set, is served at /metrics of Operations.
	Metrics http.Handler
}

// Tuning is what may change while requests are answered.
type Tuning struct {
	// TrustedProxies are the networks whose X-Forwarded-For is believed. Default none.
	TrustedProxies []netip.Prefix
	// RunMemory is the most that may be in flight in a run, in bytes. Default what its pipeline allows.
	RunMemory int64
}

// API serves the operations. It is safe for concurrent use.
type API struct {
	Config
	procedures map[string]*procedure
	names      []string
	mux        *http.ServeMux
	document   []byte // of OpenAPI
	references *references
	waiters    *waiters
	notices    rateNotices
	draining   atomic.Bool
	tuning     atomic.Pointer[Tuning]
}

// New makes an API of a catalogue that has no mistakes.
func New(cfg Config) (*API, error) {
	if cfg.Engine == nil || cfg.Customers == nil || cfg.Admission == nil || cfg.Spools == nil || cfg.Requests == nil {
		return nil, errors.New("api: Engine, Customers, Admission, Spools and Requests have to be given")
	}
	if cfg.Jobs != nil && (cfg.JobRecord == nil || len(cfg.LinkKey) < 32) {
		return nil, errors.New("api: with Jobs, JobRecord and LinkKey of at least 32 bytes have to be given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	cfg.StreamTimeout = cmp.Or(cfg.StreamTimeout, 30*time.Second)
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, 10*time.Second)
	cfg.Auto = cmp.Or(cfg.Auto, delivery.AutoLimits)
	cfg.ReferenceAge = cmp.Or(cfg.ReferenceAge, 5*time.Minute)
	cfg.ReferenceBytes = cmp.Or(cfg.ReferenceBytes, 64<<20)
	a := &API{Config: cfg, mux: http.NewServeMux(), waiters: newWaiters(), notices: rateNotices{next: map[[2]string]time.Time{}}}
	a.Tune(cfg.Tuning)
	var err error
	if a.procedures, a.names, err = loadCatalogue(cfg.Engine); err != nil {
		return nil, err
	}
	a.references = newReferences(cfg.ReferenceAge, cfg.ReferenceBytes, cfg.Now)
	if err := a.register(); err != nil {
		return nil, err
	}
	return a, nil
}

// Tune takes another tuning into effect, for the requests that come from now on.
func (a *API) Tune(to Tuning) { a.tuning.Store(&to) }

// Drain makes the service not ready: whoever spreads requests over services sends it no more. Requests are still answered,
// and those that wait for news of a job are let go.
func (a *API) Drain() {
	a.draining.Store(true)
	a.waiters.drain()
}

// Close forgets the reference lists that are kept, and waits for the runs of those that nobody wants any more. No request may
// run then.
func (a *API) Close() { a.references.close() }

// nobody observes nothing, and noRun nothing of a run.
type (
	nobody struct{}
	noRun  struct{}
)

func (nobody) Begin(ctx context.Context, _ *http.Request) (context.Context, string) { return ctx, "" }
func (nobody) Run(context.Context, string, string) RunObserver                      { return noRun{} }
func (noRun) Traceparent() string                                                   { return "" }
func (noRun) Admitted(*engine.Plan)                                                 {}
func (noRun) Event(engine.Event)                                                    {}
func (nobody) End(context.Context, Exchange)                                        {}
func (noRun) End(string)                                                            {}
