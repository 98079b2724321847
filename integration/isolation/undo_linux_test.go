package isolation

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// claimSettings are those of a sink that announces files, and believes every announcement.
type claimSettings struct {
	Path   string   `config:"path"`
	Claims []string `config:"claims"`
}

type claim struct {
	claimSettings
	env stage.Env
}

func (c claim) Open(ctx context.Context, _ stage.Object) error {
	for _, path := range c.Claims {
		if _, err := c.env.Announce(ctx, stage.Resource{Name: "the file " + path, State: []byte(path)}); err != nil {
			return err
		}
	}
	return nil
}

func (claim) Write(context.Context, []byte) error {
	os.Exit(9)
	return nil
}

func (claim) Commit(context.Context) (stage.Receipt, error) { return stage.Receipt{}, nil }
func (claim) Abort(context.Context) error                   { return nil }

func (claim) Undo(_ context.Context, r stage.Resource) error {
	if err := os.Remove(string(r.State)); err != nil {
		return fault.New("claim.remove", fault.Sink, "cannot remove it: %w", err)
	}
	return nil
}

// TestHostileAnnouncement: a plugin that announces what is not its own reaches with it what it is granted, and nothing else,
// because it is itself that is asked to undo it. What stays the fault names.
func TestHostileAnnouncement(t *testing.T) {
	if !confinable() {
		t.Log("this system confines nobody, so that a plugin may do all that its user may")
		return
	}
	s := newSetup(t, host.Config{}, false)
	granted := filepath.Join(s.out, "granted")
	victim, link := filepath.Join(t.TempDir(), "victim"), filepath.Join(s.out, "link")
	for _, path := range []string{granted, victim} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(victim), link); err != nil {
		t.Fatal(err)
	}
	outside := []string{victim, filepath.Join(link, "victim"), s.out + "/../" + filepath.Base(filepath.Dir(victim)) + "/victim"}
	claims := []any{granted}
	for _, path := range outside {
		claims = append(claims, path)
	}
	_, f := s.execute(t.Context(), s.planOf(stage.KindSink, "claim", settings{"claims": claims}), nil)
	if f == nil || f.Code != "plugin.exited" || strings.Contains(f.Details[run.DetailLeft], granted) {
		t.Fatalf("the fault is %+v", f)
	}
	for _, path := range outside {
		if !strings.Contains(f.Details[run.DetailLeft], "the file "+path) {
			t.Errorf("%s is not named: %s", path, f.Details[run.DetailLeft])
		}
	}
	// The next host remembers it, until it is over.
	if err := s.host.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := host.New(host.Config{FirstParty: runnertest.Bundle(firstParty), TempDir: s.tmp})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	next.Leftovers(func(list []host.Leftover) []bool {
		if len(list) != len(outside) || list[0].Plugin != thirdParty || list[0].Resource.RunID != "r1" {
			t.Errorf("remembered are %+v", list)
		}
		return slices.Repeat([]bool{true}, len(list))
	})
	if _, err := os.Lstat(granted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the plugin may remove: %v", err)
	}
	if _, err := os.Lstat(victim); err != nil {
		t.Errorf("what it may not: %v", err)
	}
}
