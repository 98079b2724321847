package repo

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMakefileNamesTests holds that the Makefile knows the tests that it treats in another way than the rest: every name in
// RACED_OUTSIDE is one of tests in the packages of OUTSIDE, where one that was renamed would lose the race detector
// without a word, and every name in LARGE_TESTS is one of tests in the packages of LARGE and in no other, where it
// would not run at all.
func TestMakefileNamesTests(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	setting := func(name string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + name + ` *:= *(.*)$`).FindStringSubmatch(makefile)
		if m == nil {
			t.Fatalf("the Makefile has no %s", name)
		}
		return m[1]
	}
	tests := map[string][]string{} // by folder
	for _, f := range parseModule(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") && fn.Name.Name != "TestMain" {
				tests[f.dir()] = append(tests[f.dir()], fn.Name.Name)
			}
		}
	}
	for _, c := range []struct {
		names, folders string
		nowhereElse    bool
	}{{"RACED_OUTSIDE", "OUTSIDE", false}, {"LARGE_TESTS", "LARGE", true}} {
		var folders []string
		for _, dir := range strings.Fields(setting(c.folders)) {
			folders = append(folders, strings.TrimPrefix(dir, "./"))
		}
		pattern, wrapped := strings.CutPrefix(strings.TrimSuffix(setting(c.names), ")$$"), "^(")
		if !wrapped {
			t.Fatalf("%s is not of the form ^(NAME|…)$$: %s", c.names, pattern)
		}
		used := map[string]bool{}
		for _, name := range strings.Split(pattern, "|") {
			is, found := regexp.MustCompile("^"+name+"$"), false
			for dir, list := range tests {
				switch {
				case !slices.ContainsFunc(list, is.MatchString):
				case slices.Contains(folders, dir):
					found, used[dir] = true, true
				case c.nowhereElse:
					t.Errorf("%s names %s, which %s has too, and it does not run there", c.names, name, dir)
				}
			}
			if !found {
				t.Errorf("%s names %s, and no test of %v is called that", c.names, name, folders)
			}
		}
		for _, dir := range folders {
			if !used[dir] {
				t.Errorf("%s has %s, and %s no test of it", c.folders, dir, c.names)
			}
		}
	}
}
