// Package engine is the façade for embedding CipherStream, and the one package of engine/ that an embedder imports,
// beside engine/diag and engine/document: prepare a pipeline once, bind it to one run's inputs, run the plan.
//
//	e, err := engine.New(ctx, engine.Config{FirstParty: stages, Catalogue: pipelines})
//	prepared, diags := e.Prepare("appointments")         // when the service starts
//	plan, diags := prepared.Bind(engine.Inputs{…})       // for each request
//	receipt, err := e.Run(ctx, plan, sink, engine.RunOptions{})
//
// It owns no logic of its own; the packages below it do: document, plan, host and run. It has no globals: everything
// that a run depends on is in the Config and the Inputs.
package engine

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/budget"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
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
	// NoFiles refuses every pipeline and test that is a file: the engine knows what the catalogue has, and opens no
	// path, whatever it is asked for. A service whose callers name pipelines sets it.
	NoFiles bool
	// Open opens the files that pipelines and tests of them are read from; default os.Open. An editor's server gives the
	// text that is being edited.
	Open func(path string) (fs.File, error)
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

// Engine prepares, lints and runs pipelines. It is safe for concurrent use.
type Engine struct {
	loader  *document.Loader
	host    *host.Host
	catalog plan.Catalog // of the stages of this program
	plugins *plugins
	filters *run.FilterChecker
	budget  *budget.Budget
}

// New makes an engine. It starts no plugin: a third-party plugin of the lock file is started once, when a pipeline may
// need it, to learn what it offers. One that is broken or does not answer fails and delays only what asks for it. Ctx
// is for the life of the engine: when it has ended, no plugin is asked any more. Close the engine when no run is going
// on.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	h, err := host.New(host.Config{
		FirstParty: cfg.FirstParty, Executable: cfg.Executable, Args: cfg.Args,
		PluginDir: cfg.PluginDir, Warm: cfg.Warm, WarmAge: cfg.WarmAge, MemoryLimit: cfg.PluginMemory, CPUs: cfg.PluginCPUs, StrictIsolation: cfg.StrictIsolation,
		Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return &Engine{
		loader: &document.Loader{Catalogue: cfg.Catalogue, NoFiles: cfg.NoFiles, Open: cfg.Open}, host: h, catalog: plan.FromBundle(cfg.FirstParty, true),
		plugins: newPlugins(ctx, h), filters: run.NewFilterChecker(h), budget: cfg.Budget,
	}, nil
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

// Templates lists the templates of the catalogue, sorted.
func (e *Engine) Templates() []string { return e.loader.Templates() }

// Plugins lists the plugins that work and their stages, first-party first. All are asked that were not yet.
func (e *Engine) Plugins() []Offer { return append([]Offer{e.host.OwnOffer()}, e.plugins.offers()...) }

// Schema describes pipelines, templates and tests for editors as a JSON Schema, with the
// settings of every stage that is known here, ready for json.Marshal.
func (e *Engine) Schema() map[string]any {
	type key struct {
		kind stage.Kind
		name string
	}
	others, _ := e.plugins.offer("")
	all := slices.Concat(e.catalog, others)
	offered := map[key]int{}
	for _, m := range all {
		offered[key{m.Kind, m.Name}]++
	}
	var stages []document.StageSchema
	for _, m := range all {
		// A name that several plugins offer is the one of this program.
		plain := m.FirstParty || offered[key{m.Kind, m.Name}] == 1
		stages = append(stages, document.StageSchema{Kind: m.Kind, Plugin: m.Plugin, Name: m.Name, Plain: plain,
			Summary: m.Summary, Settings: m.Spec.JSONSchema()})
	}
	return document.Schema(stages)
}

// RunOptions are what a plan does not say.
type RunOptions struct {
	// Events receives the run's events, one at a time.
	Events func(Event)
	// BeforeCommit, if set, is asked before the output is committed, whoever's the sink is. An error leaves
	// nothing. See run.Options.
	BeforeCommit func(ctx context.Context, soFar *Receipt) error
	// Record is a folder, new or empty, that keeps what crosses from one process to the
	// next: the data of the run, as it is. Empty keeps nothing. See record.Record.
	Record string
}

// Run executes a plan to its end. Sink is where the output goes when the plan ends at the caller (Inputs.End): a Sink,
// or for plan.EndCallerTable a TableSink; nil when it ends in a sink of its own. When ctx ends, the run is cancelled
// and cleans up.
//
// The error is a *fault.Fault. With it comes the receipt so far, never nil: what was read, counted and used until
// then. A time limit and a deadline of ctx end the run with "run.timeout", any other end of ctx with "run.cancelled".
func (e *Engine) Run(ctx context.Context, p *Plan, sink AnySink, o RunOptions) (*Receipt, error) {
	if e.budget != nil {
		release, err := e.budget.Acquire(ctx, e.Memory(p))
		if err != nil {
			return &Receipt{RunID: p.RunID, Pipeline: p.Name}, fault.From(err)
		}
		defer release()
	}
	e.filters.Yield(p)
	options := run.Options{ID: p.RunID, Sink: sink, BeforeCommit: o.BeforeCommit, Events: logged(ctx, p, o.Events)}
	if o.Record != "" {
		options.Tap = record.New(o.Record)
	}
	return run.Execute(ctx, e.host, p, options)
}

// Repeatable reports whether a run that ended with err may be run again with the same inputs and another RunID, without
// a second output or anything left of the first: see run.Repeatable.
func Repeatable(err error) bool { return run.Repeatable(err) }

// Memory is what the processes of a plan take, in bytes, when they use what they are given: what Run acquires of a
// Budget, for whoever admits runs himself. See run.Memory.
func (e *Engine) Memory(p *Plan) int64 { return run.Memory(e.host, p) }

// logged gives what stages log to the plan's log as well.
func logged(ctx context.Context, p *Plan, events func(Event)) func(Event) {
	if p.Log == nil {
		return events
	}
	return func(event Event) {
		if line, ok := event.(LogLine); ok {
			attributes := []slog.Attr{slog.String("run_id", p.RunID), slog.String("stage", line.Stage)}
			for _, key := range slices.Sorted(maps.Keys(line.Attributes)) {
				attributes = append(attributes, slog.String(key, line.Attributes[key]))
			}
			p.Log.LogAttrs(ctx, slog.Level(line.Level), line.Message, attributes...)
		}
		if events != nil {
			events(event)
		}
	}
}

// Check says everything that is wrong with a plan before it runs, and reads no row. See
// run.Check.
func (e *Engine) Check(ctx context.Context, p *Plan) (*CheckReport, error) {
	return run.Check(ctx, e.host, p, p.RunID)
}

// UndoLeftovers ends what runs of engines that have died left at a place, such as unfinished uploads to a bucket, and
// returns how much that was. The place is what the settings of a stage of this program name.
func (e *Engine) UndoLeftovers(ctx context.Context, kind stage.Kind, name string,
	settings map[string]any) (undone int, err error) {
	return run.UndoLeftovers(ctx, e.host, plan.Stage{ID: string(kind), Kind: kind, Plugin: e.host.OwnOffer().Plugin, Name: name, FirstParty: true, Config: settings})
}
