//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var declaredColumn = regexp.MustCompile(`(?m)^    - \{name: (\w+), type: "?([a-z0-9]+(?:\(\d+,\d+\))?)"?, `)

// testFields holds testdata/catalogue.txt, which names the fields of every
// procedure in order, against what the servers answer and against the pipeline's
// columns.
func testFields(t *testing.T, p practice, servers map[string]*sql.DB) {
	text, err := os.ReadFile("testdata/catalogue.txt")
	if err != nil {
		t.Fatal(err)
	}
	catalogue := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name, fields, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, "#") {
			catalogue[name] = strings.Fields(fields)
		}
	}
	for _, procedure := range p.procedures {
		fields := catalogue[procedure]
		delete(catalogue, procedure)
		yaml, err := os.ReadFile("../../pipelines/" + procedure + ".yaml")
		if err != nil {
			t.Error(err)
		}
		var declared []string
		for _, m := range declaredColumn.FindAllStringSubmatch(string(yaml), -1) {
			declared = append(declared, m[1])
		}
		if !slices.Equal(declared, fields) {
			t.Errorf("pipeline %s has columns %v, want %v", procedure, declared, fields)
		}
		call := "CALL " + procedure + "()"
		if datedProcedures[procedure] != nil {
			call = "CALL " + procedure + "(NULL, NULL, 'All')"
		} else if strings.HasPrefix(procedure, "debtors") {
			call = "CALL " + procedure + "('2024-01-01', '2024-01-01', '2024-01-01')"
		}
		for name, db := range servers {
			for _, prepared := range []bool{false, true} {
				r, err := ask(t, db, call, prepared)
				if err != nil {
					t.Errorf("%s: %s: %v", name, call, err)
				} else if !slices.Equal(r.columns, fields) {
					t.Errorf("%s: %s answers %v, want %v", name, call, r.columns, fields)
				}
			}
		}
	}
	for procedure := range catalogue {
		t.Errorf("procedure %s is missing", procedure)
	}
}
