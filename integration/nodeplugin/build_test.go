package nodeplugin

import (
	"errors"
	"fmt"
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

// sdkSources is the folder of the package that it is written with.
const sdkSources = "../../sdk/javascript"

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

// made is what all tests share: cipherstream, and the plugin's bundle as `npm run build` makes it.
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

// plugin is the folder of the plugin's bundle.
func plugin(t testing.TB) string { return filepath.Join(build(t), "plugin") }

// buildPlugin makes the bundle that the plugin's README tells to make.
func buildPlugin(dir string) error {
	if err := node.Find(); err != nil {
		return fmt.Errorf("the plugin needs Node.js 18.14 or later with npm: %w. Install them with `make deps` (Debian: apt-get install nodejs npm)", err)
	}
	modules, err := node.Modules(sources)
	if err != nil {
		return err
	}
	if err := node.Bundle(dir, modules, sdkSources); err != nil {
		return err
	}
	return node.Execute(sources, "cp", "-R", "plugin", "package.json", "src", dir)
}

func copyFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
