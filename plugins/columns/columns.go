// Package columns is the filter stage that keeps, drops, orders and renames
// columns. It owns which columns go on and under which names; it never looks at a
// value and copies none.
package columns

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Include []string          `config:"include" doc:"Columns to keep, in this order. All of them when it is empty."`
	Exclude []string          `config:"exclude" doc:"Columns to drop. Not together with include."`
	Rename  map[string]string `config:"rename" doc:"New names of columns, by their old names."`
}

const doc = `Give either include or exclude, and rename with both or alone. All names are those of the
columns that come in. Where several of them share a name, NAME#2 is the second of them.
A name that is not there fails the run: a contract that has drifted is not papered over.`

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "columns",
		Summary:    "Keeps, drops, orders and renames columns.",
		Doc:        doc,
		Concurrent: true,
		KeepsRows:  true,
	}, newFilter)
}

func newFilter(s Settings, _ sdk.Env) (sdk.Filter, error) {
	if len(s.Include) > 0 && len(s.Exclude) > 0 {
		return nil, fault.New("columns.conflict", fault.Usage, "include and exclude are both given").
			WithHint("keep one of them: include says which columns remain, exclude which do not")
	}
	return &filter{settings: s}, nil
}

type filter struct {
	settings Settings
	schema   *arrow.Schema
	indexes  []int
}

func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	names := newDirectory(in)
	var kept []int
	if len(f.settings.Include) > 0 {
		kept = names.resolve("include", f.settings.Include)
		for i, index := range kept {
			if slices.Contains(kept[:i], index) {
				names.problem("columns.repeated", "include names %q twice", f.settings.Include[i])
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
				names.problem("columns.dropped", "rename names %q, which is not kept", old)
			case name == "":
				names.problem("columns.empty_name", "rename gives %q an empty name", old)
			case twice:
				names.problem("columns.repeated", "rename names the column %q twice", in.Field(index).Name)
			}
			newNames[index] = name
		}
	}

	fields := make([]arrow.Field, 0, len(kept))
	origin := map[string]string{}
	for _, index := range kept {
		field := in.Field(index)
		if name, ok := newNames[index]; ok {
			if other, taken := origin[name]; taken {
				names.problem("columns.duplicate", "%q and %q would both be named %q", other, field.Name, name)
			}
			field.Name = name
		} else if other, taken := origin[field.Name]; taken && other != field.Name {
			names.problem("columns.duplicate", "%q would be named like the column %q", other, field.Name)
		}
		origin[field.Name] = in.Field(index).Name
		fields = append(fields, field)
	}
	if len(fields) == 0 && names.failed == nil {
		names.problem("columns.none", "no column is left")
	}
	if names.failed != nil {
		return nil, names.failed
	}
	metadata := in.Metadata()
	f.schema, f.indexes = arrow.NewSchema(fields, &metadata), kept
	return f.schema, nil
}

func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	columns := make([]arrow.Array, len(f.indexes))
	for i, index := range f.indexes {
		if int64(index) >= in.NumCols() {
			return nil, fault.New("columns.schema_changed", fault.Internal,
				"a batch has %d columns; the stream was announced with at least %d", in.NumCols(), index+1)
		}
		columns[i] = in.Column(index)
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
	d := &directory{schema: schema}
	for _, f := range schema.Fields() {
		d.all = append(d.all, f.Name)
	}
	return d
}

func (d *directory) problem(code, message string, args ...any) {
	next := fault.New(code, fault.Usage, message, args...)
	if d.failed == nil {
		d.failed = next
		return
	}
	d.failed.Message += "; " + next.Message
}

// resolve returns the index of every name that it finds.
func (d *directory) resolve(setting string, names []string) []int {
	var found []int
	for _, name := range names {
		indexes := d.schema.FieldIndices(name)
		if len(indexes) == 0 {
			// NAME#2 is the second of several.
			if at := strings.LastIndexByte(name, '#'); at >= 0 {
				n, err := strconv.Atoi(name[at+1:])
				if same := d.schema.FieldIndices(name[:at]); err == nil && n >= 1 && n <= len(same) {
					found = append(found, same[n-1])
					continue
				}
			}
		}
		switch len(indexes) {
		case 1:
			found = append(found, indexes[0])
		case 0:
			d.unknown(setting, name)
		default:
			d.problem("columns.ambiguous", "%s names %q, which %d columns are called: write %q, %q …",
				setting, name, len(indexes), name+"#1", name+"#2")
		}
	}
	return found
}

func (d *directory) unknown(setting, name string) {
	near := nearest(name, d.all)
	if len(near) == 0 {
		d.problem("columns.unknown", "%s names %q, and there is no such column", setting, name)
	} else {
		d.problem("columns.unknown", "%s names %q, and there is no such column; did you mean %s?",
			setting, name, strings.Join(near, " or "))
	}
	if d.failed.Hint == "" {
		d.failed.WithHint("the columns are: %s", strings.Join(d.all, ", "))
	}
}

// nearest returns up to three of the names that are about as long as typing
// mistakes from name, the nearest first.
func nearest(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, other := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(other)); d <= max(1, len(name)/3) {
			near = append(near, candidate{other, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	var out []string
	for _, c := range near[:min(3, len(near))] {
		out = append(out, strconv.Quote(c.name))
	}
	return out
}

// distance counts the insertions, deletions and replacements of bytes that turn a
// into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
