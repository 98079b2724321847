package scaffold

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/program"
)

// repository is the top of this checkout, which is also one of the SDK.
const repository = "../.."

// programs is a folder with cipherstream in it.
func programs(t *testing.T) string {
	t.Helper()
	path, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

// desk is where an author works: a shell in a folder, with cipherstream on the path and no network for Go.
type desk struct {
	*testing.T
	dir string
	env []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{T: t, dir: t.TempDir(), env: append(os.Environ(),
		"PATH="+programs(t)+string(os.PathListSeparator)+os.Getenv("PATH"),
		// What the modules need is in the cache since this repository was built.
		"GOPROXY=off", "GOWORK=off", "CIPHERSTREAM_SDK=", "CIPHERSTREAM_PLUGINS=", "CIPHERSTREAM_DSN=",
		"MAKEFLAGS=", "MAKELEVEL=", "CGO_ENABLED=0",
	)}
}

// sdk is the whole path of this checkout.
func sdk(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// in is the same desk in a folder below.
func (d *desk) in(folder string) *desk {
	return &desk{T: d.T, dir: filepath.Join(d.dir, folder), env: d.env}
}

// run runs a script, which must succeed, and returns what it wrote to standard output.
func (d *desk) run(script string, env ...string) string {
	d.Helper()
	out, errs, err := d.try(script, env...)
	if err != nil {
		d.Fatalf("%s: %v\n%s%s", script, err, out, errs)
	}
	return out
}

func (d *desk) try(script string, env ...string) (stdout, stderr string, err error) {
	d.Helper()
	shell := exec.CommandContext(d.Context(), "bash", "-euo", "pipefail", "-c", script)
	shell.Dir, shell.Env = d.dir, append(d.env, env...)
	var out, errs strings.Builder
	shell.Stdout, shell.Stderr = &out, &errs
	err = shell.Run()
	return out.String(), errs.String(), err
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
