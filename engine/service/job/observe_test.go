package job

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// told is an observer that remembers.
type told struct {
	mu   sync.Mutex
	runs []string
	ends []string
}

type toldRun struct {
	nobody
	of *told
	id string
}

func (o *told) Run(_ context.Context, j store.Job) RunObserver { return &toldRun{of: o, id: j.ID} }

func (o *told) Ended(_ store.Job, outcome string, rows, bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ends = append(o.ends, fmt.Sprint(outcome, " ", rows, " ", bytes))
}

func (r *toldRun) End(code string) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.runs = append(r.of.runs, code)
}

// TestObserved: every attempt is told of once, with what has become of it.
func TestObserved(t *testing.T) {
	t.Parallel()
	again := fault.New("x.y", fault.Source, "x").WithRetry()
	for _, c := range []struct {
		name       string
		run        runFunc
		then       func(p *process, j store.Job)
		runs, ends []string
	}{
		{"completed", deliver("one\ntwo\n", 0), nil, []string{""}, []string{"completed 2 8"}},
		{"retried", fails(again), nil, []string{"X.Y", "X.Y", "X.Y"}, []string{"retried 0 0", "retried 0 0", "failed 0 0"}},
		{"cancelled", deliver("one\n", time.Minute), func(p *process, j store.Job) {
			if _, err := p.Cancel(context.Background(), j.Customer, j.ID, store.Actor{}); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
		}, []string{"JOB.CANCELLED"}, []string{"cancelled 0 0"}},
		{"returned", deliver("one\n", time.Minute), func(p *process, _ store.Job) { p.Stop(context.Background()) }, []string{"JOB.STOPPING"}, []string{"returned 0 0"}},
		{"lost", deliver("one\n", time.Minute), func(p *process, _ store.Job) {
			p.record.away()
			time.Sleep(time.Minute)
		}, []string{"STORE.LEASE_LOST"}, []string{"lost 0 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				o := &told{}
				p := w.start("a", 1, c.run, func(cfg *Config) { cfg.Observer = o })
				j := p.create("clinic")
				time.Sleep(10 * time.Second)
				if c.then != nil {
					c.then(p, j)
				} else {
					time.Sleep(5 * time.Minute)
				}
				p.stop()
				o.mu.Lock()
				defer o.mu.Unlock()
				if !slices.Equal(o.runs, c.runs) || !slices.Equal(o.ends, c.ends) {
					t.Errorf("runs %q, ends %q", o.runs, o.ends)
				}
			})
		})
	}
}
