package diag

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

var sample = []byte("kind: Pipeline\nspec:\n\tsource: {use: mysq}\n  名前: 日本語 x\r\n  long: " +
	strings.Repeat("abcdefghij", 40) + "\n  evil: \x1b[31m\u202e\xff\n")

func sampleList() List {
	file := func(line, column, end int) Position {
		return Position{File: "dir one/a.yaml", Line: line, Column: column, EndColumn: end}
	}
	return List{
		At(file(3, 16, 20), "plan.unknown_stage", "no source is called %q", "mysq").
			WithSuggestion("mysq", []string{"mysql", "s3"}).
			WithRelated(Position{File: "catalogue:templates/data.yaml", Line: 3, Column: 5}, "extended here"),
		At(file(4, 7, 10), "a.wide", "wide characters"),
		At(file(5, 150, 153), "a.long", "a long line is clipped"),
		At(file(6, 9, 12), "a.control", "quoted \x1b[2J\u202e and\nmore").AsWarning(),
		At(file(99, 1, 2), "a.beyond", "no such line"),
		At(Position{File: "/gone.yaml"}, "file.unreadable", "cannot be read"),
		{Code: "INVALID_DATE_RANGE", Severity: Error, Parameter: "to_date", Message: "to_date is before from_date"},
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	source := func(file string) []byte {
		if file == "dir one/a.yaml" {
			return sample
		}
		return nil
	}
	writers := map[string]func(*bytes.Buffer) error{
		"text.txt": func(b *bytes.Buffer) error { return WriteText(b, sampleList(), TextOptions{Source: source, Width: 60}) },
		"color.txt": func(b *bytes.Buffer) error {
			return WriteText(b, sampleList()[:1], TextOptions{Source: source, Color: true})
		},
		"json.json":  func(b *bytes.Buffer) error { return WriteJSON(b, sampleList()) },
		"sarif.json": func(b *bytes.Buffer) error { return WriteSARIF(b, sampleList(), "1.2.3") },
		"empty.json": func(b *bytes.Buffer) error { return WriteJSON(b, nil) },
	}
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".json") && !json.Valid(b.Bytes()) {
				t.Error("not JSON")
			}
			golden(t, name, b.Bytes())
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"mysql", "columns", "ndjson", "json", "csv", "gzip", "from_date", "to_date"}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"mysq", []string{"mysql"}},
		{"MySQL", []string{"mysql"}},
		{"form_date", []string{"from_date"}},
		{"jsno", []string{"json"}},
		{"scv", []string{"csv"}},
		{"postgres", nil},
		{"", nil},
		{"x", nil},
		{strings.Repeat("x", 10_000), nil},
	} {
		if got := Nearest(c.name, names); !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("Nearest(%.20q) = %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3}, {"", "ab", 2}} {
		if got := distance([]rune(c.a), []rune(c.b)); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestErr(t *testing.T) {
	t.Parallel()
	if err := (List{At(Position{}, "x", "y").AsWarning()}).Err(); err != nil {
		t.Errorf("warnings alone are not a failure: %v", err)
	}
	err := fmt.Errorf("lint: %w", sampleList().Err())
	var failure *Failure
	if !errors.As(err, &failure) || len(failure.List) != len(sampleList()) {
		t.Fatalf("the list is not in %v", err)
	}
	f := fault.From(err)
	if f.Code != CodeInvalid || f.Class != fault.Usage || f.Hint == "" {
		t.Errorf("fault %+v", f)
	}
	if want := `pipeline.invalid: dir one/a.yaml:3:16: no source is called "mysq" (and 5 more)`; f.Error() != want {
		t.Errorf("got  %s\nwant %s", f.Error(), want)
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	var l List
	l.Add(At(Position{File: "b", Line: 2, Column: 1}, "c", "later").AsWarning())
	for i := range 3 * MaxShown {
		l.Add(At(Position{File: "b", Line: 1, Column: 1 + i%(MaxShown+50)}, "c", "m"))
	}
	got := l.Normalise()
	if len(got) != MaxShown+1 || got[MaxShown].Code != CodeTooMany || got[MaxShown].Message != "51 more problems are not shown" {
		t.Fatalf("%d diagnostics, last %+v", len(got), got[len(got)-1])
	}
	for i := range MaxShown {
		if got[i].Column != i+1 {
			t.Fatalf("diagnostic %d is at column %d", i, got[i].Column)
		}
	}
}

// FuzzText: whatever a file holds, the output is one caret under one line,
// bounded and free of control characters.
func FuzzText(f *testing.F) {
	for _, line := range Lines(sample) {
		f.Add([]byte(line), 3, 9, 40)
	}
	f.Add([]byte("e\u0301\u0301\u0301"), 4, 0, 0)
	f.Fuzz(func(t *testing.T, content []byte, column, end, width int) {
		d := At(Position{File: "f", Line: 1, Column: column, EndColumn: end}, "c", "%s", content)
		width %= 200
		var b bytes.Buffer
		if err := WriteText(&b, List{d}, TextOptions{Source: func(string) []byte { return content }, Width: width}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		for _, c := range text {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("%U in %q", c, text)
			}
		}
		lines := strings.Split(text, "\n")
		if len(lines) > 4 || len(lines[1]) > 5000 {
			t.Fatalf("%d lines, the second of %d bytes", len(lines), len(lines[1]))
		}
	})
}
