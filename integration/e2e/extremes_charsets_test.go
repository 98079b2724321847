package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// scripts are texts of many writings. A character set gets those that it has.
var scripts = []string{
	"plain", "", " ", "Müller €£½ÿ", "žluťoučký kůň", "Съешь ещё этих", "ΑΒΓ αβγ", "שלום", "مرحبا", "สวัสดี",
	"日本語ｶﾅ表ソ", "漢字テスト", "汉字测试", "漢字測試", "한국어", "გამარჯობა", "🙂👩‍👩‍👧", "ß ſ ﬁ Ǆ i̇ İ ı", "a\\b'c\"d\te\nf",
}

// charset is one of the server's, and how many bytes its longest character has.
type charset struct {
	name string
	wide int
}

// charsetsOf are all that the server has for text.
func charsetsOf(t testing.TB, s *servers.Server) (list []charset) {
	t.Helper()
	for line := range strings.Lines(s.Query("SELECT character_set_name, maxlen FROM information_schema.character_sets WHERE character_set_name <> 'binary' ORDER BY 1")) {
		var c charset
		if _, err := fmt.Sscan(line, &c.name, &c.wide); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// TestExtremeCharsets has columns of every character set of the server: CHAR, VARCHAR, TEXT, ENUM and SET, with every
// byte that there is in those of one byte, with many writings, and with the longest value that a column takes.
// The client says what is in them.
func TestExtremeCharsets(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		all := charsetsOf(t, s)
		for _, name := range []string{"latin1", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32", "cp1251", "gbk", "sjis", "cp932", "big5", "eucjpms", "euckr", "koi8r", "tis620"} {
			found := false
			for _, c := range all {
				found = found || c.name == name
			}
			if !found {
				t.Errorf("the server has no character set %s", name)
			}
		}
		every := "0x"
		for b := range 256 {
			every += fmt.Sprintf("%02x", b)
		}
		script, longest := "SET sql_mode = '';\n", ""
		columns, kinds := []string{"id"}, []kind{integer}
		ddl := []string{"id INT NOT NULL PRIMARY KEY"}
		for _, c := range all {
			of := " CHARACTER SET " + c.name
			for name, typ := range map[string]string{"char": "CHAR(50)", "var": "VARCHAR(256)", "text": "TEXT"} {
				ddl = append(ddl, c.name+"_"+name+" "+typ+of)
			}
			ddl = append(ddl, c.name+"_enum ENUM('','one','a b')"+of, c.name+"_set SET('one','a b','c')"+of)
			// The shortest characters of these have more than one byte.
			one := map[string]int{"ucs2": 2, "utf16": 2, "utf16le": 2, "utf32": 4}[c.name]
			length := 65535 / max(one, 1)
			longest += fmt.Sprintf("CREATE TABLE longest_%s (id INT NOT NULL PRIMARY KEY, v VARCHAR(%d) CHARACTER SET %[1]s, c CHAR(255) CHARACTER SET %[1]s, x TEXT CHARACTER SET %[1]s, w LONGTEXT CHARACTER SET %[1]s);\n"+
				"INSERT INTO longest_%[1]s VALUES (1, REPEAT('a', %[2]d), REPEAT('b', 255), REPEAT('c', %[3]d), REPEAT('d', 100001)), (2, REPEAT(' ', %[2]d), '', '', '');\n",
				c.name, (65535-2-4-8-255*c.wide-12-12-8)/c.wide, length)
		}
		script += "CREATE TABLE texts (" + strings.Join(ddl, ", ") + ") ENGINE=MyISAM;\n"
		script += "INSERT INTO texts (id) VALUES (0);\n"
		for i := range scripts {
			script += fmt.Sprintf("INSERT INTO texts (id) VALUES (%d);\n", i+1)
		}
		script += fmt.Sprintf("INSERT INTO texts (id) VALUES (%d);\n", len(scripts)+1)
		for _, c := range all {
			columns = append(columns, c.name+"_char", c.name+"_var", c.name+"_text", c.name+"_enum", c.name+"_set")
			kinds = append(kinds, text, text, text, text, text)
			for i, sample := range scripts {
				// What the set doesn't have becomes a question mark, in the table already.
				of := fmt.Sprintf("CONVERT(CONVERT(x'%x' USING utf8mb4) USING %s)", sample, c.name)
				script += fmt.Sprintf("UPDATE texts SET %s_char = LEFT(%s, 50), %[1]s_var = %[2]s, %[1]s_text = REPEAT(%[2]s, 9), %[1]s_enum = %[3]d, %[1]s_set = %[4]d WHERE id = %[5]d;\n",
					c.name, of, 1+i%3, i%8, i+1)
			}
			if c.wide == 1 {
				script += fmt.Sprintf("UPDATE texts SET %s_var = _%[1]s %s WHERE id = %d;\n", c.name, every, len(scripts)+1)
			}
		}
		s.Exec(script)
		s.Exec(longest)
		w := newWorkspace(t, s.DSN(s.Database()))
		readTable(t, s, w, columns, kinds, "texts ORDER BY id")
		for _, c := range all {
			out := w.must("run", w.pipeline(settings{"query": "SELECT * FROM longest_" + c.name + " ORDER BY id"}, "csv"), "--isolation", "none")
			var expressions []string
			for _, column := range []string{"v", "c", "x", "w"} {
				expressions = append(expressions, text.expression(column))
			}
			want := fromClient(t, s, append([]string{integer.expression("id")}, expressions...), "longest_"+c.name+" ORDER BY id")
			compareCSV(t, out, []string{"id", "v", "c", "x", "w"}, []kind{integer, text, text, text, text}, want)
		}
	})
}
