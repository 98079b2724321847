package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path of this repository's Go module.
const module = "github.com/cipherstream/cipherstream"

// root is the repository's top folder, seen from this package.
const root = "../.."

// goFile is one parsed Go source file.
type goFile struct {
	path string // from the top, with slashes
	test bool
	ast  *ast.File
}

func (f goFile) dir() string { return path.Dir(f.path) }

// imports lists what the file imports.
func (f goFile) imports() []string {
	var all []string
	for _, i := range f.ast.Imports {
		all = append(all, strings.Trim(i.Path.Value, `"`))
	}
	return all
}

// listFiles lists the repository's files, from the top and with slashes, without
// what .gitignore names.
func listFiles(t *testing.T) []string {
	t.Helper()
	ignored := ignorePatterns(t)
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == ".git" || slices.ContainsFunc(ignored, func(pattern string) bool { return matches(pattern, p) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() {
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, "go.mod") {
		t.Fatalf("%s is not the top of the repository: it has no go.mod", root)
	}
	return files
}

func ignorePatterns(t *testing.T) []string {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(read(t, ".gitignore")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return patterns
}

// matches covers the forms that this repository's .gitignore uses: /dir/ at the
// top, and a name or *.ext at any depth.
func matches(pattern, p string) bool {
	if anchored, ok := strings.CutPrefix(pattern, "/"); ok {
		return p == strings.TrimSuffix(anchored, "/")
	}
	ok, err := path.Match(pattern, path.Base(p))
	return err == nil && ok
}

func read(t *testing.T, p string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parseModule parses every Go file of this module, leaving out test data and
// modules nested in it.
func parseModule(t *testing.T) []goFile {
	t.Helper()
	files := listFiles(t)
	var nested []string
	for _, p := range files {
		if path.Base(p) == "go.mod" && p != "go.mod" {
			nested = append(nested, path.Dir(p)+"/")
		}
	}
	var parsed []goFile
	for _, p := range files {
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") ||
			slices.ContainsFunc(nested, func(dir string) bool { return strings.HasPrefix(p, dir) }) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, read(t, p), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, goFile{path: p, test: strings.HasSuffix(p, "_test.go"), ast: file})
	}
	return parsed
}

// allowedTop is all that may stand at the top, beside files whose name begins with
// a dot.
var allowedTop = []string{
	"cmd", "docs", "engine", "examples", "integration", "pipelines", "plugins", "sdk",
	"LICENSE", "Makefile", "README.md", "go.mod", "go.sum",
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	for _, p := range listFiles(t) {
		top, _, _ := strings.Cut(p, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(allowedTop, top) {
			t.Errorf("%s: only these may stand at the top, and dot-files: %s", p, strings.Join(allowedTop, " "))
		}
	}
	for _, name := range []string{"README.md", "LICENSE", "Makefile", ".ci/run"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}

// maxFile keeps generated data, archives and programs out of the history.
const maxFile = 1 << 20

func TestFileSize(t *testing.T) {
	t.Parallel()
	for _, p := range listFiles(t) {
		info, err := os.Lstat(filepath.Join(root, filepath.FromSlash(p)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxFile {
			t.Errorf("%s has %d bytes; a file may have %d at most", p, info.Size(), maxFile)
		}
		if !info.Mode().IsRegular() {
			t.Errorf("%s is a %v; only plain files belong here", p, info.Mode().Type())
		}
	}
}
