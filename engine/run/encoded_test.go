package run_test

import (
	"context"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestEncodedBytes: the gate before the commit, the receipt and the last progress all know how many rows were encoded,
// and to how many bytes, when rows are dropped on the way and the bytes are changed after the encoder.
func TestEncodedBytes(t *testing.T) {
	const rows, kept = 20_000, 10_000
	var want int64 // of VALUE@INDEX
	digits := func(n int) (d int64) {
		for d = 1; n > 9; n /= 10 {
			d++
		}
		return d
	}
	for i := range kept {
		want += digits(2*i) + digits(i) + 2
	}
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		var soFar run.Receipt
		var last run.Progress
		receipt, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, settings{"rows": rows, "batch": 3000}, "even"), run.Options{
			ID: "r1", Sink: &probe{},
			BeforeCommit: func(_ context.Context, r *run.Receipt) error { soFar = *r; return nil },
			Events: func(e run.Event) {
				if progress, ok := e.(run.Progress); ok {
					last = progress
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if receipt.EncodedBytes != want || soFar.EncodedBytes != want || soFar.Rows != kept {
			t.Errorf("%s: receipt %d, before the commit %d bytes of %d rows; want %d", isolation, receipt.EncodedBytes, soFar.EncodedBytes, soFar.Rows, want)
		}
		if last.EncodedRows != kept || last.EncodedBytes != want {
			t.Errorf("%s: last progress %+v", isolation, last)
		}
	}
}
