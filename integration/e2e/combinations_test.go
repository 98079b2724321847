package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/python"
)

// openScript opens what was sealed for a customer, with Python's cryptography: one
// envelope a line, its index in the AAD.
const openScript = `
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
key, customer = base64.b64decode(sys.argv[1], validate=True), sys.argv[2]
text = sys.stdin.buffer.read()
assert text.endswith(b"\n"), "the last line has no end"
for index, line in enumerate(text[:-1].split(b"\n")):
    envelope = json.loads(line)
    assert list(envelope) == ["encrypted_data"]
    key_id, iv, sealed = envelope["encrypted_data"].split(":")
    assert key_id == hashlib.sha256(key).hexdigest()[:16]
    iv, sealed = base64.b64decode(iv, validate=True), base64.b64decode(sealed, validate=True)
    assert len(iv) == 12
    sys.stdout.buffer.write(AESGCM(key).decrypt(iv, sealed, f"stream:{customer}:{index}".encode()))
`

const gunzipScript = `
import gzip, sys
sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))
`

// unzipScript wants one entry, of the name that is given.
const unzipScript = `
import io, sys, zipfile
archive = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
[entry] = archive.infolist()
assert archive.testzip() is None
assert entry.filename == sys.argv[1], entry.filename
assert entry.date_time[0] > 2025, entry.date_time
sys.stdout.buffer.write(archive.read(entry))
`

// tool runs a program on a file's content and returns what it printed.
func tool(t testing.TB, input []byte, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed to read the output independently (make deps installs it): %v", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %.100q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return stdout.Bytes()
}

func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// decompress opens a compressed output with the usual programs, and with Python.
func decompress(t testing.TB, compression, entry string, output []byte) []byte {
	t.Helper()
	var content, again []byte
	switch compression {
	case "none":
		return output
	case "gzip":
		content, again = tool(t, output, "gzip", "-dc"), python.Script(t, gunzipScript, output)
	case "zstd":
		content = tool(t, output, "zstd", "-dc")
		return content
	case "zip":
		path := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(path, output, 0o600); err != nil {
			t.Fatal(err)
		}
		content, again = tool(t, nil, "unzip", "-p", path), python.Script(t, unzipScript, output, entry)
	}
	if !bytes.Equal(content, again) {
		t.Errorf("%s: the program and Python disagree", compression)
	}
	return content
}

// openSealed opens a sealed output of the run of that id. NDJSON is sealed and then compressed, other formats the other way
// round, but for zip: who asks for that unzips first, then opens line by line, and finds gzip in other formats' lines.
func openSealed(t testing.TB, format, compression, id string, content []byte, key, customer string) []byte {
	t.Helper()
	inner := compression
	if compression == "zip" || format == "ndjson" {
		content = decompress(t, compression, id+".ndjson", content)
		inner = "none"
		if format != "ndjson" {
			inner = "gzip"
		}
	}
	content = python.Script(t, openScript, content, key, customer)
	return decompress(t, inner, "", content)
}

var combinations = struct{ formats, compressions []string }{
	[]string{"ndjson", "json", "csv", "parquet", "arrow"},
	[]string{"none", "gzip", "zip", "zstd"},
}

// withoutTime is a JSON document without the one value that every run has anew.
func withoutTime(t testing.TB, document []byte) []byte {
	t.Helper()
	return python.Script(t, `
import json, sys
document = json.load(sys.stdin)
assert isinstance(document["metadata"].pop("execution_time"), (int, float))
json.dump(document, sys.stdout)
`, document)
}

// TestCombinations makes every format with every compression, plain and sealed, as a
// file and as an object in a bucket, and opens each with tools that are not ours.
func TestCombinations(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.must("sandbox", "load", "--patients", "300", "--appointments", "600")
	key := newKey()
	w.env = append(w.env, "CIPHERSTREAM_KEYS="+key)
	const customer = "clinic-7"

	plain := map[string][]byte{}
	for _, format := range combinations.formats {
		path := filepath.Join(w.out, "plain."+format)
		w.must("run", "patients", "-p", "from_date=1990-01-01", "-p", "to_date=2100-01-01", "-f", format, "-o", path)
		plain[format] = readFile(t, path)
	}
	rows := bytes.Count(plain["ndjson"], []byte("\n"))
	if rows < 290 {
		t.Fatalf("%d patients", rows)
	}
	for format, document := range map[string][]byte{"parquet": plain["parquet"], "arrow": plain["arrow"]} {
		got, want := fromArrow(t, format, document), fromJSONLines(t, plain["ndjson"])
		if len(got) != len(want) {
			t.Fatalf("%s: Arrow reads %d rows, want %d", format, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: Arrow reads\n%s\nand NDJSON has\n%s", format, got[i], want[i])
			}
		}
	}
	var document struct {
		Data     []json.RawMessage
		Metadata struct {
			RecordCount int `json:"record_count"`
		}
	}
	if err := json.Unmarshal(plain["json"], &document); err != nil || document.Metadata.RecordCount != rows {
		t.Errorf("json: %v, %d rows", err, document.Metadata.RecordCount)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(plain["ndjson"], []byte("\n")), []byte("\n")) {
		if !bytes.Equal(line, document.Data[i]) {
			t.Fatalf("json: row %d is %s, want %s", i, document.Data[i], line)
		}
	}

	for _, format := range combinations.formats {
		for _, compression := range combinations.compressions {
			for _, sealed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/sealed=%t", format, compression, sealed), func(t *testing.T) {
					t.Parallel()
					w := w.with(t)
					args := []string{"-p", "from_date=1990-01-01", "-p", "to_date=2100-01-01", "-f", format, "-c", compression}
					if sealed {
						args = append(args, "--encrypted", "--customer", customer)
					}
					stream := filepath.Join(t.TempDir(), "stream")
					w.must(append([]string{"run", "patients", "-o", stream, "--summary", stream + ".receipt.json"}, args...)...)
					bucket := t.TempDir()
					receipt := w.must(append([]string{"run", "patients", "--job", "--bucket", bucket}, args...)...)
					var told struct {
						RunID    string `json:"run_id"`
						Rows     int
						Location string
					}
					if err := json.Unmarshal(receipt, &told); err != nil || told.Rows != rows {
						t.Fatalf("receipt %s: %v", receipt, err)
					}
					object := strings.TrimPrefix(told.Location, "file://")
					job := object + ".receipt.json"
					if err := os.WriteFile(job, receipt, 0o600); err != nil {
						t.Fatal(err)
					}
					var first struct {
						RunID string `json:"run_id"`
					}
					if err := json.Unmarshal(readFile(t, stream+".receipt.json"), &first); err != nil {
						t.Fatal(err)
					}
					for path, id := range map[string]string{stream: first.RunID, object: told.RunID} {
						content := readFile(t, path)
						entry := id + "." + format
						if sealed {
							content = openSealed(t, format, compression, id, content, key, customer)
						} else {
							content = decompress(t, compression, entry, content)
						}
						same(t, format, content, plain[format])
						if !sealed {
							continue
						}
						opened := w.run("decrypt", path, "--customer", customer, "--decompress")
						if opened.code != 0 {
							t.Fatalf("decrypt ended with %d:\n%s", opened.code, opened.stderr)
						}
						same(t, format, opened.stdout, plain[format])
					}
				})
			}
		}
	}
}

// same compares an output with the plain one of that format.
func same(t testing.TB, format string, got, want []byte) {
	t.Helper()
	if format == "json" {
		got, want = withoutTime(t, got), withoutTime(t, want)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes that begin with %.100q, want %d bytes that begin with %.100q", len(got), got, len(want), want)
	}
}

// fromArrow reads a file with Arrow's own reader, a line for each row.
func fromArrow(t testing.TB, format string, document []byte) (rows []string) {
	t.Helper()
	var batches []arrow.Record
	switch format {
	case "parquet":
		r, err := file.NewParquetReader(bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		table, err := reader.ReadTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer table.Release()
		each := array.NewTableReader(table, 100)
		defer each.Release()
		for each.Next() {
			batch := each.Record()
			batch.Retain()
			batches = append(batches, batch)
		}
	case "arrow":
		r, err := ipc.NewFileReader(bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for i := range r.NumRecords() {
			batch, err := r.Record(i)
			if err != nil {
				t.Fatal(err)
			}
			batch.Retain()
			batches = append(batches, batch)
		}
	}
	for _, batch := range batches {
		for row := range int(batch.NumRows()) {
			var cells []string
			for i, column := range batch.Columns() {
				cell := "null"
				if column.IsValid(row) {
					cell = column.ValueStr(row)
					if column.DataType().ID() == arrow.TIMESTAMP {
						// Arrow writes every time as one of UTC.
						cell = strings.TrimSuffix(cell, "Z")
					}
				}
				cells = append(cells, batch.ColumnName(i)+"="+cell)
			}
			rows = append(rows, strings.ReplaceAll(strings.Join(cells, "|"), "\n", `\n`))
		}
		batch.Release()
	}
	return rows
}

// fromJSONLines writes NDJSON as fromArrow writes its rows.
func fromJSONLines(t testing.TB, text []byte) (rows []string) {
	t.Helper()
	out := python.Script(t, `
import json, sys
for line in sys.stdin.buffer.read().decode("utf-8").split("\n")[:-1]:
    row = json.loads(line)
    print("|".join(k + "=" + ("null" if v is None else str(v)) for k, v in row.items()).replace("\n", "\\n"))
`, text)
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.TrimSuffix(line, "\n"))
	}
	return rows
}
