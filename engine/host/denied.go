package host

import (
	"fmt"
	"regexp"
	"sync"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The texts by which libraries of several languages report that there is no network, or no such file. A fault of class
// connect without any of them is taken to be about the network. They are compiled when a
// plugin fails, not whenever a process starts.
var (
	saysNetwork = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)network is (unreachable|down)|ENETUNREACH|ENETDOWN|EAI_AGAIN|temporary failure in name resolution|` +
			`no such host|name or service not known|UnknownHost|nodename nor servname|lookup .* on .*:53`)
	})
	saysFile = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)no such file or directory|ENOENT|FileNotFound|NoSuchFile|permission denied|EACCES|read-only file system|EROFS`)
	})
)

// explainDenied adds to a fault that comes of the confinement what the plugin was not granted, and how to grant it. It
// makes the fault final: the plugin may think that trying again helps, but the same run would fail again.
func (r *remote) explainDenied(f *fault.Fault) *fault.Fault {
	isolation := r.program.isolation()
	switch network := saysNetwork().MatchString(f.Message); {
	case (isolation.Confined || isolation.Apart) && !isolation.Network && (network || f.Class == fault.Connect && !saysFile().MatchString(f.Message)):
		f.Message += fmt.Sprintf(" (plugin %q runs without the network, which %s does not grant it)", r.plugin,
			LockName)
		f.Hint = "build the plugin with Network: true, and install it with --allow-network"
	case isolation.Confined && saysFile().MatchString(f.Message):
		granted := LockEntry{Files: isolation.Files}.grantsText()
		f.Message += fmt.Sprintf(" (of the files, plugin %q sees what %s grants it: %s)", r.plugin, LockName, granted)
		f.Hint = "if it should have the file, install the plugin with --allow-files PATH:ro, or PATH:rw to let it write there"
	default:
		return f
	}
	f.Retryable = false
	return f
}
