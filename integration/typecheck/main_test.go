package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lacks are packages whose file for macOS lacks something, and what is said of it.
var lacks = map[string][]struct{ file, text, says string }{
	"assembly": {
		{"free_darwin.go", "package assembly\n\nfunc Free() int\n", ""},
		{"free_arm64.s", "// free is here.\n", ""},
	},
	"body": {{"free_darwin.go", "package body\n\nfunc Free() int\n", "3:1: missing function body"}},
	"function": {
		{"free.go", "package function\n\nfunc Free() int { return free() }\n", "3:26: undefined: free"},
		{"free_linux.go", "package function\n\nfunc free() int { return 1 }\n", ""},
		// Not another package's business.
		{"free_darwin_test.go", "package function\n\nfunc twice() int { return 2 }\n", ""},
	},
	"import":    {{"free_darwin.go", "package imports\n\nimport \"errors\"\n\nfunc Free() int { return 1 }\n", `3:8: "errors" imported and not used`}},
	"result":    {{"free_darwin.go", "package result\n\nfunc Free() int {}\n", "3:18: missing return"}},
	"system":    {{"free_darwin.go", "package system\n\nimport \"syscall\"\n\nvar Free = syscall.SYS_EPOLL_WAIT\n", "5:20: undefined: syscall.SYS_EPOLL_WAIT"}},
	"syntax":    {{"free_darwin.go", "package syntax\n\nfunc Free() int { return 1 \n", "3:29: expected '}', found 'EOF'"}},
	"tagged":    {{"free_darwin.go", "//go:build tagged\n\npackage tagged\n\nvar Free = none\n", "5:12: undefined: none"}},
	"testsonly": {{"free_darwin_test.go", "package testsonly\n\nvar free = none\n", "3:12: undefined: none"}},
	"twice": {
		{"free_darwin.go", "package twice\n\nfunc Free() int { return 1 }\n", "3:6: \tother declaration of Free"},
		{"more_darwin.go", "package twice\n\nfunc Free() int { return 1 }\n", "3:6: Free redeclared in this block"},
	},
	"type":     {{"free_darwin.go", "package types\n\nfunc Free() string { return 1 }\n", "3:29: cannot use 1 (untyped int constant) as string value in return statement"}},
	"variable": {{"free_darwin.go", "package variable\n\nfunc Free() int { n := 1; return 2 }\n", "3:19: declared and not used: n"}},
	// What others miss in a package that has nothing wrong with it.
	"outside": {
		{"free_darwin.go", "package outside\n\nvar hidden = 1\n", ""},
		{"export_test.go", "package outside\n\nvar Shown = &hidden\n", ""},
		{"use_test.go", "package outside_test\n\nimport \"disks/outside\"\n\nvar _, _ int = *outside.Shown, outside.Shown\n",
			"5:32: cannot use outside.Shown (variable of type *int) as int value in variable declaration"},
		{"hidden_linux.go", "package outside\n\nvar Linux = hidden\n", ""},
	},
	"user": {{"user.go", "package user\n\nimport \"disks/outside\"\n\nvar Free = outside.Linux\n", "5:20: undefined: outside.Linux"}},
}

// write makes a module of files by their names.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const goMod = "module disks\n\ngo 1.26\n"

// TestProblems: all that a build for macOS would say is said, once, and nothing else.
func TestProblems(t *testing.T) {
	t.Parallel()
	files, want := map[string]string{"go.mod": goMod}, []string{}
	for name, list := range lacks {
		for _, f := range list {
			files[name+"/"+f.file] = f.text
		}
	}
	dir := write(t, files)
	for name, list := range lacks {
		for _, f := range list {
			if f.says != "" {
				want = append(want, filepath.Join(dir, name, f.file)+":"+f.says)
			}
		}
	}
	var out, errs strings.Builder
	code := run([]string{"-tags", "tagged", "darwin", "arm64", dir}, &out, &errs)
	said := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	slices.Sort(want)
	slices.Sort(said)
	if code != 1 || errs.String() != "" || !slices.Equal(said, want) {
		t.Errorf("exit status %d, %s:\n%s\nwant\n%s", code, errs.String(), strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

// TestNoProblem: the same module without what macOS lacks has none, and neither has a file of another system.
func TestNoProblem(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.mod": goMod, "main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(free()) }\n",
		"free_darwin.go": "package main\n\nfunc free() int { return 1 }\n", "free_linux.go": "package main\n\nfunc free() none {}\n"}
	var out strings.Builder
	if code := run([]string{"darwin", "arm64", write(t, files)}, &out, &out); code != 0 || out.String() != "" {
		t.Errorf("exit status %d:\n%s", code, out.String())
	}
}

// TestUnreadable: what go cannot even list is said in its words.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for says, text := range map[string]string{
		"package disks/none is not in std":   "package disks\n\nimport _ \"disks/none\"\n",
		"pattern none: no matching files":    "package disks\n\nimport _ \"embed\"\n\n//go:embed none\nvar s string\n",
		"expected 'package', found packages": "packages disks\n",
	} {
		var out, errs strings.Builder
		code := run([]string{"darwin", "arm64", write(t, map[string]string{"go.mod": goMod, "more_darwin.go": text})}, &out, &errs)
		if code != 1 || out.String() != "" || !strings.Contains(errs.String(), says) {
			t.Errorf("exit status %d, want %q: %s%s", code, says, out.String(), errs.String())
		}
	}
}

// TestUsage: what is not asked properly is said to be so.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"darwin"}, {"darwin", "pdp11"}, {"darwin", "arm64", "dir", "more"}, {"-none"}} {
		var out strings.Builder
		if code := run(args, &out, &out); code != 2 || out.String() == "" {
			t.Errorf("%q: exit status %d: %s", args, code, out.String())
		}
	}
}
