package pythonplugin

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
)

var commands = regexp.MustCompile("(?s)\n```bash\n(.*?)```\n")

// walk is what sdk/python/README.md tells a newcomer to type.
func walk(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(sdk, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := commands.FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("sdk/python/README.md has no commands")
	}
	return strings.Split(strings.TrimSuffix(found[1], "\n"), "\n")
}

// TestWalk goes from nothing to an installed filter, in one shell, with what the documentation prints and nothing else. The first two
// commands, which build the programs and say where they are, are done by this suite.
func TestWalk(t *testing.T) {
	t.Parallel()
	lines := walk(t)
	if len(lines) >= 10 || !slices.Equal(lines[:2], []string{"go build -tags gms_pure_go -o dist/ ./cmd/...", `export PATH="$PWD/dist:$PATH" CIPHERSTREAM_SDK="$PWD"`}) {
		t.Fatalf("under ten commands are promised, the first of which build the programs:\n%s", strings.Join(lines, "\n"))
	}
	if _, err := python.Plugins(); err != nil {
		required.Missing(t, err.Error()) // the same packages as those of the plugin
	}
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { _ = host.RemoveBundle(filepath.Join(dir, "upper", "plugins")) })
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(lines[2:], "\n"))
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "CIPHERSTREAM_SDK="+checkout, "MAKEFLAGS=", "MAKELEVEL=")
	var out, errs strings.Builder
	shell.Stdout, shell.Stderr = &out, &errs
	if err := shell.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	_, rows, found := strings.Cut(out.String(), "patient_id,first_name,surname,suburb\r\n")
	if !found || strings.Count(rows, "\r\n") != 10 || !strings.Contains(rows, ",RYAN,") {
		t.Errorf("it ends with:\n%s%s", out.String(), errs.String())
	}
}
