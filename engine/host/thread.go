package host

import "runtime"

// onThread runs do on a thread of its own, which ends when do returns. So do may restrict its thread, and no other
// goroutine runs with the restriction later.
//
// The thread is never the main one, which does not end: the runtime would park it for good, and what the system reports
// about the process, its cores and its rights for instance, is what it reports about the main thread.
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
