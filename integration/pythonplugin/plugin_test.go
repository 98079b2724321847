package pythonplugin

import (
	"bytes"
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
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
)

const sdk = "../../sdk/python"

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
	absent   error
	err      error
}

// interpreter is the Python with the packages.
func interpreter(t testing.TB) string {
	t.Helper()
	path, err := python.Plugins()
	if err != nil {
		required.Missing(t, err.Error())
	}
	return path
}

// bundle makes the bundle, once, and returns its folder.
func bundle(t testing.TB) string {
	t.Helper()
	path := interpreter(t)
	made.once.Do(func() {
		if made.dir, made.err = os.MkdirTemp("", "pythonplugin"); made.err == nil {
			made.err = build(t, path, filepath.Join(made.dir, "bundle"))
		}
	})
	if made.absent != nil {
		required.Missing(t, made.absent.Error())
	}
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.dir, "bundle")
}

func build(t testing.TB, interpreter, dir string) error {
	tell := "import sys; print(*sys.version_info[:2])"
	version, err := exec.Command(interpreter, "-c", tell).Output()
	if err != nil {
		return err
	}
	system := exec.Command("env", "python3", "-c", tell)
	system.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	if ours, err := system.Output(); err != nil || !bytes.Equal(ours, version) {
		made.absent = fmt.Errorf("plugins in Python are run by the python3 in /usr/local/bin, /usr/bin or /bin, which must be version %s, as the packages are: %q, %w",
			strings.ReplaceAll(strings.TrimSpace(string(version)), " ", "."), ours, err)
		return nil
	}
	if err := python.Bundle(dir, sdk); err != nil {
		return err
	}
	names, settings, err := examplebundle.Stages(t.Context(), scaffold.Python, ".py", made.dir, dir)
	if err != nil {
		return err
	}
	var imports, stages strings.Builder
	for _, name := range names {
		fmt.Fprintf(&imports, "import stage_%s\n", name)
		fmt.Fprintf(&stages, "stage_%s.Stage, ", name)
	}
	text, err := os.ReadFile(filepath.Join(made.dir, "filter", "plugin"))
	if err != nil {
		return err
	}
	program := strings.Replace(string(text), "from stage import Stage  # noqa: E402\n", imports.String(), 1)
	program = strings.Replace(program, "serve(Stage, name=\"clinic-filter\"", "serve("+stages.String()+"name=\"clinic\"", 1)
	made.settings = filepath.Join(made.dir, "settings.yaml")
	return errors.Join(os.WriteFile(filepath.Join(dir, "plugin"), []byte(program), 0o700), os.WriteFile(made.settings, []byte(settings), 0o600))
}

// TestUnits runs the tests of the package sdk/python, and holds its generated code against control.proto.
func TestUnits(t *testing.T) {
	t.Parallel()
	path, err := filepath.Abs(sdk)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), interpreter(t), "-B", "-W", "error::SyntaxWarning", "-m", "unittest", "discover", "-s", filepath.Join(path, "tests"))
	command.Env = append(os.Environ(), "PYTHONPATH="+path)
	out, err := command.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\nOK")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestGenerated: the committed code is what the pinned compiler makes of control.proto.
func TestGenerated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), interpreter(t), "-m", "grpc_tools.protoc", "-I", "../../sdk/control/controlpb", "--python_out="+dir, "--pyi_out="+dir, "control.proto")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"control_pb2.py", "control_pb2.pyi"} {
		fresh, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if committed, err := os.ReadFile(filepath.Join(sdk, "cipherstream", name)); err != nil || !bytes.Equal(fresh, committed) {
			t.Errorf("sdk/python/cipherstream/%s is not what control.proto makes (%v): run make proto", name, err)
		}
	}
}

// TestTypes: mypy, as strict as it can be, finds nothing to say about the package.
func TestTypes(t *testing.T) {
	t.Parallel()
	checker, err := python.Mypy()
	if err != nil {
		required.Missing(t, err.Error())
	}
	command := exec.CommandContext(t.Context(), checker, "-m", "mypy", "--cache-dir", t.TempDir(), "--python-executable", interpreter(t), "cipherstream")
	command.Dir = sdk
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConformance runs the checks that every stage has to pass on a bundle with all six kinds, as its author would.
func TestConformance(t *testing.T) {
	t.Parallel()
	examplebundle.Conformance(t, bundle(t), made.settings)
}
