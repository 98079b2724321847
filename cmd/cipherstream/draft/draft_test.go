package draft

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
)

// TestLook: names in English and German that say what a person's is, and names that only look like it.
func TestLook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, columnType, what string }{
		{"email", "string", "an e-mail address"},
		{"E-Mail", "string", "an e-mail address"},
		{"customerEmail", "string", "an e-mail address"},
		{"EMAIL_ADDRESS", "string", "an e-mail address"},
		{"email_sent", "string", ""},
		{"email_count", "int32", ""},
		{"email_verified", "int8", ""},
		{"mailbox", "string", ""},
		{"first_name", "string", "a name of a person"},
		{"FirstName", "string", "a name of a person"},
		{"Vorname", "string", "a name of a person"},
		{"name", "string", ""},
		{"file_name", "string", ""},
		{"product_name", "string", ""},
		{"iban", "string", "a bank account"},
		{"urban", "string", ""},
		{"kontonummer", "int64", "a bank account"},
		{"birth_date", "date", "a date of birth"},
		{"dob", "timestamp(6)", "a date of birth"},
		{"geburtsdatum", "date", "a date of birth"},
		{"birth_date", "int8", ""},
		{"Straße", "string", "an address"},
		{"address2", "string", "an address"},
		{"ip_address", "string", "an address on a network"},
		{"ip", "uint32", "an address on a network"},
		{"address_id", "int32", ""},
		{"zip", "int32", "an address"},
		{"zipped", "binary", ""},
		{"phone", "string", "a telephone number"},
		{"Telefon privat", "string", "a telephone number"},
		{"phone_type", "string", ""},
		{"mobile", "int8", ""},
		{"password_hash", "string", "a secret"},
		{"token_count", "int32", ""},
		{"gehalt", "decimal(10,2)", "an income"},
		{"picture", "binary", "a picture or a mark of a person"},
		{"gender", "string", "a person's gender, family or origin"},
		{"Diagnose", "string", "a state of health"},
		{"field7", "string", ""},
		{"", "string", ""},
		{"日本", "string", ""},
	} {
		got := ""
		if p := Look(c.name, c.columnType); p != nil {
			got = p.What
		}
		if got != c.what {
			t.Errorf("%q, %s looks like %q, want %q", c.name, c.columnType, got, c.what)
		}
	}
}

// TestKindsAreReachable: each word of each kind is one that a name can have, and finds the kind.
func TestKindsAreReachable(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, word := range k.words {
			if strings.Join(wordsOf(word), " ") != word {
				t.Errorf("no name has the words %q", word)
			}
			if p := Look(word, k.types[0]); p == nil || p.What != k.what {
				t.Errorf("%q, %s: %v, want %s", word, k.types[0], p, k.what)
			}
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"film": "film", "Film Actor": "film_actor", "größe": "groesse", "1e3": "table_1e3", "日本": "table",
		"../up": "up", "": "table",
		strings.Repeat("x", 80): strings.Repeat("x", longestName-6), "__a__": "a",
	} {
		if got := Name(text, "table"); got != want {
			t.Errorf("Name(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestNameParameters(t *testing.T) {
	t.Parallel()
	list := []Parameter{{Name: "p_limit", MySQL: "int(11)"}, {Name: "P_Limit", MySQL: "decimal(10,2) unsigned"},
		{Name: "p_ä", MySQL: "DATE"}, {Name: "p_", MySQL: "enum('a')"}}
	NameParameters(list)
	got := ""
	for _, p := range list {
		got += p.Pipeline + " " + p.Type + "; "
	}
	if want := "limit_2 integer; limit_3 decimal; ae date; value string; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// sample is a column of each type, with what a draft has to say of it.
func sample() []Column {
	var columns []Column
	for _, c := range []Column{
		{Name: "id", Type: "int64", Description: "Key: of the row."}, {Name: "price", Type: "decimal(10,2)",
			Nullable: true}, {Name: "rate", Type: "float64"},
		{Name: "yes", Type: "string", Nullable: true, Members: []string{"no", "it's"}}, {Name: "two words",
			Type: "timestamp(3)"}, {Name: "at", Type: "time(6)", Nullable: true},
		{Name: "2024-01-31", Type: "date"}, {Name: "document", Type: "json"}, {Name: "bytes", Type: "binary"},
		{Name: "is", Type: "boolean"},
		{Name: "email", Type: "string", Nullable: true}, {Name: "surname", Type: "string"}, {Name: "iban",
			Type: "string"}, {Name: "dob", Type: "timestamp(6)", Nullable: true},
		{Name: "phone", Type: "int64"}, {Name: "photo", Type: "binary"}, {Name: "salary", Type: "decimal(12,4)"},
		{Name: "birthday", Type: "string"}, {Name: "login", Type: "json"},
	} {
		c.Personal = Look(c.Name, c.Type)
		columns = append(columns, c)
	}
	return columns
}

// TestFiles holds what is written against files, each of which a person can look at.
func TestFiles(t *testing.T) {
	t.Parallel()
	call := &Pipeline{Name: "called", Title: "called", Procedure: "call me", Columns: sample()[:2],
		Parameters: []Parameter{
			{Name: "from", MySQL: "date", Default: "2024-01-31", Description: "Argument 1 of the procedure, from: date."},
			{Name: "n", MySQL: "int", Description: "Argument 2 of the procedure, n: int."},
			{Name: "total", MySQL: "int", Out: true}}}
	NameParameters(call.Parameters)
	long := "SELECT " + strings.Repeat("a_long_name_of_a_column, ", 6) + "id FROM orders WHERE note = '${x}'"
	for name, p := range map[string]*Pipeline{
		"table": {Name: "orders", Title: "Orders, all", Description: "The rows: all of them.", Table: "orders",
			Columns: sample()},
		"names": {Name: "odd", Title: "odd", Table: " a,b ${x}", Columns: []Column{{Name: "a,b", Type: "int8"},
			{Name: "\u0085\"", Type: "int8"}, {Name: "${y}", Type: "int8"},
			{Name: "email ${z}", Type: "string", Personal: Look("email", "string")}}},
		"query": {Name: "query", Title: "Query", Query: "SELECT 1 AS id\n  FROM t", Columns: sample()[:1]},
		"bound": {Name: "bound", Title: "Query", Query: "SELECT id FROM t WHERE day >= ? AND (? IS NULL OR name = ?)", Columns: sample()[:1],
			Parameters: []Parameter{{Pipeline: "since", Type: "date", Default: "2024-01-31", Description: "What day is compared with."},
				{Pipeline: "name", Type: "string", Description: "A value in the query."}, {Pipeline: "name", Type: "string", Again: true}}},
		"long":  {Name: "long", Title: "Query", Query: long, Columns: sample()[:1]},
		"call":  call,
		"point": {Name: "point", Title: "a.b", Procedure: "a.b", Parameters: call.Parameters, Columns: sample()[:1]},
	} {
		text := p.YAML(name+".yaml", name+".test.yaml") + "---\n" + p.Test(name+".yaml", name+".test.yaml")
		golden.Compare(t, name+".yaml", text)
		for _, line := range strings.Split(text, "\n") {
			if len([]rune(line)) > lineWidth+20 || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

// read reads text that was written as a value of a mapping in brackets, and as one by itself.
func read(t *testing.T, written string) (string, bool) {
	t.Helper()
	var in struct{ Flow, Block yaml.Node }
	if err := yaml.Unmarshal([]byte("flow: {a: "+written+", b: 1}\nblock: "+written+"\n"), &in); err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	if len(in.Flow.Content) != 4 {
		return "", false
	}
	flow := in.Flow.Content[1]
	return flow.Value, flow.Value == in.Block.Value && flow.ShortTag() == "!!str" && in.Block.ShortTag() == "!!str"
}

// FuzzScalar: whatever the text is, it is read as that text, and as text.
func FuzzScalar(f *testing.F) {
	for _, text := range []string{"", "a", "yes", "NULL", "~", "1e3", "0x1", "2024-01-31", ".inf", "<<", "=", "a: b",
		"a #b", "- a", "'", `"`, "\\", "a\tb\r\n", "\u0085\u2028\ufeff", "🙂", "a  b", " a", "a ",
		"[x]", "{x}", "*a", "&a", "!a", "|", ">", "%", "@", "`", "? a", "null ", "true", "./a.yaml", "a,b", "12:30:45", "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		if got, good := read(t, scalar(text)); got != text || !good {
			t.Errorf("%q is written %s, and read %q", text, scalar(text), got)
		}
	})
}

// FuzzQuery: a statement is read as it was given.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{"SELECT 1", "SELECT 1\n  FROM t\n\nWHERE a", strings.Repeat("SELECT a ", 30) + "x", "SELECT '\t'\nx", " a", "a \nb", "# a\nb", "a\n", "- a", "\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		var b strings.Builder
		writeQuery(&b, text)
		var in struct{ Query string }
		if err := yaml.Unmarshal([]byte(b.String()), &in); err != nil {
			t.Fatalf("%q: %v\n%s", text, err, b.String())
		}
		if in.Query != literal(text) {
			t.Errorf("%q is written\n%s and read %q", text, b.String(), in.Query)
		}
	})
}
