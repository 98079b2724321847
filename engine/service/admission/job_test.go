package admission

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestJob: a job is no stream of its customer, waits for its memory longer than a stream does, takes turns with
// streams, and leaves the line when its context ends.
func TestJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Limits: Limits{Memory: 100, Streams: 1}})
		first := stream(t, c, "a", 60)
		var order []string
		done := make(chan struct{}, 2)
		go func() {
			release, err := c.Job(t.Context(), "a", 60)
			if err != nil {
				t.Error(err)
			}
			order = append(order, "job")
			time.Sleep(time.Minute)
			release()
			release()
			done <- struct{}{}
		}()
		synctest.Wait()
		time.Sleep(time.Hour)
		if s := c.Stats(); s.Streams != 1 || s.Waiting != 1 || s.Used != 60 {
			t.Errorf("%+v", s)
		}
		// Its streams are not fewer for the job.
		if _, err := c.Stream(t.Context(), "a", 2, 1); !fault.Is(err, CodeLoaded) {
			t.Errorf("behind the job there is a stream: %v", err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			if _, err := c.Job(ctx, "b", 60); !errors.Is(err, gone) {
				t.Errorf("%v", err)
			}
			done <- struct{}{}
		}()
		synctest.Wait()
		cancel(gone)
		<-done
		first()
		synctest.Wait()
		if s := c.Stats(); s.Streams != 0 || s.Used != 60 || len(order) != 1 {
			t.Errorf("%+v, %v", s, order)
		}
		stream(t, c, "a", 1)()
		<-done
		if _, err := c.Job(t.Context(), "a", 101); !fault.Is(err, CodeTooLarge) {
			t.Errorf("%v", err)
		}
		empty(t, c)
	})
}

// TestStreamBecomesAJob: it keeps its memory, and its stream is free; it gives back once what it has, whenever it has become one.
func TestStreamBecomesAJob(t *testing.T) {
	t.Parallel()
	c := New(Config{Limits: Limits{Memory: 100, Streams: 1}})
	release, becomeJob, err := c.StreamOrJob(t.Context(), "a", 0, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.StreamOrJob(t.Context(), "a", 0, 1); !fault.Is(err, CodeStreamsBusy) {
		t.Errorf("a second stream: %v", err)
	}
	for range 2 {
		becomeJob()
		if s := c.Stats(); s.Streams != 0 || s.Used != 60 {
			t.Errorf("%+v", s)
		}
	}
	stream(t, c, "a", 40)()
	for range 2 {
		release()
		becomeJob()
	}
	release, becomeJob, err = c.StreamOrJob(t.Context(), "a", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	release()
	becomeJob()
	if s := c.Stats(); s != (Stats{Memory: 100}) || len(c.customers) != 0 {
		t.Errorf("%+v, %d customers", s, len(c.customers))
	}
}
