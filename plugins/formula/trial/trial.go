// Package trial tries an expression on rows that somebody has typed. It owns how columns and rows are written for that;
// what an expression means is plugins/formula's, and how a value is spelled that of the encoders. A value is taken
// exactly or refused, as a file source takes it.
package trial

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of what is typed wrong.
const (
	CodeColumns = "expression.columns" // the columns
	CodeRow     = "expression.row"     // a row
)

// Column is one of a row.
type Column struct {
	Name string
	// Type is as the columns of a pipeline name it.
	Type     string
	Nullable bool
}

// ParseColumns reads columns as NAME:TYPE, parted by commas: "id:int64, price:decimal(10,2) not null". What is not said
// to be not null may be NULL.
func ParseColumns(text string) ([]Column, error) {
	var columns []Column
	for _, part := range splitOutside(text) {
		name, typ, ok := strings.Cut(part, ":")
		name, typ = strings.TrimSpace(name), strings.TrimSpace(typ)
		if !ok || name == "" || typ == "" {
			return nil, fault.New(CodeColumns, fault.Usage, "expected a column as NAME:TYPE, not %q",
				naming.Printable(strings.TrimSpace(part))).
				WithHint("write them as id:int64,price:decimal(10,2)")
		}
		c := Column{Name: name, Type: typ, Nullable: true}
		words := strings.Fields(typ)
		if last := len(words) - 2; last > 0 && strings.EqualFold(strings.Join(words[last:], " "), "not null") {
			c.Type, c.Nullable = strings.Join(words[:last], " "), false
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// splitOutside parts a text at the commas that stand outside of brackets.
func splitOutside(text string) (parts []string) {
	depth, from := 0, 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts, from = append(parts, text[from:i]), i+1
			}
		}
	}
	return append(parts, text[from:])
}

// Schema is that of rows with these columns.
func Schema(columns []Column) (*arrow.Schema, error) {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		if slices.ContainsFunc(columns[:i], func(other Column) bool { return other.Name == c.Name }) {
			return nil, fault.New(CodeColumns, fault.Usage, "two columns are named %q", c.Name)
		}
		var err error
		if fields[i], err = parse.Retype(arrow.Field{Name: c.Name, Nullable: c.Nullable}, c.Type); err != nil {
			return nil, fault.New(CodeColumns, fault.Usage, "column %q: %v", c.Name, err)
		}
	}
	return arrow.NewSchema(fields, nil), nil
}

// row is the values of a row by column, in the order in which they stand there.
type row struct {
	names  []string
	values map[string]json.RawMessage
}

// readRow reads one JSON object.
func readRow(text []byte, number int) (row, error) {
	wrong := func(format string, args ...any) error {
		return fault.New(CodeRow, fault.Usage, "row %d: %s", number, fmt.Sprintf(format, args...)).
			WithHint(`write a row as one JSON object: {"id": 1, "price": "12.50", "closed": null}`)
	}
	r := row{values: map[string]json.RawMessage{}}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return r, wrong("expected a JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return r, wrong("it is no JSON at byte %d", d.InputOffset()+1)
		}
		name := t.(string) // what the decoder takes for a key
		if _, twice := r.values[name]; twice {
			return r, wrong("the key %q comes twice", naming.Printable(name))
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return r, wrong("it is no JSON at byte %d", d.InputOffset()+1)
		}
		r.names, r.values[name] = append(r.names, name), value
	}
	if _, err := d.Token(); err != nil {
		return r, wrong("the object has no end")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, wrong("something follows the object")
	}
	return r, nil
}

// Guess is the columns of rows, with the types that hold their values: whole numbers are int64, uint64 or decimals,
// numbers with a point decimals with the digits that they have, and texts are texts. A column that is missing or null in
// a row may be NULL. What is more than that, a date for instance, is for Columns to say.
func Guess(lines [][]byte) ([]Column, error) {
	rows, err := readRows(lines)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range rows {
		for _, name := range r.names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	columns := make([]Column, len(names))
	for i, name := range names {
		if columns[i], err = guessColumn(name, rows); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

func readRows(lines [][]byte) ([]row, error) {
	rows := make([]row, len(lines))
	for i, line := range lines {
		var err error
		if rows[i], err = readRow(line, i+1); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func guessColumn(name string, rows []row) (Column, error) {
	c := Column{Name: name}
	whole, scale := 0, 0
	kinds := map[string]bool{}
	signed, unsigned := true, true
	for i, r := range rows {
		value := string(r.values[name])
		switch {
		case value == "" || value == "null":
			c.Nullable = true
		case value[0] == '"':
			kinds["string"] = true
		case value == "true" || value == "false":
			kinds["boolean"] = true
		case value[0] == '{' || value[0] == '[':
			return c, fault.New(CodeRow, fault.Usage, "row %d: column %q is an object or a list, which no column is",
				i+1, naming.Printable(name))
		case strings.ContainsAny(value, "eE"):
			return c, fault.New(CodeRow, fault.Usage, "row %d: column %q has an exponent: its type cannot be told",
				i+1, naming.Printable(name)).
				WithHint("write the digits out, or give the types with --columns")
		default:
			kinds["number"] = true
			before, after, point := strings.Cut(strings.TrimPrefix(value, "-"), ".")
			_, notInt := strconv.ParseInt(value, 10, 64)
			_, notUint := strconv.ParseUint(value, 10, 64)
			signed, unsigned = signed && !point && notInt == nil, unsigned && !point && notUint == nil
			whole, scale = max(whole, len(strings.TrimLeft(before, "0"))), max(scale, len(after))
		}
	}
	switch {
	case len(kinds) > 1:
		return c, fault.New(CodeRow, fault.Usage, "column %q is of several types: %s", naming.Printable(name),
			strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")).
			WithHint("numbers stand without quotes and text in quotes; --columns gives the types")
	case kinds["string"]:
		c.Type = "string"
	case kinds["boolean"]:
		c.Type = "boolean"
	case kinds["number"] && signed:
		c.Type = "int64"
	case kinds["number"] && unsigned:
		c.Type = "uint64"
	case kinds["number"] && whole+scale <= parse.MaxPrecision:
		c.Type = fmt.Sprintf("decimal(%d,%d)", max(whole+scale, 1), scale)
	case kinds["number"]:
		return c, fault.New(CodeRow, fault.Usage, "column %q has more than %d digits", naming.Printable(name),
			parse.MaxPrecision)
	default:
		return c, fault.New(CodeRow, fault.Usage, "column %q is NULL in every row: its type cannot be told",
			naming.Printable(name)).
			WithHint("give the types with --columns")
	}
	return c, nil
}

// Rows reads rows of a schema, each one JSON object; a key that is missing is NULL. The caller releases the record.
func Rows(schema *arrow.Schema, lines [][]byte) (arrow.Record, error) {
	rows, err := readRows(lines)
	if err != nil {
		return nil, err
	}
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		c, ok := parse.NewColumn(memory.DefaultAllocator, f)
		if !ok {
			return nil, fault.New(CodeColumns, fault.Usage, "column %q: nothing typed becomes %s", f.Name, sdk.TypeName(f))
		}
		defer c.Release()
		for n, r := range rows {
			if err := put(c, r.values[f.Name], n+1); err != nil {
				return nil, err
			}
		}
		columns[i] = c.NewArray()
		defer columns[i].Release()
	}
	for n, r := range rows {
		for _, name := range r.names {
			if len(schema.FieldIndices(name)) == 0 {
				return nil, fault.New(CodeRow, fault.Usage, "row %d: there is no column %q%s", n+1, naming.Printable(name),
					naming.DidYouMean(name, naming.Names(schema)))
			}
		}
	}
	return array.NewRecord(schema, columns, int64(len(rows))), nil
}

// put appends a value of a row.
func put(c *parse.Column, value json.RawMessage, number int) error {
	wrong := func(format string, args ...any) error {
		return fault.New(CodeRow, fault.Usage, "row %d: column %q %s", number, naming.Printable(c.Field.Name),
			fmt.Sprintf(format, args...))
	}
	if len(value) == 0 || string(value) == "null" {
		if !c.Field.Nullable {
			return wrong("is not null, and has no value")
		}
		c.AppendNull()
		return nil
	}
	name := sdk.TypeName(c.Field)
	text, quoted := []byte(value), value[0] == '"'
	if quoted {
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return wrong("is no text: %v", err)
		}
		text = []byte(s)
	}
	if wants, ok := takesQuotes(c.Field.Type); !ok && wants != quoted {
		if wants {
			return wrong("is %s, which stands in quotes", name)
		}
		return wrong("is %s, which stands without quotes", name)
	}
	if status := c.Append(text); status != parse.OK {
		return wrong("%s", status.Problem(name))
	}
	return nil
}

// takesQuotes reports whether values of a type stand in quotes; either where both are fine.
func takesQuotes(t arrow.DataType) (quotes, either bool) {
	switch t.ID() {
	case arrow.DECIMAL128, arrow.DECIMAL256:
		return false, true
	case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.DATE32, arrow.TIMESTAMP, arrow.DURATION:
		return true, false
	}
	return false, false
}

// Value is what an expression gives for a row.
type Value struct {
	// Text is the value as the encoders spell it; it means nothing where the value is NULL.
	Text string
	Null bool
	// Fault says why there is none.
	Fault *fault.Fault
}

// Values computes the expression for every row; a row that has no value does not end the others.
func Values(f *formula.Formula, rows arrow.Record) ([]Value, error) {
	values := make([]Value, rows.NumRows())
	if f.Type.Kind == formula.Unknown || f.Type.Kind == formula.Null {
		for i := range values {
			values[i].Null = true
		}
		return values, nil
	}
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{f.Type.Field("value", true)}, nil))
	if err != nil {
		return nil, err
	}
	for i := range values {
		values[i] = one(f, rows, i, &columns[0])
	}
	return values, nil
}

func one(f *formula.Formula, rows arrow.Record, i int, c *format.Column) Value {
	row := rows.NewSlice(int64(i), int64(i)+1)
	defer row.Release()
	a, err := f.Column(memory.DefaultAllocator, row.Columns(), 1, func() error { return nil })
	if err != nil {
		return Value{Fault: fault.From(err).InRow(i)}
	}
	defer a.Release()
	c.Load(a)
	defer c.Unload()
	if c.IsNull(0) {
		return Value{Null: true}
	}
	text, ok := c.Spell(make([]byte, c.Max+format.Slack), 0)
	if !ok {
		return Value{Fault: fault.New(formula.CodeRange, fault.Data, "the result has more fractional digits than %s",
			f.Type).InRow(i)}
	}
	if c.Class == format.Binary {
		return Value{Text: base64.StdEncoding.EncodeToString(text)}
	}
	return Value{Text: string(text)}
}
