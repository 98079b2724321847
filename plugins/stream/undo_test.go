//go:build unix

package stream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const deadRun = "appointments_1700000000000_0a1b2c3d"

// host keeps what a sink announces.
type host struct {
	announced []sdk.Resource
	released  int
	refuses   error
}

func (h *host) announce(_ context.Context, r sdk.Resource) (func(), error) {
	if h.refuses != nil {
		return nil, h.refuses
	}
	r.RunID = deadRun
	h.announced = append(h.announced, r)
	return func() { h.released++ }, nil
}

func announcing(t *testing.T, to string, h *host) *sink {
	t.Helper()
	s := newStream(t, to).(*sink)
	s.to.(*file).announce = h.announce
	return s
}

// die is what is left of a sink whose process has died.
func die(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnnounces: the host hears of the temporary file before it is there, and of its end.
func TestAnnounces(t *testing.T) {
	for _, end := range []string{"commit", "abort", "nothing begun"} {
		dir := t.TempDir()
		h := &host{}
		s := announcing(t, filepath.Join(dir, "rows"), h)
		if end == "nothing begun" {
			h.refuses = errors.New("the host is gone")
			if err := s.Open(t.Context(), sdk.Object{RunID: deadRun}); err == nil || names(t, dir) != "" {
				t.Errorf("without a host: %v, and there is %q", err, names(t, dir))
			}
			continue
		}
		s.to.(*file).announce = func(ctx context.Context, r sdk.Resource) (func(), error) {
			if left := names(t, dir); left != "" {
				t.Errorf("before the host knows there is %q", left)
			}
			return h.announce(ctx, r)
		}
		if err := s.Open(t.Context(), sdk.Object{RunID: deadRun}); err != nil {
			t.Fatal(err)
		}
		if len(h.announced) != 1 || string(h.announced[0].State) != filepath.Join(dir, names(t, dir)) || h.released != 0 {
			t.Errorf("announced are %+v, with %d released; there is %q", h.announced, h.released, names(t, dir))
		}
		if end == "commit" {
			if _, err := s.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.released != 1 {
			t.Errorf("%s: %d are released", end, h.released)
		}
	}
}

// TestUndo: what a dead run has left goes, and again is no error.
func TestUndo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rows")
	left := filepath.Join(dir, partial.Name("rows", deadRun))
	die(t, left)
	r := partial.Announcement(left)
	r.RunID = deadRun
	for range 2 {
		if err := newStream(t, path).(*sink).Undo(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// TestUndoHostile: nothing goes but the one name of the one run, whatever is announced.
func TestUndoHostile(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "rows")
	mark := func(dir, name string) string { return filepath.Join(dir, partial.Name(name, deadRun)) }
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(elsewhere, "target")
	all := []string{path, mark(elsewhere, "rows"), mark(dir, "other"), mark(filepath.Join(dir, "below"), "rows"), target,
		filepath.Join(dir, partial.Name("rows", "appointments_1700000000000_ffffffff"))}
	for _, name := range all {
		die(t, name)
	}
	alive, err := partial.Create(mark(dir, "alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Release()
	defer alive.Close()
	if err := os.Symlink(target, mark(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mark(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	all = append(all, alive.Name(), mark(dir, "linked"), mark(dir, "folder"))
	for _, c := range []struct{ to, state, run string }{
		{path, path, deadRun}, {path, "", deadRun}, {path, "/", deadRun}, {path, dir, deadRun}, {path, "garbage \x00\xff", deadRun},
		{path, mark(elsewhere, "rows"), deadRun}, {path, mark(dir, "other"), deadRun}, {path, mark(filepath.Join(dir, "below"), "rows"), deadRun},
		{path, dir + "/below/.." + "/" + partial.Name("rows", deadRun), deadRun}, {path, all[5], deadRun}, {path, mark(dir, "rows"), ""},
		{path, strings.Repeat("x", 1<<20), deadRun}, {path, target, deadRun},
		{filepath.Join(dir, "alive"), alive.Name(), deadRun}, {filepath.Join(dir, "linked"), mark(dir, "linked"), deadRun},
		{filepath.Join(dir, "folder"), mark(dir, "folder"), deadRun}, {"unix:" + filepath.Join(dir, "socket"), path, deadRun},
	} {
		err := newStream(t, c.to).(*sink).Undo(t.Context(), sdk.Resource{State: []byte(c.state), RunID: c.run})
		if !fault.Is(err, stage.CodeForeign) && !fault.Is(err, stage.CodeElsewhere) {
			t.Errorf("%.100q for %s: %v", c.state, c.to, err)
		}
	}
	for _, name := range all {
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("something of others is gone: %v", err)
		}
	}
}

// TestNextRunRemoves: a run removes what dead runs to its file have left, and a sweep what is left in a folder.
func TestNextRunRemoves(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("n", 250)
	mine := []string{partial.Name("rows", deadRun), partial.Name(long, deadRun)}
	others := []string{partial.Name("row", deadRun), partial.Name("rows.gz", deadRun), ".rows.download.partial", ".rows.partial", "rows.partial", "x"}
	for _, name := range append(mine, others...) {
		die(t, filepath.Join(dir, name))
	}
	living := opened(t, filepath.Join(dir, "rows"))
	got := names(t, dir)
	for _, name := range others {
		if !strings.Contains(got, name) {
			t.Errorf("%s is gone", name)
		}
	}
	if strings.Contains(got, mine[0]) || !strings.Contains(got, mine[1]) {
		t.Errorf("left are %s", got)
	}
	opened(t, filepath.Join(dir, long))
	if strings.Contains(names(t, dir), mine[1]) {
		t.Error("a name that was cut is not known again")
	}
	if n, err := Sweep(dir); n != 2 || err != nil {
		t.Errorf("the sweep removed %d, %v; want those of the two other files", n, err)
	}
	if err := living.Write(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := living.Commit(t.Context()); err != nil {
		t.Errorf("the living run: %v", err)
	}
}
