package parquet

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestDurations writes durations as integers and as times of day.
func TestDurations(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		unit           arrow.TimeUnit
		value          arrow.Duration
		want           int64
		time           format.TimeUnitValue // nil for an integer
		fails          bool
	}{
		{"-838:59:59", `{}`, arrow.Microsecond, -3020399000000, -3020399000000, nil, false},
		{"seconds", `{}`, arrow.Second, 7, 7000000, nil, false},
		{"nanoseconds", `{}`, arrow.Nanosecond, 7, 7, nil, false},
		{"00:00:00", `{"durations":"time"}`, arrow.Microsecond, 0, 0, &format.MicroSeconds{}, false},
		{"23:59:59.999999", `{"durations":"time"}`, arrow.Microsecond, 86399999999, 86399999999, &format.MicroSeconds{}, false},
		{"23:59:59", `{"durations":"time"}`, arrow.Second, 86399, 86399000000, &format.MicroSeconds{}, false},
		{"last nanosecond", `{"durations":"time"}`, arrow.Nanosecond, 86399999999999, 86399999999999, &format.NanoSeconds{}, false},
		{"24:00:00", `{"durations":"time"}`, arrow.Microsecond, 86400000000, 0, nil, true},
		{"24:00:00 in milliseconds", `{"durations":"time"}`, arrow.Millisecond, 86400000, 0, nil, true},
		{"-00:00:00.000001", `{"durations":"time"}`, arrow.Microsecond, -1, 0, nil, true},
	} {
		record := one(arrow.Field{Name: "took", Type: &arrow.DurationType{Unit: c.unit}, Nullable: true}, func(b array.Builder) {
			b.AppendNull()
			b.(*array.DurationBuilder).Append(c.value)
		})
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), c.settings, sdk.Env{}), sdk.Rows{Record: record})
		record.Release()
		if c.fails {
			if !fault.Is(err, "encoder.out_of_range") || !strings.Contains(err.Error(), `"took"`) || !strings.Contains(err.Error(), "in row 2") {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		f, err := parquet.OpenFile(bytes.NewReader(out.Data), int64(len(out.Data)))
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]parquet.Row, 2)
		if n, _ := parquet.NewReader(f).ReadRows(rows); n != 2 || rows[1][0].Int64() != c.want {
			t.Errorf("%s: %v, want %d", c.name, rows, c.want)
		}
		logical, isTime := f.Metadata().Schema[1].LogicalType.Value.(*format.TimeType)
		if isTime != (c.time != nil) ||
			isTime && (logical.IsAdjustedToUTC || fmt.Sprintf("%T", logical.Unit.Value) != fmt.Sprintf("%T", c.time)) {
			t.Errorf("%s: %+v", c.name, f.Metadata().Schema[1].LogicalType)
		}
	}
}
