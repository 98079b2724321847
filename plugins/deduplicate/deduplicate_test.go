package deduplicate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// first are the places of the rows that go on, of rows with these names ("-" is NULL), or the code of the fault.
func first(t *testing.T, s Settings, batch int, names ...string) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "at", Type: arrow.PrimitiveTypes.Int64}}, nil)
	dropped := int64(0)
	made, err := Stage().Make([]byte(fmt.Sprintf(`{"by":["name"],"memory":%d,"sorted":%t}`, s.Memory, s.Sorted)),
		sdk.Env{Memory: memory.DefaultAllocator, Count: func(_ string, n int64) { dropped += n }})
	if err != nil {
		t.Fatal(err)
	}
	f := made.(sdk.Filter)
	if _, err := f.Bind(schema); err != nil {
		t.Fatal(err)
	}
	var list []string
	for from := 0; from < len(names); from += batch {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i, name := range names[from:min(from+batch, len(names))] {
			if name == "-" {
				b.Field(0).AppendNull()
			} else {
				b.Field(0).(*array.StringBuilder).Append(name)
			}
			b.Field(1).(*array.Int64Builder).Append(int64(from + i))
		}
		out, err := f.Apply(t.Context(), b.NewRecord())
		if err != nil {
			return fault.From(err).Code
		}
		for i := range int(out.NumRows()) {
			list = append(list, fmt.Sprint(out.Column(1).(*array.Int64).Value(i)))
		}
	}
	if int(dropped) != len(names)-len(list) {
		t.Errorf("%d rows were left out, and %d counted", len(names)-len(list), dropped)
	}
	return strings.Join(list, " ")
}

func TestFirstOfEveryKey(t *testing.T) {
	t.Parallel()
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("%03d", i)
	}
	for _, c := range []struct {
		memory config.Size
		sorted bool
		names  string
		want   string
	}{
		{1 << 20, false, "b a b - a A - é", "0 1 3 5 7"},
		{1 << 20, true, "- - A a a b é é", "0 2 3 5 6"},
		{1 << 20, true, "a b a", "deduplicate.not_sorted"},
		{1 << 20, true, "a -", "deduplicate.not_sorted"},
		{4096, false, strings.Join(many, " "), "deduplicate.memory"},
		{4096, true, strings.Join(many, " "), strings.Trim(fmt.Sprint(until(100)), "[]")},
		{4096, false, strings.Repeat("a ", 500) + "a", "0"},
	} {
		for _, batch := range []int{1, 3, 1000} {
			if got := first(t, Settings{Memory: c.memory, Sorted: c.sorted}, batch, strings.Fields(c.names)...); got != c.want {
				t.Errorf("%s (sorted %t, batches of %d): got %s, want %s", c.names, c.sorted, batch, got, c.want)
			}
		}
	}
}

func until(n int) (list []int) {
	for v := range n {
		list = append(list, v)
	}
	return list
}
