package pythonplugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestRun installs the bundle, and runs a pipeline of its stages, each in a process of its own and all in one. A bundle that is
// changed afterwards is not started.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := bundle(t)
	tmp := t.TempDir()
	at := func(name string) string { return filepath.Join(tmp, name) }
	t.Cleanup(func() { _ = host.RemoveBundle(at("plugins")) })
	lines := strings.Repeat("one\ntwo\nüber\n", 5000)
	pipeline := `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: example, title: Example, description: Lines.}
spec:
  stages:
    source: {use: clinic/clinic-source, with: {path: "` + at("in/lines") + `"}}
    filter:
      - {use: clinic/clinic-filter, with: {column: line}}
      - {use: clinic/clinic-filter-end, with: {column: line}}
    encoder: {use: clinic/clinic-encoder}
    sink: {use: clinic/clinic-sink, with: {folder: "` + at("out") + `"}}
`
	if err := errors.Join(os.Mkdir(at("in"), 0o700), os.Mkdir(at("out"), 0o700), os.WriteFile(at("in/lines"), []byte(lines), 0o600),
		os.WriteFile(at("pipeline.yaml"), []byte(pipeline), 0o600)); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := call(t, "plugin", "install", dir, "--plugins", at("plugins"), "--allow-files", at("in")+":ro", "--allow-files", at("out")+":rw"); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	for _, isolation := range []string{"group", "stage"} {
		if stdout, stderr, err := call(t, "run", at("pipeline.yaml"), "--plugins", at("plugins"), "--progress", "none", "--isolation", isolation); err != nil {
			t.Fatalf("isolation %s: %v: %s%s", isolation, err, stdout, stderr)
		}
		made, err := filepath.Glob(at("out/*"))
		if err != nil || len(made) != 1 {
			t.Fatalf("isolation %s: there is %v, %v", isolation, made, err)
		}
		text, err := os.ReadFile(made[0])
		if want := "ONE\t5000\nTWO\t5000\nÜBER\t5000\n"; err != nil || string(text) != want {
			t.Errorf("isolation %s: it made %q, %v", isolation, text, err)
		}
		if err := os.Remove(made[0]); err != nil {
			t.Fatal(err)
		}
	}
	stage, err := filepath.Glob(at("plugins/cipherstream-plugin-clinic-*/stage_filter.py"))
	if err != nil || len(stage) != 1 {
		t.Fatalf("%v, %v", stage, err)
	}
	if err := errors.Join(os.Chmod(stage[0], 0o600), os.WriteFile(stage[0], []byte("import os\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := call(t, "run", at("pipeline.yaml"), "--plugins", at("plugins"), "--progress", "none"); err == nil || !strings.Contains(stderr, "does not match plugins.lock") {
		t.Errorf("a changed bundle: %v: %s", err, stderr)
	}
}
