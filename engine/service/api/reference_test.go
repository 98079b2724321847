package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/spool"
)

// shelf is references whose lists are numbers, and what was made for it.
type shelf struct {
	*references
	t     *testing.T
	pool  *spool.Pool
	mu    sync.Mutex
	made  int
	ended int // by their context
	wait  chan struct{}
	fail  *Error
}

func newShelf(t *testing.T, most int64) *shelf {
	t.Helper()
	pool, err := spool.New(spool.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{references: newReferences(5*time.Minute, most, time.Now), t: t, pool: pool}
}

func (s *shelf) produce(ctx context.Context) (delivery.Answer, *Error) {
	s.mu.Lock()
	s.made++
	number := s.made
	s.mu.Unlock()
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			s.mu.Lock()
			s.ended++
			s.mu.Unlock()
			return delivery.Answer{}, fail(ClientGone)
		}
	}
	if s.fail != nil {
		return delivery.Answer{}, s.fail
	}
	sp := s.pool.New()
	if _, err := sp.Write([]byte("list " + strconv.Itoa(number))); err != nil {
		s.t.Error(err)
	}
	return delivery.Answer{Receipt: &engine.Receipt{}, Spool: sp}, nil
}

// read gets a list, reads it, and gives it back.
func (s *shelf) read(ctx context.Context, key referenceKey) (text string, cached bool) {
	s.t.Helper()
	l, cached, err := s.get(ctx, key, s.produce)
	if err != nil {
		return err.Error(), false
	}
	defer s.release(l)
	if l.failure != nil {
		return string(l.failure.Code), cached
	}
	var b written
	if _, err := l.answer.Spool.WriteTo(&b); err != nil {
		s.t.Error(err)
	}
	return string(b), cached
}

type written []byte

func (w *written) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

func (s *shelf) counts() (made, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, s.ended
}

// TestOneRunForAll: requests for the same list that come at once wait for one run, and all get what it gives.
func TestOneRunForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 1000)
		defer s.close()
		key := referenceKey{procedure: "a"}
		for _, c := range []struct {
			fail *Error
			want string
		}{{fail(SourceFailed), string(SourceFailed)}, {nil, "list 2"}} {
			s.wait, s.fail = make(chan struct{}), c.fail
			var wait sync.WaitGroup
			for range 50 {
				wait.Go(func() {
					if got, cached := s.read(t.Context(), key); got != c.want || cached {
						t.Errorf("%q, %v; want %q", got, cached, c.want)
					}
				})
			}
			synctest.Wait()
			close(s.wait)
			wait.Wait()
			synctest.Wait()
		}
		if got, cached := s.read(t.Context(), key); got != "list 2" || !cached {
			t.Errorf("%q, %v", got, cached)
		}
		if made, _ := s.counts(); made != 2 {
			t.Errorf("%d runs", made) // a failure is not kept
		}
	})
}

// TestNobodyWaits: a run goes on while somebody waits for it, and ends with the last one.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 1000)
		defer s.close()
		s.wait = make(chan struct{})
		first, leave := context.WithCancel(t.Context())
		second, leaveToo := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{first, second} {
			go func() {
				if got, _ := s.read(ctx, referenceKey{}); got != context.Canceled.Error() {
					t.Errorf("%q", got)
				}
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		if made, ended := s.counts(); made != 1 || ended != 0 {
			t.Errorf("%d runs, %d ended", made, ended)
		}
		leaveToo()
		synctest.Wait()
		if _, ended := s.counts(); ended != 1 {
			t.Error("the run goes on for nobody")
		}
		s.wait = nil
		if got, cached := s.read(t.Context(), referenceKey{}); got != "list 2" || cached {
			t.Errorf("%q, %v", got, cached)
		}
	})
}

// TestCloseWaits: the run of a list that nobody waits for any more has ended when all is closed.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 1000)
		ctx, leave := context.WithCancel(t.Context())
		ended := false
		_, _, err := s.get(ctx, referenceKey{}, func(ctx context.Context) (delivery.Answer, *Error) {
			leave()
			<-ctx.Done()
			time.Sleep(time.Second) // as its processes end
			ended = true
			return delivery.Answer{}, fail(ClientGone)
		})
		if s.close(); err == nil || !ended {
			t.Errorf("%v; the run has ended: %v", err, ended)
		}
	})
}

// TestListsAreKeptForAWhile: five minutes, and so many bytes; what is being sent is not taken away.
func TestListsAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 15) // two lists of six bytes
		key := func(name string) referenceKey { return referenceKey{customer: &customer.Customer{}, procedure: name} }
		a, b, c := key("a"), key("b"), key("c")
		s.read(t.Context(), a)
		time.Sleep(4*time.Minute + 59*time.Second)
		if got, cached := s.read(t.Context(), a); got != "list 1" || !cached {
			t.Errorf("%q, %v", got, cached)
		}
		reading, _, _ := s.get(t.Context(), a, s.produce)
		time.Sleep(2 * time.Second)
		if got, cached := s.read(t.Context(), a); got != "list 2" || cached {
			t.Errorf("%q, %v: it was used, and not made, within five minutes", got, cached)
		}
		var old written
		if _, err := reading.answer.Spool.WriteTo(&old); err != nil || string(old) != "list 1" {
			t.Errorf("%q, %v: it was taken away while it was read", old, err)
		}
		s.release(reading)
		time.Sleep(time.Second)
		s.read(t.Context(), b)
		time.Sleep(time.Second)
		s.read(t.Context(), c)
		synctest.Wait()
		if got, cached := s.read(t.Context(), b); got != "list 3" || !cached {
			t.Errorf("%q, %v", got, cached)
		}
		if got, cached := s.read(t.Context(), a); got != "list 5" || cached {
			t.Errorf("%q, %v: the oldest one goes", got, cached)
		}
		s.close()
		s.close()
		if stats := s.pool.Stats(); stats.Spools != 0 || stats.Bytes != 0 || len(s.lists) != 0 || s.bytes != 0 {
			t.Errorf("%+v is left, and %d lists of %d bytes", stats, len(s.lists), s.bytes)
		}
		if got, cached := s.read(t.Context(), a); got != "list 6" || cached {
			t.Errorf("%q, %v: a list that is not kept is made", got, cached)
		}
		if stats := s.pool.Stats(); stats.Spools != 0 {
			t.Errorf("%+v is left", stats)
		}
	})
}

// TestMatches: how a client says which answers it has.
func TestMatches(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{"": false, `"a"`: true, `W/"a"`: true, `"b"`: false, `"b", "a"`: true, "*": true, "a": false, ` "a" `: true} {
		if got := matches(http.Header{"X": {condition}}["X"], `"a"`); got != want {
			t.Errorf("%q: %v", condition, got)
		}
	}
}

// BenchmarkKept answers with a reference list that is kept, over a connection of loopback.
func BenchmarkKept(b *testing.B) {
	s := newServer(b, nil)
	client := &http.Client{}
	b.ReportAllocs()
	for b.Loop() {
		r, _ := http.NewRequest("GET", s.URL+"/v1/procedures/places/rows?customer_id=clinic-7", nil)
		r.Header.Set("Authorization", "Bearer good")
		response, err := client.Do(r)
		if err != nil || response.StatusCode != 200 {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
	}
}
