package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
)

// TestBrokenPluginUnused: a plugin whose program is gone, altered or does not start fails the
// pipelines that ask for it, at their line, and no other.
func TestBrokenPluginUnused(t *testing.T) {
	dir := t.TempDir()
	program, _ := smallProgram(t, "good-plugin")
	if got := cmdtest.Call(t, "plugin", "install", program, "--plugins", dir); got.Code != terminal.ExitDone {
		t.Fatalf("install: %+v", got)
	}
	lock := filepath.Join(dir, host.LockName)
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "odd"), []byte("#!/bin/sh\necho no licence >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	const digest = "82ec77bab96caf1a9b4a0d2aa1ba8eb68a4ea9d70c6cd1ed0e3e8b0c6cfb26d2"
	text = append(text, "  - {name: gone, version: 0.2.0, sha256: "+digest+"}\n  - {name: changed, version: 0.3.0, sha256: "+digest+", file: odd}\n"...)
	if err := os.WriteFile(lock, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(session.EnvPlugins, dir)
	pipeline := filepath.Join(t.TempDir(), "own.yaml")
	using := func(filter string) {
		t.Helper()
		if err := os.WriteFile(pipeline, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: own, title: Own}
spec:
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: SELECT 7 AS n}}
    filter: {use: `+filter+`, with: {column: n}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, filter := range []string{"pass", "good/pass"} {
		using(filter)
		got := cmdtest.Call(t, "run", pipeline, "--dsn", cmdtest.SmallPractice(t), "--progress", "none")
		if got.Code != terminal.ExitDone || got.Stdout != "{\"n\":7}\n" {
			t.Errorf("%s: %+v", filter, got)
		}
	}
	for filter, want := range map[string][]string{
		"gone/pass":    {"[plugin.missing]", `filter "gone/pass" cannot be had: plugin "gone" is in plugins.lock, but the program cannot be read`, pipeline + ":7:"},
		"changed/pass": {"[plugin.digest]", `filter "changed/pass" cannot be had: the program of plugin "changed" does not match plugins.lock`, pipeline + ":7:"},
		"unheard-of": {"[plan.unknown_stage]", `no filter is called "unheard-of"`,
			`what the broken plugins "gone" (plugin.missing), "changed" (plugin.digest) would offer is not known: see "cipherstream plugin list"`},
	} {
		using(filter)
		for _, command := range [][]string{{"lint", pipeline}, {"run", pipeline, "--dsn", cmdtest.SmallPractice(t)}} {
			got := cmdtest.Call(t, command...)
			for _, text := range want {
				if got.Code != terminal.ExitUsage || !strings.Contains(got.Stdout+got.Stderr, text) {
					t.Errorf("%v with %s lacks %q: %+v", command, filter, text, got)
				}
			}
		}
	}
	if got := cmdtest.Call(t, "describe", "appointments"); got.Code != terminal.ExitDone {
		t.Errorf("describe: %+v", got)
	}
	if got := cmdtest.Call(t, "schema"); got.Code != terminal.ExitDone {
		t.Errorf("schema: %+v", got)
	}
}
