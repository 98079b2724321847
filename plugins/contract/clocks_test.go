package contract

import (
	"context"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// TestClocks: an instant that is shown by clocks without a name stays one, and is written as before.
func TestClocks(t *testing.T) {
	t.Parallel()
	f := arrow.Field{Name: "x", Nullable: true, Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"},
		Metadata: arrow.MetadataFrom(map[string]string{sdk.MetaFraction: "0", sdk.MetaClocks: "36600,1775317800=40200"})}
	schema := arrow.NewSchema([]arrow.Field{f}, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	values := builder.Field(0).(*array.TimestampBuilder)
	values.Append(1775317799)
	values.Append(1775317800)
	values.AppendNull()
	in := builder.NewRecord()
	defer in.Release()
	const want = `{"x":"2026-04-05 01:59:59"}` + "\n" + `{"x":"2026-04-05 03:00:00"}` + "\n" + `{"x":null}` + "\n"
	if got := written(t, in); got != want {
		t.Fatalf("the source's is %s", got)
	}
	b := newBench(t, memory.DefaultAllocator, "fail", "x timestamp")
	if _, err := b.Bind(schema); err != nil {
		t.Fatal(err)
	}
	out, err := b.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := written(t, out); got != want {
		t.Errorf("behind the contract it is %s", got)
	}
}
