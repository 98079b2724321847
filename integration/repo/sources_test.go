package repo

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPackageComments wants one comment for every package, in one of its files,
// that starts as Go's documentation does and says more than the name.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	type pkg struct {
		name, text string
		commented  []string // the files that have a package comment
	}
	packages := map[string]*pkg{}
	for _, f := range parseModule(t) {
		// The external tests of a package are documented by it.
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		p := packages[f.dir()+" "+name]
		if p == nil {
			p = &pkg{name: name}
			packages[f.dir()+" "+name] = p
		}
		if f.ast.Doc != nil {
			p.commented = append(p.commented, f.path)
			p.text = f.ast.Doc.Text()
		}
	}
	for at, p := range packages {
		dir, _, _ := strings.Cut(at, " ")
		start := "Package " + p.name
		if p.name == "main" {
			start = "Command " + path.Base(dir)
		}
		switch {
		case len(p.commented) == 0:
			t.Errorf("%s: package %s has no package comment; say what it owns, and what it never does", dir, p.name)
		case len(p.commented) > 1:
			t.Errorf("%s: the package comment stands in several files: %s", dir, strings.Join(p.commented, ", "))
		case !strings.HasPrefix(p.text, start+" ") && !strings.HasPrefix(p.text, start+"_test "):
			t.Errorf("%s: the package comment must start with %q", p.commented[0], start)
		case len(strings.Fields(p.text)) < 12:
			t.Errorf("%s: the package comment must say what the package owns, and what it never does: %q", p.commented[0], p.text)
		}
	}
}

// machinePath matches absolute paths that exist on somebody's machine only.
var machinePath = regexp.MustCompile(`(^|[^\w.$}])/(root|home|Users|work)/[\w.-]+`)

func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/" + "root/x", "see /" + "home/ann/go", `"/` + `Users/ann"`} {
		if !machinePath.MatchString(path) {
			t.Errorf("the pattern misses %s", path)
		}
	}
	for _, p := range listFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p)))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
			continue // not text
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			if found := machinePath.FindString(line); found != "" {
				t.Errorf("%s:%d: a path of one machine: %s", p, number, found)
			}
		}
	}
}

// TestFuzzTargetsHaveSeeds wants inputs that a plain go test runs, from f.Add or
// from testdata/fuzz.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	t.Parallel()
	targets := 0
	for _, f := range parseModule(t) {
		if !f.test {
			continue
		}
		for _, fn := range fuzzTargets(f) {
			targets++
			corpus, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(f.dir()), "testdata", "fuzz", fn.Name.Name))
			if !addsSeeds(fn) && (err != nil || len(corpus) == 0) {
				t.Errorf("%s: %s has no seeds: call Add in it, or put inputs under testdata/fuzz/%s", f.path, fn.Name.Name, fn.Name.Name)
			}
		}
	}
	if targets == 0 {
		t.Error("no fuzz target was found; every parser needs one")
	}
}

// fuzzTargets are the fuzz targets of a file of tests.
func fuzzTargets(f goFile) (targets []*ast.FuncDecl) {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
			targets = append(targets, fn)
		}
	}
	return targets
}

// addsSeeds looks for a call of the method Add of the target's parameter, which a
// helper that is given the parameter may make as well.
func addsSeeds(fn *ast.FuncDecl) bool {
	names := fn.Type.Params.List[0].Names
	if len(names) == 0 {
		return false
	}
	isF := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && id.Name == names[0].Name
	}
	found := false
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" && isF(sel.X) {
			found = true
		}
		for _, arg := range call.Args {
			if id, ok := call.Fun.(*ast.Ident); ok && isF(arg) && strings.Contains(strings.ToLower(id.Name), "seed") {
				found = true
			}
		}
		return true
	})
	return found
}
