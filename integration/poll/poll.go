// Package poll waits in tests for what nobody announces. It never fails a test itself. Only tests import it.
package poll

import "time"

// Until asks again and again whether something is done, and returns whether it was within patience. Between two times it
// pauses: first at the beginning, and a quarter more each time, up to most. What a test asks may be as dear as a request to
// a service, or a walk through all processes.
func Until(first, most, patience time.Duration, done func() bool) bool {
	over := time.Now().Add(patience)
	for pause := first; !done(); pause = min(pause*5/4, most) {
		if time.Now().After(over) {
			return false
		}
		<-time.After(pause)
	}
	return true
}
