package zone

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestGuard: what could be either of two instants is refused, and named by its row of the whole result.
func TestGuard(t *testing.T) {
	for _, local := range []bool{true, false} {
		field := arrow.Field{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "Australia/Sydney"}, Nullable: true}
		if local {
			field.Metadata = arrow.MetadataFrom(map[string]string{sdk.MetaLocalTime: "true"})
		}
		schema := arrow.NewSchema([]arrow.Field{field}, nil)
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		values := builder.Field(0).(*array.TimestampBuilder)
		values.AppendNull()
		values.Append(1782864000000)
		values.Append(1775316600123) // 2026-04-05 02:30 of summer time
		err := NewGuard(schema).Check(builder.NewRecord(), 100)
		if (err != nil) != local || local && (!fault.Is(err, "encoder.doubled_hour") || !strings.Contains(err.Error(), "row 103: clocks showed 2026-04-05 02:30:00 twice in Australia/Sydney")) {
			t.Errorf("local %v: %v", local, err)
		}
	}
}
