package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFolderOfPluginsNotThereYet: the variable may be set before the first installation.
func TestFolderOfPluginsNotThereYet(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "plugins")
	t.Setenv(envPlugins, missing)
	for _, args := range []string{
		"plan appointments", "lint appointments", "schema", "plugin list", "plugin info where", "describe appointments",
	} {
		if got := call(t, strings.Fields(args)...); got.code != 0 {
			t.Errorf("%s: %d %s", args, got.code, got.stderr)
		}
	}
	for _, args := range []string{"plugin remove upper", "plugin verify", "plan appointments --plugins " + missing} {
		if got := call(t, strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.stderr, missing) {
			t.Errorf("%s: %d %s", args, got.code, got.stderr)
		}
	}
}

// TestLimitsInPlan: what a run may take is seen before it is started.
func TestLimitsInPlan(t *testing.T) {
	for _, c := range []struct {
		args          string
		shows, hidden string
	}{
		{"plan custom_table -p table_name=x", "timeout  180s", "stall"},
		{"plan custom_table -p table_name=x --timeout 2h --stall 30s", "timeout  7200s\n  stall    30s", "180s"},
		{"plan custom_table -p table_name=x --timeout 0s", "custom_table", "timeout  "},
	} {
		got := call(t, strings.Fields(c.args)...)
		if got.code != 0 || !strings.Contains(got.stdout, c.shows) || strings.Contains(got.stdout, c.hidden) {
			t.Errorf("%s: %d\n%s%s", c.args, got.code, got.stdout, got.stderr)
		}
	}
}
