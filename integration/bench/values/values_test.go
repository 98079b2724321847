package values

import (
	"encoding/csv"
	"reflect"
	"strings"
	"testing"
)

func kind(t *testing.T, column string) Kind {
	t.Helper()
	for _, k := range Kinds {
		if k.Column == column {
			return k
		}
	}
	t.Fatalf("no kind %s", column)
	return Kind{}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		column, client, got string
		want                bool
	}{
		{"c_decimal", "1.50", "1.5", true},
		{"c_decimal", "100.00", "1e2", true},
		{"c_decimal", "0.10", "0.1000000000000000055", false},
		{"c_decimal", "0.10", "1e999999999", false},
		{"c_unsigned", "18446744073709551615", "18446744073709551615", true},
		{"c_unsigned", "18446744073709551615", "1.8446744073709552e19", false},
		{"c_unsigned", "18446744073709551615", "-1", false},
		{"c_tinyint", "1", "true", true},
		{"c_tinyint", "2", "true", false},
		{"c_date", "2024-02-29", "2024-02-29T00:00:00.000Z", true},
		{"c_date", "2024-02-29", "2024-02-28T13:00:00.000Z", false},
		{"c_zero_date", "0000-00-00", "0001-01-01T00:00:00Z", false},
		{"c_datetime", "2024-10-06 02:30:00.000000", "2024-10-06T02:30:00+00:00", true},
		{"c_datetime", "2024-10-06 02:30:00.000000", "2024-10-06T02:30:00+10:00", false},
		{"c_datetime", "2024-05-17 12:34:56.123456", "2024-05-17 12:34:56.123", false},
		{"c_long_time", "-838:59:59.999999", "-P34DT22H59M59.999999S", true},
		{"c_long_time", "-838:59:59.999999", "-35 days, 1:00:00.000001", true},
		{"c_long_time", "838:59:59.999999", "22:59:59.999999", false},
		{"c_long_time", "24:00:00.000000", "1 day, 0:00:00", true},
		{"c_bit", "255", "AAAAAAAAAP8=", true},
		{"c_bit", "255", "0x00000000000000ff", true},
		{"c_bit", "255", `b'\x00\x00\x00\x00\x00\x00\x00\xff'`, false},
		{"c_json", `{"n": 1.10}`, `{"n":1.1}`, true},
		{"c_json", `{"n": 12345678901234567890.123}`, `{"n":12345678901234567000}`, false},
		{"c_blob", "\xc3(", `\xC3(`, true},
		{"c_blob", "\xc3(", `{"type":"Buffer","data":[195,40]}`, true},
		{"c_blob", "\xc3(", "\ufffd(", false},
		{"c_float", "1.1 1.100000023841858", "1.1", true},
		{"c_float", "1.1 1.100000023841858", "1.100000023841858", true},
		{"c_float", "1.1 1.100000023841858", "1.2", false},
		{"c_double", "0.1", "0.1000000000000000055", true},
		{"c_double", "0.30000000000000004", "0.3", false},
		{"c_empty", "0012", "12", false},
	} {
		if got := kind(t, c.column).same(Cell{Text: c.client}, Cell{Text: c.got}); got != c.want {
			t.Errorf("%s: %q for %q: %v, want %v", c.column, c.got, c.client, got, c.want)
		}
	}
	k := kind(t, "c_empty")
	if k.same(Cell{Null: true}, Cell{}) || k.same(Cell{}, Cell{Null: true}) || !k.same(Cell{Null: true}, Cell{Null: true}) {
		t.Error("NULL and empty text are not told apart")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	k := kind(t, "c_empty")
	truth, got := Table{}, Table{}
	for id := int64(1); id <= Rows; id++ {
		truth[id] = map[string]Cell{k.Column: {Text: "x"}}
		got[id] = map[string]Cell{k.Column: {Text: "x"}}
	}
	delete(got, 7)
	got[8] = map[string]Cell{}
	got[9] = map[string]Cell{k.Column: {Text: "y"}}
	if c := k.Judge(truth, got); c != (Count{Right: Rows - 3, Changed: 2, Dropped: 1}) {
		t.Errorf("%+v", c)
	}
}

func TestReaders(t *testing.T) {
	t.Parallel()
	want := Table{1: {"id": {Text: "1"}, "c_decimal65": {Null: true}}, 2: {"id": {Text: "2"}, "c_decimal65": {Text: "a\"b\n\\"}}}
	for _, c := range []struct {
		name string
		read func(string) (Table, error)
		text string
		ok   bool
	}{
		{"ndjson", ReadNDJSON, "{\"id\":1,\"c_decimal65\":null}\n{\"id\":2,\"c_decimal65\":\"a\\\"b\\n\\\\\"}\n", true},
		{"ndjson with bytes", ReadNDJSON, "{\"id\":\"1\",\"c_decimal65\":null}\n{\"id\":2,\"c_decimal65\":{\"hex\":\"6122620a5c\"}}\n", true},
		{"csv", ReadCSV, "id,c_decimal65\r\n1,\r\n2,\"a\"\"b\n\\\"\r\n", true},
		{"tabs", ReadTabs, "1\t\\N\n2\ta\"b\\\n\\\\\n", true},
		{"ndjson with a row twice", ReadNDJSON, "{\"id\":1}\n{\"id\":1}\n", false},
		{"ndjson without id", ReadNDJSON, "{}\n", false},
		{"csv with too few fields", ReadCSV, "id,a\n1\n", false},
		{"csv with an open quote", ReadCSV, "id,a\n1,\"x\n", false},
		{"tabs that are cut", ReadTabs, "1\ta", false},
	} {
		got, err := c.read(c.text)
		if (err == nil) != c.ok || c.ok && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if got, err := ReadCSV("id,a\n1,\"\"\n"); err != nil || got[1]["a"].Null {
		t.Errorf("an empty field in quotes is %v, %v", got, err)
	}
}

// FuzzCSV holds the reader against encoding/csv, for what that one writes.
func FuzzCSV(f *testing.F) {
	f.Add("a", "b\"c\r\nd")
	f.Add("", "\\N")
	f.Fuzz(func(t *testing.T, a, b string) {
		var text strings.Builder
		w := csv.NewWriter(&text)
		_ = w.WriteAll([][]string{{"id", "a", "b"}, {"1", a, b}})
		got, err := ReadCSV(text.String())
		if err != nil || got[1]["a"].Text != a || got[1]["b"].Text != b {
			t.Errorf("%q is %v, %v", text.String(), got, err)
		}
	})
}

// FuzzOutputs: no input ends a reader otherwise than with an error.
func FuzzOutputs(f *testing.F) {
	f.Add("1\t\\N\n")
	f.Add("id,a\n1,\"x\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = ReadCSV(text)
		_, _ = ReadTabs(text)
		_, _ = ReadNDJSON(text)
		for _, k := range Kinds {
			k.same(Cell{Text: text}, Cell{Text: text + " "})
		}
	})
}
