package install_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestVerify breaks a plugin in every way.
func TestVerify(t *testing.T) {
	type text = []byte
	for _, c := range []struct {
		name string
		// spoil changes the folder, in which good is installed; program is its path.
		spoil  func(t *testing.T, lock *string, program string)
		checks string // a letter for each check: passed, Failed, skipped
		codes  []string
	}{
		{"good", func(*testing.T, *string, string) {}, "pppppppp", nil},
		{"missing", func(t *testing.T, _ *string, program string) { remove(t, program) }, "pFssssss", []string{"plugin.missing"}},
		{"link", func(t *testing.T, _ *string, program string) {
			remove(t, program)
			if err := os.Symlink("/bin/true", program); err != nil {
				t.Fatal(err)
			}
		}, "pFssssss", []string{"plugin.program"}},
		{"changed", func(t *testing.T, _ *string, program string) { rewrite(t, program, text("#!/bin/sh\n")) }, "ppFsssss", []string{"plugin.digest"}},
		{"does not start", func(t *testing.T, lock *string, program string) {
			repin(t, lock, program, text("#!/bin/sh\nexit 3\n"))
		}, "pppFssss", []string{"plugin.start"}},
		{"other protocol", func(t *testing.T, lock *string, program string) {
			repin(t, lock, program, text("#!/bin/sh\necho '1|7|unix|/nowhere|grpc'\nexec sleep 600\n"))
		}, "ppppFsss", []string{"plugin.protocol"}},
		{"other name and version", func(t *testing.T, lock *string, program string) {
			repin(t, lock, program, plugin(t, "bad.newer"))
		}, "pppppFFp", []string{"plugin.name", "plugin.version"}},
		{"network", func(t *testing.T, lock *string, program string) {
			repin(t, lock, program, plugin(t, "good.network"))
		}, "pppppppF", []string{"install.network"}},
		{"network granted", func(t *testing.T, lock *string, program string) {
			now := plugin(t, "good.network")
			repin(t, lock, program, now)
			granted := host.LockEntry{Name: "good", SHA256: digestOf(now), Network: true}
			*lock += "    network: true\n    grants: " + granted.GrantsOf() + "\n"
		}, "pppppppp", nil},
		{"network by hand", func(t *testing.T, lock *string, program string) {
			repin(t, lock, program, plugin(t, "good.network"))
			*lock += "    network: true\n"
		}, "Fsssssss", []string{"plugin.grants"}},
		{"grants to another program", func(t *testing.T, lock *string, program string) {
			granted := host.LockEntry{Name: "good", SHA256: digestOf(plugin(t, "good")), Network: true}
			repin(t, lock, program, plugin(t, "good.network"))
			*lock += "    network: true\n    grants: " + granted.GrantsOf() + "\n"
		}, "Fsssssss", []string{"plugin.grants"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t)
			entry := must(t, cfg, install.Request{From: file(t, "x", plugin(t, "good"))}).Entry
			path := filepath.Join(cfg.Host.PluginDir, host.LockName)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lock := string(content)
			c.spoil(t, &lock, filepath.Join(cfg.Host.PluginDir, entry.File))
			rewrite(t, path, text(lock))
			all, err := install.Verify(t.Context(), cfg)
			if err != nil || len(all) != 1 {
				t.Fatalf("got %+v, %v", all, err)
			}
			v := all[0]
			var checks strings.Builder
			for _, check := range install.Checks {
				checks.WriteString(map[install.Status]string{install.Passed: "p", install.Failed: "F", install.Skipped: "s"}[v.Checks[check]])
			}
			var codes []string
			for _, f := range v.Faults {
				codes = append(codes, f.Code)
			}
			if checks.String() != c.checks || !slices.Equal(codes, c.codes) || v.OK() != (len(c.codes) == 0) || v.Entry.Name != "good" {
				t.Errorf("got %s %v, want %s %v", checks.String(), codes, c.checks, c.codes)
			}
		})
	}
}

func TestVerifySome(t *testing.T) {
	cfg := config(t)
	for _, name := range []string{"a", "b", "c"} {
		must(t, cfg, install.Request{From: file(t, "x", plugin(t, name))})
	}
	all, err := install.Verify(t.Context(), cfg, "c", "a")
	if err != nil || len(all) != 2 || all[0].Entry.Name != "c" || !all[0].OK() || all[1].Entry.Name != "a" {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := install.Verify(t.Context(), cfg, "d"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("an unknown one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := install.Verify(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	remove(t, path)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// repin puts another program in the place of one, and pins it.
func repin(t *testing.T, lock *string, path string, program []byte) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, program)
	*lock = strings.ReplaceAll(*lock, digestOf(old), digestOf(program))
}
