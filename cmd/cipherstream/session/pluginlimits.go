package session

import (
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// pluginLimits bound what plugin processes may use.
type pluginLimits struct {
	memory string
	cpus   int
	strict bool
}

// The bounds of --plugin-memory.
const (
	minPluginMemory = 64 << 20
	maxPluginMemory = 1 << 40
)

// PluginLimitFlags are for commands that move data.
func (s *Session) PluginLimitFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.limits.memory, "plugin-memory", "", "end a plugin process that uses more memory than `SIZE` (default "+config.Size(host.DefaultMemoryLimit).String()+")")
	f.IntVar(&s.limits.cpus, "plugin-cpus", 0, "let each plugin process use `N` cores (default all)")
}

// strictIsolationFlag is for commands that start third-party plugins.
func (s *Session) strictIsolationFlag(c *cobra.Command) {
	c.Flags().BoolVar(&s.limits.strict, "strict-isolation", false, "start no third-party plugin that the system cannot confine; by default there is a warning")
}

// StrictIsolation reports whether third-party plugins that cannot be confined are not started.
func (s *Session) StrictIsolation() bool { return s.limits.strict }

// limit puts the limits into the configuration of an engine.
func (l *pluginLimits) limit(cfg *engine.Config) error {
	if l.memory != "" {
		size, err := config.ParseSize(l.memory)
		if err != nil || size < minPluginMemory || size > maxPluginMemory {
			return terminal.UsageFault("--plugin-memory is a size from %v to %v, and not %q", config.Size(minPluginMemory), config.Size(maxPluginMemory), l.memory).
				WithHint("write a number and its unit, such as 512MiB")
		}
		cfg.PluginMemory = int64(size)
	}
	if l.cpus < 0 {
		return terminal.UsageFault("--plugin-cpus is a number of cores, 0 for all, and not %d", l.cpus)
	}
	cfg.PluginCPUs, cfg.StrictIsolation = l.cpus, l.strict
	return nil
}
