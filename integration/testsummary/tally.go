package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// event is a line of `go test -json` (see `go doc test2json`). Build events name
// the package in ImportPath.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// tally counts results and reports to out. Several runs of go test may be read at once.
type tally struct {
	mu                      sync.Mutex // of all that follows
	out                     io.Writer
	passed, failed, skipped int
	failures                []failure
	skips                   []string
	slow                    []timed // leaves of at least slowFrom, in the order in which they ended
}

// testRun is one run of go test that is read: it keeps what a test printed until its
// result is known.
type testRun struct {
	*tally
	packages map[string]*packageResult
	builds   map[string]*strings.Builder // what the compiler printed, by package
	failed   bool                        // whether a failure of this run was counted
}

// fail is tally's, for a failure of this run.
func (t *testRun) fail(name, output string) {
	t.failed = true
	t.tally.fail(name, output)
}

// failure is what failed, and what it printed.
type failure struct{ name, output string }

// excerptLines is how many lines of what a failure printed are shown once more at the end, where they are seen even of a report
// that was cut in the middle: half of them from its start, half from its end.
const excerptLines = 16

// excerptName is how many bytes of a name are shown there: that of a run of go test has all of its packages.
const excerptName = 200

// timed is a test without subtests, and how long it ran, not counting what it waited for
// its turn among parallel ones.
type timed struct {
	name string
	took time.Duration
}

const (
	// slowShown is how many of the slowest tests the report names.
	slowShown = 10
	// slowFrom is what a test takes at least to be called slow.
	slowFrom = time.Second
)

type packageResult struct {
	tests  map[string]*testResult // under "" what belongs to no test
	failed int                    // of its tests
}

type testResult struct {
	output         strings.Builder
	parent         bool // has subtests
	failedSubtests bool
	paused         bool // waits for its turn among parallel ones
	ended          bool
}

func newTally(out io.Writer) *tally {
	return &tally{out: out}
}

// check counts a command that ended with err, and shows what it printed: that of one that
// is well may be a warning.
func (t *tally) check(name string, took time.Duration, printed string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.fail(name, printed+err.Error())
		return
	}
	t.passed++
	fmt.Fprintf(t.out, "%sok    %s (%.1fs)\n", printed, name, took.Seconds())
}

// fail counts one failure, and shows it at once and, in short, at the end. The caller holds mu.
func (t *tally) fail(name, output string) {
	t.failed++
	t.failures = append(t.failures, failure{name, output})
	fmt.Fprintf(t.out, "FAIL  %s\n", name)
	t.indented(slices.Collect(strings.Lines(output)))
}

func (t *tally) indented(lines []string) {
	for _, line := range lines {
		fmt.Fprintf(t.out, "      %s\n", strings.TrimRight(line, "\r\n"))
	}
}

// show reports a failure once more, with some lines of what it printed.
func (t *tally) show(f failure) {
	name := f.name
	if len(name) > excerptName {
		name = strings.ToValidUTF8(name[:excerptName], "") + "…"
	}
	fmt.Fprintf(t.out, "FAILED: %s\n", name)
	output, _, _ := strings.Cut(f.output, "\ngoroutine ")
	lines := slices.Collect(strings.Lines(output))
	if len(lines) <= excerptLines {
		t.indented(lines)
		return
	}
	t.indented(lines[:excerptLines/2])
	fmt.Fprintf(t.out, "      […] %d lines\n", len(lines)-excerptLines)
	t.indented(lines[len(lines)-excerptLines/2:])
}

// read takes the events of one go test to the end of r, and returns whether one was a
// failure. Lines that are no events are passed on as they are.
func (t *tally) read(r io.Reader) (failed bool, err error) {
	run := &testRun{tally: t, packages: map[string]*packageResult{}, builds: map[string]*strings.Builder{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			run.line(line)
		}
		if err == io.EOF {
			return run.failed, nil
		}
		if err != nil {
			return run.failed, err
		}
	}
}

func (t *testRun) line(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var e event
	if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
		t.add(e)
	} else {
		fmt.Fprint(t.out, line)
	}
}

func (t *testRun) add(e event) {
	switch e.Action {
	case "build-output":
		b := t.builds[e.ImportPath]
		if b == nil {
			b = &strings.Builder{}
			t.builds[e.ImportPath] = b
		}
		b.WriteString(e.Output)
		return
	case "build-fail":
		return // the package's own result names it
	}
	p := t.packages[e.Package]
	if p == nil {
		p = &packageResult{tests: map[string]*testResult{}}
		t.packages[e.Package] = p
	}
	r := p.tests[e.Test]
	if r == nil {
		r = &testResult{}
		p.tests[e.Test] = r
	}
	switch e.Action {
	case "run":
		p.ancestors(e.Test, func(a *testResult) { a.parent = true })
	case "pause", "cont":
		r.paused = e.Action == "pause"
	case "output":
		r.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e, p)
			delete(t.packages, e.Package)
		} else {
			t.endTest(e, p, r)
			r.output.Reset()
		}
	}
}

// ancestors visits the tests that name is a subtest of.
func (p *packageResult) ancestors(name string, visit func(*testResult)) {
	for i := range name {
		if name[i] == '/' {
			if a := p.tests[name[:i]]; a != nil {
				visit(a)
			}
		}
	}
}

func (t *testRun) endTest(e event, p *packageResult, r *testResult) {
	r.ended = true
	name := e.Package + " " + e.Test
	if took := time.Duration(e.Elapsed * float64(time.Second)); took >= slowFrom && !r.parent {
		t.slow = append(t.slow, timed{name, took})
	}
	switch {
	case e.Action == "fail":
		p.ancestors(e.Test, func(a *testResult) { a.failedSubtests = true })
		if r.failedSubtests {
			return // counted by them
		}
		p.failed++
		t.fail(name, printed(&r.output))
	case r.parent:
		// Counted by its subtests.
	case e.Action == "pass":
		t.passed++
	case e.Action == "skip":
		t.skipped++
		t.skips = append(t.skips, name+": "+strings.Join(strings.Fields(printed(&r.output)), " "))
	}
}

func (t *testRun) endPackage(e event, p *packageResult) {
	output := printed(&p.tests[""].output)
	switch {
	case e.Action == "skip": // it has no tests
	case e.Action == "pass":
		fmt.Fprintf(t.out, "ok    %s (%.1fs)\n", e.Package, e.Elapsed)
	case e.FailedBuild != "":
		if b := t.builds[e.FailedBuild]; b != nil {
			output = b.String() + output
		}
		t.fail(e.Package+" (does not build)", output)
	case p.failed == 0 && !t.failUnended(e, p):
		// A TestMain that failed, a data race after the tests, an os.Exit.
		t.fail(e.Package, output)
	default:
		fmt.Fprintf(t.out, "FAIL  %s (%.1fs)\n", e.Package, e.Elapsed)
		if output != "" {
			fmt.Fprintf(t.out, "%s\n", output)
		}
	}
}

// failUnended counts the tests of a package that had begun and not ended when its process did, as by a time-out, and returns
// whether there were any.
func (t *testRun) failUnended(e event, p *packageResult) (any bool) {
	for _, test := range slices.Sorted(maps.Keys(p.tests)) {
		if r := p.tests[test]; test != "" && !r.ended && !r.parent && !r.paused {
			any = true
			// What a time-out prints goes to one of the tests, which may be one with subtests.
			p.ancestors(test, func(a *testResult) { r.output.WriteString(a.output.String()) })
			t.fail(e.Package+" "+test+" (did not end)", printed(&r.output))
		}
	}
	return any
}

// printed is output without the lines that go test itself adds.
func printed(b *strings.Builder) string {
	var kept strings.Builder
	for line := range strings.Lines(b.String()) {
		word, _, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		switch strings.TrimSpace(word) {
		case "===", "---", "PASS", "FAIL", "ok":
		default:
			if !strings.HasPrefix(line, "FAIL\t") && !strings.HasPrefix(line, "ok  \t") {
				kept.WriteString(line)
			}
		}
	}
	return strings.TrimRight(kept.String(), "\n")
}

// finish reports the slowest tests, then skips and failures by name, and the counts in
// one line. It returns whether all is well.
func (t *tally) finish() bool {
	slices.SortStableFunc(t.slow, func(a, b timed) int { return cmp.Compare(b.took, a.took) })
	for _, s := range t.slow[:min(slowShown, len(t.slow))] {
		fmt.Fprintf(t.out, "SLOW  %6.1fs %s\n", s.took.Seconds(), s.name)
	}
	for _, s := range t.skips {
		fmt.Fprintf(t.out, "SKIP  %s\n", s)
	}
	if t.passed+t.failed+t.skipped == 0 {
		t.fail("nothing ran: no check, and no test of these packages", "")
	}
	for _, f := range t.failures {
		t.show(f)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	return t.failed == 0
}
