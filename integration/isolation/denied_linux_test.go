package isolation

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestDenied: a fault that comes of what was taken from the plugin says so and what to do, and is not retryable; with the
// grant, it is the plugin's own.
func TestDenied(t *testing.T) {
	if !confinable() {
		t.Skip("the system does not let this user make the namespaces of a confined process")
	}
	for _, c := range []struct {
		how       string
		network   bool
		says      string
		hint      string
		retryable bool
	}{
		{"connect", false, "network is unreachable (plugin \"rogue\" runs without the network, which plugins.lock does not grant it)", "--allow-network", false},
		{"connect", true, "connection refused", "it may succeed later", true},
		{"open", false, "(of the files, plugin \"rogue\" sees what plugins.lock grants it: ", "--allow-files PATH:ro", false},
	} {
		t.Run(c.how, func(t *testing.T) {
			s := newSetup(t, host.Config{}, c.network)
			_, f := s.execute(t.Context(), s.planOf("filter", "rogue", settings{"break": c.how}), nil)
			if f == nil || f.Code != "rogue."+c.how || !strings.Contains(f.Message, c.says) || !strings.Contains(f.Hint, c.hint) || f.Retryable != c.retryable {
				t.Errorf("got %+v", f)
			}
		})
	}
}
