package service_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// fakeHooks is a service that answers what a test says, by method and path.
type fakeHooks struct {
	*httptest.Server
	t    *testing.T
	kind string // what of the customer is asked about

	mu      sync.Mutex
	answers map[string][]string // in order; the last one stays
	asked   []string            // methods, paths with query, and bodies
}

func startHooks(t *testing.T, answers map[string][]string) *fakeHooks {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	f := &fakeHooks{t: t, kind: "webhook", answers: answers}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeHooks) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	under := strings.TrimPrefix(r.URL.Path, "/v1/customers/c/"+f.kind)
	what := strings.TrimSpace(r.Method + " " + under)
	f.asked = append(f.asked, strings.TrimSpace(strings.TrimSuffix(what+"?"+r.URL.RawQuery, "?")+" "+string(body)))
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer cs_live_geheim" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	list := f.answers[what]
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"WEBHOOK_NOT_FOUND","message":"The customer has no webhook.","suggestion":"Put one."}}`)
		return
	}
	answer := list[0]
	if len(list) > 1 {
		f.answers[what] = list[1:]
	}
	if answer == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_, _ = io.WriteString(w, answer)
}

func (f *fakeHooks) run(args ...string) cmdtest.Result {
	f.t.Helper()
	f.mu.Lock()
	f.asked = nil
	f.mu.Unlock()
	r := cmdtest.Call(f.t, append(args, "--server", f.URL, "--customer", "c")...)
	if strings.Contains(r.Stdout+r.Stderr, "geheim") {
		f.t.Errorf("a secret is shown: %+v", r)
	}
	return r
}

const putAnswer = `{"customer_id":"c","webhook_url":"https://hooks.example.com/in","events":["job.completed","job.failed"],"enabled":true,"custom_headers":{"Authorization":"***"},` +
	`"retry_config":{"max_attempts":3,"backoff_multiplier":2,"initial_delay_seconds":1},"timeout_seconds":30,"batch_delivery":false,"tls_min_version":"1.3","status":"active",` +
	`"secret":"whsec_AAAA","secret_id":"wsk_1","created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z"}`

// TestWebhookSet: what flags say is sent, values of headers come from references, and the secret is shown when there is one.
func TestWebhookSet(t *testing.T) {
	f := startHooks(t, map[string][]string{"PUT": {putAnswer}})
	t.Setenv("HOOK_AUTHORIZATION", "Bearer geheim")
	r := f.run("webhook", "set", "https://hooks.example.com/in", "--event", "job.completed", "--event", "job.failed", "--header", "Authorization=env:HOOK_AUTHORIZATION", "--header", "X-Kept",
		"--max-attempts", "5", "--backoff", "1.5", "--initial-delay", "500ms", "--timeout", "10s", "--per-minute", "60", "--batch", "--tls-1.2")
	if r.Code != 0 || !strings.Contains(r.Stdout, "\nwhsec_AAAA\n") || !strings.Contains(r.Stdout, "shown once") || !strings.Contains(r.Stdout, "3 attempts, the first wait 1s, each 2 times the one before") {
		t.Errorf("%+v", r)
	}
	_, sent, _ := strings.Cut(f.asked[0], " ")
	var got, want map[string]any
	if err := json.Unmarshal([]byte(`{"webhook_url":"https://hooks.example.com/in","events":["job.completed","job.failed"],"custom_headers":{"Authorization":"Bearer geheim","X-Kept":"***"},`+
		`"retry_config":{"max_attempts":5,"backoff_multiplier":1.5,"initial_delay_seconds":0.5},"timeout_seconds":10,"rate_limit_per_minute":60,"batch_delivery":true,"tls_min_version":"1.2"}`), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(sent), &got); err != nil || marshal(t, got) != marshal(t, want) {
		t.Errorf("%s", sent)
	}
	if r := f.run("webhook", "set", "https://hooks.example.com/in"); f.asked[0] != `PUT {"webhook_url":"https://hooks.example.com/in"}` || r.Code != 0 {
		t.Errorf("%q", f.asked)
	}
	if r := f.run("webhook", "set", "https://hooks.example.com/in", "--retry", "durable", "--off"); !strings.Contains(f.asked[0], `"enabled":false`) || !strings.Contains(f.asked[0], `"retry_policy":"durable"`) || r.Code != 0 {
		t.Errorf("%q", f.asked)
	}
	if r := f.run("webhook", "set", "https://hooks.example.com/in", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"secret": "whsec_AAAA"`) {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "set", "https://a", "--header", "Authorization=Bearer geheim"); r.Code != terminal.ExitUsage || len(f.asked) > 0 {
		t.Errorf("a value on the command line: %+v", r)
	}
	if r := cmdtest.Call(t, "webhook", "set", "https://a", "--server", f.URL); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "--customer") {
		t.Errorf("%+v", r)
	}
	f.answers["PUT"] = []string{strings.Replace(putAnswer, `"secret":"whsec_AAAA",`, "", 1)}
	if r := f.run("webhook", "set", "https://hooks.example.com/in"); r.Code != 0 || strings.Contains(r.Stdout, "shown once") {
		t.Errorf("%+v", r)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWebhookGet: an endpoint that was disabled says so, and none is an error with the service's code.
func TestWebhookGet(t *testing.T) {
	f := startHooks(t, map[string][]string{"GET": {strings.NewReplacer(`"secret":"whsec_AAAA",`, `"pending_secret_id":"wsk_2","pending_activates_at":"2026-01-08T00:00:00.000Z",`, `"active"`,
		`"disabled","failures":9,"failing_since":"2026-01-01T00:00:00.000Z","disabled_at":"2026-01-06T00:00:00.000Z","disabled_reason":"nothing but failures","source_addresses":["198.51.100.0/28"]`).Replace(putAnswer)}, "DELETE": {""}})
	r := f.run("webhook", "get")
	for _, want := range []string{"disabled", "9 failures since 2026-01-01", "nothing but failures", "wsk_2, from 2026-01-08", "198.51.100.0/28", "Authorization"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%s is missing: %+v", want, r)
		}
	}
	if r := f.run("webhook", "delete"); r.Code != 0 || f.asked[0] != "DELETE" || r.Stdout != "the webhook of c is removed\n" {
		t.Errorf("%+v %q", r, f.asked)
	}
	f.answers["GET"] = nil
	if r := f.run("webhook", "get"); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "WEBHOOK_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

// TestWebhookSecret: a rotation shows the secret and says what to do next.
func TestWebhookSecret(t *testing.T) {
	f := startHooks(t, map[string][]string{"POST /rotate-secret": {`{"secret_id":"wsk_2","secret":"whsec_BBBB","pending":true,"activates_at":"2026-01-08T00:00:00.000Z"}`, `{"secret_id":"wsk_1","secret":"whsec_CCCC","pending":false}`},
		"POST /activate-secret": {`{"secret_id":"wsk_2","pending":false}`}})
	if r := f.run("webhook", "secret", "rotate"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "whsec_BBBB\n") || !strings.Contains(r.Stdout, "cipherstream webhook secret activate") || !strings.Contains(r.Stdout, "2026-01-08") {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "secret", "rotate"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "whsec_CCCC\n") || strings.Contains(r.Stdout, "activate") {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "secret", "activate"); r.Code != 0 || r.Stdout != "deliveries are signed with secret wsk_2 alone\n" {
		t.Errorf("%+v", r)
	}
}

func deliveryOf(status, more string) string {
	return `{"delivery_id":"del_1_ab","customer_id":"c","channel":"webhook","event":"webhook.test","target":"https://hooks.example.com/in","of_request":false,"status":"` + status +
		`","attempts":1,"created_at":"2026-01-01T00:00:00.000Z"` + more + `}`
}

func deliveriesOf(one string) string {
	return `{"deliveries":[` + one + `],"total":1,"limit":1,"offset":0}`
}

// TestWebhookTest: the test is waited for, and what the receiver did is told; one that is not taken is an error.
func TestWebhookTest(t *testing.T) {
	f := startHooks(t, map[string][]string{"POST /test": {`{"event":"webhook.test","accepted_at":"2026-01-01T00:00:00.000Z","deliveries":"/"}`},
		"GET /deliveries": {`{"deliveries":[],"total":0}`, deliveriesOf(deliveryOf("sending", "")), deliveriesOf(deliveryOf("delivered", `,"http_status":204`))}})
	if r := f.run("webhook", "test"); r.Code != 0 || r.Stdout != "https://hooks.example.com/in answered 204\n" || f.asked[1] != "GET /deliveries?event=webhook.test&limit=1&since=2026-01-01T00%3A00%3A00.000Z" {
		t.Errorf("%+v %q", r, f.asked)
	}
	f.answers["GET /deliveries"] = []string{deliveriesOf(deliveryOf("dead", `,"http_status":404,"error_code":"webhook.status","error_message":"the receiver answered 404"`))}
	if r := f.run("webhook", "test"); r.Code == 0 || !strings.Contains(r.Stderr, "webhook.status: the receiver answered 404") || !strings.Contains(r.Stderr, "deliveries del_1_ab") {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "test", "--json"); r.Code == 0 || !strings.Contains(r.Stdout, `"delivery_id": "del_1_ab"`) {
		t.Errorf("%+v", r)
	}
	f.answers["GET /deliveries"] = []string{deliveriesOf(deliveryOf("waiting", `,"error_code":"webhook.timeout","error_message":"no answer in 30s"`))}
	if r := f.run("webhook", "test", "--wait", "10ms"); r.Code == 0 || !strings.Contains(r.Stderr, "not taken within 10ms: webhook.timeout") {
		t.Errorf("%+v", r)
	}
}

// TestWebhookDeliveries: a list by what flags say, one with its attempts, and what is sent again.
func TestWebhookDeliveries(t *testing.T) {
	dead := deliveryOf("dead", `,"http_status":500,"error_code":"webhook.status","job_id":"patients_1_ab"`)
	f := startHooks(t, map[string][]string{"GET /deliveries": {deliveriesOf(dead)}, "GET /deliveries/del_1_ab": {deliveryOf("dead",
		`,"attempt_log":[{"attempt":1,"at":"2026-01-01T00:00:01.000Z","duration_seconds":0.25,"http_status":500,"error_code":"webhook.status","error_message":"the receiver answered 500"}]`)},
		"POST /deliveries/del_1_ab/retry": {deliveryOf("waiting", "")}, "POST /deliveries/retry": {`{"resent":1200}`}})
	r := f.run("webhook", "deliveries", "--status", "dead", "--event", "job.failed", "--job", "patients_1_ab", "--since", "2026-01-01T00:00:00Z", "--limit", "1", "--offset", "3")
	if r.Code != 0 || !strings.Contains(r.Stdout, "500 webhook.status") || !strings.Contains(r.Stdout, "1 of 1 delivery") ||
		f.asked[0] != "GET /deliveries?event=job.failed&job_id=patients_1_ab&limit=1&offset=3&since=2026-01-01T00%3A00%3A00Z&status=dead" {
		t.Errorf("%+v %q", r, f.asked)
	}
	if r := f.run("webhook", "deliveries", "--since", "yesterday"); r.Code != terminal.ExitUsage || len(f.asked) > 0 {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "deliveries", "--since", "2h"); r.Code != 0 || !strings.Contains(f.asked[0], "since=20") {
		t.Errorf("%+v %q", r, f.asked)
	}
	if r := f.run("webhook", "deliveries", "del_1_ab"); r.Code != 0 || !strings.Contains(r.Stdout, "0.250s  500     webhook.status: the receiver answered 500") {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "retry", "del_1_ab"); r.Code != 0 || r.Stdout != "delivery del_1_ab is sent again\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run("webhook", "retry", "--since", "2026-01-01T00:00:00Z", "--status", "dead"); r.Code != 0 || r.Stdout != "1,200 deliveries are sent again\n" ||
		f.asked[0] != `POST /deliveries/retry {"since":"2026-01-01T00:00:00Z","status":"dead"}` {
		t.Errorf("%+v %q", r, f.asked)
	}
	if r := f.run("webhook", "retry", "del_1_ab", "--since", "2h"); r.Code != terminal.ExitUsage {
		t.Errorf("%+v", r)
	}
}

// TestMaintenanceAnnounce: an operator announces a maintenance on the record of a service that does not run.
func TestMaintenanceAnnounce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DSN", "mysql://u:geheim@127.0.0.1/x")
	config := filepath.Join(dir, "service.yaml")
	if err := os.WriteFile(config, []byte("apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: x}\nspec:\n  state: state\n  customers: [{id: one, dsn: \"env:DSN\"}, {id: two, dsn: \"env:DSN\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	announce := func(args ...string) cmdtest.Result {
		return cmdtest.Call(t, append([]string{"maintenance", "announce", "--config", config}, args...)...)
	}
	for _, args := range [][]string{nil, {"--from", "2026-03-01T22:00:00Z"}, {"--from", "2026-03-01T22:00:00Z", "--to", "2026-03-01T23:00:00Z"}, {"--from", "tomorrow", "--to", "2026-03-01T23:00:00Z", "--message", "x"},
		{"--from", "2020-03-01T22:00:00Z", "--to", "2020-03-01T23:00:00Z", "--message", "x"}} {
		if r := announce(args...); r.Code != terminal.ExitUsage || r.Stderr == "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
	from := time.Now().Add(time.Hour).UTC()
	if r := announce("--from", from.Format(time.RFC3339), "--to", from.Add(time.Hour).Format(time.RFC3339), "--message", "Updates."); r.Code != 0 || !strings.HasPrefix(r.Stdout, "2 customers are told of the maintenance from ") {
		t.Errorf("%+v", r)
	}
}
