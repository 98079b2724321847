package service

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine"
)

// TestLimit: a run has the smaller of what its pipeline allows itself and what the settings allow one.
func TestLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ own, setting, want int64 }{{0, 32, 32}, {64, 32, 32}, {16, 32, 16}} {
		plan := &engine.Plan{}
		plan.Limits.MemoryBytes = c.own
		if got := (limited{buffers: c.setting}).limit(plan).Limits.MemoryBytes; got != c.want {
			t.Errorf("%d of the pipeline and %d of the settings: %d", c.own, c.setting, got)
		}
	}
}
