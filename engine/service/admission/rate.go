package admission

import (
	"container/list"
	"sync"
	"time"
)

// Policy is what a rate is about.
type Policy string

// The policies.
const (
	Procedures Policy = "procedures"
	Polling    Policy = "polling"
	Downloads  Policy = "downloads"
)

// Rate is how many requests a key may make in a window: a token bucket. All may come at once; they come back one by one,
// evenly over the window.
type Rate struct {
	Quota  int
	Window time.Duration
}

// Decision is what became of one request of a key, with what the fields RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10) and Retry-After say of it, all in whole seconds and rounded up:
//
//	RateLimit-Policy: "POLICY";q=QUOTA;w=WINDOW
//	RateLimit: "POLICY";r=REMAINING;t=RESET
type Decision struct {
	Allowed bool
	Policy  Policy
	// Limited is false where the policy has no rate: then what follows is 0, and no header says anything of it.
	Limited bool
	// Quota and Window are the policy's rate.
	Quota  int
	Window time.Duration
	// Remaining is how many more may be made at once now.
	Remaining int
	// Reset is how long it takes until the whole quota is there again, if nobody asks meanwhile.
	Reset time.Duration
	// RetryAfter is how long it takes until the next one is allowed; 0 when it is now.
	RetryAfter time.Duration
}

// Take counts one request of a key. One that is refused does not count.
func (c *Controller) Take(policy Policy, key string) Decision {
	b := c.rates[policy]
	if b == nil {
		return Decision{Allowed: true, Policy: policy}
	}
	d := b.take(key, c.cfg.Now())
	d.Policy = policy
	return d
}

// buckets are those of all keys of one policy. What is known of a key is one time: when its quota is whole again. A key whose
// quota is whole is not kept.
type buckets struct {
	rate Rate
	each time.Duration // in which one request comes back
	most int

	mu   sync.Mutex
	keys map[string]*list.Element // of *bucket
	used list.List                // the one that was used longest ago is the first
}

type bucket struct {
	key   string
	whole time.Time
}

func newBuckets(rate Rate, most int) *buckets {
	return &buckets{rate: rate, each: max(rate.Window/time.Duration(rate.Quota), 1), most: most, keys: map[string]*list.Element{}}
}

func (b *buckets) take(key string, now time.Time) Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	whole := now
	known := b.keys[key]
	if known != nil && known.Value.(*bucket).whole.After(now) {
		whole = known.Value.(*bucket).whole
	}
	d := Decision{Limited: true, Quota: b.rate.Quota, Window: b.rate.Window}
	all := b.each * time.Duration(b.rate.Quota)
	if used := whole.Sub(now); used+b.each <= all {
		d.Allowed = true
		whole = whole.Add(b.each)
		b.keep(key, known, whole)
	} else if known != nil {
		b.used.MoveToBack(known)
	}
	d.Reset = whole.Sub(now)
	d.Remaining = int(max(all-d.Reset, 0) / b.each)
	d.RetryAfter = max(d.Reset+b.each-all, 0)
	return d
}

// keep remembers when a key's quota is whole again.
func (b *buckets) keep(key string, known *list.Element, whole time.Time) {
	if known != nil {
		known.Value.(*bucket).whole = whole
		b.used.MoveToBack(known)
		return
	}
	if len(b.keys) >= b.most {
		b.drop(b.used.Front())
	}
	b.keys[key] = b.used.PushBack(&bucket{key, whole})
}

// forget drops keys that have not asked for long and whose quota is whole: two for each that comes, so that they become
// fewer.
func (b *buckets) forget(now time.Time) {
	for range 2 {
		oldest := b.used.Front()
		if oldest == nil || oldest.Value.(*bucket).whole.After(now) {
			return
		}
		b.drop(oldest)
	}
}

func (b *buckets) drop(e *list.Element) {
	delete(b.keys, e.Value.(*bucket).key)
	b.used.Remove(e)
}

func (b *buckets) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys)
}
