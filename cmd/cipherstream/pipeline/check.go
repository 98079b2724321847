package pipeline

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// errCheckFailed says that check found what a run would fail with, and has written it out.
var errCheckFailed = fmt.Errorf("a run would fail: %w", terminal.ErrTold)

func (a *app) checkCommand() *cobra.Command {
	var r request
	var f runFlags
	c := &cobra.Command{
		Use:   "check PIPELINE",
		Short: "Say everything that a run would fail with, without reading a row",
		Long: `Say everything that "cipherstream run" with the same arguments would fail with, in one
answer: every stage is made; the source connects and has its statement prepared; what
it would deliver is given to every stage behind it, and so held against the columns of
the pipeline and the limits of the format; the folder, file or bucket is tried. No row
is read, and nothing is left anywhere: a hidden file beside the output is made and
removed, in S3 an upload is begun and ended.

Each finding has a level:
  wrong      a run would fail with it
  warning    a run would do what is rarely meant; such as reading with an account that
             may write, which grants alone hold back
  unchecked  only a run can tell: the rows and the columns of a procedure, which is never
             called here (that it is there, that it may be called and how many arguments
             it takes is checked), and the stages of plugins that cannot check
  fine       it was looked at

The exit code is the one that run would end with; warnings don't change it. What is
wrong with the command line or the pipeline itself keeps everything from being started,
as in run.`,
		Example: `  cipherstream check appointments --dsn-file dsn.txt -o appointments.csv.gz
  cipherstream check appointments --job --bucket 's3://extracts?region=ap-southeast-2' --json`,
		Args: a.onePipeline,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if err := f.validate(c, &r); err != nil {
				return err
			}
			return a.checkRun(c.Context(), args[0], &r, &f)
		}),
	}
	r.flags(a, c)
	a.PluginLimitFlags(c)
	f.Database.Flags(c)
	c.Flags().BoolVar(&f.sandbox, "sandbox", false, "look at a database of generated data, started for this")
	f.Practice.Flags(c, "sandbox-")
	c.Flags().StringVar(&f.summary, "summary", "", "the `FILE` that run would write its receipt to")
	f.progress = terminal.ProgressNone
	return c
}

// checkRun prints what a run would fail with.
func (a *app) checkRun(ctx context.Context, pipeline string, r *request, f *runFlags) error {
	report, err := a.NewReporter(f.progress, f.verbose, false)
	if err != nil {
		return err
	}
	defer report.Clear()
	e, err := a.Engine(ctx, report.Logger())
	if err != nil {
		return err
	}
	defer e.Close()
	prepared, err := a.prepare(ctx, e, pipeline, r, f)
	if err != nil {
		return err
	}
	release, err := a.acquire(ctx, prepared, f, report)
	defer release()
	if err != nil {
		return err
	}
	p, err := prepared.bind(e, f)
	if err != nil {
		return err
	}
	found, err := e.Check(ctx, p)
	if err != nil {
		return err
	}
	if f.summary != "" && f.summary != "-" {
		summary, err := a.newSummary(f.summary, prepared.output)
		if err != nil {
			found.Findings = append([]engine.Finding{{Level: stage.LevelWrong, Fault: fault.From(err)}}, found.Findings...)
		} else {
			summary.discard()
		}
	}
	var failed error
	if wrong := found.Wrong(); wrong != nil {
		failed = fault.New("check.failed", wrong.Class, "%w", errCheckFailed)
	}
	err = a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, checkResult(ctx, p.Name, found, failed))
		}
		return writeFindings(w, found, terminal.Colored(a.Out))
	})
	if err != nil {
		return err
	}
	return failed
}

// checked is the answer of check for machines.
type checked struct {
	Pipeline string          `json:"pipeline"`
	OK       bool            `json:"ok"`
	ExitCode int             `json:"exit_code"`
	Findings []checkFinding  `json:"findings"`
	Columns  []checkedColumn `json:"columns"`
}

type checkFinding struct {
	Level     stage.Level       `json:"level"`
	Stage     string            `json:"stage,omitempty"`
	File      string            `json:"file,omitempty"`
	Line      int               `json:"line,omitempty"`
	Column    int               `json:"column,omitempty"`
	Code      string            `json:"code"`
	Class     fault.Class       `json:"class,omitempty"`
	Message   string            `json:"message"`
	Hint      string            `json:"hint,omitempty"`
	Retryable bool              `json:"retryable,omitempty"`
	Details   map[string]string `json:"details,omitempty"`
}

type checkedColumn struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Nullable   bool   `json:"nullable"`
	SourceType string `json:"source_type,omitempty"`
}

func checkResult(ctx context.Context, pipeline string, found *engine.CheckReport, failed error) checked {
	out := checked{Pipeline: pipeline, OK: failed == nil, ExitCode: terminal.ExitCode(ctx, failed), Findings: []checkFinding{}}
	for _, f := range found.Findings {
		finding := checkFinding{
			Level: f.Level, Stage: f.Stage, File: f.At.File, Line: f.At.Line, Column: f.At.Column, Code: f.Fault.Code, Message: f.Fault.Message,
			Hint: f.Fault.Hint, Retryable: f.Fault.Retryable, Details: f.Fault.Details,
		}
		if f.Level == stage.LevelWrong {
			finding.Class = f.Fault.Class
		}
		out.Findings = append(out.Findings, finding)
	}
	for _, c := range found.Columns {
		out.Columns = append(out.Columns, checkedColumn{c.Name, c.Type, c.Nullable, c.SourceType})
	}
	return out
}

// writeFindings renders findings for people, the stage first.
func writeFindings(w io.Writer, found *engine.CheckReport, color bool) error {
	paint := func(style, text string) string {
		if !color || style == "" {
			return text
		}
		return style + text + terminal.Reset
	}
	count := map[stage.Level]int{}
	for _, f := range found.Findings {
		count[f.Level]++
		name, code := f.Stage, ""
		if name == "" {
			name = "command"
		}
		if place := f.At.String(); place != "" && f.Level == stage.LevelWrong {
			name += " (" + place + ")"
		}
		if f.Level == stage.LevelWrong || f.Level == stage.LevelWarning {
			code = "[" + diag.Printable(f.Fault.Code) + "]"
		}
		fmt.Fprintf(w, "%s %s: %s\n", paint(terminal.LevelColors[f.Level], string(f.Level)+code), diag.Printable(name), diag.Printable(f.Fault.Message))
		if f.Fault.Hint != "" {
			fmt.Fprintf(w, "  %s %s\n", paint(terminal.Cyan, "help:"), diag.Printable(f.Fault.Hint))
		}
		for _, key := range slices.Sorted(maps.Keys(f.Fault.Details)) {
			if key == fault.DetailSetting || key == fault.DetailPlace {
				continue // they are in the file's place
			}
			if value := strings.TrimSpace(f.Fault.Details[key]); value != "" && !strings.Contains(f.Fault.Message, value) {
				fmt.Fprintf(w, "  %s %s\n", paint(terminal.Cyan, key+":"), diag.Printable(value))
			}
		}
	}
	_, err := fmt.Fprintln(w, terminal.Verdict(count))
	return err
}
