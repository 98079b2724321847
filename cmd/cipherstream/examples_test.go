package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples lints and runs every pipeline under examples/; see TestPipelineTests
// for their tests.
func TestExamples(t *testing.T) {
	dsn := smallPractice(t)
	files, err := filepath.Glob("../../examples/pipelines/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	parameters := map[string][]string{"contact_list.yaml": {"-p", "state=NSW"}}
	for _, file := range files {
		if strings.HasSuffix(file, ".test.yaml") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			if got := call(t, "lint", file); got.code != 0 {
				t.Fatalf("lint: %+v", got)
			}
			t.Setenv(envDSN, dsn)
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"run", file, "-o", out, "--isolation", "none"}, parameters[filepath.Base(file)]...)
			if got := call(t, args...); got.code != 0 || !strings.Contains(got.stderr, "rows") {
				t.Fatalf("run: %+v", got)
			}
		})
	}
}
