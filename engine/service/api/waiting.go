package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// longestWait is how long a request is kept waiting for a change of its job: shorter than what proxies usually allow.
const longestWait = 50 * time.Second

// mostWaiting is how many requests of a customer may wait for its jobs at once.
const mostWaiting = 100

// waiters counts who waits, by customer, and lets all of them go when the service is about to end.
type waiters struct {
	mu      sync.Mutex
	waiting map[string]int
	drained chan struct{}
	once    sync.Once
}

func newWaiters() *waiters {
	return &waiters{waiting: map[string]int{}, drained: make(chan struct{})}
}

// enter counts one more, unless there are as many as there may be.
func (w *waiters) enter(customer string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[customer] >= mostWaiting {
		return nil, false
	}
	w.waiting[customer]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[customer]--; w.waiting[customer] == 0 {
			delete(w.waiting, customer)
		}
	}, true
}

// drain lets everybody go, now and from now on.
func (w *waiters) drain() { w.once.Do(func() { close(w.drained) }) }

// until is a context that ends when nobody may wait any more.
func (w *waiters) until(ctx context.Context, longest time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	go func() {
		select {
		case <-w.drained:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// prefers reports whether the request has a preference of this name (RFC 7240).
func (x *exchange) prefers(name string) bool {
	_, ok := preference(x.r.Header.Values("Prefer"), name)
	return ok
}

// applied says that a preference was followed.
func (x *exchange) applied(preference string) {
	h := x.w.Header()
	h.Add("Preference-Applied", preference)
	h.Add("Vary", "Prefer")
}

// preference finds a preference: names are of any case, the first of a name counts, and parameters behind a semicolon
// are not looked at (RFC 7240, section 2).
func preference(header []string, name string) (value string, ok bool) {
	for part := range strings.SplitSeq(strings.Join(header, ","), ",") {
		part, _, _ = strings.Cut(part, ";")
		key, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.Trim(strings.TrimSpace(value), `"`), true
		}
	}
	return "", false
}

// preferredWait is how long the client would wait, and says that it is done so. A wait that cannot be read is none: what
// a server does not understand of a preference it leaves (RFC 7240, section 2).
func (x *exchange) preferredWait() time.Duration {
	value, ok := preference(x.r.Header.Values("Prefer"), "wait")
	if !ok || value == "" || strings.Trim(value, "0123456789") != "" {
		return 0
	}
	n, err := strconv.Atoi(value)
	if most := int(longestWait / time.Second); err != nil || n > most {
		n = most // so many digits, or more than is waited
	}
	if n > 0 {
		x.applied("wait=" + strconv.Itoa(n))
	}
	return time.Duration(n) * time.Second
}

// waitFor waits for the next change of a job's status. When none comes it returns the job as it is then: also when the
// service is about to end, or when too many wait already.
func (a *API) waitFor(x *exchange, j store.Job, longest time.Duration) (store.Job, *Error) {
	leave, ok := a.waiters.enter(j.Customer)
	if !ok {
		return j, nil
	}
	defer leave()
	ctx, cancel := a.waiters.until(x.ctx, longest)
	defer cancel()
	waited, err := a.Jobs.Wait(ctx, j.Customer, j.ID, j.Transition)
	if x.ctx.Err() != nil {
		return j, x.outcome(context.Cause(x.ctx))
	}
	// Nobody is told anything whose key was revoked meanwhile.
	if e := x.stillMine(j.Customer); e != nil {
		return j, e
	}
	if err != nil {
		return j, fromJobs(err)
	}
	return waited, nil
}

// setWriteDeadline gives the client time for the next piece of an answer.
func (x *exchange) setWriteDeadline(d time.Duration) {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(d))
}
