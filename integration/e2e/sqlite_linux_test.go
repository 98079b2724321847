package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/disk"
)

// database writes a pipeline that ends in a table of the database in the output folder.
func (w *workspace) database(source, sink settings) string {
	w.Helper()
	from, to := settings{"url": "${secret.dsn}"}, settings{"path": w.output("rows"), "table": "rows"}
	for k, v := range source {
		from[k] = v
	}
	for k, v := range sink {
		to[k] = v
	}
	var texts [2]string
	for i, with := range []settings{from, to} {
		text, err := json.Marshal(with) // JSON is YAML
		if err != nil {
			w.Fatal(err)
		}
		texts[i] = string(text)
	}
	path := filepath.Join(w.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: e2e, title: End to end}
spec:
  stages:
    source: {use: mysql, with: `+texts[0]+`}
    sink: {use: sqlite, with: `+texts[1]+`}
`), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// readSQLite prints a table of the database whose path is on standard input, as readNDJSON prints rows; blobs in base64.
const readSQLite = `
import base64, sqlite3, sys
db = sqlite3.connect(sys.stdin.buffer.read().decode())
assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
def show(v):
    if v is None: return "-"
    if isinstance(v, bytes): return "+" + base64.b64encode(v).hex()
    if isinstance(v, str): return "+" + v.encode().hex()
    return "n" + repr(v).encode().hex()
cursor = db.execute('SELECT * FROM "rows" ORDER BY rowid')
print("\t".join("+" + c[0].encode().hex() for c in cursor.description))
for row in cursor: print("\t".join(show(v) for v in row))
`

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// refusedBeside holds that a run failed with a code and left nothing beside the database.
func (w *workspace) refusedBeside(r result, code string) {
	w.Helper()
	if r.code != 1 || !strings.Contains(r.stderr, "error["+code+"]") {
		w.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	if left := names(w, w.out); len(left) != 1 || left[0] != "rows" {
		w.Errorf("left: %v", left)
	}
}

// TestSQLiteEveryType holds a table that the sink has written, as Python's sqlite3 reads it, against the official client, value
// for value, however the stages are spread.
func TestSQLiteEveryType(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	columns, kinds, want := loadEveryType(t, db, everyType)
	// Columns of unsigned integers of 64 bits are text, and say so by their type.
	long := []string{"c_bigint_u", "c_bit_1", "c_bit_9", "c_bit_64"}
	for _, isolation := range isolations {
		w := newWorkspace(t, db.DSN(db.Database()))
		source := settings{"query": "SELECT * FROM every_type ORDER BY id", "protocol": "binary", "time_zone": "+00:00"}
		summary := filepath.Join(t.TempDir(), "summary")
		w.must("run", w.database(source, settings{"unsigned": "text"}), "--isolation", isolation, "--summary", summary)
		var receipt struct {
			Rows     int
			Bytes    int64
			SHA256   string
			Location string
		}
		if err := json.Unmarshal(readFile(t, summary), &receipt); err != nil {
			t.Fatal(err)
		}
		content := readFile(t, w.output("rows"))
		if receipt.Rows != len(want) || receipt.Bytes != int64(len(content)) || receipt.SHA256 != sha256Of(content) || receipt.Location != w.output("rows") {
			t.Errorf("isolation %s: the receipt says %+v", isolation, receipt)
		}
		got, rows := fromPython(t, readSQLite, []byte(w.output("rows")))
		compare(t, "sqlite", got, rows, columns, kinds, want)
		for i, row := range rows {
			for c, v := range row {
				if number := kinds[c].number && !slices.Contains(long, columns[c]); !v.null && v.number != number {
					t.Errorf("sqlite, row %d, %s: a number: %v, want %v", i, columns[c], v.number, number)
				}
			}
		}
		if left := names(t, w.out); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
		// Without it, the first value that SQLite has no integer for ends the run, with its row.
		w.refusedBeside(w.run("run", w.database(source, settings{"mode": "replace"}), "--isolation", isolation), "sqlite.unsigned")
		if got := readFile(t, w.output("rows")); sha256Of(got) != receipt.SHA256 {
			t.Error("the database is another after a run that has failed")
		}
	}
}

// TestSQLiteMemory: a million rows need no more memory than a fifth of them, and are all there.
func TestSQLiteMemory(t *testing.T) {
	db := dbtest.MariaDB(t)
	const few, many = 200_000, 1_000_000
	var peaks []int64
	for _, rows := range []int{few, many} {
		w := newWorkspace(t, db.DSN(db.Database()))
		summary := filepath.Join(t.TempDir(), "summary")
		query := fmt.Sprintf("SELECT seq, seq * 3 AS a, 'Attended' AS status, CAST('2024-02-29 12:34:56' AS DATETIME) AS at, CAST(seq AS DECIMAL(12,4)) AS fee, REPEAT('n', seq %% 40) AS note FROM seq_1_to_%d", rows)
		w.must("run", w.database(settings{"query": query}, nil), "--summary", summary)
		var receipt struct {
			Rows      int
			Bytes     int64
			Seconds   float64
			Processes []struct {
				PeakMemoryBytes int64 `json:"peak_memory_bytes"`
			}
		}
		if err := json.Unmarshal(readFile(t, summary), &receipt); err != nil {
			t.Fatal(err)
		}
		script := `
import sqlite3, sys
db = sqlite3.connect(sys.stdin.buffer.read().decode())
def show(v): return "+" + str(v).encode().hex()
print("\t".join(show(n) for n in ("count", "sum", "longest", "last")))
print("\t".join(show(v) for v in db.execute("SELECT count(*), sum(seq), max(length(note)), max(rowid) FROM rows").fetchone()))`
		_, got := fromPython(t, script, []byte(w.output("rows")))
		want := []string{fmt.Sprint(rows), fmt.Sprint(rows * (rows + 1) / 2), "39", fmt.Sprint(rows)}
		for i, v := range got[0] {
			if v.text != want[i] {
				t.Errorf("%d rows: %v, want %v", rows, got[0], want)
			}
		}
		if receipt.Rows != rows || len(receipt.Processes) != 1 {
			t.Fatalf("%+v", receipt)
		}
		peaks = append(peaks, receipt.Processes[0].PeakMemoryBytes)
		t.Logf("%d rows, %d MiB: %.1f s, %.0f rows/s, %d MiB of memory", rows, receipt.Bytes>>20, receipt.Seconds, float64(rows)/receipt.Seconds, peaks[len(peaks)-1]>>20)
	}
	if peaks[1] > 160<<20 || peaks[1]-peaks[0] > 24<<20 {
		t.Errorf("peaks of %v bytes", peaks)
	}
}

// TestSQLiteFails: a full disk, a plugin that is killed and a program that is leave the database as it was.
func TestSQLiteFails(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	before := func(w *workspace) {
		w.must("run", w.database(settings{"query": "SELECT 1 AS seq, 'before' AS filler, 7 AS more"}, settings{"mode": "replace"}))
	}
	unchanged := func(t *testing.T, w *workspace) {
		t.Helper()
		_, rows := fromPython(t, readSQLite, []byte(w.output("rows")))
		if len(rows) != 1 || len(rows[0]) != 3 || rows[0][1].text != "before" {
			t.Errorf("the table has %d rows: %.200v", len(rows), rows)
		}
	}
	for _, mode := range []string{"replace", "append"} {
		t.Run("a full disk, "+mode, func(t *testing.T) {
			w := newWorkspace(t, db.DSN(db.Database()))
			disk.Small(t, w.out, "size=2m")
			before(w)
			w.refusedBeside(w.run("run", w.database(settings{"query": endless}, settings{"mode": mode})), "sink.disk_full")
			unchanged(t, w)
		})
		for _, who := range []string{"plugin", "program"} {
			t.Run("the "+who+" is killed, "+mode, func(t *testing.T) {
				w := newWorkspace(t, db.DSN(db.Database()))
				before(w)
				s := w.start("run", w.database(settings{"query": endless}, settings{"mode": mode}), "--isolation", "stage")
				eventually(w, "more rows than SQLite keeps in memory", func() bool {
					total := int64(0)
					for _, name := range names(t, w.out) {
						if info, err := os.Stat(w.output(name)); err == nil {
							total += info.Size()
						}
					}
					return total > 32<<20
				})
				pid := s.plugins["sink"]
				if who == "program" {
					pid = s.cmd.Process.Pid
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				<-s.ended
				w.nothingRuns()
				unchanged(t, w)
				w.must("run", w.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson")) // clears what a program that was killed has left
				for _, name := range names(t, w.out) {
					if name != "rows" && !(strings.HasPrefix(name, ".rows.") && strings.HasSuffix(name, ".partial")) {
						t.Errorf("left behind: %s", name)
					}
				}
			})
		}
	}
}
