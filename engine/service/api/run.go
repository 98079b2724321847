package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// order is a call of a customer that is going to be run.
type order struct {
	*call
	procedure *procedure
	customer  *customer.Customer
	form      Form
}

// execution is one run of an order.
type execution struct {
	*order
	asker
	api  *API
	plan *engine.Plan
	// observer is told of the run.
	observer RunObserver
	// sealing is nil when nothing is sealed, and sealed is how many units were.
	sealing *customer.Sealing
	sealed  int64
	// request is the record's line, which is there from the moment when the run was admitted; recorded is true from then on,
	// until what became of it was written down.
	request  store.Request
	recorded bool
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

// The secrets that the catalogue's pipelines refer to.
const (
	secretDSN  = "dsn"
	secretKeys = "encryption_keys"
)

// prepare binds an order to a run. What it takes is given back by close.
func (a *API) prepare(who asker, o *order, timeout time.Duration) (*execution, error) {
	e := &execution{order: o, api: a, asker: who}
	runID := engine.NewRunID(o.procedure.name, e.started)
	e.observer = a.Observer.Run(who.ctx, runID, o.procedure.name)
	keys := config.Secret{}
	if o.encrypted {
		var err error
		if e.sealing, err = a.Customers.Sealing(who.ctx, o.customer); err != nil {
			e.close()
			return nil, err
		}
		keys = e.sealing.Key
		if w := e.sealing.Warning; w != nil {
			a.Log.WarnContext(who.ctx, w.Message, "request_id", who.requestID, "customer", o.customer.ID, "code", w.Code, "hint", w.Hint)
		}
	}
	plan, diags := o.procedure.prepared.Bind(engine.Inputs{
		Parameters: o.given,
		Secrets: func(name string) (string, bool) {
			switch name {
			case secretDSN:
				return o.customer.DSN.Reveal(), true
			case secretKeys:
				return keys.Reveal(), o.encrypted
			}
			return "", false
		},
		RunID: runID, StartedAt: e.started, Timeout: timeout, Memory: a.tuning.Load().RunMemory,
		Customer: engine.Customer{ID: o.customer.ID, Attributes: o.customer.Attributes}, Allow: o.customer.Allow,
		Log: a.Log.With("request_id", who.requestID), Traceparent: cmp.Or(e.observer.Traceparent(), who.traceparent),
		Isolation: a.Isolation, End: engine.EndCaller,
	})
	if plan == nil {
		e.close()
		wrong, rest := fromDiagnostics(diags)
		if len(wrong) > 0 && !rest.HasErrors() {
			return nil, mistakes(wrong)
		}
		var problems []string // without their messages, which may hold values of the request
		for _, d := range rest {
			problems = append(problems, d.Code+" "+d.Position.String()+" "+d.Pointer)
		}
		a.Log.ErrorContext(who.ctx, "a pipeline cannot be run", "request_id", who.requestID, "pipeline", o.procedure.name, "problems", problems)
		return nil, rest.Err()
	}
	e.plan = plan
	e.request = store.Request{ID: who.requestID, RunID: runID, Customer: o.customer.ID, KeyID: who.keyID,
		Procedure: o.procedure.name, Mode: o.mode, Format: o.format, Status: store.Running, StartedAt: e.started}
	return e, nil
}

// close gives back what the execution has of a sealing key, and ends what is told of it.
func (e *execution) close() {
	e.observer.End("")
	if e.sealing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), recordTimeout)
	defer cancel()
	if err := e.sealing.Done(ctx, e.sealed); err != nil {
		e.api.Log.ErrorContext(ctx, "the uses of an encryption key were not counted",
			"request_id", e.request.ID, "key_id", e.sealing.ID, "cause", fault.From(err).Code)
	}
}

func (e *execution) audit(what, outcome string) store.Audit {
	return store.Audit{At: e.api.Now(), Who: "key:" + e.request.KeyID, What: what, Customer: e.request.Customer,
		From: e.from, RequestID: e.request.ID, RunID: e.request.RunID, Outcome: outcome,
		Details: map[string]string{"procedure": e.request.Procedure, "mode": e.request.Mode, "format": e.request.Format}}
}

// run admits the execution and runs it, and has it observed. It is a delivery.Run.
func (e *execution) run(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
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
	release, err := e.api.Admission.Stream(ctx, e.customer.ID, e.customer.Streams, e.api.Engine.Memory(e.plan))
	if err != nil {
		return nil, err
	}
	defer release()
	// What is refused above was no run, and leaves a line in the log alone.
	if err := e.api.Requests.BeginRequest(ctx, e.request, e.audit("request.begin", "ok")); err != nil {
		return nil, err
	}
	e.recorded = true
	e.observer.Admitted(e.plan)
	if e.sealing == nil {
		return e.api.Engine.Run(ctx, e.plan, sink, o)
	}
	return e.runSealed(ctx, sink, o)
}

// runSealed runs, and counts what is sealed. A key that has sealed as much as it may ends the run.
func (e *execution) runSealed(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	events := o.Events
	o.Events = func(event engine.Event) {
		if p, ok := event.(engine.Progress); ok {
			if err := e.sealing.Used(ctx, e.units(p.Rows, p.Bytes)); err != nil && ctx.Err() == nil {
				stop(err)
			}
		}
		if events != nil {
			events(event)
		}
	}
	receipt, err := e.api.Engine.Run(ctx, e.plan, sink, o)
	if receipt != nil {
		e.sealed = e.units(receipt.Rows, receipt.Bytes)
	}
	if cause := context.Cause(ctx); err != nil && fault.Is(cause, customer.CodeSealingSpent) {
		err = cause
	}
	return receipt, err
}

// sealedChunk is how many bytes a sealed chunk holds at least, but the last one.
const sealedChunk = 1 << 20

// units is how many units are sealed when so much was delivered: lines, or at most so many chunks.
func (e *execution) units(rows, bytes int64) int64 {
	if e.format == formats[0].Name {
		return rows
	}
	return bytes/sealedChunk + 1
}

// recordTimeout is how long the record is waited for when a request has ended.
const recordTimeout = 5 * time.Second

// signedReceipt is the receipt of a sealed answer as customers get it.
type signedReceipt struct {
	Statement string `json:"statement" doc:"One line of canonical JSON: what was delivered."`
	MAC       string `json:"mac" doc:"HMAC-SHA256 of the statement in hexadecimal, under a key made of the one that sealed."`
}

// end writes down what became of the run, once, also when the client has gone.
func (e *execution) end(receipt *engine.Receipt, failure *Error) {
	if !e.recorded {
		return
	}
	e.recorded = false
	r := e.request
	r.EndedAt, r.Status = e.api.Now(), store.Completed
	outcome := "ok"
	if receipt != nil {
		r.Rows, r.Bytes, r.SHA256 = receipt.Rows, receipt.Bytes, receipt.SHA256
		if receipt.Statement != "" {
			r.Receipt, _ = json.Marshal(signedReceipt{receipt.Statement, receipt.MAC}) // two texts
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
	if o.mode == modeStream {
		timeout = a.StreamTimeout
	}
	e, err := a.prepare(x.asker(), o, timeout)
	if err != nil {
		x.fail(fromError(err))
		return
	}
	defer e.close()
	x.info.RunID = e.plan.RunID
	var receipt *engine.Receipt
	if o.mode == modeStream && !x.closeDelimited() {
		receipt, err = delivery.Direct{To: &response{x: x, form: o.form}}.Run(x.ctx, e.run)
	} else {
		receipt, err = e.spooled(x, o.mode == modeAuto)
	}
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

// spooled answers when the result is whole. In the mode auto it may outgrow an answer.
func (e *execution) spooled(x *exchange, auto bool) (*engine.Receipt, error) {
	s := delivery.Spooled{Spool: e.api.Spools.New(), Started: e.started}
	if auto {
		s.Limits, s.Switch = e.api.Auto, e.api.Switch
	}
	answer, err := s.Run(x.ctx, e.run)
	switch {
	case err != nil:
		return answer.Receipt, err
	case answer.Spool == nil:
		return answer.Receipt, fail(JobsNotAvailable) // it became a job, and none can be told of here
	}
	defer answer.Spool.Close()
	return answer.Receipt, answer.Send(x.ctx, &response{x: x, form: e.form, whole: func() { e.end(answer.Receipt, nil) }})
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
