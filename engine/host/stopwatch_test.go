package host

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStopwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired := make(chan time.Duration, 1)
		began := time.Now()
		s := startStopwatch(10*time.Second, func() { expired <- time.Since(began) })
		time.Sleep(9 * time.Second) // of the bubble: no time passes
		s.during(func() { time.Sleep(time.Hour) })
		if got := <-expired - 9*time.Second - time.Hour; got < 10*time.Second || got > 12*time.Second {
			t.Errorf("it expired %v after the last sign of life", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := startStopwatch(time.Second, func() { t.Error("it expired after it was stopped") })
		s.stop()
		s.stop()
		time.Sleep(time.Minute)
	})
}

// TestStopwatchOfStoppedProcess: of a minute without a tick, in which the process stood
// still, two ticks count.
func TestStopwatchOfStoppedProcess(t *testing.T) {
	t.Parallel()
	var s stopwatch
	s.tick(500*time.Millisecond, 500*time.Millisecond)
	if got := s.tick(time.Minute, 500*time.Millisecond); got != 1500*time.Millisecond {
		t.Errorf("%v have run", got)
	}
}
