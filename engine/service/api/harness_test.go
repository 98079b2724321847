package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// common are the parameters and stages of the pipelines below, which are like the catalogue's.
const common = `
apiVersion: cipherstream/v1
kind: Template
metadata: {name: common}
spec:
  parameters:
    - {name: output_format, type: string, default: ndjson, allowed: [ndjson, json, csv, parquet, arrow]}
    - {name: compression, type: string, default: none, allowed: [none, gzip, zip, zstd]}
    - {name: encrypted, type: boolean, default: false}
    - {name: mode, type: string, default: auto, allowed: [auto, stream, job]}
    - {name: rows, type: integer, default: 3}
    - {name: width, type: integer, default: 1}
    - {name: at, type: integer, default: 0}
    - {name: break, type: string, default: ""}
  stages:
    source: {use: count, with: {rows: "${params.rows}", at: "${params.at}", break: "${params.break}", batch: 100}}
    encoder: {use: lines, with: {width: "${params.width}"}}
    sink: {use: file, with: {path: "${run.output}"}}
`

const visits = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: Visits, category: Visits, class: data, description: One row a visit.}
spec:
  extends: common
  parameters:
    - {name: from_date, type: date, required: true}
    - {name: to_date, type: date}
    - {name: date_modifier, type: string, default: All, allowed: [All, Created, Updated]}
  rules:
    - {check: params.to_date == null || params.from_date <= params.to_date, message: to_date is before from_date, code: INVALID_DATE_RANGE, parameter: to_date}
  columns: [{name: n, type: int64}]
  drift: ignore
`

const places = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: places, title: Places, category: Places, class: reference, description: Every place.}
spec: {extends: common, columns: [{name: n, type: int64}], drift: ignore}
`

func pipelines(name, text string) fstest.MapFS {
	return fstest.MapFS{
		"templates/common.yaml": {Data: []byte(common)}, "visits.yaml": {Data: []byte(visits)}, "places.yaml": {Data: []byte(places)},
		name: {Data: []byte(text)},
	}
}

// keys are the bearer keys of the tests: who they are of.
var keys = map[string]customer.Principal{
	"good":     {KeyID: "key_good", Kind: store.Live, Customer: "clinic-7", Scopes: customer.CustomerScopes},
	"other":    {KeyID: "key_other", Kind: store.Live, Customer: "clinic-8", Scopes: customer.CustomerScopes},
	"unscoped": {KeyID: "key_unscoped", Kind: store.Live, Customer: "clinic-7"},
	"operator": {KeyID: "key_operator", Kind: store.Admin, Scopes: customer.Scopes{customer.Admin}},
	"jobless":  {KeyID: "key_jobless", Kind: store.Live, Customer: "clinic-7", Scopes: customer.Scopes{customer.Procedures}},
}

// registry knows the keys above, and their customers.
type registry struct {
	customers map[string]*customer.Customer
	refuse    error // what every customer is refused with
}

func (r *registry) Authenticate(_ context.Context, bearer string, from netip.Addr) (customer.Principal, error) {
	p, ok := keys[bearer]
	if !ok {
		return p, fault.New(customer.CodeKeyUnknown, fault.Usage, "no such key")
	}
	p.From = from
	return p, nil
}

func (r *registry) Customer(_ context.Context, p customer.Principal, id string, scope customer.Scope) (*customer.Customer, error) {
	c := r.customers[id]
	switch {
	case c == nil || id != p.Customer:
		return nil, fault.New(customer.CodeUnknown, fault.Usage, "no such customer")
	case !p.Scopes.Has(scope):
		return nil, fault.New(customer.CodeScope, fault.Usage, "no scope")
	}
	return c, r.refuse
}

// Serves gives whom a worker runs jobs for.
func (r *registry) Serves(_ context.Context, id string) (*customer.Customer, error) {
	c := r.customers[id]
	if c == nil {
		return nil, fault.New(customer.CodeUnknown, fault.Usage, "no such customer")
	}
	return c, nil
}

func (r *registry) Sealing(context.Context, *customer.Customer) (*customer.Sealing, error) {
	return nil, fault.New(customer.CodeNoSealingKey, fault.Usage, "none")
}

// server is an API on a listener, and what it is made of.
type server struct {
	*httptest.Server
	t         testing.TB
	api       *API
	customers *registry
	record    *memory.Store
	log       *logged2
}

type logged2 struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged2) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged2) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newServer(t testing.TB, change func(*Config)) *server {
	t.Helper()
	return newServerOf(t, pipelines("none", ""), change)
}

func newServerOf(t testing.TB, catalogue fs.FS, change func(*Config)) *server {
	t.Helper()
	bundle := runnertest.Bundle("test")
	bundle.Stages = append(bundle.Stages, runnertest.Follow())
	e, err := engine.New(context.Background(), engine.Config{FirstParty: bundle, Args: []string{"unused"}, Catalogue: catalogue, NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	spools, err := spool.New(spool.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, record: memory.New(), log: &logged2{}, customers: &registry{customers: map[string]*customer.Customer{}}}
	for _, id := range []string{"clinic-7", "clinic-8"} {
		s.customers.customers[id] = &customer.Customer{ID: id, DSN: config.NewSecret("mysql://root:pw@db.internal/x")}
	}
	cfg := Config{Engine: e, Customers: s.customers, Admission: admission.New(admission.Config{}), Spools: spools, Requests: s.record,
		Log: slog.New(slog.NewJSONHandler(s.log, nil)), Isolation: engine.IsolationNone, Version: "1.2.3"}
	if change != nil {
		change(&cfg)
	}
	if s.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(s.api.Handler())
	s.Config = Server(s.api.Handler(), cfg.Log)
	s.Start()
	t.Cleanup(func() { s.Server.Close(); s.api.Close() })
	return s
}

// realCatalogue is that of the program. Its stages are not here, so its pipelines are described, and not run.
func realCatalogue() fs.FS { return os.DirFS("../../../pipelines") }

// answered is an answer that was read to its end.
type answered struct {
	*http.Response
	body []byte
	err  error // of reading
}

// do sends a request with the key "good", unless the header names another or none ("-").
func (s *server) do(method, path, body string, header ...string) answered {
	s.t.Helper()
	h := http.Header{"Authorization": {"Bearer good"}}
	if body != "" {
		h.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "-" {
			h.Del(header[i])
		} else {
			h.Set(header[i], header[i+1])
		}
	}
	return s.send(h, method, path, body)
}

// send sends a request with this header, and reads the answer to its end. A redirect is an answer.
func (s *server) send(header http.Header, method, path, body string) answered {
	s.t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = nil, 0
	}
	r.Header = header
	client := http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answered{response, content, err}
}

func (s *server) post(procedure, body string, header ...string) answered {
	s.t.Helper()
	return s.do("POST", "/v1/procedures/"+procedure, body, header...)
}

// refused is an error as it was read.
type refused struct {
	Code       Code     `json:"code"`
	Message    string   `json:"message"`
	Details    []Detail `json:"details"`
	Timestamp  string   `json:"timestamp"`
	RequestID  string   `json:"request_id"`
	Suggestion string   `json:"suggestion"`
	Retryable  bool     `json:"retryable"`
}

// refusal reads an error, and checks what all of them have in common.
func (a answered) refusal(t testing.TB) refused {
	t.Helper()
	var out struct {
		Error *refused `json:"error"`
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil || out.Error == nil {
		t.Fatalf("%s: this is no error (%v): %s", a.Status, err, a.body)
	}
	e := *out.Error
	entry := entries[e.Code]
	if entry == nil || entry.Status != a.StatusCode || e.Message == "" || e.Suggestion == "" || e.Details == nil || e.Retryable != entry.Retryable ||
		e.RequestID == "" || e.RequestID != a.Header.Get("X-Request-Id") || !strings.HasSuffix(e.Timestamp, "Z") {
		t.Errorf("the error is not one of the table's: %s %s", a.Status, a.body)
	}
	if e.Retryable != (a.Header.Get("Retry-After") != "") {
		t.Errorf("%s: retryable %v, Retry-After %q", e.Code, e.Retryable, a.Header.Get("Retry-After"))
	}
	for _, secret := range []string{"db.internal", "root:pw", "SELECT", "CALL "} {
		if bytes.Contains(a.body, []byte(secret)) {
			t.Errorf("the error tells %q: %s", secret, a.body)
		}
	}
	return e
}

// codes are those of the details, sorted, each with its field.
func (e refused) mistakes() string {
	var out []string
	for _, d := range e.Details {
		out = append(out, d.Code+" "+d.Field)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (s *server) lines() (out []map[string]any) {
	for line := range strings.Lines(s.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			s.t.Errorf("the log has a line that is no JSON: %s", line)
		}
		if m["msg"] == "request" {
			out = append(out, m)
		}
	}
	return out
}

// raw sends bytes to the server, and reads until it closes the connection.
func (s *server) raw(request string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		s.t.Fatal(err)
	}
	return string(b)
}

// lineOf is the log's line of a request, which is written when its answer has ended.
func (s *server) lineOf(id string) map[string]any {
	s.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); runtime.Gosched() {
		for _, line := range s.lines() {
			if line["request_id"] == id {
				return line
			}
		}
	}
	s.t.Fatalf("the log has no line of %s", id)
	return nil
}
