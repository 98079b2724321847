package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestCounts replays events as go test -json writes them.
func TestCounts(t *testing.T) {
	t.Parallel()
	run := func(test string) string { return `{"Action":"run","Package":"p","Test":"` + test + `"}` }
	end := func(action, test string) string {
		return `{"Action":"` + action + `","Package":"p","Test":"` + test + `","Elapsed":0.1}`
	}
	took := func(test, seconds string) string {
		return `{"Action":"pass","Package":"p","Test":"` + test + `","Elapsed":` + seconds + `}`
	}
	slowTests := func(n int) (events []string) {
		for i := 1; i <= n; i++ {
			test := "T" + strconv.Itoa(i)
			events = append(events, run(test), took(test, strconv.Itoa(i)))
		}
		return append(events, end("pass", ""))
	}
	say := func(test, text string) string {
		return `{"Action":"output","Package":"p","Test":"` + test + `","Output":"` + text + `\n"}`
	}
	for _, c := range []struct {
		name   string
		events []string
		want   string
	}{
		{"a test with subtests counts as them", []string{
			run("A"), run("A/x"), end("pass", "A/x"), run("A/y"), end("pass", "A/y"), end("pass", "A"), end("pass", ""),
		}, "ok    p (0.1s)\n2 passed, 0 failed, 0 skipped\n"},
		{"the failure of a subtest is one failure, however deep", []string{
			run("A"), run("A/x"), run("A/x/k"), say("A/x/k", "why"), end("fail", "A/x/k"), end("fail", "A/x"), end("fail", "A"), end("fail", ""),
		}, "FAIL  p A/x/k\n      why\nFAIL  p (0.1s)\nFAILED: p A/x/k\n      why\n0 passed, 1 failed, 0 skipped\n"},
		{"a slash in a subtest's own name", []string{
			run("A"), run("A/x/y"), end("pass", "A/x/y"), end("pass", "A"), end("pass", ""),
		}, "ok    p (0.1s)\n1 passed, 0 failed, 0 skipped\n"},
		{"a test that fails beside good subtests", []string{
			run("A"), run("A/x"), end("pass", "A/x"), say("A", "why"), end("fail", "A"), end("fail", ""),
		}, "FAIL  p A\n      why\nFAIL  p (0.1s)\nFAILED: p A\n      why\n1 passed, 1 failed, 0 skipped\n"},
		{"a skip says why", []string{
			run("A"), say("A", "=== RUN   A"), say("A", "    a_test.go:3: no server"), say("A", "--- SKIP: A (0.00s)"), end("skip", "A"), end("pass", ""),
		}, "ok    p (0.1s)\nSKIP  p A: a_test.go:3: no server\n0 passed, 0 failed, 1 skipped\n"},
		{"a package without tests is nothing", []string{
			run("A"), end("pass", "A"), end("pass", ""), `{"Action":"skip","Package":"q"}`,
		}, "ok    p (0.1s)\n1 passed, 0 failed, 0 skipped\n"},
		{"a package that fails after its tests", []string{
			run("A"), end("pass", "A"), say("", "leaked goroutine"), say("", "exit status 1"), end("fail", ""),
		}, "FAIL  p\n      leaked goroutine\n      exit status 1\nFAILED: p\n      leaked goroutine\n      exit status 1\n1 passed, 1 failed, 0 skipped\n"},
		{"a test that did not end", []string{
			run("A"), run("A/x"), end("pass", "A/x"), run("A/y"), say("A/y", "one"), say("A", "more"), run("B"), run("C"), end("pass", "C"), run("D"), `{"Action":"pause","Package":"p","Test":"D"}`, say("B", "panic: test timed out"), end("fail", ""),
		}, "FAIL  p A/y (did not end)\n      one\n      more\nFAIL  p B (did not end)\n      panic: test timed out\nFAIL  p (0.1s)\n" +
			"FAILED: p A/y (did not end)\n      one\n      more\nFAILED: p B (did not end)\n      panic: test timed out\n2 passed, 2 failed, 0 skipped\n"},
		{"a long text at the end is cut", []string{
			run("A"), say("A", strings.Repeat(`first\n`, 8)+`middle\n`+strings.Repeat(`last\n`, 7)+"last"), end("fail", "A"), end("fail", ""),
		}, "FAIL  p A\n" + strings.Repeat("      first\n", 8) + "      middle\n" + strings.Repeat("      last\n", 8) + "FAIL  p (0.1s)\n" +
			"FAILED: p A\n" + strings.Repeat("      first\n", 8) + "      […] 1 lines\n" + strings.Repeat("      last\n", 8) + "0 passed, 1 failed, 0 skipped\n"},
		{"a long name at the end is cut", []string{
			run(strings.Repeat("A", 300)), end("fail", strings.Repeat("A", 300)), end("fail", ""),
		}, "FAIL  p " + strings.Repeat("A", 300) + "\nFAIL  p (0.1s)\nFAILED: p " + strings.Repeat("A", 198) + "…\n0 passed, 1 failed, 0 skipped\n"},
		{"the slowest tests, not what holds them", []string{
			run("A"), run("A/x"), took("A/x", "12.34"), took("A", "12.4"), run("B"), took("B", "0.9"), run("C"), took("C", "63"), end("pass", ""),
		}, "ok    p (0.1s)\nSLOW    63.0s p C\nSLOW    12.3s p A/x\n3 passed, 0 failed, 0 skipped\n"},
		{"ten of them", slowTests(12), "ok    p (0.1s)\n" +
			"SLOW    12.0s p T12\nSLOW    11.0s p T11\nSLOW    10.0s p T10\nSLOW     9.0s p T9\nSLOW     8.0s p T8\n" +
			"SLOW     7.0s p T7\nSLOW     6.0s p T6\nSLOW     5.0s p T5\nSLOW     4.0s p T4\nSLOW     3.0s p T3\n" +
			"12 passed, 0 failed, 0 skipped\n"},
		{"lines that are no events are passed on", []string{
			"warning: text", run("A"), end("pass", "A"), end("pass", ""),
		}, "warning: text\nok    p (0.1s)\n1 passed, 0 failed, 0 skipped\n"},
		{"nothing ran", nil, "FAIL  nothing ran: no check, and no test of these packages\n" +
			"FAILED: nothing ran: no check, and no test of these packages\n0 passed, 1 failed, 0 skipped\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			tally := newTally(&out)
			if _, err := tally.read(strings.NewReader(strings.Join(c.events, "\n"))); err != nil {
				t.Fatal(err)
			}
			if ok := tally.finish(); ok != strings.Contains(c.want, " 0 failed") {
				t.Errorf("finish says %v", ok)
			}
			if out.String() != c.want {
				t.Errorf("report:\n%s\nwant:\n%s", out.String(), c.want)
			}
		})
	}
}

// TestRun runs go test itself on a module made for it.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"go.mod":          "module example.org/m\n\ngo 1.24\n",
		"good/a_test.go":  "package good\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Run(\"y\", func(t *testing.T) { t.Skip(\"no server\") }) }\n",
		"bad/a_test.go":   "package bad\n\nimport \"testing\"\n\nfunc TestB(t *testing.T) { t.Run(\"x\", func(t *testing.T) { t.Error(\"one is two\") }) }\n",
		"env/a_test.go":   "package env\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestE(t *testing.T) { t.Run(os.Getenv(\"ONE\")+os.Getenv(\"TWO\"), func(t *testing.T) { t.Skip() }) }\n",
		"dead/a_test.go":  "package dead\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestMain(m *testing.M) { os.Exit(3) }\n",
		"crash/a_test.go": "package crash\n\nimport \"testing\"\n\nfunc TestC(t *testing.T) { panic(\"boom\") }\n",
		"slow/a_test.go":  "package slow\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestF(t *testing.T) { t.Run(\"x\", func(t *testing.T) { t.Log(\"asleep\"); time.Sleep(time.Hour) }) }\n",
		"pipe/a_test.go":  "package pipe\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestE(t *testing.T) {\n\tif err := os.WriteFile(\"../talk\", []byte(\"heard\\n\"), 0); err != nil {\n\t\tt.Fatal(err)\n\t}\n}\n",
		"wrong/a_test.go": "package wrong\n\nimport \"testing\"\n\nfunc TestD(t *testing.T) { undefined() }\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "vet", "./good").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Who opens one end of it waits for the other.
	if err := syscall.Mkfifo(filepath.Join(dir, "talk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		exit int
		last string
		has  []string // regular expressions
	}{
		{"all well", []string{"-check", "true", "-test", "./good"}, 0, "2 passed, 0 failed, 1 skipped", []string{`SKIP  example.org/m/good TestA/y: .*no server`}},
		{"failures", []string{"-test", "./good ./bad"}, 1, "1 passed, 1 failed, 1 skipped", []string{`FAIL  example.org/m/bad TestB/x\n .*one is two`}},
		{"check failed, tests still run", []string{"-check", "echo why; exit 4", "-test", "./good"}, 1, "1 passed, 1 failed, 1 skipped", []string{`FAIL  echo why; exit 4\n      why\n`}},
		{"a check beside the tests", []string{"-check", "cat talk", "-test", "./pipe"}, 0, "2 passed, 0 failed, 0 skipped", []string{`heard\nok    cat talk`}},
		{"two runs at once, of the same package too", []string{"-test", "-run TestA/x ./good", "-test", "-skip TestA/x ./good", "-test", "./bad"}, 1, "1 passed, 1 failed, 1 skipped", []string{`FAILED: example.org/m/bad TestB/x\n`, `SKIP  example.org/m/good TestA/y`}},
		{"variables", []string{"-test", "ONE=a TWO=b=c -count=1 ./env"}, 0, "0 passed, 0 failed, 1 skipped", []string{`SKIP  example.org/m/env TestE/ab=c`}},
		{"one of two runs finds nothing", []string{"-test", "./good", "-test", "./nowhere"}, 1, "1 passed, 1 failed, 1 skipped", []string{`nowhere`}},
		{"TestMain failed", []string{"-test", "./dead"}, 1, "0 passed, 1 failed, 0 skipped", []string{`FAILED: example.org/m/dead\n`}},
		{"panic", []string{"-test", "./crash"}, 1, "0 passed, 1 failed, 0 skipped", []string{`FAILED: example.org/m/crash TestC\n`, `boom`}},
		{"time-out", []string{"-test", "-timeout 1s ./slow"}, 1, "0 passed, 1 failed, 0 skipped", []string{`FAILED: example.org/m/slow TestF/x \(did not end\)\n .*asleep\n .*timed out after 1s\n( .*\n){3} *0 passed`}},
		{"does not build", []string{"-test", "./wrong"}, 1, "0 passed, 1 failed, 0 skipped", []string{`undefined: undefined`, `does not build`}},
		{"no such package", []string{"-test", "./nowhere"}, 1, "0 passed, 1 failed, 0 skipped", []string{`nowhere`}},
		{"wrong flag", []string{"-test", "-nonsense ./good"}, 1, "0 passed, 1 failed, 0 skipped", nil},
		{"usage", []string{"./good"}, 2, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if exit := run(c.args, &out, io.Discard); exit != c.exit {
				t.Errorf("exit %d, want %d", exit, c.exit)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != c.last {
				t.Errorf("last line %q, want %q; all:\n%s", last, c.last, out.String())
			}
			for _, pattern := range c.has {
				if !regexp.MustCompile(pattern).MatchString(out.String()) {
					t.Errorf("no %q in:\n%s", pattern, out.String())
				}
			}
		})
	}
}
