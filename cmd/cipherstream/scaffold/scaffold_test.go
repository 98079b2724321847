package scaffold

import (
	"context"
	"flag"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

var update = flag.Bool("update", false, "write the golden files, and the modules that a plugin needs, anew")

// repository is a checkout of the SDK: this one.
const repository = "../../.."

func module(kind stage.Kind) Module {
	return Module{Name: "clinic-" + string(kind), Kind: kind, SDKVersion: "1.2.3", SDK: repository}
}

// write writes a module into a new folder.
func write(t *testing.T, m Module) (dir string, names []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "module")
	names, err := Write(t.Context(), m, dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, names
}

// checkout makes a folder that looks like the SDK's, with a go.mod and a go.sum.
func checkout(t *testing.T, mod, sum string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": mod, "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tree lists what lies under a folder.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestFiles holds the list of files of every example, and what every file must be. Every kind has a usual one.
func TestFiles(t *testing.T) {
	t.Parallel()
	for _, kind := range stage.Kinds {
		if _, ok := find(kind, ""); !ok {
			t.Errorf("there is no usual %s", kind)
		}
	}
	var list strings.Builder
	for _, x := range Examples {
		kind := x.folder()
		m := module(x.Kind)
		m.Variant = x.Variant
		dir, names := write(t, m)
		list.WriteString(kind + ":\n  " + strings.Join(names, "\n  ") + "\n")
		onDisk := slices.DeleteFunc(tree(t, dir), func(name string) bool { return name == ".github" || name == ".github/workflows" })
		if !slices.Equal(onDisk, names) || !slices.IsSorted(names) {
			t.Errorf("%s: it says that it wrote %v; there is %v", kind, names, onDisk)
		}
		for _, name := range names {
			text := read(t, dir, name)
			switch path := kind + ": " + name; {
			case strings.Contains(text, "<%") || strings.Contains(text, "<no value>") || !strings.HasSuffix(text, "\n"):
				t.Errorf("%s is not finished:\n%s", path, text)
			case filepath.Ext(name) == ".go":
				formatted, err := format.Source([]byte(text))
				if err != nil {
					t.Errorf("%s: %v", path, err)
				} else if string(formatted) != text {
					t.Errorf("%s is not formatted with gofmt; it should be:\n%s", path, formatted)
				}
			case filepath.Ext(name) == ".yml", filepath.Ext(name) == ".yaml":
				if err := yaml.Unmarshal([]byte(text), new(map[string]any)); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode()&0o111 != 0 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
	golden(t, "files.txt", list.String())
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, path); got != want {
		t.Errorf("it differs from %s (go test -update writes it anew):\n%s", path, got)
	}
}

// TestGolden holds the texts that depend on what is asked for.
func TestGolden(t *testing.T) {
	t.Parallel()
	published := module(stage.KindFilter)
	published.SDK, published.Path = "", "example.org/you/upper"
	dir, _ := write(t, published)
	golden(t, "published_go.mod.txt", read(t, dir, "go.mod"))
	golden(t, "published_README.md", read(t, dir, "README.md"))
	golden(t, "published_test.yml", read(t, dir, ".github/workflows/test.yml"))

	replaced, err := module(stage.KindSink).checked()
	if err != nil {
		t.Fatal(err)
	}
	files, err := replaced.render("module")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch f.name {
		case "go.mod", "README.md", "Makefile", ".github/workflows/test.yml":
			golden(t, "replaced_"+strings.ReplaceAll(strings.TrimPrefix(f.name, ".github/workflows/"), "go.mod", "go.mod.txt"), string(f.text))
		}
	}
}

// TestSmallestFilter counts the lines of code that an author writes for a filter.
func TestSmallestFilter(t *testing.T) {
	t.Parallel()
	dir, _ := write(t, Module{Name: "upper", Kind: stage.KindFilter, SDKVersion: "1.2.3"})
	text := read(t, dir, "filter.go")
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, "filter.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[int]bool{}
	for _, group := range parsed.Comments {
		for line := set.Position(group.Pos()).Line; line <= set.Position(group.End()).Line; line++ {
			comments[line] = true
		}
	}
	count, number := 0, 0
	for line := range strings.Lines(text) {
		number++
		// A line of code with a comment behind it counts.
		if strings.TrimSpace(line) != "" && (!comments[number] || !strings.HasPrefix(strings.TrimSpace(line), "//")) {
			count++
		}
	}
	if count >= 40 {
		t.Errorf("the smallest filter has %d lines of code; fewer than 40 are promised", count)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	other := checkout(t, "module example.org/other\n", "")
	for _, c := range []struct {
		what, code string
		change     func(m *Module)
	}{
		{"no name", codeModule, func(m *Module) { m.Name = "" }},
		{"capitals", codeModule, func(m *Module) { m.Name = "Upper" }},
		{"a path", codeModule, func(m *Module) { m.Name = "../upper" }},
		{"a dash in front", codeModule, func(m *Module) { m.Name = "-upper" }},
		{"a line behind", codeModule, func(m *Module) { m.Name = "upper\n" }},
		{"a name of 64 letters", codeModule, func(m *Module) { m.Name = strings.Repeat("u", 64) }},
		{"no kind", codeModule, func(m *Module) { m.Kind = "" }},
		{"another kind", codeModule, func(m *Module) { m.Kind = "../common" }},
		{"another variant", codeModule, func(m *Module) { m.Variant = "table" }},
		{"a variant of a kind that has none", codeModule, func(m *Module) { m.Kind, m.Variant = stage.KindSource, "end" }},
		{"a module with a space", codeModule, func(m *Module) { m.Path = "example.org/my plugin" }},
		{"a module that goes up", codeModule, func(m *Module) { m.Path = "example.org/../x" }},
		{"a module with a dot behind", codeModule, func(m *Module) { m.Path = "example.org/x." }},
		{"a module with two slashes", codeModule, func(m *Module) { m.Path = "example.org//x" }},
		{"a module with a second line", codeModule, func(m *Module) { m.Path = "x\nreplace y => z" }},
		{"the SDK's module", codeModule, func(m *Module) { m.Path = sdkModule + "/x" }},
		{"no checkout", codeSDK, func(m *Module) { m.SDK = filepath.Join(repository, "sdk") }},
		{"a folder that is not there", codeSDK, func(m *Module) { m.SDK = "none" }},
		{"a checkout of something else", codeSDK, func(m *Module) { m.SDK = other }},
	} {
		parent := t.TempDir()
		m := Module{Name: "upper", Kind: stage.KindFilter, SDKVersion: "1.2.3"}
		c.change(&m)
		_, err := Write(t.Context(), m, filepath.Join(parent, "x"))
		f := fault.From(err)
		if f == nil || f.Code != c.code || f.Class != fault.Usage || f.Hint == "" {
			t.Errorf("%s: got %v", c.what, err)
		}
		if left := tree(t, parent); len(left) > 0 {
			t.Errorf("%s: left behind: %v", c.what, left)
		}
	}
}

// TestNothingIsOverwritten: what is in the way stays as it is.
func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	m := Module{Name: "upper", Kind: stage.KindFilter, SDKVersion: "1.2.3"}
	parent := t.TempDir()
	at := func(name string) string { return filepath.Join(parent, name) }
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("mine"), 0o600),
		os.Mkdir(at("full"), 0o700),
		os.WriteFile(at("full/README.md"), []byte("mine"), 0o600),
		os.Mkdir(at("empty"), 0o700),
		os.Symlink("nowhere", at("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, parent)
	for _, dir := range []string{"file", "full", "none/upper", "file/upper", "dangling"} {
		if _, err := Write(t.Context(), m, at(dir)); !fault.Is(err, codeFolder) {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	if after := tree(t, parent); !slices.Equal(before, after) || read(t, at("full/README.md"))+read(t, at("file")) != "minemine" {
		t.Errorf("there is %v now", after)
	}
	if _, err := Write(t.Context(), m, at("empty")); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Write(t.Context(), m, at("empty")); !fault.Is(err, codeFolder) {
		t.Errorf("the second time: %v", err)
	}
}

// countdown is a context that ends after so many looks at it.
type countdown struct {
	context.Context
	looks *int
}

func (c countdown) Err() error {
	if *c.looks--; *c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestFailureLeavesNothing ends the work before every file.
func TestFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	m := Module{Name: "upper", Kind: stage.KindSink, SDKVersion: "1.2.3"}
	_, names := write(t, m)
	for n := range names {
		parent := t.TempDir()
		there := filepath.Join(parent, "there")
		if err := os.Mkdir(there, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{filepath.Join(parent, "new"), there} {
			looks := n
			if _, err := Write(countdown{t.Context(), &looks}, m, dir); err == nil {
				t.Errorf("after %d files, it went well", n)
			}
		}
		if left := tree(t, parent); !slices.Equal(left, []string{"there"}) {
			t.Errorf("after %d files, left behind: %v", n, left)
		}
	}
}

// TestReplacement: a relative path stays one, and is right from the module's folder.
func TestReplacement(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	if err := os.MkdirAll(filepath.Join(parent, "a", "module"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(parent, "a"), filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.EvalSymlinks(".")
	if err == nil {
		here, err = filepath.Abs(here)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sdk, dir, want string }{
		{"/sdk", "new", "/sdk"},
		{"/my sdk/", "new", `"/my sdk"`},
		{"..", "new", "../.."},
		{".", "new", ".."},
		{"testdata", ".", "./testdata"},
		{"testdata", "a/../new", "../testdata"},
	} {
		got, err := replacement(c.sdk, c.dir)
		if err != nil || got != c.want {
			t.Errorf("%s from %s: %s, %v; want %s", c.sdk, c.dir, got, err, c.want)
		}
	}
	for _, dir := range []string{"a/module", "link/module", "link/new"} {
		got, err := replacement(".", filepath.Join(parent, dir))
		if err != nil {
			t.Fatal(err)
		}
		real, err := filepath.EvalSymlinks(filepath.Join(parent, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if to := filepath.Join(real, "x", got); to != here {
			t.Errorf("%s: %s leads to %s, not %s", dir, got, to, here)
		}
	}
}

// TestOtherCheckout: a checkout of another version says itself what it needs.
func TestOtherCheckout(t *testing.T) {
	t.Parallel()
	m := module(stage.KindFilter)
	m.SDK = checkout(t,
		"module "+sdkModule+"\n\ngo 1.99\n\nrequire google.golang.org/grpc v1.99.0 // indirect\n\nrequire example.org/x v1.0.0\n",
		"google.golang.org/grpc v1.99.0 h1:abc=\ngoogle.golang.org/grpc v1.99.0/go.mod h1:def=\nexample.org/x v1.0.0 h1:ghi=\n")
	dir, _ := write(t, m)
	mod, sum := read(t, dir, "go.mod"), read(t, dir, "go.sum")
	for _, line := range []string{"\ngo 1.99\n", "\n\tgoogle.golang.org/grpc v1.99.0 // indirect\n", "\n\t" + arrowModule + " v15.0.2\n"} {
		if !strings.Contains(mod, line) {
			t.Errorf("go.mod has no %q:\n%s", line, mod)
		}
	}
	if want := "google.golang.org/grpc v1.99.0 h1:abc=\ngoogle.golang.org/grpc v1.99.0/go.mod h1:def=\n"; sum != want {
		t.Errorf("go.sum is:\n%s\nwant:\n%s", sum, want)
	}
}

// TestModules holds what is known of the modules against this repository's own go.mod and go.sum. With -update it asks the
// go command what a plugin needs.
func TestModules(t *testing.T) {
	t.Parallel()
	if *update {
		updateModules(t)
	}
	goVersion, ours := parseModules(read(t, repository, "go.mod"))
	known := read(t, "modules", "go.mod.txt")
	gotVersion, modules := parseModules(known)
	if gotVersion != goVersion || len(modules) < 10 {
		t.Errorf("go %s and %d modules are known; this repository has go %s", gotVersion, len(modules), goVersion)
	}
	for path, version := range modules {
		if ours[path] != version {
			t.Errorf("%s is known as %s, and this repository has %q: go test ./cmd/cipherstream/scaffold -run TestModules -update", path, version, ours[path])
		}
	}
	sums := read(t, repository, "go.sum")
	for line := range strings.Lines(read(t, "modules", "go.sum.txt")) {
		if !strings.Contains(sums, line) {
			t.Errorf("this repository's go.sum has no line %q: go test ./cmd/cipherstream/scaffold -run TestModules -update", line)
		}
	}
}

func updateModules(t *testing.T) {
	t.Helper()
	sdk, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	m := module(stage.KindFilter)
	m.SDK = sdk
	dir, _ := write(t, m)
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), []byte(read(t, repository, "go.sum")), 0o600); err != nil {
		t.Fatal(err)
	}
	tidy := exec.CommandContext(t.Context(), "go", "mod", "tidy")
	tidy.Dir = dir
	if out, err := tidy.CombinedOutput(); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, out)
	}
	goVersion, modules := parseModules(read(t, dir, "go.mod"))
	delete(modules, sdkModule)
	var lines []string
	for path, version := range modules {
		lines = append(lines, "\t"+path+" "+version+"\n")
	}
	slices.Sort(lines)
	for name, text := range map[string]string{
		"go.mod.txt": "go " + goVersion + "\n\nrequire (\n" + strings.Join(lines, "") + ")\n",
		"go.sum.txt": read(t, dir, "go.sum"),
	} {
		if err := os.WriteFile(filepath.Join("modules", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
