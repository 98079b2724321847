package derive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func batch(n int) arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("2024-01-%02d", i%28+1))
	}
	return b.NewRecord()
}

// TestColumns: columns are added behind the others, may be named by those behind them, take another's place when they are
// asked to, and have the type that is written.
func TestColumns(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	f, err := newFilter(Settings{Columns: []Column{
		{Name: "twice", Expression: "n * 2"}, {Name: "n", Expression: "decimal(n, 5, 0) / 1 == n ? n : 0", Replace: true},
	}}, sdk.Env{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bind(batch(0).Schema()); fault.From(err) == nil || fault.From(err).Details[fault.DetailSetting] != "/columns/1/expression" {
		t.Fatal(err)
	}
	f, _ = newFilter(Settings{Columns: []Column{
		{Name: "twice", Expression: "n * 2", Type: "int16"}, {Name: "n", Expression: "n + twice", Replace: true}, {Name: "day", Expression: "s", Type: "date"},
	}}, sdk.Env{Memory: mem})
	schema, err := f.Bind(batch(0).Schema())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, field := range schema.Fields() {
		names = append(names, field.Name+" "+sdk.TypeName(field))
	}
	if got := strings.Join(names, ", "); got != "n int64, s string, twice int16, day date" {
		t.Error(got)
	}
	out, err := f.Apply(t.Context(), batch(3))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := fmt.Sprint(out.Column(0), out.Column(2)); got != "[0 3 6] [0 2 4]" {
		t.Error(got)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for code, columns := range map[string][]Column{
		"derive.exists":             {{Name: "n", Expression: "1"}},
		"derive.nothing_to_replace": {{Name: "m", Expression: "1", Replace: true}},
		"derive.type":               {{Name: "m", Expression: "null"}},
		"expression.unknown_column": {{Name: "m", Expression: "later"}, {Name: "later", Expression: "1"}},
		"expression.invalid":        {{Name: "m", Expression: "n = 1"}},
	} {
		f, err := newFilter(Settings{Columns: columns}, sdk.Env{})
		if err == nil {
			_, err = f.Bind(batch(0).Schema())
		}
		if !fault.Is(err, code) {
			t.Errorf("%s: got %v", code, err)
		}
	}
	if _, err := newFilter(Settings{Columns: []Column{{Name: "m", Expression: "1"}, {Name: "m", Expression: "2"}}}, sdk.Env{}); !fault.Is(err, "derive.repeated") {
		t.Error(err)
	}
}

// TestRow: a row without a value is named, and so are the column and the place.
func TestRow(t *testing.T) {
	t.Parallel()
	f, _ := newFilter(Settings{Columns: []Column{{Name: "q", Expression: "100 / (n - 4)"}}}, sdk.Env{Memory: memory.DefaultAllocator})
	if _, err := f.Bind(batch(0).Schema()); err != nil {
		t.Fatal(err)
	}
	_, err := f.Apply(t.Context(), batch(10))
	failed := fault.From(err)
	if row, _ := failed.Row(); failed.Code != "expression.division_by_zero" || row != 4 || !strings.HasPrefix(failed.Message, `column "q": column 1 of the expression`) {
		t.Errorf("%v in row %d", failed, row)
	}
}

// BenchmarkArithmetic is three columns of a batch.
func BenchmarkArithmetic(b *testing.B) {
	f, _ := newFilter(Settings{Columns: []Column{{Name: "a", Expression: "n * 3 + 1"}, {Name: "d", Expression: "decimal(n, 10, 2) * 1.19"}, {Name: "c", Expression: "n > 100 ? 'many' : 'few'"}}},
		sdk.Env{Memory: memory.DefaultAllocator})
	in := batch(8192)
	if _, err := f.Bind(in.Schema()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out, err := f.Apply(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		out.Release()
	}
	b.ReportMetric(float64(b.N)*8192/b.Elapsed().Seconds(), "rows/s")
}
