package pipeline

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

// TestCatalogue looks at the catalogue through list and describe.
func TestCatalogue(t *testing.T) {
	text := cmdtest.Call(t, "list")
	if !strings.HasPrefix(text.Stdout, "NAME ") || !regexp.MustCompile(`(?m)^patients +Patients +Patient Management +data$`).MatchString(text.Stdout) {
		t.Errorf("list: %s%s", text.Stdout, text.Stderr)
	}
	var list struct{ Pipelines []entry }
	if err := json.Unmarshal([]byte(cmdtest.Call(t, "list", "--json").Stdout), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Pipelines) != strings.Count(text.Stdout, "\n")-1 || len(list.Pipelines) < 2 {
		t.Errorf("list --json has %d pipelines, list %d lines", len(list.Pipelines), strings.Count(text.Stdout, "\n"))
	}
	for _, p := range list.Pipelines {
		if p.Name == "" || p.Title == "" || p.Category == "" || p.Class == "" {
			t.Errorf("list --json: %+v", p)
		}
		if got := cmdtest.Call(t, "describe", p.Name); got.Code != 0 || !strings.HasPrefix(got.Stdout, p.Name+": "+p.Title) {
			t.Errorf("describe %s: %d %s%s", p.Name, got.Code, got.Stdout, got.Stderr)
		}
		if got := cmdtest.Call(t, "lint", p.Name); got.Code != 0 || got.Stdout != "1 pipeline: no problems\n" {
			t.Errorf("lint %s: %d %s%s", p.Name, got.Code, got.Stdout, got.Stderr)
		}
	}
}
