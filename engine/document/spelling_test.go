package document

import (
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// TestSpelling: what others call a type is answered with the word that is known here.
func TestSpelling(t *testing.T) {
	for _, c := range []struct{ given, column, parameter string }{
		{"bigint", "int64", "integer"},
		{"BIGINT(20) unsigned", "", "integer"},
		{"bigint unsigned", "uint64", ""},
		{"int", "int32", "integer"},
		{"int64", "", "integer"},
		{"smallint(6)", "int16", "integer"},
		{"varchar(30)", "string", "string"},
		{"text", "string", "string"},
		{"utf8", "string", "string"},
		{"bool", "boolean", "boolean"},
		{"datetime(6)", "timestamp(6)", ""},
		{"datetime", "timestamp", ""},
		{"numeric(10,2)", "decimal(10,2)", "decimal"},
		{"double", "float64", "decimal"},
		{"decimal(10,2)", "", "decimal"},
		{"longblob", "binary", ""},
		{"dat", "date", "date"},
		{"int63", "", "integer"},
	} {
		for what, one := range map[string]struct{ list, want string }{
			"columns":    {fmt.Sprintf("columns: [{name: a, type: '%s'}]", c.given), c.column},
			"parameters": {fmt.Sprintf("parameters: [{name: a, type: '%s'}]", c.given), c.parameter},
		} {
			if one.want == "" {
				continue
			}
			var diags diag.List
			content := "apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: x}\nspec: {" + one.list + "}\n"
			read("x.yaml", parse("x.yaml", []byte(content), &diags), &diags)
			if len(diags) != 1 || diags[0].Fix != one.want || diags[0].Hint != fmt.Sprintf("did you mean %q?", one.want) {
				t.Errorf("%s, type %q: want %q, got %+v", what, c.given, one.want, diags)
			}
		}
	}
}
