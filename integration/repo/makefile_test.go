package repo

import (
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
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
	raced := regexp.MustCompile(strings.TrimSuffix(setting("RACED_OUTSIDE"), "$"))
	for _, dir := range regexp.MustCompile(`\./\S+`).FindAllString(regexp.MustCompile(`(?m)^PROCESSES *:= *((?:.*\\\n)*.*)$`).FindString(makefile), -1) {
		list := tests[strings.TrimPrefix(dir, "./")]
		if len(list) == 0 {
			t.Errorf("PROCESSES has %s, which has no tests", dir)
		}
		for _, name := range list {
			if raced.MatchString(name) {
				t.Errorf("RACED_OUTSIDE names %s, which %s has too, and it does not run there", name, dir)
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

// TestMakeBuild: make build makes both programs for every platform that README.md names, without cgo, which makes them
// static, and without paths of the machine. That such a program needs nothing is what integration/program tests.
func TestMakeBuild(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("there is no make")
	}
	dir := t.TempDir()
	stub, calls := filepath.Join(dir, "go"), filepath.Join(dir, "calls")
	text := "#!/bin/sh\n[ \"$1\" = build ] || { echo example.org/m; exit 0; }\n" +
		"echo \"CGO_ENABLED=$CGO_ENABLED $GOOS/$GOARCH $*\" >>'" + calls + "'\n"
	if err := os.WriteFile(stub, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("make", "-C", "../..", "build", "GO="+stub)
	// Not what a make around this test would say to it.
	build.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") }), "CI=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	said, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"} {
		for _, program := range []string{"cipherstream", "cipherstream-sandbox"} {
			want = append(want, "CGO_ENABLED=0 "+platform+" build -trimpath -tags gms_pure_go,grpcnotrace -ldflags -s -w -o dist/"+
				program+"-"+strings.Replace(platform, "/", "-", 1)+" ./cmd/"+program)
		}
	}
	got := strings.Split(strings.TrimSpace(regexp.MustCompile(` (-X \S+)? -o`).ReplaceAllString(string(said), " -o")), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("make build ran\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
