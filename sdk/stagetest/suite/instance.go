package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// instance is a stage in this process, and what it was given.
type instance struct {
	harness *harness
	made    any
	memory  *guard // what env.Memory hands out
	dir     string
	remove  func()

	mu   sync.Mutex
	ends []context.CancelFunc
	// open are the names of what the stage has announced and not released, by their numbers.
	open      map[int]string
	announced int
}

// announce takes what the stage announces, as a host does.
func (i *instance) announce(_ context.Context, r stage.Resource) (release func(), err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.announced
	i.announced++
	if i.open == nil {
		i.open = map[int]string{}
	}
	i.open[n] = r.Name
	if breach := resourceBreach(r); breach != "" {
		i.harness.report(CheckUndo, "%s", breach)
	}
	if _, can := i.made.(stage.Undoer); !can {
		i.harness.report(CheckUndo, "the stage announces %q, and has no Undo", r.Name)
	}
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.open, n)
	}, nil
}

// unreleased lists what the stage has announced and not released.
func (i *instance) unreleased() (names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, name := range i.open {
		names = append(names, name)
	}
	return names
}

// harnessLabel is the profiler label that goroutines of a tried stage inherit.
const harnessLabel = "cipherstream.stagetest"

var harnesses atomic.Int64

// newInstance makes a stage. The caller closes it.
func (h *harness) newInstance(ctx context.Context, d stage.Definition) (*instance, error) {
	dir, remove, err := tempDir()
	if err != nil {
		return nil, problemf("cannot make a directory: %v", err)
	}
	i := &instance{harness: h, memory: newGuard(), dir: dir, remove: remove}
	settings, err := h.options.settings(dir)
	if err != nil {
		remove()
		return nil, problemf("%v", err)
	}
	var mu sync.Mutex
	counters := map[string]int64{}
	err = i.call(ctx, "making the stage", func(context.Context) (err error) {
		i.made, err = d.Make(settings, stage.Env{
			Log:        slog.New(slog.DiscardHandler),
			Memory:     i.memory,
			BatchRows:  50,
			BatchBytes: 1 << 20,
			Count: func(name string, n int64) {
				mu.Lock()
				defer mu.Unlock()
				counters[name] += n
			},
			Fact:     func(string, string) {},
			Announce: i.announce,
			Dir:      dir,
		})
		return err
	})
	if err == nil {
		return i, nil
	}
	i.close()
	// The runner codes what goes wrong with settings; it need not have a code here.
	var own *problem
	var f *fault.Fault
	if !errors.As(err, &own) && !errors.As(err, &f) {
		err = problemf("the settings do not fit: %v", err)
	}
	return nil, err
}

func (i *instance) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, end := range i.ends {
		end()
	}
	i.remove()
}

// call runs one call of a stage: within the time it has, its panic caught, its error looked at.
func (i *instance) call(ctx context.Context, what string, f func(context.Context) error) error {
	// In a run, the context outlives the call: a stage may work on behind it.
	ctx, cancel := context.WithCancel(ctx)
	i.mu.Lock()
	i.ends = append(i.ends, cancel)
	i.mu.Unlock()
	done := make(chan error, 1)
	go pprof.Do(ctx, pprof.Labels(harnessLabel, i.harness.label), func(ctx context.Context) {
		defer func() {
			if v := recover(); v != nil {
				stack := make([]byte, 8<<10)
				stack = stack[:runtime.Stack(stack, false)]
				done <- problemf("%s panicked: %v\n%s", what, v, where(string(stack)))
			}
		}()
		done <- f(ctx)
	})
	timer := time.NewTimer(i.harness.options.Patience)
	defer timer.Stop()
	var err error
	select {
	case err = <-done:
	case <-timer.C:
		cancel()
		select {
		case <-done:
			err = problemf("%s took longer than %s", what, i.harness.options.Patience)
		case <-time.After(i.harness.options.Prompt):
			i.harness.setHung(what + " never returned")
			err = problemf("%s took longer than %s, and did not return when it was cancelled", what,
				i.harness.options.Patience)
		}
	}
	i.inspect(what, err)
	return err
}

// inspect reports what must never be, whichever check comes across it.
func (i *instance) inspect(what string, err error) {
	if err == nil {
		return
	}
	var own *problem
	var f *fault.Fault
	switch {
	case errors.As(err, &own):
		if strings.Contains(own.text, " panicked: ") {
			i.harness.report(CheckPanics, "%s", own.text)
		}
	case errors.As(err, &f):
		if !codePattern.MatchString(f.Code) || !classes[f.Class] || f.Message == "" {
			i.harness.report(CheckErrors, "%s: a fault with the code %q, the class %q and the message %q", what, f.Code,
				f.Class, f.Message)
		}
	case isEnd(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case strings.HasPrefix(what, "making"):
		// The runner codes it.
	default:
		i.harness.report(CheckErrors, "%s: an error without a code: %v", what, err)
	}
}

// where keeps of a stack what lies above the recovery.
func where(stack string) string {
	lines := strings.Split(stack, "\n")
	for n, line := range lines {
		if strings.HasPrefix(line, "panic(") && n+2 < len(lines) {
			lines = lines[n+2:]
			break
		}
	}
	return strings.Join(lines[:min(len(lines), 6)], "\n")
}

// callCancelled makes a call whose context has ended, and one whose context ends while it runs. Both must return
// promptly; what they return may be anything that is coded.
func (i *instance) callCancelled(ctx context.Context, what string, already bool, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	if already {
		cancel()
	}
	go func() {
		done <- i.call(context.WithoutCancel(ctx), what, func(context.Context) error { return f(ctx) })
	}()
	if !already {
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Millisecond):
			cancel()
		}
	}
	select {
	case err := <-done:
		return err
	case <-time.After(i.harness.options.Prompt):
		i.harness.setHung(what + " did not return when it was cancelled")
		return problemf("%s did not return within %s of its cancellation", what, i.harness.options.Prompt)
	}
}

// cancelled makes an error that a cancelled call may return nothing.
func cancelled(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	var f *fault.Fault
	if errors.As(err, &f) && f.Class == fault.Cancelled {
		return nil
	}
	return err
}

// labelled counts the goroutines that calls of the stage have started and that still run.
func (h *harness) labelled() (n int, sample string) {
	var text strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1)
	label := fmt.Sprintf("%q:%q", harnessLabel, h.label)
	_, groups, _ := strings.Cut(text.String(), "\n") // behind the line that counts them all
	for _, block := range strings.Split(groups, "\n\n") {
		if !strings.Contains(block, label) {
			continue
		}
		count := 1
		_, _ = fmt.Sscanf(block, "%d @", &count)
		n += count
		lines := strings.Split(block, "\n")
		sample = strings.Join(lines[min(1, len(lines)):min(len(lines), 5)], "\n")
	}
	return n, sample
}
