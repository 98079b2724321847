package api

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// A customer is told when a key has used up so much of what it may, and not again for a while.
const (
	noticeShare = 0.8
	noticeEvery = time.Hour
	// noticeRetry is how long the record is let alone when it could not be asked.
	noticeRetry = time.Minute
)

// Notices remembers what customers were told of late; the record does.
type Notices interface {
	// PutNotice puts an event where deliveries are made of, unless one of the same name was put for the customer less than
	// a time ago, by whichever process.
	PutNotice(ctx context.Context, e store.OutboxEvent, name string, each time.Duration) (put bool, err error)
}

// rateNotices tells customers of limits that they come near. What this process knows keeps it from asking the record at
// every request of a customer who has come near one.
type rateNotices struct {
	mu   sync.Mutex
	next map[[2]string]time.Time // by customer and policy
}

// limitReached is what the event tells.
type limitReached struct {
	CustomerID string `json:"customer_id"`
	Policy     string `json:"policy"`
	Limit      int    `json:"limit"`
	Remaining  int    `json:"remaining"`
	ResetAt    string `json:"reset_at"`
}

// due reports whether a customer may not have been told yet.
func (n *rateNotices) due(customer, policy string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [2]string{customer, policy}
	if now.Before(n.next[key]) {
		return false
	}
	n.next[key] = now.Add(noticeEvery)
	return true
}

// again has a customer told a little later.
func (n *rateNotices) again(customer, policy string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next[[2]string{customer, policy}] = at
}

// near reports whether a decision is one that a customer is told of.
func near(d admission.Decision) bool {
	return d.Limited && float64(d.Quota-d.Remaining) >= noticeShare*float64(d.Quota)
}

// tellOfLimit tells the key's customer that it has come near a limit. It is called when the answer has gone: no client waits
// for it.
func (x *exchange) tellOfLimit() {
	d, a := x.limit, x.api
	if a.Webhooks == nil || x.principal.Customer == "" || d == nil || !near(*d) {
		return
	}
	now := a.Now()
	who, policy := x.principal.Customer, string(d.Policy)
	if !a.notices.due(who, policy, now) {
		return
	}
	data, err := json.Marshal(limitReached{CustomerID: who, Policy: policy, Limit: d.Quota, Remaining: d.Remaining, ResetAt: timeText(now.Add(d.Reset))})
	if err != nil {
		return // there is nothing in it that could not be written
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), recordTimeout)
	defer cancel()
	put, err := a.Webhooks.Notices.PutNotice(ctx, store.OutboxEvent{Customer: who, Event: store.EventRateLimit, At: now, Data: data}, store.EventRateLimit+" "+policy, noticeEvery)
	switch {
	case err != nil:
		a.notices.again(who, policy, now.Add(noticeRetry))
		a.Log.WarnContext(ctx, "a customer could not be told of its limit", "customer", who, "policy", policy, "cause", fault.From(err).Code)
	case put:
		a.Webhooks.Wake()
	}
}
