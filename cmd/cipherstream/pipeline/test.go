package pipeline

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/pipelinetest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeTestFailed says that pipelines did something else than their tests expect.
const codeTestFailed = "test.failed"

func (a *app) testCommand() *cobra.Command {
	var o pipelinetest.Options
	c := &cobra.Command{
		Use:   "test FILE...",
		Short: "Test pipelines on rows given beside them",
		Long: `Test pipelines without a database. A test file names a pipeline and holds cases:
rows, which take the source's place, and what is expected of them. The filters, the
encoder and everything after it run for real, but for the sink: the output is kept in memory.

  apiVersion: cipherstream/v1
  kind: Test
  pipeline: ./contact_list.yaml     # beside this file, or a name of the catalogue
  cases:
    - name: a phone number keeps its zero
      parameters: {state: NSW}
      customer: practice-1          # ${customer.id}
      secrets: {token: not-a-real-one}
      env: {REGION: test}
      columns: [{name: phone, type: string}]
      rows:
        - {phone: "0400 000 000"}
      expect:
        output: "phone\r\n0400 000 000\r\n"

Columns are those of the rows; without them the rows have the columns that the
pipeline declares. Numbers keep every digit, a column that a row leaves out is
NULL. Rows may come from a file, rows_file: rows.ndjson or rows.csv, instead.

Expect holds one of output, the exact text; output_file, a file with the exact
bytes; rows, for output that is plain NDJSON and for pipelines whose sink takes rows, such as
sqlite; and error, the code of what goes wrong.
${run.id} is the pipeline's name with _test, ${run.started_at} is the year 2000, so that
the output is the same in every run. Real secrets and variables are out of reach.

The exit code is 1 when a case fails, and 2 when a test file is wrong.`,
		Example: "  cipherstream test pipelines/tests/*.test.yaml\n  cipherstream test --update contact_list.test.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return terminal.UsageFault("%s takes at least one test file", c.CommandPath()).WithHint("give the path of a YAML file")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error { return a.test(c.Context(), args, o) }),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	c.Flags().BoolVar(&o.Update, "update", false, "write the files of output_file that differ anew, instead of failing")
	a.PluginsFlag(c)
	return c
}

// test runs test files.
func (a *app) test(ctx context.Context, files []string, o pipelinetest.Options) error {
	e, err := a.Engine(ctx, nil)
	if err != nil {
		return err
	}
	defer e.Close()
	results := []pipelinetest.Result{}
	var problems diag.List
	for _, file := range files {
		some, diags, err := pipelinetest.Run(ctx, e, file, o)
		problems = append(problems, diags...)
		results = append(results, some...)
		if err == nil && !a.JSON {
			err = a.Print(func(w io.Writer) error {
				for _, r := range some {
					if err := a.writeResult(w, r, e.Source); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	summary := fmt.Sprintf("%s: %d passed, %d failed", terminal.Counted(len(results), "case"), len(results)-failed, failed)
	if err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"cases": results, "passed": len(results) - failed, "failed": failed})
		}
		if len(results) > 0 {
			fmt.Fprintln(w, summary)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := a.Check(e.Source, problems.Normalise()); err != nil {
		return err
	}
	if failed > 0 {
		return fault.New(codeTestFailed, fault.Data, "%s", summary)
	}
	return nil
}

// writeResult writes a line for a case, and what is wrong below it.
func (a *app) writeResult(w io.Writer, r pipelinetest.Result, source diag.Source) error {
	verdict := "PASS"
	if !r.Passed {
		verdict = "FAIL"
	}
	line := fmt.Sprintf("%s %s:%d: %s", verdict, diag.Printable(r.File), r.Line, diag.Printable(r.Case))
	if r.Updated != "" {
		line += " (wrote " + diag.Printable(r.Updated) + ")"
	}
	fmt.Fprintln(w, line)
	f := r.Failure
	if f == nil {
		return nil
	}
	fmt.Fprintf(w, "  %s\n", diag.Printable(f.Message))
	if f.Expected != "" || f.Got != "" {
		for _, side := range [][2]string{{"expected", f.Expected}, {"got", f.Got}} {
			text := side[1]
			if text == "" {
				text = "nothing"
			}
			fmt.Fprintf(w, "    %-9s %s\n", side[0]+":", diag.Printable(text))
		}
	}
	if f.Hint != "" {
		fmt.Fprintf(w, "  help: %s\n", diag.Printable(f.Hint))
	}
	if len(f.Diagnostics) == 0 {
		return nil
	}
	var b strings.Builder
	if err := diag.WriteText(&b, f.Diagnostics, a.TextOptions(a.Out, source)); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight("  "+strings.TrimRight(line, "\n"), " ")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
