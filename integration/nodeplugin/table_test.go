package nodeplugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// granted is a workspace in whose plugin folder the plugin may write the output folder.
func granted(t *testing.T) *workspace {
	t.Helper()
	w := newWorkspace(t)
	w.plugins = t.TempDir()
	w.must("plugin", "install", plugin(t), "--allow-files", w.out+":rw")
	return w
}

// toTable writes a pipeline that ends in the plugin's sink.
func (w *workspace) toTable(source, filters, path string) string {
	w.Helper()
	file := filepath.Join(w.TempDir(), "pipeline.yaml")
	w.write(file, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: nodeplugin, title: A plugin in JavaScript}
spec:
  stages:
    source: `+source+`
    filter: `+filters+`
    sink: {use: redact/keep, with: {path: `+path+`}}
`))
	return file
}

// kept reads what the plugin's sink has left, as texts of its columns' types and its rows.
func kept(t *testing.T, path string) (types, rows []string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := wire.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range reader.Schema().Fields() {
		types = append(types, f.Name+" "+f.Type.String())
	}
	for {
		rec, err := reader.Read()
		if err == io.EOF {
			return types, rows
		}
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(rec.NumRows()) {
			var cells []string
			for _, column := range rec.Columns() {
				cells = append(cells, column.ValueStr(row))
			}
			rows = append(rows, strings.Join(cells, "|"))
		}
		rec.Release()
	}
}

// TestTableSink: rows reach a sink in JavaScript with their types, without an encoder, whether its group has filters or not; the
// receipt counts those that were written; and a run that fails leaves nothing and keeps what was there.
func TestTableSink(t *testing.T) {
	w := granted(t)
	var lines strings.Builder
	const count = 30_000
	for i := range count {
		fmt.Fprintf(&lines, `{"id":%d,"fee":"%d.50","born":"2024-02-29","note":"call 0412 345 678"}`+"\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "rows.ndjson")
	w.write(file, []byte(lines.String()))
	columns := `columns: [{name: id, type: int64, nullable: false}, {name: fee, type: "decimal(12,2)"}, {name: born, type: date}, {name: note, type: string}]`
	source := `{use: ndjson, with: {path: ` + file + `, ` + columns + `}}`
	path := filepath.Join(w.out, "kept.arrow")
	for _, isolation := range []string{"group", "stage"} {
		summary := filepath.Join(t.TempDir(), "summary")
		w.must("run", w.toTable(source, `[{use: where, with: {expression: "id % 2 == 0"}}, {use: redact/text}]`, path), "--isolation", isolation, "--summary", summary)
		types, rows := kept(t, path)
		if got, want := fmt.Sprint(types), "[id int64 fee decimal(12, 2) born date32 note utf8]"; got != want || len(rows) != count/2 ||
			rows[1] != "2|2.5|2024-02-29|call [phone]" {
			t.Errorf("isolation %s: %s, %d rows, %.100q", isolation, got, len(rows), rows)
		}
		text, err := os.ReadFile(summary)
		if err != nil {
			t.Fatal(err)
		}
		var receipt struct {
			Rows     int64
			RowsRead int64 `json:"rows_read"`
			Bytes    int64
			SHA256   string
			Location string
		}
		info, err := os.Stat(path)
		if err := json.Unmarshal(text, &receipt); err != nil {
			t.Fatal(err)
		}
		if err != nil || receipt.Rows != count/2 || receipt.RowsRead != count || receipt.Bytes != info.Size() || len(receipt.SHA256) != 64 || receipt.Location != path {
			t.Errorf("isolation %s: the receipt is %s, %v", isolation, text, err)
		}
	}
	before, _ := kept(t, path)
	w.write(file, []byte(lines.String()+`{"id":"none"}`+"\n"))
	if r := w.run("run", w.toTable(source, `[{use: redact/text}]`, path)); r.code == 0 || !strings.Contains(r.stderr, "file.malformed") {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	entries, err := os.ReadDir(w.out)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the folder are %v, %v", entries, err)
	}
	if after, rows := kept(t, path); fmt.Sprint(after) != fmt.Sprint(before) || len(rows) != count/2 {
		t.Errorf("what was there has now %d rows", len(rows))
	}
	if r := w.run("run", w.toTable(source, `[{use: redact/text}]`, "rows.arrow")); r.code == 0 || !strings.Contains(r.stderr, "redact.keep_path") {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
}

// TestEnd: what a filter in JavaScript gives at its end goes through the filters behind it, to an encoder of another process and
// to a sink of its own, exactly once, and not at all when the input does not end well.
func TestEnd(t *testing.T) {
	w := granted(t)
	file := filepath.Join(t.TempDir(), "rows.ndjson")
	lines := strings.Repeat(`{"id":1,"a":"0412 345 678 and jo@example.org","b":null}`+"\n", 20_000)
	w.write(file, []byte(lines))
	source := `{use: ndjson, with: {path: ` + file + `, columns: [{name: id, type: int64}, {name: a, type: string}, {name: b, type: string}]}}`
	got := w.must("run", w.pipeline(source, `[{use: redact/found}, {use: redact/text}, {use: where, with: {expression: "found > 0 || column == 'b'"}}]`), "--progress", "none")
	want := `{"column":"a","kind":"email","found":20000}
{"column":"a","kind":"phone","found":20000}
{"column":"b","kind":"email","found":0}
{"column":"b","kind":"medicare","found":0}
{"column":"b","kind":"phone","found":0}
`
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	path := filepath.Join(w.out, "kept.arrow")
	w.must("run", w.toTable(source, `[{use: redact/found}, {use: redact/found}]`, path))
	if _, rows := kept(t, path); fmt.Sprint(rows) != "[column|email|0 column|medicare|0 column|phone|0 kind|email|0 kind|medicare|0 kind|phone|0]" {
		t.Errorf("%q", rows)
	}
	w.write(file, []byte(lines+"no row\n"))
	r := w.run("run", w.pipeline(source, `{use: redact/found}`))
	if r.code == 0 || r.stdout != "" {
		t.Errorf("it ended with %d and gave %q", r.code, r.stdout)
	}
}
