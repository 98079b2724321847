package mask

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// TestMonthOfClocks: the month is that of the clocks that the instant is shown by, without a name of their zone too.
func TestMonthOfClocks(t *testing.T) {
	f := arrow.Field{Name: "x", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, Metadata: arrow.MetadataFrom(map[string]string{sdk.MetaClocks: "36600"})}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{f}, nil))
	defer builder.Release()
	builder.Field(0).(*array.TimestampBuilder).Append(1772308800) // 2026-02-28 20:00 UTC, where it is March
	in := builder.NewRecord()
	defer in.Release()
	out, err := apply(t, memory.DefaultAllocator, `{"columns": {"x": {"action": "month"}}}`, in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := int64(out.Column(0).(*array.Timestamp).Value(0)); got != 1772286600 { // 2026-02-28 13:50 UTC
		t.Errorf("the month begins at %d", got)
	}
}
