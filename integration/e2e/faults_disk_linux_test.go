package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/disk"
)

// TestFullDiskOfBucket fills the disk of a folder of objects: neither the object nor a hidden part of it stays.
func TestFullDiskOfBucket(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	disk.Small(t, w.out, "size=1m")
	for _, isolation := range isolations {
		w.fails(w.run("run", w.extending("output", settings{"query": endless}), "--job", "--bucket", w.out, "--object", "rows", "--isolation", isolation), 1, "sink.disk_full")
	}
	w.must("run", w.extending("output", settings{"query": "SELECT seq FROM seq_1_to_1000"}), "--job", "--bucket", w.out, "--object", "rows")
}

// TestFullDiskOfDecrypt fills the disk that a delivery is opened to.
func TestFullDiskOfDecrypt(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.env = []string{"CIPHERSTREAM_KEYS=" + newKey()}
	sealed := filepath.Join(t.TempDir(), "sealed")
	for _, format := range []string{"ndjson", "csv"} { // rows, and chunks
		w.must("run", w.extending("output", settings{"query": "SELECT seq, REPEAT('x', 100) AS filler FROM seq_1_to_20000"}),
			"-o", sealed, "-f", format, "--encrypted", "--customer", "c")
		t.Run(format, func(t *testing.T) {
			w := w.with(t)
			disk.Small(t, w.out, "size=1m")
			r := w.run("decrypt", sealed, "--customer", "c", "-o", w.output("opened"))
			if r.code != 1 || !strings.HasPrefix(r.stderr, "error[") || !strings.Contains(r.stderr, "no space left on device") || len(names(t, w.out)) > 0 {
				t.Errorf("it ended with %d and left %v:\n%s", r.code, names(t, w.out), r.stderr)
			}
		})
	}
}

// TestFullDiskBeside fills the disks of what is not the data: private directories, and the summary.
func TestFullDiskBeside(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	pipeline := w.pipeline(settings{"query": "SELECT 1 AS a"}, "csv")
	t.Run("private directory", func(t *testing.T) {
		w := w.with(t)
		disk.Small(t, w.tmp, "size=64k,nr_inodes=1") // which is the folder's own
		w.fails(w.run("run", pipeline, "-o", w.output("rows")), 1, "host.directory")
	})
	t.Run("summary", func(t *testing.T) {
		w := w.with(t)
		small := t.TempDir()
		disk.Small(t, small, "size=4k")
		if err := os.WriteFile(filepath.Join(small, "filler"), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		r := w.run("run", pipeline, "-o", w.output("rows"), "--summary", filepath.Join(small, "summary"))
		if r.code != 1 || !strings.Contains(r.stderr, "error[cli.summary]: ") || !strings.Contains(r.stderr, "the output is whole") {
			t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
		}
		if got := string(readFile(t, w.output("rows"))); got != "a\r\n1\r\n" {
			t.Errorf("the output is %q", got)
		}
		if left := names(t, small); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	})
}
