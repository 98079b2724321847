// Package examplebundle gives tests of the SDKs of other languages what is the same for all of them: a bundle with a stage of every
// kind, as "plugin new" begins them, the checks that each stage has to pass, and a run of all of them.
package examplebundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/integration/program"
)

// Stages writes every stage that a plugin can begin with into the folder of a bundle, as stage_NAME and a suffix, with modules
// of their own below work. It returns their names and what "plugin test" is to be told of them.
func Stages(ctx context.Context, language, suffix, work, bundle string) (names []string, settings string, err error) {
	var all strings.Builder
	for _, x := range scaffold.Examples {
		name := strings.TrimSuffix(string(x.Kind)+"_"+x.Variant, "_")
		module := filepath.Join(work, name)
		m := scaffold.Module{
			Name: "clinic-" + strings.ReplaceAll(name, "_", "-"), Kind: x.Kind, Variant: x.Variant, Language: language, SDKVersion: "1.2.3",
		}
		if _, err := scaffold.Write(ctx, m, module); err != nil {
			return nil, "", err
		}
		text, err := os.ReadFile(filepath.Join(module, "stage"+suffix))
		if err != nil {
			return nil, "", err
		}
		if err := os.WriteFile(filepath.Join(bundle, "stage_"+name+suffix), text, 0o600); err != nil {
			return nil, "", err
		}
		trial, err := os.ReadFile(filepath.Join(module, "plugin.test.yaml"))
		if err != nil {
			return nil, "", err
		}
		all.Write(trial)
		names = append(names, name)
	}
	return names, all.String(), nil
}

// Call runs cipherstream, and returns what it prints.
func Call(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	var out, noise bytes.Buffer
	command := exec.CommandContext(t.Context(), path, args...)
	command.Stdout, command.Stderr = &out, &noise
	err = command.Run()
	return out.String(), noise.String(), err
}

// Conformance runs the checks that every stage has to pass, as its author would, with the settings that a file has.
func Conformance(t *testing.T, dir, settings string) {
	for _, x := range scaffold.Examples {
		if x.Variant == "end" {
			continue // it is in TestRun
		}
		name := strings.TrimSuffix(string(x.Kind)+"-"+x.Variant, "-")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got struct {
				Passed, Failed, Refused, Skipped int
				Checks                           []struct {
					Check, Status string
					Details       []string
				}
			}
			stdout, stderr, err := Call(t, "plugin", "test", dir, "--stage", string(x.Kind)+"/clinic-"+name, "--settings", settings, "--json")
			if jsonErr := json.Unmarshal([]byte(stdout), &got); jsonErr != nil {
				t.Fatalf("%v, %v: %s%s", err, jsonErr, stdout, stderr)
			}
			if err != nil || got.Passed < 8 || got.Failed+got.Refused+got.Skipped > 0 {
				t.Errorf("%v: %s\n%+v", err, stderr, got)
			}
		})
	}
}

// installed installs the bundle, for a pipeline of its stages, which it writes, and gives the paths of what is in the folder of
// both: plugins, pipeline.yaml, and out, which has what runs make.
func installed(t *testing.T, dir string) (at func(name string) string) {
	t.Helper()
	tmp := t.TempDir()
	at = func(name string) string { return filepath.Join(tmp, name) }
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
	if stdout, stderr, err := Call(t, "plugin", "install", dir, "--plugins", at("plugins"), "--allow-files", at("in")+":ro", "--allow-files", at("out")+":rw"); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	return at
}

// holds fails the test unless a run has made what it has to of what installed gives it; that is removed.
func holds(t *testing.T, at func(name string) string, how string) {
	t.Helper()
	made, err := filepath.Glob(at("out/*"))
	if err != nil || len(made) != 1 {
		t.Fatalf("%s: there is %v, %v", how, made, err)
	}
	text, err := os.ReadFile(made[0])
	if want := "ONE\t5000\nTWO\t5000\nÜBER\t5000\n"; err != nil || string(text) != want {
		t.Errorf("%s: it made %q, %v", how, text, err)
	}
	if err := os.Remove(made[0]); err != nil {
		t.Fatal(err)
	}
}

// Run installs the bundle, and runs a pipeline of its stages, each in a process of its own and all in one. A bundle that is
// changed afterwards, by another text of a file of it, is not started.
func Run(t *testing.T, dir, file, other string) {
	at := installed(t, dir)
	for _, isolation := range []string{"group", "stage"} {
		if stdout, stderr, err := Call(t, "run", at("pipeline.yaml"), "--plugins", at("plugins"), "--progress", "none", "--isolation", isolation); err != nil {
			t.Fatalf("isolation %s: %v: %s%s", isolation, err, stdout, stderr)
		}
		holds(t, at, "isolation "+isolation)
	}
	files, err := filepath.Glob(at("plugins/cipherstream-plugin-clinic-*/" + file))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := errors.Join(os.Chmod(files[0], 0o600), os.WriteFile(files[0], []byte(other), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := Call(t, "run", at("pipeline.yaml"), "--plugins", at("plugins"), "--progress", "none"); err == nil || !strings.Contains(stderr, "does not match plugins.lock") {
		t.Errorf("a changed bundle: %v: %s", err, stderr)
	}
}
