package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs of diskFull bytes; empty when that may not be done here.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return ""
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err) // somebody has a file open
		}
	})
	return dir
}

// spoolFiles are the files of spools that this process has open in a folder.
func spoolFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, dir+"/") && strings.HasSuffix(target, " (deleted)") {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestNothingInPlain: the file has no name and is nobody else's, and none of what was written can be read in it, neither
// piece by piece nor where a pattern repeats.
func TestNothingInPlain(t *testing.T) {
	for name, create := range map[string]func(string) (file, error){"unlinked": unlinked, "removed": removed} {
		dir := t.TempDir()
		p := newPool(t, Config{Dir: dir, Memory: 100_000})
		p.create = create
		s := newSpool(t, p)
		const line = `{"patient_id":4711,"name":"Maria Musterfrau","born":"1950-02-03"}` + "\n"
		write(t, s, []byte(strings.Repeat(line, 10)))
		if got := spoolFiles(t, dir); len(got) != 0 {
			t.Errorf("%s: a small answer has the files %v", name, got)
		}
		write(t, s, []byte(strings.Repeat(line, 20_000)))
		paths := spoolFiles(t, dir)
		if len(paths) != 1 {
			t.Fatalf("%s: files %v", name, paths)
		}
		info, err := os.Stat(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Nlink != 0 {
			t.Errorf("%s: mode %v, %d names", name, info.Mode(), info.Sys().(*syscall.Stat_t).Nlink)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s: names in the folder: %v", name, entries)
		}
		content, err := os.ReadFile(paths[0])
		if err != nil || len(content) < 1<<20 {
			t.Fatalf("%s: %d bytes, %v", name, len(content), err)
		}
		for _, secret := range []string{"patient", "4711", "Maria", "Muster", "1950"} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s: %q is on the disk", name, secret)
			}
		}
		counts := [256]int{}
		for _, b := range content {
			counts[b]++
		}
		for b, n := range counts {
			if mean := len(content) / 256; n < mean/2 || n > 2*mean {
				t.Errorf("%s: byte %d is there %d times, of a mean of %d", name, b, n, mean)
			}
		}
		seen := map[string]bool{}
		for rest := content; len(rest) >= 16; rest = rest[16:] {
			if block := string(rest[:16]); seen[block] {
				t.Fatalf("%s: a block of the cipher is there twice", name)
			} else {
				seen[block] = true
			}
		}
		check(t, s, []byte(strings.Repeat(line, 20_010)))
		s.Close()
		if got := spoolFiles(t, dir); len(got) != 0 {
			t.Errorf("%s: files after Close: %v", name, got)
		}
	}
}

// TestNoNameEver: where the file system has files without a name, nobody can give them one.
func TestNoNameEver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := unlinked(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := "/proc/self/fd/" + strconv.Itoa(int(f.(*os.File).Fd()))
	// As open(2) says how it is done without O_EXCL.
	if err := unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, filepath.Join(dir, "stolen"), unix.AT_SYMLINK_FOLLOW); err == nil {
		t.Error("the file has a name now")
	}
}
