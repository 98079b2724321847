package run_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// markSettings are those of a sink that makes a file, which it announces, and then breaks.
type markSettings struct {
	Path   string        `config:"path,required"`
	How    string        `config:"how"`
	Token  config.Secret `config:"token"`
	Undoes string        `config:"undoes"`
}

type markSink struct {
	markSettings
	env     stage.Env
	release func()
}

func newMark(s markSettings, env stage.Env) (stage.Sink, error) {
	if s.Undoes == "cannot" {
		return struct{ stage.Sink }{&markSink{s, env, nil}}, nil // without the ability
	}
	return &markSink{s, env, nil}, nil
}

func (m *markSink) Open(ctx context.Context, _ stage.Object) (err error) {
	switch m.How {
	case "many":
		for i := range stage.MostResources {
			if _, err := m.env.Announce(ctx, stage.Resource{Name: strconv.Itoa(i), State: []byte("-")}); err != nil {
				return err
			}
		}
	case "long":
		_, err := m.env.Announce(ctx, stage.Resource{State: make([]byte, stage.LongestResourceState+1)})
		return err
	}
	m.release, err = m.env.Announce(ctx, stage.Resource{Name: "the mark " + m.Token.Reveal(), Remedy: "rm it", State: []byte(m.Path)})
	if err != nil {
		return err
	}
	return os.WriteFile(m.Path, nil, 0o600)
}

func (m *markSink) Write(ctx context.Context, _ []byte) error {
	switch m.How {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
	case "exit":
		os.Exit(7)
	case "memory":
		var hoard [][]byte
		for ctx.Err() == nil {
			block := make([]byte, 16<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			hoard = append(hoard, block)
		}
		_ = hoard
	}
	if m.How != "" {
		return fault.New("mark.broken", fault.Sink, "the mark is broken")
	}
	return nil
}

func (m *markSink) Commit(context.Context) (stage.Receipt, error) {
	m.release()
	return stage.Receipt{Location: m.Path}, nil
}

func (m *markSink) Abort(context.Context) error {
	if m.How == "abort fails" {
		return fault.New("mark.stays", fault.Sink, "the mark stays")
	}
	if m.release != nil && os.Remove(m.Path) == nil {
		m.release()
	}
	return nil
}

func (m *markSink) Undo(ctx context.Context, r stage.Resource) error {
	switch m.Undoes {
	case "panics":
		panic("hostile")
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	case "refuses":
		return stage.Foreign("it is not ours, says %s", m.Token.Reveal())
	case "dies":
		os.Exit(8)
	}
	if string(r.State) == "-" {
		return nil
	}
	if r.RunID != "r1" || string(r.State) != m.Path {
		return stage.Foreign("run %s announced %q", r.RunID, r.State)
	}
	if err := os.Remove(m.Path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// marked is a plan that ends in such a sink.
func (s *setup) marked(isolation plan.Isolation, of settings) (p *plan.Plan, path string) {
	path = filepath.Join(s.dir, "mark")
	p = s.planOf(isolation, settings{"rows": 3, "batch": 1})
	last := &p.Stages[len(p.Stages)-1]
	last.Name, last.Config = "mark", settings{"path": path}
	for k, v := range of {
		last.Config[k] = v
	}
	return p, path
}

// TestUndone: whatever a process dies of, what it had announced is undone by another one.
func TestUndone(t *testing.T) {
	for _, how := range []string{"kill", "exit", "stop", "memory", "abort fails", "error", "many"} {
		t.Run(how, func(t *testing.T) {
			cfg := host.Config{Silence: time.Second}
			if how == "memory" {
				cfg.MemoryLimit = 150 << 20
			}
			s := newSetup(t, cfg)
			p, path := s.marked(plan.IsolationStage, settings{"how": how})
			_, f := s.execute(t.Context(), p, nil)
			want := map[string]string{"abort fails": "mark.broken", "error": "mark.broken", "many": "plugin.contract"}[how]
			if want == "" {
				want = "plugin.exited"
			}
			if f == nil || f.Code != want || strings.Contains(f.Message, "left behind") || f.Details[run.DetailLeft] != "" {
				t.Errorf("the fault is %+v, want %s with nothing left", f, want)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("the mark is left")
			}
		})
	}
}

// TestUndoneInTheHost: a clean-up that failed in this process is tried once more there.
func TestUndoneInTheHost(t *testing.T) {
	s := newSetup(t, host.Config{})
	p, path := s.marked(plan.IsolationNone, settings{"how": "abort fails"})
	if _, f := s.execute(t.Context(), p, nil); f == nil || f.Code != "mark.broken" || f.Details[run.DetailLeft] != "" {
		t.Errorf("the fault is %+v", f)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the mark is left")
	}
}

// TestLeftBehind: what cannot be undone the fault names, with what removes it and without a secret; the fault stays
// that of the run.
func TestLeftBehind(t *testing.T) {
	for _, undoes := range []string{"panics", "refuses", "dies", "cannot"} {
		t.Run(undoes, func(t *testing.T) {
			const secret = "geheim-geheim"
			s := newSetup(t, host.Config{TempDir: shortDir(t)})
			p, path := s.marked(plan.IsolationStage, settings{"how": "kill", "undoes": undoes, "token": config.NewSecret(secret)})
			var said []string
			_, f := s.execute(t.Context(), p, func(e run.Event) {
				if l, is := e.(run.Log); is {
					said = append(said, l.Message+l.Attributes["error"]+l.Attributes["what"])
				}
			})
			if f == nil || f.Code != "plugin.exited" || !strings.Contains(f.Message, "was killed by signal 9 (killed); left behind: the mark ") ||
				!strings.HasSuffix(f.Message, ", remove it by: rm it") || f.Details[run.DetailLeft] == "" {
				t.Errorf("the fault is %+v", f)
			}
			if text := strings.Join(said, "\n"); strings.Contains(text+f.Message, secret) || !strings.Contains(text, "something of the run is left behind") {
				t.Errorf("it said %s", text)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// shortDir is a directory whose path leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "csrun")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestNextRunUndoes: what could not be undone at its time a run to the same place undoes, and none to another.
func TestNextRunUndoes(t *testing.T) {
	tmp, out := shortDir(t), t.TempDir()
	at := func(of settings, place string) *fault.Fault {
		s := newSetup(t, host.Config{TempDir: tmp})
		defer s.host.Close()
		s.dir = out
		p, _ := s.marked(plan.IsolationGroup, of)
		if place != "" {
			p.Stages[len(p.Stages)-1].Config["path"] = place
		}
		_, f := s.execute(t.Context(), p, nil)
		return f
	}
	mark := filepath.Join(out, "mark")
	if f := at(settings{"how": "kill", "undoes": "refuses"}, ""); f == nil || f.Details[run.DetailLeft] == "" {
		t.Fatalf("the fault is %+v", f)
	}
	if f := at(settings{}, filepath.Join(out, "another")); f != nil {
		t.Fatal(f)
	}
	if _, err := os.Lstat(mark); err != nil {
		t.Errorf("a run to another place: %v", err)
	}
	if f := at(settings{"how": "error"}, ""); f == nil || f.Code != "mark.broken" {
		t.Fatalf("the fault is %+v", f)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("the mark is left")
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("the journal is left: %v, %v", left, err)
	}
}

// TestAnnouncesTooLong: what is beyond the bounds is refused before it is begun.
func TestAnnouncesTooLong(t *testing.T) {
	s := newSetup(t, host.Config{})
	p, path := s.marked(plan.IsolationGroup, settings{"how": "long"})
	if _, f := s.execute(t.Context(), p, nil); f == nil || f.Code != "plugin.contract" {
		t.Errorf("the fault is %+v", f)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the mark is there")
	}
}
