package sandbox

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

var practiceSQL = os.DirFS("../../pipelines/sql")

func TestPracticeDefinitions(t *testing.T) {
	defs, err := ReadDefinitions(practiceSQL)
	if err != nil {
		t.Fatal(err)
	}
	tables, _ := Tables(Options{})
	for _, table := range tables {
		i := slices.IndexFunc(defs.Tables, func(d Definition) bool { return d.Name == table.Name })
		if i < 0 {
			t.Errorf("schema.sql does not create %s", table.Name)
			continue
		}
		for _, column := range append(table.Columns, "ts_4_insert", "ts_4_update") {
			if !strings.Contains(defs.Tables[i].Statement, "\n  "+column+" ") {
				t.Errorf("schema.sql's %s has no column %s", table.Name, column)
			}
		}
	}
	// What a procedure does for each date_modifier differs in the column that it
	// compares with the range only.
	compared := regexp.MustCompile(`\S+ (>= v_from|< v_until)`)
	for _, procedure := range defs.Procedures {
		branches := regexp.MustCompile(`(?m)^  (?:ELSE)?IF LOWER\(p_date_modifier\) = '\w+' THEN$|^  ELSE$`).Split(procedure.Statement, -1)
		// Those that choose keys first have one body.
		if !strings.Contains(procedure.Statement, "p_date_modifier") || strings.Contains(procedure.Statement, "WITH ") {
			continue
		}
		if len(branches) != 5 {
			t.Errorf("%s: %d branches, want one per modifier, and one for others", procedure.Name, len(branches)-1)
			continue
		}
		want := compared.ReplaceAllString(branches[1], "date $1")
		for _, branch := range branches[2:4] {
			if compared.ReplaceAllString(branch, "date $1") != want || branch == branches[1] {
				t.Errorf("%s: the modifiers differ in more than the date, or not at all", procedure.Name)
			}
		}
	}
}

func TestReadDefinitionsRefuses(t *testing.T) {
	table := "CREATE TABLE a (\n  b INT\n);\n"
	for name, files := range map[string]map[string]string{
		"no schema":            {},
		"other statement":      {"schema.sql": table + "DROP TABLE a;\n"},
		"two procedures":       {"schema.sql": table, "procedures/p.sql": "CREATE PROCEDURE p() SELECT 1;\nCREATE PROCEDURE q() SELECT 1"},
		"procedure's filename": {"schema.sql": table, "procedures/p.sql": "CREATE PROCEDURE q() SELECT 1"},
		"no procedure":         {"schema.sql": table, "procedures/p.sql": "SELECT 1"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for path, content := range files {
				fsys[path] = &fstest.MapFile{Data: []byte(content)}
			}
			if _, err := ReadDefinitions(fsys); !fault.Is(err, CodeSQL) {
				t.Errorf("error is %v, want %s", err, CodeSQL)
			}
		})
	}
	if _, err := ReadDefinitions(nil); !fault.Is(err, CodeSQL) {
		t.Errorf("without files: error is %v, want %s", err, CodeSQL)
	}
}

func TestSplitStatements(t *testing.T) {
	got := splitStatements("-- comment; not a statement\n\nCREATE a\n  b; -- inside\n  c;  \r\n-- next\nCREATE d;\nCREATE e")
	want := []string{"CREATE a\n  b; -- inside\n  c", "CREATE d", "CREATE e"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
