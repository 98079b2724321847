package sqlite

import (
	"database/sql/driver"
	"math"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// affinity is what SQLite makes of the values of a column: https://www.sqlite.org/datatype3.html, section 3.
type affinity string

const (
	affinityInteger affinity = "INTEGER"
	affinityReal    affinity = "REAL"
	affinityText    affinity = "TEXT"
	affinityBlob    affinity = "BLOB"
	affinityNumeric affinity = "NUMERIC"
)

// affinityOf is the affinity of a declared type.
func affinityOf(declared string) affinity {
	declared = strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(declared, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return affinityInteger
	case has("CHAR", "CLOB", "TEXT"):
		return affinityText
	case has("BLOB"), declared == "":
		return affinityBlob
	case has("REAL", "FLOA", "DOUB"):
		return affinityReal
	}
	return affinityNumeric
}

// column is how the values of a column are stored. What it gives is good until it is loaded again.
type column struct {
	name     string
	declared affinity
	notNull  bool

	get    func(row int) (driver.Value, error)
	format *format.Column
	buffer []byte
	// unsigned is true where an unsigned integer of 64 bits is stored as text.
	unsigned bool
}

// mostColumns is SQLite's own limit.
const mostColumns = 2000

// mapColumns decides how to store the columns of a schema, whose text package format writes.
func mapColumns(schema *arrow.Schema, unsigned string) ([]column, error) {
	if n := schema.NumFields(); n == 0 || n > mostColumns {
		return nil, fault.New("sqlite.columns", fault.Data, "the table has %d columns; SQLite takes 1 to %d", n, mostColumns).
			WithHint("leave some out with the columns filter")
	}
	columns := make([]column, schema.NumFields())
	seen := map[string]int{}
	for i, f := range schema.Fields() {
		if !utf8.ValidString(f.Name) || strings.ContainsRune(f.Name, 0) {
			return nil, fault.New("sqlite.column_name", fault.Data, "the name of column %d, %q, cannot be that of a column in SQLite", i+1, f.Name).
				WithHint("rename it in the query")
		}
		// SQLite folds A to Z and nothing else.
		folded := strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, f.Name)
		if other, again := seen[folded]; again {
			return nil, fault.New("sqlite.duplicate_column", fault.Usage, "columns %d and %d, %q and %q, have the same name for SQLite", other+1, i+1, columns[other].name, f.Name).
				WithHint("rename one of them with the columns filter, or in the query")
		}
		seen[folded] = i
		columns[i] = column{name: f.Name, notNull: !f.Nullable && f.Type.ID() != arrow.NULL, declared: affinityText}
		switch f.Type.ID() {
		case arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32:
			columns[i].declared = affinityInteger
		case arrow.UINT64:
			if columns[i].unsigned = unsigned == "text"; !columns[i].unsigned {
				columns[i].declared = affinityInteger
			}
		case arrow.FLOAT32, arrow.FLOAT64:
			columns[i].declared = affinityReal
		case arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
			columns[i].declared = affinityBlob
		}
	}
	return columns, nil
}

// integers are arrays whose values are at most 64 bits, and signed.
func integers[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](a interface{ Value(int) T }) func(int) (driver.Value, error) {
	return func(row int) (driver.Value, error) { return int64(a.Value(row)), nil }
}

// load points the column at an array, and at the same as package format has it.
func (c *column) load(a arrow.Array, as *format.Column) {
	c.format = as
	switch a := a.(type) {
	case *array.Boolean:
		c.get = func(row int) (driver.Value, error) { return a.Value(row), nil } // stored as 0 or 1
	case *array.Int8:
		c.get = integers(a)
	case *array.Int16:
		c.get = integers(a)
	case *array.Int32:
		c.get = integers(a)
	case *array.Int64:
		c.get = integers(a)
	case *array.Uint8:
		c.get = integers(a)
	case *array.Uint16:
		c.get = integers(a)
	case *array.Uint32:
		c.get = integers(a)
	case *array.Uint64:
		if c.get = c.fixed; !c.unsigned {
			c.get = func(row int) (driver.Value, error) {
				v := a.Value(row)
				if v > math.MaxInt64 {
					return nil, fault.New("sqlite.unsigned", fault.Data, "column %q holds a number above %d, the largest integer of SQLite", c.name, int64(math.MaxInt64)).
						WithHint("unsigned: text stores such columns as text").InRow(row)
				}
				return int64(v), nil
			}
		}
	case *array.Float32:
		c.get = func(row int) (driver.Value, error) { return c.number(float64(a.Value(row)), row) }
	case *array.Float64:
		c.get = func(row int) (driver.Value, error) { return c.number(a.Value(row), row) }
	case *array.String, *array.LargeString:
		c.get = c.text
	case *array.Binary, *array.LargeBinary, *array.FixedSizeBinary:
		c.get = c.blob
	default:
		c.get = c.fixed
	}
}

// value is that of a row. It aliases the batch.
func (c *column) value(row int) (driver.Value, error) {
	if c.format.IsNull(row) {
		return nil, nil
	}
	return c.get(row)
}

func (c *column) number(v float64, row int) (driver.Value, error) {
	if v != v {
		return nil, fault.New("sqlite.not_a_number", fault.Data, "column %q holds NaN, which SQLite would store as NULL", c.name).
			WithHint("turn the value into NULL at the source").InRow(row)
	}
	return v, nil
}

// fixed is a value as text: a decimal, a date, a time.
func (c *column) fixed(row int) (driver.Value, error) {
	c.buffer = format.Reserve(c.buffer, 0, c.format.Max+format.Slack)
	n := c.format.PutFixed(c.buffer, 0, row)
	if n < 0 {
		return nil, fault.New("sqlite.inexact_fraction", fault.Data, "column %q holds a time with more fractional digits than the column declares", c.name).InRow(row)
	}
	return string(c.buffer[:n]), nil
}

func (c *column) text(row int) (driver.Value, error) {
	data, from, to := c.format.Span(row)
	if from == to {
		return "", nil
	}
	text := unsafe.String(&data[from], to-from) // the driver copies it
	if !utf8.ValidString(text) {
		return nil, fault.New("sqlite.invalid_utf8", fault.Data, "column %q holds text that is not valid UTF-8", c.name).
			WithHint("correct the value or its character set at the source").InRow(row)
	}
	return text, nil
}

// blob is never nil, which would be stored as NULL.
func (c *column) blob(row int) (driver.Value, error) {
	data, from, to := c.format.Span(row)
	if from == to {
		return []byte{}, nil
	}
	return data[from:to:to], nil
}
