package pipeline

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// TestNamedOutput: the name of a file says its format and compression, unless a flag does; what contradicts the
// name is refused before anything is started.
func TestNamedOutput(t *testing.T) {
	for _, c := range []struct{ args, stages string }{
		{"-o x.parquet", "parquet"},
		{"-o X.PARQUET", "parquet"},
		{"-o x.csv.gz", "csv gzip"},
		{"-o x.ndjson.zst", "ndjson zstd"},
		{"-o x.jsonl", "ndjson"},
		{"-o x.json", "json"},
		{"-o x.arrow", "arrow"},
		{"-o x.csv.zip", "csv zip"},
		{"-o x.zip", "ndjson zip"},
		{"-o x.zip -f csv", "csv zip"},
		{"-o x.csv -f csv", "csv"},
		{"-o x.csv -p output_format=csv -c none", "csv"},
		{"-o rows", "ndjson"},
		{"-o rows.txt -f csv -c gzip", "csv gzip"},
		{"-o 2024.01.31", "ndjson"},
		{"-o x.ndjson.zip --encrypted --customer c", "ndjson aes-256-gcm-rows zip"},
		{"-o x.sealed.ndjson -f csv --encrypted --customer c", "csv aes-256-gcm"},
		{"-o x.csv.gz.sealed.ndjson --encrypted --customer c", "csv gzip aes-256-gcm"},
		{"--job --object a/x.parquet", "parquet"},
		{"--job --object x -f csv", "csv"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := cmdtest.Call(t, append([]string{"plan", "appointments"}, strings.Fields(c.args)...)...)
			var stages []string
			for _, m := range regexp.MustCompile(`(?m)^ +(?:\d+ +)?(encoder|encryptor|compressor)\S* +(?:cipherstream/)?(\S+)`).FindAllStringSubmatch(got.Stdout, -1) {
				stages = append(stages, m[2])
			}
			if got.Code != terminal.ExitDone || strings.Join(stages, " ") != c.stages {
				t.Errorf("exit code %d, stages %q, want %q\n%s%s", got.Code, stages, c.stages, got.Stdout, got.Stderr)
			}
		})
	}
	for _, c := range []struct{ args, wants string }{
		{"-o x.parquet -f csv", `-o names "x.parquet", which is parquet, but output_format is "csv"\n  help: leave -f out`},
		{"-o x.parquet -p output_format=csv", `which is parquet, but output_format is "csv"`},
		{"-o x.csv.gz -c zstd", `which is gzip, but compression is "zstd"\n  help: leave -c out`},
		{"-o x.csv.gz -c none", `which is gzip, but compression is "none"`},
		{"-o x.csv -c gzip", `which is not compressed, but compression is "gzip"\n  help: give a name that ends in \.gz`},
		{"-o x.csv.sealed.ndjson", `the output is not sealed\n  help: give --encrypted`},
		{"--job --object x.parquet -f csv", `--object names "x.parquet"`},
		{"-o x.sqlite", `\[cli\.database\]: -o names "x\.sqlite", which is the name of an SQLite database, but the output is ndjson\n  help: .*sink: \{use: sqlite, with: \{path: "\$\{run\.output\}", table: NAME\}\}`},
		{"-o X.DB -f csv", `-o names "X\.DB", which is the name of an SQLite database, but the output is csv`},
		{"--job --object a/x.sqlite3", `--object names "a/x\.sqlite3", which is the name of an SQLite database`},
		{"--bucket b", `--bucket is about an object in a bucket, but the output goes elsewhere\n  help: give --job`},
		{"-o x.csv --object y", `--object is about an object`},
		{"--link-ttl 1h", `--link-ttl is about an object`},
		{"--object-encryption AES256", `--object-encryption is about an object`},
	} {
		t.Run(c.args, func(t *testing.T) {
			for _, command := range []string{"plan", "run"} {
				args := append([]string{command, "appointments"}, strings.Fields(c.args)...)
				if command == "run" {
					args = append(args, "--dsn", "mysql://nobody:x@127.0.0.1:1/x") // where nobody listens
				}
				if got := cmdtest.Call(t, args...); got.Code != terminal.ExitUsage || got.Stdout != "" || !regexp.MustCompile(c.wants).MatchString(got.Stderr) {
					t.Errorf("%s: exit code %d: %s%s", command, got.Code, got.Stdout, got.Stderr)
				}
			}
		})
	}
}

// TestNamedDatabase does what the refusal of such a name says: a pipeline that ends in sink: sqlite writes what -o names.
func TestNamedDatabase(t *testing.T) {
	dir := t.TempDir()
	rows, pipeline, database := filepath.Join(dir, "rows.ndjson"), filepath.Join(dir, "visits.yaml"), filepath.Join(dir, "visits.db")
	text := `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: Visits}
spec:
  stages:
    source: {use: ndjson, with: {path: ` + rows + `, columns: [{name: id, type: int64}, {name: fee, type: "decimal(12,4)"}, {name: note, type: string}]}}
    sink: {use: sqlite, with: {path: "${run.output}", table: visits}}
`
	for path, content := range map[string]string{pipeline: text, rows: `{"id":9223372036854775807,"fee":"148.4","note":"Zoë"}` + "\n" + `{"id":-1}` + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := cmdtest.Call(t, "run", pipeline, "-o", database); got.Code != terminal.ExitDone {
		t.Fatalf("%+v", got)
	}
	// Python reads the file with an SQLite of its own.
	const read = `import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT id, fee, note FROM visits ORDER BY rowid").fetchall())`
	out, err := exec.CommandContext(t.Context(), "python3", "-c", read, database).CombinedOutput()
	if want := "[(9223372036854775807, '148.4000', 'Zoë'), (-1, None, None)]\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// TestNamedFile looks at what is in files of such names.
func TestNamedFile(t *testing.T) {
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3})
	dir := t.TempDir()
	for name, looks := range map[string]func(content []byte) bool{
		"x.parquet": func(content []byte) bool { return bytes.HasPrefix(content, []byte("PAR1")) },
		"x.csv.gz": func(content []byte) bool {
			z, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				return false
			}
			text, err := io.ReadAll(z)
			return err == nil && bytes.HasPrefix(text, []byte("appointment_id,"))
		},
	} {
		if got := cmdtest.Call(t, "run", "appointments", "--dsn", dsn, "-o", filepath.Join(dir, name)); got.Code != terminal.ExitDone {
			t.Errorf("%s: %+v", name, got)
		}
		if content, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !looks(content) {
			t.Errorf("%s is something else: %v, %.20q", name, err, content)
		}
	}
}
