package binding

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

const counting = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: counting}
spec:
  parameters:
    - {name: rows, type: integer, default: 100}
    - {name: columns, type: string}
    - {name: from_date, type: date}
  stages:
    source: {use: count, with: {rows: "${params.rows}"}}
    encoder: {use: lines}
    sink: {use: file, with: {path: "${run.output}"}}
`

func prepare(t *testing.T) *engine.Prepared { return prepareOf(t, counting) }

func prepareOf(t *testing.T, pipeline string) *engine.Prepared {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{FirstParty: runnertest.Bundle("test"),
		Catalogue: fstest.MapFS{"counting.yaml": {Data: []byte(pipeline)}}, NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	prepared, diags := e.Prepare("counting")
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return prepared
}

// TestParameters: the fields of a body that are parameters are given as they came; what is the service's own, and null,
// is not.
func TestParameters(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	given, err := Parameters(p, []byte(`{"customer_id":"clinic","rows":12345678901234567890,"columns":["a","b<c"],"from_date":null,"webhook_url":"https://x"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"rows": json.Number("12345678901234567890"), "columns": `["a","b\u003cc"]`}
	if !reflect.DeepEqual(given, want) {
		t.Errorf("%#v", given)
	}
	for _, body := range []string{"", "[]", "{"} {
		if _, err := Parameters(p, []byte(body)); !fault.Is(err, CodeRequest) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestState: a pipeline that keeps state is refused where nobody keeps it, before anything of the customer's is taken;
// one that keeps none is not asked for any.
func TestState(t *testing.T) {
	t.Parallel()
	p := prepareOf(t, counting+"  columns: [{name: n, type: int64, nullable: false}]\n  state: {cursor: n, overlap: 10}\n")
	bound, err := (&Binder{}).Bind(t.Context(), Order{Pipeline: p, Sealed: true})
	if bound != nil || !fault.Is(err, CodeState) || !strings.Contains(fault.From(err).Hint, "schedule") {
		t.Errorf("%v, %v", bound, err)
	}
	o := Order{Pipeline: prepareOf(t, counting), Customer: &customer.Customer{ID: "clinic"}, RunID: "r",
		State: &engine.State{}}
	if bound, err := (&Binder{Log: slog.New(slog.DiscardHandler)}).Bind(t.Context(), o); err != nil ||
		bound.Plan.State != nil {
		t.Errorf("%v, %v", bound, err)
	}
}

// runs is an engine that says what it is told to.
type runs struct {
	progress engine.Progress
	receipt  engine.Receipt
	err      error
	plan     *engine.Plan
}

func (r *runs) Run(ctx context.Context, plan *engine.Plan, _ engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	r.plan = plan
	o.Events(r.progress)
	if ctx.Err() != nil {
		return &r.receipt, context.Cause(ctx)
	}
	return &r.receipt, r.err
}

// TestSealed: what a run seals is counted by lines or by chunks, whatever becomes of it; a key that is spent begins and
// ends no run.
func TestSealed(t *testing.T) {
	t.Parallel()
	p, record := prepare(t), memory.New()
	key := config.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	clinic := customer.Customer{ID: "clinic", SealingKeys: []config.Secret{key}}
	registry, err := customer.New(t.Context(), record, []customer.Customer{clinic}, customer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.Serves(t.Context(), "clinic")
	if err != nil {
		t.Fatal(err)
	}
	total := func() (n int64) {
		uses, err := record.SealingUses(t.Context(), "clinic")
		if err != nil {
			t.Error(err)
		}
		for _, u := range uses {
			n += u
		}
		return n
	}
	broken, died := errors.New("broken"), fault.New("plugin.died", fault.Plugin, "it died")
	e := &runs{}
	binder := &Binder{Engine: e, Sealer: registry, Log: slog.New(slog.DiscardHandler)}
	for _, test := range []struct {
		lines bool
		e     runs
		units int64
	}{
		{true, runs{progress: engine.Progress{Rows: 200_000}, receipt: engine.Receipt{Rows: 200_001, Bytes: 9 << 20}}, 200_001},
		{false, runs{receipt: engine.Receipt{Rows: 200_001, Bytes: 3 << 20}}, 4},
		{true, runs{receipt: engine.Receipt{Rows: 5}, err: broken}, 5},
		// An encoder that has died does not say how many rows it had: what was seen of the run counts.
		{true, runs{progress: engine.Progress{Rows: 700_000}, err: broken}, 700_000},
		{true, runs{err: died}, 0},
		{false, runs{err: died}, 1},
		{true, runs{progress: engine.Progress{Rows: 1}, err: died}, 250_001},
		{false, runs{progress: engine.Progress{Rows: 1, Bytes: 3 << 20}, err: died}, 4 + 251},
	} {
		*e = test.e
		before := total()
		bound, err := binder.Bind(t.Context(), Order{Pipeline: p, Customer: c, Sealed: true, Lines: test.lines, RunID: "counting_1_2", StartedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		heard := 0
		if _, err := bound.Run(t.Context(), nil, engine.RunOptions{Events: func(engine.Event) { heard++ }}); !errors.Is(err, test.e.err) {
			t.Errorf("%v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		bound.Close(ended)
		if got := total() - before; got != test.units || heard != 1 || bound.SealingKey() == "" || e.plan.RunID != "counting_1_2" {
			t.Errorf("%+v: %d units, %d events, key %q", test, got, heard, bound.SealingKey())
		}
	}
	bound, err := binder.Bind(t.Context(), Order{Pipeline: p, Customer: c, Sealed: true, Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.AddSealingUses(t.Context(), "clinic", bound.SealingKey(), 1<<32-total()); err != nil {
		t.Fatal(err)
	}
	*e = runs{progress: engine.Progress{Rows: 1 << 30}}
	if _, err := bound.Run(t.Context(), nil, engine.RunOptions{}); !fault.Is(err, customer.CodeSealingSpent) {
		t.Errorf("a key that is spent in the middle: %v", err)
	}
	if _, err := binder.Bind(t.Context(), Order{Pipeline: p, Customer: c, Sealed: true}); !fault.Is(err, customer.CodeSealingSpent) {
		t.Errorf("a key that is spent: %v", err)
	}
}

// TestRefused: what is wrong with an order is told as the pipeline tells it, and the key that it had is given back.
func TestRefused(t *testing.T) {
	t.Parallel()
	binder := &Binder{Log: slog.New(slog.DiscardHandler)}
	_, err := binder.Bind(t.Context(), Order{Pipeline: prepare(t), Customer: &customer.Customer{ID: "clinic"}, Parameters: map[string]any{"rows": "many"}})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Diagnostics) == 0 || refused.Diagnostics[0].Parameter != "rows" {
		t.Errorf("%v", err)
	}
}

// TestReceiptOf: only what was sealed has a receipt that customers get.
func TestReceiptOf(t *testing.T) {
	t.Parallel()
	if r := ReceiptOf(nil); r != nil {
		t.Errorf("%+v", r)
	}
	if r := ReceiptOf(&engine.Receipt{Rows: 1}); r != nil {
		t.Errorf("%+v", r)
	}
	if r := ReceiptOf(&engine.Receipt{Statement: "{}", MAC: "00"}); r == nil || *r != (Receipt{"{}", "00"}) {
		t.Errorf("%+v", r)
	}
}
