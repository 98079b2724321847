package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/budget"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is a request under way.
type asked struct {
	release func()
	err     error
	done    chan struct{}
}

func ask(ctx context.Context, b *budget.Budget, bytes int64) *asked {
	a := &asked{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.release, a.err = b.Acquire(ctx, bytes)
	}()
	synctest.Wait()
	return a
}

func (a *asked) served() bool {
	synctest.Wait()
	select {
	case <-a.done:
		return a.err == nil
	default:
		return false
	}
}

// TestFirstComeFirstServed: a large request is not overtaken by a small one for which there
// would be room.
func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		first := ask(t.Context(), b, 60)
		large := ask(t.Context(), b, 50)
		small := ask(t.Context(), b, 10)
		if !first.served() || large.served() || small.served() {
			t.Fatal("60 of 100, and then 50 and 10: only the first is to be served")
		}
		first.release()
		if !large.served() || !small.served() {
			t.Error("there is room for both")
		}
		large.release()
		large.release() // twice is once
		small.release()
		if free := b.Free(); free != b.Total() {
			t.Errorf("%d are free at the end", free)
		}
	})
}

// TestCancelled: who gives up is out of the way of those behind, and has the cause.
func TestCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		first := ask(t.Context(), b, 60)
		reason := errors.New("nobody waits any more")
		ctx, cancel := context.WithCancelCause(t.Context())
		large := ask(ctx, b, 50)
		small := ask(t.Context(), b, 40)
		cancel(reason)
		<-large.done
		if !errors.Is(large.err, reason) || large.release != nil {
			t.Errorf("got %v", large.err)
		}
		if !small.served() {
			t.Error("the one behind it still waits")
		}
		if late := ask(ctx, b, 0); late.err != reason {
			t.Errorf("asked after the end: %v", late.err)
		}
		first.release()
		small.release()
		if free := b.Free(); free != 100 {
			t.Errorf("%d are free at the end", free)
		}
	})
}

// TestTooLarge: what can never be had is refused at once, though others wait.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	b := budget.New(100 << 20)
	all, err := b.Acquire(t.Context(), 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer all()
	_, err = b.Acquire(t.Context(), 100<<20+1)
	if f := fault.From(err); f == nil || f.Code != budget.CodeTooLarge || f.Class != fault.Usage ||
		f.Message != "a run needs 101 MiB of memory, and all runs together may have 100 MiB" {
		t.Errorf("got %+v", f)
	}
}

// TestNeverMore: whoever comes and goes, no more is given away than there is, everybody is
// served or has given up, and all is back at the end.
func TestNeverMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const total = 1000
		b := budget.New(total)
		var mu sync.Mutex
		var had int64
		var most []int64
		var all sync.WaitGroup
		for range 500 {
			bytes, stays := rand.Int64N(total+1), time.Duration(rand.IntN(1000))*time.Millisecond
			patience := time.Duration(rand.IntN(100_000)) * time.Millisecond
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				release, err := b.Acquire(ctx, bytes)
				if err != nil {
					return
				}
				mu.Lock()
				had += bytes
				most = append(most, had)
				mu.Unlock()
				time.Sleep(stays)
				mu.Lock()
				had -= bytes
				mu.Unlock()
				release()
			})
		}
		all.Wait()
		if top := slices.Max(most); top > total || b.Free() != total {
			t.Errorf("at most %d of %d were given away, and %d are free at the end", top, total, b.Free())
		}
	})
}
