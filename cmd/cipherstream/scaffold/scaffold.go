// Package scaffold writes the Go module, or the program in Python or JavaScript, of a new plugin: one stage that does something small, its tests, and what is needed
// to build, test and install it. It owns the templates, the modules that a plugin needs, and how files come into being: all
// of them or none. It never runs a program, never writes over a file, and knows nothing of the command line.
package scaffold

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Module describes the module of a new plugin.
type Module struct {
	// Name is the name of the plugin and of its stage: lower case, digits and dashes.
	Name string
	// Kind is the kind of its stage, and Variant the example of that kind that it begins with. Default: the usual one.
	Kind    stage.Kind
	Variant string
	// Language is that of the code: one of Languages. Default: Go.
	Language string
	// Path is the path of a Go module. Default: example.com/cipherstream-plugin-NAME.
	Path string
	// SDKVersion is the version of the SDK, without a v.
	SDKVersion string
	// SDK is the folder of a checkout of the SDK that go.mod refers to instead of SDKVersion. A relative one is relative to
	// the working directory, and stays relative in go.mod. Empty: go.mod has no replacement.
	SDK string
}

// The languages of plugins.
const (
	Go         = "go"
	Python     = "python"
	JavaScript = "javascript"
)

// Languages are all that there are, the usual one first.
var Languages = []string{Go, Python, JavaScript}

// Codes of this package's faults.
const (
	codeModule = "scaffold.module"
	codeSDK    = "scaffold.sdk"
	codeFolder = "scaffold.folder"
	codeWrite  = "scaffold.write"
)

var (
	// The rule of plugins.lock, which a test holds this against.
	namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) })
	// Narrower than what Go allows: what can be fetched, and has no other spelling.
	pathPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)
)

func usage(code, format string, args ...any) *fault.Fault {
	return fault.New(code, fault.Usage, format, args...)
}

// checked returns the module with its defaults, or says what is wrong with it.
func (m Module) checked() (Module, error) {
	if !namePattern().MatchString(m.Name) {
		return m, usage(codeModule, "%q is no name of a plugin", m.Name).
			WithHint("use at most 63 lower-case letters, digits and dashes, and no dash in front")
	}
	if !slices.Contains(stage.Kinds, m.Kind) {
		return m, usage(codeModule, "%q is no kind of stage", m.Kind).WithHint("kinds are %s", kinds())
	}
	if _, ok := find(m.Kind, m.Variant); !ok {
		f := usage(codeModule, "there is no %s that is called %q", m.Kind, m.Variant)
		if variants := variants(m.Kind); len(variants) > 0 {
			return m, f.WithHint("variants are %s; without one it is the usual %s", strings.Join(variants, ", "), m.Kind)
		}
		return m, f.WithHint("leave the variant out: there is one %s", m.Kind)
	}
	switch {
	case m.Language == "":
		m.Language = Go
	case !slices.Contains(Languages, m.Language):
		return m, usage(codeModule, "%q is no language of plugins", m.Language).WithHint("languages are %s", strings.Join(Languages, ", "))
	case m.Language != Go && m.Path != "":
		return m, usage(codeModule, "a plugin in %s is no Go module, and has no path", m.Language).WithHint("leave --module out")
	}
	if m.Path == "" {
		m.Path = "example.com/" + program(m.Name)
	}
	switch {
	case len(m.Path) > 200, !pathPattern.MatchString(m.Path), strings.HasSuffix(m.Path, "."), strings.Contains(m.Path, "./"):
		return m, usage(codeModule, "%q is no path of a Go module", m.Path).WithHint("write it as in an import: example.org/you/%s", program(m.Name))
	case m.Path == sdkModule, strings.HasPrefix(m.Path, sdkModule+"/"):
		return m, usage(codeModule, "%s is the SDK's own module path", m.Path).WithHint("give the plugin one of its own with --module")
	}
	return m, nil
}

// variants are the names of a kind's examples beside the usual one.
func variants(kind stage.Kind) (names []string) {
	for _, x := range Examples {
		if x.Kind == kind && x.Variant != "" {
			names = append(names, x.Variant)
		}
	}
	return names
}

func kinds() string {
	var names []string
	for _, k := range stage.Kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// program is the name of a plugin's program, by which the host finds it.
func program(name string) string { return "cipherstream-plugin-" + name }

// Write writes the module into dir, which is empty or not there yet; the folder above it exists. It returns the names of the
// files, with slashes, in order. After an error nothing is left that was not there before.
func Write(ctx context.Context, m Module, dir string) ([]string, error) {
	m, err := m.checked()
	if err != nil {
		return nil, err
	}
	files, err := m.render(dir)
	if err != nil {
		return nil, err
	}
	// What is left of a failure goes the way it came, so that nothing is removed that somebody else has made meanwhile.
	var made []string
	undo := func() {
		for _, path := range slices.Backward(made) {
			_ = os.Remove(path)
		}
	}
	if made, err = makeRoot(dir); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		folders, err := makeFolders(dir, filepath.Dir(path))
		made = append(made, folders...)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			var began bool
			if began, err = writeNew(path, f.text); began {
				made = append(made, path)
			}
		}
		if err != nil {
			undo()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fault.New(codeWrite, fault.Sink, "the module cannot be written: %w", err)
		}
		names = append(names, f.name)
	}
	return names, nil
}

// makeRoot makes the module's folder, and returns it, unless it is there and empty.
func makeRoot(dir string) (made []string, err error) {
	err = os.Mkdir(dir, 0o777)
	if err == nil {
		return []string{dir}, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		f := usage(codeFolder, "the folder cannot be made: %w", err)
		if errors.Is(err, fs.ErrNotExist) {
			f.WithHint("make the folder above it first: mkdir -p %s", filepath.Dir(dir))
		}
		return nil, f
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return nil, usage(codeFolder, "%s is there already, and is no folder", dir).WithHint("choose another place with --dir")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, usage(codeFolder, "the folder cannot be used: %w", err)
	}
	if len(entries) > 0 {
		return nil, usage(codeFolder, "the folder %s is not empty: it has %s in it", dir, entries[0].Name()).WithHint("choose another place with --dir")
	}
	return nil, nil
}

// makeFolders makes the folders between root and dir, and returns those that it has made.
func makeFolders(root, dir string) (made []string, err error) {
	if dir == root || dir == filepath.Clean(root) {
		return nil, nil
	}
	if made, err = makeFolders(root, filepath.Dir(dir)); err != nil {
		return made, err
	}
	err = os.Mkdir(dir, 0o777)
	switch {
	case err == nil:
		return append(made, dir), nil
	case errors.Is(err, fs.ErrExist):
		return made, nil
	}
	return made, err
}

// writeNew writes a file that is not there yet, and reports whether it has made it.
func writeNew(path string, text []byte) (began bool, err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return false, err
	}
	_, err = file.Write(text)
	return true, errors.Join(err, file.Close())
}
