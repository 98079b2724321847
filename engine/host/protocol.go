package host

import (
	"regexp"
	"strconv"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// otherVersion is go-plugin's error for a plugin that speaks none of the host's protocol versions. The host offers its
// versions in PLUGIN_PROTOCOL_VERSIONS, and such a plugin answers with the lowest of its own.
var otherVersion = regexp.MustCompile(`incompatible API version with plugin\. Plugin version: (\d+),`)

// codeProtocol is the code of two sides that have no protocol version in common.
const codeProtocol = "plugin.protocol"

// protocolFault says which of the two sides is the older one.
func protocolFault(plugin, theirs string) *fault.Fault {
	const ours = control.ProtocolVersion
	f := fault.New(codeProtocol, fault.Plugin,
		"plugin %q speaks protocol version %s, and this CipherStream speaks version %d", plugin, theirs, ours).
		WithDetail("plugin_protocol", theirs).WithDetail("host_protocol", strconv.Itoa(ours))
	if n, err := strconv.Atoi(theirs); err == nil && n < ours {
		return f.WithHint("update the plugin: it was built for an older CipherStream")
	}
	return f.WithHint("update CipherStream, or install a release of the plugin that speaks protocol version %d", ours)
}
