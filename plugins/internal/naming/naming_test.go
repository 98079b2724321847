package naming

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
)

func TestFind(t *testing.T) {
	t.Parallel()
	var fields []arrow.Field
	for _, name := range []string{"id", "name", "id", "id#1"} {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64})
	}
	schema := arrow.NewSchema(fields, nil)
	for name, want := range map[string][]int{
		"name": {1}, "id": {0, 2}, "id#2": {2}, "id#1": {3}, "id#3": nil, "id#0": nil, "Name": nil, "": nil, "#1": nil,
	} {
		if got := Find(schema, name); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	names := []string{"patient_id", "practice_id", "name", "a"}
	for name, want := range map[string]string{
		"patient_di": `; did you mean "patient_id"?`,
		"NAME":       `; did you mean "name"?`,
		"b":          `; did you mean "a"?`,
		"xyz":        "",
		"patice_id":  `; did you mean "practice_id" or "patient_id"?`,
	} {
		if got := DidYouMean(name, names); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
