// Package mask is the filter stage that hides what is personal: it empties values,
// replaces them, keeps their last characters, gives them pseudonyms, or cuts dates
// to a month or a year. It owns what an action makes of a value; it never decides
// which columns are personal, and never tells a value in a message.
package mask

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Columns map[string]Action `config:"columns,required" names:"columns" min:"1" doc:"What happens to which column, by its name."`
	Secret  config.Secret     `config:"secret" kind:"signing" doc:"Key of the pseudonyms, at least 16 bytes; 32 random ones are good. The same secret gives the same pseudonyms in every table and every run."`
}

// Action is what happens to one column.
type Action struct {
	Action   string       `config:"action,required" enum:"null,constant,keep_last,hmac,month,year" doc:"null: every value becomes NULL. constant: every value, NULL too, becomes the setting value. keep_last: all but the last characters become '*'. hmac: a pseudonym. month, year: a date or timestamp becomes the start of its month or year."`
	Value    config.Value `config:"value" doc:"For constant: a value of the column's type."`
	Keep     int          `config:"keep" default:"4" min:"1" max:"1000" doc:"For keep_last: how many characters remain."`
	Encoding string       `config:"encoding" enum:"hex,base64url" default:"hex" doc:"For hmac: hex (64 characters) or base64url without padding (43 characters)."`
}

const doc = `Columns that are not named pass unchanged. NULL stays NULL under every action but constant. Where several
columns share a name, NAME#2 is the second of them. A column that is not there, and an action that does not fit
the column's type, fail the run before it starts.

keep_last is for text, and counts characters of Unicode. A text that has no more characters than would be kept
is hidden whole. The number of characters shows.

hmac is HMAC-SHA256 (RFC 2104) of the value's text as the encoders spell it, or of the bytes of a binary value,
under the setting secret; the column becomes text. The column's name is not part of it, so the same patient
number has the same pseudonym in every table, whatever its integer type, and tables can be joined. Two columns that
hold small numbers of different meaning share pseudonyms, too. Who has the secret can find the value of a
pseudonym by trying all values; without it nobody can.

month and year keep the type; the time of day becomes 00:00:00. Instants are cut in UTC.`

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:       "mask",
		Summary:    "Hides personal values: empties, replaces, shortens, or gives pseudonyms.",
		Doc:        doc,
		Concurrent: true,
		KeepsRows:  true,
	}, newFilter)
}

// shortestSecret is less than any good key has, in bytes, and more than what
// people think of as a password.
const shortestSecret = 16

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	wanted := false
	for _, a := range s.Columns {
		wanted = wanted || a.Action == "hmac"
	}
	if n := len(s.Secret.Reveal()); wanted && n < shortestSecret {
		return nil, fault.New("mask.secret", fault.Usage, "hmac needs a secret of at least %d bytes, not %d", shortestSecret, n).
			WithHint("make one with `openssl rand -hex 32`, keep it outside the pipeline, and refer to it as ${secret.NAME}")
	}
	return &filter{settings: s, env: env}, nil
}

// action is what happens to the values of one column. It is used by several
// goroutines at once.
type action interface {
	apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error)
}

type filter struct {
	settings Settings
	env      sdk.Env
	in, out  *arrow.Schema
	actions  []action // by column; nil where nothing happens
}

// Before is what goes on, but for the type of pseudonyms, which are text of anything.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema {
	fields := slices.Clone(out.Fields())
	for name, a := range f.settings.Columns {
		if found := naming.Find(out, name); a.Action == "hmac" && len(found) == 1 {
			fields[found[0]] = naming.UnknownField(fields[found[0]].Name)
		}
	}
	metadata := out.Metadata()
	return arrow.NewSchema(fields, &metadata)
}

// Bind finds the columns and checks that the actions fit them.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	var failed *fault.Fault
	problem := func(name, code, format string, args ...any) {
		next := fault.New(code, fault.Usage, format, args...)
		if failed == nil {
			failed = next.WithDetail(fault.DetailSetting,
				"/columns/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
			return
		}
		failed.Message += "; " + next.Message
	}
	in = naming.Assume(in, slices.Sorted(maps.Keys(f.settings.Columns))...)
	fields := slices.Clone(in.Fields())
	f.actions = make([]action, len(fields))
	names := naming.Names(in)
	for _, name := range slices.Sorted(maps.Keys(f.settings.Columns)) {
		found := naming.Find(in, name)
		switch len(found) {
		case 0:
			problem(name, "mask.unknown_column", "there is no column %q%s", name, naming.DidYouMean(name, names))
			if failed.Hint == "" {
				failed.WithHint("the columns are: %s", strings.Join(names, ", "))
			}
			continue
		case 1:
		default:
			problem(name, "mask.ambiguous", "%d columns are called %q: write %q, %q …", len(found), name, name+"#1",
				name+"#2")
			continue
		}
		index, settings := found[0], f.settings.Columns[name]
		if f.actions[index] != nil {
			problem(name, "mask.repeated", "the column %q is named twice", fields[index].Name)
			continue
		}
		a, field, what := f.makeAction(settings, in.Field(index))
		if what != "" {
			problem(name, "mask.unfit_action", "column %q is %s: %s", name, sdk.TypeName(in.Field(index)), what)
			continue
		}
		f.actions[index], fields[index] = a, field
	}
	if failed != nil {
		return nil, failed
	}
	metadata := in.Metadata()
	f.in, f.out = in, arrow.NewSchema(fields, &metadata)
	return f.out, nil
}

// makeAction makes the action for a field and says what becomes of the field, or says
// why the action does not fit.
func (f *filter) makeAction(s Action, field arrow.Field) (action, arrow.Field, string) {
	if naming.Unknown(field) {
		if s.Action == "constant" && s.Value == nil {
			return makeConstant(nil, field)
		}
		return erase{}, field, "" // it is only checked
	}
	switch s.Action {
	case "null":
		field.Nullable = true
		return erase{}, field, ""
	case "constant":
		return makeConstant(s.Value, field)
	case "keep_last":
		return makeKeepLast(s.Keep, field)
	case "hmac":
		return makePseudonym(f.settings.Secret, s.Encoding, field)
	}
	return makeTruncate(s.Action, field)
}

// Apply masks a batch.
func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	if s := in.Schema(); s != f.in && !s.Equal(f.in) {
		return nil, fault.New("mask.schema_changed", fault.Internal,
			"a batch has another schema than the stream:\n%s\ninstead of\n%s", s, f.in)
	}
	columns := slices.Clone(in.Columns())
	for i, a := range f.actions {
		if a == nil {
			continue
		}
		masked, err := a.apply(f.env.Memory, columns[i])
		if err != nil {
			return nil, err
		}
		defer masked.Release()
		columns[i] = masked
	}
	return array.NewRecord(f.out, columns, in.NumRows()), nil
}
