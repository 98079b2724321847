package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFolder: what has our marker and nobody's lock is removed, and nothing else that has such a name.
func TestFolder(t *testing.T) {
	t.Parallel()
	if roomy(memory, 1<<20) != nil {
		t.Skip("there is no file system in memory here")
	}
	root, err := os.MkdirTemp(memory, "TestFolder")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	strange := filepath.Join(root, "cs0", "kept")
	killed := filepath.Join(root, "cs1", "rest")
	for _, path := range []string{strange, killed, filepath.Join(root, "cs1", marker)} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var made []*folder
	for range 2 {
		f, err := newFolder(root, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, f)
	}
	if got := made[0].path + " " + made[1].path; got != root+"/cs1 "+root+"/cs2" {
		t.Errorf("the folders are %s", got)
	}
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("what a killed process left is still there: %v", err)
	}
	made[0].remove()
	made[1].remove()
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := os.Stat(strange); err != nil {
		t.Error(err)
	}
	if _, err := newFolder(root, 1<<60); err == nil {
		t.Error("a folder was made where there is no room for it")
	}
	if _, err := newFolder("/", 1); err == nil {
		t.Error("a folder was made that is not in memory")
	}
}

// TestMemory: with -memory temporary files of tests are in memory, what go builds is not, and nothing is left.
func TestMemory(t *testing.T) {
	if roomy(memory, memoryFree) != nil {
		t.Skip("there is no file system in memory here, or it is small")
	}
	dir, disk := t.TempDir(), t.TempDir()
	t.Chdir(dir)
	t.Setenv("TMPDIR", disk)
	t.Setenv("GOTMPDIR", "")
	for name, text := range map[string]string{
		"go.mod":        "module example.org/m\n\ngo 1.24\n",
		"env/a_test.go": "package env\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestE(t *testing.T) { t.Skip(\"at\", os.TempDir(), os.Getenv(\"GOTMPDIR\")) }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args  []string
		begin string
	}{
		{[]string{"-memory", "-test", "-count=1 ./env"}, memory + "/cs"},
		{[]string{"-memory", "-test", "TMPDIR=" + disk + " -count=1 ./env"}, disk},
		{[]string{"-test", "-count=1 ./env"}, disk},
	} {
		var out strings.Builder
		if exit := run(c.args, &out, io.Discard); exit != 0 {
			t.Errorf("exit %d: %s", exit, out.String())
		}
		_, said, _ := strings.Cut(out.String(), " at ")
		fields := strings.Fields(said)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], c.begin) {
			t.Fatalf("%v: the temporary folder is not one of %s: %s", c.args, c.begin, out.String())
		}
		if c.args[0] == "-memory" && (len(fields) < 2 || fields[1] != disk) {
			t.Errorf("%v: what go builds is not on the disk: %s", c.args, out.String())
		}
		if _, err := os.Stat(fields[0]); c.begin != disk && !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", fields[0], err)
		}
	}
}

// TestSignal: a signal ends what runs, and the folder in memory is removed.
func TestSignal(t *testing.T) {
	if roomy(memory, memoryFree) != nil {
		t.Skip("there is no file system in memory here, or it is small")
	}
	var out strings.Builder
	begin := time.Now()
	// A child of the command's holds its output open for as long as it lives.
	if exit := run([]string{"-memory", "-check", "echo at $TMPDIR; sleep 600 & kill -TERM $PPID; wait"}, &out, io.Discard); exit != 1 {
		t.Errorf("exit %d", exit)
	}
	if took := time.Since(begin); took > 9*time.Second { // WaitDelay: a process was left
		t.Errorf("it took %s", took)
	}
	_, said, _ := strings.Cut(out.String(), "at "+memory)
	path, _, found := strings.Cut(said, "\n")
	if _, err := os.Stat(memory + path); !found || !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v: %s", memory+path, err, out.String())
	}
}
