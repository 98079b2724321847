package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The codes of pipelines that keep state, and of states.
const (
	// CodeStateSource is the code of a source that cannot go on where an earlier run has ended.
	CodeStateSource = "state.source"
	// CodeStateUnbound is the code of a source whose code does not get the cursor.
	CodeStateUnbound = "state.unbound"
	// CodeStateLimit is the code of a filter that would leave rows out for ever.
	CodeStateLimit = "state.limit"
	// CodeStateOther is the code of a state that is not this pipeline's, or not of these parameters.
	CodeStateOther = "state.other"
	// CodeStateInvalid is the code of a state that cannot be one.
	CodeStateInvalid = "state.invalid"
	// CodeStateSize is the code of a state that would be too large to be kept.
	CodeStateSize = "state.size"
)

// MostState bounds what a State holds besides its value, in bytes of JSON: the values of a run's parameters are in it.
const MostState = 1 << 20

// StateVersion is the version of a State's form.
const StateVersion = 1

// State says how far the runs of a pipeline have come: with the overlap below Value, the next run begins. It is kept by
// whoever runs the pipeline, and replaced by Plan.NextState only when the output has been committed. The zero value is
// that of a pipeline that has not run.
type State struct {
	Version int `json:"version"`
	// Pipeline, Source, Cursor and Type say whose state it is: the pipeline's name, plugin and name of its source, and
	// the column with its type, one of config.CursorTypes.
	Pipeline string `json:"pipeline"`
	Source   string `json:"source"`
	Cursor   string `json:"cursor"`
	Type     string `json:"type"`
	// Inputs are the references that source and filters depend on, and their values: a run with others reads other
	// rows.
	Inputs map[string]string `json:"inputs"`
	// Value is the greatest value of the cursor that was seen, and Zone that of the clocks that show it.
	Value string `json:"value"`
	Zone  string `json:"zone"`
	// Origin says which database the rows came from.
	Origin string `json:"origin"`
	// RunID is the run that came so far, and SavedAt its end.
	RunID   string    `json:"run_id"`
	SavedAt time.Time `json:"saved_at"`
}

// IsZero reports whether nothing has run.
func (s *State) IsZero() bool { return s.Version == 0 && s.Value == "" }

// Check finds what no state can be. It is a *fault.Fault.
func (s *State) Check() error {
	wrong := func(format string, args ...any) error {
		return fault.New(CodeStateInvalid, fault.Usage, "this is no state of a pipeline: %s",
			fmt.Sprintf(format, args...)).
			WithHint("bring the file back from a copy; without one, the next run has to read every row")
	}
	switch {
	case s.IsZero():
		return nil
	case s.Version != StateVersion:
		return wrong("its version is %d, and this program reads version %d", s.Version, StateVersion)
	case s.Pipeline == "" || s.Source == "" || s.Cursor == "" || s.Origin == "":
		return wrong("it does not say whose it is")
	case !slices.Contains(config.CursorTypes, s.Type) || !validCursor(s.Type, s.Value):
		return wrong("its value is no %s", printable(s.Type))
	case s.Zone == "" && (s.Type == config.CursorTimestamp || s.Type == config.CursorDate):
		return wrong("it does not say which clocks show its value")
	}
	return nil
}

// Incremental is what a plan says of the state.
type Incremental struct {
	Cursor  string           `json:"cursor"`
	Type    string           `json:"type"`
	Overlap document.Overlap `json:"overlap"`
	// Kept is false of a run that reads every row, and keeps no state.
	Kept bool `json:"kept"`
	// Last is the greatest value that an earlier run has seen, and From the least one that this run reads. Both are
	// empty where every row is read.
	Last string `json:"last,omitempty"`
	From string `json:"from,omitempty"`

	next State // all but what the run says
}

// incremental makes the part of the plan that is about state. The chain is the stages that are on; a source that takes the
// place of the pipeline's own keeps none.
func (p *planner) incremental(chain []resolved) *Incremental {
	declared := p.config.Document.State
	if p.in.State != nil && declared == nil {
		p.diags.Add(diag.At(p.config.Document.StagesAt, CodeStateOther, "the pipeline keeps no state").
			WithHint("declare state: {cursor: COLUMN} under spec, or run it without one"))
	}
	if declared == nil {
		return nil
	}
	out := &Incremental{Cursor: declared.Cursor, Type: declared.CursorType, Overlap: declared.Overlap}
	if !p.keepsState() {
		return out
	}
	out.Kept = true
	p.checkLimits(chain)
	out.next = State{Version: StateVersion, Pipeline: p.config.Document.Metadata.Name, Cursor: declared.Cursor,
		Type: declared.CursorType, Inputs: p.stateInputs(chain)}
	for _, r := range chain {
		if r.stage.Kind == stage.KindSource && r.manifest != nil {
			out.next.Source = r.manifest.Plugin + "/" + r.manifest.Name
		}
	}
	p.checkSize(&out.next)
	p.checkState(&out.next)
	if !p.in.State.IsZero() {
		out.Last, out.From = p.in.State.Value, p.stateFrom()
	}
	return out
}

// keepsState reports whether this is a run that goes on from another.
func (p *planner) keepsState() bool {
	return p.config.Document.State != nil && p.in.State != nil && p.in.Source == nil && !p.lint
}

// stateFrom is the least value that the run reads; empty in the first one.
func (p *planner) stateFrom() string {
	s := p.in.State
	if s == nil || s.IsZero() || s.Check() != nil || s.Type != p.config.Document.State.CursorType {
		return ""
	}
	return below(s.Type, s.Value, p.config.Document.State.Overlap, s.Zone)
}

// checkSize refuses a run whose state could not be kept when its output is there.
func (p *planner) checkSize(want *State) {
	text, err := json.Marshal(want)
	if size := len(text); err == nil && size > MostState {
		p.diags.Add(diag.At(p.config.Document.State.At, CodeStateSize,
			"the values that source and filters refer to take %d bytes in the state, which holds %d", size, MostState).
			WithHint("give the pipeline smaller ones"))
	}
}

// checkState holds the state that was given against the pipeline.
func (p *planner) checkState(want *State) {
	got := p.in.State
	if got.IsZero() {
		return
	}
	at := p.config.Document.State.At
	if err := got.Check(); err != nil {
		f := fault.From(err)
		p.diags.Add(diag.At(at, f.Code, "%s", f.Message).WithHint("%s", f.Hint))
		return
	}
	other := func(format string, args ...any) {
		p.diags.Add(diag.At(at, CodeStateOther, "the state is not that of this run: %s", fmt.Sprintf(format, args...)).
			WithHint("every pipeline, and every set of its parameters, needs a state of its own; with an empty one, the run reads every row"))
	}
	for _, part := range []struct{ what, got, want string }{
		{"pipeline", got.Pipeline, want.Pipeline}, {"source", got.Source, want.Source},
		{"cursor", got.Cursor, want.Cursor}, {"type", got.Type, want.Type},
	} {
		if part.got != part.want {
			other("its %s is %q, and here it is %q", part.what, printable(part.got), printable(part.want))
			return
		}
	}
	names := maps.Clone(want.Inputs)
	maps.Copy(names, got.Inputs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		mine, here := want.Inputs[name]
		its, there := got.Inputs[name]
		if here != there || mine != its {
			other("%s has another value", printable(name)) // which may be a person's
			return
		}
	}
}

// checkLimits refuses filters that end a run early: what they leave out is below the state, and never read again.
func (p *planner) checkLimits(chain []resolved) {
	for _, r := range chain {
		if r.manifest != nil && r.stage.Kind == stage.KindFilter && r.manifest.FirstParty &&
			r.manifest.Name == limitFilter {
			p.diags.Add(diag.At(r.stage.At, CodeStateLimit,
				"a limit leaves rows out, which a pipeline that keeps state would never read again").
				WithHint("leave it out, or let a run without state have it").
				WithRelated(p.config.Document.State.At, "the state is here"))
		}
	}
}

// limitFilter is the name of the filter that ends a run after some rows.
const limitFilter = "limit"

// stateInputs are the values of the references that source and filters depend on, their conditions included. Those of
// the run itself are other ones each time, and secrets are nobody's to keep.
func (p *planner) stateInputs(chain []resolved) map[string]string {
	inputs := map[string]string{}
	note := func(r part) {
		var value any
		switch r.namespace {
		case "params":
			value = p.params[r.name]
		case "customer":
			value, _ = plainValue(p.customer[r.name])
		case "env":
			if p.in.Env != nil {
				value, _ = p.in.Env(r.name)
			}
		}
		if value != nil {
			inputs[r.String()] = scalarText(value)
		}
	}
	var settings func(s *setting)
	settings = func(s *setting) {
		if s == nil {
			return
		}
		for _, r := range s.parts {
			note(r)
		}
		for _, member := range s.members {
			settings(member)
		}
	}
	rows := func(s *document.Stage) bool { return s.Kind == stage.KindSource || s.Kind == stage.KindFilter }
	for _, r := range chain {
		if !rows(r.stage) || r.prepared == nil {
			continue
		}
		settings(r.prepared.settings)
		for _, m := range r.prepared.mentions {
			note(part{namespace: "params", name: m.name})
		}
	}
	for i, e := range p.whens {
		if e == nil || !rows(p.stages[i].stage) {
			continue
		}
		for _, name := range e.params {
			note(part{namespace: "params", name: name})
		}
	}
	return inputs
}

// fillCursor gives a source the cursor of a pipeline that keeps state.
func (p *planner) fillCursor(of *preparedStage, tree map[string]any) {
	s, state := of.stage, p.config.Document.State
	if of.cursor != "" {
		if written := s.With.Get(of.cursor); written != nil {
			p.diags.Add(diag.At(written.At, CodeFilledIn, "%s %s: %s is filled in where the pipeline keeps state",
				s.Kind, printable(s.Use.Text), of.cursor).
				WithHint("leave it out, and declare state: {cursor: COLUMN} under spec"))
			delete(tree, of.cursor)
		}
	}
	if state == nil || s.Kind != stage.KindSource {
		return
	}
	bound := mentions(s.With, cursorReference)
	switch {
	case of.cursor == "":
		p.diags.Add(diag.At(s.At, CodeStateSource, "source %s cannot go on where an earlier run has ended",
			printable(s.Use.Text)).
			WithHint("take one that can, such as mysql, or leave state out").WithRelated(state.At, "the state is here"))
		return
	case !bound && of.code != nil:
		p.diags.Add(diag.At(of.code.At, CodeStateUnbound,
			"the source's code does not get the cursor, so that every run would read every row").
			WithHint("bind it: write a condition such as %s >= ?, and \"${%s}\" in the place of args that is for it",
				printable(state.Cursor), cursorReference).
			WithRelated(state.At, "the state is here"))
		return
	}
	if !p.keepsState() || state.CursorType == "" {
		return
	}
	cursor := config.Cursor{Column: state.Cursor, Type: state.CursorType, From: p.stateFrom(), Bound: bound}
	if cursor.From != "" {
		cursor.Zone, cursor.Origin = p.in.State.Zone, p.in.State.Origin
	}
	tree[of.cursor] = cursor.Tree()
}

// cursorReference stands for the least value of the cursor that a run reads.
const cursorReference = "state.cursor"

// stateNames are the names of the namespace state.
var stateNames = []string{"cursor"}

// stateValues are the values of ${state.…}.
func (p *planner) stateValues() map[string]any {
	state := p.config.Document.State
	if state == nil || state.CursorType == "" {
		return nil
	}
	from := p.stateFrom()
	if from == "" {
		i := slices.IndexFunc(p.config.Document.Columns, func(c document.Column) bool { return c.Name == state.Cursor })
		from = firstCursor(state.CursorType, p.config.Document.Columns[i].Type)
	}
	if state.CursorType == config.CursorInteger || state.CursorType == config.CursorDecimal {
		return map[string]any{"cursor": json.Number(from)}
	}
	return map[string]any{"cursor": from}
}

// NextState is the state after a run of the plan whose output has been committed: facts are those of its receipt, and
// at is its end. It is nil where the plan keeps none, and where no row was read, so that the one before stays as it
// is.
func (p *Plan) NextState(facts map[string]string, at time.Time) (*State, error) {
	if p.State == nil || !p.State.Kept {
		return nil, nil
	}
	i := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Kind == stage.KindSource })
	id := p.Stages[i].ID + "."
	value, read := facts[id+stage.FactCursor]
	if !read {
		return nil, nil
	}
	next := p.State.next
	next.Value, next.Zone, next.Origin = value, facts[id+stage.FactCursorZone], facts[id+stage.FactCursorOrigin]
	next.RunID, next.SavedAt = p.RunID, at.UTC().Truncate(time.Second)
	if err := next.Check(); err != nil {
		return nil, fault.New(CodeStateInvalid, fault.Internal,
			"the source did not say how far it has come; the state stays as it was, and the next run reads these rows again").
			WithDetail("because", fault.From(err).Message)
	}
	return &next, nil
}
