package run_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestEstimate: about how many rows will come is told with the columns, where the source knows.
func TestEstimate(t *testing.T) {
	for _, isolation := range isolations {
		for _, rows := range []int64{0, 120} {
			s := newSetup(t, host.Config{})
			told := int64(-1)
			_, f := s.execute(t.Context(), s.planOf(isolation, settings{"estimate": rows}), func(e run.Event) {
				if opened, is := e.(run.Opened); is {
					told = opened.EstimatedRows
				}
			})
			if f != nil || told != rows {
				t.Errorf("%s: the source says %d, and %d is told: %v", isolation, rows, told, f)
			}
		}
	}
}
