// Package derive is the filter stage that computes new columns with expressions. It owns which columns are added or
// replaced, in which order, and their types; what an expression means, and its values, are plugins/formula's. It changes
// no other column, and no row.
package derive

import (
	"context"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/internal/cast"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Columns []Column          `config:"columns,required" min:"1" max:"200" doc:"The columns, in their order. An expression may name those before it."`
	Params  config.Parameters `config:"params" doc:"The parameters of the pipeline that the expressions name, as params.NAME."`
}

// Column is one derived column.
type Column struct {
	Name       string `config:"name,required" min:"1" doc:"The column's name."`
	Expression string `config:"expression,required" code:"cel" min:"1" max:"4096" doc:"What its value is, such as: price * quantity."`
	Type       string `config:"type" doc:"The type that it is cast to, exactly or not at all. Default is the expression's own."`
	Replace    bool   `config:"replace" doc:"Take the place of the column of that name, which the expression still sees as it was. Without it that name must not be there."`
}

const doc = "Columns are added behind the others, and may be named by the expressions behind them. " + `The pipeline's ` + "`columns`" + `
are what the filters give: a derived column that goes on is listed there like any other.

` + formula.Doc + `

` + parse.TypeDoc

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "derive",
		Summary:    "Computes new columns with expressions: exact arithmetic, dates, texts, conditions, casts.",
		Doc:        doc,
		Concurrent: true,
		KeepsRows:  true,
	}, newFilter)
}

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	for i, c := range s.Columns {
		if slices.ContainsFunc(s.Columns[:i], func(other Column) bool { return other.Name == c.Name }) {
			return nil, problem("derive.repeated", i, "/name", "two columns are called %q", c.Name).
				WithHint("give one of them another name")
		}
	}
	return &filter{settings: s, env: env}, nil
}

type filter struct {
	settings Settings
	env      sdk.Env
	in, out  *arrow.Schema
	columns  []derived
}

type derived struct {
	formula *formula.Formula
	cast    *cast.Cast // nil where the expression has the type already
	at      int        // its index among the columns that come out
}

// problem is a fault about a setting of a column.
func problem(code string, column int, setting, format string, args ...any) *fault.Fault {
	return fault.New(code, fault.Usage, format, args...).
		WithDetail(fault.DetailSetting, "/columns/"+strconv.Itoa(column)+setting)
}

// Before is what goes on without the derived columns, and with what their expressions read.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema {
	var made []string
	fields := slices.Clone(out.Fields())
	need := func(name string) {
		known := slices.ContainsFunc(fields, func(field arrow.Field) bool { return field.Name == name })
		if !known && !slices.Contains(made, name) && len(naming.Find(out, name)) == 0 {
			fields = append(fields, naming.UnknownField(name))
		}
	}
	for _, c := range f.settings.Columns {
		if c.Replace {
			for i := range fields {
				if fields[i].Name == c.Name {
					fields[i] = naming.UnknownField(c.Name)
				}
			}
			need(c.Name)
		} else {
			fields = slices.DeleteFunc(fields, func(field arrow.Field) bool { return field.Name == c.Name })
		}
	}
	for _, c := range f.settings.Columns {
		for _, name := range formula.Columns(c.Expression) {
			need(name)
		}
		made = append(made, c.Name)
	}
	metadata := out.Metadata()
	return arrow.NewSchema(fields, &metadata)
}

// Bind compiles the expressions for the schema.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	metadata := in.Metadata()
	f.columns = nil
	f.in = in
	schema := in
	for i, c := range f.settings.Columns {
		at := schema.FieldIndices(c.Name)
		switch {
		case len(at) == 0 && c.Replace:
			open := in.Metadata().FindKey(sdk.MetaOpen) >= 0
			if !open {
				return nil, problem("derive.nothing_to_replace", i, "/replace", "there is no column %q to replace%s", c.Name,
					naming.DidYouMean(c.Name, naming.Names(schema))).WithHint("leave replace out, and the column is added")
			}
		case len(at) > 1:
			return nil, problem("derive.ambiguous", i, "/name", "%d columns are called %q", len(at), c.Name)
		case len(at) == 1 && !c.Replace:
			return nil, problem("derive.exists", i, "/name", "there is a column %q already", c.Name).
				WithHint("give the new one another name, or write replace: true to put it in the old one's place")
		}
		compiled, err := formula.Compile(c.Expression, f.settings.Params, schema)
		if err != nil {
			failed := fault.From(err)
			failed.Message = "column " + strconv.Quote(c.Name) + ": " + failed.Message
			return nil, failed.WithDetail(fault.DetailSetting, "/columns/"+strconv.Itoa(i)+"/expression")
		}
		d := derived{formula: compiled, at: schema.NumFields()}
		field := compiled.Type.Field(c.Name, compiled.Nullable)
		if c.Type != "" {
			if _, _, err := parse.Type(c.Type); err != nil {
				return nil, problem("derive.type", i, "/type", "column %q: %v", c.Name, err)
			}
		}
		switch {
		case compiled.Type.Kind == formula.Unknown:
		case c.Type != "" && c.Type != sdk.TypeName(field):
			made, what := cast.New(field, c.Type)
			if what != "" {
				return nil, problem("derive.type", i, "/type", "column %q: %s", c.Name, what).
					WithHint("convert it in the expression, or leave the type out: it is %s", compiled.Type)
			}
			d.cast, field = made, made.To
		case compiled.Type.Kind == formula.Null && c.Type == "":
			return nil, problem("derive.type", i, "/expression", "column %q is always NULL, of no type", c.Name).WithHint("give it a type")
		}
		fields := slices.Clone(schema.Fields())
		if len(at) == 1 {
			d.at = at[0]
			fields[d.at] = field
		} else {
			fields = append(fields, field)
		}
		schema = arrow.NewSchema(fields, &metadata)
		f.columns = append(f.columns, d)
	}
	f.out = schema
	return schema, nil
}

// Apply computes the columns of a batch.
func (f *filter) Apply(ctx context.Context, in arrow.Record) (arrow.Record, error) {
	if s := in.Schema(); s != f.in && !s.Equal(f.in) {
		return nil, fault.New("derive.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, f.in)
	}
	columns := slices.Clone(in.Columns())
	ended := func() error { return context.Cause(ctx) }
	for i, d := range f.columns {
		made, err := f.make(d, columns, int(in.NumRows()), ended)
		if err != nil {
			failed := fault.From(err)
			if _, is := failed.Row(); is {
				failed.Message = "column " + strconv.Quote(f.settings.Columns[i].Name) + ": " + failed.Message
			}
			return nil, failed
		}
		defer made.Release()
		if d.at == len(columns) {
			columns = append(columns, made)
		} else {
			columns[d.at] = made
		}
	}
	return array.NewRecord(f.out, columns, in.NumRows()), nil
}

func (f *filter) make(d derived, columns []arrow.Array, rows int, ended func() error) (arrow.Array, error) {
	made, err := d.formula.Column(f.env.Memory, columns, rows, ended)
	if err != nil || d.cast == nil {
		return made, err
	}
	defer made.Release()
	converted, err := d.cast.Apply(f.env.Memory, made)
	if err != nil {
		failed := *fault.From(err)
		failed.Code = "derive.cast_value"
		return nil, &failed
	}
	return converted, nil
}
