package service

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	secrets "github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const visits = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: Visits, category: Visits, class: data, description: One row a visit.}
spec:
  parameters:
    - {name: output_format, type: string, default: ndjson, allowed: [ndjson]}
    - {name: compression, type: string, default: none, allowed: [none]}
    - {name: encrypted, type: boolean, default: false}
    - {name: mode, type: string, default: auto, allowed: [auto, stream, job]}
    - {name: rows, type: integer, default: 3}
    - {name: break, type: string, default: ""}
  stages:
    source: {use: gated, with: {rows: "${params.rows}", break: "${params.break}"}}
    encoder: {use: lines}
    sink: {use: file, with: {path: "${run.output}"}}
  columns: [{name: n, type: int64}]
  drift: ignore
`

// gate holds the source after its first batch until it is opened.
type gate struct {
	reached chan struct{}
	open    chan struct{}
}

type gatedSettings struct {
	Rows  int    `config:"rows"`
	Break string `config:"break"`
}

// gated is the source "count" of runnertest behind a gate.
type gated struct {
	stage.Source
	gate *gate
	read int
}

func (g *gated) Next(ctx context.Context) (arrow.Record, error) {
	if g.read++; g.read == 2 && g.gate != nil {
		close(g.gate.reached)
		select {
		case <-g.gate.open:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return g.Source.Next(ctx)
}

// service is one for tests, and what it is made of.
type service struct {
	*Service
	set    *config.Settings
	key    string
	log    *lines
	record *memory.Store
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func settings(t *testing.T) *config.Settings {
	t.Helper()
	set := &config.Settings{Spec: config.Default(), Name: "test"}
	set.Listen.Address, set.Operations.Address = "127.0.0.1:0", "127.0.0.1:0"
	set.Directory = t.TempDir()
	set.Limits.Spool.Directory = t.TempDir()
	for _, id := range []string{"one", "two"} {
		set.Customers = append(set.Customers, config.Customer{CustomerSpec: config.CustomerSpec{ID: id}, DSN: secrets.NewSecret("mysql://u:p@127.0.0.1/x")})
	}
	return set
}

// newService makes one; start starts it. A gate holds its first run.
func newService(t *testing.T, set *config.Settings, held *gate) *service {
	t.Helper()
	bundle := runnertest.Bundle("test")
	var once sync.Once
	count, _ := bundle.Find(stage.KindSource, "count")
	bundle.Stages = append(bundle.Stages, stage.DefineSource(stage.About{Name: "gated", Summary: "Counts behind a gate."},
		func(s gatedSettings, env stage.Env) (stage.Source, error) {
			source, err := count.Make(fmt.Appendf(nil, `{"rows": %d, "break": %q}`, s.Rows, s.Break), env)
			if err != nil {
				return nil, err
			}
			g := &gated{Source: source.(stage.Source)}
			once.Do(func() { g.gate = held })
			return g, nil
		}))
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle, Args: []string{"unused"}, NoFiles: true,
		Catalogue: fstest.MapFS{"visits.yaml": {Data: []byte(visits)}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	key, err := datakey.Open(set.Directory)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{set: set, log: &lines{}, record: memory.New()}
	s.Service, err = New(t.Context(), Config{Settings: set, Engine: e, Record: s.record, DataKey: key, Version: "1.2.3",
		Log: slog.New(slog.NewJSONHandler(s.log, nil)), Isolation: engine.IsolationNone})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := s.Registry().Manage(customer.Actor{Who: "user:test", From: "local"}).CreateKey(t.Context(), customer.NewKey{Customer: "one"})
	if err != nil {
		t.Fatal(err)
	}
	s.key = issued.Text
	return s
}

// startOf starts a service of its own parts, which the caller stops.
func startOf(t *testing.T, cfg Config) *Service {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, set *config.Settings, held *gate) *service {
	t.Helper()
	s := newService(t, set, held)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// do asks over a connection of its own.
func do(t *testing.T, method, url, key, body string, trust *tls.Config) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust, ForceAttemptHTTP2: true}}
	return client.Do(r)
}

func (s *service) ask(t *testing.T, body string) (status int, text string, err error) {
	t.Helper()
	answer, err := do(t, http.MethodPost, "http://"+s.Address()+"/v1/procedures/visits", s.key, body, nil)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}

func (s *service) operations(t *testing.T, path string) (int, string) {
	t.Helper()
	answer, err := do(t, http.MethodGet, "http://"+s.OperationsAddress()+path, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// TestServe: rows for a customer, health and metrics for operators, on listeners of their own.
func TestServe(t *testing.T) {
	s := start(t, settings(t), nil)
	if status, text, err := s.ask(t, `{"customer_id":"one"}`); err != nil || status != http.StatusOK || text != "0@0\n1@1\n2@2\n" {
		t.Errorf("%d %q %v", status, text, err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": `cipherstream_build_info{version="1.2.3"} 1`} {
		if status, text := s.operations(t, path); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	// A request is counted when its answer has ended, which its client may know before.
	for counted := false; !counted; {
		_, text := s.operations(t, "/metrics")
		counted = strings.Contains(text, `cipherstream_runs_total{mode="auto",outcome="completed",procedure="visits"} 1`)
	}
	for path, want := range map[string]int{"/metrics": http.StatusNotFound, "/healthz": http.StatusOK} {
		if answer, err := do(t, http.MethodGet, "http://"+s.Address()+path, "", "", nil); err != nil || answer.StatusCode != want {
			t.Errorf("customers read %s: %v %v", path, answer, err)
		} else {
			answer.Body.Close()
		}
	}
	if !strings.Contains(s.log.String(), `"msg":"serving","address":"127.0.0.1:`) {
		t.Error(s.log.String())
	}
	s.Stop(context.Background())
	s.Stop(context.Background())
	if _, _, err := s.ask(t, `{"customer_id":"one"}`); err == nil {
		t.Error("it answers after its end")
	}
}

// held is a request whose run waits at the gate.
func held(t *testing.T, s *service, g *gate) *http.Response {
	t.Helper()
	answer, err := do(t, http.MethodPost, "http://"+s.Address()+"/v1/procedures/visits", s.key, `{"customer_id":"one","mode":"stream","rows":100}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	<-g.reached
	return answer
}

// TestStopWaits: what runs goes on to its end, while the service is not ready any more.
func TestStopWaits(t *testing.T) {
	g := &gate{make(chan struct{}), make(chan struct{})}
	s := start(t, settings(t), g)
	answer := held(t, s, g)
	stopped := make(chan struct{})
	go func() {
		s.Stop(context.Background())
		close(stopped)
	}()
	for {
		if status, _ := s.operations(t, "/readyz"); status == http.StatusServiceUnavailable {
			break
		}
	}
	select {
	case <-stopped:
		t.Error("it did not wait for the stream")
	default:
	}
	close(g.open)
	text, err := io.ReadAll(answer.Body)
	if err != nil || bytes.Count(text, []byte("\n")) != 100 || answer.Trailer.Get("X-CipherStream-Rows") != "100" {
		t.Errorf("the stream that ran: %d bytes, %v, %v", len(text), err, answer.Trailer)
	}
	<-stopped
}

// TestStopCuts: what runs longer than it may is cut, looks cut, and it is known why.
func TestStopCuts(t *testing.T) {
	g := &gate{make(chan struct{}), make(chan struct{})}
	set := settings(t)
	set.Shutdown.Grace = 0
	s := start(t, set, g)
	answer := held(t, s, g)
	first, err := bufio.NewReader(answer.Body).ReadString('\n')
	if err != nil || first != "0@0\n" {
		t.Errorf("%q %v", first, err)
	}
	s.Stop(context.Background())
	if _, err := io.ReadAll(answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut stream ends with %v", err)
	}
	r, err := s.record.Request(t.Context(), "one", answer.Header.Get("X-Request-Id"))
	if err != nil || r.Code != "SHUTTING_DOWN" {
		t.Errorf("%+v %v", r, err)
	}
	if !strings.Contains(s.log.String(), "requests that were running were cut") {
		t.Error(s.log.String())
	}
}

// TestAddressInUse: it does not start, says why, and leaves nothing.
func TestAddressInUse(t *testing.T) {
	s := start(t, settings(t), nil)
	for _, where := range []string{"listen", "operations"} {
		set := settings(t)
		if where == "listen" {
			set.Listen.Address = s.Address()
		} else {
			set.Operations.Address = s.Address()
		}
		if err := newService(t, set, nil).Start(t.Context()); !fault.Is(err, CodeListen) {
			t.Errorf("%s: %v", where, err)
		}
		if _, err := os.Stat(filepath.Join(set.Directory, "admin.sock")); err == nil {
			t.Errorf("%s: admin.sock is left", where)
		}
	}
}

// certificate writes one and its key, and returns its pin.
func certificate(t *testing.T, set *config.Settings) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if set.Listen.Certificate == "" {
		folder := t.TempDir()
		set.Listen.Certificate, set.Listen.Key = filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem")
	}
	for name, block := range map[string]*pem.Block{set.Listen.Certificate: {Type: "CERTIFICATE", Bytes: der}, set.Listen.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pin.Of(leaf)
}

// TestTLS: 1.3 only, HTTP/2 and HTTP/1.1, the pin of the certificate told, and a certificate that is renewed with a reload.
func TestTLS(t *testing.T) {
	set := settings(t)
	first := certificate(t, set)
	s := start(t, set, nil)
	if s.Pin() != first || !strings.Contains(s.log.String(), first) {
		t.Errorf("pin %s, and the certificate has %s: %s", s.Pin(), first, s.log.String())
	}
	shown := ""
	trust := &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
		leaf, err := x509.ParseCertificate(chain[0])
		if err == nil {
			shown = pin.Of(leaf)
		}
		return err
	}}
	ask := func(trust *tls.Config) (*http.Response, error) {
		return do(t, http.MethodPost, "https://"+s.Address()+"/v1/procedures/visits", s.key, `{"customer_id":"one"}`, trust)
	}
	answer, err := ask(trust)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || string(text) != "0@0\n1@1\n2@2\n" || answer.ProtoMajor != 2 || answer.TLS.Version != tls.VersionTLS13 || shown != first ||
		answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%q %v %s %v", text, err, answer.Proto, answer.Header)
	}
	old := trust.Clone()
	old.MaxVersion = tls.VersionTLS12
	if answer, err := ask(old); err == nil {
		answer.Body.Close()
		t.Error("TLS 1.2 was spoken")
	}
	second := certificate(t, set)
	again := *set
	if err := s.Reload(t.Context(), &again); err != nil {
		t.Fatal(err)
	}
	answer, err = ask(trust)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if shown != second || s.Pin() != second || !strings.Contains(s.log.String(), "listen.certificate (its content)") {
		t.Errorf("shown %s, told %s, renewed %s", shown, s.Pin(), second)
	}
	if err := os.WriteFile(set.Listen.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context(), &again); err == nil || s.Pin() != second {
		t.Errorf("a broken key was taken: %v", err)
	}
}

// TestAdministration: an operator's key is taken where nobody on the way can read it, and there no customer's.
func TestAdministration(t *testing.T) {
	for _, c := range []struct {
		address, scheme string
		certificate     bool
		there           bool
	}{
		{"127.0.0.1:0", "http", false, true}, {"127.0.0.1:0", "http", true, true},
		{"0.0.0.0:0", "https", true, true}, {"0.0.0.0:0", "http", false, false},
	} {
		set := settings(t)
		set.Operations.Address = c.address
		set.AdminNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		if c.certificate {
			certificate(t, set)
		}
		s := start(t, set, nil)
		operator, err := s.Registry().Manage(customer.Actor{Who: "user:test", From: "local"}).CreateKey(t.Context(), customer.NewKey{Admin: true})
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(s.OperationsAddress())
		ask := func(path, key string) int {
			answer, err := do(t, http.MethodGet, c.scheme+"://127.0.0.1:"+port+path, key, "", &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			return answer.StatusCode
		}
		wanted := map[string]int{operator.Text: http.StatusOK, s.key: http.StatusForbidden, "nothing": http.StatusUnauthorized}
		for key, status := range wanted {
			if !c.there {
				status = http.StatusNotFound
			}
			if got := ask("/v1/admin/customers", key); got != status {
				t.Errorf("%+v: %d, and not %d", c, got, status)
			}
		}
		if got := ask("/readyz", ""); got != http.StatusOK {
			t.Errorf("%+v: readyz %d", c, got)
		}
	}
}

// TestReload: customers come and go, and a document that needs a restart changes nothing at all.
func TestReload(t *testing.T) {
	s := start(t, settings(t), nil)
	change := func(do func(*config.Settings)) *config.Settings {
		to := *s.settings.Load()
		to.Customers = append([]config.Customer{}, to.Customers...)
		do(&to)
		return &to
	}
	bad := change(func(to *config.Settings) {
		to.Customers = to.Customers[1:]
		to.Limits.Warm = 3
	})
	if err := s.Reload(t.Context(), bad); !fault.Is(err, CodeReload) || !strings.Contains(err.Error(), "limits.warm") {
		t.Errorf("%v", err)
	}
	if status, _, err := s.ask(t, `{"customer_id":"one"}`); err != nil || status != http.StatusOK {
		t.Errorf("a part of a refused reload took effect: %d %v", status, err)
	}
	if err := s.Reload(t.Context(), change(func(to *config.Settings) { to.Customers = to.Customers[1:] })); err != nil {
		t.Fatal(err)
	}
	if status, text, err := s.ask(t, `{"customer_id":"one"}`); err != nil || status == http.StatusOK {
		t.Errorf("a customer that is gone: %d %s %v", status, text, err)
	}
	if !strings.Contains(s.log.String(), `"changed":["customers.one (removed)"]`) {
		t.Error(s.log.String())
	}
	if _, text := s.operations(t, "/metrics"); !strings.Contains(text, `cipherstream_reloads_total{outcome="applied"} 1`) || !strings.Contains(text, `{outcome="refused"} 1`) {
		t.Error("the reloads are not counted")
	}
}

// TestReloadOfLimits: limits, rates, networks of operators and proxies take effect at once, and all of them or none.
func TestReloadOfLimits(t *testing.T) {
	set := settings(t)
	set.Limits.Rates.Anonymous = config.Rate{Requests: 2, Window: time.Hour}
	set.AdminNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s := start(t, set, nil)
	operator, err := s.Registry().Manage(customer.Actor{Who: "user:test", From: "local"}).CreateKey(t.Context(), customer.NewKey{Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	administration := func(key string) (int, string) {
		answer, err := do(t, http.MethodGet, "http://"+s.OperationsAddress()+"/v1/admin/customers", key, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode, answer.Header.Get("Retry-After")
	}
	ask := func() int {
		t.Helper()
		status, _, err := s.ask(t, `{"customer_id":"one"}`)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	reload := func(do func(*config.Settings)) error {
		to := *s.settings.Load()
		do(&to)
		return s.Reload(t.Context(), &to)
	}
	limited := func(to *config.Settings) {
		to.Limits.Rates.Procedures = config.Rate{Requests: 1, Window: time.Hour}
		to.Spec.AdminNetworks, to.AdminNetworks = nil, nil
		to.Spec.TrustedProxies, to.TrustedProxies = []string{"127.0.0.0/8"}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		to.Shutdown.Grace = time.Second
	}
	everything := func(to *config.Settings) { limited(to); to.Limits.Warm++ }
	if err := reload(everything); !fault.Is(err, CodeReload) {
		t.Errorf("%v", err)
	}
	status, _ := administration(operator.Text)
	if first, second := ask(), ask(); first != http.StatusOK || second != http.StatusOK || status != http.StatusOK {
		t.Error("a part of a refused reload took effect")
	}
	if err := reload(limited); err != nil {
		t.Fatal(err)
	}
	// Two were asked for before, of one that there is now.
	if status := ask(); status != http.StatusTooManyRequests {
		t.Errorf("beyond the new rate: %d", status)
	}
	if status, _ := administration(operator.Text); status != http.StatusForbidden {
		t.Errorf("an operator from a network that is none any more: %d", status)
	}
	for i, want := range []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests} {
		if status, after := administration("nothing"); status != want || (after != "") != (want == http.StatusTooManyRequests) {
			t.Errorf("administration without a key, %d: %d, Retry-After %q", i, status, after)
		}
	}
	if err := reload(func(to *config.Settings) {
		to.Limits.Rates.Procedures = config.Rate{Requests: 600, Window: time.Minute}
		to.Limits.Memory, to.Limits.RunMemory = 1<<20, 16<<20
	}); err != nil {
		t.Fatal(err)
	}
	if status := ask(); status != http.StatusInternalServerError {
		t.Errorf("a run that is larger than all may be: %d", status)
	}
	for _, want := range []string{`"limits.rates.procedures.requests"`, `"admin_networks"`, `"trusted_proxies"`, `"shutdown.grace"`, `"limits.memory"`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not name %s", want)
		}
	}
	if _, text := s.operations(t, "/metrics"); !strings.Contains(text, `cipherstream_refused_total{policy="procedures"} 1`) ||
		!strings.Contains(text, `cipherstream_refused_total{policy="anonymous"} 1`) || !strings.Contains(text, "cipherstream_rate_keys 2") {
		t.Error("what was refused is not counted by policy")
	}
}
