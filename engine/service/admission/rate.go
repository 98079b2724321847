package admission

import (
	"container/list"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Policy is what a rate is about.
type Policy string

// The policies.
const (
	Procedures Policy = "procedures"
	Polling    Policy = "polling"
	Downloads  Policy = "downloads"
	// Anonymous is about requests without a good key, which are counted by address: see AddressKey.
	Anonymous Policy = "anonymous"
)

// AddressKey is the key by which requests from an address are counted: the address, and of IPv6 the network of 64 bits, all
// of which whoever has one address has.
func AddressKey(address netip.Addr) string {
	address = address.Unmap().WithZone("")
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}

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

// Err is the fault of a request that was refused, and nil of one that was not.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	seconds := int((d.RetryAfter + time.Second - 1) / time.Second)
	return fault.New(CodeRateLimited, fault.Cancelled, "as many requests were made as may be: %d in %s", d.Quota, d.Window).
		WithRetry().WithDetail(DetailRetryAfter, strconv.Itoa(max(seconds, 1)))
}

// Take counts one request of a key. One that is refused does not count.
func (c *Controller) Take(policy Policy, key string) Decision {
	b := (*c.rates.Load())[policy]
	if b == nil {
		return Decision{Allowed: true, Policy: policy}
	}
	d := b.take(key, c.now())
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

// at are the same keys under another rate: each has made as many requests of its quota as before, and no more than all.
func (b *buckets) at(rate Rate, now time.Time) *buckets {
	out := newBuckets(rate, b.most)
	b.mu.Lock()
	defer b.mu.Unlock()
	all := out.each * time.Duration(rate.Quota)
	for e := b.used.Front(); e != nil; e = e.Next() {
		was := e.Value.(*bucket)
		made := max(was.whole.Sub(now), 0).Seconds() / b.each.Seconds()
		if made > 0 {
			whole := now.Add(min(time.Duration(made*float64(out.each)), all))
			out.keys[was.key] = out.used.PushBack(&bucket{was.key, whole})
		}
	}
	return out
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
