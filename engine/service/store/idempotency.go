package store

import (
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// IdempotencyEntry is what a record keeps of an idempotency key.
type IdempotencyEntry struct {
	Body    [32]byte
	Request string
	Job     string // empty while the request has it
	At      time.Time
}

// Stands reports whether an entry still means anything.
func (e IdempotencyEntry) Stands(now time.Time) bool {
	age := IdempotencyAge
	if e.Job == "" {
		age = ReservedFor
	}
	return now.Before(e.At.Add(age))
}

// Admit says what an order with a key comes to where the record has an entry that stands: the job that there is, or ""
// for the request that has reserved the key.
func (e IdempotencyEntry) Admit(i Idempotency) (job string, err error) {
	switch {
	case e.Body != i.Body:
		return "", fault.New(CodeIdempotencyMismatch, fault.Usage, "the idempotency key was used with another body").
			WithHint("use a new key for a new order")
	case e.Job == "" && e.Request != i.Request:
		return "", fault.New(CodeIdempotencyBusy, fault.Usage, "the first request with this idempotency key is still starting").
			WithHint("repeat the request in a few seconds").WithRetry()
	}
	return e.Job, nil
}
