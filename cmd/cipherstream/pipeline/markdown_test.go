package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
)

// TestCatalogueDocs: the page about the catalogue is what the catalogue says.
// With -update it is written anew (make docs).
func TestCatalogueDocs(t *testing.T) {
	const page = "../../../pipelines/README.md"
	const begin, end = "puts it here. -->\n\n", "\n<!-- catalogue: end -->"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(content), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the marks of the catalogue are missing")
	}
	got := cmdtest.Call(t, "describe", "--markdown")
	if got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	want := head + begin + got.Stdout + end + tail
	if golden.Updating() {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(content) != want {
		t.Errorf("%s is stale: run make docs", page)
	}
}

// TestMarkdownUsage: a page cannot be JSON, and an unknown pipeline is named.
func TestMarkdownUsage(t *testing.T) {
	for args, wants := range map[string]string{
		"describe --markdown --json":      "--markdown and --json are both given",
		"describe --markdown appointmnts": `did you mean "appointments"?`,
		"describe":                        "takes one pipeline",
	} {
		if got := cmdtest.Call(t, strings.Fields(args)...); got.Code != 2 || !strings.Contains(got.Stderr, wants) {
			t.Errorf("%s: %+v, want %s", args, got, wants)
		}
	}
}

// TestCatalogueExample: the pipeline on the page is clean, and runs.
func TestCatalogueExample(t *testing.T) {
	content, err := os.ReadFile("../../../pipelines/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var pipeline strings.Builder
	for line := range strings.Lines(string(content)) {
		code, indented := strings.CutPrefix(line, "    ")
		if strings.HasPrefix(code, "apiVersion:") || pipeline.Len() > 0 && indented {
			pipeline.WriteString(code)
		} else if pipeline.Len() > 0 {
			break
		}
	}
	file := filepath.Join(t.TempDir(), "visits.yaml")
	if err := os.WriteFile(file, []byte(pipeline.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := cmdtest.Call(t, "lint", file); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	got := cmdtest.Call(t, "run", file, "-p", "location_id=1", "-o", filepath.Join(t.TempDir(), "out"), "--isolation", "none", "-p", "from_date=2024-01-01")
	if got.Code != 0 {
		t.Errorf("%+v", got)
	}
}
