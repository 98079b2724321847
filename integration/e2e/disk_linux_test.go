package e2e

import (
	"os"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
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

// smallDisk mounts an empty disk over a folder, which only root can do.
func smallDisk(t *testing.T, dir, options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: mounting a small disk needs root; TestFullDevice and TestSizeLimit come close")
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: this root may not mount a small disk: %v; TestFullDevice and TestSizeLimit come close", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestFullDisk fills a disk of 1 MiB.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	smallDisk(t, w.out, "size=1m")
	for _, isolation := range isolations {
		w.fails(w.run("run", w.endless(), "-o", w.output("rows"), "--isolation", isolation), 1, "sink.disk_full")
	}
	// There is room again.
	w.must("run", w.pipeline(settings{"query": "SELECT seq FROM seq_1_to_1000"}, "csv"), "-o", w.output("rows"))
}
