package host_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestSwappedProgram changes the program during starts, in place and by renaming, in
// whole and in part: the one that was not pinned must never run.
func TestSwappedProgram(t *testing.T) {
	marks := t.TempDir()
	// Of one length, so that a part of one and a part of the other are a program too.
	mark := func(name string) []byte {
		program := script("echo >>'" + filepath.Join(marks, name) + "'")
		return append(program, bytes.Repeat([]byte("# padding\n"), 20_000)...)
	}
	good, evil := mark("good"), mark("evil")
	s := newSetup(t, host.Config{}, pinned{name: "odd", program: good, files: []string{marks + ":rw"}})
	path := filepath.Join(s.plugins, host.ProgramPrefix+"odd")
	put := func(program []byte) {
		if err := os.WriteFile(path+".new", program, 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	// start returns whether the program was run.
	start := func() bool {
		_, err := s.Start(t.Context(), "odd")
		f := fault.From(err)
		if f == nil || f.Code != "plugin.start" && f.Code != "plugin.digest" {
			t.Fatalf("got %+v", f)
		}
		return f.Code == "plugin.start"
	}
	if !start() {
		t.Fatal("the program that is pinned did not run")
	}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			program := good
			if rand.IntN(2) == 0 {
				program = evil
			}
			if rand.IntN(2) == 0 {
				put(program)
				continue
			}
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := file.Write(program[:rand.IntN(len(program)+1)]); err != nil {
				t.Error(err)
			}
			file.Close()
		}
	})
	ran := 1
	for range 300 {
		if start() {
			ran++
		}
	}
	close(stop)
	swapping.Wait()
	put(evil)
	if start() {
		t.Error("the other program was started")
	}
	if text, err := os.ReadFile(filepath.Join(marks, "evil")); err == nil {
		t.Errorf("the other program ran %d times", bytes.Count(text, []byte("\n")))
	}
	text, err := os.ReadFile(filepath.Join(marks, "good"))
	if err != nil || bytes.Count(text, []byte("\n")) != ran {
		t.Errorf("%d starts, but it ran %d times: %v", ran, bytes.Count(text, []byte("\n")), err)
	}
}

// TestCopiedOnce: starts of one program share a copy, which is made again only if somebody has changed it, and which
// does not stand for a program that is another one by now.
func TestCopiedOnce(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "odd", program: script("exit 7")})
	start := func() *fault.Fault {
		t.Helper()
		_, err := s.Start(t.Context(), "odd")
		return fault.From(err)
	}
	copied := func() fs.FileInfo {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(s.tmp, "*", "programs", "*", "program"))
		if err != nil || len(list) != 1 {
			t.Fatalf("copies: %q, %v", list, err)
		}
		info, err := os.Stat(list[0])
		if err != nil || info.Mode() != 0o500 {
			t.Fatalf("the copy: %v, %v", info, err)
		}
		if dir, err := os.Stat(filepath.Dir(list[0])); err != nil || dir.Mode().Perm() != 0o700 {
			t.Fatalf("its folder: %v, %v", dir, err)
		}
		return info
	}
	ran := func() {
		t.Helper()
		if f := start(); f == nil || !strings.HasSuffix(f.Message, ": it exited with status 7") {
			t.Fatalf("got %+v", f)
		}
	}
	ran()
	first := copied()
	ran()
	if second := copied(); !os.SameFile(first, second) || !first.ModTime().Equal(second.ModTime()) {
		t.Error("a program that has not changed was copied again")
	}

	list, _ := filepath.Glob(filepath.Join(s.tmp, "*", "programs", "*", "program"))
	if err := errors.Join(os.Chmod(list[0], 0o700), os.WriteFile(list[0], script("exit 8"), 0o700)); err != nil {
		t.Fatal(err)
	}
	ran()
	copied()

	path := filepath.Join(s.plugins, host.ProgramPrefix+"odd")
	if err := os.WriteFile(path, script("exit 9"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := start(); f == nil || f.Code != "plugin.digest" {
		t.Errorf("the changed program: %+v", f)
	}
	if err := os.WriteFile(path, script("exit 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran()
}

// TestConcurrentStarts: a copy that is open for writing while another process is
// forked could not be executed.
func TestConcurrentStarts(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "odd", program: script("exit 7")})
	var starting sync.WaitGroup
	for range 8 {
		starting.Go(func() {
			for range 25 {
				_, err := s.Start(t.Context(), "odd")
				if f := fault.From(err); f == nil || !strings.HasSuffix(f.Message, ": it exited with status 7") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	starting.Wait()
}

// TestOddPrograms: what is no program is refused, and never waited for.
func TestOddPrograms(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(path string) error
		code string
		says string
	}{
		{"link", func(path string) error { return os.Symlink("/bin/true", path) }, "plugin.program", " is a symbolic link; it must be the program itself"},
		{"dead link", func(path string) error { return os.Symlink("nowhere", path) }, "plugin.program", " is a symbolic link; it must be the program itself"},
		{"named pipe", func(path string) error { return unix.Mkfifo(path, 0o600) }, "plugin.program", " is no file that holds a program"},
		{"folder", func(path string) error { return os.Mkdir(path, 0o700) }, "plugin.program", " is no file that holds a program"},
		{"huge", func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, host.MaxProgram+1))
		}, "plugin.program", " is larger than 512 MiB, the most that a plugin's program may have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, host.Config{}, pinned{name: "odd", missing: true})
			path := filepath.Join(s.plugins, host.ProgramPrefix+"odd")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := s.Start(t.Context(), "odd")
			f := fault.From(err)
			if f == nil || f.Code != c.code || f.Class != fault.Usage || f.Message != `plugin "odd" is in plugins.lock, but `+path+c.says {
				t.Errorf("got %+v", f)
			}
			s.nothingRuns(t)
		})
	}
}

func TestCopyProgram(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := host.OpenProgram(from)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	to := filepath.Join(dir, "to")
	// The digest of "abc" is the example of FIPS 180-4.
	const digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := host.CopyProgram(t.Context(), to, file, 0o555, true); err != nil || got != digest {
		t.Fatalf("got %s, %v", got, err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode() != 0o555 || info.Size() != 3 {
		t.Errorf("got %v, %v", info, err)
	}
	if _, err := host.CopyProgram(t.Context(), to, file, 0o555, false); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	reason := errors.New("nobody waits any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if _, err := host.CopyProgram(ctx, filepath.Join(dir, "other"), file, 0o555, false); !errors.Is(err, reason) {
		t.Errorf("cancelled: %v", err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}
