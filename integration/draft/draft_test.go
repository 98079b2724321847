// Package draft tests that what `cipherstream init` writes works as it is: of every table, view and procedure of a
// shop's database, of the generated practice, and of tables with every type and with names that YAML, shells and SQL
// take for something else, on real servers.
package draft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/pipelines"
)

func TestMain(m *testing.M) { servers.Main(m) }

// both are the servers that drafts are tried on.
func both(t *testing.T) map[string]*servers.Server {
	t.Helper()
	return map[string]*servers.Server{"MariaDB": servers.MariaDB(t), "MySQL": servers.MySQL(t)}
}

// shell is a folder, and the program in it.
type shell struct {
	*testing.T
	dir, dsn string
}

func newShell(t *testing.T, dsn string) *shell {
	t.Helper()
	return &shell{t, t.TempDir(), dsn}
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func (s *shell) run(args ...string) result {
	s.Helper()
	path, err := built.Path()
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v,
			"CIPHERSTREAM_")
	}), "CIPHERSTREAM_DSN="+s.dsn)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		s.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must is run that fails the test unless it succeeds.
func (s *shell) must(args ...string) string {
	s.Helper()
	got := s.run(args...)
	if got.code != 0 {
		s.Errorf("cipherstream %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// read is what a file of the folder holds.
func (s *shell) read(name string) string {
	s.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.Fatal(err)
	}
	return string(content)
}

// load fills a database with a file of testdata.
func load(t *testing.T, s *servers.Server, name string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	s.Exec(string(script))
}

// database is what inspect says.
type database struct {
	Tables []struct {
		Name    string `json:"name"`
		View    bool   `json:"view"`
		Columns []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"columns"`
	} `json:"tables"`
	Procedures []struct {
		Name       string                  `json:"name"`
		Parameters []struct{ Name string } `json:"parameters"`
	} `json:"procedures"`
	Missing []struct{ About, Message, Mend string }
}

func (s *shell) inspect() (d database) {
	s.Helper()
	if err := json.Unmarshal([]byte(s.must("inspect", "--json")), &d); err != nil {
		s.Fatal(err)
	}
	return d
}

// holdsUp has a draft linted, planned, checked, tested and run, all as it was written.
func (s *shell) holdsUp(files ...string) {
	s.Helper()
	tests := make([]string, len(files))
	for i, file := range files {
		tests[i] = strings.TrimSuffix(file, ".yaml") + ".test.yaml"
		for _, line := range strings.Split(s.read(file), "\n") {
			if strings.TrimRight(line, " ") != line || strings.Contains(line, "\t") {
				s.Errorf("%s: a line ends in a space, or has a tab: %q", file, line)
			}
		}
	}
	s.must(append([]string{"lint"}, append(files, tests...)...)...)
	s.must(append([]string{"test"}, tests...)...)
	for _, file := range files {
		s.must("plan", file)
		checked := s.run("check", file, "--json")
		if checked.code != 0 {
			s.Errorf("check %s: %s%s\n%s", file, checked.stdout, checked.stderr, s.read(file))
		}
		s.must("run", file, "-o", strings.TrimSuffix(file, ".yaml")+".ndjson", "--progress", "none")
	}
	if s.Failed() {
		s.Logf("of %v, the first:\n%s\n%s", files, s.read(files[0]), s.read(tests[0]))
	}
}

// TestEverythingOfDatabases writes a pipeline of whatever a database has.
func TestEverythingOfDatabases(t *testing.T) {
	practice, err := fs.Sub(pipelines.FS(), "sql")
	if err != nil {
		t.Fatal(err)
	}
	for sort, server := range both(t) {
		for name, fill := range map[string]func(t *testing.T, s *servers.Server, database string){
			"rental":  func(t *testing.T, s *servers.Server, _ string) { load(t, s, "rental.sql") },
			"awkward": func(t *testing.T, s *servers.Server, _ string) { load(t, s, "awkward.sql") },
			"practice": func(t *testing.T, s *servers.Server, database string) {
				config := sandbox.LoadConfig{DSN: s.DSN(database), SQL: practice,
					Options: sandbox.Options{Patients: 20, Appointments: 300}}
				if _, err := sandbox.Load(t.Context(), config); err != nil {
					t.Fatal(err)
				}
			},
			"types": func(_ *testing.T, s *servers.Server, _ string) { s.Exec(everyType(s)) },
		} {
			t.Run(sort+"/"+name, func(t *testing.T) {
				var s *servers.Server
				if server.IsMariaDB() {
					s = servers.MariaDB(t)
				} else {
					s = servers.MySQL(t)
				}
				fill(t, s, s.Database())
				w := newShell(t, s.DSN(s.Database()))
				d := w.inspect()
				if len(d.Tables)+len(d.Procedures) < 2 {
					t.Fatalf("inspect shows %+v", d)
				}
				var files []string
				for i, table := range d.Tables {
					if table.Name == "broken" {
						continue // see TestWrongUse
					}
					file := fmt.Sprintf("t%d.yaml", i)
					w.must("init", "-o", file, "--", table.Name)
					files = append(files, file)
					for _, c := range table.Columns {
						if c.Type == "" {
							t.Errorf("inspect says no type of column %q of %q", c.Name, table.Name)
						}
					}
				}
				for i, procedure := range d.Procedures {
					if slices.Contains([]string{"writes", "silent"}, procedure.Name) {
						continue // see TestProcedures
					}
					file := fmt.Sprintf("p%d.yaml", i)
					args := []string{"init", "--allow-effects", "-o", file, "--call", procedure.Name}
					for _, p := range procedure.Parameters {
						if value := needed[p.Name]; value != "" {
							args = append(args, "-p", strings.TrimPrefix(p.Name, "p_")+"="+value)
						}
					}
					w.must(args...)
					files = append(files, file)
				}
				t.Logf("%d tables, %d procedures", len(d.Tables), len(d.Procedures))
				w.holdsUp(files...)
			})
		}
	}
}

// needed are values of parameters without which procedures of the practice give an error.
var needed = map[string]string{"p_date_modifier": "All", "p_date_as_at": "2024-06-30",
	"p_date_for_due_days": "2024-06-30", "p_due_date_upto": "2024-06-30"}

// types are those of MySQL and MariaDB.
var types = []string{"TINYINT", "TINYINT UNSIGNED", "BOOL", "SMALLINT", "SMALLINT UNSIGNED", "MEDIUMINT",
	"MEDIUMINT UNSIGNED", "INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED",
	"INT(8) UNSIGNED ZEROFILL", "DECIMAL(1,0)", "DECIMAL(2,2)", "DECIMAL(10,2)", "DECIMAL(10,4) UNSIGNED",
	"DECIMAL(38,10)", "DECIMAL(39,0)", "DECIMAL(65,30)", "DECIMAL(65,0)", "FLOAT", "DOUBLE",
	"DATE", "DATETIME", "DATETIME(1)", "DATETIME(3)", "DATETIME(6)", "TIME", "TIME(2)", "TIME(6)", "YEAR", "BIT(1)",
	"BIT(64)", "CHAR(0)", "CHAR(10)", "VARCHAR(50) CHARACTER SET latin1",
	"VARCHAR(300) CHARACTER SET utf8mb4", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "BINARY(5)", "VARBINARY(50)",
	"TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "ENUM('yes','größer','')",
	"SET('a','b','null')", "JSON", "GEOMETRY", "POINT"}

// everyType is a table with each type twice, once where NULL may be, and a row in it; a view of it, and a procedure.
func everyType(s *servers.Server) string {
	list := append(slices.Clone(types), "TIMESTAMP NULL", "TIMESTAMP(6) NULL")
	if s.IsMariaDB() {
		list = append(list, "INET6", "UUID", "DECIMAL(38,38)")
	}
	var ddl []string
	for i, typ := range list {
		ddl = append(ddl, fmt.Sprintf("n%d %s", i, typ))
		if !strings.HasPrefix(typ, "TIMESTAMP") {
			ddl = append(ddl, fmt.Sprintf("v%d %s NOT NULL", i, typ))
		}
	}
	ddl = append(ddl, "v_timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP")
	return "CREATE TABLE every_type (id SERIAL, " + strings.Join(ddl, ", ") +
		", PRIMARY KEY (id)) CHARACTER SET utf8mb4;\n" +
		"CREATE VIEW every_type_view AS SELECT * FROM every_type;\n" +
		"CREATE PROCEDURE every_type_call() READS SQL DATA SELECT * FROM every_type;\n"
}

// TestDraftHasNoData: what a database holds is in no file that is written.
func TestDraftHasNoData(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			w := newShell(t, s.DSN(s.Database()))
			w.must("init", "customer")
			w.must("init", "--query", "SELECT first_name AS one, email FROM customer", "-o", "query.yaml")
			w.must("init", "--call", "rewards")
			for _, file := range []string{"customer", "query", "rewards"} {
				for _, text := range []string{w.read(file + ".yaml"), w.read(file + ".test.yaml")} {
					if found := regexp.MustCompile(`Real|Person\b|example\.net|1980|4711815|DE99|4\.99`).FindString(text); found != "" {
						t.Errorf("%s has %q of the database:\n%s", file, found, text)
					}
				}
			}
			w.holdsUp("customer.yaml", "query.yaml", "rewards.yaml")
			// What is personal does not come out.
			out := w.read("customer.ndjson")
			if regexp.MustCompile(`Real|Person|example\.net|07-15|4711815`).MatchString(out) || !strings.Contains(out,
				`"birth_date":"1980-01-01"`) {
				t.Errorf("%s", out)
			}
		})
	}
}

// TestNothingIsRead holds against the server's own log that inspect and init read no table of the database: a
// statement that names one is prepared, and never executed.
func TestNothingIsRead(t *testing.T) {
	for sort, s := range map[string]*servers.Server{"MariaDB": servers.PrivateMariaDB(t),
		"MySQL": servers.PrivateMySQL(t)} {
		t.Run(sort, func(t *testing.T) {
			s := s.For(t)
			load(t, s, "rental.sql")
			s.Exec("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1")
			w := newShell(t, s.DSN(s.Database()))
			w.must("inspect")
			w.must("inspect", "--json")
			w.must("inspect", "film")
			w.must("init", "film")
			w.must("init", "sales_by_customer")
			w.must("init", "-o", "query.yaml", "--query", "SELECT first_name FROM customer")
			s.Exec("SET GLOBAL general_log = 0")
			const named = " FROM mysql.general_log WHERE CONVERT(argument USING utf8mb4) REGEXP 'film|customer|sales' AND CONVERT(argument USING utf8mb4) NOT LIKE '%information_schema%'"
			if got := s.Query("SELECT command_type, CONVERT(argument USING utf8mb4)" + named +
				" AND command_type IN ('Query', 'Execute')"); got != "" {
				t.Errorf("the server was asked\n%s", got)
			}
			if got := s.Query("SELECT COUNT(*) > 5" + named + " AND command_type = 'Prepare'"); got != "1\n" {
				t.Errorf("the log shows no prepared statement: it is not the log that this is about (%q)", got)
			}
		})
	}
}
