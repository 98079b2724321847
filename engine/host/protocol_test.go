package host_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// versionsPrefix begins the name under which the test program is a plugin of the
// protocol versions that follow, as go-plugin itself serves them.
const versionsPrefix = "speaks-"

// serveVersions reports whether the name is one of those, after it has served.
func serveVersions(name string) bool {
	list, ok := strings.CutPrefix(name, versionsPrefix)
	if !ok {
		return false
	}
	versioned := map[int]plugin.PluginSet{}
	for text := range strings.SplitSeq(list, "+") {
		version, err := strconv.Atoi(text)
		if err != nil {
			panic(err)
		}
		versioned[version] = plugin.PluginSet{control.PluginName: &control.GRPC{Session: control.NewSession(bundle(thirdParty))}}
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: control.Handshake.MagicCookieKey, MagicCookieValue: control.Handshake.MagicCookieValue},
		VersionedPlugins: versioned,
		GRPCServer:       func(opts []grpc.ServerOption) *grpc.Server { return grpc.NewServer(opts...) },
	})
	return true
}

// speaking is a program that speaks those versions of the protocol.
func speaking(t *testing.T, versions string) []byte {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), versionsPrefix+versions)
	if err := os.Symlink(executable, link); err != nil {
		t.Fatal(err)
	}
	return []byte("#!" + link + "\n")
}

// TestProtocolVersions: the highest version that both speak is agreed on; where there
// is none, the fault has both sides' and says which of them to update.
func TestProtocolVersions(t *testing.T) {
	if control.ProtocolVersion != 1 {
		t.Fatal("the cases are those of version 1")
	}
	for _, c := range []struct {
		versions, theirs, hint string
	}{
		{versions: "1"},
		{versions: "1+2"},
		{versions: "0+1"},
		{versions: "2", theirs: "2", hint: "update CipherStream, or install a release of the plugin that speaks protocol version 1"},
		{versions: "2+3", theirs: "2", hint: "update CipherStream, or install a release of the plugin that speaks protocol version 1"},
		{versions: "0", theirs: "0", hint: "update the plugin: it was built for an older CipherStream"},
	} {
		t.Run(c.versions, func(t *testing.T) {
			s := newSetup(t, host.Config{}, pinned{name: thirdParty, program: speaking(t, c.versions)})
			offer, err := s.Describe(t.Context(), thirdParty)
			if c.theirs == "" {
				if err != nil || offer.Protocol != 1 || offer.Plugin != thirdParty {
					t.Errorf("got %+v, %v", offer, err)
				}
				return
			}
			f := fault.From(err)
			if f == nil || f.Code != "plugin.protocol" || f.Class != fault.Plugin || f.Hint != c.hint ||
				f.Message != `plugin "third" speaks protocol version `+c.theirs+`, and this CipherStream speaks version 1` ||
				f.Details["plugin_protocol"] != c.theirs || f.Details["host_protocol"] != "1" || f.Details["plugin"] != thirdParty {
				t.Errorf("got %+v", f)
			}
			s.nothingRuns(t)
		})
	}
}
