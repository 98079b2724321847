package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Jobs makes jobs, remembers them and has their results; *job.Manager does.
type Jobs interface {
	JobOrders
	JobResults
	// TimeLimit is how long a run may take that may become a job, by the class of its pipeline.
	TimeLimit(class string) time.Duration
	// Now is the record's clock, by which jobs and links go: this machine's may be another.
	Now() time.Time
	// Progress is how far a job is; known is false where nobody can say.
	Progress(job store.Job) (percent int, remaining time.Duration, known bool)
}

// JobOrders are the jobs as those see them who have ordered them.
type JobOrders interface {
	// Create makes a job that waits for a worker, and TakeOver one of a run that goes on already: held is nil where the
	// order came before, and job that one.
	Create(ctx context.Context, order store.NewJob) (job store.Job, replayed bool, err error)
	TakeOver(ctx context.Context, order store.NewJob) (held *job.Held, job store.Job, err error)
	Get(ctx context.Context, customer, id string) (store.Job, error)
	List(ctx context.Context, f store.JobFilter) (jobs []store.Job, total int64, err error)
	Transitions(ctx context.Context, customer, id string, after int64) ([]store.Transition, error)
	Cancel(ctx context.Context, customer, id string, by store.Actor) (store.Job, error)
	// Wait returns a job when its last transition has a number greater than after, or as it is when ctx ends.
	Wait(ctx context.Context, customer, id string, after int64) (store.Job, error)
}

// JobResults are the objects of completed jobs. What is asked for is written down as that of an actor.
type JobResults interface {
	// Link signs a fresh link; the zero Link where the bucket signs none.
	Link(ctx context.Context, job store.Job, by store.Actor) (object.Link, error)
	Open(ctx context.Context, job store.Job, offset int64, by store.Actor) (io.ReadCloser, object.Info, error)
}

// The headers of a request that makes a job, and of the answer to one that came before.
const (
	headerIdempotency = "Idempotency-Key"
	headerReplayed    = "Idempotency-Replayed"
	maxIdempotency    = 255
)

// idempotencyKey is the key of a request that makes a job; empty when it has none.
func (x *exchange) idempotencyKey() (string, *Error) {
	given := x.r.Header.Values(headerIdempotency)
	wrong := func(format string, args ...any) (string, *Error) {
		return "", mistakes([]Detail{{Code: string(InvalidParameter), Field: headerIdempotency,
			Message: headerIdempotency + ": " + fmt.Sprintf(format, args...)}})
	}
	switch {
	case len(given) == 0:
		return "", nil
	case len(given) > 1:
		return wrong("it is given twice.")
	case len(given[0]) < 1 || len(given[0]) > maxIdempotency:
		return wrong("expected 1 to %d characters, not %d.", maxIdempotency, len(given[0]))
	case strings.ContainsFunc(given[0], func(r rune) bool { return r < ' ' || r > '~' }):
		return wrong("expected printable ASCII.")
	}
	return given[0], nil
}

// noJobs says why an order can be no job; nil when it can.
func (x *exchange) noJobs(o *order) *Error {
	switch {
	case x.api.Jobs == nil || o.customer.Bucket == "":
		return fail(JobsNotAvailable)
	case !x.principal.Scopes.Has(customer.Jobs):
		return fail(ScopeMissing).with(Detail{Code: string(ScopeMissing),
			Message: "The result is one for a background job, for which the key needs the scope " + string(customer.Jobs) + "."})
	}
	return nil
}

// idempotency is the key as the record has it. The body is what was understood of it: how it is written makes no
// difference.
func (x *exchange) idempotency(o *order) *store.Idempotency {
	if o.key == "" {
		return nil
	}
	text, err := json.Marshal(struct {
		Values            map[string]any
		Webhook, Priority string
	}{o.values, o.webhook, o.priority})
	if err != nil {
		panic("api: parameters cannot be encoded: " + err.Error()) // they came as JSON
	}
	return &store.Idempotency{Customer: o.customer.ID, Route: http.MethodPost + " /v1/procedures/" + o.procedure.name,
		Key: o.key, Body: sha256.Sum256(text), Request: x.info.RequestID}
}

// newJob is the order as a job.
func (e *execution) newJob(x *exchange, reason delivery.Reason) store.NewJob {
	text := func(name string) string { s, _ := e.values[name].(string); return s }
	request, err := json.Marshal(e.given)
	if err != nil {
		panic("api: a request cannot be encoded: " + err.Error()) // it came as JSON
	}
	return store.NewJob{
		Job: store.Job{ID: e.request.RunID, Customer: e.customer.ID, Procedure: e.procedure.name, Type: job.TypeExtract,
			Priority: priorityOf(e.priority), Reason: string(reason), Request: request, Format: e.format,
			Compression: e.compression, Encrypted: e.encrypted,
			FromDate: text(paramFrom), ToDate: text(paramTo), Modifier: text(paramModifier), WebhookURL: e.webhook,
			RequestID: e.requestID, KeyID: e.keyID, From: e.from, Trace: e.traceparent,
			Result: store.Result{Bucket: e.customer.Bucket}},
		Idempotency: x.idempotency(e.order), By: x.actor(),
	}
}

// createJob answers a request with mode job.
func (a *API) createJob(x *exchange, o *order) *Error {
	if e := x.noJobs(o); e != nil {
		return e
	}
	// Bound once here, so that what no worker could run is refused before it is accepted.
	e := a.newExecution(x.asker(), o)
	if err := e.bind(0); err != nil {
		return fromError(err)
	}
	e.close()
	j, replayed, err := a.Jobs.Create(x.ctx, e.newJob(x, delivery.ReasonRequested))
	if err != nil {
		return x.outcome(err)
	}
	e.becameJob(j)
	x.jobAccepted(j, replayed)
	return nil
}

// becomes is how a request in the mode auto becomes a job.
type becomes struct {
	x *exchange
	e *execution
	// job is the one that it has become; replayed is true of one that an earlier request has made.
	job      store.Job
	replayed bool
}

// errReplayed ends a run whose order turns out to have been made by another request.
var errReplayed = errors.New("the order is a job already")

// to is a delivery.Switch.
func (b *becomes) to(ctx context.Context, reason delivery.Reason) (delivery.Job, error) {
	jobs := b.x.api.Jobs
	if e := b.x.noJobs(b.e.order); e != nil {
		return nil, e
	}
	order := b.e.newJob(b.x, reason)
	if reason == delivery.ReasonLoad {
		var err error
		b.job, b.replayed, err = jobs.Create(ctx, order)
		return nil, err
	}
	held, j, err := jobs.TakeOver(ctx, order)
	if err != nil {
		return nil, err
	}
	if b.job = j; held == nil {
		b.replayed = true
		return nil, errReplayed
	}
	b.e.goOn()
	return held, nil
}

// auto answers with rows, or with the job that the request has become.
func (e *execution) auto(x *exchange) {
	b := &becomes{x: x, e: e}
	s := delivery.Spooled{Spool: e.api.Spools.New(), Started: e.started, Limits: e.api.Auto, Switch: b.to}
	answer, err := s.Run(x.ctx, e.run)
	if answer.Switched == "" && !errors.Is(err, errReplayed) {
		e.send(x, answer, err)
		return
	}
	e.becameJob(b.job)
	x.jobAccepted(b.job, b.replayed)
}

// reserve has the key of a request of which it is not known yet whether it becomes a job. When an earlier one has made
// that job, the answer is it, and release is nil.
func (a *API) reserve(x *exchange, o *order) (release func(), failure *Error) {
	key := x.idempotency(o)
	if key == nil || x.noJobs(o) != nil {
		return func() {}, nil
	}
	id, err := a.JobRecord.ReserveIdempotency(x.ctx, *key)
	if err != nil {
		return nil, fromError(err)
	}
	if id == "" {
		return func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), recordTimeout)
			defer cancel()
			if err := a.JobRecord.ReleaseIdempotency(ctx, *key); err != nil {
				a.Log.WarnContext(ctx, "an idempotency key was not released",
					"request_id", x.info.RequestID, "cause", fault.From(err).Code)
			}
		}, nil
	}
	j, failure := x.findJob(o.customer.ID, id)
	if failure == nil {
		x.jobAccepted(j, true)
	}
	return nil, failure
}
