package program

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestMain: this test binary is also a program that says so.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "be" {
		fmt.Print("raced: ", raced)
		return
	}
	os.Exit(m.Run())
}

// TestSelf: it is this test binary, and has no race detector.
func TestSelf(t *testing.T) {
	path, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "be").CombinedOutput(); err != nil || string(out) != "raced: false" {
		t.Errorf("%v: %s", err, out)
	}
	if own, err := os.Executable(); err != nil || !raced && path != own {
		t.Errorf("it is %s, and this is %s (%v)", path, own, err)
	}
}

// TestPath: the program is there, beside the sandbox's, works, and what is up to date is not linked again.
func TestPath(t *testing.T) {
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if out, err := exec.Command(path, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "cipherstream ") {
		t.Errorf("%v: %s", err, out)
	}
	again := exec.Command("go", "build", "-x", "-tags", tags, "-o", path, "../../cmd/cipherstream")
	again.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := again.CombinedOutput()
	if err != nil || strings.Contains(string(out), "/link ") {
		t.Errorf("%v: it is linked again:\n%.2000s", err, out)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("another file: %v", err)
	}
}

// TestStatic: the programs need no library of the machine, nor a loader.
func TestStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems than Linux have no static programs")
	}
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cipherstream", "cipherstream-sandbox"} {
		file, err := elf.Open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		libraries, err := file.ImportedLibraries()
		if err != nil || len(libraries) > 0 {
			t.Errorf("%s needs %v (%v)", name, libraries, err)
		}
		for _, part := range file.Progs {
			if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
				t.Errorf("%s has a part of type %v", name, part.Type)
			}
		}
	}
}
