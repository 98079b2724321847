// Package columns is the filter stage that keeps, drops, orders, renames and casts
// columns. It owns which columns go on, under which names and with which types; it
// copies no value but those of a cast, and never rounds one.
package columns

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/cast"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Include []string          `config:"include" names:"columns" doc:"Columns to keep, in this order. All of them when it is empty."`
	Exclude []string          `config:"exclude" names:"columns" doc:"Columns to drop. Not together with include."`
	Rename  map[string]string `config:"rename" names:"columns" doc:"New names of columns, by their old names."`
	Cast    map[string]string `config:"cast" names:"columns" doc:"New types of columns, by their old names: int8 to int64, uint8 to uint64, float32, float64, boolean, string, binary, date, time(N), timestamp(N), json or decimal(precision,scale). A value that the new type cannot hold exactly fails the run."`
}

const doc = `Give either include or exclude; rename and cast go with both or alone. All names are those of the
columns that come in. Where several of them share a name, NAME#2 is the second of them.
A name that is not there fails the run: a contract that has drifted is not papered over.

A cast is exact or fails the run, and names the column and the row, counted from 1, never the value. NULL
stays NULL. Everything can become string, spelled as the encoders spell it, and string can become everything
that is spelled that way; binary and string exchange their bytes, which must be UTF-8. Numbers become
numbers of the same value: decimal(10,2) with .00 can become int64, 0.5 cannot. A float does not become a decimal,
nor a decimal a float, because few have the same value. A boolean is 1 or 0. A timestamp becomes a date only at
midnight, and a date becomes its midnight; to cut times off, use the filter mask with the actions month and year.

` + parse.TypeDoc

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "columns",
		Summary:    "Keeps, drops, orders, renames and casts columns.",
		Doc:        doc,
		Concurrent: true,
		KeepsRows:  true,
	}, newFilter)
}

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	if len(s.Include) > 0 && len(s.Exclude) > 0 {
		return nil, fault.New("columns.conflict", fault.Usage, "include and exclude are both given").
			WithHint("keep one of them: include says which columns remain, exclude which do not")
	}
	return &filter{settings: s, env: env}, nil
}

type filter struct {
	settings Settings
	env      sdk.Env
	in       *arrow.Schema
	schema   *arrow.Schema
	indexes  []int
	casts    []*cast.Cast // of the columns that go on; nil where there is none
}

// Before is what goes on under its old names, with what is dropped. With include there may
// have been more.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema {
	old := map[string]string{}
	for from, to := range f.settings.Rename {
		old[to] = from
	}
	var fields []arrow.Field
	for _, field := range out.Fields() {
		name, renamed := old[field.Name]
		if renamed {
			field.Name = name
		}
		if _, isCast := f.settings.Cast[field.Name]; isCast {
			field = naming.UnknownField(field.Name)
		}
		fields = append(fields, field)
	}
	for _, name := range f.settings.Exclude {
		if !slices.ContainsFunc(fields, func(field arrow.Field) bool { return field.Name == name }) {
			fields = append(fields, naming.UnknownField(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.settings.Rename)) {
		if len(out.FieldIndices(f.settings.Rename[name])) == 0 {
			fields = append(fields, naming.UnknownField(name))
		}
	}
	metadata := out.Metadata()
	if len(f.settings.Include) > 0 {
		metadata = arrow.NewMetadata([]string{sdk.MetaOpen}, []string{"true"})
	}
	return arrow.NewSchema(fields, &metadata)
}

// named are the columns that the settings name.
func (f *filter) named() []string {
	return slices.Concat(f.settings.Include, f.settings.Exclude, slices.Sorted(maps.Keys(f.settings.Rename)),
		slices.Sorted(maps.Keys(f.settings.Cast)))
}

func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	in = naming.Assume(in, f.named()...)
	names := newDirectory(in)
	var kept []int
	if len(f.settings.Include) > 0 {
		kept = names.resolve("include", f.settings.Include)
		for i, index := range kept {
			if slices.Contains(kept[:i], index) {
				names.problem([]string{"include", strconv.Itoa(i)}, "columns.repeated", "include names %q twice",
					f.settings.Include[i])
			}
		}
	} else {
		dropped := names.resolve("exclude", f.settings.Exclude)
		for i := range in.NumFields() {
			if !slices.Contains(dropped, i) {
				kept = append(kept, i)
			}
		}
	}

	newNames := map[int]string{}
	for _, old := range slices.Sorted(maps.Keys(f.settings.Rename)) {
		name := f.settings.Rename[old]
		for _, index := range names.resolve("rename", []string{old}) {
			switch _, twice := newNames[index]; {
			case !slices.Contains(kept, index):
				names.problem([]string{"rename", old}, "columns.dropped", "rename names %q, which is not kept", old)
			case name == "":
				names.problem([]string{"rename", old}, "columns.empty_name", "rename gives %q an empty name", old)
			case twice:
				names.problem([]string{"rename", old}, "columns.repeated", "rename names the column %q twice",
					in.Field(index).Name)
			}
			newNames[index] = name
		}
	}

	casts := map[int]*cast.Cast{}
	for _, old := range slices.Sorted(maps.Keys(f.settings.Cast)) {
		for _, index := range names.resolve("cast", []string{old}) {
			if !slices.Contains(kept, index) {
				names.problem([]string{"cast", old}, "columns.dropped", "cast names %q, which is not kept", old)
				continue
			}
			c, problem := cast.New(in.Field(index), f.settings.Cast[old])
			if problem != "" {
				names.problem([]string{"cast", old}, "columns.cast", "cast of %q: %s", old, problem)
			}
			casts[index] = c
		}
	}

	fields := make([]arrow.Field, 0, len(kept))
	origin := map[string]string{}
	for _, index := range kept {
		field := in.Field(index)
		if name, ok := newNames[index]; ok {
			if other, taken := origin[name]; taken {
				names.problem([]string{"rename"}, "columns.duplicate", "%q and %q would both be named %q", other,
					field.Name, name)
			}
			field.Name = name
		} else if other, taken := origin[field.Name]; taken && other != field.Name {
			names.problem([]string{"rename"}, "columns.duplicate", "%q would be named like the column %q", other,
				field.Name)
		}
		origin[field.Name] = in.Field(index).Name
		if c := casts[index]; c != nil {
			field.Type, field.Metadata = c.To.Type, c.To.Metadata
		}
		fields = append(fields, field)
		f.casts = append(f.casts, casts[index])
	}
	if len(fields) == 0 && names.failed == nil && in.Metadata().FindKey(sdk.MetaOpen) < 0 {
		names.problem(nil, "columns.none", "no column is left")
	}
	if names.failed != nil {
		return nil, names.failed
	}
	metadata := in.Metadata()
	f.in, f.schema, f.indexes = in, arrow.NewSchema(fields, &metadata), kept
	return f.schema, nil
}

func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	if s := in.Schema(); s != f.in && !s.Equal(f.in) {
		return nil, fault.New("columns.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, f.in)
	}
	columns := make([]arrow.Array, len(f.indexes))
	for i, index := range f.indexes {
		columns[i] = in.Column(index)
		if c := f.casts[i]; c != nil {
			converted, err := c.Apply(f.env.Memory, columns[i])
			if err != nil {
				return nil, err
			}
			defer converted.Release()
			columns[i] = converted
		}
	}
	return array.NewRecord(f.schema, columns, in.NumRows()), nil
}

// directory finds the columns of a schema by name, and collects what is wrong in
// one fault.
type directory struct {
	schema *arrow.Schema
	all    []string
	failed *fault.Fault
}

func newDirectory(schema *arrow.Schema) *directory {
	return &directory{schema: schema, all: naming.Names(schema)}
}

// problem notes what is wrong with a setting, at a path in it.
func (d *directory) problem(path []string, code, message string, args ...any) {
	next := fault.New(code, fault.Usage, message, args...)
	if d.failed == nil {
		d.failed = next
		if len(path) > 0 {
			pointer := ""
			for _, step := range path {
				pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
			}
			next.WithDetail(fault.DetailSetting, pointer)
		}
		return
	}
	d.failed.Message += "; " + next.Message
}

// resolve returns the index of every name that it finds.
func (d *directory) resolve(setting string, wanted []string) []int {
	var found []int
	for i, name := range wanted {
		path := []string{setting, strconv.Itoa(i)}
		if setting == "rename" || setting == "cast" {
			path[1] = name
		}
		switch indexes := naming.Find(d.schema, name); len(indexes) {
		case 1:
			found = append(found, indexes[0])
		case 0:
			d.problem(path, "columns.unknown", "%s names %q, and there is no such column%s", setting, name,
				naming.DidYouMean(name, d.all))
			if d.failed.Hint == "" {
				d.failed.WithHint("the columns are: %s", strings.Join(d.all, ", "))
			}
		default:
			d.problem(path, "columns.ambiguous", "%s names %q, which %d columns are called: write %q, %q …",
				setting, name, len(indexes), name+"#1", name+"#2")
		}
	}
	return found
}
