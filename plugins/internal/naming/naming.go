// Package naming finds the columns of a schema by the names that a user writes,
// and suggests near names for those that are not there. It owns how a column is
// referred to, NAME or NAME#2; it never decides what a missing one means.
package naming

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// Find returns the positions of the columns that name can mean: one of them is
// the usual case, none means that there is no such column, several that the name
// is ambiguous. Where several columns share a name, NAME#2 is the second of them.
func Find(schema *arrow.Schema, name string) []int {
	if found := schema.FieldIndices(name); len(found) > 0 {
		return found
	}
	if at := strings.LastIndexByte(name, '#'); at >= 0 {
		n, err := strconv.Atoi(name[at+1:])
		if same := schema.FieldIndices(name[:at]); err == nil && n >= 1 && n <= len(same) {
			return same[n-1 : n]
		}
	}
	return nil
}

// Unknown reports whether nothing but the name of a column is known; see sdk.MetaUnknown.
func Unknown(f arrow.Field) bool { return f.Metadata.FindKey(sdk.MetaUnknown) >= 0 }

// UnknownField is a column of which nothing but the name is known.
func UnknownField(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.Null, Nullable: true,
		Metadata: arrow.NewMetadata([]string{sdk.MetaUnknown}, []string{"true"})}
}

// Assume adds the columns of these names to a schema that may have more than are known
// (sdk.MetaOpen); any other stays as it is.
func Assume(schema *arrow.Schema, names ...string) *arrow.Schema {
	metadata := schema.Metadata()
	if metadata.FindKey(sdk.MetaOpen) < 0 {
		return schema
	}
	for _, name := range names {
		if len(Find(schema, name)) == 0 {
			schema = arrow.NewSchema(append(slices.Clone(schema.Fields()), UnknownField(name)), &metadata)
		}
	}
	return schema
}

// Names lists the names of the columns, in order.
func Names(schema *arrow.Schema) []string {
	names := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		names[i] = f.Name
	}
	return names
}

// DidYouMean returns `; did you mean "a" or "b"?` with up to three of the names
// that are about as far as typing mistakes from name, the nearest first. It is
// empty when there is none.
func DidYouMean(name string, names []string) string {
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
	if len(near) == 0 {
		return ""
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	var out []string
	for _, c := range near[:min(3, len(near))] {
		out = append(out, strconv.Quote(c.name))
	}
	return "; did you mean " + strings.Join(out, " or ") + "?"
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

// With adds the columns of these names that a schema lacks, of which nothing else is known: what a filter that reads them,
// and gives all it takes, needs.
func With(schema *arrow.Schema, names ...string) *arrow.Schema {
	fields := slices.Clone(schema.Fields())
	for _, name := range names {
		if len(Find(schema, name)) == 0 {
			fields = append(fields, UnknownField(name))
		}
	}
	metadata := schema.Metadata()
	return arrow.NewSchema(fields, &metadata)
}

// Printable keeps control characters and great length out of what a message repeats.
func Printable(text string) string {
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return ' '
		}
		return r
	}, text)
}
