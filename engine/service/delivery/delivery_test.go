package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// The test program is also the plugin program, as cipherstream itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve-test-plugin" {
		sdk.Serve(stages())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stages are those of package runnertest, and an encoder whose rows have exactly the size that is wanted.
func stages() sdk.Bundle {
	b := runnertest.Bundle("test")
	b.Stages = append(b.Stages, runnertest.Pad())
	return b
}

const counting = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: counting}
spec:
  parameters:
    - {name: rows, type: integer, default: 100}
    - {name: break, type: string, default: ""}
    - {name: at, type: integer, default: 0}
    - {name: width, type: integer, default: 20}
    - {name: more, type: integer, default: 0}
    - {name: even, type: boolean, default: false}
    - {name: packed, type: boolean, default: false}
  stages:
    source: {use: count, with: {rows: "${params.rows}", batch: 1000, break: "${params.break}", at: "${params.at}"}}
    filter: [{use: even, when: params.even}]
    encoder: {use: pad, with: {width: "${params.width}", more: "${params.more}"}}
    compressor: {use: bracket, when: params.packed}
    sink: {use: file, with: {path: "${run.output}"}}
`

func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := engine.New(context.Background(), engine.Config{FirstParty: stages(), Args: []string{"serve-test-plugin"},
		Catalogue: fstest.MapFS{"counting.yaml": {Data: []byte(counting)}}, NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

type parameters = map[string]any

// planOf binds the pipeline.
func planOf(t testing.TB, e *engine.Engine, isolation engine.Isolation, p parameters) *engine.Plan {
	t.Helper()
	prepared, diags := e.Prepare("counting")
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	plan, diags := prepared.Bind(engine.Inputs{Parameters: p, End: engine.EndCaller, Isolation: isolation})
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// runOf is a real run.
func runOf(t testing.TB, e *engine.Engine, isolation engine.Isolation, p parameters) Run {
	t.Helper()
	plan := planOf(t, e, isolation, p)
	return func(ctx context.Context, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
		return e.Run(ctx, plan, sink, o)
	}
}

var isolations = []engine.Isolation{engine.IsolationNone, engine.IsolationGroup}

// noLeaks holds that a delivery leaves no goroutine; what the engine keeps for others does not count.
func noLeaks(t *testing.T) {
	t.Helper()
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
}

// newPool makes a pool that has to be empty in the end.
func newPool(t testing.TB, cfg spool.Config) *spool.Pool {
	t.Helper()
	cfg.Dir = t.TempDir()
	p, err := spool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s := p.Stats(); s.Spools != 0 || s.Bytes != 0 {
			t.Errorf("left in the pool: %+v", s)
		}
	})
	return p
}

// response is one that keeps what it is given and notes its calls. On is called in each of them.
type response struct {
	on func(call string) error

	mu    sync.Mutex
	calls []string
	head  Head
	tail  Tail
	data  bytes.Buffer
}

func (r *response) call(name string) error {
	r.mu.Lock()
	if n := len(r.calls); n == 0 || r.calls[n-1] != name || name != "write" {
		r.calls = append(r.calls, name)
	}
	r.mu.Unlock()
	if r.on != nil {
		return r.on(name)
	}
	return nil
}

func (r *response) Begin(h Head) (Body, error) {
	r.head = h
	return responseBody{r}, r.call("begin")
}

func (r *response) Finish(t Tail) error {
	r.tail = t
	return r.call("finish")
}

func (r *response) Cut() { _ = r.call("cut") }

type responseBody struct{ r *response }

func (b responseBody) Write(p []byte) (int, error) {
	if err := b.r.call("write"); err != nil {
		return 0, err
	}
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	return b.r.data.Write(p)
}

func (b responseBody) Flush() error { return b.r.call("flush") }

// log is the calls, without the many flushes and writes in between where short.
func (r *response) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.calls, " ")
}

// story is the calls without writes, flushes and repetitions: how the response has gone.
func (r *response) story() string {
	var list []string
	for _, call := range strings.Fields(r.log()) {
		if call != "write" && call != "flush" && (len(list) == 0 || list[len(list)-1] != call) {
			list = append(list, call)
		}
	}
	return strings.Join(list, " ")
}

func (r *response) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data.Bytes())
}

func hexSum(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

func hasCode(t *testing.T, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("%v, want %s", err, code)
	}
}
