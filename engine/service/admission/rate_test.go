package admission

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// clock is one that is set.
type clock struct{ time.Time }

func (c *clock) now() time.Time       { return c.Time }
func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }
func newClock() *clock                { return &clock{time.Unix(1_800_000_000, 0)} }
func rates(r Rate) map[Policy]Rate    { return map[Policy]Rate{Procedures: r} }

// TestTake: a quota is had at once, comes back evenly, and what is said of it is exact.
func TestTake(t *testing.T) {
	t.Parallel()
	at := newClock()
	c := New(Config{Limits: Limits{Rates: rates(Rate{Quota: 3, Window: time.Minute})}, Now: at.now})
	const s = time.Second
	for i, step := range []struct {
		pass              time.Duration
		allowed           bool
		remaining         int
		reset, retryAfter time.Duration
	}{
		{0, true, 2, 20 * s, 0},
		{0, true, 1, 40 * s, 0},
		{0, true, 0, 60 * s, 20 * s},
		{0, false, 0, 60 * s, 20 * s},
		{19 * s, false, 0, 41 * s, s},
		{s, true, 0, 60 * s, 20 * s}, // exactly when it was said
		{50 * s, true, 1, 30 * s, 0},
		{time.Hour, true, 2, 20 * s, 0}, // no more than the quota is saved up
	} {
		at.pass(step.pass)
		d := c.Take(Procedures, "k")
		want := Decision{Allowed: step.allowed, Policy: Procedures, Limited: true, Quota: 3, Window: time.Minute, Remaining: step.remaining, Reset: step.reset, RetryAfter: step.retryAfter}
		if d != want {
			t.Errorf("step %d: %+v, want %+v", i, d, want)
		}
	}
}

// TestTakeApart: keys, and policies, do not touch each other; a policy without a rate refuses nobody.
func TestTakeApart(t *testing.T) {
	t.Parallel()
	at := newClock()
	c := New(Config{Now: at.now, Limits: Limits{Rates: map[Policy]Rate{Procedures: {1, time.Second}, Polling: {2, time.Second}, Downloads: {}}}})
	for _, step := range []struct {
		policy  Policy
		key     string
		allowed bool
	}{
		{Procedures, "a", true}, {Procedures, "a", false}, {Procedures, "b", true}, {Polling, "a", true}, {Polling, "a", true}, {Polling, "a", false},
		{Downloads, "a", true}, {Downloads, "a", true}, {"other", "a", true},
	} {
		if d := c.Take(step.policy, step.key); d.Allowed != step.allowed || d.Policy != step.policy {
			t.Errorf("%+v: %+v", step, d)
		}
	}
	if d := c.Take(Downloads, "a"); d != (Decision{Allowed: true, Policy: Downloads}) {
		t.Errorf("without a rate: %+v", d)
	}
}

// TestTakeIsExact: over any rate and any times, no more pass than the quota and what has come back since, whoever retries
// when it was told passes, and nobody passes earlier.
func TestTakeIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 3))
		rate := Rate{1 + random.IntN(50), time.Duration(1+random.IntN(100)) * 777 * time.Millisecond}
		at := newClock()
		c := New(Config{Limits: Limits{Rates: rates(rate)}, Now: at.now})
		begun, passed := at.now(), 0
		for range 500 {
			d := c.Take(Procedures, "k")
			if d.Allowed {
				passed++
			}
			since := at.Sub(begun)
			if most := rate.Quota + int(since/(rate.Window/time.Duration(rate.Quota))); passed > most {
				t.Fatalf("seed %d, %v: %d passed in %s", seed, rate, passed, since)
			}
			if (d.Remaining == 0) != (d.RetryAfter > 0) || d.Remaining > rate.Quota || d.Reset > rate.Window || d.Reset <= 0 {
				t.Fatalf("seed %d: %+v", seed, d)
			}
			switch {
			case d.RetryAfter > 1 && random.IntN(2) == 0:
				at.pass(d.RetryAfter - 1)
				if early := c.Take(Procedures, "k"); early.Allowed || early.RetryAfter != 1 {
					t.Fatalf("seed %d: %+v passed a moment early", seed, early)
				}
				at.pass(1)
				if in := c.Take(Procedures, "k"); !in.Allowed {
					t.Fatalf("seed %d: %+v after what it was told", seed, in)
				}
				passed++
			default:
				at.pass(time.Duration(random.Int64N(int64(rate.Window) / 4)))
			}
		}
	}
}

// TestKeysAreBounded: any number of keys is bounded memory; those whose quota is whole are forgotten, and one that asks all
// the time is not forgotten for others.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	at := newClock()
	c := New(Config{Limits: Limits{Rates: rates(Rate{2, time.Minute})}, Keys: 100, Now: at.now})
	for i := range 100_000 {
		c.Take(Procedures, fmt.Sprint("key", i))
		if d := c.Take(Procedures, "busy"); d.Allowed != (i < 2) {
			t.Fatalf("busy, after %d others: %+v", i, d)
		}
		if n := c.Stats().Keys; n > 100 {
			t.Fatalf("%d keys", n)
		}
	}
	at.pass(time.Minute)
	for range 100 {
		c.Take(Procedures, "one")
	}
	if n := c.Stats().Keys; n != 1 {
		t.Errorf("%d keys are left whose quota is whole", n)
	}
}

func BenchmarkTake(b *testing.B) {
	c := New(Config{Limits: Limits{Rates: rates(Rate{1 << 30, time.Hour})}})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			c.Take(Procedures, "k")
		}
	})
}

func BenchmarkStream(b *testing.B) {
	c := New(Config{Limits: Limits{Memory: 1 << 30}})
	b.ReportAllocs()
	for b.Loop() {
		release, err := c.Stream(b.Context(), "a", 0, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

// TestAddressKey: an address of IPv4 is itself, and one of IPv6 its network: whoever has one has all of them.
func TestAddressKey(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64",
		"2001:db8::ffff:1": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%eth0": "fe80::/64"} {
		if got := AddressKey(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
	if got := AddressKey(netip.Addr{}); got == "" {
		t.Error("an address that is not known has no key")
	}
}

// TestChangeRates: under another rate a key has made as many requests as before, of whatever quota there is now; what is not
// changed stays exactly as it was.
func TestChangeRates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		made int
		rate Rate
		left int // how many it may make then at once; -1 is any number
	}{
		{6, Rate{10, 10 * time.Second}, 4}, {6, Rate{20, time.Minute}, 14}, {6, Rate{8, time.Hour}, 2}, {6, Rate{5, time.Second}, 0},
		{20, Rate{10, 10 * time.Second}, 0}, {20, Rate{20, time.Minute}, 10}, {0, Rate{3, time.Minute}, 3}, {6, Rate{}, -1},
	} {
		at := newClock()
		controller := New(Config{Limits: Limits{Rates: rates(Rate{10, 10 * time.Second})}, Now: at.now})
		for range c.made {
			controller.Take(Procedures, "k")
		}
		controller.Change(Limits{Rates: rates(c.rate)})
		left := 0
		for controller.Take(Procedures, "k").Allowed && left >= 0 {
			if left++; left > 100 {
				left = -1
			}
		}
		if left != c.left {
			t.Errorf("%d requests, then %v: %d more, want %d", c.made, c.rate, left, c.left)
		}
	}
}
