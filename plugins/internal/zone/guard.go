package zone

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Guard watches over columns whose instants come of local times (sdk.MetaLocalTime), for encoders
// that write instants: a local time that clocks showed twice is none.
type Guard struct{ columns []guarded }

type guarded struct {
	index     int
	name      string
	zone      *Zone
	perSecond int64
}

// NewGuard looks for such columns; without any, its Check costs nothing.
func NewGuard(schema *arrow.Schema) *Guard {
	g := &Guard{}
	for i, f := range schema.Fields() {
		t, ok := f.Type.(*arrow.TimestampType)
		if local, _ := f.Metadata.GetValue(sdk.MetaLocalTime); !ok || local != "true" {
			continue
		}
		if z, known := Load(t.TimeZone); known && !z.Fixed() {
			g.columns = append(g.columns, guarded{i, f.Name, z, int64(time.Second / t.Unit.Multiplier())})
		}
	}
	return g
}

// Check fails on an instant that could be another one. First is the number of the rows before.
func (g *Guard) Check(r arrow.Record, first int64) error {
	for _, c := range g.columns {
		values := r.Column(c.index).(*array.Timestamp)
		var span Span // of the value before
		for row := range values.Len() {
			if values.IsNull(row) {
				continue
			}
			second := Seconds(int64(values.Value(row)), c.perSecond)
			if second < span.From || second >= span.Until {
				span = c.zone.At(second)
			}
			if span.Doubled {
				return fault.New("encoder.doubled_hour", fault.Data,
					"column %q, row %d: clocks showed %s twice in %s, and the server does not say which instant it was", c.name, first+int64(row)+1,
					time.Unix(second+span.Offset, 0).UTC().Format(time.DateTime), c.zone.Name).
					WithHint("set time_zone to +00:00, read the table by its name, or take a format of text, which shows local times")
			}
		}
	}
	return nil
}

// Seconds rounds an instant down to a second.
func Seconds(ticks, perSecond int64) int64 {
	s := ticks / perSecond
	if ticks%perSecond < 0 {
		s--
	}
	return s
}
