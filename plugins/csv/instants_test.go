package csv

import (
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestInstants: an instant is written as the clocks of its zone showed it, and what they showed
// twice is counted.
func TestInstants(t *testing.T) {
	for _, c := range []struct {
		zone, want string
		doubled    int64
	}{
		{"UTC", "a\r\n2026-04-04 15:30:00\r\n2026-04-04 16:30:00\r\n2026-07-01 00:00:00\r\n", 0},
		{"-03:30", "a\r\n2026-04-04 12:00:00\r\n2026-04-04 13:00:00\r\n2026-06-30 20:30:00\r\n", 0},
		{"Australia/Sydney", "a\r\n2026-04-05 02:30:00\r\n2026-04-05 02:30:00\r\n2026-07-01 10:00:00\r\n", 2},
	} {
		kind := &arrow.TimestampType{Unit: arrow.Second, TimeZone: c.zone}
		builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "a", Type: kind}}, nil))
		for _, at := range []time.Time{time.Date(2026, 4, 4, 15, 30, 0, 0, time.UTC), time.Date(2026, 4, 4, 16, 30, 0, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)} {
			builder.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.Unix()))
		}
		counted := map[string]int64{}
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{Count: func(name string, n int64) { counted[name] += n }}), sdk.Rows{Record: builder.NewRecord()})
		if err != nil || string(out.Data) != c.want || counted["doubled_hours"] != c.doubled {
			t.Errorf("%s: %q, %v, %v", c.zone, out.Data, counted, err)
		}
	}
	made, err := Stage().Make(nil, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	unknown := arrow.NewSchema([]arrow.Field{{Name: "a", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "Nowhere/Nothing"}}}, nil)
	if _, err := made.(sdk.Encoder).Bind(unknown); !fault.Is(err, "encoder.time_zone") {
		t.Errorf("a zone of nobody: %v", err)
	}
}
