package draft

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// refused fails the test unless a command ends with that code, and says all of some texts.
func (s *shell) refused(exit int, texts []string, args ...string) {
	s.Helper()
	got := s.run(args...)
	for _, text := range texts {
		if !strings.Contains(got.stderr, text) {
			s.Errorf("cipherstream %s does not say %q:\n%s", strings.Join(args, " "), text, got.stderr)
		}
	}
	if got.code != exit || got.stdout != "" {
		s.Errorf("cipherstream %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got.code, exit, got.stdout,
			got.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.yaml")); len(left) > 0 {
		s.Errorf("cipherstream %s leaves %v", strings.Join(args, " "), left)
	}
}

// TestWrongUse: what is not there, may not be read or contradicts itself is told with a code and what to do, and no
// file is left.
func TestWrongUse(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			load(t, s, "awkward.sql")
			url := s.DSN(s.Database())
			w := newShell(t, url)
			for _, c := range []struct {
				exit  int
				says  []string
				given []string
			}{
				{2, []string{"inspect.unknown_table", `no table or view "flim"`, "did you mean film?"},
					[]string{"init", "flim"}},
				{2, []string{"inspect.unknown_table", "did you mean customer?"}, []string{"inspect", "custmer"}},
				{2, []string{"inspect.unknown_table", "inspect lists"}, []string{"init", "zzzzzzzz"}},
				{2, []string{"inspect.unknown_table", "without the database"}, []string{"init", s.Database() +
					".film"}},
				{2, []string{"inspect.unknown_table", "…/shop there"}, []string{"init", "shop.film"}},
				{2, []string{"inspect.unknown_table", "init --query"}, []string{"init", "SELECT film_id FROM film"}},
				{2, []string{"is a procedure", "init --call rewards"}, []string{"init", "rewards"}},
				{2, []string{"inspect.unknown_procedure", "did you mean rewards?"}, []string{"init", "--call",
					"reward"}},
				{1, []string{"mysql.broken_view", "gone"}, []string{"init", "broken"}},
				{1, []string{"mysql.syntax", "check the statement"}, []string{"init", "--query", "SELECT FROM film"}},
				{1, []string{"mysql.query", "titel"}, []string{"init", "--query", "SELECT titel FROM film"}},
				{1, []string{"mysql.unknown_table", "did you mean film?"}, []string{"init", "--query",
					"SELECT title FROM flim"}},
				{1, []string{"mysql.syntax", "asked with NULL", "-p NAME:TYPE=VALUE"}, []string{"init", "--query",
					"SELECT title FROM film LIMIT ?"}},
				{2, []string{"has 1 question mark, and -p is given 2 times"}, []string{"init", "-p", "a", "-p", "b", "--query",
					"SELECT title FROM film WHERE film_id = ? AND title <> '?'"}},
				{2, []string{"has 0 question marks", "-p NAME:TYPE"}, []string{"init", "-p", "a", "--query", "SELECT 1 AS a"}},
				{2, []string{`no type "datetime"`, "string, date, integer, boolean, decimal"}, []string{"init", "-p",
					"a:datetime", "--query", "SELECT title FROM film WHERE last_update > ?"}},
				{2, []string{`"limit" can be no name`, "are taken"}, []string{"init", "-p", "limit=3", "--query",
					"SELECT title FROM film LIMIT ?"}},
				{2, []string{`"A b" can be no name`, "lower-case"}, []string{"init", "-p", "A b", "--query",
					"SELECT title FROM film WHERE title = ?"}},
				{2, []string{"-p since: ", "2024-13-01"}, []string{"init", "-p", "since:date=2024-13-01", "--query",
					"SELECT title FROM film WHERE last_update > ?"}},
				{2, []string{"-p a is given twice", "stands first"}, []string{"init", "-p", "a", "-p", "a:date", "--query",
					"SELECT title FROM film WHERE title = ? OR title > ?"}},
				{2, []string{"--query is a CALL", "init --call"}, []string{"init", "--query", "/* a */ CALL writes()"}},
				{2, []string{"init.columns", `two columns are called "a"`, "with AS"}, []string{"init", "--query",
					"SELECT 1 AS a, 2 AS a"}},
				{2, []string{"mysql.read_only", "DELETE"}, []string{"init", "--query", "DELETE FROM film"}},
				{2, []string{"init.may_have_effects", "modifies sql data", "--allow-effects"}, []string{"init",
					"--call", "writes"}},
				{2, []string{"init.may_have_effects", "contains sql"}, []string{"init", "--call", "undeclared"}},
				{1, []string{"mysql.read_only"}, []string{"init", "--call", "writes", "--allow-effects"}},
				{1, []string{"mysql.no_result_set", "must SELECT"}, []string{"init", "--call", "silent"}},
				{2, []string{"-p takes NAME=VALUE", "min_purchases, min_amount, since"}, []string{"init", "--call",
					"rewards", "-p", "amount=3"}},
				{2, []string{"-p since", "2024-13-01"}, []string{"init", "--call", "rewards", "-p",
					"since=2024-13-01"}},
				{2, []string{"it has none"}, []string{"init", "--call", "nothing_given", "-p", "a=1"}},
				{2, []string{"nothing is named", "cipherstream inspect"}, []string{"init"}},
				{2, []string{"several of a table, --query and --call"}, []string{"init", "film", "--query",
					"SELECT 1 AS a"}},
				{2, []string{"a table is given"}, []string{"init", "film", "-p", "a=1"}},
				{2, []string{"--call is not given"}, []string{"init", "film", "--allow-effects"}},
				{2, []string{"takes one table", "--query"}, []string{"init", "film", "actor"}},
				{2, []string{"takes one name"}, []string{"inspect", "film", "actor"}},
				{2, []string{"does not end in .yaml", "-o film.yaml"}, []string{"init", "film", "-o", "film.txt"}},
				{2, []string{"cannot be written", "create its folder"}, []string{"init", "film", "-o",
					"nowhere/film.yaml"}},
				{2, []string{"inspect.no_database", s.Database()}, []string{"inspect", "--dsn", s.DSN("")}},
				{3, []string{"mysql.unknown_database", "connection URL"}, []string{"inspect", "--dsn",
					s.DSN("no_such_database")}},
				{3, []string{"mysql.auth", "check user, password"}, []string{"init", "film", "--dsn",
					s.UserDSN("root", "wrong", s.Database())}},
				{3, []string{"mysql.connect", "check host, port"}, []string{"init", "film", "--dsn",
					"mysql://a:b@127.0.0.1:1/x"}},
				{2, []string{"mysql.settings"}, []string{"init", "film", "--dsn", "127.0.0.1:3306"}},
				{2, []string{"--dsn and --dsn-file are both given"}, []string{"inspect", "--dsn", url, "--dsn-file",
					"x"}},
			} {
				w.refused(c.exit, c.says, c.given...)
			}
			if got := s.Query("SELECT COUNT(*) FROM no_rows"); got != "0\n" {
				t.Errorf("a procedure that writes has written: %s rows", got)
			}
			newShell(t, "").refused(2, []string{"no connection URL is given", "export CIPHERSTREAM_DSN="}, "inspect")
		})
	}
}

// TestFilesStay: what is there is replaced only when that is said, and nothing is asked of a server before.
func TestFilesStay(t *testing.T) {
	s := servers.MariaDB(t)
	load(t, s, "rental.sql")
	w := newShell(t, s.DSN(s.Database()))
	for _, name := range []string{"film.yaml", "film.test.yaml"} {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte("mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := w.run("init", "film", "--dsn", "mysql://a:b@127.0.0.1:1/x")
		if got.code != 2 || !strings.Contains(got.stderr, "init.file_exists") || !strings.Contains(got.stderr,
			name+" is there already") || !strings.Contains(got.stderr, "--force") {
			t.Errorf("%+v", got)
		}
		if text := w.read(name); text != "mine\n" {
			t.Errorf("%s is %q", name, text)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	w.must("init", "film")
	first := w.read("film.yaml")
	if err := os.WriteFile(filepath.Join(w.dir, "film.yaml"), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("init", "film", "--force")
	if w.read("film.yaml") != first {
		t.Error("--force has not replaced the file")
	}
	w.holdsUp("film.yaml")
}

// TestRestrictedAccounts: what an account may not see or read is said, with the statement that grants it, and a
// pipeline has what it may read.
func TestRestrictedAccounts(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			database := s.Database()
			user := "u_" + database
			s.Exec("CREATE USER '" + user + "'@'%' IDENTIFIED BY 'p'")
			defer s.Exec("DROP USER '" + user + "'@'%'")
			s.Exec("GRANT SELECT ON " + database + ".film TO '" + user +
				"'@'%'; GRANT SELECT (customer_id, email) ON " + database + ".customer TO '" + user + "'@'%';\n" +
				"GRANT INSERT ON " + database + ".payment TO '" + user + "'@'%'; GRANT EXECUTE ON PROCEDURE " +
				database + ".nothing_given TO '" + user + "'@'%';\n" +
				"GRANT ALTER ROUTINE ON PROCEDURE " + database + ".rewards TO '" + user + "'@'%'")
			w := newShell(t, s.UserDSN(user, "p", database))
			listed := w.must("inspect")
			account := "'" + user + "'@'%'"
			for _, text := range []string{
				"film ", "customer ", "payment ", "nothing_given", "rewards",
				"not granted SELECT on the whole database", "GRANT SELECT ON `" + database + "`.* TO " + account,
				"not granted EXECUTE on the whole database", "GRANT EXECUTE ON `" + database + "`.* TO " + account,
				"payment: the account may not read it", "GRANT SELECT ON `" + database + "`.`payment` TO " + account,
				"procedure rewards: the account may not call it", "GRANT EXECUTE ON PROCEDURE `" + database +
					"`.`rewards` TO " + account,
			} {
				if !strings.Contains(listed, text) {
					t.Errorf("inspect does not say %q:\n%s", text, listed)
				}
			}
			if strings.Contains(listed, "actor") {
				t.Errorf("inspect shows what the account does not see:\n%s", listed)
			}
			w.refused(2, []string{"inspect.unknown_table", "may do nothing with it"}, "init", "actor")
			w.refused(1, []string{"inspect.access_denied", "payment", "GRANT SELECT ON `" + database +
				"`.`payment` TO " + account}, "init", "payment")
			w.refused(1, []string{"inspect.access_denied", "GRANT EXECUTE ON PROCEDURE"}, "init", "--call", "rewards")
			w.refused(1, []string{"mysql.access_denied"}, "init", "--query", "SELECT * FROM payment")
			w.must("init", "customer")
			if text := w.read("customer.yaml"); !strings.Contains(text, "customer_id, email\n") ||
				strings.Contains(text, "birth_date") {
				t.Errorf("%s", text)
			}
			w.must("init", "film")
			w.must("init", "--call", "nothing_given")
			w.holdsUp("customer.yaml", "film.yaml", "nothing_given.yaml")

			// What a role lets the account do counts.
			role := "r_" + database
			s.Exec("CREATE ROLE " + role + "; GRANT SELECT, EXECUTE ON " + database + ".* TO " + role + "; GRANT " +
				role + " TO " + account + ";\n" +
				map[bool]string{true: "SET DEFAULT ROLE " + role + " FOR " + account, false: "SET DEFAULT ROLE " +
					role + " TO " + account}[s.IsMariaDB()])
			defer s.Exec("DROP ROLE " + role)
			if listed := w.must("inspect"); strings.Contains(listed, "not shown") || !strings.Contains(listed,
				"actor") || !strings.Contains(listed, "counted") {
				t.Errorf("with a role, inspect says\n%s", listed)
			}
			w.must("init", "payment")
			w.must("init", "--call", "rewards")
			w.holdsUp("payment.yaml", "rewards.yaml")

			// MySQL hides what a role alone lets the account call, and its name is in the role's grants.
			s.Exec("REVOKE EXECUTE ON " + database + ".* FROM " + role + "; GRANT EXECUTE ON PROCEDURE " + database +
				".counted TO " + role)
			hidden := "procedure counted: the account may call it by a role"
			if listed := w.must("inspect"); !strings.Contains(listed, "counted") || strings.Contains(listed,
				hidden) == s.IsMariaDB() {
				t.Errorf("with a role for a procedure, inspect says\n%s", listed)
			}
			if got := w.run("init", "--call", "counted"); (got.code == 0) != s.IsMariaDB() || got.code != 0 &&
				!strings.Contains(got.stderr, "inspect.access_denied") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestInspectOne shows a table and a procedure in detail.
func TestInspectOne(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			load(t, s, "awkward.sql")
			w := newShell(t, s.DSN(s.Database()))
			for name, want := range map[string][]string{
				"film": {"film: table, ~2 rows, InnoDB", "Every film that can be lent.", "release_year",
					"year(4)|year", "uint16", "decimal(4,2)", "enum('G','PG','it''s, quoted')",
					"Key of the film.", "primary  PRIMARY", "index"},
				"customer":      {"unique   email", "timestamp", "tinyint(1)"},
				"computed":      {"generated"},
				"customer_list": {"customer_list: view"},
				"rewards":       {"rewards: procedure, reads sql data", "IN  min_amount", "decimal(10,2)"},
				"broken":        {"broken: view", "not shown: "},
			} {
				got := w.must("inspect", name)
				for _, text := range want {
					either := strings.Split(text, "|")
					if !strings.Contains(got, either[0]) && !strings.Contains(got, either[len(either)-1]) {
						t.Errorf("inspect %s does not say %q:\n%s", name, text, got)
					}
				}
			}
		})
	}
}
