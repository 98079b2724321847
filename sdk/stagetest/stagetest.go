// Package stagetest tests that a stage keeps the contract of its kind. A plugin's own test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		stagetest.Run(t, upper.Stage(), stagetest.Options{Settings: map[string]any{"columns": []string{"value"}}})
//	}
//
// and the same program, built and started as a plugin, over the control service and the data wire:
//
//	func TestProcess(t *testing.T) { stagetest.Process(t, "bin/upper", nil) }
//
// Each check is a subtest. A stage may refuse a type or a value with a coded fault; that is logged and passes. The
// checks themselves are package suite's; this package owns only how they become tests. It is imported by tests only.
package stagetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
)

// Options say what a stage needs to be tried; the zero value is for a stage that needs no settings.
type Options = suite.Options

// Run checks a stage of any kind in this process. Checks that show data races do so under go test -race.
func Run(t *testing.T, definition stage.Definition, options Options) {
	t.Helper()
	run(t, suite.Stage(definition, options))
}

// Process starts the plugin program at path, many times, and checks its stages as processes. Options are by the stage's
// KIND/NAME; with options, stages that have none are left out, and without, all are checked with none.
func Process(t *testing.T, path string, options map[string]Options, args ...string) {
	t.Helper()
	program := suite.Program{Path: path, Args: args}
	plugin, err := program.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(plugin.Stages))
	for _, m := range plugin.Stages {
		name := string(m.Kind) + "/" + m.Name
		names = append(names, name)
		o, chosen := options[name]
		if !chosen && options != nil {
			continue
		}
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			t.Parallel()
			run(t, suite.Process(m, program.Start, o))
		})
	}
	for name := range options {
		if !slices.Contains(names, name) {
			t.Errorf("%s offers no stage %q; it offers %s", path, name, strings.Join(names, ", "))
		}
	}
}

// run makes a subtest of each check.
func run(t *testing.T, checks []suite.Check) {
	t.Helper()
	for _, check := range checks {
		t.Run(check.Name, func(t *testing.T) {
			r := check.Run(t.Context())
			text := strings.Join(r.Details, "\n")
			switch r.Status {
			case suite.Failed:
				t.Error(text)
			case suite.Skipped:
				// It does not apply, or Options.Except says why it is left out: nothing that a reader of skipped tests
				// should have to look after.
				t.Logf("left out: %s", text)
			case suite.Refused:
				t.Logf("refused whatever it was given:\n%s", text)
			case suite.Passed:
				if r.Refusals > 0 {
					t.Logf("%d of %d cases were refused:\n%s", r.Refusals, r.Cases, text)
				}
			}
		})
	}
}
