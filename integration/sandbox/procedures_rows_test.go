//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestProcedures fills the practice's tables by hand, on the embedded server and on
// MariaDB. Creating them takes longer than the tests, so that these share them.
func TestProcedures(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	mariadb := dbtest.MariaDB(t)
	servers := map[string]*sql.DB{"sandbox": p.inSandbox(t), "mariadb": p.in(t, mariadb, "DEFAULT")}
	testProcedures(t, p, servers)
	t.Run("modes", func(t *testing.T) { testModes(t, p, mariadb) })
}

// TestProceduresOnMySQL is TestProcedures, and TestProceduresUseTheDateIndexes, on
// MySQL.
func TestProceduresOnMySQL(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	server := servers.MySQL(t)
	testProcedures(t, p, map[string]*sql.DB{"mysql": p.in(t, server, "DEFAULT")})
	t.Run("modes", func(t *testing.T) { testModes(t, p, server) })
	t.Run("indexes", func(t *testing.T) { testIndexes(t, p, server) })
}

func testProcedures(t *testing.T, p practice, servers map[string]*sql.DB) {
	t.Run("fields", func(t *testing.T) { testFields(t, p, servers) })
	t.Run("rows", func(t *testing.T) { testRows(t, p, servers) })
	for name, db := range servers {
		t.Run("days/"+name, func(t *testing.T) { testDays(t, p, db, "") })
	}
}

// testRows runs the fixtures: every procedure, on few rows whose answer is written
// down, over both protocols. What is asked of all time is the same with every
// modifier, in every column: each has a SELECT of its own in the procedure.
func testRows(t *testing.T, p practice, servers map[string]*sql.DB) {
	files, err := filepath.Glob("testdata/procedures/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	fixtures := map[string]fixture{}
	called := map[string]bool{}
	for _, file := range files {
		fixtures[file] = readFixture(t, file)
		for _, b := range fixtures[file] {
			if m := callPattern.FindStringSubmatch(b.head); m != nil && (datedProcedures[m[1]] == nil || strings.HasSuffix(b.head, allTime)) {
				called[m[1]] = true
			}
		}
	}
	for _, procedure := range p.procedures {
		if !called[procedure] {
			t.Errorf("no fixture calls %s, with %s if it is about days", procedure, allTime)
		}
	}
	for name, db := range servers {
		for _, file := range files {
			t.Run(name+"/"+strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				p.empty(t, db)
				for _, b := range fixtures[file] {
					if !strings.HasPrefix(b.head, "CALL ") {
						for _, row := range b.rows {
							values := map[string]string{}
							for i, c := range b.columns {
								values[c] = row[i]
							}
							exec(t, db, p.insert(t, b.head, values))
						}
						continue
					}
					want := result{columns: b.columns, rows: b.rows}
					for _, prepared := range []bool{false, true} {
						all, err := ask(t, db, b.head, prepared)
						if err != nil {
							t.Fatalf("%s:%d: %v", file, b.line, err)
						}
						if got := all.choose(t, b.columns); !got.equal(want) {
							t.Errorf("%s:%d: %s (prepared: %v)\ngot:\n%swant:\n%s", file, b.line, b.head, prepared, got, want)
						}
						procedure, ofAllTime := strings.CutSuffix(b.head, allTime)
						for _, modifier := range []string{"Created", "Updated"} {
							if !ofAllTime {
								break
							}
							call := procedure + "(NULL, NULL, '" + modifier + "')"
							r, err := ask(t, db, call, prepared)
							if err != nil {
								t.Fatalf("%s:%d: %v", file, b.line, err)
							}
							if !r.equal(all) {
								t.Errorf("%s:%d: %s (prepared: %v) has other columns or rows than All: %s", file, b.line, call, prepared, firstDifference(r, all))
							}
						}
					}
				}
			})
		}
	}
}

// allTime are the arguments that ask a dated procedure for every row.
const allTime = "(NULL, NULL, 'All')"
