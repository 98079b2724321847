package pipeline

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
)

// TestExamples lints and runs every pipeline under examples/; see TestPipelineTests
// for their tests.
func TestExamples(t *testing.T) {
	dsn := cmdtest.SmallPractice(t)
	files, err := filepath.Glob("../../../examples/pipelines/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	parameters := map[string][]string{"contact_list.yaml": {"-p", "state=NSW"}}
	for _, file := range files {
		if strings.HasSuffix(file, ".test.yaml") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			if got := cmdtest.Call(t, "lint", file); got.Code != 0 {
				t.Fatalf("lint: %+v", got)
			}
			t.Setenv(session.EnvDSN, dsn)
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"run", file, "-o", out, "--isolation", "none"}, parameters[filepath.Base(file)]...)
			if got := cmdtest.Call(t, args...); got.Code != 0 || !strings.Contains(got.Stderr, "rows") {
				t.Fatalf("run: %+v", got)
			}
		})
	}
}
