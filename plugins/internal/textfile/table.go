package textfile

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Column is the setting that describes one column.
type Column struct {
	Name     string `config:"name,required" min:"1" doc:"Name of the column."`
	Type     string `config:"type,required" doc:"Its type: int8 to int64, uint8 to uint64, float32, float64, boolean, string, binary, date, time(N), timestamp(N), json or decimal(precision,scale)."`
	Nullable bool   `config:"nullable" default:"true" doc:"Whether NULL is taken."`
}

// Fields turns the settings into Arrow fields. The fault "file.columns" tells
// about all that are wrong.
func Fields(columns []Column) ([]arrow.Field, error) {
	var failed *fault.Fault
	problem := func(format string, args ...any) {
		next := fault.New("file.columns", fault.Usage, format, args...)
		if failed == nil {
			failed = next
			return
		}
		failed.Message += "; " + next.Message
	}
	fields := make([]arrow.Field, len(columns))
	seen := map[string]bool{}
	for i, c := range columns {
		if seen[c.Name] {
			problem("two columns are named %q", c.Name)
		}
		seen[c.Name] = true
		f, err := parse.Retype(arrow.Field{Name: c.Name, Nullable: c.Nullable}, c.Type)
		if err != nil {
			problem("column %q: %v", c.Name, err)
		}
		fields[i] = f
	}
	if failed != nil {
		return nil, failed
	}
	return fields, nil
}

const (
	defaultBatchRows  = 8192
	defaultBatchBytes = 4 << 20
	// largestBatchBytes keeps the offsets of a batch that holds one record of the
	// largest size, too, within 32 bits.
	largestBatchBytes = 512 << 20
)

// Table gathers rows into record batches.
type Table struct {
	// Columns are in the order of the schema. Fill each once for a row, then call EndRow.
	Columns []*parse.Column
	// Row is the index of the current row in the stream, from 0.
	Row int64

	path     string
	types    []string
	schema   *arrow.Schema
	rows     int
	bytes    int
	maxRows  int
	maxBytes int
}

// NewTable prepares batches of those fields. The types are what messages call them.
func NewTable(env sdk.Env, path string, fields []arrow.Field, types []string) (*Table, error) {
	t := &Table{path: path, types: types, schema: arrow.NewSchema(fields, nil), maxRows: env.BatchRows,
		maxBytes: env.BatchBytes}
	if t.maxRows <= 0 {
		t.maxRows = defaultBatchRows
	}
	if t.maxBytes <= 0 {
		t.maxBytes = defaultBatchBytes
	}
	t.maxBytes = min(t.maxBytes, largestBatchBytes)
	width := 0
	for _, f := range fields {
		c, ok := parse.NewColumn(env.Memory, f)
		if !ok {
			t.Release()
			return nil, fault.New("file.columns", fault.Usage, "column %q: values of type %s cannot be read", f.Name, sdk.TypeName(f))
		}
		t.Columns = append(t.Columns, c)
		width += c.Width
	}
	t.maxRows = min(t.maxRows, max(1, t.maxBytes/max(1, width)))
	return t, nil
}

// Schema is that of the batches.
func (t *Table) Schema() *arrow.Schema { return t.schema }

// EndRow ends a row of about that many bytes of text.
func (t *Table) EndRow(bytes int) {
	t.Row++
	t.rows++
	t.bytes += bytes
}

// Full reports whether the batch should be handed on.
func (t *Table) Full() bool { return t.rows >= t.maxRows || t.bytes >= t.maxBytes }

// Record hands over the rows so far, or nil if there are none; the caller releases it.
func (t *Table) Record() arrow.Record {
	if t.rows == 0 {
		return nil
	}
	arrays := make([]arrow.Array, len(t.Columns))
	for i, c := range t.Columns {
		arrays[i] = c.NewArray()
		defer arrays[i].Release()
	}
	record := array.NewRecord(t.schema, arrays, int64(t.rows))
	t.rows, t.bytes = 0, 0
	return record
}

// Reserve makes room for a batch of usual size.
func (t *Table) Reserve() {
	for _, c := range t.Columns {
		c.Reserve(t.maxRows)
	}
}

// Release gives the memory of unfinished rows back.
func (t *Table) Release() {
	for _, c := range t.Columns {
		c.Release()
	}
	t.Columns = nil
}

// Malformed is the fault for a record that is not well formed. Lines count from 1.
func (t *Table) Malformed(line int64, what string, args ...any) error {
	return fault.New("file.malformed", fault.Data, "%s, line %d, row %d: %s", t.path, line, t.Row+1,
		fmt.Sprintf(what, args...))
}

// Value is the fault for a text that is no value of its column. It does not quote it.
func (t *Table) Value(line int64, column int, status parse.Status) error {
	return fault.New("file.value", fault.Data, "%s, line %d, row %d: column %q %s",
		t.path, line, t.Row+1, t.Columns[column].Field.Name, status.Problem(t.types[column])).
		WithHint("correct the value, or declare the column with a type that holds all its values")
}

// Null is the fault for a NULL in a column that is not nullable.
func (t *Table) Null(line int64, column int) error {
	return fault.New("file.null", fault.Data, "%s, line %d, row %d: column %q is NULL, and it is declared nullable: false",
		t.path, line, t.Row+1, t.Columns[column].Field.Name)
}

// InvalidUTF8 is the fault for a text that is not valid UTF-8.
func (t *Table) InvalidUTF8(line int64, column int) error {
	return fault.New("file.invalid_utf8", fault.Data, "%s, line %d, row %d: column %q holds text that is not valid UTF-8",
		t.path, line, t.Row+1, t.Columns[column].Field.Name).WithHint("convert the file to UTF-8, for instance with iconv")
}
