package pythonplugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	built "github.com/cipherstream/cipherstream/integration/program"
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
	tell := "import sys, sysconfig; print(*sys.version_info[:2]); print(sysconfig.get_path('purelib'))"
	theirs, err := exec.Command(interpreter, "-c", tell).Output()
	if err != nil {
		return err
	}
	version, packages, _ := strings.Cut(strings.TrimSpace(string(theirs)), "\n")
	system := exec.Command("env", "python3", "-c", tell)
	system.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	if ours, err := system.Output(); err != nil || !strings.HasPrefix(string(ours), version+"\n") {
		made.absent = fmt.Errorf("plugins in Python are run by the python3 in /usr/local/bin, /usr/bin or /bin, which must be version %s, as the packages are: %q, %w",
			strings.ReplaceAll(version, " ", "."), ours, err)
		return nil
	}
	lib := filepath.Join(dir, "lib")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-R", packages, lib).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if out, err := exec.Command("cp", "-R", filepath.Join(sdk, "cipherstream"), lib).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var imports, stages, settings strings.Builder
	for _, x := range scaffold.Examples {
		name := strings.TrimSuffix(string(x.Kind)+"_"+x.Variant, "_")
		module := filepath.Join(made.dir, name)
		m := scaffold.Module{Name: "clinic-" + strings.ReplaceAll(name, "_", "-"), Kind: x.Kind, Variant: x.Variant, Language: scaffold.Python, SDKVersion: "1.2.3"}
		if _, err := scaffold.Write(t.Context(), m, module); err != nil {
			return err
		}
		for from, to := range map[string]string{"stage.py": "stage_" + name + ".py", "file.py": "file.py"} {
			text, err := os.ReadFile(filepath.Join(module, from))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, to), text, 0o600)
			}
			if err != nil {
				return err
			}
		}
		trial, err := os.ReadFile(filepath.Join(module, "plugin.test.yaml"))
		if err != nil {
			return err
		}
		settings.Write(trial)
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
	return errors.Join(os.WriteFile(filepath.Join(dir, "plugin"), []byte(program), 0o700), os.WriteFile(made.settings, []byte(settings.String()), 0o600))
}

// call runs cipherstream, and returns what it prints.
func call(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	var out, noise bytes.Buffer
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdout, command.Stderr = &out, &noise
	err = command.Run()
	return out.String(), noise.String(), err
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
	out, err := exec.CommandContext(t.Context(), interpreter(t), "-m", "grpc_tools.protoc", "-I", "../../sdk/control/controlpb", "--python_out="+dir, "control.proto").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fresh, err := os.ReadFile(filepath.Join(dir, "control_pb2.py"))
	if err != nil {
		t.Fatal(err)
	}
	if committed, err := os.ReadFile(filepath.Join(sdk, "cipherstream", "control_pb2.py")); err != nil || !bytes.Equal(fresh, committed) {
		t.Errorf("sdk/python/cipherstream/control_pb2.py is not what control.proto makes (%v): run make proto", err)
	}
}

// TestConformance runs the checks that every stage has to pass on a bundle with all six kinds, as its author would.
func TestConformance(t *testing.T) {
	t.Parallel()
	dir := bundle(t)
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
			stdout, stderr, err := call(t, "plugin", "test", dir, "--stage", string(x.Kind)+"/clinic-"+name, "--settings", made.settings, "--json")
			if jsonErr := json.Unmarshal([]byte(stdout), &got); jsonErr != nil {
				t.Fatalf("%v, %v: %s%s", err, jsonErr, stdout, stderr)
			}
			if err != nil || got.Passed < 8 || got.Failed+got.Refused+got.Skipped > 0 {
				t.Errorf("%v: %s\n%+v", err, stderr, got)
			}
		})
	}
}
