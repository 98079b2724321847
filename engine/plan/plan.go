// Package plan turns a document into a plan: which stages run, with which
// settings, what flows between them and which share a process. It owns
// parameters, references, expressions, the checks of settings and shapes, and
// process groups. It is a pure function of its input: it reads no file, no
// environment and no clock, and starts nothing; what it cannot know it asks those who plan,
// by Config and Inputs.
//
// # Prepare and Bind
//
// Prepare does, once, everything that depends on the document and the stages alone: expressions are compiled,
// references parsed, settings without references converted and checked. Bind gives the result one run's values. A
// service prepares its catalogue when it starts, and binds for each request.
//
// # References
//
// A value under a stage's `with` may hold references: ${params.NAME},
// ${env.NAME}, ${secret.NAME}, ${customer.NAME}, ${run.NAME} and ${state.cursor}. They are
// resolved on parsed values, so that what they stand for is never read as YAML.
// A value that is exactly one reference keeps the type of what it stands for;
// within other text it becomes text. Either is then converted to the type of the
// setting where its text allows that ("8" for a whole number). $${ is a literal
// ${. What stands in a secret setting is a config.Secret from here on, and a
// secret can stand nowhere else.
//
// A setting that is code (see package config) takes no reference, nor does an expression:
// values are bound to code, and never become a part of it. Secrets have kinds, and go only to
// settings that take their kind; within other text a secret stands as the password of a
// connection's URL: it holds the plain password, which is percent-encoded exactly once, so that
// what looks like an escape in it is part of the password. An environment variable is read
// when whoever plans allows it, and never when it holds a secret.
//
// # Expressions
//
// `when`, the rules and the expressions of stages have one language, plugins/formula. `when` and the rules see params,
// run and customer; a stage is given the values of those parameters that its expressions name.
// A parameter has its declared type, or is null when it was not given; dates are
// text as YYYY-MM-DD, which compares right; decimals are exact. A condition that depends on
// null cannot be decided, whereas in a row NULL decides: a pipeline says what a missing
// parameter means.
//
// # Columns
//
// A pipeline with columns gets the filter "contract" in front of its encoder, or of a sink that
// takes a table, which holds what comes against them, unless it says drift: ignore.
//
// # Bind and Lint
//
// Bind needs all values, decides every `when`, and looks only at the stages
// that are on. Lint needs none: it looks at every stage, and reports what is
// wrong whatever the values are.
package plan

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Isolation says how stages are spread over processes.
type Isolation string

// The isolations.
const (
	// IsolationGroup puts neighbours from one plugin together, except for stages
	// with `isolation: process`. It is the default.
	IsolationGroup Isolation = "group"
	// IsolationStage gives every stage a process of its own.
	IsolationStage Isolation = "stage"
	// IsolationNone runs first-party stages in the host's own process, whatever
	// their `isolation` says. Third-party stages keep to their plugin's process.
	IsolationNone Isolation = "none"
)

// Lookup finds a named value. A nil Lookup means that the namespace is not
// available.
type Lookup func(name string) (value string, ok bool)

// Plan is a pipeline that is ready to run.
type Plan struct {
	Name       string   `json:"name"`
	Title      string   `json:"title,omitempty"`
	Class      string   `json:"class,omitempty"`
	File       string   `json:"file"`
	Extends    []string `json:"extends,omitempty"`
	Parameters []Value  `json:"parameters"`
	Stages     []Stage  `json:"stages"`
	Groups     []Group  `json:"groups"`
	// Secrets says which secret goes where.
	Secrets   []SecretUse       `json:"secrets"`
	Columns   []document.Column `json:"columns,omitempty"`
	Limits    Limits            `json:"limits"`
	Isolation Isolation         `json:"isolation"`
	// State is how far earlier runs have come; nil of a pipeline that keeps no state.
	State       *Incremental `json:"state,omitempty"`
	Description string       `json:"-"`
	// RunID, Log and Traceparent are those of the Inputs.
	RunID       string       `json:"-"`
	Log         *slog.Logger `json:"-"`
	Traceparent string       `json:"-"`

	refers map[string]bool // what the settings of its stages refer to
}

// Value is a parameter and its value: nil, string (also dates), int64, bool or
// json.Number (decimals).
type Value struct {
	Name  string        `json:"name"`
	Type  document.Type `json:"type"`
	Value any           `json:"value"`
	// Given is false when the value is the default.
	Given bool `json:"given"`
}

// Stage is a stage that runs.
type Stage struct {
	// ID is unique in the plan: the stage's own name, or its kind, with a number
	// ("filter-2") where several of that kind run.
	ID         string     `json:"id"`
	Kind       stage.Kind `json:"kind"`
	Plugin     string     `json:"plugin"`
	Name       string     `json:"name"`
	FirstParty bool       `json:"first_party"`
	// Caller is true of the sink that the caller hands to the run. It has neither plugin nor settings.
	Caller bool `json:"caller,omitempty"`
	// Config is the settings: map[string]any, []any, string, bool, int64, uint64,
	// json.Number, nil, and config.Secret wherever the setting is a secret. Its JSON
	// form holds no secrets.
	Config map[string]any `json:"config"`
	In     stage.Shape    `json:"in,omitempty"`
	Out    stage.Shape    `json:"out,omitempty"`
	// KeepsRows and Concurrent are what the stage says about itself.
	KeepsRows  bool `json:"keeps_rows,omitempty"`
	Concurrent bool `json:"concurrent,omitempty"`
	// KeptBytes is the memory that the stage says it may keep, beside the batches that are under way.
	KeptBytes int64         `json:"kept_bytes,omitempty"`
	At        diag.Position `json:"at"`

	ofPlan   bool
	document *document.Stage // as it was read; nil when the plan has added the stage
}

// kept is what a stage of these settings says it may keep.
func kept(m *Manifest, settings map[string]any) int64 {
	if m.Spec == nil {
		return 0
	}
	return m.Spec.Kept(settings)
}

// OfPlan reports whether the author of the pipeline did not write the stage: it was put there when the plan was made.
func (s *Stage) OfPlan() bool { return s.ofPlan }

// Group is consecutive stages that run in one process.
type Group struct {
	Plugin string `json:"plugin"`
	// InHost is true when the group runs in the host's own process.
	InHost bool `json:"in_host,omitempty"`
	// Attach is true when somebody else starts the group's process; see Plan.Attach.
	Attach bool `json:"attach,omitempty"`
	// Stages are indexes in Plan.Stages.
	Stages []int `json:"stages"`
}

// Limits bounds a run. Zero means the engine's default.
type Limits struct {
	MemoryBytes    int64   `json:"memory_bytes,omitempty"`
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
	StallSeconds   float64 `json:"stall_seconds,omitempty"`
	BatchRows      int     `json:"batch_rows,omitempty"`
	BatchBytes     int64   `json:"batch_bytes,omitempty"`
}

// SettingsJSON returns the settings as a JSON object for the plugin, secrets
// revealed and numbers exact. It must reach nothing but the plugin.
func (s *Stage) SettingsJSON() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	tree, _ := reveal(s.Config).(map[string]any)
	if err := e.Encode(tree); err != nil {
		panic("plan: settings hold what JSON cannot: " + err.Error()) // Build made the tree
	}
	return bytes.TrimSpace(b.Bytes())
}

// reveal copies a tree of settings with its secrets as plain text.
func reveal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = reveal(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = reveal(e)
		}
		return out
	case config.Secret:
		return v.Reveal()
	case unknown:
		return nil
	}
	return value
}

// Bind makes a plan of one run's inputs. It is nil when the diagnostics have errors; warnings come
// with a plan, which shares nothing that can be changed with p or with another plan.
func (p *Prepared) Bind(in Inputs) (*Plan, diag.List) {
	return newPlanner(p, in, false).build()
}

// Values is the first part of Bind: the parameters with their defaults, held against their types and the pipeline's
// rules. No stage is looked at, so that a request is answered for its own mistakes before anything else of a run is
// known. When the diagnostics have errors, the values are those that are good by themselves.
func (p *Prepared) Values(in Inputs) ([]Value, diag.List) {
	planner := newPlanner(p, in, false)
	values, _ := planner.values()
	return values, planner.diags.Normalise()
}

// values reads the parameters, and holds them against the rules: all of them or, when parameters are wrong, those that are about
// others. The variables are nil when parameters are wrong.
func (p *planner) values() ([]Value, *formula.Values) {
	values := p.readParameters()
	vars := p.variables(p.params)
	wrong := p.diags.HasErrors()
	p.checkRules(vars, func(e *expression) bool { return !wrong || e.readsOnly(p.params) })
	if wrong {
		return values, nil
	}
	return values, vars
}

func (p *planner) build() (*Plan, diag.List) {
	in, doc := &p.in, p.config.Document
	p.diags = append(p.diags, in.check()...)
	values, vars := p.values()
	if vars == nil {
		return nil, p.diags.Normalise()
	}
	active := p.active(vars)
	if p.diags.HasErrors() {
		return nil, p.diags.Normalise()
	}
	if in.End.wholly() && !slices.ContainsFunc(active, func(s *preparedStage) bool { return s.stage.Kind == stage.KindSink }) {
		active = append(active, &preparedStage{stage: &document.Stage{Kind: stage.KindSink, At: doc.StagesAt}})
	}
	stages := make([]resolved, 0, len(active))
	written := make([]*document.Stage, 0, len(active)+1)
	for _, s := range active {
		var r resolved
		switch {
		case s.stage.Kind == stage.KindSource && in.Source != nil:
			r = p.resolveStandIn(s.stage, *in.Source)
		case p.callers(s):
			r = p.atCaller(s.stage)
		default:
			r = p.resolveStage(s)
		}
		stages, written = append(stages, r), append(written, r.stage)
	}
	encoder := -1
	if in.Encoder != nil && in.End == EndCaller && endsInTable(active) {
		encoder = slices.IndexFunc(stages, func(r resolved) bool { return r.stage.Kind == stage.KindSink })
		r := p.resolveStandIn(&document.Stage{Kind: stage.KindEncoder, At: stages[encoder].stage.At}, *in.Encoder)
		stages, written = slices.Insert(stages, encoder, r), slices.Insert(written, encoder, r.stage)
	}
	incremental := p.incremental(stages)
	if !p.diags.HasErrors() {
		p.checkFilters(stages)
	}
	p.diags = append(p.diags, checkChain(doc.StagesAt, stages)...)
	ids, clashes := identify(written)
	p.diags = append(p.diags, clashes...)
	if p.diags.HasErrors() {
		return nil, p.diags.Normalise()
	}
	plan := &Plan{
		Name: doc.Metadata.Name, Title: doc.Metadata.Title, Class: doc.Metadata.Class, Description: doc.Metadata.Description,
		File: doc.File, Extends: slices.Clone(doc.Extends), Parameters: values, Columns: slices.Clone(doc.Columns), Isolation: in.Isolation,
		State: incremental, Secrets: []SecretUse{}, refers: p.refers, RunID: in.RunID, Log: in.Log, Traceparent: in.Traceparent,
		Limits: Limits{doc.Limits.Memory, doc.Limits.Timeout.Seconds(), doc.Limits.Stall.Seconds(), doc.Limits.BatchRows, doc.Limits.BatchBytes},
	}
	if plan.Isolation == "" {
		plan.Isolation = IsolationGroup
	}
	if in.Timeout != 0 {
		plan.Limits.TimeoutSeconds = max(in.Timeout, 0).Seconds()
	}
	if in.Stall > 0 {
		plan.Limits.StallSeconds = in.Stall.Seconds()
	}
	if own := plan.Limits.MemoryBytes; in.Memory > 0 && (own <= 0 || own > in.Memory) {
		plan.Limits.MemoryBytes = in.Memory
	}
	if !validTraceparent(plan.Traceparent) {
		plan.Traceparent = ""
	}
	for i, s := range stages {
		m := s.manifest
		plan.Stages = append(plan.Stages, Stage{ID: ids[i], Kind: m.Kind, Plugin: m.Plugin, Name: m.Name, FirstParty: m.FirstParty, Caller: m == in.End.manifest(),
			Config: s.config, In: m.In, Out: m.Out, KeepsRows: m.KeepsRows, Concurrent: m.Concurrent, KeptBytes: kept(m, s.config),
			At: s.stage.At, ofPlan: i == encoder, document: s.stage})
		for _, use := range s.secrets {
			use.Stage = ids[i]
			plan.Secrets = append(plan.Secrets, use)
		}
	}
	if at, ok := p.addContract(plan); ok {
		written = slices.Insert(written, at, &document.Stage{Isolation: document.IsolationGroup})
	}
	if p.diags.HasErrors() {
		return nil, p.diags.Normalise()
	}
	plan.Groups = group(plan.Stages, written, plan.Isolation)
	return plan, p.diags.Normalise()
}

// Lint reports what is wrong with a document whatever the values are. It never
// reports what is right for some values. Of the inputs only SecretEnv and SecretKinds are
// looked at. The document may be broken: the rest is checked.
func Lint(c Config, in Inputs) diag.List {
	prepared, diags := prepare(c)
	p := newPlanner(prepared, in, true)
	p.diags = diags
	doc := c.Document
	stages := make([]resolved, 0, len(doc.Stages))
	for _, s := range p.stages {
		stages = append(stages, p.resolveStage(s))
	}
	if doc.State != nil {
		var always []resolved
		for i, r := range stages {
			if p.whens[i] == nil {
				always = append(always, r)
			}
		}
		p.checkLimits(always)
	}
	if !doc.Invalid {
		p.checkFilters(stages)
	}
	if doc.Kind == document.KindPipeline && !doc.Invalid && !p.diags.HasErrors() {
		p.lintChain(stages)
	}
	return p.diags.Normalise()
}

// group spreads a chain of stages over processes.
func group(stages []Stage, written []*document.Stage, isolation Isolation) []Group {
	var groups []Group
	alone := func(i int) bool {
		return isolation == IsolationStage || isolation == IsolationGroup && written[i].Isolation == document.IsolationProcess
	}
	for i, s := range stages {
		if last := len(groups) - 1; last >= 0 && groups[last].Plugin == s.Plugin && !alone(i) && !alone(i-1) {
			groups[last].Stages = append(groups[last].Stages, i)
			continue
		}
		if last := len(groups) - 1; s.Caller && last >= 0 && groups[last].InHost {
			groups[last].Stages = append(groups[last].Stages, i)
			continue
		}
		groups = append(groups, Group{Plugin: s.Plugin, InHost: s.Caller || isolation == IsolationNone && s.FirstParty, Stages: []int{i}})
	}
	return groups
}
