package service

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	hanging = flag.Int("hanging", 300, "how many deliveries wait for a receiver that hangs in TestSlowReceiver. make bench-webhooks has 10,000")
	timed   = flag.Int("timed", 60, "how many deliveries of others are timed in TestSlowReceiver")
)

// TestSlowReceiver: while deliveries of one customer wait for a receiver that hangs, those of others come as before. It says
// how long they take, from the answer to who has asked for them; make bench-webhooks shows that for 10,000.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	var tenants []tenant
	for _, id := range []string{"slow", "quick", "other"} {
		tenants = append(tenants, tenant{id: id, dsn: unreached, more: ", bucket: results"})
	}
	d := deployIn(t, slices.Clone(trusted.variables), allowed+bucketHere(t), tenants...)
	slow, quick, other := d.hooksOf(t, "slow"), d.hooksOf(t, "quick"), d.hooksOf(t, "other")
	over := make(chan struct{})
	hangs := listenTLS(t, trusted.issue(t, nil), func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(over) }) // before the server waits for what hangs
	e, o := trusted.receiver(t), trusted.receiver(t)
	slow.put(t, hangs.URL, `,"retry_policy":"durable","timeout_seconds":30`)
	quick.put(t, e.URL, "")
	other.put(t, o.URL, "")

	measure := func() (p50, p99, most time.Duration) {
		var times []time.Duration
		for n := range *timed {
			h, at := quick, e
			if n%2 == 1 {
				h, at = other, o
			}
			before := len(at.all())
			h.must(t, http.MethodPost, "/test", "", nil)
			asked := time.Now()
			eventuallySoon(t, func() bool { return len(at.all()) > before })
			times = append(times, max(0, at.all()[before].At.Sub(asked)))
		}
		slices.Sort(times)
		return times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	}
	measure() // connections are made
	p50, p99, most := measure()
	t.Logf("%d deliveries, nothing else waits: median %s, p99 %s, most %s", *timed, p50, p99, most)

	began := time.Now()
	var asking sync.WaitGroup
	for client := range 4 {
		asking.Go(func() {
			for n := client; n < *hanging; n += 4 {
				if a, err := slow.ask(http.MethodPost, "/v1/customers/slow/webhook/test", ""); err != nil || a.StatusCode != http.StatusAccepted {
					t.Errorf("delivery %d: %v %s", n, err, a.said())
					return
				}
			}
		})
	}
	asking.Wait()
	eventually(t, "the deliveries to wait", func() bool { return slow.count(t, "") == *hanging })
	t.Logf("%d deliveries wait for a receiver that hangs, after %.1f s", slow.count(t, "status=waiting"), time.Since(began).Seconds())
	if n := slow.count(t, "status=sending"); n < 1 || n > 4 {
		t.Errorf("%d of them are on their way, want 1 to 4", n)
	}
	then50, then99, thenMost := measure()
	t.Logf("%d deliveries beside them: median %s, p99 %s, most %s: p99 grew by %s", *timed, then50, then99, thenMost, then99-p99)
	eventually(t, "the deliveries of others to be recorded as delivered", func() bool { // each is when it has been answered
		return quick.count(t, "status=delivered")+other.count(t, "status=delivered") == 3**timed
	})
	if n := slow.count(t, "status=delivered"); n != 0 {
		t.Error(fmt.Sprint(n) + " deliveries were taken by a receiver that hangs")
	}
}

// eventuallySoon is eventually for what takes milliseconds.
func eventuallySoon(t *testing.T, so func() bool) {
	t.Helper()
	over := time.Now().Add(patience)
	for !so() {
		if time.Now().After(over) {
			t.Fatalf("waited %v for a delivery", patience)
		}
		<-time.After(200 * time.Microsecond)
	}
}
