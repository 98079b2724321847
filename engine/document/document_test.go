package document

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
)

var update = flag.Bool("update", false, "write the golden files anew")

func render(t *testing.T, l *Loader, diags diag.List) string {
	t.Helper()
	var b bytes.Buffer
	if err := diag.WriteText(&b, diags, diag.TextOptions{Source: l.Source}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBad holds every file in testdata/bad against the diagnostics beside it.
func TestBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &Loader{Catalogue: os.DirFS("testdata/bad")}
			doc, diags := l.Name(name)
			if !diags.HasErrors() || doc != nil && !doc.Invalid {
				t.Error("the file was accepted")
			}
			got := render(t, l, diags)
			want := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(text) {
				t.Errorf("--- got\n%s--- want\n%s", got, text)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "apiVersion: cipherstream/v1\nmetadata: {name: a}\n"
	large := filepath.Join(dir, "large.yaml")
	if f, err := os.Create(large); err != nil {
		t.Fatal(err)
	} else if err := f.Truncate(50 << 20); err != nil {
		t.Fatal(err)
	}
	write("sub/parent.yaml", head+"kind: Template\nspec: {limits: {timeout: 3s}}\n")
	child := write("child.yaml", "\ufeff"+head+"kind: Pipeline\r\nspec: {extends: ./sub/parent.yaml}\n")
	missing := write("missing.yaml", head+"kind: Pipeline\nspec: {extends: ../nowhere.yaml}\n")
	self := write("self.yaml", head+"kind: Pipeline\nspec: {extends: ./sub/../self.yaml}\n")
	bare := write("bare.yaml", head+"kind: Pipeline\nspec: {extends: sub/parent.yaml}\n")

	l := &Loader{}
	doc, diags := l.File(child)
	if len(diags) != 0 || doc.Limits.Timeout != 3*time.Second || !reflect.DeepEqual(doc.Extends, []string{filepath.Join(dir, "sub/parent.yaml")}) {
		t.Errorf("child: %v, %+v", diags, doc)
	}
	for _, c := range []struct{ file, code, hint string }{
		{large, CodeTooLarge, ""},
		{dir, CodeUnreadable, ""},
		{filepath.Join(dir, "nothing"), CodeNotFound, ""},
		{missing, CodeNotFound, ""},
		{self, CodeExtendsCycle, ""},
		{bare, CodeNotFound, "a path to a file starts with ./ or ../"},
	} {
		doc, diags := l.File(c.file)
		if doc != nil || len(diags) != 1 || diags[0].Code != c.code || diags[0].Message == "" || c.hint != "" && diags[0].Hint != c.hint {
			t.Errorf("%s: %+v", c.file, diags)
		}
	}
	if doc, diags := l.Bytes("memory", []byte(head+"kind: Pipeline\nspec: {extends: ./sub/parent.yaml}\n")); doc != nil || diags[0].Code != CodeExtendsPath {
		t.Errorf("a document in memory reached the disk: %v", diags)
	}
}

func stagesText(doc *Document) string {
	var parts []string
	for _, s := range doc.Stages {
		text := string(s.Kind) + ":" + s.Use.Text
		if s.With != nil {
			text += nodeText(s.With)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func nodeText(n *Node) string {
	switch n.Kind {
	case Map:
		var parts []string
		for _, e := range n.Entries {
			parts = append(parts, e.Key.Text+"="+nodeText(e.Value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case List:
		var parts []string
		for _, i := range n.Items {
			parts = append(parts, nodeText(i))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return n.Text
}

func TestExtends(t *testing.T) {
	t.Parallel()
	const parent = `{source: {use: mysql, with: {url: u, tls: {mode: off, ca: x}, args: [1]}}, encoder: [{use: ndjson}, {use: csv}], compressor: {use: gzip}, sink: {use: stream}}`
	for _, c := range []struct{ name, child, want string }{
		{"nothing", `{}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"settings merge deep, lists are replaced", `{source: {with: {call: c, tls: {mode: on}, args: []}}}`,
			"source:mysql{url=u,tls={mode=on,ca=x},args=[],call=c} encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"another stage drops the settings", `{source: {use: files, with: {a: 1}}}`,
			"source:files{a=1} encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"a list replaces", `{source: [{use: mysql}]}`,
			"source:mysql encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"a list is replaced", `{encoder: {use: json}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} encoder:json compressor:gzip sink:stream"},
		{"new kinds in the usual order", `{encryptor: {use: aes}, filter: {use: columns}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} encoder:ndjson encoder:csv compressor:gzip encryptor:aes filter:columns sink:stream"},
		{"a new kind after the source", `{source: {}, filter: {use: columns}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} filter:columns encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"a new kind alone", `{filter: {use: columns}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} filter:columns encoder:ndjson encoder:csv compressor:gzip sink:stream"},
		{"between two that both give", `{encoder: {use: ndjson}, encryptor: {use: aes}, compressor: {}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} encoder:ndjson encryptor:aes compressor:gzip sink:stream"},
		{"the child's order wins", `{encoder: {use: ndjson}, filter: {use: columns}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} encoder:ndjson filter:columns compressor:gzip sink:stream"},
		{"the child turns two around", `{compressor: {}, encoder: {use: json}}`,
			"source:mysql{url=u,tls={mode=off,ca=x},args=[1]} compressor:gzip encoder:json sink:stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := func(kind, spec string) *fstest.MapFile {
				return &fstest.MapFile{Data: []byte("apiVersion: cipherstream/v1\nkind: " + kind + "\nmetadata: {name: a}\nspec: " + spec + "\n")}
			}
			l := &Loader{Catalogue: fstest.MapFS{
				"templates/t.yaml": file("Template", "{stages: "+parent+"}"),
				"c.yaml":           file("Pipeline", "{extends: t, stages: "+c.child+"}"),
			}}
			doc, diags := l.Name("c")
			if len(diags) > 0 {
				t.Fatal(render(t, l, diags))
			}
			if got := stagesText(doc); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMergeOfTheRest(t *testing.T) {
	t.Parallel()
	l := &Loader{Catalogue: fstest.MapFS{
		"templates/t.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Template
metadata: {name: t, title: T}
spec:
  parameters:
    - {name: a, type: date, description: first}
    - {name: b, type: integer, default: 5, allowed: [5, 6]}
  rules: [{check: "true", message: m, code: X}]
  columns: [{name: old, type: int8}]
  drift: warn
  limits: {memory: 64MiB, batch_rows: 10}
`)},
		"c.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: c}
spec:
  extends: t
  parameters:
    - {name: c, type: boolean}
    - {name: b, required: true}
    - {name: a, default: 2024-02-29}
  rules: [{check: "false", message: n}]
  columns: [{name: new, type: "decimal(10,2)", nullable: false}]
  limits: {batch_rows: 20}
`)},
	}}
	doc, diags := l.Name("c")
	if len(diags) > 0 {
		t.Fatal(render(t, l, diags))
	}
	var got []string
	for _, p := range doc.Parameters {
		got = append(got, fmt.Sprintf("%s %s %t %v %v %s %s", p.Name, p.Type, p.Required, p.Default, p.Allowed, p.Description, p.At.File))
	}
	want := []string{
		"c boolean false <nil> []  catalogue:c.yaml",
		"a date false 2024-02-29 [] first catalogue:c.yaml",
		"b integer true <nil> [5 6]  catalogue:c.yaml",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parameters\ngot  %q\nwant %q", got, want)
	}
	if len(doc.Rules) != 2 || doc.Rules[0].Code != "X" || doc.Rules[1].Code != "RULE_FAILED" {
		t.Errorf("rules %+v", doc.Rules)
	}
	if len(doc.Columns) != 1 || doc.Columns[0].Type.String() != "decimal(10,2)" || doc.Columns[0].Nullable {
		t.Errorf("columns %+v", doc.Columns)
	}
	if doc.Drift != DriftWarn {
		t.Errorf("drift %q", doc.Drift)
	}
	if doc.Limits != (Limits{Memory: 64 << 20, BatchRows: 20}) || doc.Metadata.Title != "" {
		t.Errorf("limits %+v, metadata %+v", doc.Limits, doc.Metadata)
	}
}

func TestScalars(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"": nil, "~": nil, "null": nil, "true": true, "False": false,
		"0": int64(0), "-17": int64(-17), "+5": int64(5),
		"9223372036854775807": int64(9223372036854775807), "18446744073709551615": uint64(18446744073709551615),
		"18446744073709551616": json.Number("18446744073709551616"), "-9223372036854775809": json.Number("-9223372036854775809"),
		"1.10": json.Number("1.10"), ".5": json.Number("0.5"), "-5.": json.Number("-5.0"), "1e3": json.Number("1e3"),
		"0.123456789012345678901234567890": json.Number("0.123456789012345678901234567890"),
		"yes":                              "yes", "off": "off", "007": "007", "0x10": "0x10", "1_000": "1_000", ".inf": ".inf", ".": ".", "-": "-", "+": "+",
		"2024-01-31": "2024-01-31", "1:30": "1:30", "1e": "1e",
	} {
		if _, got := resolve(text); got != want {
			t.Errorf("%q is %#v, want %#v", text, got, want)
		}
	}
}

func TestParseValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ  Type
		in   any
		want any // nil: refused
	}{
		{TypeDate, "2024-02-29", "2024-02-29"}, {TypeDate, "2023-02-29", nil}, {TypeDate, "2024-02-30", nil}, {TypeDate, "2024-1-1", nil},
		{TypeDate, "0000-01-01", nil}, {TypeDate, "", nil}, {TypeDate, "2024-01-01T00:00:00Z", nil}, {TypeDate, " 2024-01-01", nil},
		{TypeDate, json.Number("20240101"), nil}, {TypeDate, true, nil},
		{TypeInteger, "9223372036854775807", int64(9223372036854775807)}, {TypeInteger, "9223372036854775808", nil},
		{TypeInteger, json.Number("-3"), int64(-3)}, {TypeInteger, json.Number("3.0"), nil}, {TypeInteger, 7, int64(7)},
		{TypeInteger, 1e15, int64(1e15)}, {TypeInteger, 1.5, nil}, {TypeInteger, 1e300, nil}, {TypeInteger, "", nil}, {TypeInteger, "+1", nil},
		{TypeInteger, true, nil}, {TypeInteger, nil, nil}, {TypeInteger, []any{}, nil},
		{TypeBoolean, "true", true}, {TypeBoolean, false, false}, {TypeBoolean, "yes", nil}, {TypeBoolean, json.Number("1"), nil},
		{TypeDecimal, "12.340", json.Number("12.340")}, {TypeDecimal, "-007.5", json.Number("-7.5")}, {TypeDecimal, json.Number("0"), json.Number("0")},
		{TypeDecimal, "1e5", nil}, {TypeDecimal, "1.", nil}, {TypeDecimal, 0.1, nil}, {TypeDecimal, strings.Repeat("9", 76), json.Number(strings.Repeat("9", 76))},
		{TypeDecimal, strings.Repeat("9", 78), nil},
		{TypeString, "", ""}, {TypeString, "a\nb", "a\nb"}, {TypeString, "\xff", nil}, {TypeString, json.Number("5"), nil}, {TypeString, true, nil},
		{TypeString, strings.Repeat("x", MaxParameterBytes+1), nil},
	} {
		got, err := c.typ.ParseValue(c.in)
		if (err == nil) != (c.want != nil) || err == nil && got != c.want {
			t.Errorf("%s from %.50v = %#v, %v; want %#v", c.typ, c.in, got, err, c.want)
		}
	}
}

// FuzzDocument: whatever a file holds, reading it ends, and every diagnostic
// points into the file.
func FuzzDocument(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "../../pipelines/*.yaml", "../../pipelines/templates/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
	template := fstest.MapFS{"templates/data.yaml": {Data: []byte(
		"apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: data}\nspec: {stages: {source: {use: a, with: {b: {c: 1}}}, sink: {use: b}}}\n")}}
	f.Fuzz(func(t *testing.T, content []byte) {
		l := &Loader{Catalogue: template}
		doc, diags := l.Bytes("f.yaml", content)
		if doc == nil && !diags.HasErrors() {
			t.Fatal("neither a document nor an error")
		}
		lines := diag.Lines(bytes.TrimPrefix(content, []byte("\ufeff")))
		for _, d := range diags {
			if d.File == "f.yaml" && (d.Line > len(lines) || d.Line > 0 && d.Column > len([]rune(lines[d.Line-1]))+1) {
				t.Fatalf("%+v points outside of %d lines", d, len(lines))
			}
		}
		render(t, l, diags)
	})
}

// A kind that is needed in two places has a label in one of them, and merges by
// its whole key.
func TestLabelledKinds(t *testing.T) {
	t.Parallel()
	l := &Loader{Catalogue: fstest.MapFS{
		"templates/t.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Template
metadata: {name: t}
spec:
  stages:
    encoder: {use: ndjson}
    encryptor.rows: {use: rows}
    compressor: {use: gzip}
    encryptor.chunks: {use: chunks}
    sink: {use: stream}
`)},
		"c.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: c}
spec:
  extends: t
  stages:
    source: {use: mysql}
    encryptor.chunks: {use: other}
`)},
		"bad.yaml": {Data: []byte(`
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: bad}
spec:
  stages: {source: {use: mysql}, encrypter.rows: {use: x}, "sink.": {use: y}}
`)},
	}}
	doc, diags := l.Name("c")
	if len(diags) > 0 {
		t.Fatal(render(t, l, diags))
	}
	var got []string
	for _, s := range doc.Stages {
		got = append(got, string(s.Kind)+" "+s.Use.Text)
	}
	want := []string{"source mysql", "encoder ndjson", "encryptor rows", "compressor gzip", "encryptor other", "sink stream"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	_, diags = l.Name("bad")
	unknown := 0
	for _, d := range diags {
		if d.Code == CodeUnknownKey {
			unknown++
		}
	}
	if unknown != 2 {
		t.Errorf("%d unknown keys: %s", unknown, render(t, l, diags))
	}
}

// TestSharedTemplates holds that documents that extend the same file are what each would be by itself, also beside one
// another, and that the file is read anew once it has changed or while it has problems.
func TestSharedTemplates(t *testing.T) {
	t.Parallel()
	template := func(use string) []byte {
		return fmt.Appendf(nil, "apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: base}\nspec:\n  stages:\n    source: {%s}\n", use)
	}
	child := func(name string) []byte {
		return fmt.Appendf(nil, "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: %[1]s, title: T, description: D.}\nspec:\n"+
			"  extends: base\n  stages:\n    source: {with: {call: %[1]s}}\n", name)
	}
	files := fstest.MapFS{"templates/base.yaml": {Data: template("use: mysql")}, "one.yaml": {Data: child("one")}, "two.yaml": {Data: child("two")}}
	shared := &Loader{Catalogue: files}
	same := func(name string) (use string, problems int) {
		got, diags := shared.Name(name)
		want, alone := (&Loader{Catalogue: files}).Name(name)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(diags, alone) {
			t.Errorf("%s after others is %+v, %v; by itself %+v, %v", name, got, diags, want, alone)
		}
		if got != nil && len(got.Stages) == 1 && got.Stages[0].Use != nil {
			use = got.Stages[0].Use.Text
		}
		return use, len(diags)
	}
	var wait sync.WaitGroup
	for range 4 {
		for _, name := range []string{"one", "two"} {
			wait.Go(func() {
				if use, problems := same(name); use != "mysql" || problems > 0 {
					t.Errorf("%s uses %q, and has %d problems", name, use, problems)
				}
			})
		}
	}
	wait.Wait()
	first := shared.extendable["catalogue:templates/base.yaml"].draft
	if same("one"); first == nil || shared.extendable["catalogue:templates/base.yaml"].draft != first {
		t.Error("the template was parsed again")
	}
	files["templates/base.yaml"] = &fstest.MapFile{Data: template("use: other")}
	if use, _ := same("one"); use != "other" {
		t.Errorf("after a change of the template, the stage uses %q", use)
	}
	files["templates/base.yaml"] = &fstest.MapFile{Data: template("use: other, unknown: 1")}
	for _, name := range []string{"one", "two", "one"} {
		if _, problems := same(name); problems == 0 {
			t.Errorf("%s does not report the problem of what it extends", name)
		}
	}
}
