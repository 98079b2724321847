package engine_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/budget"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// gated is a sink that waits in Open until it is let go on.
type gated struct {
	discard
	opened func()
	// committed, if set, is called while the run still has its memory.
	committed func()
	goOn      chan struct{}
}

func (g *gated) Open(ctx context.Context, _ engine.Object) error {
	g.opened()
	select {
	case <-g.goOn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gated) Commit(ctx context.Context) (engine.Delivery, error) {
	if g.committed != nil {
		g.committed()
	}
	return g.discard.Commit(ctx)
}

// TestBudget: of ten runs under a budget for two no more than two are at work at once, in the order in which they came;
// one that is cancelled while it waits has begun nothing and lets the others pass; one that could never be admitted is
// refused at once; and in the end everything was given back.
func TestBudget(t *testing.T) {
	// What one run takes is seen in a budget that has room for it.
	probe := budget.New(1 << 40)
	var taken int64
	one := newEngine(t, engine.Config{Budget: probe})
	if _, err := one.Run(t.Context(), bind(t, prepare(t, one), inProcess(10)), &gated{opened: func() { taken = probe.Total() - probe.Free() }, goOn: closed()}, engine.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if taken <= 0 || probe.Free() != probe.Total() {
		t.Fatalf("a run takes %d bytes, and leaves %d of %d", taken, probe.Free(), probe.Total())
	}
	synctest.Test(t, func(t *testing.T) {
		shared := budget.New(2*taken + taken/2)
		e := newEngine(t, engine.Config{Budget: shared})
		prepared := prepare(t, e)
		const runs, leaves = 10, 5
		var mu sync.Mutex
		var order []int
		atWork, most := 0, 0
		ctx, leave := context.WithCancel(t.Context())
		errs := make([]error, runs)
		gates := make([]chan struct{}, runs)
		var wait sync.WaitGroup
		for i := range runs {
			gates[i] = make(chan struct{})
			sink := &gated{goOn: gates[i], opened: func() {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				atWork++
				most = max(most, atWork)
			}, committed: func() {
				mu.Lock()
				defer mu.Unlock()
				atWork--
			}}
			of := t.Context()
			if i == leaves {
				of = ctx
			}
			p := bind(t, prepared, inProcess(10))
			wait.Go(func() {
				receipt, err := e.Run(of, p, sink, engine.RunOptions{})
				mu.Lock()
				defer mu.Unlock()
				if errs[i] = err; receipt == nil || receipt.RunID != p.RunID {
					t.Errorf("run %d has the receipt %+v", i, receipt)
				}
			})
			synctest.Wait() // it is at work, or waits in the queue
		}
		if len(order) != 2 {
			t.Fatalf("at work are %v", order)
		}
		large := bind(t, prepared, inProcess(10))
		large.Limits.MemoryBytes = shared.Total() + 1
		if _, err := e.Run(t.Context(), large, &gated{opened: func() { t.Error("it was admitted") }}, engine.RunOptions{}); !fault.Is(err, budget.CodeTooLarge) {
			t.Errorf("a run that is larger than the whole: %v", err)
		}
		leave()
		synctest.Wait()
		if !fault.Is(errs[leaves], "run.cancelled") {
			t.Errorf("the one that left: %v", errs[leaves])
		}
		for i := range runs {
			if i != leaves {
				close(gates[i])
				synctest.Wait()
			}
		}
		wait.Wait()
		if want := []int{0, 1, 2, 3, 4, 6, 7, 8, 9}; !slices.Equal(order, want) || most != 2 {
			t.Errorf("they were admitted in the order %v, at most %d at once", order, most)
		}
		for i, err := range errs {
			if i != leaves && err != nil {
				t.Errorf("run %d: %v", i, err)
			}
		}
		if shared.Free() != shared.Total() {
			t.Errorf("%d of %d bytes were given back", shared.Free(), shared.Total())
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// inProcess are the inputs of a run of this process alone.
func inProcess(rows int) engine.Inputs {
	in := given(rows)
	in.Isolation = engine.IsolationNone
	return in
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
