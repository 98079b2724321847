package plan

import (
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// End says whose the last stage of a plan is.
type End string

const (
	// EndPipeline keeps the sink that the pipeline names. It is the default.
	EndPipeline End = ""
	// EndOutput replaces a sink that writes to ${run.output} by the caller's; ${run.output} needs no value then. A sink
	// that writes elsewhere is kept.
	EndOutput End = "output"
	// EndCaller replaces the pipeline's sink, whatever it is, by the caller's. The settings of the replaced sink are
	// not checked, and what they refer to need not be given.
	EndCaller End = "caller"
	// EndCallerTable is EndCaller with a sink that takes a table (stage.TableSink): the pipeline's stages must give
	// one, so it has no encoder.
	EndCallerTable End = "caller-table"
)

// CallerSink is the Stage.Name of the caller's sink.
const CallerSink = "caller"

// outputReference is the reference by which a sink leaves the place of the output to the caller.
const outputReference = "run.output"

// callerManifest and callerTableManifest describe the caller's sink.
var (
	callerManifest      = Manifest{Kind: stage.KindSink, Name: CallerSink, In: stage.ShapeBytes}
	callerTableManifest = Manifest{Kind: stage.KindSink, Name: CallerSink, In: stage.ShapeTable}
)

// wholly reports whether the caller's sink takes the place of whatever sink there is.
func (e End) wholly() bool { return e == EndCaller || e == EndCallerTable }

// manifest is that of the caller's sink.
func (e End) manifest() *Manifest {
	if e == EndCallerTable {
		return &callerTableManifest
	}
	return &callerManifest
}

// EndsAtCaller reports whether the last stage is a sink that the caller hands to the run.
func (p *Plan) EndsAtCaller() bool { return len(p.Stages) > 0 && p.Stages[len(p.Stages)-1].Caller }

// OnlyCaller reports whether a group of the plan is the caller's sink and nothing else.
func (p *Plan) OnlyCaller(g Group) bool { return len(g.Stages) == 1 && p.Stages[g.Stages[0]].Caller }

// Refers reports whether a stage that is on refers to something, such as "run.output".
func (p *Plan) Refers(reference string) bool { return p.refers[reference] }

// callers reports whether the caller's sink replaces a stage.
func (p *planner) callers(s *preparedStage) bool {
	if s.stage.Kind != stage.KindSink {
		return false
	}
	return p.in.End.wholly() || p.in.End == EndOutput && s.toOutput
}

// atCaller resolves a sink that the caller's replaces.
func (p *planner) atCaller(s *document.Stage) resolved {
	if p.in.End == EndOutput {
		p.refers[outputReference] = true
	}
	taken := *s
	taken.With, taken.Isolation = nil, document.IsolationGroup
	if taken.Use == nil {
		taken.Use = &document.Node{Kind: document.Text, Text: CallerSink, Value: CallerSink, At: s.At}
	}
	return resolved{stage: &taken, manifest: p.in.End.manifest(), config: map[string]any{}}
}

// endsInTable reports whether the stages that are on give rows to a sink that takes a table: there is no encoder, and
// no sink that is known to take bytes.
func endsInTable(active []*preparedStage) bool {
	return !slices.ContainsFunc(active, func(s *preparedStage) bool {
		switch s.stage.Kind {
		case stage.KindEncoder:
			return true
		case stage.KindSink:
			return s.manifest != nil && s.manifest.In != stage.ShapeTable
		}
		return false
	})
}

// mentions reports whether settings hold a reference.
func mentions(n *document.Node, reference string) bool {
	if n == nil {
		return false
	}
	switch n.Kind {
	case document.Map:
		return slices.ContainsFunc(n.Entries, func(e document.Entry) bool { return mentions(e.Value, reference) })
	case document.List:
		return slices.ContainsFunc(n.Items, func(item *document.Node) bool { return mentions(item, reference) })
	case document.Text:
		if strings.Contains(n.Text, "${") {
			parts := parseReferences(n.Text, func(int, int, string) {})
			return slices.ContainsFunc(parts, func(r part) bool { return r.namespace != "" && r.String() == reference })
		}
	}
	return false
}
