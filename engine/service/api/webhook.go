package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/webhook"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Webhooks is what customers are told of their jobs with. All of it has to be given.
type Webhooks struct {
	Settings   WebhookSettings
	Secrets    WebhookSecrets
	Deliveries Deliveries
	Notices    Notices
	// Wake is called when something was put where the deliveries are made of.
	Wake func()
	// Sources are the networks that webhooks come from, as customers are told; none is not told.
	Sources []netip.Prefix
}

// WebhookSettings are the endpoints of customers; the record has them.
type WebhookSettings interface {
	Webhook(ctx context.Context, customer string) (store.Webhook, error)
	PutWebhook(ctx context.Context, w store.Webhook, audit store.Audit) error
	DeleteWebhook(ctx context.Context, customer string, audit store.Audit) error
	Endpoints(ctx context.Context, customer string) ([]store.Endpoint, error)
}

// WebhookSecrets are what deliveries are signed with, and what of an endpoint is secret; *signing.Keeper keeps them.
type WebhookSecrets interface {
	List(ctx context.Context, customer string) ([]signing.Secret, error)
	First(ctx context.Context, customer string, by store.Actor) (secret signing.Issued, made bool, err error)
	Rotate(ctx context.Context, customer string, by store.Actor) (signing.Issued, error)
	Activate(ctx context.Context, customer string, by store.Actor) (signing.Secret, error)
	SealHeaders(customer string, headers map[string]string) ([]byte, error)
	OpenHeaders(customer string, sealed []byte) (map[string]string, error)
}

// webhookPath is where the endpoint of a customer is.
const webhookPath = "/v1/customers/{customer_id}/webhook"

// The events that a webhook can be sent of; the first ones are those of an endpoint that names none.
var (
	webhookEvents = []string{"job." + string(store.JobCompleted), "job." + string(store.JobFailed), "job." + string(store.JobCancelled),
		store.EventMaintenance, store.EventRateLimit, store.EventProgress}
	defaultEvents = webhookEvents[:5]
)

// The fields of an endpoint.
const (
	fieldEvents      = "events"
	fieldEnabled     = "enabled"
	fieldHeaders     = "custom_headers"
	fieldRetry       = "retry_config"
	fieldRetryPolicy = "retry_policy"
	fieldTimeout     = "timeout_seconds"
	fieldBatch       = "batch_delivery"
	fieldPerMinute   = "rate_limit_per_minute"
	fieldMinTLS      = "tls_min_version"

	fieldAttempts   = "max_attempts"
	fieldMultiplier = "backoff_multiplier"
	fieldDelay      = "initial_delay_seconds"

	durable = "durable"
	tls12   = "1.2"
	tls13   = "1.3"
)

// What these fields may be.
const (
	mostAttempts   = 10
	mostMultiplier = 10
	leastDelay     = 0.1
	mostDelay      = 3600
	mostTimeout    = 60
	mostPerMinute  = 6000
)

// webhookBody is an endpoint as customers see it.
type webhookBody struct {
	CustomerID string            `json:"customer_id" doc:"Whose it is."`
	URL        string            `json:"webhook_url" format:"uri" doc:"Where events are sent."`
	Events     []string          `json:"events" nullable:"false" enum:"job.completed,job.failed,job.cancelled,system.maintenance,api.rate_limit,job.progress" doc:"The events that are sent."`
	Enabled    bool              `json:"enabled" doc:"Whether they are."`
	Headers    map[string]string `json:"custom_headers" doc:"Headers that are sent with each delivery. Their values are kept sealed, and *** stands in their place."`
	Policy     string            `json:"retry_policy,omitempty" enum:"durable" doc:"durable: a delivery that fails is tried 8 times over about 27 hours. Absent where retry_config says when."`
	Retry      *retryBody        `json:"retry_config,omitempty" nullable:"false" doc:"How often, and when, a delivery that fails is tried. Absent with retry_policy."`
	Timeout    int               `json:"timeout_seconds" doc:"How long the receiver may take to answer."`
	Batch      bool              `json:"batch_delivery" doc:"Whether events that wait are sent together, up to 100 in a request."`
	PerMinute  int               `json:"rate_limit_per_minute,omitempty" doc:"Requests that are sent in a minute at most. Absent is any number."`
	MinTLS     string            `json:"tls_min_version" enum:"1.2,1.3" doc:"The lowest version of TLS that is spoken."`

	State          string `json:"status" enum:"active,off,failing,disabled" doc:"active; off: enabled is false; failing: deliveries fail, and after a pause one is tried; disabled: nothing but failures came for 5 days, or a 410, and nothing is sent until it is put with enabled true."`
	Failures       int    `json:"failures,omitempty" doc:"How many deliveries have failed since the last that did not."`
	FailingSince   string `json:"failing_since,omitempty" format:"date-time" doc:"Since when."`
	DisabledAt     string `json:"disabled_at,omitempty" format:"date-time" doc:"When the service has disabled it."`
	DisabledReason string `json:"disabled_reason,omitempty" doc:"Why."`

	Secret           string `json:"secret,omitempty" doc:"The secret that deliveries are signed with. It is shown in the answer that makes it, and never again."`
	SecretID         string `json:"secret_id,omitempty" doc:"Names the secret that deliveries are signed with."`
	PendingSecretID  string `json:"pending_secret_id,omitempty" doc:"Names the one that a rotation has made, and that waits to be activated."`
	PendingActivates string `json:"pending_activates_at,omitempty" format:"date-time" doc:"When it is activated by itself."`

	Sources   []string `json:"source_addresses,omitempty" nullable:"false" doc:"The networks that deliveries come from."`
	CreatedAt string   `json:"created_at" format:"date-time" doc:"When it was put for the first time."`
	UpdatedAt string   `json:"updated_at" format:"date-time" doc:"When it was put the last time."`
}

// retryBody is how often, and when, a delivery that fails is tried.
type retryBody struct {
	MaxAttempts  int     `json:"max_attempts" doc:"How often in all."`
	Multiplier   float64 `json:"backoff_multiplier" doc:"How much longer each wait is than the one before."`
	InitialDelay float64 `json:"initial_delay_seconds" doc:"The first wait."`
}

// myWebhook lets the key in to a customer's webhooks.
func (x *exchange) myWebhook() (*customer.Customer, *Error) {
	if e := x.authenticate(admission.Polling); e != nil {
		return nil, e
	}
	who, err := x.api.Customers.Customer(x.ctx, x.principal, x.r.PathValue("customer_id"), customer.Webhooks)
	if err != nil {
		return nil, fromError(err)
	}
	if x.api.Webhooks == nil {
		return nil, fail(WebhooksUnavailable)
	}
	x.info.Customer = who.ID
	return who, nil
}

// findWebhook is the endpoint of a customer.
func (x *exchange) findWebhook(customer string) (store.Webhook, *Error) {
	w, err := x.api.Webhooks.Settings.Webhook(x.ctx, customer)
	switch {
	case fault.Is(err, store.CodeUnknown):
		return w, fail(WebhookNotFound)
	case err != nil:
		return w, fromError(err)
	}
	return w, nil
}

// webhook answers GET /v1/customers/{customer_id}/webhook.
func (a *API) webhook(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	w, e := x.findWebhook(who.ID)
	if e != nil {
		return e
	}
	return x.sendWebhook(w, "")
}

// sendWebhook answers with an endpoint, and with a secret that was made just now.
func (x *exchange) sendWebhook(w store.Webhook, secret string) *Error {
	b, err := x.api.webhookBody(x.ctx, w)
	if err != nil {
		return fromError(err)
	}
	b.Secret = secret
	x.send(http.StatusOK, typeJSON, b)
	return nil
}

// hiddenValue stands in the place of the value of a header.
const hiddenValue = "***"

func (a *API) webhookBody(ctx context.Context, w store.Webhook) (*webhookBody, error) {
	b := &webhookBody{CustomerID: w.Customer, URL: w.URL, Events: w.Events, Enabled: w.Enabled, Headers: map[string]string{},
		Timeout: int(w.Timeout / time.Second), Batch: w.Batch, PerMinute: w.PerMinute, MinTLS: tls13,
		State: "active", CreatedAt: timeText(w.CreatedAt), UpdatedAt: timeText(w.UpdatedAt)}
	if w.TLS12 {
		b.MinTLS = tls12
	}
	if w.Retry.Durable {
		b.Policy = durable
	} else {
		b.Retry = &retryBody{w.Retry.MaxAttempts, w.Retry.Multiplier, w.Retry.InitialDelay.Seconds()}
	}
	headers, err := a.Webhooks.Secrets.OpenHeaders(w.Customer, w.Headers)
	if err != nil {
		return nil, err
	}
	for name := range headers {
		b.Headers[name] = hiddenValue
	}
	secrets, err := a.Webhooks.Secrets.List(ctx, w.Customer)
	if err != nil {
		return nil, err
	}
	for _, s := range secrets {
		if s.Pending {
			b.PendingSecretID, b.PendingActivates = s.ID, timeText(s.ActivatesAt)
		} else {
			b.SecretID = s.ID
		}
	}
	for _, network := range a.Webhooks.Sources {
		b.Sources = append(b.Sources, network.String())
	}
	e, err := a.endpoint(ctx, w.Customer)
	if err != nil {
		return nil, err
	}
	if b.Failures = e.Failures; e.Failures > 0 {
		b.FailingSince = timeOf(e.FailingSince)
	}
	switch {
	case !w.Enabled:
		b.State = "off"
	case !e.DisabledAt.IsZero():
		b.State, b.DisabledAt, b.DisabledReason = "disabled", timeText(e.DisabledAt), e.DisabledReason
	case !e.OpenUntil.IsZero():
		b.State = "failing"
	}
	return b, nil
}

// endpoint is how it stands with the customer's own endpoint.
func (a *API) endpoint(ctx context.Context, customer string) (store.Endpoint, error) {
	all, err := a.Webhooks.Settings.Endpoints(ctx, customer)
	for _, e := range all {
		if e.Own && e.Channel == store.ByWebhook {
			return e, err
		}
	}
	return store.Endpoint{}, err
}

// putWebhook answers PUT /v1/customers/{customer_id}/webhook.
func (a *API) putWebhook(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	f, e := x.readFields(fieldWebhook, fieldEvents, fieldEnabled, fieldHeaders, fieldRetry, fieldRetryPolicy, fieldTimeout, fieldBatch, fieldPerMinute, fieldMinTLS)
	if e != nil {
		return e
	}
	before, err := a.Webhooks.Settings.Webhook(x.ctx, who.ID)
	if err != nil && !fault.Is(err, store.CodeUnknown) {
		return fromError(err)
	}
	now := a.Now()
	w := store.Webhook{Customer: who.ID, CreatedAt: now, UpdatedAt: now, URL: f.webhookURL(fieldWebhook)}
	if !before.CreatedAt.IsZero() {
		w.CreatedAt = before.CreatedAt
	}
	w.Events = f.someOf(fieldEvents, webhookEvents, defaultEvents)
	w.Enabled = f.flag(fieldEnabled, true)
	w.Retry = f.retry()
	w.Timeout = time.Duration(f.whole(fieldTimeout, 30, 1, mostTimeout)) * time.Second
	w.Batch = f.flag(fieldBatch, false)
	w.PerMinute = int(f.whole(fieldPerMinute, 0, 1, mostPerMinute))
	w.TLS12 = f.oneOf(fieldMinTLS, tls13, []string{tls12, tls13}) == tls12
	headers, err := f.headers(a.Webhooks.Secrets, before, w.URL)
	if err != nil {
		return fromError(err)
	}
	if e := f.mistakes(); e != nil {
		return e
	}
	if w.Headers, err = a.Webhooks.Secrets.SealHeaders(who.ID, headers); err != nil {
		return fromError(err)
	}
	if err := a.Webhooks.Settings.PutWebhook(x.ctx, w, x.did("webhook.put", who.ID, map[string]string{
		"host": hostOf(w.URL), "events": strings.Join(w.Events, ","), "enabled": strconv.FormatBool(w.Enabled)})); err != nil {
		return fromError(err)
	}
	secret, made, err := a.Webhooks.Secrets.First(x.ctx, who.ID, x.actor())
	if err != nil {
		return fromError(err)
	}
	if made {
		return x.sendWebhook(w, secret.Text.Reveal())
	}
	return x.sendWebhook(w, "")
}

// did is the audit row of a change.
func (x *exchange) did(what, customer string, details map[string]string) store.Audit {
	by := x.actor()
	return store.Audit{At: x.api.Now(), Who: by.Who, What: what, Customer: customer, From: by.From, RequestID: by.RequestID, Outcome: "ok", Details: details}
}

// hostOf is what of an address may stand in the audit: what follows the host may open something.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// deleteWebhook answers DELETE /v1/customers/{customer_id}/webhook.
func (a *API) deleteWebhook(x *exchange) *Error {
	who, e := x.myWebhook()
	if e != nil {
		return e
	}
	if e := x.noParameters(); e != nil {
		return e
	}
	w, e := x.findWebhook(who.ID)
	if e != nil {
		return e
	}
	err := a.Webhooks.Settings.DeleteWebhook(x.ctx, who.ID, x.did("webhook.delete", who.ID, map[string]string{"host": hostOf(w.URL)}))
	switch {
	case fault.Is(err, store.CodeUnknown):
		return fail(WebhookNotFound)
	case err != nil:
		return fromError(err)
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// webhookURL is the address of an endpoint, which has to be given.
func (f *fields) webhookURL(name string) string {
	text, given := f.text(name)
	switch {
	case !given && !mentioned(f.details, name):
		f.add(MissingParameter, name, name+" is missing.")
	case given && !validWebhook(text):
		f.wrong(name, "%s", expectedWebhook)
	}
	return text
}

// retry is how often, and when, a delivery that fails is tried.
func (f *fields) retry() store.Retry {
	r := store.Retry{MaxAttempts: 3, Multiplier: 2, InitialDelay: time.Second}
	r.Durable = f.oneOf(fieldRetryPolicy, "", []string{durable}) == durable
	within := f.object(fieldRetry, fieldAttempts, fieldMultiplier, fieldDelay)
	if within == nil {
		return r
	}
	if r.Durable {
		f.add(ConflictingParameters, fieldRetry, fieldRetry+" says when a delivery is tried, and so does "+fieldRetryPolicy+".")
	}
	r.MaxAttempts = int(within.whole(fieldAttempts, int64(r.MaxAttempts), 1, mostAttempts))
	r.Multiplier = within.number(fieldMultiplier, r.Multiplier, 1, mostMultiplier)
	r.InitialDelay = time.Duration(within.number(fieldDelay, 1, leastDelay, mostDelay) * float64(time.Second))
	f.details = append(f.details, within.details...)
	return r
}

// headers are the custom headers of an endpoint. One whose value is hidden keeps the one that it had, as long as it goes to
// the same host: or whoever may change an address could have the values sent to his own.
func (f *fields) headers(secrets WebhookSecrets, before store.Webhook, address string) (map[string]string, error) {
	within := f.object(fieldHeaders)
	if within == nil {
		return nil, nil
	}
	kept, err := secrets.OpenHeaders(before.Customer, before.Headers)
	if err != nil {
		return nil, err
	}
	out, seen, size := map[string]string{}, map[string]bool{}, 0
	for _, name := range within.names() {
		value, ok := within.values[name].(string)
		at := pointerOf(fieldHeaders, name)
		switch {
		case !webhook.HeaderName(name):
			f.wrong(at, "this is no name of a header.")
		case webhook.ReservedHeader(name):
			f.wrong(at, "the header %s is the service's own.", name)
		case seen[strings.ToLower(name)]:
			f.add(DuplicateField, at, name+" is given twice: capitals make no difference.")
		case !ok || !webhook.HeaderValue(value):
			f.wrong(at, "expected 1 to %d printable characters of ASCII, with no space before or behind them.", webhook.MaxHeaderValue)
		case value == hiddenValue && kept[name] == "":
			f.wrong(at, "%s stands for a value that is there already, and there is none.", hiddenValue)
		case value == hiddenValue && hostOf(address) != hostOf(before.URL):
			f.wrong(at, "%s stands for the value that was sent to another host; give the value itself.", hiddenValue)
		case value == hiddenValue:
			value = kept[name]
		}
		seen[strings.ToLower(name)] = true
		out[name] = value
		size += len(name) + len(value)
	}
	if len(out) > webhook.MostHeaders || size > webhook.MaxHeaders {
		f.wrong(fieldHeaders, "expected %d headers at most, of %d bytes in all.", webhook.MostHeaders, webhook.MaxHeaders)
	}
	return out, nil
}

// mayHaveWebhook says why an order with an address for its events can have none; nil when it can, or has no address. An
// answer that may become a job has to be able to.
func (x *exchange) mayHaveWebhook(o *order) *Error {
	switch {
	case o.webhook == "":
		return nil
	case x.api.Webhooks == nil:
		return fail(WebhooksUnavailable)
	case !x.principal.Scopes.Has(customer.Webhooks):
		return fail(ScopeMissing).with(Detail{Code: string(ScopeMissing), Field: fieldWebhook,
			Message: fieldWebhook + " is given, for which the key needs the scope " + string(customer.Webhooks) + "."})
	}
	return x.noJobs(o)
}
