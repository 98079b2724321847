package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/budget"
	"github.com/cipherstream/cipherstream/engine/diag"
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

// stages are those of package runnertest, a filter that logs the trace context that it was given, and one in the place
// of the contract's, which holds nothing against the columns.
func stages() sdk.Bundle {
	b := runnertest.Bundle("test")
	b.Stages = append(b.Stages, sdk.DefineFilter(sdk.About{Name: "tell", Summary: "Logs the trace context.", KeepsRows: true},
		func(_ struct{}, env sdk.Env) (sdk.Filter, error) { return tell{env}, nil }),
		sdk.DefineFilter(sdk.About{Name: "contract", Summary: "Is one in name.", KeepsRows: true},
			func(_ contractSettings, env sdk.Env) (sdk.Filter, error) {
				env.Log = slog.New(slog.DiscardHandler)
				return tell{env}, nil
			}))
	return b
}

type contractSettings struct {
	Columns []struct {
		Name     string `config:"name"`
		Type     string `config:"type"`
		Nullable bool   `config:"nullable"`
	} `config:"columns"`
	Policy string `config:"policy"`
}

type tell struct{ env sdk.Env }

func (t tell) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	t.env.Log.Warn("bound", "traceparent", t.env.Traceparent, "a", "b")
	return in, nil
}

func (tell) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

const counting = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: counting}
spec:
  parameters:
    - {name: rows, type: integer, default: 100}
    - {name: twice, type: boolean, default: false}
    - {name: from_date, type: date}
    - {name: to_date, type: date}
  rules:
    - {check: params.from_date == null || params.to_date == null || params.from_date <= params.to_date, message: wrong way round, code: RANGE, parameter: to_date}
  stages:
    source: {use: count, with: {rows: "${params.rows}", batch: 10, password: "${customer.id}"}}
    filter: [{use: tell}, {use: pass, when: params.twice}]
    encoder: {use: lines}
    sink: {use: file, with: {path: "${run.output}"}}
  columns:
    - {name: n, type: int64}
  drift: warn
`

func newEngine(t testing.TB, cfg engine.Config) *engine.Engine {
	t.Helper()
	cfg.FirstParty, cfg.Args = stages(), []string{"serve-test-plugin"}
	if cfg.Catalogue == nil {
		cfg.Catalogue = fstest.MapFS{"counting.yaml": {Data: []byte(counting)}}
	}
	e, err := engine.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func prepare(t testing.TB, e *engine.Engine) *engine.Prepared {
	t.Helper()
	p, diags := e.Prepare("counting")
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

func bind(t testing.TB, p *engine.Prepared, in engine.Inputs) *engine.Plan {
	t.Helper()
	plan, diags := p.Bind(in)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

func given(rows int) engine.Inputs {
	return engine.Inputs{Parameters: map[string]any{"rows": rows}, End: engine.EndCaller, Customer: engine.Customer{ID: "c1"}}
}

// discard is a sink that keeps nothing.
type discard struct{ bytes int64 }

func (*discard) Open(context.Context, engine.Object) error { return nil }
func (d *discard) Write(_ context.Context, p []byte) error {
	d.bytes += int64(len(p))
	return nil
}
func (d *discard) Commit(context.Context) (engine.Delivery, error) {
	return engine.Delivery{Bytes: d.bytes}, nil
}
func (*discard) Abort(context.Context) error { return nil }

// TestNameOrPath: a name is looked for in the catalogue and nowhere else, a path on disk and nowhere else, whatever it
// looks like.
func TestNameOrPath(t *testing.T) {
	e := newEngine(t, engine.Config{})
	t.Chdir(t.TempDir())
	mine := strings.ReplaceAll(counting, "name: counting", "name: mine")
	for _, name := range []string{"mine.yaml", "mine", "counting", "odd.txt"} {
		if err := os.WriteFile(name, []byte(mine), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p := prepare(t, e); p.Document().Metadata.Name != "counting" || p.Document().File != "catalogue:counting.yaml" {
		t.Errorf("a name gave %s", p.Document())
	}
	for _, path := range []string{"mine", "mine.yaml", "./mine.yaml", "counting", "odd.txt"} {
		if p, diags := e.PrepareFile(path); p == nil || p.Document().Metadata.Name != "mine" {
			t.Errorf("the path %q: %v", path, diags.Err())
		}
		if diags := e.LintFile(path); diags.HasErrors() {
			t.Errorf("the path %q: %v", path, diags.Err())
		}
	}
	for _, name := range []string{"mine", "mine.yaml", "./mine.yaml", "odd.txt", "./counting", "counting.yaml"} {
		if p, diags := e.Prepare(name); p != nil || len(diags) != 1 || diags[0].Code != "file.not_found" {
			t.Errorf("the name %q: %v", name, diags)
		}
		if doc, _ := e.Load(name); doc != nil || !e.Lint(name).HasErrors() {
			t.Errorf("the name %q was found", name)
		}
	}
	if p, diags := e.PrepareFile("nothing.yaml"); p != nil || diags[0].Code != "file.not_found" {
		t.Errorf("no file: %v", diags)
	}
}

// TestPrepareSaysWhatIsWrong: with the document and its expressions at once, with a stage only when it is on.
func TestPrepareSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ old, new, prepare, bind string }{
		"key":        {"columns:", "colums:", "document.unknown_key", ""},
		"expression": {"when: params.twice", "when: params.thrice", "reference.unknown_parameter", ""},
		"rule":       {"params.from_date <= params.to_date", "params.from_date + 1", "expression.invalid", ""},
		"template":   {"kind: Pipeline", "kind: Template", "plan.template", ""},
		"setting":    {"batch: 10", "batsch: 10", "", "config.unknown_key"},
		"stage":      {"{use: tell}", "{use: told}", "", "plan.unknown_stage"},
		"off":        {"{use: pass,", "{use: gone,", "", ""},
		"reference":  {"${params.rows}", "${params.row}", "", "reference.unknown_parameter"},
	} {
		e := newEngine(t, engine.Config{Catalogue: fstest.MapFS{"counting.yaml": {Data: []byte(strings.Replace(counting, c.old, c.new, 1))}}})
		has := func(diags diag.List, code string) bool {
			return code == "" && !diags.HasErrors() || slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == code })
		}
		p, diags := e.Prepare("counting")
		if !has(diags, c.prepare) || (p == nil) != (c.prepare != "") {
			t.Errorf("%s: prepare says %v", name, diags)
		}
		if p == nil {
			continue
		}
		plan, diags := p.Bind(given(1))
		if !has(diags, c.bind) || (plan == nil) != (c.bind != "") {
			t.Errorf("%s: bind says %v", name, diags)
		}
	}
}

// text is a plan as JSON.
func text(t testing.TB, p *engine.Plan) string {
	var b bytes.Buffer
	if err := p.WriteJSON(&b); err != nil {
		t.Error(err)
	}
	return b.String()
}

// spoil changes whatever of a plan can be changed.
func spoil(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, e := range v {
			spoil(e)
			v[key] = "spoilt"
		}
		v["spoilt"] = true
	case []any:
		for i, e := range v {
			spoil(e)
			v[i] = "spoilt"
		}
	}
}

// TestBindIsConcurrent: a hundred requests at once bind and spoil their plans, and each gets its own values; the
// prepared pipeline is as before. It is run with the race detector.
func TestBindIsConcurrent(t *testing.T) {
	p := prepare(t, newEngine(t, engine.Config{}))
	started := time.Now()
	inputs := func(i int) engine.Inputs {
		in := given(i)
		in.Parameters["twice"] = i%2 == 0
		in.RunID, in.StartedAt = fmt.Sprintf("r%d", i), started
		in.Customer.Attributes = map[string]any{"n": i}
		return in
	}
	want := make([]string, 100)
	for i := range want {
		want[i] = text(t, bind(t, p, inputs(i)))
	}
	var wait sync.WaitGroup
	for i := range want {
		wait.Go(func() {
			for range 5 {
				plan, diags := p.Bind(inputs(i))
				if err := diags.Err(); err != nil {
					t.Error(err)
					return
				}
				if got := text(t, plan); got != want[i] {
					t.Errorf("plan %d is\n%s\nwant\n%s", i, got, want[i])
				}
				for _, s := range plan.Stages {
					spoil(s.Config) // the columns of the contract are maps within a list
				}
				for j := range plan.Columns {
					plan.Columns[j].Name = "spoilt"
				}
				for j := range plan.Parameters {
					plan.Parameters[j].Value = "spoilt"
				}
				for j := range plan.Groups {
					plan.Groups[j].Stages[0] = -1
				}
			}
		})
	}
	wait.Wait()
	if got := text(t, bind(t, p, inputs(7))); got != want[7] {
		t.Errorf("afterwards the plan is\n%s\nwant\n%s", got, want[7])
	}
}

// TestRunIdentity: a plan has an identifier, which the receipt, the stages and the sink have as well.
func TestRunIdentity(t *testing.T) {
	e := newEngine(t, engine.Config{})
	p := prepare(t, e)
	a, b := bind(t, p, given(1)), bind(t, p, given(1))
	if a.RunID == b.RunID || !strings.HasPrefix(a.RunID, "counting_") {
		t.Errorf("%q and %q", a.RunID, b.RunID)
	}
	in := given(3)
	in.RunID, in.Isolation = "mine_1", engine.IsolationNone
	r, err := e.Run(t.Context(), bind(t, p, in), &discard{}, engine.RunOptions{})
	if err != nil || r.RunID != "mine_1" || r.Rows != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestTraceAndLog: the trace context of a run reaches its stages, in this process and in others, and what they log
// reaches the log of the run, beside its events.
func TestTraceAndLog(t *testing.T) {
	e := newEngine(t, engine.Config{})
	p := prepare(t, e)
	for _, isolation := range []engine.Isolation{engine.IsolationNone, engine.IsolationGroup, engine.IsolationStage} {
		for _, trace := range []string{traceparent, ""} {
			var b bytes.Buffer // events, and so the log, come one at a time
			in := given(3)
			in.Isolation, in.Traceparent, in.RunID = isolation, trace, "r1"
			in.Log = slog.New(slog.NewJSONHandler(&b, nil))
			events := 0
			_, err := e.Run(t.Context(), bind(t, p, in), &discard{}, engine.RunOptions{Events: func(event engine.Event) {
				if line, ok := event.(engine.LogLine); ok && line.Message == "bound" {
					events++
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			var line map[string]any
			if err := json.Unmarshal(b.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, b.Bytes())
			}
			delete(line, "time")
			want := map[string]any{"level": "WARN", "msg": "bound", "run_id": "r1", "stage": "filter", "traceparent": trace, "a": "b"}
			if fmt.Sprint(line) != fmt.Sprint(want) || events != 1 {
				t.Errorf("%s: %v in the log, want %v; %d events", isolation, line, want, events)
			}
		}
	}
}

// TestMalformedTrace: a trace context that is none is a warning, and the run goes on without it.
func TestMalformedTrace(t *testing.T) {
	p := prepare(t, newEngine(t, engine.Config{}))
	in := given(1)
	in.Traceparent = "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"
	plan, diags := p.Bind(in)
	if plan == nil || plan.Traceparent != "" || len(diags) != 1 || diags[0].Code != "inputs.traceparent" || diags[0].Severity != diag.Warning {
		t.Errorf("%+v, %v", plan, diags)
	}
}

// TestProblems: what a service gives of diagnostics: the errors, each with the parameter, the input or the setting that
// it is about.
func TestProblems(t *testing.T) {
	p := prepare(t, newEngine(t, engine.Config{}))
	fields := func(in engine.Inputs) (out []string) {
		_, diags := p.Bind(in)
		for _, problem := range diags.Problems() {
			out = append(out, problem.Field+" "+problem.Code)
			if problem.Message == "" {
				t.Errorf("%+v has no message", problem)
			}
		}
		return out
	}
	in := given(1)
	in.Parameters = map[string]any{"rows": "many", "from_date": "2024-02-30", "row": 1}
	in.Allow.Tables = []string{"patient", "a,b"}
	in.RunID = "../r"
	in.Traceparent = "none" // a warning, and no problem
	want := []string{"/run_id inputs.run_id", "/allow/tables/1 inputs.allow_list", "rows parameter.invalid", "from_date parameter.invalid", "row parameter.unknown"}
	if got := fields(in); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	in = given(1)
	in.End, in.Customer.ID = engine.EndPipeline, ""
	in.Parameters["rows"] = "5"
	want = []string{"/spec/stages/source/with/password reference.unknown", "/spec/stages/sink/with/path reference.unknown"}
	if got := fields(in); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	in = given(1)
	in.Parameters = map[string]any{"from_date": "2024-02-02", "to_date": "2024-02-01"}
	if got := fields(in); !slices.Equal(got, []string{"to_date RANGE"}) {
		t.Errorf("got %q", got)
	}
}

// TestTimeLimit: the limit of Inputs is that of the run, and is told apart from the caller's end; either way the
// receipt so far is there.
func TestTimeLimit(t *testing.T) {
	e := newEngine(t, engine.Config{})
	p := prepare(t, e)
	for _, isolation := range []engine.Isolation{engine.IsolationNone, engine.IsolationGroup} {
		in := given(1 << 40)
		in.Isolation = isolation
		// How long it takes until processes have started and rows flow depends on the machine.
		for in.Timeout = 500 * time.Millisecond; ; in.Timeout *= 2 {
			r, err := e.Run(t.Context(), bind(t, p, in), &discard{}, engine.RunOptions{})
			if !fault.Is(err, "run.timeout") || r == nil || r.RowsRead == 0 && in.Timeout > time.Minute {
				t.Fatalf("%s, limit of %s: %v, %+v", isolation, in.Timeout, err, r)
			}
			if r.RowsRead > 0 {
				break
			}
		}
		in.Timeout = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := e.Run(ctx, bind(t, p, in), &discard{}, engine.RunOptions{})
		if cancel(); !fault.Is(err, "run.timeout") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, deadline: %v", isolation, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		_, err = e.Run(ctx, bind(t, p, in), &discard{}, engine.RunOptions{Events: func(event engine.Event) {
			if progress, ok := event.(engine.Progress); ok && progress.Rows > 0 {
				cancel()
			}
		}})
		if cancel(); !fault.Is(err, "run.cancelled") {
			t.Errorf("%s, cancel: %v", isolation, err)
		}
	}
}

// TestMemory: what an engine says that a plan takes is what a run acquires of a budget.
func TestMemory(t *testing.T) {
	needs := func() int64 {
		e := newEngine(t, engine.Config{})
		return e.Memory(bind(t, prepare(t, e), given(1)))
	}()
	if needs < 8<<20 {
		t.Errorf("a process and what it has in flight take %d bytes", needs)
	}
	for short, code := range map[int64]string{0: "", 1: budget.CodeTooLarge} {
		e := newEngine(t, engine.Config{Budget: budget.New(needs - short)})
		plan := bind(t, prepare(t, e), given(1))
		_, err := e.Run(t.Context(), plan, &discard{}, engine.RunOptions{})
		if (err != nil) != (code != "") || code != "" && !fault.Is(err, code) {
			t.Errorf("a budget of %d bytes less: %v", short, err)
		}
	}
}

// TestOutputOfThePipeline: a sink of the pipeline's own writes to the destination of the inputs.
func TestOutputOfThePipeline(t *testing.T) {
	e := newEngine(t, engine.Config{})
	in := given(3)
	path := filepath.Join(t.TempDir(), "out")
	in.End, in.Destination.Output = engine.EndPipeline, path
	if _, err := e.Run(t.Context(), bind(t, prepare(t, e), in), nil, engine.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || strings.Count(string(content), "\n") != 3 {
		t.Errorf("%q, %v", content, err)
	}
}
