// Package engine is the façade for embedding CipherStream: load a pipeline, lint
// it, plan it, run it. It owns no logic of its own; the packages below it do:
// document, plan, host and run. It has no globals: everything that a run depends
// on is in the Config and the Request.
package engine

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/budget"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Config is what an engine is made of.
type Config struct {
	// FirstParty is the stages of this program, and Args the arguments with which
	// the program serves them as a plugin. Executable is the program's file;
	// default this process's own.
	FirstParty stage.Bundle
	Args       []string
	Executable string
	// Catalogue holds the pipelines and templates that are known by name.
	Catalogue fs.FS
	// PluginDir holds plugins.lock and third-party plugins. Empty means none.
	PluginDir string
	// Warm is how many processes of the first-party stages are kept started in advance, and of
	// each third-party plugin from its first use on. Default none. A run that finds none ready
	// starts its own at once. Each has about 10 MiB.
	Warm int
	// WarmAge is how long such a process may stand ready before it is ended. Default 15 minutes.
	WarmAge time.Duration
	// Budget is shared by all runs: each has to acquire what run.Memory says of its plan before
	// its processes are started, waits for it as long as it must, and gives it back when they
	// are gone. The time limit of a run begins after that. A plan that needs more than the
	// whole is refused with budget.CodeTooLarge. Processes that stand ready (Warm) are not
	// counted until a run has them. Default none: runs take what they need.
	Budget *budget.Budget
	// PluginMemory is the resident memory, in bytes, at which a plugin process is
	// ended. Default 1 GiB.
	PluginMemory int64
	// PluginCPUs is how many cores a plugin process may use. Default all.
	PluginCPUs int
	// StrictIsolation refuses to start third-party plugins that the system cannot
	// confine. By default they are started, and Log receives a warning.
	StrictIsolation bool
	// Log receives what plugin processes write to their standard error. Default
	// nowhere.
	Log *slog.Logger
}

// Engine loads, lints, plans and runs pipelines. It is safe for concurrent use.
type Engine struct {
	loader  *document.Loader
	host    *host.Host
	catalog plan.Catalog
	offers  []host.Offer
	filters *run.FilterChecker
	budget  *budget.Budget
}

// New makes an engine. Third-party plugins of the lock file are started once, to
// learn what they offer. Close it when no run is going on.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	h, err := host.New(host.Config{
		FirstParty: cfg.FirstParty, Executable: cfg.Executable, Args: cfg.Args,
		PluginDir: cfg.PluginDir, Warm: cfg.Warm, WarmAge: cfg.WarmAge, MemoryLimit: cfg.PluginMemory, CPUs: cfg.PluginCPUs, StrictIsolation: cfg.StrictIsolation,
		Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	offers, err := h.Offers(ctx)
	if err != nil {
		h.Close()
		return nil, err
	}
	e := &Engine{loader: &document.Loader{Catalogue: cfg.Catalogue}, host: h, offers: offers, filters: run.NewFilterChecker(h), budget: cfg.Budget}
	for _, o := range offers {
		for _, m := range o.Stages {
			manifest := plan.Manifest{
				Plugin: o.Plugin, FirstParty: o.FirstParty, Kind: m.Kind, Name: m.Name, Summary: m.Summary, Doc: m.Doc,
				In: m.In, Out: m.Out, Spec: m.Spec, Concurrent: m.Concurrent, KeepsRows: m.KeepsRows,
			}
			if d, ok := cfg.FirstParty.Find(m.Kind, m.Name); ok && o.FirstParty && m.Kind == stage.KindFilter {
				manifest.Make = plan.Maker(d)
			}
			e.catalog = append(e.catalog, manifest)
		}
	}
	return e, nil
}

// Close ends warm processes and removes the engine's private directory.
func (e *Engine) Close() error {
	e.filters.Close()
	return e.host.Close()
}

// NewDir makes a private directory, mode 0700, whose path is short enough for unix
// sockets in it. Close removes it; when this process dies, a later engine does.
func (e *Engine) NewDir() (string, error) { return e.host.NewDir() }

// Names lists the pipelines of the catalogue, sorted.
func (e *Engine) Names() []string { return e.loader.Names() }

// Plugins lists the plugins and their stages, first-party first.
func (e *Engine) Plugins() []host.Offer { return e.offers }

// Schema describes pipelines, templates and tests for editors as a JSON Schema, with the
// settings of every stage that is known here, ready for json.Marshal.
func (e *Engine) Schema() map[string]any {
	type key struct {
		kind stage.Kind
		name string
	}
	offered := map[key]int{}
	for _, m := range e.catalog {
		offered[key{m.Kind, m.Name}]++
	}
	var stages []document.StageSchema
	for _, m := range e.catalog {
		// A name that several plugins offer is the one of this program.
		plain := m.FirstParty || offered[key{m.Kind, m.Name}] == 1
		stages = append(stages, document.StageSchema{Kind: m.Kind, Plugin: m.Plugin, Name: m.Name, Plain: plain,
			Summary: m.Summary, Settings: m.Spec.JSONSchema()})
	}
	return document.Schema(stages)
}

// Source returns the content of a file that was loaded, for rendering diagnostics.
func (e *Engine) Source(file string) []byte { return e.loader.Source(file) }

// Load reads a pipeline: a name of the catalogue, or a path, which holds a
// separator or ends in .yaml or .yml. The document is nil when the diagnostics
// say that it could not be had at all.
func (e *Engine) Load(pipeline string) (*document.Document, diag.List) {
	ext := filepath.Ext(pipeline)
	if ext == ".yaml" || ext == ".yml" || strings.ContainsRune(pipeline, filepath.Separator) {
		return e.loader.File(pipeline)
	}
	return e.loader.Name(pipeline)
}

// LoadTest reads a file that tests a pipeline. The test is nil when the diagnostics
// say that it could not be had at all.
func (e *Engine) LoadTest(file string) (*document.Test, diag.List) { return e.loader.Test(file) }

// Lint reports what is wrong with a pipeline or template whatever the values of
// its parameters are. Filters of plugins are asked in their own programs.
func (e *Engine) Lint(pipeline string) diag.List {
	doc, diags := e.Load(pipeline)
	if doc == nil {
		return diags
	}
	return append(diags, plan.Lint(plan.Input{Document: doc, Catalog: e.catalog, CheckFilter: e.filters.Check})...).Tidy()
}

// Request says what to run and with which values.
type Request struct {
	// Pipeline is a name or a path, as for Load.
	Pipeline string
	// Parameters are given as text or as decoded JSON values; nil is not given.
	Parameters map[string]any
	// Env and Secrets answer ${env.…} and ${secret.…}; nil means that the
	// namespace is not available.
	Env, Secrets plan.Lookup
	// EnvAllowed are the environment variables that the pipeline may read; default none.
	// Those that hold secrets it never may: SecretEnv, and what is called like one.
	EnvAllowed, SecretEnv []string
	// SecretKinds are the kinds of secrets that plan.KnownSecrets does not have. One whose
	// kind is not given takes that of the settings that it goes to.
	SecretKinds map[string]config.SecretKind
	// Customer and Run answer ${customer.…} and ${run.…}.
	Customer, Run map[string]any
	// Hint says how to provide a reference that is missing.
	Hint func(reference string) string
	// Isolation spreads the stages over processes; default plan.IsolationGroup.
	Isolation plan.Isolation
	// Timeout is the time limit of the run, and Stall that of one call of a stage, instead
	// of the pipeline's own: limits.timeout and limits.stall. Zero leaves those, and a
	// negative Timeout is no limit. A run that reaches its limit ends with the code
	// "run.timeout", a cancelled one with "run.cancelled". The time is the wall's, whether or
	// not this process ran.
	Timeout, Stall time.Duration
	// StandIns take the places of stages, for tests of pipelines.
	StandIns map[stage.Kind]plan.StandIn
}

// Plan resolves a request. The plan is nil when the diagnostics have errors.
func (e *Engine) Plan(r Request) (*plan.Plan, diag.List) {
	doc, diags := e.Load(r.Pipeline)
	if doc == nil {
		return nil, diags
	}
	in := plan.Input{
		Document: doc, Catalog: e.catalog, Parameters: r.Parameters, Env: r.Env, Secrets: r.Secrets,
		EnvAllowed: r.EnvAllowed, SecretEnv: r.SecretEnv, SecretKinds: r.SecretKinds,
		Customer: r.Customer, Run: r.Run, Hint: r.Hint, Isolation: r.Isolation, StandIns: r.StandIns,
		CheckFilter: e.filters.Check,
	}
	if doc.Broken {
		// Whether its stages are on is not known, nor what they would need.
		in.Customer, in.Run = nil, nil
		return nil, append(diags, plan.Lint(in)...).Tidy()
	}
	p, more := plan.Build(in)
	diags = append(diags, more...).Tidy()
	if diags.HasErrors() {
		return nil, diags
	}
	if r.Timeout != 0 {
		p.Limits.TimeoutSeconds = max(r.Timeout, 0).Seconds()
	}
	if r.Stall > 0 {
		p.Limits.StallSeconds = r.Stall.Seconds()
	}
	return p, diags
}

// RunOptions are what a plan does not say.
type RunOptions struct {
	// ID identifies the run; default run.NewID.
	ID string
	// Events receives the run's events, one at a time.
	Events func(run.Event)
	// Record is a folder, new or empty, that keeps what crosses from one process to the
	// next: the data of the run, as it is. Empty keeps nothing. See run.Record.
	Record string
}

// Run executes a plan to its end. The error is a *fault.Fault. When ctx ends, the
// run is cancelled and cleans up.
func (e *Engine) Run(ctx context.Context, p *plan.Plan, o RunOptions) (*run.Receipt, error) {
	if o.ID == "" {
		o.ID = run.NewID(p.Name, time.Now())
	}
	if e.budget != nil {
		release, err := e.budget.Acquire(ctx, run.Memory(e.host, p))
		if err != nil {
			return nil, fault.From(err)
		}
		defer release()
	}
	e.filters.Close() // a run has the machine's memory to itself
	return run.Execute(ctx, e.host, p, run.Options{ID: o.ID, Events: o.Events, Record: o.Record})
}

// Check says everything that is wrong with a plan before it runs, and reads no row. See
// run.Check.
func (e *Engine) Check(ctx context.Context, p *plan.Plan, o RunOptions) (*run.CheckReport, error) {
	if o.ID == "" {
		o.ID = run.NewID(p.Name, time.Now())
	}
	return run.Check(ctx, e.host, p, o.ID)
}
