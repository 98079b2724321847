package delivery

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of spooled deliveries.
const (
	// CodeNoJobs is the code of a request that would become a job, where none can be made.
	CodeNoJobs = "delivery.jobs_not_available"
	// CodeInternal is the code of a defect in what a delivery was given.
	CodeInternal = "delivery.internal"
)

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

// Job is what takes a run over in its middle. Its methods are called by one goroutine each at a time, Event and the
// others perhaps at once.
type Job interface {
	// Sink is opened, given all bytes from the first on, and hears Commit or Abort, Abort also when it was not opened.
	Sink() engine.Sink
	// Event hears the events of the run from then on. What the source said of its rows before (engine.Opened) comes first.
	Event(engine.Event)
	// Gate is asked right before the commit, after that of Spooled.Options.
	Gate(ctx context.Context, soFar *engine.Receipt) error
	// Context ends when the run is to end for the job's own reasons; its cause is the error of the run then.
	Context() context.Context
	// End is told what has become of the run, once, as the last call of all.
	End(ctx context.Context, receipt *engine.Receipt, err error)
}

// Switch makes a request a job, which takes its run over. It is called once at most for a request, before any byte was
// sent. Its error ends the run and is its error.
//
// With ReasonLoad there is no run: the admission has refused it. Then no Job is returned.
type Switch func(ctx context.Context, reason Reason) (Job, error)

// NoJobs is the Switch of a service that has no jobs.
func NoJobs(_ context.Context, reason Reason) (Job, error) {
	return nil, fault.New(CodeNoJobs, fault.Usage, "the request would become a job (%s), and there are none here", reason).
		WithHint("ask for less, or for a stream")
}

// Limits is how large an answer may become, and how long it may take, before the request becomes a job. 0 is none.
type Limits struct {
	Rows int64
	// Bytes are those that the encoder makes, before compression and encryption.
	Bytes int64
	// Time counts from the start of the request to the end of the run.
	Time time.Duration
}

// AutoLimits are those of the mode auto.
var AutoLimits = Limits{Rows: 100_000, Bytes: 50_000_000, Time: 25 * time.Second}

// exceeded is the limit that an answer has passed; empty when it has not.
func (l Limits) exceeded(rows, bytes int64) Reason {
	switch {
	case l.Rows > 0 && rows > l.Rows:
		return ReasonRows
	case l.Bytes > 0 && bytes > l.Bytes:
		return ReasonSize
	}
	return ""
}

// Spooled keeps the output of a run until it is whole.
type Spooled struct {
	// Spool is empty, and belongs to the run from then on: it is closed, but that of an answer by whoever gets that.
	Spool *spool.Spool
	// Options are those of the run; the events and the gate in them are kept. The gate is asked after it was decided
	// where the output goes.
	Options engine.RunOptions
	// Limits and Switch are those of the mode auto; without a Switch there is no limit but the spool's, and a run that the
	// admission refuses is refused.
	Limits Limits
	Switch Switch
	// Started is when the request came. Default now.
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

// Run runs until there is an answer, the run has failed, or it goes on as a job: then it does so after Run has returned, and
// its end is told to the job. The error is that of the run or of Switch. When ctx ends, so does the run, unless it is a job.
func (s Spooled) Run(ctx context.Context, run Run) (Answer, error) {
	running, end := context.WithCancelCause(context.WithoutCancel(ctx))
	d := &spooledSink{Spooled: s, end: end, turn: newTurn(), exceeded: make(chan Reason, 1), handed: make(chan struct{})}
	d.detach = context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	ended := make(chan Answer, 1)
	var failed error
	go func() {
		defer end(nil)
		var a Answer
		a, failed = d.run(running, run)
		ended <- a
	}()
	select {
	case a := <-ended:
		return a, failed
	case <-d.handed:
		return Answer{Switched: d.switched}, nil
	}
}

// spooledSink is the sink of a Spooled: the spool, or what has taken over. Whoever has the turn may use both, and decides which.
type spooledSink struct {
	Spooled
	end    context.CancelCauseFunc // ends the run
	detach func() bool             // lets it go on without the client
	turn
	exceeded chan Reason   // by what the events say
	handed   chan struct{} // closed when the run goes on as a job; switched is set then

	// Of whoever has the turn.
	object   engine.Object
	opened   bool
	decided  bool // it is an answer
	switched Reason
	job      Job         // nil before
	next     engine.Sink // of the job; nil before
	failed   error       // of the switch
	// release lets the run go on when the context of the job ends.
	release func() bool

	hearing sync.Mutex     // guards what follows
	hears   Job            // who hears the events; nil before
	source  *engine.Opened // for who hears them later
}

// run runs, watches the limits meanwhile, and looks what has become of it.
func (d *spooledSink) run(ctx context.Context, run Run) (Answer, error) {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch(watching)
	}()
	receipt, err := d.guarded(ctx, run)
	stop()
	<-watched
	d.detach()
	switch {
	case d.failed != nil && (err == nil || errors.Is(err, d.failed) || errors.Is(context.Cause(ctx), d.failed)):
		err = d.failed // and not what it has led to, nor what came before it
	case d.next == nil && d.Switch != nil && (fault.Is(err, admission.CodeStreamsBusy) || fault.Is(err, admission.CodeLoaded)):
		if _, err = d.Switch(ctx, ReasonLoad); err == nil {
			d.Spool.Close()
			return Answer{Switched: ReasonLoad}, nil
		}
	case err == nil && d.next == nil:
		return Answer{Receipt: receipt, Object: d.object, Spool: d.Spool}, nil
	}
	d.Spool.Close()
	if d.next == nil {
		return Answer{Receipt: receipt}, err
	}
	d.release()
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		// It may not have been opened, and nobody else would tell it.
		if aborted := d.next.Abort(ctx); aborted != nil {
			d.log("the sink of the job could not be aborted", "error", aborted.Error())
		}
	}
	d.job.End(ctx, receipt, err)
	return Answer{Switched: d.switched}, nil // as Run has said, or is about to say
}

// guarded runs. A panic must not end the process here, in a goroutine of nobody else.
func (d *spooledSink) guarded(ctx context.Context, run Run) (receipt *engine.Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			d.log("the run panicked", "stack", string(debug.Stack()))
			err = fault.New(CodeInternal, fault.Internal, "the run panicked with %T", v)
		}
	}()
	options := d.Options
	options.Events, options.BeforeCommit = d.event, d.beforeCommit
	return run(ctx, d, options)
}

// log tells whoever has listened to the run, which has returned.
func (d *spooledSink) log(message, name, value string) {
	if d.Options.Events != nil {
		d.Options.Events(engine.LogLine{Level: int(slog.LevelError), Message: message, Attributes: map[string]string{name: value}})
	}
}

// watch makes the request a job when the first limit is passed, until ctx ends.
func (d *spooledSink) watch(ctx context.Context) {
	if d.Switch == nil {
		return
	}
	var late <-chan time.Time
	if d.Limits.Time > 0 {
		if d.Started.IsZero() {
			d.Started = time.Now()
		}
		timer := time.NewTimer(time.Until(d.Started.Add(d.Limits.Time)))
		defer timer.Stop()
		late = timer.C
	}
	reason := ReasonTime
	select {
	case <-late:
	case reason = <-d.exceeded:
	case <-ctx.Done():
		return
	}
	if err := d.switchTo(ctx, reason); err != nil && ctx.Err() == nil {
		d.end(err) // otherwise the run has ended by itself
	}
}

// event looks at the progress.
func (d *spooledSink) event(e engine.Event) {
	if p, ok := e.(engine.Progress); ok {
		if reason := d.Limits.exceeded(p.EncodedRows, p.EncodedBytes); reason != "" {
			select {
			case d.exceeded <- reason:
			default:
			}
		}
	}
	d.tell(e)
	if d.Options.Events != nil {
		d.Options.Events(e)
	}
}

// tell gives an event to the job, or keeps it for one.
func (d *spooledSink) tell(e engine.Event) {
	d.hearing.Lock()
	defer d.hearing.Unlock()
	if opened, ok := e.(engine.Opened); ok {
		d.source = &opened
	}
	if d.hears != nil {
		d.hears.Event(e)
	}
}

// listen lets the job hear the events.
func (d *spooledSink) listen(job Job) {
	d.hearing.Lock()
	defer d.hearing.Unlock()
	if d.hears = job; d.source != nil {
		job.Event(*d.source)
	}
}

// switchTo makes the request a job, unless it is one, or an answer.
func (d *spooledSink) switchTo(ctx context.Context, reason Reason) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	if !d.decided && d.next == nil && d.failed == nil {
		d.failed = d.become(ctx, reason)
	}
	return d.failed
}

// become makes the request a job. A panic must not end the process here either; what it has panicked with may be anything.
func (d *spooledSink) become(ctx context.Context, reason Reason) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(CodeInternal, fault.Internal, "the switch to a job (%s) panicked with %T", reason, v)
		}
	}()
	job, err := d.Switch(ctx, reason)
	if err == nil && job == nil {
		err = fault.New(CodeInternal, fault.Internal, "the request became a job (%s) that does not take over its run", reason)
	}
	if err != nil {
		return err
	}
	d.job, d.next, d.switched = job, job.Sink(), reason
	d.release = context.AfterFunc(job.Context(), func() { d.end(context.Cause(job.Context())) })
	d.listen(job)
	d.detach()
	close(d.handed)
	defer d.Spool.Close()
	if d.opened {
		return d.handOver(ctx)
	}
	return nil
}

// handOver gives the job what is in the spool.
func (d *spooledSink) handOver(ctx context.Context) error {
	if err := d.next.Open(ctx, d.object); err != nil {
		return err
	}
	_, err := d.Spool.WriteTo(sinkWriter{ctx, d.next})
	return err
}

// sinkWriter writes to a sink.
type sinkWriter struct {
	ctx context.Context
	to  engine.Sink
}

func (w sinkWriter) Write(p []byte) (int, error) {
	if err := w.to.Write(w.ctx, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Open keeps the media type, or opens the sink of the job.
func (d *spooledSink) Open(ctx context.Context, o engine.Object) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	d.object, d.opened = o, true
	if d.next != nil {
		return d.next.Open(ctx, o)
	}
	return nil
}

func (d *spooledSink) Write(ctx context.Context, p []byte) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	switch {
	case d.failed != nil:
		return d.failed
	case d.next != nil:
		return d.next.Write(ctx, p)
	}
	_, err := d.Spool.Write(p)
	return err
}

// beforeCommit decides what the output is, now that its size is known exactly, and asks the caller's gate and that of
// the job.
func (d *spooledSink) beforeCommit(ctx context.Context, soFar *engine.Receipt) error {
	// Where no encoder says what it has made, it is what was delivered.
	job, err := d.decide(ctx, d.Limits.exceeded(soFar.Rows, cmp.Or(soFar.EncodedBytes, soFar.Bytes)))
	if err == nil && d.Options.BeforeCommit != nil {
		err = d.Options.BeforeCommit(ctx, soFar)
	}
	if err != nil || job == nil {
		return err
	}
	return job.Gate(ctx, soFar)
}

// decide makes the output an answer where it has passed no limit, and tells the job that it is otherwise.
func (d *spooledSink) decide(ctx context.Context, reason Reason) (Job, error) {
	if reason != "" && d.Switch != nil {
		if err := d.switchTo(ctx, reason); err != nil {
			return nil, err
		}
	}
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	defer d.give()
	d.decided = d.job == nil
	return d.job, d.failed
}

// Commit commits the sink of the job. A spool is whole as it is.
func (d *spooledSink) Commit(ctx context.Context) (engine.Delivery, error) {
	if err := d.take(ctx); err != nil {
		return engine.Delivery{}, err
	}
	defer d.give()
	if d.next != nil {
		return d.next.Commit(ctx)
	}
	return engine.Delivery{Bytes: d.Spool.Size(), SHA256: sumOf(d.Spool), Location: location}, nil
}

// Abort aborts the sink of the job. A spool is closed when the run is over.
func (d *spooledSink) Abort(ctx context.Context) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	if d.next != nil {
		return d.next.Abort(ctx)
	}
	return nil
}

// sumOf is the digest of a spool in hexadecimal.
func sumOf(s *spool.Spool) string {
	sum := s.SHA256()
	return hex.EncodeToString(sum[:])
}

// Send sends an answer, with what it is in its header. It may be called any number of times, at once too. After an error the
// response was cut, if it had begun; also when ctx has ended.
func (a Answer) Send(ctx context.Context, to Response) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	tail := Tail{Rows: a.Receipt.Rows, SHA256: sumOf(a.Spool)}
	body, err := to.Begin(Head{RunID: a.Object.RunID, Media: a.Object.Media, Length: a.Spool.Size(), Rows: tail.Rows, SHA256: tail.SHA256})
	if err == nil {
		err = a.copy(ctx, body, to)
	}
	if err == nil {
		err = to.Finish(tail)
	}
	if err == nil {
		return nil
	}
	to.Cut()
	if fault.Is(err, spool.CodeCorrupt) || fault.Is(err, spool.CodeIO) || fault.Is(err, spool.CodeClosed) {
		return fmt.Errorf("while the answer was sent: %w", err)
	}
	return gone(err)
}

// copy writes the body, and gives up when ctx ends.
func (a Answer) copy(ctx context.Context, body Body, to Response) error {
	defer cutAt(ctx, to)()
	if _, err := a.Spool.WriteTo(body); err != nil {
		return err
	}
	return body.Flush()
}
