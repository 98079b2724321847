package run_test

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestHangIsNamed: the stage that hangs is named, after the limit that the plan sets.
func TestHangIsNamed(t *testing.T) {
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		p := s.planOf(isolation, nil, "hang")
		p.Limits.StallSeconds = 0.2
		_, f := s.execute(t.Context(), p, nil)
		if f == nil || f.Code != "plugin.stalled" || f.Stage != "filter-hang" || !strings.HasPrefix(f.Message, "one call of the stage has taken more than 200ms (at ") {
			t.Errorf("%s: %+v", isolation, f)
		}
	}
}
