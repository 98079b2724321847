package host

import "runtime"

// onThread runs do on a thread of its own, which ends with it: whatever do restrains stays behind in nobody else.
//
// It is never the main thread. That one does not end: the runtime parks it for good, and what the system says of the
// process, its cores and its rights among it, is what it says of that thread.
func onThread(do func()) {
	go func() {
		runtime.LockOSThread()
		if !onMainThread() {
			do() // the lock is not given back, so that the thread ends here
			return
		}
		// While this goroutine holds the main thread, the next one gets another.
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			do()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}
