package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// watching is a watch of a job of a service that a handler is, with times that a test has.
func watching(t *testing.T, handler http.HandlerFunc) *watch {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w := newWatch(&customerJobs{&ofCustomer{&caller{client: server.Client(), server: server.URL, key: "k"}, "c"}}, "j")
	w.pause, w.longest, w.patience = time.Millisecond, 5*time.Millisecond, 50*time.Millisecond
	return w
}

// TestWatchSilence: where somebody between keeps events back, the service is asked.
func TestWatchSilence(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := watching(t, func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/events"):
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		case asked.Add(1) < 3:
			fmt.Fprint(rw, `{"job_id":"j","status":"running"}`)
		default:
			fmt.Fprint(rw, `{"job_id":"j","status":"completed"}`)
		}
	})
	w.silence = 20 * time.Millisecond
	w.patience = time.Minute // on a busy machine an answer takes longer than that silence, again and again
	w.hold = time.Second
	if j, _, err := w.untilEnded(t.Context()); err != nil || j.Status != jobCompleted {
		t.Errorf("%+v, %v", j, err)
	}
}

// TestWatchAway: a service that is away for a while is waited for, and one that stays away is told, as is one that lets nobody
// in. Where it answers, and only events are refused for now, the end of the job is learnt all the same.
func TestWatchAway(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := watching(t, func(rw http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n < 6 || strings.HasSuffix(r.URL.Path, "/events"):
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(rw, `{"job_id":"j","status":"failed"}`)
		}
	})
	w.patience = time.Minute
	if j, _, err := w.untilEnded(t.Context()); err != nil || j.Status != jobFailed {
		t.Errorf("%+v, %v", j, err)
	}
	w = watching(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	if _, _, err := w.untilEnded(t.Context()); !fault.Is(err, codeRefused) {
		t.Errorf("a service that stays away: %v", err)
	}
	w = watching(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
	if _, _, err := w.untilEnded(t.Context()); !fault.Is(err, codeRefused) || fault.From(err).Class != fault.Connect {
		t.Errorf("a key that is not taken: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	w = watching(t, func(rw http.ResponseWriter, r *http.Request) {
		cancel(context.Canceled)
		<-r.Context().Done()
	})
	if _, _, err := w.untilEnded(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a watch that was interrupted: %v", err)
	}
}
