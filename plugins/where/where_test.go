package where

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
)

func newTestFilter(t testing.TB, mem memory.Allocator, expression string) *filter {
	t.Helper()
	made, err := newFilter(Settings{Expression: expression}, sdk.Env{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	return made.(*filter)
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(1000, 1)
	defer in.Release()
	f := newTestFilter(t, memory.DefaultAllocator, "size(status) > 3")
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := f.Apply(ctx, in); err != why {
		t.Errorf("got %v", err)
	}
}

func encode(t testing.TB, records ...arrow.Record) string {
	t.Helper()
	var rows []sdk.Rows
	for _, r := range records {
		rows = append(rows, sdk.Rows{Record: r})
	}
	out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), rows...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Data)
}

// TestApply compares batches, whole and in slices, with the lines of the rows that
// are to go on.
func TestApply(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]arrow.Record{"appointments": sample.Appointments(1000, 4), "everything": sample.Everything()} {
		lines := strings.SplitAfter(encode(t, in), "\n")
		column := map[string]string{"appointments": "room_id", "everything": "int32"}[name]
		for _, expression := range []string{"%s > 300", "%s == null", "%s != null", "%s == 123456789", "%s != 123456789", "%s < 300 || %[1]s == null", "%s == 99", "%s in [15, 30, 99]"} {
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			f := newTestFilter(t, allocator, strings.ReplaceAll(fmt.Sprintf(expression, column), "%!(EXTRA string="+column+")", ""))
			if _, err := f.Bind(in.Schema()); err != nil {
				t.Fatal(err)
			}
			for _, step := range []int64{in.NumRows(), 1, 3, 101, 640} {
				var got, want strings.Builder
				for from := int64(0); from < in.NumRows(); from += step {
					part := in.NewSlice(from, min(from+step, in.NumRows()))
					selected, err := f.condition.Select(context.Background(), part.Columns(), int(part.NumRows()))
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range selected.Indexes() {
						want.WriteString(lines[from+int64(i)])
					}
					selected.Release()
					out, err := f.Apply(context.Background(), part)
					if err != nil {
						t.Fatal(err)
					}
					// The result must outlive what it was made of.
					part.Release()
					if !out.Schema().Equal(in.Schema()) {
						t.Error("the schema changed")
					}
					got.WriteString(encode(t, out))
					out.Release()
				}
				if got.String() != want.String() {
					t.Errorf("%s, %s in steps of %d: got\n%s\nwant\n%s", name, f.settings.Expression, step, got.String(), want.String())
				}
			}
			allocator.AssertSize(t, 0)
		}
		in.Release()
	}
}

// TestApplyNested gathers types that expressions cannot read.
func TestApplyNested(t *testing.T) {
	t.Parallel()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}}, nil)
	b := array.NewRecordBuilder(allocator, schema)
	defer b.Release()
	list := b.Field(1).(*array.ListBuilder)
	for i := range 10 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		list.Append(i%3 != 0)
		if i%3 != 0 {
			list.ValueBuilder().(*array.Int32Builder).AppendValues([]int32{int32(i), int32(-i)}, nil)
		}
	}
	in := b.NewRecord()
	defer in.Release()
	f := newTestFilter(t, allocator, "n == 1 || n == 2 || n == 6 || n == 8")
	if _, err := f.Bind(schema); err != nil {
		t.Fatal(err)
	}
	out, err := f.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := fmt.Sprint(out.Column(1)); got != "[[1 -1] [2 -2] (null) [8 -8]]" {
		t.Errorf("got %s", got)
	}
}

// TestNothingIsCopied wants the batch itself when all rows go on, and a slice when
// most of them do.
func TestNothingIsCopied(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(1000, 4)
	defer in.Release()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	for expression, rows := range map[string]int64{"true": 1000, "false": 0, "appointment_date >= '2023-12-18'": 640} {
		f := newTestFilter(t, allocator, expression)
		if _, err := f.Bind(in.Schema()); err != nil {
			t.Fatal(err)
		}
		out, err := f.Apply(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if out.NumRows() != rows || allocator.CurrentAlloc() != 0 {
			t.Errorf("%s: %d rows, %d bytes", expression, out.NumRows(), allocator.CurrentAlloc())
		}
		out.Release()
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(700, 2)
	defer in.Release()
	f := newTestFilter(t, memory.DefaultAllocator, "amount > 300.50 && status.matches('^[AB]') && size(status) > 3 || (room_id + 1 > 5 || size(status) > 9) && size(status) == 20")
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	want, err := f.Apply(context.Background(), in)
	if err != nil || want.NumRows() == 0 || want.NumRows() == 700 {
		t.Fatal(want, err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10 {
				got, err := f.Apply(context.Background(), in)
				if err != nil || !array.RecordEqual(got, want) {
					t.Errorf("another result than alone (%v)", err)
					return
				}
				got.Release()
			}
		})
	}
	group.Wait()
}

func BenchmarkApply(b *testing.B) {
	in := sample.Appointments(8192, 1)
	defer in.Release()
	for _, c := range []struct{ name, expression string }{
		{"integer", "patient_id > 0"}, {"half of the rows", "cancelled == 1"}, {"a tenth of the rows", "duration == 15 || duration == 30 || duration == 45 || duration == 60"},
		{"decimal", "amount < 0"}, {"text", "status == 'nothing like it'"}, {"contains", "status.contains('xyz')"}, {"matches", "status.matches('^x')"},
		{"date and flags", "appointment_date >= '2030-01-01' && is_deleted == 0 && status != 'Cancelled by patient'"}, {"in", "status in ['A', 'B', 'C']"}, {"row by row", "size(status) > 100"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newTestFilter(b, memory.DefaultAllocator, c.expression)
			if _, err := f.Bind(in.Schema()); err != nil {
				b.Fatal(err)
			}
			meter := sample.NewMeter(b)
			for b.Loop() {
				out, err := f.Apply(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
				meter.Rows += in.NumRows()
				meter.Size += in.NumRows() * 185
			}
			meter.Report()
		})
	}
}
