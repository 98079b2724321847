package api

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// records is one whose answer is set.
type records struct {
	Requests
	asked atomic.Int32
	err   error
	hangs chan struct{}
}

func (r *records) Request(context.Context, string, string) (store.Request, error) {
	r.asked.Add(1)
	if r.hangs != nil {
		<-r.hangs // as a disk does that does not answer: no context ends it
	}
	return store.Request{}, r.err
}

// TestReadyLooksAtTheRecord: a service whose record is broken or silent is not ready, is again when the record is, and asks it once
// a second at most, and one question at a time.
func TestReadyLooksAtTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &records{err: fault.New(store.CodeUnknown, fault.Usage, "none")}
		var p recordProbe
		for range 100 {
			if !p.answers(r) {
				t.Fatal("a good record is not ready")
			}
		}
		if n := r.asked.Load(); n != 1 {
			t.Errorf("100 looks within a second asked %d times", n)
		}
		time.Sleep(recordAge)
		if r.err = errors.New("disk"); p.answers(r) {
			t.Error("a broken record is ready")
		}
		time.Sleep(recordAge)
		r.err, r.hangs = nil, make(chan struct{})
		from := time.Now()
		for range 5 {
			if p.answers(r) {
				t.Error("a silent record is ready")
			}
		}
		if n := r.asked.Load(); n != 3 || time.Since(from) != 5*recordTime {
			t.Errorf("%d questions, and %s for five looks", n, time.Since(from))
		}
		close(r.hangs)
		synctest.Wait()
		if !p.answers(r) {
			t.Error("a record that answers again is not ready")
		}
	})
}
