// Package contract is the filter stage that holds a stream against the columns that
// a pipeline expects. It owns what counts as drift and what an exact widening is;
// it never drops a row or a column, never rounds a value, and never guesses what a
// renamed column may have been.
package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Columns []Column `config:"columns,required" min:"1" doc:"The columns that are expected, in their order."`
	Policy  string   `config:"policy" enum:"fail,warn" default:"fail" doc:"What drift does: fail ends the run, warn logs it and lets it pass."`
}

// Column is an expected column.
type Column struct {
	Name     string `config:"name,required" min:"1" doc:"Name of the column."`
	Type     string `config:"type,required" doc:"Its type: int8 to int64, uint8 to uint64, float32, float64, boolean, string, binary, date, time(N), timestamp(N), json or decimal(precision,scale)."`
	Nullable bool   `config:"nullable" default:"true" doc:"Whether the column may be NULL."`
}

const policyWarn = "warn"

// The codes of drift.
const (
	codeColumns = "drift.columns"
	codeNull    = "drift.null"
	codeJSON    = "drift.json"
)

// countNulls begins the name of the counters of policy warn, one for each column.
const countNulls = "drift_nulls."

const doc = `Holds what comes in against a list of columns: the contract of a pipeline. Every pipeline with columns has
this stage in front of its encoder, unless it says drift: ignore.

Drift is found before the first row is read: a column that is missing or that is not expected, another type,
a type that holds more (int64 for int32, more digits, timestamp(6) for timestamp(3), a sign or the lack of one), and a type whose
values would be written with other digits (decimal(9,1) for decimal(9,2), float32 for float64). All of it is told at once, with
what the contract says and what the source delivers. A NULL in a column that is not nullable is drift when it comes, with the
columns and the first row, counted from 1; a source that merely declares a column to be nullable is fine.

A timestamp without a number takes any fraction, and is written with the digits that the source delivers; timestamp(0) takes none.

No drift is what has one exact form. Columns come out in the order of the contract. A type that holds less and is
written with the same digits becomes the contract's: smaller integers, decimals of the same scale and fewer digits,
timestamps in UTC for timestamps without a zone, instants of other zones that are known for timestamps, untyped NULL, and text for json, which is then checked value by value. Whether
a column is declared to have NULL is what the contract says, and what the source calls a type goes no further. Servers differ in
such things, and the output should not. The log tells at level info what became wider.

With policy warn nothing is dropped or refused. Expected columns come first, in the contract's order, with the type
that they have if it cannot be made the contract's; columns that are not expected follow. NULLs are counted.

` + parse.TypeDoc

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "contract",
		Summary:    "Holds the columns against those that the pipeline expects.",
		Doc:        doc,
		Concurrent: true,
		KeepsRows:  true,
	}, newFilter)
}

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	f := &filter{env: env, warn: s.Policy == policyWarn}
	var failed *fault.Fault
	seen := map[string]bool{}
	for _, c := range s.Columns {
		field, err := parse.Retype(arrow.Field{Name: c.Name, Nullable: c.Nullable}, c.Type)
		if err == nil && seen[c.Name] {
			err = fmt.Errorf("the name is used twice")
		}
		seen[c.Name] = true
		if err != nil {
			next := fault.New("contract.columns", fault.Usage, "column %q: %w", c.Name, err)
			if failed == nil {
				failed = next
			} else {
				failed.Message += "; " + next.Message
			}
			continue
		}
		f.expected = append(f.expected, expectedColumn{field, shapeOf(field), c.Type == "timestamp"})
	}
	if failed != nil {
		return nil, failed
	}
	return f, nil
}

// expectedColumn is a column of the contract.
type expectedColumn struct {
	field arrow.Field
	shape shape
	// anyFraction says that the fraction of a timestamp is the source's: the contract
	// gives no number of digits.
	anyFraction bool
}

// output is a column that goes on.
type output struct {
	index   int     // in the input
	convert convert // nil when the values stay as they are
	json    bool    // the values are to be JSON documents
	notNull bool    // the contract says so
	warned  atomic.Bool
}

type filter struct {
	env      sdk.Env
	warn     bool
	expected []expectedColumn

	in, out *arrow.Schema
	outputs []*output
	// same says that a batch goes on as it is when it holds no surprising value.
	same bool
}

// Before is part of sdk.Inverse: what comes need not be known for it to be known what goes
// on, which is what is expected. What is only warned of goes on.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema {
	open := arrow.NewMetadata([]string{sdk.MetaOpen}, []string{"true"})
	var fields []arrow.Field
	if f.warn {
		for _, field := range out.Fields() {
			fields = append(fields, naming.UnknownField(field.Name))
		}
	}
	return arrow.NewSchema(fields, &open)
}

func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	if in.Metadata().FindKey(sdk.MetaOpen) >= 0 {
		if f.warn {
			return in, nil
		}
		fields := make([]arrow.Field, len(f.expected))
		for i, p := range f.expected {
			fields[i] = p.field
		}
		return arrow.NewSchema(fields, nil), nil
	}
	var d differences
	var fields []arrow.Field
	var widened []string
	add := func(field arrow.Field, o *output) {
		fields, f.outputs = append(fields, field), append(f.outputs, o)
	}
	index, extra := f.match(in)
	var extraNames []string
	for _, i := range extra {
		extraNames = append(extraNames, in.Field(i).Name)
	}
	for n, p := range f.expected {
		if index[n] < 0 {
			d.add("column %q is missing: the contract says %s, the source delivers no such column%s",
				p.field.Name, p.shape, naming.DidYouMean(p.field.Name, extraNames))
			continue
		}
		field := in.Field(index[n])
		o := &output{index: index[n], notNull: !p.field.Nullable}
		became, problem := f.adapt(field, p, o)
		if problem != "" {
			d.add("column %q: the contract says %s, the source delivers %s, %s", field.Name, p.shape, describe(field),
				problem)
		} else if from, to := shapeOf(field), shapeOf(became); from != to {
			widened = append(widened, fmt.Sprintf("%s: %s becomes %s", field.Name, from, to))
		}
		// Whether a column can be NULL is the contract's to say where it is enforced.
		became.Nullable = p.field.Nullable || f.warn && field.Nullable
		add(became, o)
	}
	for _, i := range extra {
		d.add("column %q is not in the contract: the source delivers %s", in.Field(i).Name, describe(in.Field(i)))
		add(in.Field(i), &output{index: i})
	}
	if d.count > 0 {
		failed := fault.New(codeColumns, fault.Source, "the columns are not those of the contract: %s", d.text()).
			WithHint("correct the source, or the columns of the pipeline; drift: warn lets it pass")
		if !f.warn {
			return nil, failed
		}
		f.env.Log.Warn(failed.Message)
	}
	if len(widened) > 0 {
		f.env.Log.Info("columns that hold less than the contract are widened, which is exact", "columns", list(widened))
	}
	metadata := in.Metadata()
	f.in, f.out = in, arrow.NewSchema(fields, &metadata)
	f.same = in.Equal(f.out)
	for i, o := range f.outputs {
		f.same = f.same && o.index == i && o.convert == nil
	}
	if f.same {
		f.out = in
	}
	return f.out, nil
}

// match finds the input of every expected column, -1 where there is none, and lists
// the inputs that are not expected. Of several columns that share a name, the first
// is meant.
func (f *filter) match(in *arrow.Schema) (index, extra []int) {
	at := map[string]int{}
	for n, p := range f.expected {
		index = append(index, -1)
		at[p.field.Name] = n
	}
	for i, field := range in.Fields() {
		if n, ok := at[field.Name]; ok && index[n] < 0 {
			index[n] = i
			continue
		}
		extra = append(extra, i)
	}
	return index, extra
}

// adapt says how a column becomes the expected one, or why it does not; it stays
// as it is then.
func (f *filter) adapt(field arrow.Field, p expectedColumn, o *output) (became arrow.Field, problem string) {
	to, convert, problem := widen(field, p)
	if problem != "" {
		return field, problem
	}
	if o.json = p.shape.name == "json" && shapeOf(field).name == "string"; o.json && f.warn {
		o.json = false
		return field, "which may hold text that is no JSON"
	}
	o.convert = convert
	// What the source calls the type is no part of what is expected, and differs between servers:
	// it would make files of the same rows differ.
	metadata := to.Metadata.ToMap()
	if _, ok := metadata[sdk.MetaSourceType]; ok {
		delete(metadata, sdk.MetaSourceType)
		to.Metadata = arrow.MetadataFrom(metadata)
	}
	return to, ""
}

func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	if s := in.Schema(); s != f.in && !s.Equal(f.in) {
		return nil, fault.New("contract.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, f.in)
	}
	if err := f.check(in); err != nil {
		return nil, err
	}
	if f.same {
		in.Retain()
		return in, nil
	}
	columns := make([]arrow.Array, len(f.outputs))
	for i, o := range f.outputs {
		columns[i] = in.Column(o.index)
		if o.convert != nil {
			columns[i] = o.convert(f.env.Memory, columns[i])
			defer columns[i].Release()
		}
	}
	return array.NewRecord(f.out, columns, in.NumRows()), nil
}

// check looks at what only the values tell: NULL and JSON.
func (f *filter) check(in arrow.Record) error {
	var d differences
	first := -1 // row with a NULL
	for _, o := range f.outputs {
		a := in.Column(o.index)
		name := in.ColumnName(o.index)
		if o.json {
			if row := notJSON(a); row >= 0 {
				return fault.New(codeJSON, fault.Data, "column %q: the contract says json, the source delivers text that is no JSON document",
					name).InRow(row).WithHint("correct the value at the source, or make the column a string in the columns of the pipeline")
			}
		}
		if !o.notNull {
			continue
		}
		nulls := a.NullN()
		switch {
		case nulls == 0:
		case f.warn:
			f.env.Count(countNulls+name, int64(nulls))
			if !o.warned.Swap(true) {
				f.env.Log.Warn(fmt.Sprintf("column %q: the contract says not null, the source delivers NULL; the receipt counts them as %s", name, countNulls+name))
			}
		default:
			row := 0
			for a.IsValid(row) {
				row++
			}
			d.add("column %q: the contract says not null, the source delivers NULL", name)
			if first < 0 || row < first {
				first = row
			}
		}
	}
	if d.count > 0 {
		return fault.New(codeNull, fault.Data, "%s", d.text()).InRow(first).
			WithHint("correct the value at the source, or make the column nullable in the columns of the pipeline; drift: warn lets it pass")
	}
	return nil
}

// notJSON returns the first row whose text is no JSON document, or -1.
func notJSON(a arrow.Array) int {
	text, ok := a.(interface{ Value(int) string })
	for row := range a.Len() {
		if a.IsValid(row) && (!ok || !json.Valid([]byte(text.Value(row)))) {
			return row
		}
	}
	return -1
}

// maxListed bounds a message; a source may deliver thousands of columns.
const maxListed = 100

// differences collects what is wrong.
type differences struct {
	list  []string
	count int
}

func (d *differences) add(format string, args ...any) {
	if d.count++; d.count <= maxListed {
		d.list = append(d.list, fmt.Sprintf(format, args...))
	}
}

func (d *differences) text() string {
	text := joined(d.list)
	if d.count > maxListed {
		text += "; and " + strconv.Itoa(d.count-maxListed) + " more"
	}
	return text
}
