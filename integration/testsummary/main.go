// Command testsummary runs checks, one after the other, and runs of go test at once
// beside them, in the order in which they are given, whatever fails, and ends with one plain line:
//
//	12 passed, 0 failed, 1 skipped
//
// A check is a command, counted as one. A test is counted by its result, and a
// test with subtests by theirs. Before the line come what every check and every failed
// test printed, how long all of it took, the ten slowest tests, why every skipped test was
// skipped, and what failed once more, with some lines of what it printed.
//
// It owns the reading of `go test -json`; it never decides what is run, which
// the Makefile does.
//
//	testsummary [-memory] [-together N] -check 'COMMAND' -test '[NAME=VALUE ...] ARGUMENTS OF go test' ...
//
// With -memory the temporary files of all of it are in memory where the system has room for that, and are gone at the
// end. What go builds stays on the disk: the pages of a program that lies in memory are its process's,
// which tests of limits would see.
//
// With -together at most so many runs of go test go on at once; the default is all of them.
//
// A signal ends all that runs, and what was made for it is removed before the end.
//
// The exit status is 0 when nothing failed and something ran, 1 when not, 2 for
// wrong usage.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// step is a command to run and how to count it.
type step struct {
	test bool
	text string
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testsummary", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var steps []step
	inMemory := flags.Bool("memory", false, "keep temporary files in memory, where there is room")
	together := flags.Int("together", 0, "let at most `N` runs of go test go on at once; 0 is all of them")
	flags.Func("check", "run `COMMAND` with sh, and count it as one", func(s string) error {
		steps = append(steps, step{text: s})
		return nil
	})
	flags.Func("test", "run go test with `ARGUMENTS`, split at spaces, after variables of its environment, and count its tests", func(s string) error {
		steps = append(steps, step{test: true, text: s})
		return nil
	})
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || len(steps) == 0 {
		if err == nil {
			flags.Usage()
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	env := os.Environ()
	if *inMemory {
		temporary, err := newFolder(memory, memoryFree)
		if err != nil {
			fmt.Fprintf(stdout, "temporary files are on the disk: %v\n", err)
		} else {
			defer temporary.remove()
			env = append(env, "GOTMPDIR="+cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir()), "TMPDIR="+temporary.path)
		}
	}
	t := newTally(stdout)
	begin := time.Now()
	var running sync.WaitGroup
	running.Go(func() {
		for _, s := range steps {
			if !s.test {
				runCheck(ctx, t, env, s.text)
			}
		}
	})
	places := make(chan struct{}, cmp.Or(max(*together, 0), len(steps)))
	for _, s := range steps {
		if !s.test {
			continue
		}
		places <- struct{}{}
		running.Go(func() {
			runTests(ctx, t, slices.Clone(env), strings.Fields(s.text), stderr)
			<-places
		})
	}
	running.Wait()
	fmt.Fprintf(stdout, "all of it took %s\n", time.Since(begin).Round(time.Second))
	if !t.finish() {
		return 1
	}
	return 0
}

// command is a command that the end of ctx ends, with all that it started and that did not leave its process group.
func command(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func runCheck(ctx context.Context, t *tally, env []string, text string) {
	begin := time.Now()
	printed, err := command(ctx, env, "sh", "-c", text).CombinedOutput()
	t.check(text, time.Since(begin), string(printed), err)
}

func runTests(ctx context.Context, t *tally, env, args []string, stderr io.Writer) {
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	cmd := command(ctx, env, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail("go test could not be started", err.Error())
		return
	}
	failed, readErr := t.read(out)
	err = cmd.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		t.fail("the output of go test could not be read", readErr.Error())
	case err != nil && (!errors.As(err, &exit) || !failed):
		t.fail("go test "+strings.Join(args, " "), fmt.Sprintf("%v, though no test failed", err))
	}
}
