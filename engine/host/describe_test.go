package host_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestDescribe: the program says what it offers, under the name that it gives itself.
func TestDescribe(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, program: ownProgram(t)})
	for _, name := range []string{firstParty, thirdParty} {
		offer, err := s.Describe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if offer.Plugin != name || offer.Version == "" || len(offer.Stages) != len(bundle(name).Stages) {
			t.Errorf("%s: got %+v", name, offer)
		}
	}
	if _, err := s.Describe(t.Context(), "unknown"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("a plugin that nobody knows: %v", err)
	}
	s.nothingRuns(t)
}
