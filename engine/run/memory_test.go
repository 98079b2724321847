package run_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestMemory: what a plan takes grows with its processes and with what may be in flight, and
// no process takes more than its limit.
func TestMemory(t *testing.T) {
	const mib = 1 << 20
	s := newSetup(t, host.Config{MemoryLimit: 100 * mib})
	for _, c := range []struct {
		isolation plan.Isolation
		inFlight  int64
		least     int64
		most      int64
	}{
		{plan.IsolationGroup, 4 * mib, 20 * mib, 24 * mib},
		{plan.IsolationGroup, 0, 48 * mib, 80 * mib},
		{plan.IsolationGroup, 500 * mib, 100 * mib, 100 * mib},
		{plan.IsolationStage, 3 * mib, 51 * mib, 60 * mib},
	} {
		p := s.planOf(c.isolation, nil)
		p.Limits.MemoryBytes = c.inFlight
		if got := run.Memory(s.host, p); got < c.least || got > c.most {
			t.Errorf("%s, %d MiB in flight: %d MiB, want %d to %d", c.isolation, c.inFlight/mib, got/mib, c.least/mib, c.most/mib)
		}
	}
	// What stages say that they keep counts, and a run that may keep more than a process may have does not begin.
	kept := s.planOf(plan.IsolationGroup, nil)
	kept.Limits.MemoryBytes = 4 * mib
	before := run.Memory(s.host, kept)
	for _, c := range []struct {
		mib  int64
		code string
	}{{30, ""}, {90, "run.memory"}} {
		kept.Stages[0].KeptBytes = c.mib * mib
		if got := run.Memory(s.host, kept); got < min(before+c.mib*mib, 100*mib) {
			t.Errorf("with %d MiB kept: %d MiB, and without %d MiB", c.mib, got/mib, before/mib)
		}
		if _, err := run.Execute(t.Context(), s.host, kept, run.Options{ID: "kept"}); c.code == "" && fault.Is(err, "run.memory") || c.code != "" && !fault.Is(err, c.code) {
			t.Errorf("with %d MiB kept: %v", c.mib, err)
		}
	}
	// A host without processes takes what is in flight.
	p := s.planOf(plan.IsolationStage, nil)
	p.Limits.MemoryBytes = 6 * mib
	if got := run.Memory(runtest.NewInMemory(t, testBundle(pluginName)), p); got != 6*mib {
		t.Errorf("without processes: %d bytes", got)
	}
}
