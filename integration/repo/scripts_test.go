package repo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script runs a script of integration/scripts where go is a program of the test: it writes its arguments to a file, a
// line for each call, and goes on as answer, a piece of shell, says. So does curl, where $tool is curl. It returns what go
// was called with.
func script(t *testing.T, answer string, args ...string) (calls []string, said string, code int) {
	t.Helper()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	bin := t.TempDir()
	log := filepath.Join(bin, "calls")
	for name, text := range map[string]string{
		"go":    fmt.Sprintf("#!%s\necho \"$*\" >>'%s'\n%s\n", shell, log, answer),
		"gofmt": fmt.Sprintf("#!%s\n", shell),
		"curl":  fmt.Sprintf("#!%s\ntool=curl\n%s\n", shell, answer),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(shell, append([]string{filepath.Join(root, "integration/scripts", args[0])}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "GOVULNDB=")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), string(out), cmd.ProcessState.ExitCode()
}

// TestFuzzScript: every target runs for its time, of which next to nothing goes into shorter inputs; one that finds
// something makes the whole fail, after the others had their turn, and one whose time was over in an input does not.
func TestFuzzScript(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, f := range parseModule(t) {
		if !f.test {
			continue
		}
		for _, fn := range fuzzTargets(f) {
			targets = append(targets, fn.Name.Name)
		}
	}
	for _, c := range []struct {
		name, answer string
		code         int
	}{
		{"nothing is found", "", 0},
		{"one finds something", `case $* in *FuzzReader*) echo "--- FAIL: FuzzReader (1.00s)"; echo "    Failing input written to testdata"; exit 1;; esac`, 1},
		{"the time is over", `case $* in *FuzzReader*) echo "--- FAIL: FuzzReader (1.00s)"; echo "    context deadline exceeded"; exit 1;; esac`, 0},
	} {
		calls, said, code := script(t, c.answer, "fuzz.sh", "tags", "17s")
		if code != c.code {
			t.Errorf("%s: exit code %d: %s", c.name, code, said)
		}
		var ran []string
		for _, call := range calls {
			_, name, _ := strings.Cut(call, "-fuzz ^")
			name, rest, _ := strings.Cut(name, "$ ")
			ran = append(ran, name)
			if !strings.HasPrefix(call, "test -tags tags ") || !strings.HasPrefix(rest, "-fuzztime 17s -fuzzminimizetime 1s ./") {
				t.Errorf("%s: go %s", c.name, call)
			}
		}
		slices.Sort(ran)
		slices.Sort(targets)
		if !slices.Equal(ran, targets) {
			t.Errorf("%s: the targets that ran:\n%v, want\n%v", c.name, ran, targets)
		}
	}
}

// TestLintScript: each check makes the lint fail, govulncheck among them; where its database cannot be had, that is said
// and no more.
func TestLintScript(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer, says string
		code               int
	}{
		{"nothing to say", "", "", 0},
		{"vet", `[ "$1" = vet ] && exit 1 || exit 0`, "lint: go vet", 1},
		{"staticcheck", `case $* in *staticcheck@*) exit 1;; esac`, "lint: staticcheck", 1},
		{"another system", `case $* in *typecheck*) echo "free_darwin.go:3:30: undefined: x"; exit 1;; esac`, "free_darwin.go:3:30: undefined: x", 1},
		{"a vulnerability", `case $* in *govulncheck@*) echo "Vulnerability #1: GO-2026-0001"; exit 3;; esac`, "Vulnerability #1: GO-2026-0001", 1},
		{"govulncheck cannot work", `case $* in *govulncheck@*) echo "govulncheck: loading packages: no"; exit 1;; esac`, "loading packages", 1},
		{"no database", `case $* in *govulncheck@*) echo "govulncheck: fetching vulnerabilities: no such host"; exit 1;; esac`,
			"NOT CHECKED for known vulnerabilities: fetching vulnerabilities: no such host", 0},
		{"a database that does not answer", `[ "$tool" = curl ] && { echo "curl: (28) timed out"; exit 28; } || exit 0`,
			"NOT CHECKED for known vulnerabilities: https://vuln.go.dev: curl: (28) timed out", 0},
	} {
		calls, said, code := script(t, c.answer, "lint.sh", "tags", "v1", "v2")
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit code %d, want %q: %s", c.name, code, c.says, said)
		}
		want := []string{
			"vet -tags tags ./...", "run honnef.co/go/tools/cmd/staticcheck@v1 -tags tags -checks all,-ST1000,-ST1003 ./...",
			"run ./integration/typecheck -tags tags darwin arm64", "run golang.org/x/vuln/cmd/govulncheck@v2 -tags tags ./...",
		}
		if strings.Contains(c.answer, "curl") {
			want = want[:3]
		}
		if !slices.Equal(calls, want) {
			t.Errorf("%s: go was called with\n%q, want\n%q", c.name, calls, want)
		}
	}
}
