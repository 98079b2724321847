package breaking

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/integration/node"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// TestMain: the test program is also the plugin in Go, whose source the others' filters stand behind. It knows itself by the name that
// the host gives to the copy it has verified.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "program" {
		b := runnertest.Bundle("golang")
		b.Stages = append(b.Stages, defineBreaks())
		sdk.Serve(b)
		return
	}
	os.Exit(m.Run())
}

// languages are the file with the stage of each, and the program of its plugin.
var languages = map[string]struct {
	file, program string
	// pack puts what the plugin needs into its folder.
	pack func(t *testing.T, dir string) error
}{
	"golang": {file: "filter_test.go"},
	"python": {"testdata/stage.py", "#!/usr/bin/env -S python3 -IB\nimport os, sys\nhere = os.path.dirname(os.path.abspath(__file__))\n" +
		"sys.path[:0] = [here, os.path.join(here, 'lib')]\nfrom cipherstream import serve\nfrom stage import Stage\nserve(Stage, name='python', version='1.0.0')\n", packPython},
	"javascript": {"testdata/stage.mjs", "#!/usr/bin/env node\nimport('cipherstream/serve').then(({ serve }) => " +
		"serve({ name: 'javascript', version: '1.0.0', stages: [`${__dirname}/stage.mjs`] }));\n", packJavaScript},
}

func packPython(t *testing.T, dir string) error {
	if _, err := python.Plugins(); err != nil {
		required.Missing(t, err.Error())
	}
	return python.Bundle(dir, "../../sdk/python")
}

func packJavaScript(t *testing.T, dir string) error {
	modules, err := node.Modules("../../sdk/javascript")
	var absent node.Missing
	if errors.As(err, &absent) {
		required.Missing(t, err.Error())
	}
	if err != nil {
		return err
	}
	return node.Bundle(dir, modules, "../../sdk/javascript")
}

// TestBreaking: what breaks is named: the plugin, the stage and the line, and nothing of a row.
func TestBreaking(t *testing.T) {
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for language, of := range languages {
		t.Run(language, func(t *testing.T) {
			dir := t.TempDir()
			plugins := filepath.Join(dir, "plugins")
			t.Cleanup(func() { _ = host.RemoveBundle(plugins) })
			install := func(path string) {
				t.Helper()
				if out, err := exec.Command(program, "plugin", "install", path, "--plugins", plugins).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			install(self)
			if of.pack != nil {
				bundle := filepath.Join(dir, "bundle")
				if err := os.MkdirAll(bundle, 0o700); err != nil {
					t.Fatal(err)
				}
				stage, err := os.ReadFile(of.file)
				if err == nil {
					err = errors.Join(of.pack(t, bundle), os.WriteFile(filepath.Join(bundle, filepath.Base(of.file)), stage, 0o600),
						os.WriteFile(filepath.Join(bundle, "plugin"), []byte(of.program), 0o700))
				}
				if err != nil {
					t.Fatal(err)
				}
				install(bundle)
			}
			for how, code := range map[string]string{"exception": "plugin.panic", "hang": "plugin.stalled", "contract": "plugin.contract", "memory": "plugin.exited"} {
				t.Run(how, func(t *testing.T) {
					pipeline := filepath.Join(dir, how+".yaml")
					text := fmt.Sprintf(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: breaking, title: Breaking}
spec:
  limits: {stall: %s}
  stages:
    source: {use: golang/count, with: {rows: 1000}}
    filter: {use: %s/breaks, with: {how: %s}, isolation: process}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`, map[bool]string{true: "1s", false: "1m"}[how == "hang"], language, how)
					if err := os.WriteFile(pipeline, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					var said bytes.Buffer
					run := exec.CommandContext(t.Context(), program, "run", pipeline, "--plugins", plugins, "--progress", "none", "--plugin-memory", "512MiB")
					run.Stderr = &said
					begun := time.Now()
					err := run.Run()
					if took := time.Since(begun); err == nil || took > time.Minute { // ten seconds were too few on a busy machine
						t.Errorf("it ended with %v after %s", err, took)
					}
					got := said.String()
					wanted := []string{"[" + code + "]", "stage: filter"}
					if how == "hang" { // it is its own limit that ends it, not another one later
						wanted = append(wanted, "has taken more than 1s")
					}
					for _, want := range wanted {
						if !strings.Contains(got, want) {
							t.Errorf("it does not say %s", want)
						}
					}
					if !strings.Contains(got, `plugin "`+language+`"`) && !strings.Contains(got, "plugin: "+language) {
						t.Errorf("it does not name the plugin")
					}
					if !namesLine(t, got, of.file, how) {
						t.Errorf("it does not name the line")
					}
					if strings.Contains(got, "Jane") {
						t.Errorf("it shows a row")
					}
					if t.Failed() {
						t.Log(got)
					}
				})
			}
		})
	}
}

// namesLine reports whether a text names a line of a file that is marked with what breaks there.
func namesLine(t *testing.T, said, file, how string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if regexp.MustCompile(`(//|#) `+how+`$`).MatchString(line) && strings.Contains(said, fmt.Sprintf("%s:%d", filepath.Base(file), i+1)) {
			return true
		}
	}
	return false
}
