// Package pipelinetest runs pipelines on rows that are given beside them, and holds
// what comes out against what was expected. It owns what a test file means and how
// a difference is told; stages, checks and encoders are the pipeline's own and run
// for real. It reaches no database, no environment and no output but a private
// folder for the rows, which take the source's place; the sink is one in memory.
package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Options are what a test file does not say.
type Options struct {
	// Update writes the files of output_file that differ anew.
	Update bool
}

// Result is how a case ended.
type Result struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Case string `json:"case"`
	// Passed is true as well when Updated is.
	Passed bool `json:"passed"`
	// Updated names the file that was written anew, or is empty.
	Updated string `json:"updated,omitempty"`
	// Failure says why the case failed.
	Failure *Failure `json:"failure,omitempty"`
	Seconds float64  `json:"seconds"`
}

// Failure is the difference between what was expected and what came.
type Failure struct {
	Message string `json:"message"`
	// Line is that of the output which differs first, from 1; 0 where there is none.
	// Expected and Got are what stands there, or cut-outs around the first difference
	// of long lines.
	Line     int    `json:"line,omitempty"`
	Expected string `json:"expected,omitempty"`
	Got      string `json:"got,omitempty"`
	// Hint says what to do. It may be empty.
	Hint string `json:"hint,omitempty"`
	// Diagnostics are those of a pipeline that could not be planned.
	Diagnostics diag.List `json:"diagnostics,omitempty"`
}

// Codes of test files that cannot be run.
const (
	CodeNoColumns     = "test.no_columns"
	CodeUnknownColumn = "test.unknown_column"
	CodeWrongValue    = "test.wrong_value"
	CodeFile          = "test.file"
)

// What the stages in place of the source are called, and the encoder in which rows are compared: that of a pipeline
// which ends in rows too, so that a value is written in one way whatever the pipeline's end.
const (
	rowsSource  = "ndjson"
	csvSource   = "csv"
	rowsEncoder = "ndjson"
)

// startedAt is the same in every run, so that outputs can be.
var startedAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// maxOutput is the most bytes of output that are compared.
const maxOutput = 64 << 20

// tester is a test file on its way.
type tester struct {
	engine   *engine.Engine
	options  Options
	test     *document.Test
	doc      *document.Document
	prepared *engine.Prepared // nil when the pipeline cannot be run, as problems say
	problems diag.List
}

// Lint finds what is wrong with a test file, without running a case. What is wrong with its pipeline is not of the file: cases
// may expect it.
func Lint(e *engine.Engine, file string) diag.List {
	_, diags := load(e, file, Options{})
	return diags
}

// load reads a test file and its pipeline; nil where the file is wrong.
func load(e *engine.Engine, file string, o Options) (*tester, diag.List) {
	test, diags := e.LoadTest(file)
	if test == nil || test.Invalid {
		return nil, diags
	}
	t := &tester{engine: e, options: o, test: test}
	load, prepare, pipeline := e.Load, e.Prepare, test.Pipeline.Text
	if isPath(pipeline) {
		load, prepare, pipeline = e.LoadFile, e.PrepareFile, t.beside(pipeline)
	}
	doc, problems := load(pipeline)
	if doc == nil {
		if len(problems) == 1 && problems[0].Line == 0 {
			problems[0].Position = test.Pipeline.At
		}
		return nil, append(diags, problems...).Normalise()
	}
	t.doc = doc
	t.prepared, t.problems = prepare(pipeline)
	// What is wrong with a pipeline is for its cases to expect or not.
	for i := range test.Cases {
		t.check(&test.Cases[i], &diags)
	}
	if diags = diags.Normalise(); diags.HasErrors() {
		return nil, diags
	}
	return t, diags
}

// Run runs the cases of a test file, one after the other. When the diagnostics have
// errors, the file is wrong and no case was run. The error is that of ctx.
func Run(ctx context.Context, e *engine.Engine, file string, o Options) ([]Result, diag.List, error) {
	t, diags := load(e, file, o)
	if t == nil {
		return nil, diags, nil
	}
	var results []Result
	for i := range t.test.Cases {
		began := time.Now()
		r, err := t.run(ctx, &t.test.Cases[i])
		if err != nil {
			return results, diags, err
		}
		r.Seconds = time.Since(began).Seconds()
		results = append(results, r)
	}
	return results, diags, nil
}

// isPath reports whether the pipeline is a file beside the test.
func isPath(pipeline string) bool {
	ext := filepath.Ext(pipeline)
	return ext == ".yaml" || ext == ".yml" || strings.ContainsAny(pipeline, `/\`)
}

// beside makes a path relative to the test file one that can be opened.
func (t *tester) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(t.test.File), filepath.FromSlash(name))
}

// check finds what is wrong with a case before anything is run.
func (t *tester) check(c *document.Case, diags *diag.List) {
	columns := t.columns(c)
	if len(columns) == 0 {
		if !t.doc.Invalid {
			diags.Add(diag.At(c.At, CodeNoColumns, "the pipeline declares no columns, so that the case must").
				WithHint("give columns: [{name: …, type: …}] for the rows"))
		}
		return
	}
	for _, row := range c.Rows {
		checkRow(row, columns, diags)
	}
	if c.RowsFile != nil {
		if _, ok := sourceOf(c.RowsFile.Text); !ok {
			diags.Add(diag.At(c.RowsFile.At, CodeFile, "%q ends neither in .ndjson nor in .csv", c.RowsFile.Text))
		} else {
			t.checkFile(c.RowsFile, diags)
		}
	}
	if f := c.Expect.OutputFile; f != nil && !t.options.Update {
		t.checkFile(f, diags)
	}
}

func (t *tester) checkFile(n *document.Node, diags *diag.List) {
	info, err := os.Stat(t.beside(n.Text))
	switch {
	case err != nil:
		diags.Add(diag.At(n.At, CodeFile, "the file cannot be read: %v", err).WithHint("paths are relative to the test file"))
	case !info.Mode().IsRegular():
		diags.Add(diag.At(n.At, CodeFile, "%s is no file", t.beside(n.Text)))
	}
}

// columns are those of a case's rows. Those of the contract may be NULL here, for a
// source declares little: what is NULL against the contract is to be found behind it.
func (t *tester) columns(c *document.Case) []document.Column {
	if c.Columns != nil {
		return c.Columns
	}
	columns := append([]document.Column{}, t.doc.Columns...)
	for i := range columns {
		columns[i].Nullable = true
	}
	return columns
}

// run runs a case.
func (t *tester) run(ctx context.Context, c *document.Case) (Result, error) {
	r := Result{File: t.test.File, Line: c.At.Line, Case: c.Name}
	dir, err := t.engine.NewDir()
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	source, err := t.source(c, dir)
	if err != nil {
		return r, err
	}
	in := t.inputs(c)
	in.Source, in.End, in.Encoder = &source, engine.EndCaller, &engine.StandIn{Use: rowsEncoder, Config: map[string]any{}}
	var output memory
	var p *engine.Plan
	diags := t.problems
	if t.prepared != nil {
		var more diag.List
		p, more = t.prepared.Bind(in)
		diags = append(slices.Clip(diags), more...)
	}
	if p == nil {
		r.Failure = unplanned(c, diags)
	} else if receipt, err := t.engine.Run(ctx, p, &output, engine.RunOptions{}); err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.Failure = failed(c, err, dir)
	} else {
		r.Failure, r.Updated, err = t.compare(c, p, receipt, output.data)
		if err != nil {
			return r, err
		}
	}
	r.Passed = r.Failure == nil
	return r, nil
}

func (t *tester) inputs(c *document.Case) engine.Inputs {
	lookup := func(values map[string]string) engine.Lookup {
		return func(name string) (string, bool) {
			v, ok := values[name]
			return v, ok
		}
	}
	in := engine.Inputs{
		Parameters: map[string]any{}, Env: lookup(c.Env), Secrets: lookup(c.Secrets),
		EnvAllowed: slices.Collect(maps.Keys(c.Env)),
		Isolation:  engine.IsolationNone,
		RunID:      t.doc.Metadata.Name + "_test", StartedAt: startedAt,
		Hint: func(reference string) string {
			namespace, name, _ := strings.Cut(reference, ".")
			switch {
			case namespace == "secret":
				return "give it in the case: secrets: {" + name + ": …}"
			case namespace == "env":
				return "give it in the case: env: {" + name + ": …}"
			case reference == "customer.id":
				return "give it in the case: customer: …"
			}
			return ""
		},
	}
	for name, n := range c.Parameters {
		in.Parameters[name] = n.Value
	}
	if c.Customer != nil {
		in.Customer.ID = c.Customer.Text
	}
	return in
}

// unplanned holds the diagnostics of a pipeline against what was expected.
func unplanned(c *document.Case, diags diag.List) *Failure {
	for _, d := range diags {
		if c.Expect.Error != nil && d.Severity == diag.Error && d.Code == c.Expect.Error.Text {
			return nil
		}
	}
	f := &Failure{Message: "the pipeline cannot be planned", Diagnostics: diags}
	if c.Expect.Error != nil {
		f.Message = "the pipeline fails in another way than expected"
		f.Expected, f.Got = c.Expect.Error.Text, firstError(diags)
	}
	return f
}

func firstError(diags diag.List) string {
	for _, d := range diags {
		if d.Severity == diag.Error {
			return d.Code
		}
	}
	return ""
}

// failed holds the fault of a run against what was expected.
func failed(c *document.Case, err error, dir string) *Failure {
	f := fault.From(err)
	// The rows of the case stand in a file that nobody has heard of.
	message := strings.ReplaceAll(f.Message, filepath.Join(dir, rowsName), "rows")
	if f.Stage != "" {
		message = f.Stage + ": " + message
	}
	out := &Failure{Message: fmt.Sprintf("the run failed: %s [%s]", message, f.Code), Hint: f.Hint}
	if c.Expect.Error != nil {
		if c.Expect.Error.Text == f.Code {
			return nil
		}
		out.Expected, out.Got = c.Expect.Error.Text, f.Code
	}
	return out
}

// compare holds the output of a run against what was expected. The error says that
// a file could not be read or written.
func (t *tester) compare(c *document.Case, p *engine.Plan, receipt *engine.Receipt,
	got []byte) (f *Failure, updated string, err error) {
	switch e := &c.Expect; {
	case e.Error != nil:
		return &Failure{Message: fmt.Sprintf("the run succeeded with %d rows, instead of failing", receipt.Rows), Expected: e.Error.Text}, "", nil
	case (e.Output != nil || e.OutputFile != nil) && slices.ContainsFunc(p.Stages, func(s engine.Stage) bool { return s.Kind == stage.KindEncoder && s.OfPlan() }):
		return &Failure{Message: "the pipeline gives rows to its sink, and no text that could be compared",
			Hint: "expect rows"}, "", nil
	case e.Output != nil:
		return compareText([]byte(e.Output.Text), got), "", nil
	case e.OutputFile != nil:
		path := t.beside(e.OutputFile.Text)
		want, err := readFile(path)
		if err != nil && !(t.options.Update && errors.Is(err, fs.ErrNotExist)) {
			return nil, "", err
		}
		difference := compareText(want, got)
		if (difference != nil || err != nil) && t.options.Update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				return nil, "", fault.New(CodeFile, fault.Usage, "the file of output_file cannot be written: %w", err)
			}
			return nil, path, nil
		}
		return difference, "", nil
	}
	for _, s := range p.Stages {
		switch s.Kind {
		case stage.KindEncoder, stage.KindCompressor, stage.KindEncryptor:
			if s.Name != rowsEncoder {
				return &Failure{Message: fmt.Sprintf("the output went through %s %q; rows can be compared when it is plain ndjson", s.Kind, s.Name),
					Hint: "expect output or output_file"}, "", nil
			}
		}
	}
	return compareRows(c.Expect.Rows, got), "", nil
}

// readFile reads a file of at most maxOutput bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(CodeFile, fault.Usage, "the file cannot be read: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	switch {
	case err != nil:
		return nil, fault.New(CodeFile, fault.Usage, "the file cannot be read: %w", err)
	case len(content) > maxOutput:
		return nil, fault.New(CodeFile, fault.Usage, "%s is larger than %d bytes, which is more than is compared", path, maxOutput).
			WithHint("test with fewer rows")
	}
	return content, nil
}
