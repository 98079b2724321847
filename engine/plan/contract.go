package plan

import (
	"fmt"
	"slices"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// CodeNoContract says that the filter "contract" is missing in this program.
const CodeNoContract = "plan.no_contract"

// contractStage is the first-party filter that checks that the rows have the columns of the pipeline.
const contractStage = "contract"

// addContract puts that filter in front of the encoder, or of the sink that takes a table, and returns its index. It
// adds none to a pipeline without columns, with drift: ignore, or without such a stage.
func (p *planner) addContract(plan *Plan) (int, bool) {
	doc := p.config.Document
	at := slices.IndexFunc(plan.Stages, func(s Stage) bool { return endsTable(s.Kind, s.In) })
	if len(doc.Columns) == 0 || doc.Drift == document.DriftIgnore || at < 0 {
		return 0, false
	}
	i := slices.IndexFunc(p.config.Catalog, func(m Manifest) bool {
		return m.FirstParty && m.Kind == stage.KindFilter && m.Name == contractStage
	})
	if i < 0 {
		p.diags.Add(diag.At(doc.Columns[0].At, CodeNoContract, "the pipeline has columns, and no filter %q is there to hold the data against them", contractStage).
			WithHint("this program lacks a first-party stage; drift: ignore leaves the check out"))
		return 0, false
	}
	m := &p.config.Catalog[i]
	id := contractStage
	for n := 2; slices.ContainsFunc(plan.Stages, func(s Stage) bool { return s.ID == id }); n++ {
		id = fmt.Sprintf("%s-%d", contractStage, n)
	}
	plan.Stages = slices.Insert(plan.Stages, at, Stage{
		ID: id, Kind: m.Kind, Plugin: m.Plugin, Name: m.Name, FirstParty: m.FirstParty, In: m.In, Out: m.Out,
		KeepsRows: m.KeepsRows, Concurrent: m.Concurrent, At: doc.Columns[0].At, ofPlan: true,
		Config: map[string]any{"columns": clone(p.columns), "policy": string(doc.Drift)},
	})
	return at, true
}

// contractColumns are columns as the settings of that filter.
func contractColumns(columns []document.Column) []any {
	out := make([]any, len(columns))
	for i, c := range columns {
		out[i] = map[string]any{"name": c.Name, "type": c.Type.String(), "nullable": c.Nullable}
	}
	return out
}

// endsTable reports whether a stage takes a table and gives none: an encoder, or a sink of rows.
func endsTable(kind stage.Kind, in stage.Shape) bool {
	return kind == stage.KindEncoder || kind == stage.KindSink && in == stage.ShapeTable
}

// StandIn is a stage that the caller puts into a pipeline: a source in place of the pipeline's own, or an encoder.
type StandIn struct {
	// Use names the stage as in a pipeline, and Config is its settings, as in Stage.
	Use    string
	Config map[string]any
}

// resolveStandIn resolves a stand-in at the place of s. Of what the pipeline says about s only its name and position
// are used.
func (p *planner) resolveStandIn(s *document.Stage, in StandIn) resolved {
	use := &document.Node{Kind: document.Text, Text: in.Use, Value: in.Use, At: s.At}
	taken := &document.Stage{Kind: s.Kind, Use: use, Isolation: document.IsolationGroup, Name: s.Name, At: s.At}
	r := resolved{stage: taken, config: in.Config}
	m, problem := p.config.find(taken)
	if problem != nil {
		p.diags.Add(*problem)
		return r
	}
	r.manifest = m
	shadow, _ := reveal(in.Config).(map[string]any)
	for _, problem := range m.Spec.Check(shadow) {
		p.settingsProblem(p.config.Document, taken, in.Config, problem)
	}
	return r
}
