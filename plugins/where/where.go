// Package where is the filter stage that keeps the rows for which a condition holds. It owns which rows go on, and how
// little is copied for that; what a condition means, and its evaluation, are plugins/formula's. It never changes a value
// or the order of rows.
package where

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/internal/gather"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Expression string            `config:"expression,required" code:"cel" min:"1" max:"4096" doc:"A condition over the columns of the row, such as: status != 'Cancelled' && amount >= 10.50. The rows for which it holds go on."`
	Params     config.Parameters `config:"params" doc:"The parameters of the pipeline that the expression names, as params.NAME."`
}

const doc = `The expression gives true or false. ` + formula.Doc + `

Comparisons of columns with constants and with each other, in, null tests, the text functions with a constant, and &&, ||, ! of
these run over whole columns. Everything else runs row by row, several times slower, for the rows that the rest leaves open.

A condition that has no value for a row, for instance because of a division by zero, fails the run, unless the other side of && or ||
decides.`

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
	settings  Settings
	env       sdk.Env
	condition *formula.Condition
	empty     arrow.Record
}

// Before is what goes on: the stage keeps all columns.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema { return out }

// Bind compiles the expression for the schema.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	condition, err := formula.CompileCondition(f.settings.Expression, f.settings.Params, in)
	if err != nil {
		return nil, fault.From(err).WithDetail(fault.DetailSetting, "/expression")
	}
	f.condition, in = condition, condition.Schema
	columns := make([]arrow.Array, in.NumFields())
	for i, field := range in.Fields() {
		columns[i] = array.MakeArrayOfNull(memory.DefaultAllocator, field.Type, 0)
	}
	f.empty = array.NewRecord(in, columns, 0)
	return in, nil
}

// Apply selects rows of a batch.
func (f *filter) Apply(ctx context.Context, in arrow.Record) (arrow.Record, error) {
	if s, want := in.Schema(), f.condition.Schema; s != want && !s.Equal(want) {
		return nil, fault.New("where.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, want)
	}
	rows := int(in.NumRows())
	if rows == 0 {
		in.Retain()
		return in, nil
	}
	selected, err := f.condition.Select(ctx, in.Columns(), rows)
	if err != nil {
		return nil, err
	}
	defer selected.Release()
	switch count := selected.Count; {
	case count == rows:
		in.Retain()
		return in, nil
	case count == 0:
		f.empty.Retain()
		return f.empty, nil
	case selected.Last-selected.First+1 == count && count >= rows/2:
		// A slice holds the whole batch's memory, so it has to be worth it.
		return in.NewSlice(int64(selected.First), int64(selected.Last+1)), nil
	}
	return gather.Rows(f.env.Memory, in, selected.Indexes())
}
