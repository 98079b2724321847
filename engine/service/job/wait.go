package job

import (
	"context"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// waiters are those who wait for a change of a job. What another process changes they learn from the record.
type waiters struct {
	mu   sync.Mutex
	jobs map[string]*waiting
}

type waiting struct {
	changed chan struct{} // closed at the next change
	count   int
}

// enter begins to wait for a job, before it is looked at.
func (w *waiters) enter(id string) *waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs == nil {
		w.jobs = map[string]*waiting{}
	}
	of := w.jobs[id]
	if of == nil {
		of = &waiting{changed: make(chan struct{})}
		w.jobs[id] = of
	}
	of.count++
	return of
}

// leave ends it.
func (w *waiters) leave(id string, of *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of.count--; of.count == 0 && w.jobs[id] == of {
		delete(w.jobs, id)
	}
}

func (w *waiters) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of := w.jobs[id]; of != nil {
		close(of.changed)
		delete(w.jobs, id)
	}
}

// Wait returns a job when its last transition has a number greater than after, at once where it has, or where nothing
// follows any more; and as it is when ctx ends or the process stops: that is no error.
func (m *Manager) Wait(ctx context.Context, customer, id string, after int64) (store.Job, error) {
	for {
		job, over, err := m.look(ctx, customer, id, after)
		if over || err != nil {
			return job, err
		}
	}
}

// look looks at a job, and waits a moment where it is as it was.
func (m *Manager) look(ctx context.Context, customer, id string, after int64) (job store.Job, over bool, err error) {
	of := m.waiters.enter(id)
	defer m.waiters.leave(id, of)
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	job, err = m.cfg.Record.Job(reading, customer, id)
	if err != nil || job.Transition > after || job.Status.Ended() {
		return job, true, err
	}
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	select {
	case <-of.changed:
	case <-poll.C:
	case <-ctx.Done():
		return job, true, nil
	case <-m.life.Done():
		return job, true, nil
	}
	return job, false, nil
}
