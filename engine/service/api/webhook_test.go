package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// hookServer is a server with jobs and webhooks. Nobody sends them: a test says what becomes of a delivery.
type hookServer struct {
	*jobServer
	keeper *signing.Keeper
	woken  atomic.Int32
}

func newHookServer(t testing.TB, change func(*Config)) *hookServer {
	t.Helper()
	h := &hookServer{}
	key, err := datakey.Parse(config.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	h.jobServer = newJobServer(t, func(c *Config) {
		record := c.Requests.(*memory.Store)
		h.keeper = signing.New(record, key, time.Now)
		c.Webhooks = &Webhooks{Settings: record, Secrets: h.keeper, Deliveries: record, Notices: record, Wake: func() { h.woken.Add(1) },
			Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28")}}
		if change != nil {
			change(c)
		}
	})
	return h
}

const hook = "/v1/customers/clinic-7/webhook"

// read reads an answer that is no error, with no member that is not one of its schema's.
func read[T any](t testing.TB, a answered) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || a.StatusCode >= 300 {
		t.Fatalf("%s (%v): %s", a.Status, err, a.body)
	}
	return v
}

func (h *hookServer) put(body string) webhookBody {
	h.t.Helper()
	return read[webhookBody](h.t, h.do("PUT", hook, body))
}

// deliver has what is in the outbox become deliveries to the customer's endpoint, as the sender does.
func (h *hookServer) deliver() (ids []string) {
	h.t.Helper()
	events, err := h.record.Outbox(h.t.Context(), 0, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		d := store.Delivery{ID: fmt.Sprintf("del_%d_%04x", e.At.UnixMilli(), e.Seq), Customer: e.Customer, Channel: store.ByWebhook, Own: true,
			Target: "https://hooks.example.com/in?token=geheim", Event: e.Event, Job: e.Job, Data: e.Data}
		if _, err := h.record.Expand(h.t.Context(), []store.Expansion{{Event: e, Deliveries: []store.Delivery{d}}}); err != nil {
			h.t.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// attempt has the next delivery end with an outcome.
func (h *hookServer) attempt(o store.Outcome) store.Delivery {
	h.t.Helper()
	claimed, ok, err := h.record.ClaimDeliveries(h.t.Context(), "sender")
	if err != nil || !ok {
		h.t.Fatalf("nothing is to be sent: %v", err)
	}
	out, err := h.record.EndAttempt(h.t.Context(), claimed.Lease, o, store.Retry{MaxAttempts: 1})
	if err != nil || len(out) != 1 {
		h.t.Fatalf("%v, %v", out, err)
	}
	return out[0]
}

// TestPutWebhook: an endpoint has its defaults, and is read as it was put; its secret is shown by the first answer alone; what
// is secret of it is nowhere in the record, the log or the audit.
func TestPutWebhook(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	if e := h.do("GET", hook, "").refusal(t); e.Code != WebhookNotFound {
		t.Errorf("none is there: %s", e.Code)
	}
	b := h.put(`{"webhook_url":"https://hooks.example.com/in?token=geheim","custom_headers":{"Authorization":"Bearer geheim","X-Tenant":"7"}}`)
	want := webhookBody{CustomerID: "clinic-7", URL: "https://hooks.example.com/in?token=geheim", Events: defaultEvents, Enabled: true,
		Headers: map[string]string{"Authorization": "***", "X-Tenant": "***"}, Retry: &retryBody{3, 2, 1}, Timeout: 30, MinTLS: "1.3", State: "active",
		Secret: b.Secret, SecretID: b.SecretID, Sources: []string{"198.51.100.0/28"}, CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt}
	if text(b) != text(want) {
		t.Errorf("%s\nwant %s", text(b), text(want))
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(b.Secret, "whsec_")); err != nil || len(raw) != 32 || !strings.HasPrefix(b.Secret, "whsec_") {
		t.Errorf("the secret is none: %v", err)
	}
	current, _, err := h.keeper.Secrets(t.Context(), "clinic-7")
	if err != nil || current.Reveal() != b.Secret {
		t.Errorf("deliveries are signed with another secret: %v", err)
	}
	all := `{"webhook_url":"https://hooks.example.com/other","events":["job.progress","job.failed"],"enabled":false,"custom_headers":null,"retry_policy":"durable",` +
		`"timeout_seconds":5,"batch_delivery":true,"rate_limit_per_minute":60,"tls_min_version":"1.2"}`
	b2 := h.put(all)
	want = webhookBody{CustomerID: "clinic-7", URL: "https://hooks.example.com/other", Events: []string{"job.progress", "job.failed"}, Headers: map[string]string{}, Policy: "durable",
		Timeout: 5, Batch: true, PerMinute: 60, MinTLS: "1.2", State: "off", SecretID: b.SecretID, Sources: want.Sources, CreatedAt: b.CreatedAt, UpdatedAt: b2.UpdatedAt}
	if text(b2) != text(want) {
		t.Errorf("%s\nwant %s", text(b2), text(want))
	}
	if got := read[webhookBody](t, h.do("GET", hook, "")); text(got) != text(want) {
		t.Errorf("%s\nwant %s", text(got), text(want))
	}
	b3 := h.put(`{"webhook_url":"https://hooks.example.com/in","retry_config":{"max_attempts":7,"backoff_multiplier":1.5,"initial_delay_seconds":0.25}}`)
	if *b3.Retry != (retryBody{7, 1.5, 0.25}) || b3.Policy != "" || b3.Secret != "" {
		t.Errorf("%+v", b3)
	}
	if a := h.do("DELETE", hook, ""); a.StatusCode != 204 || len(a.body) > 0 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if e := h.do("DELETE", hook, "").refusal(t); e.Code != WebhookNotFound {
		t.Errorf("%s", e.Code)
	}
	if b := h.put(`{"webhook_url":"https://hooks.example.com/in"}`); b.Secret != "" || b.SecretID != want.SecretID {
		t.Error("a new endpoint has another secret")
	}
	rows, err := h.record.AuditOf(t.Context(), "clinic-7", time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, r := range rows {
		what = append(what, r.What)
		if r.Who != "key:key_good" || r.RequestID == "" || r.Outcome != "ok" {
			t.Errorf("%+v", r)
		}
	}
	if got := strings.Join(what, " "); got != "webhook.put webhook.secret_create webhook.put webhook.put webhook.delete webhook.put" {
		t.Errorf("the audit has %s", got)
	}
	kept, err := h.record.Webhook(t.Context(), "clinic-7")
	if err != nil {
		t.Fatal(err)
	}
	for where, said := range map[string]string{"audit": text(rows), "log": h.log.String(), "record": string(kept.Headers)} {
		for _, hidden := range []string{"geheim", b.Secret, "/in"} {
			if strings.Contains(said, hidden) {
				t.Errorf("the %s has %q", where, hidden)
			}
		}
	}
}

// TestWebhookMistakes: every mistake is named at once, by its place.
func TestWebhookMistakes(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	for body, want := range map[string]string{
		`{}`:                   "MISSING_PARAMETER webhook_url",
		`{"webhook_url":null}`: "MISSING_PARAMETER webhook_url",
		`{"webhook_url":"http://hooks.example.com"}`:                                        "INVALID_PARAMETER webhook_url",
		`{"webhook_url":"https://u:p@hooks.example.com"}`:                                   "INVALID_PARAMETER webhook_url",
		`{"webhook_url":"https://hooks.example.com/#a"}`:                                    "INVALID_PARAMETER webhook_url",
		`{"webhook_url":"https://:443/"}`:                                                   "INVALID_PARAMETER webhook_url",
		`{"webhook_url":"https://hooks.example.com/a\u000ab"}`:                              "INVALID_PARAMETER webhook_url",
		`{"webhook_url":7,"url":1}`:                                                         "INVALID_PARAMETER webhook_url, UNKNOWN_FIELD url",
		`{"webhook_url":"https://a","events":[]}`:                                           "INVALID_PARAMETER events",
		`{"webhook_url":"https://a","events":["job.complete","job.failed","job.failed",7]}`: "DUPLICATE_FIELD /events/2, INVALID_PARAMETER /events/0, INVALID_PARAMETER /events/3",
		`{"webhook_url":"https://a","retry_policy":"durable","retry_config":{}}`:            "CONFLICTING_PARAMETERS retry_config",
		`{"webhook_url":"https://a","retry_policy":"never"}`:                                "INVALID_PARAMETER retry_policy",
		`{"webhook_url":"https://a","retry_config":{"max_attempts":0,"backoff_multiplier":"2","initial_delay_seconds":0,"jitter":1}}`: "INVALID_PARAMETER /retry_config/backoff_multiplier, " +
			"INVALID_PARAMETER /retry_config/initial_delay_seconds, INVALID_PARAMETER /retry_config/max_attempts, UNKNOWN_FIELD /retry_config/jitter",
		`{"webhook_url":"https://a","enabled":"true","batch_delivery":1,"timeout_seconds":61,"rate_limit_per_minute":0,"tls_min_version":"1.1","custom_headers":[]}`: "INVALID_PARAMETER batch_delivery, " +
			"INVALID_PARAMETER custom_headers, INVALID_PARAMETER enabled, INVALID_PARAMETER rate_limit_per_minute, INVALID_PARAMETER timeout_seconds, INVALID_PARAMETER tls_min_version",
		`{"webhook_url":"https://a","webhook_url":"https://b"}`: "DUPLICATE_FIELD webhook_url",
		`{"webhook_url":"https://a","custom_headers":{"a":"1","A":"2","b c":"x","Host":"x","X-CipherStream-Signature":"x","webhook-id":"x","Content-Length":"1","x":"a\r\nb","y":"","z":7,"w":" a","v":"***","ä":"x","e":"é"}}`: "DUPLICATE_FIELD /custom_headers/a, " +
			"INVALID_PARAMETER /custom_headers/Content-Length, INVALID_PARAMETER /custom_headers/Host, INVALID_PARAMETER /custom_headers/X-CipherStream-Signature, INVALID_PARAMETER /custom_headers/b c, " +
			"INVALID_PARAMETER /custom_headers/e, INVALID_PARAMETER /custom_headers/v, INVALID_PARAMETER /custom_headers/w, INVALID_PARAMETER /custom_headers/webhook-id, " +
			"INVALID_PARAMETER /custom_headers/x, INVALID_PARAMETER /custom_headers/y, INVALID_PARAMETER /custom_headers/z, INVALID_PARAMETER /custom_headers/ä",
		`{"webhook_url":"https://a","custom_headers":{"a":"` + strings.Repeat("x", 4096) + `","b":"` + strings.Repeat("x", 4096) + `"}}`: "INVALID_PARAMETER custom_headers",
	} {
		a := h.do("PUT", hook, body)
		e := a.refusal(t)
		if e.mistakes() != want {
			t.Errorf("%.100s: %s\nwant %s", body, e.mistakes(), want)
		}
		for _, d := range e.Details {
			if d.Message == "" {
				t.Errorf("%.100s: %s says nothing", body, d.Field)
			}
		}
	}
	if _, err := h.record.Webhook(t.Context(), "clinic-7"); err == nil {
		t.Error("an endpoint was made")
	}
	for path, body := range map[string]string{hook + "?x=1": `{"webhook_url":"https://a"}`, hook + "/rotate-secret": `{"x":1}`, hook + "/activate-secret?x=1": "", hook + "/test": `{"x":1}`,
		hook + "/deliveries/retry": `{"x":1}`} {
		method := "POST"
		if path == hook+"?x=1" {
			method = "PUT"
		}
		if e := h.do(method, path, body).refusal(t); e.mistakes() != "UNKNOWN_FIELD x" {
			t.Errorf("%s: %s %s", path, e.Code, e.mistakes())
		}
	}
}

// TestHiddenHeaders: *** keeps a value, and never sends it to another host.
func TestHiddenHeaders(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	h.put(`{"webhook_url":"https://hooks.example.com/in","custom_headers":{"Authorization":"Bearer geheim"}}`)
	h.put(`{"webhook_url":"https://hooks.example.com/elsewhere","custom_headers":{"Authorization":"***","X-New":"1"}}`)
	w, err := h.record.Webhook(t.Context(), "clinic-7")
	if err != nil {
		t.Fatal(err)
	}
	headers, err := h.keeper.OpenHeaders("clinic-7", w.Headers)
	if want := map[string]string{"Authorization": "Bearer geheim", "X-New": "1"}; err != nil || !maps.Equal(headers, want) {
		t.Errorf("%v %v", headers, err)
	}
	for _, other := range []string{"https://attacker.example.com/in", "https://hooks.example.com:8443/in", "https://hooks.example.com.attacker.example/in"} {
		if e := h.do("PUT", hook, `{"webhook_url":"`+other+`","custom_headers":{"Authorization":"***"}}`).refusal(t); e.mistakes() != "INVALID_PARAMETER /custom_headers/Authorization" {
			t.Errorf("%s: %s", other, e.mistakes())
		}
	}
	// Nor under another name, nor to another customer.
	if e := h.do("PUT", hook, `{"webhook_url":"https://hooks.example.com/in","custom_headers":{"X-Other":"***"}}`).refusal(t); e.Code != InvalidParameter {
		t.Errorf("%s", e.Code)
	}
	if _, err := h.keeper.OpenHeaders("clinic-8", w.Headers); err == nil {
		t.Error("another customer's place opens them")
	}
}

// TestWebhooksOfOthers: another customer's webhooks are not there, and a key without the scope does nothing with its own.
func TestWebhooksOfOthers(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	h.put(`{"webhook_url":"https://hooks.example.com/in"}`)
	h.do("POST", hook+"/test", "")
	id := h.deliver()[0]
	for _, op := range []string{"GET ", "PUT ", "DELETE ", "POST /test", "POST /rotate-secret", "POST /activate-secret", "GET /deliveries", "GET /deliveries/" + id,
		"POST /deliveries/" + id + "/retry", "POST /deliveries/retry"} {
		method, under, _ := strings.Cut(op, " ")
		body := ""
		if method == "PUT" {
			body = `{"webhook_url":"https://attacker.example.com"}`
		}
		for key, want := range map[string]Code{"other": CustomerNotFound, "jobless": ScopeMissing, "bad": InvalidAPIKey, "": AuthenticationRequired} {
			bearer := "Bearer " + key
			if key == "" {
				bearer = "-"
			}
			if e := h.do(method, hook+under, body, "Authorization", bearer).refusal(t); e.Code != want {
				t.Errorf("%s with the key %q: %s", op, key, e.Code)
			}
		}
		if e := h.do(method, "/v1/customers/nobody/webhook"+under, body).refusal(t); e.Code != CustomerNotFound {
			t.Errorf("%s of nobody: %s", op, e.Code)
		}
	}
	for _, under := range []string{"", "/retry"} {
		method := map[string]string{"": "GET", "/retry": "POST"}[under]
		path := "/v1/customers/clinic-8/webhook/deliveries/" + id + under
		if e := h.do(method, path, "", "Authorization", "Bearer other").refusal(t); e.Code != DeliveryNotFound {
			t.Errorf("%s: %s", path, e.Code)
		}
	}
	if list := read[deliveryListBody](t, h.do("GET", "/v1/customers/clinic-8/webhook/deliveries", "", "Authorization", "Bearer other")); list.Total != 0 {
		t.Errorf("%+v", list)
	}
	if w, err := h.record.Webhook(t.Context(), "clinic-7"); err != nil || w.URL != "https://hooks.example.com/in" {
		t.Errorf("%+v %v", w, err)
	}
	// A service that sends none says so.
	s := newJobServer(t, nil)
	if e := s.do("GET", hook, "").refusal(t); e.Code != WebhooksUnavailable {
		t.Errorf("%s", e.Code)
	}
	if e := s.post("visits", ask(`,"mode":"job","webhook_url":"https://hooks.example.com"`)).refusal(t); e.Code != WebhooksUnavailable {
		t.Errorf("%s", e.Code)
	}
}

// TestRotateSecret: the new secret is shown once, waits until it is activated, and another rotation replaces it.
func TestRotateSecret(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	if e := h.do("POST", hook+"/activate-secret", "").refusal(t); e.Code != NothingPending {
		t.Errorf("%s", e.Code)
	}
	// The first one waits for nothing: there is none that it could wait for.
	first := read[secretBody](t, h.do("POST", hook+"/rotate-secret", ""))
	if first.Pending || first.ActivatesAt != "" || !strings.HasPrefix(first.Secret, "whsec_") {
		t.Errorf("%+v", first)
	}
	if b := h.put(`{"webhook_url":"https://hooks.example.com/in"}`); b.Secret != "" || b.SecretID != first.SecretID {
		t.Errorf("%+v", b)
	}
	dropped := read[secretBody](t, h.do("POST", hook+"/rotate-secret", "{}"))
	second := read[secretBody](t, h.do("POST", hook+"/rotate-secret", ""))
	if !second.Pending || second.Secret == first.Secret || second.Secret == dropped.Secret {
		t.Errorf("%+v", second)
	}
	at, err := time.Parse(time.RFC3339, second.ActivatesAt)
	if err != nil || time.Until(at).Round(time.Hour) != 7*24*time.Hour {
		t.Errorf("it is activated at %s", second.ActivatesAt)
	}
	if b := read[webhookBody](t, h.do("GET", hook, "")); b.SecretID != first.SecretID || b.PendingSecretID != second.SecretID || b.PendingActivates != second.ActivatesAt || b.Secret != "" {
		t.Errorf("%+v", b)
	}
	current, pending, err := h.keeper.Secrets(t.Context(), "clinic-7")
	if err != nil || current.Reveal() != first.Secret || pending.Reveal() != second.Secret {
		t.Errorf("deliveries are signed with others: %v", err)
	}
	active := read[secretBody](t, h.do("POST", hook+"/activate-secret", ""))
	if active.Pending || active.SecretID != second.SecretID || active.Secret != "" {
		t.Errorf("%+v", active)
	}
	current, pending, err = h.keeper.Secrets(t.Context(), "clinic-7")
	if err != nil || current.Reveal() != second.Secret || pending.Reveal() != "" {
		t.Errorf("deliveries are signed with others: %v", err)
	}
	if e := h.do("POST", hook+"/activate-secret", "").refusal(t); e.Code != NothingPending {
		t.Errorf("%s", e.Code)
	}
}

// TestDeliveries: what is sent can be listed, looked at and sent again, and shows nothing that opens anything.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	if e := h.do("POST", hook+"/test", "").refusal(t); e.Code != WebhookNotFound {
		t.Errorf("%s", e.Code)
	}
	h.put(`{"webhook_url":"https://hooks.example.com/in?token=geheim"}`)
	a := h.do("POST", hook+"/test", "")
	if test := read[testBody](t, a); a.StatusCode != 202 || test.Event != "webhook.test" || h.woken.Load() != 1 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	job := h.order()
	h.end(h.begin(), store.Ending{Event: store.JobFailed, ErrorCode: "SOURCE_FAILED"})
	ids := h.deliver()
	if len(ids) != 2 {
		t.Fatalf("%d events", len(ids))
	}
	got := h.attempt(store.Outcome{Verdict: store.Accepted, HTTPStatus: 204, Duration: 40 * time.Millisecond})
	dead := h.attempt(store.Outcome{Verdict: store.Final, HTTPStatus: 404, Code: "webhook.status", Message: "the receiver answered 404", Duration: time.Millisecond})
	if got.ID != ids[0] || dead.ID != ids[1] {
		t.Fatalf("%s %s", got.ID, dead.ID)
	}
	list := func(query string) (ids []string, total int64) {
		t.Helper()
		l := read[deliveryListBody](t, h.do("GET", hook+"/deliveries"+query, ""))
		for _, d := range l.Deliveries {
			ids = append(ids, d.ID)
			if d.Target != "https://hooks.example.com/in" || d.Log != nil || d.Data != nil {
				t.Errorf("%+v", d)
			}
		}
		return ids, l.Total
	}
	since := "?since=" + url.QueryEscape(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	for query, want := range map[string][]string{"": {ids[1], ids[0]}, "?limit=1": {ids[1]}, "?limit=1&offset=1": {ids[0]}, "?status=dead": {ids[1]}, "?status=waiting": nil,
		"?event=webhook.test": {ids[0]}, "?job_id=" + job.JobID: {ids[1]}, "?job_id=x": nil, since: nil, strings.Replace(since, "since", "until", 1): {ids[1], ids[0]}} {
		found, total := list(query)
		if !slices.Equal(found, want) || !strings.Contains(query, "limit") && total != int64(len(want)) || strings.Contains(query, "limit") && total != 2 {
			t.Errorf("%s: %v, %d", query, found, total)
		}
	}
	for query, want := range map[string]string{"?limit=0": "INVALID_PARAMETER limit", "?status=failed&event=x&since=now&jobid=1": "INVALID_PARAMETER event, INVALID_PARAMETER since, INVALID_PARAMETER status, UNKNOWN_FIELD jobid",
		"?job_id=%00": "INVALID_PARAMETER job_id"} {
		if e := h.do("GET", hook+"/deliveries"+query, "").refusal(t); e.mistakes() != want {
			t.Errorf("%s: %s", query, e.mistakes())
		}
	}
	d := read[deliveryBody](t, h.do("GET", hook+"/deliveries/"+ids[1], ""))
	if d.Status != "dead" || d.Attempts != 1 || d.HTTPStatus != 404 || d.ErrorCode != "webhook.status" || d.Event != "job.failed" || d.JobID != job.JobID || d.EndedAt == "" || len(d.Log) != 1 ||
		d.Log[0].HTTPStatus != 404 || d.Log[0].Duration != 0.001 || d.OfRequest {
		t.Errorf("%+v", d)
	}
	if d := read[deliveryBody](t, h.do("GET", hook+"/deliveries/"+ids[0], "")); !strings.Contains(string(d.Data), `"customer_id":"clinic-7"`) {
		t.Errorf("%s", d.Data)
	}
	// One, and many.
	again := read[deliveryBody](t, h.do("POST", hook+"/deliveries/"+ids[1]+"/retry", ""))
	if again.Status != "waiting" || again.ID != ids[1] || h.woken.Load() != 2 {
		t.Errorf("%+v", again)
	}
	if e := h.do("POST", hook+"/deliveries/"+ids[1]+"/retry", "").refusal(t); e.Code != DeliveryNotEnded {
		t.Errorf("%s", e.Code)
	}
	h.attempt(store.Outcome{Verdict: store.Final, HTTPStatus: 400, Code: "webhook.status"})
	if d := read[deliveryBody](t, h.do("GET", hook+"/deliveries/"+ids[1], "")); d.Attempts != 2 || len(d.Log) != 2 || d.HTTPStatus != 400 {
		t.Errorf("%+v", d)
	}
	if e := h.do("POST", hook+"/deliveries/retry", `{"status":"delivered"}`).refusal(t); e.mistakes() != "MISSING_PARAMETER since" {
		t.Errorf("%s", e.mistakes())
	}
	if e := h.do("POST", hook+"/deliveries/retry", `{"status":"waiting","since":"yesterday"}`).refusal(t); e.mistakes() != "INVALID_PARAMETER since, INVALID_PARAMETER status" {
		t.Errorf("%s", e.mistakes())
	}
	if r := read[resentBody](t, h.do("POST", hook+"/deliveries/retry", `{"until":"2024-01-01T00:00:00Z"}`)); r.Resent != 0 {
		t.Errorf("%d are sent again", r.Resent)
	}
	if r := read[resentBody](t, h.do("POST", hook+"/deliveries/retry", "")); r.Resent != 1 {
		t.Errorf("%d are sent again", r.Resent)
	}
	if r := read[resentBody](t, h.do("POST", hook+"/deliveries/retry", `{"status":"delivered","since":"2024-01-01T00:00:00Z"}`)); r.Resent != 1 {
		t.Errorf("%d are sent again", r.Resent)
	}
	if e := h.do("GET", hook+"/deliveries/del_1_none", "").refusal(t); e.Code != DeliveryNotFound {
		t.Errorf("%s", e.Code)
	}
	audit := string(h.do("GET", "/v1/customers/clinic-7/audit?limit=1000", "").body)
	for _, what := range []string{`"what":"webhook.put"`, `"what":"webhook.test"`, `"what":"delivery.resend"`} {
		if !strings.Contains(audit, what) {
			t.Errorf("the audit has no %s: %s", what, audit)
		}
	}
	if strings.Contains(audit+h.log.String(), "geheim") {
		t.Error("the address is told whole")
	}
}

// TestDisabledWebhook: an endpoint that was disabled says so and why, is not tested, and put again is good.
func TestDisabledWebhook(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	h.put(`{"webhook_url":"https://hooks.example.com/in"}`)
	h.do("POST", hook+"/test", "")
	h.deliver()
	h.attempt(store.Outcome{Verdict: store.Gone, HTTPStatus: 410, Code: "webhook.status"})
	if b := read[webhookBody](t, h.do("GET", hook, "")); b.State != "disabled" || b.DisabledAt == "" || b.DisabledReason == "" || !b.Enabled {
		t.Errorf("%+v", b)
	}
	if e := h.do("POST", hook+"/test", "").refusal(t); e.Code != WebhookDisabled {
		t.Errorf("%s", e.Code)
	}
	if b := h.put(`{"webhook_url":"https://hooks.example.com/in"}`); b.State != "active" || b.DisabledAt != "" {
		t.Errorf("%+v", b)
	}
	if a := h.do("POST", hook+"/test", ""); a.StatusCode != 202 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	h.put(`{"webhook_url":"https://hooks.example.com/in","enabled":false}`)
	if e := h.do("POST", hook+"/test", "").refusal(t); e.Code != WebhookDisabled {
		t.Errorf("%s", e.Code)
	}
}

// TestWebhookOfARequest: an address for a request's events goes with what can become a job, by a key that may, and the job says
// how it stands with it.
func TestWebhookOfARequest(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	const address = `,"webhook_url":"https://hooks.example.com/one?token=geheim"`
	a := h.post("visits", ask(`,"mode":"job"`+address), "Idempotency-Key", "k")
	v := a.job(t)
	if v.Status != "queued" || v.Webhook != "waiting" {
		t.Errorf("%s", a.body)
	}
	if j, err := h.record.Job(t.Context(), "clinic-7", v.JobID); err != nil || j.WebhookURL != "https://hooks.example.com/one?token=geheim" || strings.Contains(string(j.Request), "geheim") {
		t.Errorf("%+v %v", j, err)
	}
	if e := h.post("visits", ask(`,"mode":"job"`), "Idempotency-Key", "k").refusal(t); e.Code != IdempotencyMismatch {
		t.Errorf("without the address it is the same order: %s", e.Code)
	}
	// An answer that stays one with rows has no events.
	if a := h.post("visits", ask(address)); a.StatusCode != 200 || a.Header.Get(headerMode) != "stream" {
		t.Errorf("%s %s", a.Status, a.body)
	}
	for body, want := range map[string]string{
		`,"mode":"stream"` + address:                                 "CONFLICTING_PARAMETERS webhook_url",
		`,"webhook_url":"http://hooks.example.com","mode":"job"`:     "INVALID_PARAMETER webhook_url",
		`,"webhook_url":"https://hooks.example.com/#x","mode":"job"`: "INVALID_PARAMETER webhook_url",
	} {
		if e := h.post("visits", ask(body)).refusal(t); e.mistakes() != want {
			t.Errorf("%s: %s", body, e.mistakes())
		}
	}
	if e := h.post("places", `{"customer_id":"clinic-7"`+address+`}`).refusal(t); e.mistakes() != "CONFLICTING_PARAMETERS webhook_url" {
		t.Errorf("a reference list: %s", e.mistakes())
	}
	for _, mode := range []string{"auto", "job"} {
		e := h.post("visits", ask(`,"mode":"`+mode+`"`+address), "Authorization", "Bearer jobless").refusal(t)
		if e.Code != ScopeMissing || !strings.Contains(text(e.Details), "webhooks") {
			t.Errorf("%s without the scope: %+v", mode, e)
		}
	}
	h.customers.customers["clinic-7"].Bucket = ""
	if e := h.post("visits", ask(address)).refusal(t); e.Code != JobsNotAvailable {
		t.Errorf("without jobs: %s", e.Code)
	}
	h.customers.customers["clinic-7"].Bucket = "results"

	h.put(`{"webhook_url":"https://hooks.example.com/in"}`)
	plain := h.order()
	if plain.Webhook != "" {
		t.Errorf("nothing is sent of it yet: %+v", plain.Webhook)
	}
	h.end(h.begin(), store.Ending{Event: store.JobFailed, ErrorCode: "SOURCE_FAILED"})
	h.deliver()
	h.attempt(store.Outcome{Verdict: store.Final, HTTPStatus: 404, Code: "webhook.status"})
	if got := h.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID, "").job(t); got.Status != "failed" || got.Webhook != "dead" {
		t.Errorf("%s: %s", got.Status, got.Webhook)
	}
	listed := read[jobListBody](t, h.do("GET", "/v1/customers/clinic-7/jobs", ""))
	if len(listed.Jobs) != 2 || listed.Jobs[1].Webhook != "dead" || listed.Jobs[0].Webhook != "" {
		t.Errorf("%+v", listed.Jobs)
	}
	if strings.Contains(h.log.String(), "geheim") {
		t.Error("the address is logged")
	}
}

// TestLimitIsTold: a customer is told at four fifths of a limit, once an hour for each policy, and another one beside it.
func TestLimitIsTold(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, func(c *Config) {
		limits := map[admission.Policy]admission.Rate{}
		for _, p := range []admission.Policy{admission.Polling, admission.Procedures} {
			limits[p] = admission.Rate{Quota: 10, Window: time.Hour}
		}
		c.Admission = admission.New(admission.Config{Limits: admission.Limits{Rates: limits}})
	})
	events := func() (out []store.OutboxEvent) {
		t.Helper()
		out, err := h.record.Outbox(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	ask := func(times int, key string) {
		for range times {
			a := h.do("GET", "/v1/procedures", "", "Authorization", "Bearer "+key)
			h.lineOf(a.Header.Get("X-Request-Id"))
		}
	}
	ask(7, "good")
	if got := events(); len(got) != 0 {
		t.Fatalf("told at seven of ten: %v", got)
	}
	// The notice goes when the answer has gone, and the line of the log comes before it.
	ask(4, "good")
	h.eventually(func() bool { return len(events()) == 1 })
	ask(3, "good")
	h.post("visits", `{}`) // another policy, and not near
	var told limitReached
	got := events()
	if len(got) != 1 || got[0].Customer != "clinic-7" || got[0].Event != "api.rate_limit" || json.Unmarshal(got[0].Data, &told) != nil {
		t.Fatalf("%v", got)
	}
	reset, err := time.Parse(time.RFC3339, told.ResetAt)
	if told.CustomerID != "clinic-7" || told.Policy != "polling" || told.Limit != 10 || told.Remaining != 2 || err != nil || reset.Before(time.Now()) {
		t.Errorf("%s", got[0].Data)
	}
	ask(9, "other")
	h.eventually(func() bool { return len(events()) == 2 })
	// Another process asks the record, and finds that the customer was told.
	if put, err := h.record.PutNotice(t.Context(), store.OutboxEvent{Customer: "clinic-7", Event: store.EventRateLimit}, "api.rate_limit polling", time.Hour); err != nil || put {
		t.Errorf("%v %v", put, err)
	}
	if h.woken.Load() != 2 {
		t.Errorf("woken %d times", h.woken.Load())
	}
}

// eventually waits for what happens behind an answer.
func (h *hookServer) eventually(done func() bool) {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(until) {
			h.t.Fatal("it does not happen")
		}
		h.do("GET", "/healthz", "")
	}
}

// TestMaintenance: operators announce a maintenance, and nobody else does.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	h := newHookServer(t, nil)
	body := func(starts, ends time.Duration, message string) string {
		now := time.Now()
		return fmt.Sprintf(`{"starts_at":%q,"ends_at":%q,"message":%q}`, now.Add(starts).Format(time.RFC3339), now.Add(ends).Format(time.RFC3339), message)
	}
	good := body(time.Hour, 2*time.Hour, "The service is updated.")
	if e := h.do("POST", "/v1/maintenance", good).refusal(t); e.Code != ScopeMissing {
		t.Errorf("a customer: %s", e.Code)
	}
	if e := h.do("POST", "/v1/maintenance", good, "Authorization", "Bearer operator").refusal(t); e.Code != WebhooksUnavailable {
		t.Errorf("nobody announces: %s", e.Code)
	}
	announced := h.announcing()
	a := h.do("POST", "/v1/maintenance", good, "Authorization", "Bearer operator")
	if b := read[announcedBody](t, a); b.Customers != 2 || b.Message != "The service is updated." || h.woken.Load() != 1 {
		t.Errorf("%s", a.body)
	}
	if by := announced.by; by.Who != "key:key_operator" || by.RequestID != a.Header.Get("X-Request-Id") || by.From != "127.0.0.1" {
		t.Errorf("%+v", by)
	}
	for given, want := range map[string]string{
		`{}`:                                  "MISSING_PARAMETER ends_at, MISSING_PARAMETER message, MISSING_PARAMETER starts_at",
		body(2*time.Hour, time.Hour, "x"):     "INVALID_PARAMETER ends_at",
		body(-2*time.Hour, -time.Hour, "x"):   "INVALID_PARAMETER ends_at",
		body(time.Hour, 31*24*time.Hour, "x"): "INVALID_PARAMETER ends_at",
		body(time.Hour, 2*time.Hour, strings.Repeat("x", 2001)):      "INVALID_PARAMETER message",
		body(time.Hour, 2*time.Hour, "a\u0007b"):                     "INVALID_PARAMETER message",
		`{"starts_at":"tomorrow","ends_at":7,"message":[],"from":1}`: "INVALID_PARAMETER ends_at, INVALID_PARAMETER message, INVALID_PARAMETER starts_at, UNKNOWN_FIELD from",
	} {
		if e := h.do("POST", "/v1/maintenance", strings.ReplaceAll(given, `\a`, `\u0007`), "Authorization", "Bearer operator").refusal(t); e.mistakes() != want {
			t.Errorf("%.100s: %s", given, e.mistakes())
		}
	}
}

// TestWebhooksAsDescribed: every field and parameter of the operations on webhooks is taken and refused as the served document
// says, and what they answer is what it describes.
func TestWebhooksAsDescribed(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := newHookServer(t, nil)
	h.announcing()
	g := &generator{newServedBy(h.server), rand.New(rand.NewPCG(seed, 0))}
	h.put(`{"webhook_url":"https://hooks.example.com/in"}`)
	h.do("POST", hook+"/test", "")
	h.do("POST", hook+"/test", "")
	ids := h.deliver()
	seen := map[string]bool{}
	for _, op := range g.operations() {
		maintenance := op.path == "/v1/maintenance"
		if !strings.Contains(op.path, "/webhook") && !maintenance {
			continue
		}
		h.put(`{"webhook_url":"https://hooks.example.com/in"}`)
		for claimed, ok, err := h.record.ClaimDeliveries(t.Context(), "sender"); ok || err != nil; claimed, ok, err = h.record.ClaimDeliveries(t.Context(), "sender") {
			if _, err := h.record.EndAttempt(t.Context(), claimed.Lease, store.Outcome{Verdict: store.Accepted, HTTPStatus: 200}, store.Retry{}); err != nil {
				t.Fatal(err)
			}
		}
		bearer := map[bool]string{true: "Bearer operator", false: "Bearer good"}[maintenance]
		send := func(path, body string) answered {
			a := h.do(op.method, path, body, "Authorization", bearer)
			g.answers(op, a, body)
			seen[fmt.Sprint(op.node["operationId"], a.StatusCode)] = true
			return a
		}
		fill := func(customer, id string) string {
			return strings.NewReplacer("{customer_id}", customer, "{delivery_id}", id).Replace(op.path)
		}
		for _, id := range []string{ids[0], ids[1], "del_1_none", "%FF", strings.Repeat("x", 3000)} {
			for _, customer := range []string{"clinic-7", "clinic-8", "a%20b"} {
				send(fill(customer, id), "")
			}
		}
		path := fill("clinic-7", ids[0])
		send(path, "") // and once more
		parameters, _ := op.node["parameters"].([]any)
		for _, p := range parameters {
			p := p.(node)
			if p["in"] != "query" {
				continue
			}
			name := p["name"].(string)
			for _, value := range g.good(p["schema"].(node)) {
				if number, ok := value.(float64); ok {
					value = int64(number)
				}
				if a := send(path+"?"+name+"="+url.QueryEscape(fmt.Sprint(value)), ""); a.StatusCode != 200 {
					t.Errorf("%s: %s = %v is refused: %s", op.path, name, value, a.body)
				}
			}
		}
		request, _ := op.node["requestBody"].(node)
		if request == nil {
			continue
		}
		content := request["content"].(node)[typeJSON].(node)
		schema := g.resolve(content["schema"])
		properties, _ := schema["properties"].(node)
		base := node{}
		if example, ok := content["example"].(node); ok {
			base = example
			delete(base, "retry_policy")
		}
		if maintenance {
			base = node{"starts_at": time.Now().Add(time.Hour).Format(time.RFC3339), "ends_at": time.Now().Add(2 * time.Hour).Format(time.RFC3339), "message": "m"}
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			field := properties[name].(node)
			with := func(value any) answered {
				body := maps.Clone(base)
				body[name] = value
				return send(path, text(body))
			}
			kind := kindOf(field)
			if kind != "object" && kind != "array" && kind != "number" && !(maintenance && field["format"] == "date-time") {
				for _, value := range g.good(field) {
					a := with(value)
					if alone := name == "status" && value == "delivered"; a.StatusCode >= 300 && !alone {
						t.Errorf("%s: %s = %s is refused: %s", op.path, name, text(value), a.body)
					}
				}
				for _, value := range g.bad(field) {
					if strings.HasPrefix(name, "message") {
						if s, ok := value.(string); ok && s != "" && len(s) <= 2000 {
							continue // any text will do
						}
					}
					if e := with(value).refusal(t); !strings.Contains(e.mistakes()+",", " "+name+",") {
						t.Errorf("%s: %s = %.80s is taken: %s", op.path, name, text(value), e.mistakes())
					}
				}
			}
			for _, value := range []any{"x", 7, true, []any{1}, []any{}, node{"a b": 1}} {
				if with(value); kind == "object" || kind == "array" {
					if e := with(value).refusal(t); e.Code != InvalidParameter && e.Code != InvalidRequest && e.Code != UnknownField {
						t.Errorf("%s: %s = %s: %s", op.path, name, text(value), e.Code)
					}
				}
			}
		}
	}
	for _, want := range []string{"get_webhook200", "get_webhook404", "put_webhook200", "put_webhook400", "delete_webhook204", "delete_webhook404", "test_webhook202", "rotate_webhook_secret200",
		"activate_webhook_secret409", "list_deliveries200", "get_delivery200", "get_delivery404", "retry_delivery200", "retry_delivery409", "retry_deliveries200", "announce_maintenance200"} {
		if !seen[want] {
			t.Errorf("%s was not seen", want)
		}
	}
}

// announcer takes what operators announce.
type announcer struct{ by customer.Actor }

func (a *announcer) Announce(_ context.Context, by customer.Actor, m customer.Maintenance) (customer.Announced, error) {
	a.by = by
	return customer.Announced{Maintenance: m, Customers: 2}, nil
}

// announcing lets operators announce.
func (h *hookServer) announcing() *announcer {
	a := &announcer{}
	h.api.Operators = a
	return a
}
