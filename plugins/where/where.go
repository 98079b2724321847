// Package where is the filter stage that keeps the rows for which a condition
// holds. It owns the condition: its language (CEL), its meaning for NULL, decimals
// and dates, and its evaluation, over whole columns where that is possible and row
// by row where it is not, with the same result. It never changes a value or the
// order of rows, and never tells a value in a message.
package where

import (
	"context"
	"math/bits"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/gather"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Expression string            `config:"expression,required" code:"cel" min:"1" max:"4096" doc:"A condition in CEL over the columns of the row, such as: status != 'Cancelled' && amount >= 10.50. The rows for which it holds go on."`
	Params     config.Parameters `config:"params" doc:"The parameters of the pipeline that the expression names, as params.NAME."`
}

const doc = `The expression is written in CEL (cel.dev) and gives true or false. Every column is a variable; one whose name
is not an identifier, or is shared, is ` + "`row[\"its name\"]`, `row[\"id#2\"]`" + `. A parameter of the pipeline is ` + "`params.NAME`" + `, a value
of its declared type and never a part of the expression: ` + "`state == params.state`" + `. Dates are text as YYYY-MM-DD, decimals
keep every digit, and one that was not given is null: ` + "`params.state == null || state == params.state`" + `.

* **NULL** equals NULL and nothing else: ` + "`x == null`, `x != null`" + `. So ` + "`status != 'Closed'`" + ` holds where status is
  NULL, unlike in SQL. The comparisons <, <=, > and >= with NULL do not hold, nor do startsWith, endsWith, contains and
  matches of NULL, nor a boolean column that is NULL. Any other use of NULL (arithmetic, a conversion) fails the run; test
  it first: ` + "`x != null && x + 1 > y`" + `.
* **Numbers** of all types compare by their exact values. A literal such as 10.10 next to a decimal is that decimal,
  and next to a float the nearest float. Decimals have no arithmetic.
* **Dates and timestamps** compare with each other, with text literals ` + "`'2024-02-29'`, `'2024-02-29 12:30:00.5'`" + `, and with
  timestamp('2024-02-29T12:30:00Z'). A date is its midnight: ` + "`start_time <= '2024-12-31'`" + ` leaves out most of that day;
  write ` + "`start_time < '2025-01-01'`" + `. CEL's getFullYear() and the like, and timestamp - timestamp, work too, in UTC.
* **Times and durations** compare with text literals ` + "`'08:30:00'`" + ` and with duration('90m').
* **Text** compares by its UTF-8 bytes. matches takes a literal regular expression (RE2) that may match anywhere.
* ` + "`x in ['a', 'b', null]`" + ` is a chain of ==.
* Flags that are 0 and 1 are numbers: ` + "`is_deleted == 0`" + `.

Comparisons of columns with literals and with each other, in, null tests, the text functions and &&, ||, ! run over
whole columns. Everything else runs row by row, tens of times slower, for the rows that the rest leaves open.

A condition that cannot be decided for a row, for instance because of a division by zero, fails the run.`

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "where",
		Summary:    "Keeps the rows for which a condition holds.",
		Doc:        doc,
		Concurrent: true,
	}, newFilter)
}

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	return &filter{settings: s, env: env}, nil
}

type filter struct {
	settings Settings
	env      sdk.Env
	// rowByRow switches evaluation over columns off, for tests.
	rowByRow bool

	schema *arrow.Schema
	root   node
	empty  arrow.Record
	pool   sync.Pool // of *batch
}

// Before is what goes on: the stage keeps all columns.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema { return out }

// Bind compiles the expression for the schema.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	c, err := compile(f.settings.Expression, f.settings.Params, in)
	if err != nil {
		return nil, err
	}
	if f.rowByRow {
		f.root, err = c.rows(c.root())
	} else {
		f.root, err = c.lower(c.root())
	}
	if err != nil {
		return nil, err
	}
	in = c.schema
	f.schema = in
	columns := make([]arrow.Array, in.NumFields())
	for i, field := range in.Fields() {
		columns[i] = array.MakeArrayOfNull(memory.DefaultAllocator, field.Type, 0)
	}
	f.empty = array.NewRecord(in, columns, 0)
	return in, nil
}

// Apply selects rows of a batch.
func (f *filter) Apply(ctx context.Context, in arrow.Record) (arrow.Record, error) {
	if s := in.Schema(); s != f.schema && !s.Equal(f.schema) {
		return nil, fault.New("where.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, f.schema)
	}
	if in.NumRows() == 0 {
		in.Retain()
		return in, nil
	}
	b, ok := f.pool.Get().(*batch)
	if !ok {
		b = &batch{}
	}
	defer f.pool.Put(b)
	b.begin(ctx, in)
	defer b.end()
	selected, err := b.run(f.root)
	if err != nil {
		return nil, err
	}
	count, first, last := 0, -1, 0
	for i, w := range selected {
		if w != 0 {
			if first < 0 {
				first = i*64 + bits.TrailingZeros64(w)
			}
			last = i*64 + 63 - bits.LeadingZeros64(w)
			count += bits.OnesCount64(w)
		}
	}
	rows := int(in.NumRows())
	switch {
	case count == rows:
		in.Retain()
		return in, nil
	case count == 0:
		f.empty.Retain()
		return f.empty, nil
	case last-first+1 == count && count >= rows/2:
		// A slice holds the whole batch's memory, so it has to be worth it.
		return in.NewSlice(int64(first), int64(last+1)), nil
	}
	b.indexes = appendIndexes(slices.Grow(b.indexes[:0], count), selected)
	return gather.Rows(f.env.Memory, in, b.indexes)
}
