package draft

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// foreignKey is one as inspect says it to a machine.
type foreignKey struct {
	Name               string
	Table              string
	Columns            []string
	ReferencedDatabase string   `json:"referenced_database"`
	ReferencedTable    string   `json:"referenced_table"`
	ReferencedColumns  []string `json:"referenced_columns"`
}

type inspected struct {
	Table struct {
		Comment      string
		ForeignKeys  []foreignKey `json:"foreign_keys"`
		ReferencedBy []foreignKey `json:"referenced_by"`
		Keys         []struct {
			Name    string
			Unique  bool
			Columns []string
		}
		Columns []struct {
			Name      string
			Generated bool
			Comment   string
		}
	}
}

// hostile are names that speak to a terminal: colours and a title, a line end, text that is turned round, and the quote
// of names itself.
const (
	hostileParent = "pa`rent\n\x1b[31mred"
	hostileChild  = "child\u202e\x1b]0;title\a"
	hostileColumn = "a`\rb\t\u009b"
	hostileKey    = "k`\x1b[2J\nfine: granted"
)

// quoted is a name in SQL.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// TestForeignKeys shows keys from both ends, of several columns, to the table itself and to another database, under
// whatever names, to a machine as they are and to a terminal without what it would obey.
func TestForeignKeys(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			other := s.NewDatabase()
			parent, child, column, key := quoted(hostileParent), quoted(hostileChild), quoted(hostileColumn), quoted(hostileKey)
			s.Exec("CREATE TABLE " + quoted(other) + ".abroad (id INT PRIMARY KEY) ENGINE=InnoDB;\n" +
				"CREATE TABLE " + parent + " (" + column + " INT NOT NULL COMMENT '\x1b[5mcomment\nof a column'," +
				" b INT NOT NULL, up INT, twice INT AS (b * 2) STORED," +
				" PRIMARY KEY (" + column + ", b), KEY up (up), UNIQUE KEY one (" + column + "), UNIQUE KEY twice (twice)," +
				" CONSTRAINT self FOREIGN KEY (up) REFERENCES " + parent + " (" + column + "))" +
				" ENGINE=InnoDB COMMENT='\x1b[5mof a\ntable';\n" +
				"CREATE TABLE " + child + " (x INT, y INT, z INT, CONSTRAINT " + key +
				" FOREIGN KEY (y, x) REFERENCES " + parent + " (" + column + ", b)," +
				" CONSTRAINT abroad FOREIGN KEY (z) REFERENCES " + quoted(other) + ".abroad (id)) ENGINE=InnoDB;\n" +
				"INSERT INTO " + parent + " (" + column + ", b) VALUES (4711815, 4711816)")
			defer s.Exec("ALTER TABLE " + child + " DROP FOREIGN KEY abroad") // it would keep the other database
			w := newShell(t, s.DSN(s.Database()))
			of := func(name string) (got inspected) {
				t.Helper()
				if err := json.Unmarshal([]byte(w.must("inspect", "--json", "--", name)), &got); err != nil {
					t.Fatal(err)
				}
				return got
			}
			self := foreignKey{"self", hostileParent, []string{"up"}, "", hostileParent, []string{hostileColumn}}
			composite := foreignKey{hostileKey, hostileChild, []string{"y", "x"}, "", hostileParent,
				[]string{hostileColumn, "b"}}
			abroad := foreignKey{"abroad", hostileChild, []string{"z"}, other, "abroad", []string{"id"}}
			language := foreignKey{"fk_film_language", "film", []string{"language_id"}, "", "language",
				[]string{"language_id"}}
			for name, want := range map[string][2][]foreignKey{
				"film":        {{language}, {}},
				"language":    {{}, {language}},
				"film_actor":  {{}, {}},
				hostileParent: {{self}, {composite, self}},
				hostileChild:  {{abroad, composite}, {}},
			} {
				got := of(name).Table
				if !reflect.DeepEqual(got.ForeignKeys, want[0]) || !reflect.DeepEqual(got.ReferencedBy, want[1]) {
					t.Errorf("%q refers to\n%q, and is referred to by\n%q, want\n%q", name, got.ForeignKeys, got.ReferencedBy,
						want)
				}
			}
			got := of(hostileParent).Table
			if c := got.Columns[0]; got.Comment != "\x1b[5mof a\ntable" || c.Name != hostileColumn ||
				c.Comment != "\x1b[5mcomment\nof a column" {
				t.Errorf("%+v", got)
			}
			if c := got.Columns[3]; !c.Generated || got.Columns[1].Generated {
				t.Errorf("what is generated is not told: %+v", got.Columns)
			}

			for _, args := range [][]string{{"inspect"}, {"inspect", "--", hostileParent},
				{"inspect", "--", hostileChild}, {"inspect", "--json"},
				{"init", "-o", "parent.yaml", "--", hostileParent}, {"init", "-o", "child.yaml", "--", hostileChild}} {
				printed := w.must(args...)
				if strings.Contains(printed, "4711815") || strings.Contains(printed, "4711816") {
					t.Errorf("%q shows values of rows:\n%s", args, printed)
				}
				if i := strings.IndexFunc(printed, obeyed); i >= 0 {
					t.Errorf("%q lets a terminal have %q", args, printed[i:min(len(printed), i+20)])
				}
				if strings.Contains(printed, "\nfine: granted") || strings.Contains(printed, "\nof a column") ||
					strings.Contains(printed, "\ntable\n") {
					t.Errorf("%q lets a name begin a line:\n%s", args, printed)
				}
			}
			w.holdsUp("parent.yaml", "child.yaml")
			for name, want := range map[string][]string{
				"film":        {"\nForeign keys\n  fk_film_language  language_id  to language (language_id)\n"},
				"language":    {"\nReferred to by\n  fk_film_language  film (language_id)  to language_id\n"},
				hostileChild:  {"\nForeign keys\n  abroad", "to " + other + ".abroad (id)\n"},
				hostileParent: {"\nForeign keys\n  self", "\nReferred to by\n  k`", "unique   twice", "generated"},
			} {
				printed := w.must("inspect", "--", name)
				for _, text := range want {
					if !strings.Contains(printed, text) {
						t.Errorf("inspect %q does not say %q:\n%s", name, text, printed)
					}
				}
			}
		})
	}
}

// obeyed reports whether a terminal takes a character for something else than text.
func obeyed(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}
