package nodeplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/integration/node"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// sources is the plugin's folder.
const sources = "../../examples/plugins/node-redact"

// programName is what the host looks for in a plugin folder.
const programName = "cipherstream-plugin-redact"

// TestMain: the test program is also a third-party plugin with a source, beside the one that is tested. It knows itself
// by the name that the host gives to the copy it has verified.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "program" {
		sdk.Serve(runnertest.Bundle("third"))
		return
	}
	code := m.Run()
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

// made is what all tests share: cipherstream, and the plugin as `npm run build` makes it.
var made struct {
	once    sync.Once
	program string
	dir     string
	err     error
}

// build makes the programs, once, and returns the folder that holds the plugin.
func build(t testing.TB) string {
	t.Helper()
	made.once.Do(func() {
		if made.dir, made.err = os.MkdirTemp("", "nodeplugin"); made.err != nil {
			return
		}
		if made.program, made.err = built.Path(); made.err == nil {
			made.err = buildPlugin(filepath.Join(made.dir, "plugin"))
		}
	})
	var absent node.Missing
	if errors.As(made.err, &absent) {
		required.Missing(t, made.err.Error())
	}
	if made.err != nil {
		t.Fatal(made.err)
	}
	return made.dir
}

// program is the path of cipherstream.
func program(t testing.TB) string {
	build(t)
	return made.program
}

// plugin is the path of the plugin's program.
func plugin(t testing.TB) string { return filepath.Join(build(t), "plugin", programName) }

// buildPlugin builds the plugin in a copy of its folder, as its README says.
func buildPlugin(dir string) error {
	if err := node.Find(); err != nil {
		return fmt.Errorf("the plugin needs Node.js 18 or later with npm: %w. Install them with `make deps` (Debian: apt-get install nodejs npm)", err)
	}
	modules, err := node.Modules(sources)
	if err != nil {
		return err
	}
	if err := copyTree(dir, sources); err != nil {
		return err
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		return err
	}
	return node.Execute(dir, "npm", "run", "build")
}

// copyTree copies the files of a folder, without what is built in it.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case entry.Name() == "node_modules":
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rest), 0o755)
		case entry.Name() == programName:
			return nil
		}
		return copyFile(filepath.Join(to, rest), path)
	})
}

func copyFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
