package repo

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRacedOutside holds that every name in the Makefile's RACED_OUTSIDE is one of tests in the
// packages of OUTSIDE: a test that was renamed would lose the race detector without a word.
func TestRacedOutside(t *testing.T) {
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
	var outside, tests []string
	for _, dir := range strings.Fields(setting("OUTSIDE")) {
		outside = append(outside, strings.TrimPrefix(dir, "./"))
	}
	for _, f := range parseModule(t) {
		if !f.test || !slices.Contains(outside, f.dir()) {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") && fn.Name.Name != "TestMain" {
				tests = append(tests, fn.Name.Name)
			}
		}
	}
	pattern, wrapped := strings.CutPrefix(strings.TrimSuffix(setting("RACED_OUTSIDE"), ")$$"), "^(")
	if !wrapped {
		t.Fatalf("RACED_OUTSIDE is not of the form ^(NAME|…)$$: %s", pattern)
	}
	for _, name := range strings.Split(pattern, "|") {
		is := regexp.MustCompile("^" + name + "$")
		if !slices.ContainsFunc(tests, is.MatchString) {
			t.Errorf("RACED_OUTSIDE names %s, and no test of %v is called that", name, outside)
		}
	}
}
