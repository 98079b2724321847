package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/sdk/config"
)

const key = "aGVpbWxpY2ggaGVpbWxpY2ggaGVpbWxpY2ggaGVpbWw="

// planted are texts with something in them that must not be seen: the part that hunter2 or the key is.
var planted = []struct{ text, hidden string }{
	{"dial mysql://u:hunter2@db:3306/practice: refused", "hunter2"},
	{"mysql://u:hunter2@evil@db/practice", "hunter2"},
	{"https://u:hunter2@example.com/x?y", "hunter2"},
	{"key cs_live_hunter2hunter2hunter2 was given", "hunter2"},
	{"cs_demo_hunter2hunter2", "hunter2"},
	{`{"k":"cs_admin_hunter2hunter2"}`, "hunter2"},
	{"Authorization: Bearer hunter2hunter2", "hunter2"},
	{"authorization: basic hunter2hunter2==", "hunter2"},
	{"whsec_hunter2hunter2hunter2", "hunter2"},
	{"whsec_" + key, key[:20]},
	{`Post "https://hooks.example.com/in?token=hunter2&a=b": EOF`, "hunter2"},
	{"HTTPS://hooks.example.com/in?hunter2", "hunter2"},
	{"the key is " + key + ".", key[:20]},
	{`"` + key + `"`, key[:20]},
	{"keys=" + key, key[:20]},
	{"https://b.s3/x?X-Amz-Signature=hunter2&x=1", "hunter2"},
	{"/v1/objects/x?sig=hunter2", "hunter2"},
}

// TestSecretsStayOut: what looks like a secret is in no line of the log, whichever way it came there.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	for _, p := range planted {
		var b bytes.Buffer
		log := telemetry.NewLog(&b, slog.LevelInfo).With("with", p.text)
		log.Info(p.text, "text", p.text, "err", fmt.Errorf("wrapped: %w", errors.New(p.text)), "list", []string{p.text},
			slog.Group("group", "text", p.text), "stringer", stringer(p.text))
		if strings.Contains(b.String(), p.hidden) {
			t.Errorf("%q: %s", p.text, b.String())
		}
	}
	var b bytes.Buffer
	log := telemetry.NewLog(&b, slog.LevelInfo)
	log.Info("x", "password", "hunter2", "DSN", "hunter2", "api_key", "hunter2", "secret", config.NewSecret("hunter2"), "plain", config.NewSecret("hunter2"))
	if strings.Contains(b.String(), "hunter2") {
		t.Error(b.String())
	}
}

type stringer string

func (s stringer) String() string { return string(s) }

// TestPlainTextStays: what is no secret is logged as it is.
func TestPlainTextStays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"appointments_1700000000000_0123abcd", "req_0123456789abcdef01234567", "127.0.0.1:8080", "POST /v1/procedures/patients",
		"sha256:0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e0f3e", "https://api.example.com/docs", "what is https://api.example.com/docs?", "a@b.c", "cs_live_"} {
		if got := telemetry.Redact(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	level := new(slog.LevelVar)
	log := telemetry.NewLog(&b, level)
	log.Debug("left out")
	level.Set(slog.LevelDebug)
	log.With("a", 1).WithGroup("g").Debug("kept", "b", 2)
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "kept" || line["a"] != 1.0 {
		t.Errorf("%v: %s", err, b.String())
	}
}

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestMetricsAreBounded: what a caller writes makes no series of its own.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics([]string{"patients"}, "1.2.3")
	m.Gauge("streams", "Streams.", func() float64 { return 7 })
	series := func() int { return strings.Count(scrape(t, m), "\ncipherstream_") }
	m.Run("patients", "stream", "completed", 10, 1000)
	m.Run("a name that nobody knows", "stream", "completed", 1, 1)
	before := series()
	for i := range 1000 {
		m.Run(fmt.Sprint("procedure", i), "stream", "completed", 1, 1)
		m.Request("GET /v1/procedures", 200+i%3, "", time.Millisecond, time.Second)
	}
	text := scrape(t, m)
	if after := series(); after > before+60 {
		t.Errorf("%d series became %d", before, after)
	}
	for _, want := range []string{
		`cipherstream_rows_total{mode="stream",procedure="patients"} 10`,
		`cipherstream_rows_total{mode="stream",procedure="other"} 1001`,
		`cipherstream_http_requests_total{code="",route="GET /v1/procedures",status="2xx"} 1000`,
		"cipherstream_streams 7", `cipherstream_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// TestDeliveryMetrics: what is told to customers is counted by channel, event and outcome; the queue is absent where it cannot be
// read; and nothing of an event that nobody knows is a label.
func TestDeliveryMetrics(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(nil, "1.2.3")
	var fails error
	m.Deliveries(func(context.Context) (telemetry.DeliveryQueue, error) {
		return telemetry.DeliveryQueue{Waiting: 3, Dead: 2, Oldest: 90 * time.Second}, fails
	})
	m.Attempt("webhook", "job.completed", "again", 40*time.Millisecond)
	m.Attempt("webhook", "https://hooks.example.com/", "final", time.Second)
	m.DeliveryEnded("webhook", "job.completed", "dead")
	m.BreakerOpened("webhook")
	m.WebhookDisabled("gone")
	text := scrape(t, m)
	for _, want := range []string{
		`cipherstream_delivery_attempts_total{channel="webhook",event="job.completed",verdict="again"} 1`,
		`cipherstream_delivery_attempts_total{channel="webhook",event="other",verdict="final"} 1`,
		`cipherstream_deliveries_ended_total{channel="webhook",event="job.completed",state="dead"} 1`,
		`cipherstream_delivery_attempt_seconds_bucket{channel="webhook",le="0.05"} 1`,
		`cipherstream_delivery_breakers_opened_total{channel="webhook"} 1`, `cipherstream_webhooks_disabled_total{reason="gone"} 1`,
		"cipherstream_deliveries_waiting 3", "cipherstream_deliveries_dead 2", "cipherstream_deliveries_oldest_seconds 90", "cipherstream_deliveries_known 1",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	fails = errors.New("the record is away")
	if text := scrape(t, m); !strings.Contains(text, "cipherstream_deliveries_known 0\n") || strings.Contains(text, "cipherstream_deliveries_dead") {
		t.Errorf("%s", text)
	}
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestTraceparentIsHandedOn: without a collector the trace context of the request goes on as it came.
func TestTraceparentIsHandedOn(t *testing.T) {
	traces, err := telemetry.NewTraces(t.Context(), "1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := traces.Start(t.Context(), propagation.MapCarrier{"traceparent": traceparent})
	if got := telemetry.Traceparent(ctx); got != traceparent {
		t.Errorf("%q", got)
	}
	end(telemetry.Span{Route: "GET /", Status: 200})
	if ctx, _ := traces.Start(t.Context(), propagation.MapCarrier{}); telemetry.Traceparent(ctx) != "" {
		t.Error("a trace context came from nowhere")
	}
}

// TestSpansAreSent: with a collector, a request is a span under that of who asked, and its runs are under it.
func TestSpansAreSent(t *testing.T) {
	got := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/v1/traces" {
			select {
			case got <- body:
			default:
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	var b bytes.Buffer
	log := telemetry.NewLog(&b, slog.LevelInfo)
	traces, err := telemetry.NewTraces(t.Context(), "1", log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := traces.Start(t.Context(), propagation.MapCarrier{"traceparent": traceparent})
	child := telemetry.Traceparent(ctx)
	if child == traceparent || !strings.HasPrefix(child, traceparent[:36]) || !strings.HasSuffix(child, "-01") {
		t.Errorf("the run's trace context is %q", child)
	}
	log.InfoContext(ctx, "x")
	if !strings.Contains(b.String(), `"trace_id":"0af7651916cd43dd8448eb211c80319c"`) {
		t.Errorf("the line names no trace: %s", b.String())
	}
	end(telemetry.Span{Route: "POST /v1/procedures/{procedure}", Status: 503, Code: "DATABASE_UNAVAILABLE", RunID: "run", Procedure: "patients", RequestID: "req_1"})
	if err := traces.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := traces.Stop(context.Background()); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
	body := <-got
	for _, want := range []string{"POST /v1/procedures/{procedure}", "DATABASE_UNAVAILABLE", "patients", "cipherstream", "req_1"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%q is not in what was sent", want)
		}
	}
}

// TestTracesAreOff: the variables of the specification switch them.
func TestTracesAreOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	traces, err := telemetry.NewTraces(t.Context(), "1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := traces.Start(t.Context(), propagation.MapCarrier{})
	if telemetry.Traceparent(ctx) != "" {
		t.Error("a span was begun")
	}
	if err := traces.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStreamMetrics: what is sent is counted by channel, and how far behind streams are is told of all together, for as long
// as it is told anew. No customer is in it.
func TestStreamMetrics(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	m := telemetry.NewMetrics(nil, "1")
	s := m.Streams(func() time.Time { return now })
	if strings.Contains(scrape(t, m), "data_stream_lag") {
		t.Error("there is a lag of nothing")
	}
	s.Requested("sunrise", "entities", "", 7, time.Second)
	s.Requested("sunrise", "entities", "changes.answer_status", 0, time.Second)
	s.Numbered("sunrise", 9)
	s.Failed("sunrise", "changes.position_lost")
	s.Lag("sunrise", "entities", 5, now.Add(-40*time.Second))
	s.Lag("sunset", "entities", 2, now.Add(-90*time.Second))
	s.Lag("sunset", "logs", 0, time.Time{})
	text := scrape(t, m)
	for _, line := range []string{`cipherstream_data_stream_requests_total{channel="entities",code="ok"} 1`,
		`cipherstream_data_stream_requests_total{channel="entities",code="changes.answer_status"} 1`, `cipherstream_data_stream_documents_total{channel="entities"} 7`,
		`cipherstream_data_stream_numbered_total 9`, `cipherstream_data_stream_failures_total{code="changes.position_lost"} 1`,
		`cipherstream_data_stream_lag_documents{channel="entities"} 7`, `cipherstream_data_stream_lag_seconds{channel="entities"} 90`,
		`cipherstream_data_stream_lag_documents{channel="logs"} 0`, `cipherstream_data_stream_lag_seconds{channel="logs"} 0`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
	if strings.Contains(text, "suns") || strings.Contains(text, "sunr") {
		t.Error("a customer is named")
	}
	now = now.Add(50 * time.Second)
	s.Lag("sunrise", "entities", 1, now)
	now = now.Add(20 * time.Second)
	if text := scrape(t, m); !strings.Contains(text, `data_stream_lag_documents{channel="entities"} 1`+"\n") || strings.Contains(text, `lag_documents{channel="logs"}`) {
		t.Errorf("what is not told any more counts:\n%s", text)
	}
}
