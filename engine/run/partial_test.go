package run_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestReceiptOfAFailure: a run that fails, is cancelled or is killed gives the receipt so far with its fault, in the
// result and in the last event: what was read and used until then, and nothing of an output.
func TestReceiptOfAFailure(t *testing.T) {
	for _, c := range []struct {
		name    string
		source  settings
		code    string
		rows    int64 // at least
		account bool  // the process could give its account
	}{
		{"late", settings{"rows": 1000, "batch": 100, "break": "late"}, "count.late", 1000, true},
		{"midway", settings{"rows": 1 << 40, "batch": 10, "at": 500, "break": "error"}, "count.broken", 100, true},
		{"panic", settings{"rows": 1 << 40, "batch": 10, "at": 500, "break": "panic"}, "plugin.panic", 100, true},
		{"killed", settings{"rows": 1 << 40, "batch": 10, "at": 500, "break": "kill"}, "plugin.exited", 0, false},
		{"cancelled", settings{"rows": 1 << 40}, "run.cancelled", 1, true},
		{"no start", settings{"rowz": 1}, "config.invalid", 0, false},
	} {
		for _, isolation := range isolations {
			if c.name == "killed" && isolation == plan.IsolationNone {
				continue
			}
			t.Run(c.name+"/"+string(isolation), func(t *testing.T) {
				s := newSetup(t, host.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var last run.Event
				receipt, f := s.execute(ctx, s.planOf(isolation, c.source), func(e run.Event) {
					last = e
					if p, ok := e.(run.Progress); ok && c.name == "cancelled" && p.Bytes > 0 && p.Rows > 0 {
						cancel()
					}
				})
				if f == nil || f.Code != c.code {
					t.Fatalf("got %+v", f)
				}
				if receipt == nil || receipt.RunID == "" || receipt.Pipeline != "test" || receipt.StartedAt.IsZero() || receipt.FinishedAt.Before(receipt.StartedAt) {
					t.Fatalf("receipt %+v", receipt)
				}
				if ended, ok := last.(run.Ended); !ok || ended.Receipt != receipt || ended.Fault != f {
					t.Errorf("the last event is %+v", last)
				}
				if receipt.RowsRead < c.rows || receipt.SHA256 != "" || receipt.Location != "" || receipt.Link != "" || receipt.Statement != "" {
					t.Errorf("receipt %+v", receipt)
				}
				if c.account && (receipt.Rows > receipt.RowsRead || len(receipt.Processes) == 0 || receipt.Processes[0].PeakMemoryBytes == 0) {
					t.Errorf("%d of %d rows, processes %+v", receipt.Rows, receipt.RowsRead, receipt.Processes)
				}
				// It was cancelled when bytes had reached the sink.
				if c.name == "cancelled" && (receipt.Rows == 0 || receipt.Bytes == 0) {
					t.Errorf("%d rows, %d bytes", receipt.Rows, receipt.Bytes)
				}
			})
		}
	}
}

// TestEndOfTheCaller: a deadline of the caller's is a time-out, and any other end of its context a cancellation,
// whatever reason it gives, which it finds again in the run's error.
func TestEndOfTheCaller(t *testing.T) {
	lost := errors.New("the lease was lost")
	for name, c := range map[string]struct {
		end  func(ctx context.Context) (context.Context, func())
		code string
		is   error
	}{
		"deadline": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			return ctx, cancel
		}, "run.timeout", context.DeadlineExceeded},
		"deadline before the limit": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeoutCause(ctx, 300*time.Millisecond, nil)
			return ctx, cancel
		}, "run.timeout", context.DeadlineExceeded},
		"passed": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
			return ctx, cancel
		}, "run.timeout", context.DeadlineExceeded},
		"cancelled": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(300*time.Millisecond, cancel)
			return ctx, cancel
		}, "run.cancelled", nil},
		"cancelled with a reason": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(300*time.Millisecond, func() { cancel(lost) })
			return ctx, func() { cancel(nil) }
		}, "run.cancelled", lost},
		"cancelled before": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(lost)
			return ctx, func() {}
		}, "run.cancelled", lost},
	} {
		for _, isolation := range isolations {
			t.Run(name+"/"+string(isolation), func(t *testing.T) {
				s := newSetup(t, host.Config{})
				ctx, stop := c.end(t.Context())
				defer stop()
				p := s.planOf(isolation, settings{"rows": 1 << 40})
				p.Limits.TimeoutSeconds = 60
				_, f := s.execute(ctx, p, nil)
				if f == nil || f.Code != c.code || f.Class != fault.Cancelled || c.is != nil && !errors.Is(f, c.is) {
					t.Errorf("got %+v", f)
				}
				if left := s.left(t); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}
