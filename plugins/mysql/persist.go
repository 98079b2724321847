package mysql

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The waits between two attempts to connect.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 10 * time.Second
)

// Persist calls what connects until it has no error that may pass, for a time, with longer and longer waits between.
func Persist(ctx context.Context, within time.Duration, connect func() error) error {
	for wait, until := firstWait, time.Now().Add(within); ; wait = min(2*wait, longestWait) {
		err := connect()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !fault.From(err).Retryable, time.Now().After(until):
			return err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
