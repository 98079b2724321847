package mask

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// erase makes every value NULL.
type erase struct{}

func (erase) apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	return array.MakeArrayOfNull(mem, in.DataType(), in.Len()), nil
}

// constant makes every value the same. NULL, too: which values were there is
// nobody's business either.
type constant struct {
	field arrow.Field
	text  []byte
}

func makeConstant(value config.Value, field arrow.Field) (action, arrow.Field, string) {
	var text string
	switch v := value.(type) {
	case nil:
		return nil, field, "constant needs a value; for NULL, use the action null"
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case json.Number:
		text = v.String()
	default:
		text = fmt.Sprint(v)
	}
	column, ok := parse.NewColumn(memory.DefaultAllocator, field)
	if !ok {
		return nil, field, "constant cannot make such values"
	}
	defer column.Release()
	if column.Text && !utf8.ValidString(text) || column.Append([]byte(text)) != parse.OK {
		return nil, field, "the value of constant is no value of that type"
	}
	return constant{field, []byte(text)}, field, ""
}

func (c constant) apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	column, _ := parse.NewColumn(mem, c.field)
	defer column.Release()
	column.Reserve(in.Len())
	for range in.Len() {
		column.Append(c.text)
	}
	return column.NewArray(), nil
}

// keepLast hides all characters but the last.
type keepLast struct {
	keep  int
	field arrow.Field
}

func makeKeepLast(keep int, field arrow.Field) (action, arrow.Field, string) {
	switch field.Type.ID() {
	case arrow.STRING, arrow.LARGE_STRING:
		// What was a JSON document is none any more.
		field.Metadata = parse.Describe(field.Metadata, nil)
		return keepLast{keep, field}, field, ""
	}
	return nil, field, "keep_last is for text; cast the column to string first, with the filter columns"
}

func (k keepLast) apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	column, _ := parse.NewColumn(mem, k.field)
	defer column.Release()
	column.Reserve(in.Len())
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{k.field}, nil))
	if err != nil {
		return nil, err
	}
	values := &columns[0]
	values.Load(in)
	var masked []byte
	for row := range in.Len() {
		if values.IsNull(row) {
			column.AppendNull()
			continue
		}
		data, from, to := values.Span(row)
		text := data[from:to]
		hidden := utf8.RuneCount(text)
		shown := len(text)
		if hidden > k.keep {
			hidden -= k.keep
			for range k.keep {
				_, size := utf8.DecodeLastRune(text[:shown])
				shown -= size
			}
		}
		masked = masked[:0]
		for hidden > 0 {
			n := min(hidden, len(stars))
			masked = append(masked, stars[:n]...)
			hidden -= n
		}
		masked = append(masked, text[shown:]...)
		column.Append(masked)
	}
	return column.NewArray(), nil
}

const stars = "****************************************************************"

// truncate cuts dates and timestamps to the start of their month or year.
type truncate struct {
	name    string
	year    bool
	perDay  int64      // units in a day
	zone    *zone.Zone // of instants whose months are those of another zone than UTC
	convert func(t *truncate, mem memory.Allocator, in arrow.Array) (arrow.Array, error)
}

func makeTruncate(unit string, field arrow.Field) (action, arrow.Field, string) {
	t := &truncate{name: field.Name, year: unit == "year", perDay: 1}
	switch typ := field.Type.(type) {
	case *arrow.Date32Type:
		t.convert = truncateAll[arrow.Date32]
	case *arrow.Date64Type:
		t.perDay = 86400 * 1000
		t.convert = truncateAll[arrow.Date64]
	case *arrow.TimestampType:
		t.perDay = 86400 * parse.PerSecond(typ.Unit)
		if typ.TimeZone != "" {
			z, known := zone.Of(field)
			if !known {
				return nil, field, unit + " is for times of a zone that is known, and " + typ.TimeZone + " is not"
			}
			if z.Name != zone.UTC || z.Text() != "" {
				t.zone = z
			}
		}
		t.convert = truncateAll[arrow.Timestamp]
	default:
		return nil, field, unit + " is for dates and timestamps"
	}
	return t, field, ""
}

func (t *truncate) apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	return t.convert(t, mem, in)
}

func truncateAll[T arrow.Date32 | arrow.Date64 | arrow.Timestamp](t *truncate, mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	values := in.(interface{ Value(int) T })
	builder := array.NewBuilder(mem, in.DataType())
	defer builder.Release()
	builder.Reserve(in.Len())
	out := builder.(interface{ UnsafeAppend(T) })
	// Neighbouring rows tend to fall into the same month.
	var start, from, to, written int64
	perSecond := t.perDay / 86400
	var clocks zone.Span
	for row := range in.Len() {
		if in.IsNull(row) {
			builder.AppendNull()
			continue
		}
		v := int64(values.Value(row))
		if t.zone != nil {
			second := zone.Seconds(v, perSecond)
			if second < clocks.From || second >= clocks.Until {
				clocks = t.zone.At(second)
			}
			v += clocks.Offset * perSecond
		}
		if v < from || v >= to {
			day := v / t.perDay
			if v%t.perDay < 0 {
				day--
			}
			year, month, _ := parse.FromCivil(day)
			if t.year {
				month = 1
			}
			first := parse.Civil(year, month, 1)
			start = first * t.perDay
			if start/t.perDay != first || int64(T(start)) != start {
				return nil, fault.New("mask.out_of_range", fault.Data,
					"column %q holds a time so early that its month does not begin within %s", t.name, sdk.TypeName(arrow.Field{Type: in.DataType()})).InRow(row)
			}
			written = start
			if t.zone != nil {
				// A month that begins with a skipped hour begins after it.
				local := start / perSecond
				begin, known := t.zone.Instant(local)
				for !known {
					local += 60
					begin, known = t.zone.Instant(local)
				}
				written = (local - begin.Offset) * perSecond
			}
			from, to = start, start+28*t.perDay
			if to < from {
				to = from
			}
		}
		out.UnsafeAppend(T(written))
	}
	return builder.NewArray(), nil
}
