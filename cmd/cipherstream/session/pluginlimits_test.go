package session

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine"
)

func TestPluginLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits pluginLimits
		memory int64
		wants  string // in the error
	}{
		{"none", pluginLimits{}, 0, ""},
		{"all", pluginLimits{memory: "512MiB", cpus: 2, strict: true}, 512 << 20, ""},
		{"least", pluginLimits{memory: "64MiB"}, 64 << 20, ""},
		{"too little", pluginLimits{memory: "63MiB"}, 0, `--plugin-memory is a size from 64MiB to 1TiB, and not "63MiB"`},
		{"too much", pluginLimits{memory: "2TiB"}, 0, `and not "2TiB"`},
		{"no size", pluginLimits{memory: "much"}, 0, `and not "much"`},
		{"cores", pluginLimits{cpus: -1}, 0, "--plugin-cpus is a number of cores, 0 for all, and not -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg engine.Config
			err := c.limits.limit(&cfg)
			if c.wants != "" {
				if err == nil || !strings.Contains(err.Error(), c.wants) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || cfg.PluginMemory != c.memory || cfg.PluginCPUs != c.limits.cpus || cfg.StrictIsolation != c.limits.strict {
				t.Errorf("got %+v, %v", cfg, err)
			}
		})
	}
}
