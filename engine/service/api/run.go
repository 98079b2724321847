package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// order is a call of a customer that is going to be run.
type order struct {
	*call
	procedure *procedure
	customer  *customer.Customer
	form      Form
	// state is where a pipeline that keeps state begins; nil is that nobody keeps it.
	state *engine.State
	// key is its Idempotency-Key; empty is none. Release lets it go, where it is not that of a job; nil where there is nothing
	// to let go.
	key     string
	release func()
}

// execution is one run of an order.
type execution struct {
	*order
	asker
	*binding.Bound
	api *API
	// observer is told of the run.
	observer RunObserver
	// request is the record's line, which is there from the moment when the run was admitted; recorded is true from then on,
	// until what became of it was written down. A run that goes on as a job may still wait to be admitted then: nothing is
	// begun that has been answered.
	request  store.Request
	mu       sync.Mutex
	recorded bool
	answered bool
	// isJob is true of a run that goes on as a job, and becomeJob frees its stream once it has one.
	isJob     bool
	becomeJob func()
}

// asker is who has asked for a run: what outlives the exchange, which may end before a run that others wait for as well.
type asker struct {
	ctx                                 context.Context
	requestID, keyID, from, traceparent string
	started                             time.Time
}

func (x *exchange) asker() asker {
	return asker{ctx: x.ctx, requestID: x.info.RequestID, keyID: x.principal.KeyID, from: x.info.From.String(),
		traceparent: x.traceparent, started: x.info.Started}
}

// newExecution is an order with the identifier that its run would have.
func (a *API) newExecution(who asker, o *order) *execution {
	return &execution{order: o, asker: who, api: a, observer: noRun{},
		request: store.Request{ID: who.requestID, RunID: engine.NewRunID(o.procedure.name, who.started), Customer: o.customer.ID, KeyID: who.keyID,
			Procedure: o.procedure.name, Mode: o.mode, Format: o.format, Status: store.Running, StartedAt: who.started}}
}

// prepare binds an order to a run, which is observed. What it takes is given back by close.
func (a *API) prepare(who asker, o *order, timeout time.Duration) (*execution, error) {
	e := a.newExecution(who, o)
	e.observer = a.Observer.Run(who.ctx, e.request.RunID, o.procedure.name)
	if err := e.bind(timeout); err != nil {
		e.observer.End(string(fromError(err).Code))
		return nil, err
	}
	return e, nil
}

func (e *execution) bind(timeout time.Duration) (err error) {
	a, o, who := e.api, e.order, e.asker
	binder := binding.Binder{Engine: a.Engine, Sealer: a.Customers, Log: a.Log, Isolation: a.Isolation, RunMemory: a.tuning.Load().RunMemory}
	e.Bound, err = binder.Bind(who.ctx, binding.Order{Pipeline: o.procedure.prepared, Customer: o.customer,
		Parameters: o.given, State: o.state,
		Sealed: o.encrypted, Lines: o.format == formats[0].Name, RunID: e.request.RunID, StartedAt: who.started, Timeout: timeout,
		RequestID: who.requestID, Traceparent: cmp.Or(e.observer.Traceparent(), who.traceparent)})
	var refused *binding.Refused
	if errors.As(err, &refused) {
		if _, rest := fromDiagnostics(refused.Diagnostics); rest.HasErrors() {
			var problems []string // without their messages, which may hold values of the request
			for _, d := range rest {
				problems = append(problems, d.Code+" "+d.Position.String()+" "+d.Pointer)
			}
			a.Log.ErrorContext(who.ctx, "a pipeline cannot be run", "request_id", who.requestID, "pipeline", o.procedure.name, "problems", problems)
		}
	}
	return err
}

// close gives back what the execution has of a sealing key, and ends what is told of it.
func (e *execution) close() {
	e.observer.End("")
	e.Close(e.ctx)
}

func (e *execution) audit(what, outcome string) store.Audit {
	return store.Audit{At: e.api.Now(), Who: "key:" + e.request.KeyID, What: what, Customer: e.request.Customer,
		From: e.from, RequestID: e.request.ID, RunID: e.request.RunID, Outcome: outcome,
		Details: map[string]string{"procedure": e.request.Procedure, "mode": e.request.Mode, "format": e.request.Format}}
}

// run admits the execution and runs it, and has it observed. It is a delivery.Run, and called once; what was taken to
// prepare it is given back.
func (e *execution) run(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
	defer e.close()
	events := o.Events
	o.Events = func(event engine.Event) {
		e.observer.Event(event)
		if events != nil {
			events(event)
		}
	}
	receipt, err := e.admitAndRun(ctx, sink, o)
	code := Code("")
	if err != nil {
		code = fromError(err).Code
	}
	e.observer.End(string(code))
	return receipt, err
}

func (e *execution) admitAndRun(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
	release, err := e.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	// What is refused above was no run, and leaves a line in the log alone.
	if err := e.begin(ctx); err != nil && !e.goesUnrecorded(ctx, err) {
		return nil, err
	}
	e.observer.Admitted(e.Plan)
	return e.Bound.Run(ctx, sink, o)
}

// admit takes what the run needs. In the mode auto it may be a job by then, or become one.
func (e *execution) admit(ctx context.Context) (release func(), err error) {
	a, memory := e.api.Admission, e.api.Engine.Memory(e.Plan)
	if e.mode != modeAuto {
		return a.Stream(ctx, e.customer.ID, e.customer.Streams, memory)
	}
	release, becomeJob, err := a.StreamOrJob(ctx, e.customer.ID, e.customer.Streams, memory)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.becomeJob = becomeJob; e.isJob {
		becomeJob()
	}
	return release, nil
}

// goOn frees the stream of a run that goes on as a job.
func (e *execution) goOn() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isJob = true; e.becomeJob != nil {
		e.becomeJob()
	}
}

// begin writes down that the request runs, unless it was answered already.
func (e *execution) begin(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recorded || e.answered {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	err := e.api.Requests.BeginRequest(ctx, e.request, e.audit("request.begin", "ok"))
	e.recorded = err == nil
	return err
}

// goesUnrecorded reports whether a run goes on that could not be written down. When the record is away, full or read-only,
// rows are answered all the same, and the log has what the audit has not; but not where they are sealed: their receipt
// could not be had.
func (e *execution) goesUnrecorded(ctx context.Context, err error) bool {
	if ctx.Err() != nil || e.encrypted {
		return false
	}
	e.api.Log.ErrorContext(ctx, "a request runs that was not written down", "request_id", e.request.ID,
		"customer", e.request.Customer, "key_id", e.request.KeyID, "procedure", e.request.Procedure, "cause", fault.From(err).Code)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorded = !e.answered // it may have been written down after all, and is ended then
	return true
}

// becameJob writes down that the request was answered with a job, which is the record's other line.
func (e *execution) becameJob(j store.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), recordTimeout)
	defer cancel()
	if err := e.begin(ctx); err != nil {
		e.api.Log.WarnContext(ctx, "a request that is a job was not written down", "request_id", e.request.ID, "cause", fault.From(err).Code)
		return
	}
	e.mu.Lock()
	e.request.RunID, e.request.Reason = j.ID, j.Reason
	e.mu.Unlock()
	e.end(nil, nil)
}

// recordTimeout is how long the record is waited for when a request has ended.
const recordTimeout = 5 * time.Second

// end writes down what became of the run, once, also when the client has gone. From then on the request may be sent again.
func (e *execution) end(receipt *engine.Receipt, failure *Error) {
	if e.release != nil {
		e.release()
	}
	e.mu.Lock()
	recorded, r := e.recorded, e.request
	e.recorded, e.answered = false, true
	e.mu.Unlock()
	if !recorded {
		return
	}
	r.EndedAt, r.Status = e.api.Now(), store.Completed
	outcome := "ok"
	if receipt != nil {
		r.Rows, r.Bytes, r.SHA256 = receipt.Rows, receipt.Bytes, receipt.SHA256
		if signed := binding.ReceiptOf(receipt); signed != nil {
			r.Receipt, _ = json.Marshal(signed) // two texts
		}
	}
	if failure != nil {
		r.Status, r.Code, r.Message, outcome = store.Failed, string(failure.Code), failure.Message, string(failure.Code)
		if failure.Code == ClientGone || failure.Code == TimeLimit || failure.Code == ShuttingDown {
			r.Status = store.Cancelled
		}
		r.SHA256, r.Receipt = "", nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), recordTimeout)
	defer cancel()
	if err := e.api.Requests.EndRequest(ctx, r, e.audit("request.end", outcome)); err != nil {
		e.api.Log.ErrorContext(ctx, "what became of a request was not written down", "request_id", r.ID, "cause", fault.From(err).Code)
	}
}

// answer runs an order and answers with its result.
func (a *API) answer(x *exchange, o *order) {
	timeout := time.Duration(0)
	switch {
	case o.mode == modeStream:
		timeout = a.StreamTimeout
	case a.Jobs != nil:
		timeout = a.Jobs.TimeLimit(o.procedure.doc.Metadata.Class) // it may become a job
	}
	e, err := a.prepare(x.asker(), o, timeout)
	if err != nil {
		x.fail(fromError(err))
		return
	}
	x.info.RunID = e.Plan.RunID
	switch {
	case o.mode == modeAuto:
		e.auto(x)
	case x.closeDelimited():
		answer, err := delivery.Spooled{Spool: a.Spools.New(), Started: e.started}.Run(x.ctx, e.run)
		e.send(x, answer, err)
	default:
		receipt, err := delivery.Direct{To: &response{x: x, form: o.form}}.Run(x.ctx, e.run)
		e.over(x, receipt, err)
	}
}

// send answers with a result that is whole.
func (e *execution) send(x *exchange, answer delivery.Answer, err error) {
	if err == nil {
		defer answer.Spool.Close()
		err = answer.Send(x.ctx, &response{x: x, form: e.form, whole: func() { e.end(answer.Receipt, nil) }})
	}
	e.over(x, answer.Receipt, err)
}

// over writes down what became of a run, and tells the client where that was not done.
func (e *execution) over(x *exchange, receipt *engine.Receipt, err error) {
	var failure *Error
	if err != nil {
		failure = x.outcome(err)
		if receipt != nil {
			x.info.Rows = receipt.Rows
		}
	}
	e.end(receipt, failure)
	if failure != nil {
		x.giveUp(failure)
	}
}

// closeDelimited reports whether the end of a body would be the end of the connection, which a cut looks like as well.
func (x *exchange) closeDelimited() bool {
	return x.r.ProtoMajor < 1 || x.r.ProtoMajor == 1 && x.r.ProtoMinor == 0
}

// outcome is what an error of a run is for the client. What broke by itself explains the end of the request's context too: an
// answer that is cut looks to the server as if its client had gone.
func (x *exchange) outcome(err error) *Error {
	e := fromError(err)
	if cause := context.Cause(x.r.Context()); e.Code == ClientGone && fault.Is(cause, codeStopping) {
		return fromError(cause)
	}
	return e
}

// giveUp ends an exchange that has failed: with an error, when nothing was sent yet, and otherwise by a cut.
func (x *exchange) giveUp(e *Error) {
	if x.w.status == 0 && e.Code == ClientGone {
		x.failure = e
		x.w.status = e.Status
		panic(http.ErrAbortHandler)
	}
	x.fail(e)
}
