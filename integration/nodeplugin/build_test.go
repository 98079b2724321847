package nodeplugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

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

// missing is an error that means that Node.js or a package of the registry cannot be had here.
type missing struct{ error }

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
	var absent missing
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
	if err := findNode(); err != nil {
		return missing{fmt.Errorf("the plugin needs Node.js 18 or later with npm: %w. Install them with `make deps` (Debian: apt-get install nodejs npm)", err)}
	}
	modules, err := dependencies()
	if err != nil {
		return err
	}
	if err := copyTree(dir, sources); err != nil {
		return err
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		return err
	}
	return execute(dir, "npm", "run", "build")
}

// findNode looks for npm, and for Node.js where a plugin looks for it: the host gives it a PATH of three folders.
func findNode() error {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		if _, err := exec.LookPath(filepath.Join(dir, "node")); err == nil {
			_, err := exec.LookPath("npm")
			return err
		}
	}
	return errors.New("no node in /usr/local/bin, /usr/bin or /bin")
}

// dependencies returns a node_modules with what package-lock.json pins. It is kept in the cache, because fetching it is
// what takes time and a network.
func dependencies() (string, error) {
	cache := os.Getenv("CIPHERSTREAM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "cipherstream")
	}
	hash := sha256.New()
	pinned := []string{"package.json", "package-lock.json", ".npmrc"}
	for _, name := range pinned {
		text, err := os.ReadFile(filepath.Join(sources, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	folder := filepath.Join(cache, "npm")
	kept := filepath.Join(folder, hex.EncodeToString(hash.Sum(nil))[:16])
	modules := filepath.Join(kept, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(folder, "fresh-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for _, name := range pinned {
		if err := copyFile(filepath.Join(fresh, name), filepath.Join(sources, name)); err != nil {
			return "", err
		}
	}
	if err := execute(fresh, "npm", "ci", "--prefer-offline", "--cache", filepath.Join(folder, "downloads")); err != nil {
		return "", missing{fmt.Errorf("the plugin's dependencies cannot be installed: %w", err)}
	}
	// Another test process may have been faster; its folder holds the same.
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return modules, nil
}

// execute runs a program that may have to fetch something.
func execute(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
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
