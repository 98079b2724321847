package host

import (
	"runtime"
	"testing"
)

// TestOnThread: what a plugin's thread is restrained to never becomes what the host itself may do, even when the
// scheduler hands out the main thread.
func TestOnThread(t *testing.T) {
	before := runtime.GOMAXPROCS(1) // so that the goroutines follow each other on few threads
	defer runtime.GOMAXPROCS(before)
	for range 200 {
		done := make(chan bool)
		onThread(func() { done <- onMainThread() })
		if <-done {
			t.Fatal("it ran on the main thread")
		}
	}
}
