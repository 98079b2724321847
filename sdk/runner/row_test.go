package runner_test

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// picky refuses one number.
type picky struct{ number int64 }

func (picky) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (p picky) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	for row, n := range in.Column(0).(*array.Int64).Int64Values() {
		if n == p.number {
			return nil, fault.New("test.picky", fault.Data, "there it is").InRow(row)
		}
	}
	in.Retain()
	return in, nil
}

// TestRowOfAFault: rows are counted from 1 in what the stage is given, whatever the batches,
// however many workers there are, and behind a filter that drops rows.
func TestRowOfAFault(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		for _, c := range []struct {
			filters []string
			number  int64
			row     string
		}{{nil, 0, "row 1"}, {nil, 1566, "row 1567"}, {nil, 99_998, "row 99999"}, {[]string{"even"}, 1566, "row 784"}, {[]string{"pass", "even"}, 99_998, "row 50000"}} {
			bundle := runnertest.Bundle("test")
			cfg := runner.Config{RunID: "r", Workers: workers, BatchRows: 100, Dir: t.TempDir()}
			add := func(kind stage.Kind, name, settings string) {
				d, ok := bundle.Find(kind, name)
				if !ok {
					t.Fatalf("no %s", name)
				}
				cfg.Stages = append(cfg.Stages, runner.Stage{ID: name + strconv.Itoa(len(cfg.Stages)), Definition: d, Settings: []byte(settings)})
			}
			add(stage.KindSource, "count", `{"rows": 100000}`)
			for _, name := range c.filters {
				add(stage.KindFilter, name, `{}`)
			}
			cfg.Stages = append(cfg.Stages, runner.Stage{ID: "picky", Definition: stage.DefineFilter(stage.About{Name: "picky", Concurrent: true, KeepsRows: true},
				func(struct{}, stage.Env) (stage.Filter, error) { return picky{c.number}, nil }), Settings: []byte(`{}`)})
			add(stage.KindEncoder, "lines", `{}`)
			add(stage.KindSink, "file", `{"path": "`+filepath.Join(t.TempDir(), "out")+`"}`)
			group, err := runner.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = group.Run(t.Context())
			if f := fault.From(err); f == nil || f.Code != "test.picky" || !strings.HasSuffix(f.Message, "there it is, in "+c.row) || f.Stage != "picky" {
				t.Errorf("%d workers, %v, %d: %v, want %s", workers, c.filters, c.number, err, c.row)
			}
			if err := group.Abort(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}

// turncoat gives another schema than it has announced.
type turncoat struct{}

func (turncoat) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (turncoat) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	other := arrow.NewSchema([]arrow.Field{{Name: "other", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return array.NewRecord(other, in.Columns(), in.NumRows()), nil
}

// TestSchemaOfAFilter: a filter that breaks its schema is the one that is blamed.
func TestSchemaOfAFilter(t *testing.T) {
	t.Parallel()
	bundle := runnertest.Bundle("test")
	cfg := runner.Config{RunID: "r", Dir: t.TempDir()}
	add := func(kind stage.Kind, name, settings string) {
		d, _ := bundle.Find(kind, name)
		cfg.Stages = append(cfg.Stages, runner.Stage{ID: name, Definition: d, Settings: []byte(settings)})
	}
	add(stage.KindSource, "count", `{"rows": 10}`)
	cfg.Stages = append(cfg.Stages, runner.Stage{ID: "turncoat", Definition: stage.DefineFilter(stage.About{Name: "turncoat"},
		func(struct{}, stage.Env) (stage.Filter, error) { return turncoat{}, nil }), Settings: []byte(`{}`)})
	add(stage.KindFilter, "pass", `{}`)
	add(stage.KindEncoder, "lines", `{}`)
	add(stage.KindSink, "file", `{"path": "`+filepath.Join(t.TempDir(), "out")+`"}`)
	group, err := runner.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = group.Run(t.Context())
	if f := fault.From(err); f == nil || f.Code != "plugin.contract" || f.Stage != "turncoat" || !strings.Contains(f.Message, "other") {
		t.Errorf("%v", err)
	}
	if err := group.Abort(context.Background()); err != nil {
		t.Error(err)
	}
}
