package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// want is what the source and the encoder of the tests make of so many rows.
func want(rows int) string {
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, "%d@%d\n", i, i)
	}
	return b.String()
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func ask(more string) string {
	return `{"customer_id":"clinic-7","from_date":"2024-01-01"` + more + `}`
}

// TestAnswer: the same rows in both modes; what is known of them stands before the body where the answer was whole before
// it was sent, and behind it otherwise; and the request can be asked about.
func TestAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	first := ""
	for _, c := range []struct {
		name, body string
		trailer    bool
	}{
		{"auto", ask(`,"rows":250`), false},
		{"stream", ask(`,"rows":250,"mode":"stream"`), true},
		{"text", ask(`,"rows":"250","mode":"stream","encrypted":"false"`), true},
	} {
		a := s.post("visits", c.body, "X-Request-Id", "mine", "Accept-Encoding", "gzip, zstd")
		if a.StatusCode != 200 || a.err != nil || string(a.body) != want(250) {
			t.Fatalf("%s: %s, %v, %d bytes", c.name, a.Status, a.err, len(a.body))
		}
		totals, others := a.Header, http.Header(a.Trailer)
		if c.trailer {
			totals, others = others, totals
		}
		if totals.Get(headerRows) != "250" || totals.Get(headerDigest) != digest(a.body) || others.Get(headerRows) != "" || others.Get(headerDigest) != "" {
			t.Errorf("%s: header %v, trailer %v", c.name, a.Header, a.Trailer)
		}
		if (a.ContentLength == int64(len(a.body))) == c.trailer {
			t.Errorf("%s: Content-Length %d", c.name, a.ContentLength)
		}
		run, id := a.Header.Get(headerRun), a.Header.Get("X-Request-Id")
		if first == "" {
			first = id
		}
		if !strings.HasPrefix(run, "visits_") || a.Header.Get(headerMode) != "stream" || a.Header.Get("Content-Encoding") != "" ||
			a.Header.Get("Content-Type") != typeLines || a.Header.Get("Content-Disposition") != `attachment; filename="`+run+`.ndjson"` {
			t.Errorf("%s: %v", c.name, a.Header)
		}
		r := s.do("GET", "/v1/requests/"+id, "")
		for _, part := range []string{`"request_id":"` + id, `"run_id":"` + run, `"status":"completed"`, `"rows":250`, fmt.Sprintf(`"bytes":%d`, len(a.body)), `"has_receipt":false`} {
			if !strings.Contains(string(r.body), part) {
				t.Errorf("%s: the request does not say %s: %s", c.name, part, r.body)
			}
		}
		if e := s.do("GET", "/v1/requests/"+id, "", "Authorization", "Bearer other").refusal(t); e.Code != RequestNotFound {
			t.Errorf("another customer sees the request: %s", e.Code)
		}
		if e := s.do("GET", "/v1/requests/"+id+"/receipt", "").refusal(t); e.Code != ReceiptNotFound {
			t.Errorf("a receipt of what was not sealed: %s", e.Code)
		}
	}
	line := s.lineOf(first)
	for key, value := range map[string]any{"route": "POST /v1/procedures/visits", "status": 200.0, "customer": "clinic-7", "key_id": "key_good", "procedure": "visits",
		"mode": "auto", "format": "ndjson", "rows": 250.0, "client_request_id": "mine", "from": "127.0.0.1"} {
		if line[key] != value {
			t.Errorf("the log says %s: %v, want %v", key, line[key], value)
		}
	}
}

// TestRefusedRuns: what fails before the first byte is an error, and the record says so.
func TestRefusedRuns(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.Auto = delivery.Limits{Rows: 1000} })
	for body, code := range map[string]Code{
		ask(`,"mode":"job"`): JobsNotAvailable, ask(`,"rows":1001`): JobsNotAvailable, ask(`,"webhook_url":"https://x/y"`): WebhooksUnavailable,
		ask(`,"encrypted":true`): NoSealingKey, ask(`,"break":"error"`): SourceFailed, ask(`,"break":"error","mode":"stream"`): SourceFailed,
		ask(`,"break":"retry"`): SourceFailed, ask(`,"break":"panic","mode":"stream"`): StageFailed, ask(`,"rows":500,"at":400,"break":"error"`): SourceFailed,
	} {
		a := s.post("visits", body)
		e := a.refusal(t)
		if e.Code != code {
			t.Errorf("%s: %s %s", body, e.Code, a.body)
		}
		r, err := s.record.Request(t.Context(), "clinic-7", e.RequestID)
		if ran := strings.Contains(body, "break") || strings.Contains(body, "1001"); ran != (err == nil) || ran && (r.Status != store.Failed || r.Code != string(code)) {
			t.Errorf("%s: the record has %+v, %v", body, r, err)
		}
	}
	s.customers.refuse = fault.New(customer.CodeDisabled, fault.Usage, "off")
	if e := s.post("visits", ask("")).refusal(t); e.Code != CustomerDisabled {
		t.Errorf("a disabled customer: %s", e.Code)
	}
}

func rawPost(version, body string, header ...string) string {
	return fmt.Sprintf("POST /v1/procedures/visits HTTP/%s\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s",
		version, len(body), strings.Join(append(header, ""), "\r\n"), body)
}

// TestCutNeverLooksWhole: a stream that fails behind its first byte has no end: over HTTP/1.1 the last chunk is missing; over
// HTTP/1.0, where a cut looks like an end, it was never begun. Why it failed can be asked.
func TestCutNeverLooksWhole(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	broken := ask(`,"mode":"stream","rows":100000,"width":50,"at":50000,"break":"error"`)
	whole := ask(`,"mode":"stream","rows":100000,"width":50`)

	got := s.raw(rawPost("1.1", broken))
	if !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, "Transfer-Encoding: chunked") || strings.HasSuffix(got, "0\r\n\r\n") || strings.Contains(got, "\r\n0\r\n") {
		t.Errorf("HTTP/1.1: %.300q … %q", got, got[max(0, len(got)-50):])
	}
	got = s.raw(rawPost("1.1", whole))
	if !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, "\r\n0\r\nX-Cipherstream-Rows: 100000\r\n") && !strings.Contains(got, "X-Cipherstream-Rows: 100000") {
		t.Errorf("HTTP/1.1: %.300q … %q", got, got[max(0, len(got)-300):])
	}

	got = s.raw(rawPost("1.0", broken))
	if !strings.HasPrefix(got, "HTTP/1.0 500") || !strings.Contains(got, string(SourceFailed)) {
		t.Errorf("HTTP/1.0: %.300q", got)
	}
	got = s.raw(rawPost("1.0", whole))
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.0 200") || !strings.Contains(head, fmt.Sprintf("Content-Length: %d\r\n", len(body))) || strings.Contains(head, "chunked") || !strings.Contains(head, "X-Cipherstream-Rows: 100000") {
		t.Errorf("HTTP/1.0: %s, %d bytes", head, len(body))
	}

	a := s.post("visits", broken)
	if a.StatusCode != 200 || a.err == nil || a.Trailer.Get(headerRows) != "" {
		t.Errorf("%s, %v, %v", a.Status, a.err, a.Trailer)
	}
	// The client hears of the cut before it is written down.
	id := a.Header.Get("X-Request-Id")
	r := s.do("GET", "/v1/requests/"+id, "")
	for until := time.Now().Add(20 * time.Second); strings.Contains(string(r.body), `"status":"running"`) && time.Now().Before(until); {
		r = s.do("GET", "/v1/requests/"+id, "")
	}
	if !strings.Contains(string(r.body), `"status":"failed"`) || !strings.Contains(string(r.body), `"error_code":"SOURCE_FAILED"`) || strings.Contains(string(r.body), `"sha256"`) {
		t.Errorf("the request says %s", r.body)
	}
	if line := s.lineOf(id); line["cut"] != true || line["code"] != string(SourceFailed) || line["status"] != 200.0 {
		t.Errorf("the log says %v", line)
	}
}

// TestClientGone: a client that goes away ends its run, which is written down.
func TestClientGone(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body := ask(`,"mode":"stream","rows":1000000000`)
	if _, err := io.WriteString(c, rawPost("1.1", body)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := response.Header.Get("X-Request-Id")
	gone := time.Now()
	c.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := s.record.Request(t.Context(), "clinic-7", id)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != store.Running {
			if r.Status != store.Cancelled || r.Code != string(ClientGone) || time.Since(gone) > 3*time.Second {
				t.Errorf("%+v after %v", r, time.Since(gone))
			}
			return
		}
		if time.Since(gone) > 20*time.Second {
			t.Fatal("the run goes on")
		}
		<-tick.C
	}
}

// TestReferenceLists: they are streamed in every mode, kept, told apart by what was asked for, and not sent again to who
// has them.
func TestReferenceLists(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	first := s.post("places", `{"customer_id":"clinic-7","mode":"job"}`)
	if string(first.body) != want(3) || first.Header.Get("Age") != "" || first.Header.Get(headerRows) != "3" || first.Header.Get(headerMode) != "stream" || first.Header.Get("ETag") == "" {
		t.Fatalf("%s %v %s", first.Status, first.Header, first.body)
	}
	for _, c := range []struct {
		procedure, body, bearer string
		cached                  bool
	}{
		{"places", `{"customer_id":"clinic-7"}`, "good", true},
		{"places", `{"customer_id":"clinic-7","mode":"stream","from_date":"2024-02-02","to_date":"2024-01-01","date_modifier":"Updated"}`, "good", true},
		{"places", `{"customer_id":"clinic-7","rows":4}`, "good", false},
		{"places", `{"customer_id":"clinic-7","output_format":"csv"}`, "good", false},
		{"places", `{"customer_id":"clinic-7","compression":"gzip"}`, "good", false},
		{"places", `{"customer_id":"clinic-8"}`, "other", false},
	} {
		a := s.post(c.procedure, c.body, "Authorization", "Bearer "+c.bearer)
		if a.StatusCode != 200 || c.cached != (a.Header.Get("Age") != "") || c.cached != (a.Header.Get(headerRun) == first.Header.Get(headerRun)) {
			t.Errorf("%s: %s %v", c.body, a.Status, a.Header)
		}
	}
	a := s.do("GET", "/v1/procedures/places/rows?customer_id=clinic-7", "")
	if !bytes.Equal(a.body, first.body) || a.Header.Get("ETag") != first.Header.Get("ETag") || a.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	for condition, status := range map[string]int{a.Header.Get("ETag"): 304, "W/" + a.Header.Get("ETag"): 304, `"x", ` + a.Header.Get("ETag"): 304, "*": 304, `"x"`: 200} {
		a := s.do("GET", "/v1/procedures/places/rows?customer_id=clinic-7", "", "If-None-Match", condition)
		if a.StatusCode != status || (status == 304) != (len(a.body) == 0) {
			t.Errorf("%s: %s %d bytes", condition, a.Status, len(a.body))
		}
	}
	// Another declaration of the customer may be another database.
	declared := *s.customers.customers["clinic-7"]
	s.customers.customers["clinic-7"] = &declared
	if a := s.post("places", `{"customer_id":"clinic-7"}`); a.Header.Get("Age") != "" {
		t.Error("a list outlives its customer's declaration")
	}
	if e := s.post("places", `{"customer_id":"clinic-7","break":"error"}`).refusal(t); e.Code != SourceFailed {
		t.Errorf("a list that fails: %s", e.Code)
	}
}

// TestGuidesExtract runs the commands of the guides against the service.
func TestGuidesExtract(t *testing.T) {
	t.Parallel()
	s, _ := newWorkingServerOf(t, pipelines("appointments.yaml", strings.Replace(visits, "name: visits", "name: appointments", 1)), 1, nil)
	program(t, "curl")
	for name, output := range map[string]string{"first-extract.sh": "appointments.ndjson", "incremental.sh": "appointments.changed.ndjson", "jobs.sh": "appointments.ndjson"} {
		code, err := guideCode(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		run := exec.Command(program(t, "bash"), "-ec", code)
		run.Dir = dir
		run.Env = append(os.Environ(), "CIPHERSTREAM_URL="+s.URL, "CIPHERSTREAM_KEY=good", "CIPHERSTREAM_CUSTOMER=clinic-7")
		if out, err := run.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if got, err := os.ReadFile(filepath.Join(dir, output)); string(got) != want(3) {
			t.Errorf("%s: %v, %q", name, err, got)
		}
		// A refusal, and an answer that was cut, are errors of the command as well.
		run = exec.Command("bash", "-ec", code)
		run.Dir, run.Env = t.TempDir(), append(os.Environ(), "CIPHERSTREAM_URL="+s.URL, "CIPHERSTREAM_KEY=bad", "CIPHERSTREAM_CUSTOMER=clinic-7")
		if err := run.Run(); err == nil {
			t.Errorf("%s takes a refusal for an answer", name)
		}
	}
}

// watchedEngine is an engine whose plans are seen when they are run.
type watchedEngine struct {
	Engine
	ran func(*engine.Plan)
}

func (w watchedEngine) Run(ctx context.Context, p *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	w.ran(p)
	return w.Engine.Run(ctx, p, sink, o)
}

// TestRunMemory: what a run may have in flight is what the service says.
func TestRunMemory(t *testing.T) {
	t.Parallel()
	seen := make(chan int64, 1)
	s := newServer(t, func(c *Config) {
		c.Tuning.RunMemory = 16 << 20
		c.Engine = watchedEngine{c.Engine, func(p *engine.Plan) { seen <- p.Limits.MemoryBytes }}
	})
	if a := s.post("visits", ask("")); a.StatusCode != 200 {
		t.Fatal(a.Status)
	}
	if got := <-seen; got != 16<<20 {
		t.Errorf("%d bytes", got)
	}
}

// awayRecord is a record of requests that takes nothing.
type awayRecord struct{ Requests }

func (awayRecord) BeginRequest(context.Context, store.Request, ...store.Audit) error {
	return fault.New(store.CodeDiskFull, fault.Internal, "no room")
}

func (awayRecord) EndRequest(context.Context, store.Request, ...store.Audit) error {
	return fault.New(store.CodeFailed, fault.Internal, "away")
}

// TestRecordAway: rows are answered when the record takes nothing, in every mode, and the log says who has had them.
func TestRecordAway(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.Requests = awayRecord{c.Requests} })
	for _, mode := range []string{"auto", "stream"} {
		a := s.post("visits", ask(`,"rows":250,"mode":"`+mode+`"`))
		if a.StatusCode != 200 || a.err != nil || string(a.body) != want(250) {
			t.Errorf("%s: %s, %v %s", mode, a.Status, a.err, a.body)
		}
		id := a.Header.Get("X-Request-Id")
		s.lineOf(id)
		told := `"msg":"a request runs that was not written down","request_id":"` + id + `","customer":"clinic-7","key_id":"key_good"`
		if !strings.Contains(s.log.String(), told) {
			t.Errorf("%s: the log does not say it: %s", mode, s.log)
		}
	}
}
