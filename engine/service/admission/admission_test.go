package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// empty holds that nothing is left of anybody.
func empty(t *testing.T, c *Controller) {
	t.Helper()
	if s := c.Stats(); s.Used != 0 || s.Streams != 0 || s.Waiting != 0 || len(c.customers) != 0 || len(c.turn) != 0 || c.Loaded() {
		t.Errorf("left: %+v, %d customers, %d in turn", s, len(c.customers), len(c.turn))
	}
}

func stream(t *testing.T, c *Controller, customer string, memory int64) func() {
	t.Helper()
	release, err := c.Stream(t.Context(), customer, 0, memory)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// TestStreams: a customer has exactly its streams; another one is not touched; what is released may be had again, and
// releasing twice gives nothing more.
func TestStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		var releases []func()
		for range 10 {
			releases = append(releases, stream(t, c, "a", 1))
		}
		refused := func(streams int, after string) {
			t.Helper()
			begun := time.Now()
			_, err := c.Stream(t.Context(), "a", streams, 1)
			f := fault.From(err)
			if !fault.Is(err, CodeStreamsBusy) || f.Class != fault.Cancelled || !f.Retryable || f.Details[DetailRetryAfter] != after || time.Since(begun) != 0 {
				t.Errorf("%+v after %s", f, time.Since(begun))
			}
		}
		refused(0, "1")
		releases = append(releases, stream(t, c, "b", 1))
		if s := c.Stats(); s.Streams != 11 || s.Used != 11 || s.Memory != 0 || c.Loaded() {
			t.Errorf("%+v", s)
		}
		time.Sleep(100 * time.Second) // in the bubble
		releases[0]()
		releases[0]()
		releases[0] = stream(t, c, "a", 1)
		refused(0, "10") // ten streams that take 100 seconds each
		refused(3, "30")
		release, err := c.Stream(t.Context(), "a", 11, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range append(releases, release) {
			r()
		}
		empty(t, c)
	})
}

// TestMemory: all runs have no more than there is; whoever waits gets it in time or is refused when it must, and a run that
// never fits is told at once.
func TestMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 100 << 20, MaxWait: 3 * time.Second}})
		if _, err := c.Stream(t.Context(), "a", 0, 100<<20+1); !fault.Is(err, CodeTooLarge) || !strings.Contains(err.Error(), "needs 101 MiB") {
			t.Errorf("%v", err)
		}
		release := stream(t, c, "a", 60<<20)
		begun := time.Now()
		_, err := c.Stream(t.Context(), "b", 0, 60<<20)
		if f := fault.From(err); !fault.Is(err, CodeLoaded) || !f.Retryable || f.Details[DetailRetryAfter] == "" || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		time.AfterFunc(2*time.Second, release)
		begun = time.Now()
		second := stream(t, c, "b", 60<<20)
		if time.Since(begun) != 2*time.Second {
			t.Errorf("admitted after %s", time.Since(begun))
		}
		second()
		empty(t, c)
	})
}

// TestInTurn: customers are served one after another, and each one's requests in their order, whatever is asked first.
func TestInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 1, MaxWait: time.Hour}})
		first := stream(t, c, "x", 1)
		var order []string
		var wait sync.WaitGroup
		for _, name := range []string{"a1", "a2", "a3", "b1", "c1", "b2"} {
			wait.Go(func() {
				release := stream(t, c, name[:1], 1)
				order = append(order, name)
				release()
			})
			synctest.Wait()
		}
		if !c.Loaded() || c.Stats().Waiting != 6 {
			t.Errorf("%+v", c.Stats())
		}
		first()
		wait.Wait()
		if got := strings.Join(order, " "); got != "a1 b1 c1 a2 b2 a3" {
			t.Errorf("served %s", got)
		}
		empty(t, c)
	})
}

// TestNobodyOvertakes: a request that fits does not pass by one that does not yet.
func TestNobodyOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 10, MaxWait: time.Hour}})
		first := stream(t, c, "x", 6)
		var order []string
		var wait sync.WaitGroup
		for _, r := range []struct {
			customer string
			memory   int64
		}{{"large", 10}, {"small", 1}} {
			wait.Go(func() {
				release := stream(t, c, r.customer, r.memory)
				order = append(order, r.customer)
				time.Sleep(time.Second)
				release()
			})
			synctest.Wait()
		}
		first()
		wait.Wait()
		if fmt.Sprint(order) != "[large small]" {
			t.Errorf("served %v", order)
		}
		empty(t, c)
	})
}

// TestCancel: whoever leaves while waiting leaves nothing, its cause is the error, and those behind it do not wait for it.
func TestCancel(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 10, MaxWait: time.Hour}})
		ended, end := context.WithCancelCause(t.Context())
		end(gone)
		if _, err := c.Stream(ended, "a", 0, 1); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		release := stream(t, c, "a", 6)
		ctx, cancel := context.WithCancelCause(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := c.Stream(ctx, "b", 0, 10); !errors.Is(err, gone) {
				t.Errorf("%v", err)
			}
		})
		synctest.Wait()
		wait.Go(func() { stream(t, c, "c", 1)() })
		synctest.Wait()
		if c.Stats().Waiting != 2 {
			t.Errorf("%+v", c.Stats())
		}
		cancel(gone)
		wait.Wait()
		if c.customers["b"] != nil || c.Stats().Used != 6 {
			t.Errorf("%+v", c.Stats())
		}
		release()
		empty(t, c)
	})
}

// TestChange: what was admitted keeps what it has, who waits has what there is now, and who can never have it is told at once.
func TestChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 100, Streams: 3, MaxWait: time.Hour}})
		first := stream(t, c, "a", 100)
		var large error
		var served atomic.Int32
		var wait sync.WaitGroup
		wait.Go(func() { _, large = c.Stream(t.Context(), "large", 0, 90) })
		synctest.Wait()
		for _, name := range []string{"b", "c"} {
			wait.Go(func() {
				release := stream(t, c, name, 40)
				served.Add(1)
				release()
			})
			synctest.Wait()
		}
		c.Change(Limits{Memory: 80, Streams: 1, MaxWait: time.Second})
		synctest.Wait()
		if !fault.Is(large, CodeTooLarge) || served.Load() > 0 || c.Stats() != (Stats{Memory: 80, Used: 100, Streams: 1, Waiting: 2}) {
			t.Errorf("%v, %v, %+v", large, served.Load(), c.Stats())
		}
		if _, err := c.Stream(t.Context(), "a", 0, 1); !fault.Is(err, CodeStreamsBusy) {
			t.Errorf("a stream more than there are now: %v", err)
		}
		begun := time.Now()
		if _, err := c.Stream(t.Context(), "d", 0, 1); !fault.Is(err, CodeLoaded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		c.Change(Limits{Memory: 200})
		wait.Wait()
		if served.Load() != 2 {
			t.Errorf("more memory served %d", served.Load())
		}
		first()
		empty(t, c)
	})
}

// TestNobodyStarves: a customer with a thousand requests and one with one, and some with requests of any size: the one is
// served after no more than one of each other, and in the end everybody was.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			const total = 1000
			c := New(Config{Limits: Limits{Memory: total, Streams: 2000, MaxWait: 24 * time.Hour}})
			var mu sync.Mutex
			served := map[string][]time.Time{}
			var most, used int64
			var wait sync.WaitGroup
			ask := func(customer string, memory int64, takes time.Duration) {
				wait.Go(func() {
					release := stream(t, c, customer, memory)
					mu.Lock()
					served[customer] = append(served[customer], time.Now())
					used += memory
					most = max(most, used)
					mu.Unlock()
					time.Sleep(takes)
					mu.Lock()
					used -= memory
					mu.Unlock()
					release()
				})
			}
			for range 1000 {
				ask("greedy", 1+random.Int64N(total/4), time.Duration(1+random.IntN(1000))*time.Millisecond)
			}
			for i := range 5 {
				for range 20 {
					ask(fmt.Sprintf("other%d", i), 1+random.Int64N(total), time.Duration(1+random.IntN(1000))*time.Millisecond)
				}
			}
			time.Sleep(time.Duration(random.IntN(10_000)) * time.Millisecond)
			synctest.Wait()
			asked := time.Now()
			ask("one", 1+random.Int64N(total), time.Millisecond)
			wait.Wait()
			for customer, times := range served {
				before := 0 // the times of the one's own instant may be of its turn, or of the next
				for _, at := range times {
					if at.After(asked) && at.Before(served["one"][0]) {
						before++
					}
				}
				if before > 1 {
					t.Errorf("seed %d: %s was served %d times before the one", seed, customer, before)
				}
			}
			if len(served["greedy"]) != 1000 || len(served) != 7 {
				t.Errorf("seed %d: %d of the greedy one's were served, of %d customers", seed, len(served["greedy"]), len(served))
			}
			if most > total {
				t.Errorf("seed %d: %d bytes were given out", seed, most)
			}
			empty(t, c)
		})
	}
}

// TestManyAtOnce: in any order of asking, leaving and giving back nothing is lost and nothing given twice. It is run with the
// race detector.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	c := New(Config{Limits: Limits{Memory: 50, Streams: 5, MaxWait: time.Millisecond}})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
				release, err := c.Stream(ctx, fmt.Sprint(random.IntN(3)), 0, random.Int64N(50))
				if err == nil {
					if s := c.Stats(); s.Used > 50 {
						t.Errorf("%+v", s)
					}
					release()
				}
				cancel()
			}
		})
	}
	wait.Wait()
	empty(t, c)
}
