package mysqlpoll

import (
	"math"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
)

// beginning is before every change: nothing of the table was seen yet.
const beginning = math.MinInt64

// literalForm is how a time is written for a server.
const literalForm = "2006-01-02 15:04:05.999999"

// latest is the latest time of a column, in microseconds since 1970 of its own clock; beginning where there is none. Zero
// and impossible dates are none.
func latest(a arrow.Array) int64 {
	last := int64(beginning)
	for i := range a.Len() {
		if a.IsNull(i) {
			continue
		}
		switch v := a.(type) {
		case *array.Timestamp:
			unit := v.DataType().(*arrow.TimestampType).Unit
			last = max(last, v.Value(i).ToTime(unit).UnixMicro())
		case *array.String: // zero_dates: text
			if t, err := time.Parse(literalForm, v.Value(i)); err == nil {
				last = max(last, t.UnixMicro())
			}
		}
	}
	return last
}

// autumn is by how much clocks are put back.
const autumn = time.Hour

// farEast is how far local time is ahead of UTC at most.
const farEast = 14 * time.Hour

// civil reports whether the column holds what clocks showed, and not instants.
func (t *table) civil(zeroDates string) bool {
	return t.changed.DataType == "datetime" || zeroDates == "text"
}

// from is where a round begins that has seen changes up to a time; empty is at the beginning.
func (t *table) from(seen int64, overlap time.Duration, civil bool) string {
	if seen == beginning {
		return ""
	}
	if civil {
		overlap += autumn
	}
	return time.UnixMicro(seen).Add(-overlap).UTC().Format(literalForm)
}

// present is the time that the column's clock shows, at most, when it is an instant of UTC. A row whose time is later than
// that is of a clock that is wrong, and must not hide those of clocks that are right.
func present(now time.Time, civil bool, z *zone.Zone) int64 {
	switch {
	case !civil:
	case z == nil:
		now = now.Add(farEast)
	default:
		now = now.Add(time.Duration(z.At(now.Unix()).Offset) * time.Second)
	}
	return now.UnixMicro()
}
