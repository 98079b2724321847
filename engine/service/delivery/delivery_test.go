package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
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
	b.Stages = append(b.Stages, sdk.DefineEncoder(sdk.About{Name: "pad", Summary: "A line of a width a row.", Out: sdk.ShapeRecords, Concurrent: true},
		func(s padSettings, _ sdk.Env) (sdk.Encoder, error) { return pad{s}, nil }))
	return b
}

type padSettings struct {
	// Width is how many bytes a line has, and More how many the whole has beside.
	Width int `config:"width" default:"20"`
	More  int `config:"more"`
}

type pad struct{ padSettings }

func (pad) Bind(*arrow.Schema) (sdk.Media, error) {
	return sdk.Media{Type: "text/plain", Extension: ".txt"}, nil
}
func (pad) Begin(*sdk.Output) error { return nil }
func (p pad) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	for _, v := range rows.Column(0).(*array.Int64).Int64Values() {
		start := len(out.Data)
		out.Data = strconv.AppendInt(out.Data, v, 10)
		for len(out.Data) < start+p.Width-1 {
			out.Data = append(out.Data, '.')
		}
		out.Data = append(out.Data, '\n')
		out.EndRecord()
	}
	return nil
}
func (p pad) End(_ sdk.Totals, out *sdk.Output) error {
	if p.More > 0 {
		out.Data = append(out.Data, strings.Repeat("+", p.More)...)
		out.EndRecord()
	}
	return nil
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

// whole is what the pipeline gives of so many rows.
func whole(rows, width int) []byte {
	var b bytes.Buffer
	for i := range rows {
		line := strconv.Itoa(i)
		b.WriteString(line + strings.Repeat(".", width-1-len(line)) + "\n")
	}
	return b.Bytes()
}

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
