package format

import (
	"strconv"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// ColumnsOf returns a column for every field of the schema. The error is the fault
// "encoder.unsupported_type" or "encoder.invalid_metadata" if a field has no exact
// text; its message tells about all such fields.
func ColumnsOf(schema *arrow.Schema) ([]Column, error) {
	columns := make([]Column, schema.NumFields())
	var first *fault.Fault
	for i, f := range schema.Fields() {
		c, problem := columnOf(f)
		switch {
		case problem == nil:
		case first == nil:
			first = problem
		default:
			first.Message += "; " + problem.Message
		}
		columns[i] = c
	}
	if first != nil {
		return nil, first
	}
	return columns, nil
}

func columnOf(f arrow.Field) (Column, *fault.Fault) {
	c := Column{Name: f.Name, Class: Number, Max: MaxInt}
	// held is the number of fractional digits that the type's unit holds.
	held := -1
	switch t := f.Type.(type) {
	case *arrow.NullType:
		c.Class, c.Max = Null, 0
	case *arrow.BooleanType:
		c.kind = kindBool
	case *arrow.Int8Type:
		c.kind = kindInt8
	case *arrow.Int16Type:
		c.kind = kindInt16
	case *arrow.Int32Type:
		c.kind = kindInt32
	case *arrow.Int64Type:
		c.kind = kindInt64
	case *arrow.Uint8Type:
		c.kind = kindUint8
	case *arrow.Uint16Type:
		c.kind = kindUint16
	case *arrow.Uint32Type:
		c.kind = kindUint32
	case *arrow.Uint64Type:
		c.kind = kindUint64
	case *arrow.Float32Type:
		c.Class, c.Max, c.kind = Float, MaxFloat, kindFloat32
	case *arrow.Float64Type:
		c.Class, c.Max, c.kind = Float, MaxFloat, kindFloat64
	case *arrow.Decimal128Type:
		c.Class, c.Max, c.kind, c.scale = Quoted, MaxDecimal, kindDecimal128, int(t.Scale)
	case *arrow.Decimal256Type:
		c.Class, c.Max, c.kind, c.scale = Quoted, MaxDecimal, kindDecimal256, int(t.Scale)
	case *arrow.Date32Type:
		c.Class, c.Max, c.kind = Quoted, MaxTime, kindDate32
	case *arrow.Date64Type:
		c.Class, c.Max, c.kind = Quoted, MaxTime, kindDate64
	case *arrow.TimestampType:
		c.kind, held = kindTimestamp, unitDigits(t.Unit)
	case *arrow.Time32Type:
		c.kind, held = kindTime32, unitDigits(t.Unit)
	case *arrow.Time64Type:
		c.kind, held = kindTime64, unitDigits(t.Unit)
	case *arrow.DurationType:
		c.kind, held = kindTime64, unitDigits(t.Unit)
	case *arrow.StringType:
		c.Class, c.Max, c.kind = Text, 0, kindText
	case *arrow.LargeStringType:
		c.Class, c.Max, c.kind = Text, 0, kindLargeText
	case *arrow.BinaryType:
		c.Class, c.Max, c.kind = Binary, 0, kindText
	case *arrow.LargeBinaryType:
		c.Class, c.Max, c.kind = Binary, 0, kindLargeText
	case *arrow.FixedSizeBinaryType:
		c.Class, c.Max, c.kind, c.width = Binary, 0, kindFixedBinary, t.ByteWidth
	default:
		return c, fault.New("encoder.unsupported_type", fault.Data,
			"column %q has the type %s, which has no text form", f.Name, sdk.TypeName(f)).
			WithHint("leave the column out with the columns filter, or convert it at the source")
	}
	if c.scale < -MaxScale || c.scale > MaxScale {
		return c, fault.New("encoder.unsupported_type", fault.Data,
			"column %q has the type %s; scales from %d to %d are supported", f.Name, sdk.TypeName(f), -MaxScale, MaxScale)
	}
	if document, ok := f.Metadata.GetValue(sdk.MetaJSON); ok && c.Class == Text {
		c.JSON = document == "true"
	}
	if held < 0 {
		return c, nil
	}
	c.Class, c.Max = Quoted, MaxTime
	written := held
	if text, ok := f.Metadata.GetValue(sdk.MetaFraction); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 9 {
			return c, fault.New("encoder.invalid_metadata", fault.Data,
				"column %q: field metadata %s is %q; expected the number of fractional second digits, 0 to 9",
				f.Name, sdk.MetaFraction, text)
		}
		written = n
	}
	c.time = newTimeFormat(held, written)
	if t, ok := f.Type.(*arrow.TimestampType); ok && t.TimeZone != "" {
		z, known := zone.Of(f)
		if !known {
			return c, fault.New("encoder.time_zone", fault.Data, "column %q is an instant in the time zone %q, which is not known", f.Name, t.TimeZone).
				WithHint("let the source give UTC, an offset such as +10:00, or a name of the IANA database such as Australia/Sydney")
		}
		if z.Name != zone.UTC || z.Text() != "" {
			c.time.zone = z
		}
	}
	return c, nil
}

func unitDigits(u arrow.TimeUnit) int {
	switch u {
	case arrow.Second:
		return 0
	case arrow.Millisecond:
		return 3
	case arrow.Microsecond:
		return 6
	}
	return 9
}

// Table is the columns of a schema. It lends columns to any number of goroutines.
type Table struct {
	// Count takes the counter CounterDoubledHours; nil where nobody wants it.
	Count func(name string, n int64)

	schema  *arrow.Schema
	columns []Column
	pool    sync.Pool
}

// NewTable makes the columns of a schema; see ColumnsOf.
func NewTable(schema *arrow.Schema) (*Table, error) {
	columns, err := ColumnsOf(schema)
	if err != nil {
		return nil, err
	}
	return &Table{schema: schema, columns: columns}, nil
}

// Columns returns them, in the order of the schema. Do not change it.
func (t *Table) Columns() []Column { return t.columns }

// Load lends columns that are loaded with the record; Unload takes them back. The
// record must have that schema.
func (t *Table) Load(r arrow.Record) (*Loaded, error) {
	if s := r.Schema(); s != t.schema && !s.Equal(t.schema) {
		return nil, fault.New("encoder.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, t.schema)
	}
	l, ok := t.pool.Get().(*Loaded)
	if !ok {
		l = &Loaded{Columns: append([]Column(nil), t.columns...)}
	}
	for i := range l.Columns {
		l.Columns[i].Load(r.Column(i))
	}
	return l, nil
}

// Unload takes columns back that were lent by Load.
func (t *Table) Unload(l *Loaded) {
	doubled := int64(0)
	for i := range l.Columns {
		l.Columns[i].Unload()
		doubled += l.Columns[i].time.doubled
		l.Columns[i].time.doubled = 0
	}
	if doubled > 0 && t.Count != nil {
		t.Count(CounterDoubledHours, doubled)
	}
	if cap(l.Scratch) > maxScratch {
		l.Scratch = nil
	}
	t.pool.Put(l)
}

// maxScratch is the most memory, in bytes, that is kept for the next batch.
const maxScratch = 1 << 20

// Loaded is the columns of one batch.
type Loaded struct {
	Columns []Column
	// Scratch is memory for the borrower's own use; it survives Unload.
	Scratch []byte
}
