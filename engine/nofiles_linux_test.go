package engine_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/engine"
)

// TestNoFiles: an engine that knows its catalogue only opens no file, whatever it is asked for: the system itself says
// so of every file that stands where a name could lead. The same names open files where files are allowed.
func TestNoFiles(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "work", "deep")
	if err := os.MkdirAll(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../mine.yaml", "../mine.yaml", "mine.yaml", "mine", "templates/mine.yaml", "..%2Fmine.yaml", "%2Fmine", "counting.yaml", "mine.test.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(counting), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	watch := watchOpens(t, root, filepath.Dir(dir), dir, filepath.Join(dir, "templates"))
	asked := []string{"mine", "mine.yaml", "./mine.yaml", "../mine.yaml", "../../mine.yaml", "..", ".", "/", "", "..%2Fmine.yaml", "%2Fmine", "%2e%2e/mine.yaml",
		"templates/mine.yaml", "counting.yaml", dir + "/mine.yaml", "file://" + dir + "/mine.yaml", `..\mine.yaml`, "mine.yaml\x00", "mine.test.yaml"}
	closed := newEngine(t, engine.Config{NoFiles: true})
	watch() // what making an engine opens is nobody's question
	for _, name := range asked {
		if p, diags := closed.Prepare(name); p != nil || diags[0].Code != "file.not_found" {
			t.Errorf("the name %q: %v", name, diags)
		}
		if p, diags := closed.PrepareFile(name); p != nil || diags[0].Code != "file.not_allowed" || diags[0].Hint == "" {
			t.Errorf("the path %q: %v", name, diags)
		}
		if doc, _ := closed.LoadFile(name); doc != nil {
			t.Errorf("the path %q was loaded", name)
		}
		if test, diags := closed.LoadTest(name); test != nil || diags[0].Code != "file.not_allowed" {
			t.Errorf("the test %q: %v", name, diags)
		}
		if !closed.Lint(name).HasErrors() || !closed.LintFile(name).HasErrors() {
			t.Errorf("%q was linted", name)
		}
	}
	if _, diags := closed.Prepare("counting"); diags.HasErrors() {
		t.Errorf("the catalogue: %v", diags.Err())
	}
	if n := watch(); n > 0 {
		t.Errorf("files were opened %d times", n)
	}
	open := newEngine(t, engine.Config{})
	for _, name := range asked {
		open.Prepare(name)
	}
	if n := watch(); n > 0 {
		t.Errorf("for a name, files were opened %d times", n)
	}
	for _, name := range asked {
		open.PrepareFile(name)
	}
	if watch() == 0 {
		t.Error("the watch sees nothing, so that it proves nothing")
	}
}

// watchOpens counts how often something in some folders is opened, since it was asked before.
func watchOpens(t *testing.T, dirs ...string) func() int {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	for _, dir := range dirs {
		if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() (events int) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := syscall.Read(fd, buffer)
			if err == syscall.EAGAIN || n <= 0 {
				return events
			}
			events++
		}
	}
}
