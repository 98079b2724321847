package nodeplugin

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// grantedWithSource is granted, with the test program's source beside the plugin.
func grantedWithSource(t *testing.T) *workspace {
	t.Helper()
	w := granted(t)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.must("plugin", "install", own)
	return w
}

// endless is a run of more rows than anybody waits for into the plugin's sink.
func (w *workspace) endless() (pipeline, path string) {
	w.Helper()
	path = filepath.Join(w.out, "kept.arrow")
	return w.toTable(`{use: third/count, with: {rows: 1000000000000, batch: 1000}}`, `{use: redact/text}`, path), path
}

// TestKilledSink kills the process of the sink in JavaScript while it writes, round after round: it cannot clean up, so
// the host has what it had announced undone. The run fails by the plugin's name, nothing of it is left, and what stood at
// the sink's path before is as it was.
func TestKilledSink(t *testing.T) {
	w := grantedWithSource(t)
	pipeline, path := w.endless()
	w.write(path, []byte("of an earlier run"))
	for round := range 10 {
		pid, killed := 0, false
		r := w.watched([]string{"run", pipeline}, func(e event) {
			for _, p := range e.Processes {
				if p.Plugin == "redact" {
					pid = p.PID
				}
			}
			if pid != 0 && !killed && w.flowing() {
				killed = true
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Errorf("killing %d: %v", pid, err)
				}
			}
		})
		if !killed {
			t.Fatalf("round %d: no rows came:\n%s", round, r.stderr)
		}
		if r.code != 1 || !strings.Contains(r.stderr, `"plugin.exited"`) || !strings.Contains(r.stderr, `plugin \"redact\" was killed by signal 9`) ||
			strings.Contains(r.stderr, "left behind") {
			t.Errorf("round %d: it ended with %d:\n%s", round, r.code, r.stderr)
		}
		w.onlyIn(w.out, "kept.arrow")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "of an earlier run" {
		t.Errorf("what was there is %q, %v", text, err)
	}
}

// TestKilledHostOfSink kills the host while the sink writes. Its process goes with it, or ends the file itself; what is
// left the next run to the same path ends, and a run to another path does not touch it.
func TestKilledHostOfSink(t *testing.T) {
	w := grantedWithSource(t)
	pipeline, path := w.endless()
	killed := false
	r := w.watchedWith([]string{"run", pipeline}, func(_ event, program *os.Process) {
		if !killed && w.flowing() {
			killed = true
			if err := program.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	if !killed {
		t.Fatalf("no rows came:\n%s", r.stderr)
	}
	left, err := filepath.Glob(filepath.Join(w.out, ".*.partial"))
	if err != nil {
		t.Fatal(err)
	}
	few := `{use: third/count, with: {rows: 10, batch: 5}}`
	other := filepath.Join(w.out, "other.arrow")
	if r := w.run("run", w.toTable(few, `{use: redact/text}`, other)); r.code != 0 || strings.Contains(r.stderr, "earlier run") {
		t.Errorf("a run to another path ended with %d:\n%s", r.code, r.stderr)
	}
	for _, of := range left {
		if _, err := os.Stat(of); err != nil {
			t.Errorf("a run to another path took away what is not its own: %v", err)
		}
	}
	w.must("run", w.toTable(few, `{use: redact/text}`, path))
	if _, rows := kept(t, path); len(rows) != 10 {
		t.Errorf("%d rows are kept", len(rows))
	}
	w.onlyIn(w.out, "kept.arrow", "other.arrow")
}

// onlyIn holds that nothing else is in a folder.
func (w *workspace) onlyIn(dir string, names ...string) {
	w.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		w.Errorf("in %s are %q, want %q", dir, got, names)
	}
}
