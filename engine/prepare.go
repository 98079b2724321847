package engine

import (
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
)

// A pipeline is named in two ways, and no text is guessed to be one or the other: a method takes a name of the
// catalogue, its twin with File the path of a file. A service has names only; a command line decides by a rule of its
// own.

// Source returns the content of a file that was loaded, for rendering diagnostics.
func (e *Engine) Source(file string) []byte { return e.loader.Source(file) }

// Load reads a pipeline or a template of the catalogue. The document is nil when the diagnostics say that it
// could not be had at all.
func (e *Engine) Load(name string) (*Document, diag.List) { return e.loader.Name(name) }

// LoadFile is Load of a file.
func (e *Engine) LoadFile(path string) (*Document, diag.List) { return e.loader.File(path) }

// LoadTest reads a file that tests a pipeline. The test is nil when the diagnostics
// say that it could not be had at all.
func (e *Engine) LoadTest(file string) (*Test, diag.List) { return e.loader.Test(file) }

// IsTest reports whether a file says that it tests a pipeline.
func (e *Engine) IsTest(file string) bool { return e.loader.Kind(file) == document.KindTest }

// Lint reports what is wrong with a pipeline or template of the catalogue whatever the values of its parameters are.
// Filters of plugins are asked in their own programs.
func (e *Engine) Lint(name string) diag.List { return e.lint(e.Load(name)) }

// LintFile is Lint of a file.
func (e *Engine) LintFile(path string) diag.List { return e.lint(e.LoadFile(path)) }

func (e *Engine) lint(doc *Document, diags diag.List) diag.List {
	if doc == nil {
		return diags
	}
	defer e.host.EndAsked() // no run follows
	return append(diags, plan.Lint(e.config(doc), Inputs{})...).Normalise()
}

func (e *Engine) config(doc *Document) plan.Config {
	return plan.Config{Document: doc, Catalog: e.catalog, Others: e.plugins.offer, CheckFilter: e.filters.Check}
}

// Prepare readies a pipeline of the catalogue for any number of runs: the document is read, its templates merged,
// expressions compiled, references parsed, and settings checked as far as they depend on no run. It is nil when the
// diagnostics have errors. What is wrong with a stage that may be off is told by Bind, when it is on.
func (e *Engine) Prepare(name string) (*Prepared, diag.List) { return e.prepare(e.Load(name)) }

// PrepareFile is Prepare of a file.
func (e *Engine) PrepareFile(path string) (*Prepared, diag.List) { return e.prepare(e.LoadFile(path)) }

func (e *Engine) prepare(doc *Document, diags diag.List) (*Prepared, diag.List) {
	if doc == nil {
		return nil, diags
	}
	if doc.Invalid {
		// Whether its stages are on is not known, nor what they would need.
		return nil, e.lint(doc, diags)
	}
	prepared, more := plan.Prepare(e.config(doc))
	diags = append(diags, more...).Normalise()
	if prepared == nil {
		return nil, diags
	}
	return &Prepared{prepared}, diags
}

// Prepared is a pipeline that is ready to be bound. It does not change, and any number of goroutines may bind it at
// once. It is of the engine that made it.
type Prepared struct{ plan *plan.Prepared }

// Document is the pipeline as it was read: its parameters, columns and limits. It must not be changed.
func (p *Prepared) Document() *Document { return p.plan.Document() }

// Values reads the parameters of one run: their defaults filled in, held against their types and the pipeline's rules.
// They are nil when the diagnostics have errors, which are those that Bind would begin with. Nothing but the parameters
// is needed, so that who asks learns of all mistakes of a request before it is known whose data it is about.
func (p *Prepared) Values(in Inputs) ([]Value, diag.List) { return p.plan.Values(in) }

// Bind makes the plan of one run. It is nil when the diagnostics have errors; List.Problems gives these in the form
// of a service. A run that is given no identifier or start gets a new one, and now. The plan is the
// caller's: nothing in it is shared.
func (p *Prepared) Bind(in Inputs) (*Plan, diag.List) {
	if in.StartedAt.IsZero() {
		in.StartedAt = time.Now()
	}
	if in.RunID == "" {
		in.RunID = NewRunID(p.Document().Metadata.Name, in.StartedAt)
	}
	return p.plan.Bind(in)
}

// NewRunID makes an identifier of a run: the pipeline's name, the time in milliseconds and 8 random hexadecimal digits.
func NewRunID(pipeline string, now time.Time) string { return run.NewID(pipeline, now) }
