package mysql

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The codes of a cursor that this run cannot go on with; see config.Cursor.
const (
	codeCursor       = "mysql.cursor"        // the column is none, or no column for that
	codeCursorNull   = "mysql.cursor_null"   // a row has no value there
	codeCursorAhead  = "mysql.cursor_ahead"  // the state is later than the server's clock
	codeCursorOrigin = "mysql.cursor_origin" // the state is of another database, or of another time zone
)

// cursor follows the greatest value of a column. Rows come in any order of it, so that what is known of it is of use
// when the last row is read, and not before.
type cursor struct {
	config.Cursor
	zone, origin string // of this run
	// now is the server's time before the first row was looked at, as a value of the column; empty of numbers. What is
	// committed afterwards need not have been seen, so nothing later is ever the state.
	now string

	index  int
	clocks *zone.Zone // that show an instant; nil of what is no instant
	unit   arrow.TimeUnit
	scale  int32

	seen     bool
	signed   int64
	unsigned uint64
	decimal  decimal256.Num
	kind     cursorKind
}

type cursorKind uint8

const (
	cursorSigned cursorKind = iota
	cursorUnsigned
	cursorDecimal
)

// newCursor checks what can be checked without a server. It is nil where the pipeline keeps no state.
func newCursor(s *Settings) (*cursor, error) {
	c := &cursor{Cursor: s.Cursor}
	switch {
	case s.Cursor == config.Cursor{}:
		return nil, nil
	case s.MaxRows > 0:
		return nil, settingsFault("max_rows leaves rows out, which a pipeline that keeps state would never read again").
			WithHint("leave the preview out, or run it without state")
	case s.Request.ProcedureName != nil && !s.Cursor.Bound:
		return nil, settingsFault("the procedure does not get the cursor, so that every run would read every row").
			WithHint(`put "${state.cursor}" into arguments, where the procedure takes it`)
	}
	return c, nil
}

func (c *cursor) timed() bool { return c.Type == config.CursorTimestamp || c.Type == config.CursorDate }

// begin holds the state against the session, and asks for the server's time, before anything is read.
func (c *cursor) begin(ses *session) error {
	c.origin = ses.target.address + "/" + ses.target.database
	if c.From != "" && c.Origin != c.origin {
		return fault.New(codeCursorOrigin, fault.Usage, "the state is of %s, and this run reads %s", shown(c.Origin),
			shown(c.origin)).
			WithHint("every database needs a state of its own; with an empty one, the run reads every row")
	}
	if !c.timed() {
		return nil
	}
	if c.zone = ses.facts["time_zone"]; ses.zone != nil {
		c.zone = ses.zone.Name
	}
	if c.From != "" && c.Zone != c.zone {
		return fault.New(codeCursorOrigin, fault.Usage, "the state is a time of the zone %s, and the session's is %s",
			shown(c.Zone), shown(c.zone)).
			WithHint("set time_zone to what it was; with an empty state, the run reads every row")
	}
	now := "NOW(6)"
	if c.Type == config.CursorDate {
		now = "CURDATE()"
	}
	row, err := ses.run("SELECT CAST(" + now + " AS CHAR)")
	if err != nil {
		return err
	}
	if c.now = strings.Join(row, ""); strings.Contains(c.now, ".") {
		c.now = strings.TrimRight(strings.TrimRight(c.now, "0"), ".")
	}
	if _, err := time.Parse(c.layout(), c.now); err != nil {
		return protocolFault("the server does not say its time")
	}
	if c.From > c.now {
		return fault.New(codeCursorAhead, fault.Source,
			"the state is ahead of the server's clock: the run would read from %s on, and it is %s there", c.From, c.now).
			WithHint("set the server's clock, or find out since when it was wrong: what was written meanwhile may have been left out; with an empty state, the run reads every row")
	}
	return nil
}

// layout is how a time is written.
func (c *cursor) layout() string {
	if c.Type == config.CursorDate {
		return time.DateOnly
	}
	return "2006-01-02 15:04:05.999999"
}

// bind finds the column.
func (c *cursor) bind(schema *arrow.Schema) error {
	indices := schema.FieldIndices(c.Column)
	if len(indices) != 1 {
		return fault.New(codeCursor, fault.Usage, "the cursor %s is %s", shown(c.Column),
			map[bool]string{true: "no column of the source",
				false: "more than one column of the source"}[len(indices) == 0]).
			WithHint("name with cursor a column that the source delivers, as the source calls it")
	}
	c.index = indices[0]
	f := schema.Field(c.index)
	good := false
	switch t := f.Type.(type) {
	case *arrow.TimestampType:
		good, c.unit = c.Type == config.CursorTimestamp, t.Unit
		if good && t.TimeZone != "" {
			var known bool
			if c.clocks, known = zone.Of(f); !known {
				return unknownClocks(f.Name)
			}
		}
	case *arrow.Date32Type:
		good = c.Type == config.CursorDate
	case arrow.DecimalType:
		good, c.kind, c.scale = c.Type == config.CursorDecimal, cursorDecimal, t.GetScale()
	default:
		good = c.Type == config.CursorInteger && arrow.IsInteger(f.Type.ID())
		if arrow.IsUnsignedInteger(f.Type.ID()) {
			c.kind = cursorUnsigned
		}
	}
	if !good {
		return fault.New(codeCursor, fault.Usage, "the cursor %s is a %s in the pipeline, and comes as %s",
			shown(c.Column), c.Type, stage.TypeName(f)).
			WithHint("correct its type under columns; times as text (zero_dates: text) cannot be followed")
	}
	return nil
}

// follow takes note of a batch.
func (c *cursor) follow(r arrow.Record) error {
	column := r.Column(c.index)
	if column.NullN() > 0 {
		return fault.New(codeCursorNull, fault.Data,
			"a row has no value in %s, by which it would be read: it may be NULL, or a date that is none", shown(c.Column)).
			WithHint("give every row a value; or read a query that does, such as COALESCE(updated_at, created_at)")
	}
	switch a := column.(type) {
	case *array.Timestamp:
		greatest(c, &c.signed, a.TimestampValues())
	case *array.Date32:
		greatest(c, &c.signed, a.Date32Values())
	case *array.Int8:
		greatest(c, &c.signed, a.Int8Values())
	case *array.Int16:
		greatest(c, &c.signed, a.Int16Values())
	case *array.Int32:
		greatest(c, &c.signed, a.Int32Values())
	case *array.Int64:
		greatest(c, &c.signed, a.Int64Values())
	case *array.Uint8:
		greatest(c, &c.unsigned, a.Uint8Values())
	case *array.Uint16:
		greatest(c, &c.unsigned, a.Uint16Values())
	case *array.Uint32:
		greatest(c, &c.unsigned, a.Uint32Values())
	case *array.Uint64:
		greatest(c, &c.unsigned, a.Uint64Values())
	case *array.Decimal128:
		for i := range a.Len() {
			c.followDecimal(decimal256.FromDecimal128(a.Value(i)))
		}
	case *array.Decimal256:
		for i := range a.Len() {
			c.followDecimal(a.Value(i))
		}
	}
	return nil
}

// greatest keeps the greatest of values and of what was seen before.
func greatest[W int64 | uint64, V ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *cursor,
	into *W, values []V) {
	for _, v := range values {
		if w := W(v); !c.seen || w > *into {
			*into, c.seen = w, true
		}
	}
}

func (c *cursor) followDecimal(v decimal256.Num) {
	if !c.seen || v.Greater(c.decimal) {
		c.decimal, c.seen = v, true
	}
}

// facts are what the run states when its last row is read; none where there was no row, or none of this era.
func (c *cursor) facts() map[string]string {
	text := c.text()
	if !c.seen || text == "" {
		return nil
	}
	if c.timed() { // both are written alike, so that their order is that of text
		text = min(text, c.now)
	}
	return map[string]string{stage.FactCursor: text, stage.FactCursorZone: c.zone, stage.FactCursorOrigin: c.origin}
}

// text writes the greatest value; empty is a time before the year 1, which no state can be.
func (c *cursor) text() string {
	var t time.Time
	switch {
	case c.Type == config.CursorTimestamp:
		perSecond := int64(time.Second / c.unit.Multiplier())
		second := zone.Seconds(c.signed, perSecond)
		fraction := (c.signed - second*perSecond) * int64(c.unit.Multiplier())
		if c.clocks != nil {
			second += c.clocks.At(second).Offset
		}
		t = time.Unix(second, fraction).UTC()
	case c.Type == config.CursorDate:
		t = time.Unix(c.signed*secondsPerDay, 0).UTC()
	case c.kind == cursorUnsigned:
		return strconv.FormatUint(c.unsigned, 10)
	case c.kind == cursorDecimal:
		return decimalText(c.decimal, int(c.scale))
	default:
		return strconv.FormatInt(c.signed, 10)
	}
	if t.Year() < 1 {
		return ""
	}
	return t.Format(c.layout())
}

// decimalText writes a decimal with every digit.
func decimalText(v decimal256.Num, scale int) string {
	digits, sign := v.BigInt().String(), ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if scale == 0 {
		return sign + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

// condition is what a table is read with: rows that are not below the cursor, and those without a value, at which the
// run fails. It is nothing in the first run.
func (c *cursor) condition(columns []columnInfo, read []string) (column, sql string, args []any, err error) {
	found, ok := findColumn(columns, c.Column)
	switch {
	case !ok:
		return "", "", nil, noColumn(codeCursor, "table_name", c.Column, columns)
	case !slices.Contains(read, found.name):
		return "", "", nil, requestFault(codeCursor, "columns", "the cursor %s is not among them", shown(c.Column)).
			WithHint("name it")
	case c.From == "":
		return "", "", nil, nil
	}
	var from any = c.From
	if !c.timed() {
		if from, err = numberArgument(c.From); err != nil {
			return "", "", nil, settingsFault("the cursor is no number")
		}
	}
	name := quoteName(found.name)
	return found.name, "(" + name + " >= ? OR " + name + " IS NULL)", []any{from}, nil
}
