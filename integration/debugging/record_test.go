package debugging

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
)

// boundaries are the files that a run of the pipeline leaves.
var boundaries = []string{
	"01-source-to-where.arrow", "02-where-to-sign.arrow", "03-sign-to-shout.arrow", "04-shout-to-encoder.arrow",
	"05-encoder-to-compressor.arrow", "06-compressor-to-sink.arrow",
}

// cells reads a file with Arrow's own reader: its columns, and its rows as text.
func (w *workspace) cells(path string) (names []string, rows [][]string) {
	w.Helper()
	file, err := os.Open(path)
	if err != nil {
		w.Fatal(err)
	}
	defer file.Close()
	reader, err := ipc.NewFileReader(file)
	if err != nil {
		w.Fatalf("%s: %v", path, err)
	}
	defer reader.Close()
	for _, f := range reader.Schema().Fields() {
		names = append(names, f.Name)
	}
	for i := range reader.NumRecords() {
		rec, err := reader.Record(i)
		if err != nil {
			w.Fatalf("%s: %v", path, err)
		}
		for row := range int(rec.NumRows()) {
			var values []string
			for _, c := range rec.Columns() {
				if binary, ok := c.(*array.Binary); ok {
					values = append(values, binary.ValueString(row))
					continue
				}
				values = append(values, c.ValueStr(row))
			}
			rows = append(rows, values)
		}
	}
	return names, rows
}

// readWithPython reads every file with pyarrow, where that is there.
func (w *workspace) readWithPython(dir string) {
	w.Helper()
	if err := exec.Command("python3", "-c", "import pyarrow").Run(); err != nil {
		w.Log("pyarrow is not here: the files are read with Arrow's Go library only")
		return
	}
	for _, name := range boundaries {
		_, rows := w.cells(filepath.Join(dir, name))
		out, err := exec.Command("python3", "-c", "import sys, pyarrow.ipc as i; t = i.open_file(sys.argv[1]).read_all(); t.validate(full=True); print(t.num_rows)",
			filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(len(rows)) {
			w.Errorf("%s: %v: %s; expected %d rows", name, err, out, len(rows))
		}
	}
}

func TestRecordAndReplay(t *testing.T) {
	w := newWorkspace(t)
	plain, recorded, dir := filepath.Join(w.out, "plain.gz"), filepath.Join(w.out, "recorded.gz"), filepath.Join(w.out, "rec")
	w.must(w.pipelineArgs("-o", plain)...)
	if r := w.must(w.pipelineArgs("-o", recorded, "--record", dir)...); !strings.Contains(r.stderr, "warn: the recording in "+dir+" holds the data of this run, readable") {
		t.Errorf("it said:\n%s", r.stderr)
	}
	if w.digest(plain) != w.digest(recorded) {
		t.Error("the recorded run made something else")
	}

	if got, want := w.names(dir), append(slices.Clone(boundaries), "record.json"); !slices.Equal(got, want) {
		t.Fatalf("the recording has %v, want %v", got, want)
	}
	_, source := w.cells(filepath.Join(dir, boundaries[0]))
	_, kept := w.cells(filepath.Join(dir, boundaries[1]))
	names, signed := w.cells(filepath.Join(dir, boundaries[2]))
	if len(source) == 0 || len(kept) == 0 || len(kept) >= len(source) || len(signed) != len(kept) {
		t.Fatalf("%d, %d and %d rows", len(source), len(kept), len(signed))
	}
	if !slices.Equal(names, []string{"patient_id", "first_name", "new_patient_date", "signature"}) {
		t.Errorf("columns: %v", names)
	}
	for i, row := range signed {
		digest := hmac.New(sha256.New, []byte(key))
		digest.Write([]byte(row[0]))
		if row[3] != hex.EncodeToString(digest.Sum(nil)) || !slices.Equal(row[:3], kept[i]) {
			t.Fatalf("row %d: %v", i, row)
		}
	}
	var text, compressed bytes.Buffer
	_, records := w.cells(filepath.Join(dir, boundaries[4]))
	for _, r := range records {
		text.WriteString(r[0])
	}
	_, pieces := w.cells(filepath.Join(dir, boundaries[5]))
	for _, p := range pieces {
		compressed.WriteString(p[0])
	}
	if !bytes.Equal(compressed.Bytes(), w.read(plain)) {
		t.Error("what the sink was given is not what it wrote")
	}
	unzip, err := gzip.NewReader(&compressed)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(unzip); err != nil || !bytes.Equal(content, text.Bytes()) {
		t.Errorf("the compressor made %d bytes of %d: %v", len(content), text.Len(), err)
	}
	w.readWithPython(dir)

	for _, name := range w.names(dir) {
		if bytes.Contains(w.read(filepath.Join(dir, name)), []byte(key)) {
			t.Errorf("the key is in %s", name)
		}
	}
	if description := w.read(filepath.Join(dir, "record.json")); bytes.Contains(description, []byte("mysql://")) || !bytes.Contains(description, []byte(`"key": "[secret]"`)) {
		t.Error("record.json shows a secret, or not that there is one")
	}

	w.replays(dir, len(signed))
}

// replays gives the stages what was recorded.
func (w *workspace) replays(dir string, rows int) {
	w.Helper()
	withKey := []string{"--secret", "key=file:" + w.keyFile}
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{append([]string{"--stage", "sign"}, withKey...), 0, []string{"sign: the same as recorded: "}},
		{append([]string{"--stage", "sign", programs.acme}, withKey...), 0, []string{"sign: the same as recorded: "}},
		{[]string{"--stage", "shout"}, 0, []string{"shout: the same as recorded: "}},
		{[]string{"--stage", "where"}, 0, []string{"where: the same as recorded: "}},
		{[]string{"--stage", "pipes"}, 0, []string{"encoder: the same as recorded: "}},
		{[]string{"--stage", "gzip"}, 0, []string{"compressor: the same as recorded: "}},
		{[]string{"--stage", "sign"}, 2, []string{`error[replay.secret]: setting "/key" of stage "sign" is a secret`}},
		{append([]string{"--stage", "sign", programs.changed}, withKey...), 1,
			[]string{`sign: row 1 (counted from 1), column "signature" differs`, "    recorded: \"", "!\"\n", "error[replay.differs]"}},
		{[]string{"--stage", "where", "--set", "expression=patient_id % 5 != 0"}, 1, []string{`column "patient_id" differs`, "error[replay.differs]"}},
	} {
		r := w.run(w.command(append([]string{"plugin", "replay", dir}, c.args...)...))
		if r.code != c.code {
			w.Errorf("%v: it ended with %d:\n%s%s", c.args, r.code, r.stdout, r.stderr)
		}
		for _, says := range c.says {
			if !strings.Contains(r.stdout+r.stderr, says) {
				w.Errorf("%v: it does not say %q:\n%s%s", c.args, says, r.stdout, r.stderr)
			}
		}
		if strings.Contains(r.stdout+r.stderr, key) {
			w.Errorf("%v: it shows the key", c.args)
		}
	}
	out := filepath.Join(w.out, "out.arrow")
	w.must(append([]string{"plugin", "replay", dir, "--stage", "sign", "--out", out, programs.changed}, withKey...)...)
	if _, changed := w.cells(out); len(changed) != rows || !strings.HasSuffix(changed[0][3], "!") {
		w.Errorf("%d rows of %d, the first %v", len(changed), rows, changed[0])
	}
}

// TestRecordFullDisk: a recording that cannot be written ends the run with its code. The
// limit is on files, so that the output goes to a pipe, and no plugin is copied.
func TestRecordFullDisk(t *testing.T) {
	w := newWorkspace(t)
	dir := filepath.Join(w.out, "rec")
	shell := exec.Command("bash", "-c", `ulimit -f 64; exec "$0" "$@"`, programs.cipherstream,
		"run", "appointments", "--sandbox", "-p", "from_date=2024-01-01", "--record", dir, "--progress", "none")
	shell.Dir = w.out
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.out, "TMPDIR=" + w.tmp}
	r := w.run(shell)
	if r.code != 1 || !strings.Contains(r.stderr, "error[record.write]: the recording could not be written, at ") {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	var record struct {
		Complete bool
		Fault    string
	}
	if err := json.Unmarshal(w.read(filepath.Join(dir, "record.json")), &record); err != nil || record.Complete || record.Fault != "record.write" {
		t.Errorf("%v: %+v", err, record)
	}
	partial := slices.ContainsFunc(w.names(dir), func(name string) bool { return strings.HasSuffix(name, ".arrow.partial") })
	if !partial {
		t.Errorf("nothing is marked as partial: %v", w.names(dir))
	}
}
