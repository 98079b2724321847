package main

import (
	"encoding/json"
	"regexp"
	"testing"
)

// TestDescribeLimits: the limits of a pipeline are told, those that it inherits and those
// that it gets without asking.
func TestDescribeLimits(t *testing.T) {
	for pipeline, want := range map[string]struct {
		timeout string
		seconds float64
	}{"custom_table": {"3m0s", 180}, "testdata/everything.yaml": {"none", 0}} {
		got := call(t, "describe", pipeline)
		for _, line := range []string{`timeout +` + want.timeout + ` `, `stall +10s `, `parameter +64KiB `} {
			if got.code != 0 || !regexp.MustCompile(`(?m)^  `+line).MatchString(got.stdout) {
				t.Errorf("describe %s: no line %q in\n%s%s", pipeline, line, got.stdout, got.stderr)
			}
		}
		var machine struct {
			Limits map[string]float64 `json:"limits"`
		}
		if err := json.Unmarshal([]byte(call(t, "describe", pipeline, "--json").stdout), &machine); err != nil {
			t.Fatal(err)
		}
		if l := machine.Limits; l["timeout_seconds"] != want.seconds || l["stall_seconds"] != 10 || l["parameter_bytes"] != 65536 {
			t.Errorf("describe %s --json: %v", pipeline, l)
		}
	}
}
