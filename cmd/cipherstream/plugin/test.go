package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
)

// codePluginTest says that a plugin does not keep the contract of its stages.
const codePluginTest = "plugin.test_failed"

func (a *app) pluginTestCommand() *cobra.Command {
	var o pluginTestOptions
	c := &cobra.Command{
		Use:   "test PROGRAM",
		Short: "Test that a plugin keeps the contract of its stages",
		Long: `Test that a plugin keeps the contract of its stages. PROGRAM is the plugin's program,
in whatever language, or the folder of a bundle; it need not be in plugins.lock. It is started as in a run, once
for every case, with rows and bytes on its socket that are hard to get right: every type,
nulls, no rows, huge values, an input that breaks off, a cancellation. A sink is killed
while it writes, and asked in another process to undo what it had announced.

It is confined as well as a run would confine it: it has the network only if it declares
that it needs it, and of the files it sees the folder of the case, and those that
--allow-files grants.

A stage may refuse a type or a value with a coded fault; that is no failure. Stages that
need settings get them from a file:

  filter/mask:
    settings: {column: card}
    columns: [{name: card, type: string}]   # columns that the stage needs
  sink/folder:
    settings: {path: "{{dir}}/object"}      # a new, empty folder for every case
    object: "{{dir}}/object"                # where the object is after the commit
  encoder/report:
    volatile: 'took [0-9]+ ms'              # may differ from run to run

The types of columns are those of a pipeline's columns. Further keys are nullable (true),
media (type, extension, content_encoding) for stages of bytes, patience (20s) for the
longest case, prompt (1s) for how soon a cancelled run must end, and except, with a reason
for every check that is to be left out.

The exit code is 1 when a check fails.`,
		Example: "  cipherstream plugin test bin/upper\n  cipherstream plugin test bin/upper --stage filter/upper --settings upper.test.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return terminal.UsageFault("%s takes one program, but got %d arguments", c.CommandPath(), len(args)).WithHint("give the path of the plugin's program")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error { return a.pluginTest(c.Context(), args[0], o) }),
	}
	c.Flags().StringArrayVar(&o.stages, "stage", nil, "test the stage `KIND/NAME` alone; may be given several times")
	c.Flags().StringVar(&o.settings, "settings", "", "`FILE` (YAML or JSON) with settings of the stages")
	c.Flags().StringArrayVar(&o.allowFiles, "allow-files", nil, allowFilesUsage)
	_ = c.MarkFlagFilename("settings", "yaml", "yml", "json") // the flag exists
	return c
}

type pluginTestOptions struct {
	stages     []string
	settings   string
	allowFiles []string
}

// pluginTest runs the conformance checks on a program.
func (a *app) pluginTest(ctx context.Context, program string, o pluginTestOptions) error {
	trials, err := readTrials(o.settings)
	if err != nil {
		return err
	}
	files, err := fileGrants(o.allowFiles)
	if err != nil {
		return err
	}
	path, err := testedPath(program)
	if err != nil {
		return err
	}
	report, err := a.NewReporter(terminal.ProgressNone, false, false)
	if err != nil {
		return err
	}
	h, err := host.New(host.Config{FirstParty: stage.Bundle{Name: "none"}, Log: report.Logger()})
	if err != nil {
		return err
	}
	defer h.Close()
	pinned, err := pinProgram(ctx, h, path, files)
	if err != nil {
		return err
	}
	offer := pinned.offer
	chosen, err := chooseStages(offer, o.stages, trials, o.settings)
	if err != nil {
		return err
	}
	start := func(ctx context.Context, dir string) (suite.Running, error) {
		process, err := pinned.start(ctx, host.Reach{Path: dir, Write: true})
		if err != nil {
			return nil, err
		}
		return killable{process}, nil
	}
	results := []suite.Result{}
	for _, m := range chosen {
		if err := a.printText("%s\n", stageName(m)); err != nil {
			return err
		}
		for _, check := range suite.Process(m, start, trials[stageName(m)]) {
			r := check.Run(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			results = append(results, r)
			if err := a.printText("%s", checkLines(r)); err != nil {
				return err
			}
		}
	}
	return a.concludePluginTest(offer, len(chosen), results)
}

// testedPath is the path of a program, or of a bundle's folder.
func testedPath(program string) (string, error) {
	if info, err := os.Stat(program); err == nil && info.IsDir() {
		path, err := filepath.Abs(program)
		if err != nil {
			return "", terminal.UsageFault("the bundle cannot be found: %w", err)
		}
		return path, nil
	}
	cfg, _, err := programConfig(program, "tested", nil)
	return cfg.Executable, err
}

// killable is a process of the host that the checks can kill, to see what is left and whether it can be undone
// (suite.Mortal). It is killed as the system would, and not as the host does, which cleans up first.
type killable struct{ host.Process }

var _ suite.Mortal = killable{}

// Kill sends the signal; Start returns when the process is gone.
func (k killable) Kill() {
	if pid := k.PID(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// printText prints for people.
func (a *app) printText(format string, args ...any) error {
	if a.JSON {
		return nil
	}
	return a.Print(func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format, args...)
		return err
	})
}

// checkLines is a line for a check, and its details below it.
func checkLines(r suite.Result) string {
	var b strings.Builder
	word := map[suite.Status]string{suite.Passed: "PASS", suite.Failed: "FAIL", suite.Refused: "REFUSED", suite.Skipped: "SKIP"}[r.Status]
	fmt.Fprintf(&b, "  %-8s%s", word, r.Check)
	if r.Status == suite.Passed && r.Refusals > 0 {
		fmt.Fprintf(&b, " (%d of %d cases refused)", r.Refusals, r.Cases)
	}
	if r.Rule != "" {
		fmt.Fprintf(&b, ": %s", r.Rule)
	}
	b.WriteByte('\n')
	for _, detail := range r.Details {
		for line := range strings.Lines(detail) {
			fmt.Fprintf(&b, "          %s\n", diag.Printable(strings.TrimRight(line, "\n")))
		}
	}
	return b.String()
}

// concludePluginTest prints the verdict, which is an error when a check has failed.
func (a *app) concludePluginTest(offer host.Offer, stages int, results []suite.Result) error {
	count := map[suite.Status]int{}
	for _, r := range results {
		count[r.Status]++
	}
	verdict := fmt.Sprintf("%s %s: %s of %s: %d passed, %d failed, %d refused, %d skipped",
		diag.Printable(offer.Plugin), diag.Printable(offer.Version), terminal.Counted(len(results), "check"), terminal.Counted(stages, "stage"),
		count[suite.Passed], count[suite.Failed], count[suite.Refused], count[suite.Skipped])
	if err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{
				"plugin": offer.Plugin, "version": offer.Version, "checks": results,
				"passed": count[suite.Passed], "failed": count[suite.Failed], "refused": count[suite.Refused], "skipped": count[suite.Skipped],
			})
		}
		_, err := fmt.Fprintln(w, verdict)
		return err
	}); err != nil {
		return err
	}
	if count[suite.Failed] > 0 {
		return fault.New(codePluginTest, fault.Plugin, "%s", verdict)
	}
	return nil
}

func stageName(m control.Manifest) string { return string(m.Kind) + "/" + m.Name }

// chooseStages are the stages to test, in the plugin's order.
func chooseStages(offer host.Offer, wanted []string, trials map[string]suite.Options, file string) ([]control.Manifest, error) {
	var names []string
	for _, m := range offer.Stages {
		names = append(names, stageName(m))
	}
	known := func(name, where string) error {
		if slices.Contains(names, name) {
			return nil
		}
		f := terminal.UsageFault("%s: plugin %q has no stage %q", where, offer.Plugin, name)
		return f.WithHint("it has %s", strings.Join(names, ", "))
	}
	for _, name := range wanted {
		if err := known(name, "--stage"); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(trials)) {
		if err := known(name, file); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, fault.New(codePluginTest, fault.Plugin, "plugin %q offers no stage", offer.Plugin)
	}
	return slices.DeleteFunc(slices.Clone(offer.Stages), func(m control.Manifest) bool {
		return len(wanted) > 0 && !slices.Contains(wanted, stageName(m))
	}), nil
}

// trialFile is what the settings file says of one stage.
type trialFile struct {
	Settings map[string]any `yaml:"settings"`
	Columns  []struct {
		Name     string `yaml:"name"`
		Type     string `yaml:"type"`
		Nullable *bool  `yaml:"nullable"`
	} `yaml:"columns"`
	Media struct {
		Type            string `yaml:"type"`
		Extension       string `yaml:"extension"`
		ContentEncoding string `yaml:"content_encoding"`
	} `yaml:"media"`
	Object   string            `yaml:"object"`
	Volatile string            `yaml:"volatile"`
	Patience time.Duration     `yaml:"patience"`
	Prompt   time.Duration     `yaml:"prompt"`
	Except   map[string]string `yaml:"except"`
}

// readTrials reads the settings file; without one there are none.
func readTrials(path string) (map[string]suite.Options, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, terminal.UsageFault("the settings cannot be read: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	var files map[string]trialFile
	if err := decoder.Decode(&files); err != nil && !errors.Is(err, io.EOF) {
		return nil, terminal.UsageFault("%s: %w", path, err)
	}
	trials := map[string]suite.Options{}
	for name, f := range files {
		o := suite.Options{
			Media:  stage.Media{Type: f.Media.Type, Extension: f.Media.Extension, ContentEncoding: f.Media.ContentEncoding},
			Object: f.Object, Volatile: f.Volatile, Patience: f.Patience, Prompt: f.Prompt, Except: f.Except,
		}
		if f.Settings != nil {
			o.Settings = f.Settings
		}
		if _, err := regexp.Compile(f.Volatile); err != nil {
			return nil, terminal.UsageFault("%s: %s: volatile is no regular expression: %w", path, name, err)
		}
		for _, c := range f.Columns {
			t, ok := columnType(c.Type)
			if !ok || c.Name == "" {
				return nil, terminal.UsageFault("%s: %s: column %q has no type that is known: %q", path, name, c.Name, c.Type).
					WithHint("types are int8 to int64, uint8 to uint64, float32, float64, boolean, string, json, binary, date, time, timestamp and decimal(precision,scale)")
			}
			field := arrow.Field{Name: c.Name, Type: t, Nullable: c.Nullable == nil || *c.Nullable}
			if c.Type == "json" {
				field.Metadata = arrow.NewMetadata([]string{stage.MetaJSON}, []string{"true"})
			}
			o.Columns = append(o.Columns, field)
		}
		trials[name] = o
	}
	return trials, nil
}

var columnTypes = map[string]arrow.DataType{
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16, "int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16, "uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64, "boolean": arrow.FixedWidthTypes.Boolean,
	"string": arrow.BinaryTypes.String, "json": arrow.BinaryTypes.String, "binary": arrow.BinaryTypes.Binary, "date": arrow.FixedWidthTypes.Date32,
	"time": &arrow.DurationType{Unit: arrow.Microsecond}, "timestamp": &arrow.TimestampType{Unit: arrow.Microsecond},
}

var decimalType = regexp.MustCompile(`^decimal\(([0-9]{1,2}), ?([0-9]{1,2})\)$`)

// columnType is the Arrow type of a column type's name.
func columnType(name string) (arrow.DataType, bool) {
	m := decimalType.FindStringSubmatch(name)
	if m == nil {
		t, ok := columnTypes[name]
		return t, ok
	}
	precision, _ := strconv.Atoi(m[1]) // they are digits
	scale, _ := strconv.Atoi(m[2])
	switch {
	case precision < 1 || precision > 76 || scale > precision:
		return nil, false
	case precision <= 38:
		return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}, true
	}
	return &arrow.Decimal256Type{Precision: int32(precision), Scale: int32(scale)}, true
}
