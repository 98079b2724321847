package javascriptplugin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	"github.com/cipherstream/cipherstream/integration/examplebundle"
	"github.com/cipherstream/cipherstream/integration/node"
	"github.com/cipherstream/cipherstream/integration/required"
)

const sdk = "../../sdk/javascript"

func TestMain(m *testing.M) {
	code := m.Run()
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

// made is what all tests share: a bundle with every stage that a plugin can begin with.
var made struct {
	once     sync.Once
	dir      string
	settings string // for plugin test
	err      error
}

// modules is the folder of the packages that the SDK needs, and of what checks it.
func modules(t testing.TB) string {
	t.Helper()
	dir, err := node.Modules(sdk)
	if err == nil {
		err = node.Find()
	}
	var absent node.Missing
	switch {
	case errors.As(err, &absent):
		required.Missing(t, err.Error())
	case err != nil:
		t.Fatal(err)
	}
	return dir
}

// bundle makes the bundle, once, and returns its folder.
func bundle(t testing.TB) string {
	t.Helper()
	packages := modules(t)
	made.once.Do(func() {
		if made.dir, made.err = os.MkdirTemp("", "javascriptplugin"); made.err == nil {
			made.err = build(t, packages, filepath.Join(made.dir, "bundle"))
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.dir, "bundle")
}

func build(t testing.TB, packages, dir string) error {
	if err := node.Bundle(dir, packages, sdk); err != nil {
		return err
	}
	names, settings, err := examplebundle.Stages(t.Context(), scaffold.JavaScript, ".mjs", made.dir, dir)
	if err != nil {
		return err
	}
	stages := make([]string, len(names))
	for i, name := range names {
		stages[i] = "`${__dirname}/stage_" + name + ".mjs`"
	}
	text, err := os.ReadFile(filepath.Join(made.dir, "filter", "plugin"))
	if err != nil {
		return err
	}
	program := strings.NewReplacer("`${__dirname}/stage.mjs`", strings.Join(stages, ", "), "'clinic-filter'", "'clinic'").Replace(string(text))
	made.settings = filepath.Join(made.dir, "settings.yaml")
	return errors.Join(os.WriteFile(filepath.Join(dir, "plugin"), []byte(program), 0o700), os.WriteFile(made.settings, []byte(settings), 0o600))
}

// TestUnits runs the tests of the package sdk/javascript, and the compiler of TypeScript, which holds its code against the types that
// its comments say.
func TestUnits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "cp", "-R", sdk+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"check", "test"} {
		command := exec.CommandContext(t.Context(), "npm", "run", "--silent", script)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("npm run %s: %v\n%s", script, err, out)
		}
	}
}

// TestGenerated: the package has the control service's definition in it.
func TestGenerated(t *testing.T) {
	t.Parallel()
	proto, err := os.ReadFile("../../sdk/control/controlpb/control.proto")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile(filepath.Join(sdk, "src", "control.js"))
	if err != nil || !strings.Contains(string(committed), fmt.Sprintf("export default String.raw`%s`;\n", proto)) {
		t.Errorf("sdk/javascript/src/control.js is not what control.proto says (%v): run make proto", err)
	}
}

// TestConformance runs the checks that every stage has to pass on a bundle with all six kinds, as its author would.
func TestConformance(t *testing.T) {
	t.Parallel()
	examplebundle.Conformance(t, bundle(t), made.settings)
}
