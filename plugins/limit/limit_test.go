package limit

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// TestPlaces: the rows that go on are those of their places, in batches of any size, and the filter has enough when, and
// not before, the last of them was there.
func TestPlaces(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 40 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	in := b.NewRecord()
	for _, s := range []Settings{{Rows: 0}, {Rows: 1}, {Rows: 10}, {Rows: 10, Offset: 5}, {Rows: 40}, {Rows: 41}, {Rows: 1 << 62, Offset: 1 << 62}, {Rows: 5, Offset: 38}} {
		for _, batch := range []int64{1, 7, 10, 40} {
			cut := 0
			f := &filter{settings: s, env: sdk.Env{Memory: memory.DefaultAllocator, Fact: func(string, string) { cut++ }}}
			var got, want []int64
			for from := int64(0); from < 40; from += batch {
				out, err := f.Apply(t.Context(), in.NewSlice(from, min(from+batch, 40)))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, out.Column(0).(*array.Int64).Int64Values()...)
				if enough := min(from+batch, 40) >= s.Rows+s.Offset && s.Offset < 1<<61; f.Finished() != enough {
					t.Errorf("%+v: finished is %t after %d rows", s, f.Finished(), from+batch)
				}
			}
			for n := s.Offset; n < min(s.Offset+s.Rows, 40) && n >= 0; n++ {
				want = append(want, n)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || f.Finished() != (cut == 1) {
				t.Errorf("%+v in batches of %d: got %v, want %v; said %d times that it was cut", s, batch, got, want, cut)
			}
		}
	}
}
