package pipeline

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/formula/trial"
	"github.com/cipherstream/cipherstream/sdk/expression"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestExpressionsPage: what the page of expressions shows is what comes of it.
func TestExpressionsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []trial.Column
	var row []byte
	tried := 0
	for _, block := range regexp.MustCompile("(?ms)^```(expr|console)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		if block[1] == "console" {
			command, want, _ := strings.Cut(strings.TrimPrefix(block[2], "$ cipherstream "), "\n")
			if got := cmdtest.Call(t, shellWords(command)...); got.Stdout != want {
				t.Errorf("%s: %+v", command, got)
			}
			tried++
			continue
		}
		for line := range strings.Lines(block[2]) {
			line = strings.TrimRight(line, "\n")
			if list, is := strings.CutPrefix(line, "columns: "); is {
				list = regexp.MustCompile(`([a-z]) ([a-z])`).ReplaceAllString(list, "$1:$2")
				if columns, err = trial.ParseColumns(list); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if object, is := strings.CutPrefix(line, "row: "); is {
				row = []byte(object)
				continue
			}
			tried++
			parts := regexp.MustCompile(`  +`).Split(line, 3)
			if parts[0] == "trim('" { // an example has two spaces in it
				parts = []string{"trim('  x ')", "string", "x"}
			}
			want, fails := strings.CutPrefix(strings.Join(parts[1:], "  "), "error: ")
			if got, failed := pageLine(t, parts[0], columns, row); failed != fails || failed && !strings.Contains(got, want) || !failed && got != want {
				t.Errorf("%s: got %s", line, got)
			}
		}
	}
	if tried < 70 {
		t.Errorf("the page has %d examples", tried)
	}
}

// pageLine is what comes of an expression, as the page has it, or what is wrong with it.
func pageLine(t *testing.T, text string, columns []trial.Column, row []byte) (got string, failed bool) {
	schema, err := trial.Schema(columns)
	if err != nil {
		t.Fatal(err)
	}
	f, err := formula.Compile(text, nil, schema)
	if err != nil {
		return fault.From(err).Message, true
	}
	in, err := trial.Rows(schema, [][]byte{row})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Release()
	values, err := trial.Values(f, in)
	if err != nil {
		t.Fatal(err)
	}
	switch v := values[0]; {
	case v.Fault != nil:
		return f.Type.String() + "  fails: " + v.Fault.Code, false
	case v.Null:
		return f.Type.String() + "  NULL", false
	default:
		return f.Type.String() + "  " + v.Text, false
	}
}

// shellWords parts a command line at its spaces, but for those in single quotes.
func shellWords(line string) (words []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2])
	}
	return words
}

// TestExpressionsPageSQL: who writes SQL's way is told ours, and ours is right.
func TestExpressionsPageSQL(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| SQL | here |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	number := []trial.Column{{Name: "a", Type: "int64", Nullable: true}}
	word := []trial.Column{{Name: "a", Type: "string", Nullable: true}, {Name: "b", Type: "string"}, {Name: "day", Type: "date"}}
	compiles := func(text string) error {
		var err error
		for _, columns := range [][]trial.Column{number, word} {
			schema, failed := trial.Schema(columns)
			if failed != nil {
				t.Fatal(failed)
			}
			if _, err = formula.Compile(text, nil, schema); err == nil {
				return nil
			}
		}
		return err
	}
	rows := 0
	for line := range strings.Lines(table) {
		line = strings.ReplaceAll(line, `\|`, "\x00")
		cells := strings.Split(line, "|")
		code := func(cell string) (list []string) {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
				list = append(list, strings.ReplaceAll(m[1], "\x00", "|"))
			}
			return list
		}
		rows++
		for _, sql := range code(cells[1]) {
			if word := strings.Fields(sql); len(word) == 1 && regexp.MustCompile(`^[A-Z]+$`).MatchString(sql) {
				if expression.Hint("a "+sql+" b") == "" {
					t.Errorf("%s: no hint", sql)
				}
				continue
			}
			if err := compiles(sql); err == nil || fault.From(err).Hint == "" && !strings.Contains(err.Error(), "did you mean") {
				t.Errorf("%s: %v", sql, err)
			}
		}
		for _, ours := range code(cells[2]) {
			if err := compiles(ours); err != nil && strings.ContainsAny(ours, "abc") {
				t.Errorf("%s: %v", ours, err)
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows", rows)
	}
}
