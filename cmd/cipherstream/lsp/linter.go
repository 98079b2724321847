package lsp

import (
	"context"
	"sync"
	"time"
)

// pause is how long a text stays as it is before it is looked at. Who types without it has a new list of problems with
// every letter.
const pause = 150 * time.Millisecond

// linter has texts looked at, one at a time and each as it is then: however quickly one changes, no more is done than one
// look after another. It is safe for concurrent use.
type linter struct {
	lint func(path string)

	mu   sync.Mutex
	due  map[string]time.Time // by path
	wake chan struct{}
}

func newLinter(lint func(path string)) *linter {
	return &linter{lint: lint, due: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

// now has a text looked at as soon as can be.
func (l *linter) now(f *file) { l.at(time.Now(), f) }

// soon has texts looked at when nothing has changed for a while.
func (l *linter) soon(files []*file) { l.at(time.Now().Add(pause), files...) }

func (l *linter) at(due time.Time, files ...*file) {
	l.mu.Lock()
	for _, f := range files {
		l.due[f.path] = due
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it is to look anyway
	}
}

// forget has a text no longer looked at.
func (l *linter) forget(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.due, path)
}

// run looks at texts until ctx ends.
func (l *linter) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.wake:
		}
		path, wait := l.next()
		if path != "" {
			l.lint(path)
			wait = 0
		}
		if wait >= 0 {
			timer.Reset(wait)
		}
	}
}

// next takes the text that is due. When there is none, it says how long it is until one will be; negative is never.
func (l *linter) next() (path string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = -1
	for p, due := range l.due {
		left := time.Until(due)
		if left <= 0 {
			delete(l.due, p)
			return p, 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return "", wait
}
