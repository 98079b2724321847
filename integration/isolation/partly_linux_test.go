package isolation

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestPartlyConfined: where the system makes all namespaces but those of mounts, what is not confined is named in the log, in
// what the plugin's description says and in the receipt; and nothing is started that has to be confined.
func TestPartlyConfined(t *testing.T) {
	const limit = "max_mnt_namespaces"
	if !confinable() {
		t.Skip("the system does not let this user make the namespaces of a confined process")
	}
	if os.Getenv(envLimit) != limit {
		asNobody(t, "TestPartlyConfined", limit)
		return
	}
	const why = "because the system does not let this user make namespaces (no space left on device)"
	s := newSetup(t, host.Config{}, false)
	found, err := s.host.Look(t.Context(), thirdParty)
	if err != nil || found.Err != nil {
		t.Fatalf("%+v, %v", found, err)
	}
	if text := found.Offer.Isolation.String(); text != "partly confined, without network; not confined: files, "+why {
		t.Errorf("isolation: %s", text)
	}
	if open := found.Offer.Isolation.NotConfined(); !slices.Equal(open, []string{"files"}) {
		t.Errorf("not confined: %v", open)
	}
	log := s.log.String()
	if says := `plugin \"rogue\" is confined in part, ` + why + "; not confined: files; it can use all files and local services"; strings.Count(log, says) != 1 {
		t.Errorf("the log has not %s:\n%s", says, log)
	}
	receipt, f := s.execute(t.Context(), s.planOf("filter", "rogue", settings{}), nil)
	if f != nil {
		t.Fatal(f)
	}
	for _, p := range receipt.Processes {
		if want := map[string][]string{thirdParty: {"files"}}[p.Plugin]; !slices.Equal(p.NotConfined, want) {
			t.Errorf("the receipt: %+v", p)
		}
	}
	// It is what it says: the files are open, and all else is not.
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := services(t)
	with.Try = []string{"read:" + key}
	see, _ := s.see(with)
	if see.Tried[0] != worked || see.Dial == "" || see.Environments != 0 || see.PID != 1 {
		t.Errorf("it sees %+v", see)
	}

	strict := newSetup(t, host.Config{StrictIsolation: true}, false)
	_, err = strict.host.Start(t.Context(), thirdParty)
	if says := `plugin.isolation: plugin "rogue" is not started: it would not be confined, ` + why + "; not confined: files"; err == nil || !strings.HasPrefix(err.Error(), says) {
		t.Errorf("got %v", err)
	}
	strict.refused(err)
}
