package pipeline

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

// TestMarkdownLimits: a page tells the limits as well: once what all have, and of each what it says itself.
func TestMarkdownLimits(t *testing.T) {
	const timeout, stall, parameter = "| `timeout` | %s | For the whole run; --timeout sets another. |\n",
		"| `stall` | 10s | For one call of a stage that neither reads nor writes. |\n", "| `parameter` | 64KiB | For the text of one parameter. |\n"
	const head = "| limit | | |\n|---|---|---|\n"
	common := head + fmt.Sprintf(timeout, "none") + stall + parameter
	page := cmdtest.Call(t, "describe", "--markdown", "custom_table", "appointments").Stdout
	if own := head + fmt.Sprintf(timeout, "3m0s") + "\n"; strings.Count(page, common) != 1 || strings.Count(page, own) != 1 || strings.Count(page, head) != 2 {
		t.Errorf("the limits of two pipelines:\n%s", page)
	}
	if page := cmdtest.Call(t, "describe", "--markdown", "testdata/everything.yaml").Stdout; strings.Count(page, common) != 1 {
		t.Errorf("the limits of one that shares nothing:\n%s", page)
	}
}

// TestDescribeLimits: the limits of a pipeline are told, those that it inherits and those
// that it gets without asking.
func TestDescribeLimits(t *testing.T) {
	for pipeline, want := range map[string]struct {
		timeout string
		seconds float64
	}{"custom_table": {"3m0s", 180}, "testdata/everything.yaml": {"none", 0}} {
		got := cmdtest.Call(t, "describe", pipeline)
		for _, line := range []string{`timeout +` + want.timeout + ` `, `stall +10s `, `parameter +64KiB `} {
			if got.Code != 0 || !regexp.MustCompile(`(?m)^  `+line).MatchString(got.Stdout) {
				t.Errorf("describe %s: no line %q in\n%s%s", pipeline, line, got.Stdout, got.Stderr)
			}
		}
		var machine struct {
			Limits map[string]float64 `json:"limits"`
		}
		if err := json.Unmarshal([]byte(cmdtest.Call(t, "describe", pipeline, "--json").Stdout), &machine); err != nil {
			t.Fatal(err)
		}
		if l := machine.Limits; l["timeout_seconds"] != want.seconds || l["stall_seconds"] != 10 || l["parameter_bytes"] != 65536 {
			t.Errorf("describe %s --json: %v", pipeline, l)
		}
	}
}
