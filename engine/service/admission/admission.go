// Package admission says who may begin, and when: how many streams a customer has at once, how often a key may ask, and
// whose turn it is for the memory that all runs of the process share. It owns no run: whoever is admitted gives back
// what it has when its run is over.
package admission

import (
	"context"
	"time"
)

// Codes of what is refused. Each has the detail DetailRetryAfter but CodeTooLarge, which never passes.
const (
	// CodeStreamsBusy is the code of a customer that has as many streams as it may have at once.
	CodeStreamsBusy = "admission.streams_busy"
	// CodeLoaded is the code of a run that did not get its memory in time.
	CodeLoaded = "admission.loaded"
	// CodeTooLarge is the code of a run that needs more memory than there is for all.
	CodeTooLarge = "admission.too_large"
)

// DetailRetryAfter is the detail of a fault that says after how many whole seconds it may be tried again.
const DetailRetryAfter = "retry_after_seconds"

// Policy is what a rate is about.
type Policy string

// The policies.
const (
	Procedures Policy = "procedures"
	Polling    Policy = "polling"
	Downloads  Policy = "downloads"
)

// Rate is how many requests a key may make in a window. They may come all at once; they come back evenly over the window.
type Rate struct {
	Quota  int
	Window time.Duration
}

// Config is what there is to be shared.
type Config struct {
	// Memory is how many bytes all runs together may need; see engine.Memory. 0 is no limit.
	Memory int64
	// Streams is how many streams a customer may have at once, those that wait included. Default 10.
	Streams int
	// Rates are the quotas by policy. A policy that is not named has none.
	Rates map[Policy]Rate
	// MaxWait is how long a run waits for memory. Default 5 seconds.
	MaxWait time.Duration
	// Keys is how many keys' buckets are kept at most. Default 65,536.
	Keys int
	// Now is the clock of the buckets. Default time.Now.
	Now func() time.Time
}

// Controller is safe for concurrent use.
type Controller struct{}

// New makes a controller.
func New(Config) *Controller { return &Controller{} }

// Stream takes one of the customer's streams and so many bytes of memory, and gives both back with release, which may be
// called twice. It waits for the memory, MaxWait at most: customers are served in turn, each one's own requests in their
// order. A customer that has all its streams is refused at once. When ctx ends first, its cause is the error.
func (*Controller) Stream(ctx context.Context, customer string, limit int, memory int64) (release func(), err error) {
	return func() {}, nil
}

// Decision is what became of one request of a key, with what the fields RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers) and Retry-After say:
//
//	RateLimit-Policy: "POLICY";q=QUOTA;w=WINDOW
//	RateLimit: "POLICY";r=REMAINING;t=RESET
type Decision struct {
	Allowed bool
	Policy  Policy
	// Limited is false when the policy has no rate: then the fields below are 0, and the header has none of it.
	Limited bool
	// Quota is how many requests a window has, and Remaining how many may be made at once now.
	Quota     int
	Window    time.Duration
	Remaining int
	// Reset is how long it takes until the whole quota is there again, and RetryAfter how long until the next request is
	// allowed: 0 when it is now.
	Reset, RetryAfter time.Duration
}

// Take counts one request of a key.
func (*Controller) Take(policy Policy, key string) Decision {
	return Decision{Allowed: true, Policy: policy}
}

// Loaded reports whether somebody waits for memory.
func (*Controller) Loaded() bool { return false }

// Stats is the state of a controller at a moment.
type Stats struct {
	// Memory is what there is, and Used what the runs have.
	Memory, Used int64
	// Streams are running, and Waiting wait for memory.
	Streams, Waiting int
	// Buckets are those of keys whose quota is not whole.
	Buckets int
}

// Stats is the state now.
func (*Controller) Stats() Stats { return Stats{} }
