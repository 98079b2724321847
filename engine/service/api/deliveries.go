package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Deliveries are what customers are told, and how it went; the record has them.
type Deliveries interface {
	PutOutbox(ctx context.Context, events []store.OutboxEvent, audit ...store.Audit) error
	Deliveries(ctx context.Context, f store.DeliveryFilter) (list []store.Delivery, total int64, err error)
	Delivery(ctx context.Context, customer, id string) (store.Delivery, error)
	Attempts(ctx context.Context, customer, id string) ([]store.Attempt, error)
	Resend(ctx context.Context, f store.DeliveryFilter, by store.Actor) (int64, error)
	// WebhookStatuses says how it stands with the webhooks of jobs. A job that has none is not in it.
	WebhookStatuses(ctx context.Context, customer string, jobs []string) (map[string]store.DeliveryState, error)
}

// The parameters and fields of lists of deliveries and of a re-send.
const (
	paramEvent = "event"
	paramJob   = "job_id"
	paramUntil = "until"

	// maxDeliveryID bounds what is looked for: no delivery has a longer name.
	maxDeliveryID = 64
)

var (
	deliveryStates = texts(store.DeliveryWaiting, store.DeliverySending, store.DeliveryDelivered, store.DeliveryDead)
	endedStates    = texts(store.DeliveryDead, store.DeliveryDelivered)
	// deliveryEvents are those that a delivery can be of.
	deliveryEvents = append(slices.Clone(webhookEvents), store.EventTest, store.EventDisabled)
)

// secretBody is a secret when it is made.
type secretBody struct {
	SecretID    string `json:"secret_id" doc:"Names the secret."`
	Secret      string `json:"secret,omitempty" doc:"whsec_ and 32 bytes in base64: what deliveries are signed with. It is shown in this answer, and never again."`
	Pending     bool   `json:"pending" doc:"Whether it waits to be activated: until then X-CipherStream-Signature is made with the one before, and webhook-signature with both."`
	ActivatesAt string `json:"activates_at,omitempty" format:"date-time" doc:"When it is activated by itself."`
	CreatedAt   string `json:"created_at" format:"date-time" doc:"When it was made."`
}

func secretBodyOf(s signing.Secret, text string) secretBody {
	return secretBody{SecretID: s.ID, Secret: text, Pending: s.Pending, ActivatesAt: timeOf(s.ActivatesAt), CreatedAt: timeText(s.CreatedAt)}
}

// rotateSecret answers POST /v1/customers/{customer_id}/webhook/rotate-secret.
func (a *API) rotateSecret(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	if e := x.nothingGiven(); e != nil {
		return e
	}
	s, err := a.Webhooks.Secrets.Rotate(x.ctx, who.ID, x.actor())
	if err != nil {
		return fromError(err)
	}
	x.send(http.StatusOK, typeJSON, secretBodyOf(s.Secret, s.Text.Reveal()))
	return nil
}

// activateSecret answers POST /v1/customers/{customer_id}/webhook/activate-secret.
func (a *API) activateSecret(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	if e := x.nothingGiven(); e != nil {
		return e
	}
	s, err := a.Webhooks.Secrets.Activate(x.ctx, who.ID, x.actor())
	if err != nil {
		return fromError(err)
	}
	x.send(http.StatusOK, typeJSON, secretBodyOf(s, ""))
	return nil
}

// nothingGiven refuses parameters and fields, for what takes none.
func (x *exchange) nothingGiven() *Error {
	f, e := x.readOptional([]string{}...)
	if e != nil {
		return e
	}
	return f.mistakes()
}

// testBody is the answer to who has asked for a test.
type testBody struct {
	Event      string `json:"event" enum:"webhook.test" doc:"What is sent."`
	AcceptedAt string `json:"accepted_at" format:"date-time" doc:"When it was asked for."`
	Deliveries string `json:"deliveries" format:"uri-reference" doc:"Where to see how it went: the newest one there is the test."`
}

// testWebhook answers POST /v1/customers/{customer_id}/webhook/test.
func (a *API) testWebhook(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	if e := x.nothingGiven(); e != nil {
		return e
	}
	w, e := x.findWebhook(who.ID)
	if e != nil {
		return e
	}
	end, err := a.endpoint(x.ctx, who.ID)
	switch {
	case err != nil:
		return fromError(err)
	case !w.Enabled || !end.DisabledAt.IsZero():
		return fail(WebhookDisabled)
	}
	now := a.Now()
	data, err := json.Marshal(map[string]string{"customer_id": who.ID, "message": "This is a test of the webhook, and tells nothing else.", "request_id": x.info.RequestID})
	if err != nil {
		return fromError(err)
	}
	err = a.Webhooks.Deliveries.PutOutbox(x.ctx, []store.OutboxEvent{{Customer: who.ID, Event: store.EventTest, At: now, Data: data}},
		x.did("webhook.test", who.ID, map[string]string{"host": hostOf(w.URL)}))
	if err != nil {
		return fromError(err)
	}
	a.Webhooks.Wake()
	x.send(http.StatusAccepted, typeJSON, testBody{Event: store.EventTest, AcceptedAt: timeText(now),
		Deliveries: "/v1/customers/" + who.ID + "/webhook/deliveries?" + url.Values{paramEvent: {store.EventTest}, paramLimit: {"1"}}.Encode()})
	return nil
}

// deliveryBody is a delivery as customers see it.
type deliveryBody struct {
	ID         string `json:"delivery_id" doc:"Identifier of the delivery: it is the same at every attempt, and when it is sent again."`
	CustomerID string `json:"customer_id" doc:"Whose it is."`
	Channel    string `json:"channel" enum:"webhook,mail" doc:"How it goes."`
	Event      string `json:"event" enum:"job.completed,job.failed,job.cancelled,system.maintenance,api.rate_limit,job.progress,webhook.test,webhook.disabled" doc:"What it tells."`
	JobID      string `json:"job_id,omitempty" doc:"The job that it is about."`
	Target     string `json:"target" doc:"Where it goes: an address of mail, or one of a webhook without what follows its path."`
	OfRequest  bool   `json:"of_request" doc:"Whether that is the webhook_url of a request, and not the customer's own."`
	Status     string `json:"status" enum:"waiting,sending,delivered,dead" doc:"Where it stands. What is dead was given up, and can be sent again."`
	BatchID    string `json:"batch_id,omitempty" doc:"Names the request that it went with, alone or with others."`
	Attempts   int    `json:"attempts" doc:"How often it was tried."`
	CreatedAt  string `json:"created_at" format:"date-time" doc:"When there was something to tell."`
	NextAt     string `json:"next_attempt_at,omitempty" format:"date-time" doc:"Until when it waits at least, of one that is waiting."`
	LastAt     string `json:"last_attempt_at,omitempty" format:"date-time" doc:"When it was tried the last time."`
	EndedAt    string `json:"ended_at,omitempty" format:"date-time" doc:"When it was delivered, or given up."`
	HTTPStatus int    `json:"http_status,omitempty" doc:"What the receiver answered the last time."`
	ErrorCode  string `json:"error_code,omitempty" doc:"Why the last attempt failed."`
	Message    string `json:"error_message,omitempty" doc:"Why, for people."`

	// Of a single one.
	Data json.RawMessage `json:"data,omitempty" doc:"What it tells, without the link to the result, which is made anew at each attempt."`
	Log  []attemptBody   `json:"attempt_log,omitempty" nullable:"false" doc:"Each attempt, the first one first."`
}

// attemptBody is one attempt of a delivery.
type attemptBody struct {
	Number     int     `json:"attempt" doc:"Its number, as in the body that was sent."`
	At         string  `json:"at" format:"date-time" doc:"When it began."`
	Duration   float64 `json:"duration_seconds" doc:"How long it took."`
	HTTPStatus int     `json:"http_status,omitempty" doc:"What the receiver answered."`
	ErrorCode  string  `json:"error_code,omitempty" doc:"Why it failed."`
	Message    string  `json:"error_message,omitempty" doc:"Why, for people."`
}

// deliveryListBody is a part of a customer's deliveries.
type deliveryListBody struct {
	Deliveries []deliveryBody `json:"deliveries" nullable:"false" doc:"The deliveries, the newest first."`
	Total      int64          `json:"total" doc:"How many there are that fit, in all."`
	Limit      int            `json:"limit" doc:"How many were asked for."`
	Offset     int64          `json:"offset" doc:"How many were left out before them."`
}

// resentBody says how many deliveries are sent again.
type resentBody struct {
	Resent int64 `json:"resent" doc:"How many deliveries wait to be sent again, each with the delivery_id that it had."`
}

func deliveryBodyOf(d store.Delivery) deliveryBody {
	b := deliveryBody{ID: d.ID, CustomerID: d.Customer, Channel: string(d.Channel), Event: d.Event, JobID: d.Job, Target: shownTarget(d),
		OfRequest: d.Channel == store.ByWebhook && !d.Own, Status: string(d.State), BatchID: d.Batch, Attempts: d.Attempts, CreatedAt: timeText(d.CreatedAt),
		LastAt: timeOf(d.LastAt), EndedAt: timeOf(d.EndedAt), HTTPStatus: d.HTTPStatus, ErrorCode: d.Code, Message: d.Message}
	if d.State == store.DeliveryWaiting {
		b.NextAt = timeOf(d.NextAt)
	}
	return b
}

// shownTarget is where a delivery goes, without what of an address may be a secret.
func shownTarget(d store.Delivery) string {
	if d.Channel != store.ByWebhook {
		return d.Target
	}
	u, err := url.Parse(d.Target)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// listDeliveries answers GET /v1/customers/{customer_id}/webhook/deliveries.
func (a *API) listDeliveries(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	q, e := x.readParameters(paramLimit, paramOffset, paramStatus, paramEvent, paramJob, paramSince, paramUntil)
	if e != nil {
		return e
	}
	f := store.DeliveryFilter{Customer: who.ID, Limit: int(q.whole(paramLimit, jobsOfList, 1, mostJobsOfList)), Offset: q.whole(paramOffset, 0, 0, mostOffset),
		State: store.DeliveryState(q.oneOf(paramStatus, "", deliveryStates)), Event: q.oneOf(paramEvent, "", deliveryEvents),
		Job: q.values.Get(paramJob), Since: q.instant(paramSince), Until: q.instant(paramUntil)}
	if len(f.Job) > maxJobID || printable(f.Job, maxJobID) != f.Job {
		q.wrong(paramJob, "expected the identifier of a job.")
	}
	if e := q.mistakes(); e != nil {
		return e
	}
	list, total, err := a.Webhooks.Deliveries.Deliveries(x.ctx, f)
	if err != nil {
		return fromError(err)
	}
	out := deliveryListBody{Deliveries: make([]deliveryBody, len(list)), Total: total, Limit: f.Limit, Offset: f.Offset}
	for i, d := range list {
		out.Deliveries[i] = deliveryBodyOf(d)
	}
	x.send(http.StatusOK, typeJSON, out)
	return nil
}

// myDelivery is the delivery of the address.
func (x *exchange) myDelivery() (store.Delivery, *Error) {
	who, e := x.myWebhook()
	if e != nil {
		return store.Delivery{}, e
	}
	id := x.r.PathValue("delivery_id")
	if len(id) > maxDeliveryID || printable(id, maxDeliveryID) != id {
		return store.Delivery{}, fail(DeliveryNotFound)
	}
	d, err := x.api.Webhooks.Deliveries.Delivery(x.ctx, who.ID, id)
	if err != nil {
		return store.Delivery{}, fromDeliveries(err)
	}
	x.info.JobID = d.Job
	return d, nil
}

// fromDeliveries is fromError of what concerns one delivery.
func fromDeliveries(err error) *Error {
	if fault.Is(err, store.CodeUnknown) {
		return fail(DeliveryNotFound)
	}
	return fromError(err)
}

// delivery answers GET /v1/customers/{customer_id}/webhook/deliveries/{delivery_id}.
func (a *API) delivery(x *exchange) *Error {
	d, e := x.myDelivery()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	attempts, err := a.Webhooks.Deliveries.Attempts(x.ctx, d.Customer, d.ID)
	if err != nil {
		return fromDeliveries(err)
	}
	b := deliveryBodyOf(d)
	if json.Valid(d.Data) {
		b.Data = d.Data
	}
	for _, t := range attempts {
		b.Log = append(b.Log, attemptBody{Number: t.Number, At: timeText(t.At), Duration: float64(t.Duration.Round(time.Millisecond)) / float64(time.Second),
			HTTPStatus: t.HTTPStatus, ErrorCode: t.Code, Message: t.Message})
	}
	x.send(http.StatusOK, typeJSON, b)
	return nil
}

// resendDelivery answers POST /v1/customers/{customer_id}/webhook/deliveries/{delivery_id}/retry.
func (a *API) resendDelivery(x *exchange) *Error {
	d, e := x.myDelivery()
	if e != nil {
		return e
	}
	if e := x.nothingGiven(); e != nil {
		return e
	}
	n, err := a.Webhooks.Deliveries.Resend(x.ctx, store.DeliveryFilter{Customer: d.Customer, IDs: []string{d.ID}}, x.actor())
	switch {
	case err != nil:
		return fromDeliveries(err)
	case n == 0:
		return fail(DeliveryNotEnded)
	}
	a.Webhooks.Wake()
	if d, err = a.Webhooks.Deliveries.Delivery(x.ctx, d.Customer, d.ID); err != nil {
		return fromDeliveries(err)
	}
	x.send(http.StatusOK, typeJSON, deliveryBodyOf(d))
	return nil
}

// resendDeliveries answers POST /v1/customers/{customer_id}/webhook/deliveries/retry.
func (a *API) resendDeliveries(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	f, e := x.readOptional(paramSince, paramUntil, paramStatus)
	if e != nil {
		return e
	}
	filter := store.DeliveryFilter{Customer: who.ID, Since: f.instant(paramSince), Until: f.instant(paramUntil),
		State: store.DeliveryState(f.oneOf(paramStatus, endedStates[0], endedStates))}
	if filter.State == store.DeliveryDelivered && f.values[paramSince] == nil {
		f.add(MissingParameter, paramSince, "since is missing: what was delivered is sent again from a time on.")
	}
	if e := f.mistakes(); e != nil {
		return e
	}
	n, err := a.Webhooks.Deliveries.Resend(x.ctx, filter, x.actor())
	if err != nil {
		return fromError(err)
	}
	if n > 0 {
		a.Webhooks.Wake()
	}
	x.send(http.StatusOK, typeJSON, resentBody{n})
	return nil
}

// webhookStatuses says of jobs how it stands with their webhooks. When the record cannot tell, the jobs are told without.
func (x *exchange) webhookStatuses(customer string, jobs ...*jobBody) {
	if x.api.Webhooks == nil || len(jobs) == 0 {
		return
	}
	ids := make([]string, len(jobs))
	for i, b := range jobs {
		ids[i] = b.JobID
	}
	states, err := x.api.Webhooks.Deliveries.WebhookStatuses(x.ctx, customer, ids)
	if err != nil {
		x.api.Log.WarnContext(x.ctx, "how it stands with webhooks could not be told", "request_id", x.info.RequestID, "cause", fault.From(err).Code)
		return
	}
	for _, b := range jobs {
		if state, known := states[b.JobID]; known {
			b.Webhook = string(state)
		}
	}
}
