// Package binding makes a run of what a customer has asked for, for an answer and for a job alike: it binds the fields
// of a request to the pipeline with the customer's database, key and allow-list, and counts what the run seals. It
// admits nobody, decides no limit and writes nothing down but the uses of a key.
package binding

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeRequest is the code of fields that are no JSON object.
const CodeRequest = "binding.request"

// CodeState is the code of a pipeline that keeps state, ordered by what keeps none: an answer of every row would look
// like one of what has changed.
const CodeState = "binding.state"

// The secrets that the catalogue's pipelines refer to.
const (
	secretDSN  = "dsn"
	secretKeys = "encryption_keys"
)

// Sealer gives the key with which a customer's deliveries are sealed now, for one run; *customer.Registry is one.
type Sealer interface {
	Sealing(ctx context.Context, c *customer.Customer) (*customer.Sealing, error)
}

// Engine runs plans; *engine.Engine is one.
type Engine interface {
	Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error)
}

// Binder has what all orders of a process have in common.
type Binder struct {
	Engine Engine
	Sealer Sealer
	Log    *slog.Logger
	// Isolation spreads the stages of a run over processes. Default the engine's.
	Isolation engine.Isolation
	// RunMemory is the most that may be in flight in a run, in bytes. Default what its pipeline allows.
	RunMemory int64
}

// Order is what a customer has asked for.
type Order struct {
	Pipeline *engine.Prepared
	Customer *customer.Customer
	// Parameters are those of the pipeline as they came.
	Parameters map[string]any
	// Sealed output is counted by its lines where Lines is set, and by its chunks otherwise.
	Sealed, Lines bool
	// State is where a pipeline that keeps state begins, the zero value the first time; nil is that nobody keeps it. Of
	// other pipelines it is ignored.
	State *engine.State

	// RunID is the run's identifier, and StartedAt when it was asked for.
	RunID     string
	StartedAt time.Time
	// Timeout is the time limit of the run. Default that of the pipeline.
	Timeout                time.Duration
	RequestID, Traceparent string
}

// Refused is the error of an order that the pipeline does not take.
type Refused struct{ Diagnostics diag.List }

// Error is all that is wrong.
func (r *Refused) Error() string { return r.Diagnostics.Err().Error() }

// Unwrap is the coded form.
func (r *Refused) Unwrap() error { return r.Diagnostics.Err() }

// Bound is an order that can be run, once.
type Bound struct {
	Plan *engine.Plan
	// Sealing is nil when nothing is sealed.
	Sealing *customer.Sealing
	binder  *Binder
	order   Order
	sealed  int64 // units
}

// Bind makes the plan of an order's run. What it takes is given back by Close. The error of what is wrong with the
// order, or with its pipeline, is a *Refused.
func (b *Binder) Bind(ctx context.Context, o Order) (*Bound, error) {
	d := o.Pipeline.Document()
	switch {
	case d.State == nil:
		o.State = nil
	case o.State == nil:
		return nil, fault.New(CodeState, fault.Usage,
			"pipeline %q goes on where its last run has ended, and only a schedule keeps where that is",
			d.Metadata.Name).
			WithHint("put it on a schedule, or run it with cipherstream run --state-file")
	}
	bound := &Bound{binder: b, order: o}
	if o.Sealed {
		var err error
		if bound.Sealing, err = b.Sealer.Sealing(ctx, o.Customer); err != nil {
			return nil, err
		}
		if w := bound.Sealing.Warning; w != nil {
			b.Log.WarnContext(ctx, w.Message, "request_id", o.RequestID, "customer", o.Customer.ID,
				"code", w.Code, "hint", w.Hint)
		}
	}
	plan, diags := o.Pipeline.Bind(engine.Inputs{
		Parameters: o.Parameters, Secrets: bound.secret,
		RunID: o.RunID, StartedAt: o.StartedAt, Timeout: o.Timeout, Memory: b.RunMemory,
		Customer: engine.Customer{ID: o.Customer.ID, Attributes: o.Customer.Attributes}, Allow: o.Customer.Allow,
		Log: b.Log.With("request_id", o.RequestID), Traceparent: o.Traceparent,
		Isolation: b.Isolation, End: engine.EndCaller, State: o.State,
	})
	if plan == nil {
		bound.Close(ctx)
		for i := range diags {
			if diags[i].Code == engine.CodeStateOther {
				diags[i].Hint = "reset the schedule: its next job reads every row, and those after it go on from there"
			}
		}
		return nil, &Refused{diags}
	}
	bound.Plan = plan
	return bound, nil
}

func (b *Bound) secret(name string) (string, bool) {
	switch {
	case name == secretDSN:
		return b.order.Customer.DSN.Reveal(), true
	case name == secretKeys && b.Sealing != nil:
		return b.Sealing.Key.Reveal(), true
	}
	return "", false
}

// SealingKey is the identifier of the key that seals; empty when nothing is sealed.
func (b *Bound) SealingKey() string {
	if b.Sealing == nil {
		return ""
	}
	return b.Sealing.ID
}

// Run runs the order, and counts what is sealed. A key that has sealed as much as it may ends the run.
func (b *Bound) Run(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
	if b.Sealing == nil {
		return b.binder.Engine.Run(ctx, b.Plan, sink, o)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	events := o.Events
	var seen int64 // units; events end before the run does
	o.Events = func(event engine.Event) {
		if p, ok := event.(engine.Progress); ok {
			if p.Rows > 0 {
				seen = b.units(p.Rows, p.Bytes) // they never fall
			}
			if err := b.Sealing.Used(ctx, seen); err != nil && ctx.Err() == nil {
				stop(err)
			}
		}
		if events != nil {
			events(event)
		}
	}
	receipt, err := b.binder.Engine.Run(ctx, b.Plan, sink, o)
	if receipt != nil {
		b.sealed = b.units(receipt.Rows, receipt.Bytes)
	}
	if err != nil {
		// A process that died has not said how much it had sealed, and may have sealed more since it was looked at.
		if b.sealed = max(b.sealed, seen); seen > 0 && fault.From(err).Class == fault.Plugin {
			b.sealed += b.units(unseenRows, unseenBytes)
		}
	}
	if cause := context.Cause(ctx); err != nil && fault.Is(cause, customer.CodeSealingSpent) {
		err = cause
	}
	return receipt, err
}

// What a run seals between two looks at it, a quarter of a second, is less than this.
const (
	unseenRows  = 250_000
	unseenBytes = 250 << 20
)

// sealedChunk is how many bytes a sealed chunk holds at least, but the last one.
const sealedChunk = 1 << 20

// units is how many units are sealed when so much was delivered: lines, or at most so many chunks.
func (b *Bound) units(rows, bytes int64) int64 {
	if b.order.Lines {
		return rows
	}
	return bytes/sealedChunk + 1
}

// recordTimeout is how long the record is waited for when a run has ended.
const recordTimeout = 5 * time.Second

// Close gives back what the order has of a sealing key, when its run has ended or there is none. It counts even when
// ctx has ended.
func (b *Bound) Close(ctx context.Context) {
	if b.Sealing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := b.Sealing.Done(ctx, b.sealed); err != nil {
		b.binder.Log.ErrorContext(ctx, "the uses of an encryption key were not counted",
			"request_id", b.order.RequestID, "key_id", b.Sealing.ID, "cause", fault.From(err).Code)
	}
}

// Receipt is the receipt of a sealed delivery as customers get it.
type Receipt struct {
	Statement string `json:"statement" doc:"One line of canonical JSON: what was delivered."`
	MAC       string `json:"mac" doc:"HMAC-SHA256 of the statement in hexadecimal, under a key made of the one that sealed."`
}

// ReceiptOf is that of a run; nil when nothing was sealed.
func ReceiptOf(r *engine.Receipt) *Receipt {
	if r == nil || r.Statement == "" {
		return nil
	}
	return &Receipt{r.Statement, r.MAC}
}

// Fields are those of a request's body, a JSON object that was found to be good. Numbers keep their digits.
func Fields(body []byte) (map[string]any, error) {
	fields := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		// Its message may quote them.
		return nil, fault.New(CodeRequest, fault.Internal, "the fields of a request are no JSON object")
	}
	return fields, nil
}

// Parameters are the parameters of a pipeline that the body of a request gives. A field that is none of them belongs to
// the service.
func Parameters(pipeline *engine.Prepared, body []byte) (map[string]any, error) {
	fields, err := Fields(body)
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	for _, p := range pipeline.Document().Parameters {
		value := fields[p.Name]
		if value == nil {
			continue // null is not given
		}
		if p.Type == document.TypeString {
			value = AsText(value)
		}
		given[p.Name] = value
	}
	return given, nil
}

// AsText makes of a list the text that a parameter takes in its place. Other values stay.
func AsText(value any) any {
	list, ok := value.([]any)
	if !ok {
		return value
	}
	text, err := json.Marshal(list)
	if err != nil {
		return value
	}
	return string(text)
}
