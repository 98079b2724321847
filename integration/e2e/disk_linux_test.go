package e2e

import (
	"os"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/disk"
)

// TestFullDevice: /dev/full is a disk without room.
func TestFullDevice(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, isolation := range isolations {
		w.fails(w.run("run", w.endless(), "-o", "/dev/full", "--isolation", isolation), 1, "sink.disk_full")
		cmd := w.command("run", w.endless(), "--isolation", isolation)
		cmd.Stdout = full
		w.fails(w.finish(cmd), 1, "sink.disk_full")
	}
}

// TestFullDisk fills a disk of 1 MiB. Where none can be mounted, TestFullDevice and TestSizeLimit come close.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	disk.Small(t, w.out, "size=1m")
	for _, isolation := range isolations {
		w.fails(w.run("run", w.endless(), "-o", w.output("rows"), "--isolation", isolation), 1, "sink.disk_full")
	}
	// There is room again.
	w.must("run", w.pipeline(settings{"query": "SELECT seq FROM seq_1_to_1000"}, "csv"), "-o", w.output("rows"))
}
