package run_test

import (
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestHangIsNamed: the stage that hangs is named, after the limit that the plan sets.
func TestHangIsNamed(t *testing.T) {
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		p := s.planOf(isolation, nil, "hang")
		p.Limits.StallSeconds = 0.2
		_, f := s.execute(t.Context(), p, nil)
		if f == nil || f.Code != "plugin.stalled" || f.Stage != "filter-hang" || f.Message != "one call of the stage has taken more than 200ms" {
			t.Errorf("%s: %+v", isolation, f)
		}
	}
}

// TestSlowEvents: a caller whose events take longer than a plugin may be silent is no fault of the plugin's.
func TestSlowEvents(t *testing.T) {
	s := newSetup(t, host.Config{Silence: 500 * time.Millisecond})
	p := s.planOf(plan.IsolationGroup, nil)
	slept := false
	if _, f := s.execute(t.Context(), p, func(e run.Event) {
		if _, ok := e.(run.Opened); ok && !slept {
			slept = true
			<-time.After(1200 * time.Millisecond)
		}
	}); f != nil || !slept {
		t.Errorf("%v, %+v", slept, f)
	}
}
