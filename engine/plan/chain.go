package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The codes of stages that do not make a chain.
const (
	CodeNoSource      = "plan.no_source"
	CodeNoSink        = "plan.no_sink"
	CodeTwoSources    = "plan.two_sources"
	CodeTwoSinks      = "plan.two_sinks"
	CodeSourceFirst   = "plan.source_not_first"
	CodeSinkLast      = "plan.sink_not_last"
	CodeShape         = "plan.shape"
	CodeDuplicateName = "plan.duplicate_stage_name"
)

// checkChain checks that stages follow one another: one source first, one sink
// last, and every stage taking what the one before it gives.
func checkChain(at diag.Position, chain []resolved) diag.List {
	var out diag.List
	out = append(out, checkEnds(at, chain)...)
	wrong := 0 // the last stage that did not fit: the next one is not compared with it
	for i := 1; i < len(chain); i++ {
		before, after := chain[i-1], chain[i]
		if wrong > 0 && wrong == i-1 || before.manifest == nil || after.manifest == nil || after.stage.Kind == stage.KindSource || before.stage.Kind == stage.KindSink {
			continue
		}
		if !after.manifest.In.Accepts(before.manifest.Out) {
			out.Add(shapeProblem(before, after))
			wrong = i
		}
	}
	return out
}

func checkEnds(at diag.Position, chain []resolved) diag.List {
	var out diag.List
	first := map[stage.Kind]int{}
	for i, r := range chain {
		kind := r.stage.Kind
		if kind != stage.KindSource && kind != stage.KindSink {
			continue
		}
		j, again := first[kind]
		switch {
		case again && kind == stage.KindSource:
			out.Add(diag.At(r.stage.At, CodeTwoSources, "a pipeline has one source; this is another").
				WithHint("switch all but one off with `when`").WithRelated(chain[j].stage.At, "the first one is here"))
			continue
		case again:
			out.Add(diag.At(r.stage.At, CodeTwoSinks, "a pipeline has one sink; this is another").
				WithHint("switch all but one off with `when`").WithRelated(chain[j].stage.At, "the first one is here"))
			continue
		case kind == stage.KindSource && i > 0:
			out.Add(diag.At(r.stage.At, CodeSourceFirst, "the source must come first, but %s stands before it", title(chain[0])).
				WithHint("put the key source first").WithRelated(chain[0].stage.At, "this stands before it"))
		case kind == stage.KindSink && i < len(chain)-1:
			last := chain[len(chain)-1]
			if last.stage.Kind != stage.KindSink {
				out.Add(diag.At(r.stage.At, CodeSinkLast, "the sink must come last, but %s comes after it", title(last)).
					WithHint("put the key sink last").WithRelated(last.stage.At, "this comes after it"))
			}
		}
		first[kind] = i
	}
	if _, ok := first[stage.KindSource]; !ok {
		out.Add(diag.At(at, CodeNoSource, "no source is switched on").WithHint("a pipeline starts with one, such as source: {use: mysql, …}"))
	}
	if _, ok := first[stage.KindSink]; !ok {
		out.Add(diag.At(at, CodeNoSink, "no sink is switched on").WithHint("a pipeline ends with one, such as sink: {use: stream, …}"))
	}
	return out
}

// title names a stage in a message.
func title(r resolved) string { return fmt.Sprintf("%s %q", r.stage.Kind, r.stage.Use.Text) }

var shapeNames = map[stage.Shape]string{
	stage.ShapeTable: "a table", stage.ShapeRecords: "records", stage.ShapeBytes: "bytes", stage.ShapeNone: "nothing",
}

func shapeProblem(before, after resolved) diag.Diagnostic {
	out, in := before.manifest.Out, after.manifest.In
	place := fmt.Sprintf("line %d", before.stage.At.Line)
	if before.stage.At.File != after.stage.At.File {
		place = before.stage.At.String()
	}
	d := diag.At(after.stage.At, CodeShape, "%s takes %s, but %s before it (%s) gives %s",
		title(after), shapeNames[in], title(before), place, shapeNames[out]).
		WithRelated(before.stage.At, "%s gives %s", title(before), shapeNames[out])
	switch {
	case in == stage.ShapeTable && after.stage.Kind == stage.KindSink:
		return d.WithHint("%s takes rows as they are: leave out the encoder and what follows it", title(after))
	case in == stage.ShapeTable:
		return d.WithHint("put the %s before the encoder: the order of the keys under stages is the order of the stages", after.stage.Kind)
	case out == stage.ShapeTable:
		return d.WithHint("put an encoder between the two")
	case in == stage.ShapeRecords:
		return d.WithHint("%s works on single records: put it right after an encoder of lines, such as ndjson",
			title(after))
	}
	return d
}

// identify gives every stage of a plan its ID, and reports those that clash.
func identify(active []*document.Stage) ([]string, diag.List) {
	var out diag.List
	number := map[stage.Kind]int{}
	count := map[stage.Kind]int{}
	for _, s := range active {
		count[s.Kind]++
	}
	owner := map[string]*document.Stage{}
	ids := make([]string, len(active))
	for i, s := range active {
		number[s.Kind]++
		ids[i] = string(s.Kind)
		if count[s.Kind] > 1 {
			ids[i] = fmt.Sprintf("%s-%d", s.Kind, number[s.Kind])
		}
		at := s.At
		if s.Name != nil {
			ids[i], at = s.Name.Text, s.Name.At
		}
		if other := owner[ids[i]]; other != nil {
			out.Add(diag.At(at, CodeDuplicateName, "two stages are called %q", ids[i]).
				WithHint("give this one another name").WithRelated(other.At, "the other one is here"))
		}
		owner[ids[i]] = s
	}
	return ids, out
}

// lintChain checks the chain for all values of the parameters. Where the
// conditions depend on a few parameters with few values each, every combination
// is tried; otherwise only what is wrong in all cases is reported.
func (p *planner) lintChain(stages []resolved) {
	for _, r := range stages {
		if r.manifest == nil {
			return
		}
	}
	if cases, ok := p.cases(); ok {
		p.lintCases(stages, cases)
		return
	}
	p.lintReachable(stages)
}

// maxCases bounds the combinations of parameters that Lint tries.
const maxCases = 1024

// cases lists all combinations of the parameters that the conditions read. It fails when there are too many, and when a
// rule that reads other parameters as well may exclude some of them.
func (p *planner) cases() ([]map[string]any, bool) {
	cases := []map[string]any{{}}
	var names []string
	for _, e := range p.whens {
		if e == nil {
			continue
		}
		if e.dynamic {
			return nil, false
		}
		for _, name := range e.params {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		domain := p.domain(name)
		if domain == nil || len(cases)*len(domain) > maxCases {
			return nil, false
		}
		var more []map[string]any
		for _, c := range cases {
			for _, v := range domain {
				next := maps.Clone(c)
				next[name] = v
				more = append(more, next)
			}
		}
		cases = more
	}
	for _, e := range p.rules {
		read, known := false, !e.dynamic
		for _, name := range e.params {
			in := slices.Contains(names, name)
			read, known = read || in, known && in
		}
		if read && !known || e.dynamic {
			return nil, false
		}
	}
	return cases, true
}

// domain lists the values that a parameter can have: those allowed, or those of a boolean. It is nil for any other
// parameter.
func (p *planner) domain(name string) []any {
	for i := range p.config.Document.Parameters {
		d := &p.config.Document.Parameters[i]
		if d.Name != name {
			continue
		}
		values := slices.Clone(d.Allowed)
		if len(values) == 0 && d.Type == document.TypeBoolean {
			values = []any{true, false}
		}
		if len(values) > 0 && nullable(d) {
			values = append(values, nil)
		}
		return values
	}
	return nil
}

// lintCases checks the chain for every case. A problem that does not occur in all cases is reported with one in which
// it does.
func (p *planner) lintCases(stages []resolved, cases []map[string]any) {
	type finding struct {
		diag.Diagnostic
		values map[string]any
		count  int
	}
	var found []*finding
	tried := 0
	for _, values := range cases {
		diags, allowed := p.lintCase(stages, values)
		if !allowed {
			continue
		}
		tried++
		for _, d := range diags {
			i := slices.IndexFunc(found, func(f *finding) bool {
				return f.Code == d.Code && f.Position == d.Position && f.Message == d.Message
			})
			if i < 0 {
				i, found = len(found), append(found, &finding{Diagnostic: d, values: values})
			}
			found[i].count++
		}
	}
	for _, f := range found {
		if f.count < tried {
			f.Message += " (when " + describeCase(f.values) + ")"
		}
		p.diags.Add(f.Diagnostic)
	}
}

// lintCase checks the chain for some values of the parameters. The second result
// is false when the rules refuse them.
func (p *planner) lintCase(stages []resolved, values map[string]any) (diag.List, bool) {
	vars := p.variables(values)
	for _, e := range p.rules {
		if slices.ContainsFunc(e.params, func(name string) bool { _, ok := values[name]; return !ok }) {
			continue
		}
		if ok, err := e.decide(vars); err != nil || !ok {
			return nil, false
		}
	}
	var chain []resolved
	var on []*document.Stage
	for i, r := range stages {
		if p.whens[i] != nil {
			active, err := p.whens[i].decide(vars)
			if err != nil {
				return diag.List{evalFailed(p.whens[i], err)}, true
			}
			if !active {
				continue
			}
		}
		chain, on = append(chain, r), append(on, r.stage)
	}
	_, clashes := identify(on)
	return append(checkChain(p.config.Document.StagesAt, chain), clashes...), true
}

func describeCase(values map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text := "null"
		if values[name] != nil {
			text = printable(scalarText(values[name]))
		}
		parts = append(parts, name+" is "+text)
	}
	return strings.Join(parts, ", ")
}

// lintReachable follows the shapes through the chain, where every stage with a condition may be on or off. It reports a
// stage whose input shape no combination of the stages before it gives.
func (p *planner) lintReachable(stages []resolved) {
	p.lintEnds(stages)
	reach := map[stage.Shape]resolved{stage.ShapeNone: {}} // shapes, and a stage that gives each
	for i, r := range stages {
		in, out := r.manifest.In, r.manifest.Out
		var feeder *resolved
		for _, shape := range []stage.Shape{stage.ShapeNone, stage.ShapeTable, stage.ShapeRecords, stage.ShapeBytes} {
			if from, ok := reach[shape]; ok {
				if in.Accepts(shape) {
					feeder = nil
					break
				}
				feeder = &from
			}
		}
		if feeder != nil {
			p.lintNeighbours(*feeder, r)
			return // what follows would only repeat it
		}
		if p.whens[i] == nil {
			reach = map[stage.Shape]resolved{}
		}
		reach[out] = r
	}
}

// lintNeighbours reports a stage that cannot follow another.
func (p *planner) lintNeighbours(before, after resolved) {
	switch {
	case before.stage == nil: // nothing comes before it; see lintEnds
	case after.stage.Kind != stage.KindSource && before.stage.Kind != stage.KindSink:
		p.diags.Add(shapeProblem(before, after))
	default:
		for _, d := range checkEnds(p.config.Document.StagesAt, []resolved{before, after}) {
			if d.Code == CodeTwoSources || d.Code == CodeTwoSinks || d.Code == CodeSinkLast {
				p.diags.Add(d) // lintEnds may have said the same; Normalise drops it then
			}
		}
	}
}

// lintEnds reports ends that are wrong whatever the conditions are.
func (p *planner) lintEnds(stages []resolved) {
	var always []resolved
	kinds := map[stage.Kind]bool{}
	for i, r := range stages {
		kinds[r.stage.Kind] = true
		if p.whens[i] == nil {
			always = append(always, r)
		}
	}
	for _, d := range checkEnds(p.config.Document.StagesAt, always) {
		switch {
		case d.Code == CodeNoSource && kinds[stage.KindSource], d.Code == CodeNoSink && kinds[stage.KindSink]:
			continue // one with a condition may be on
		}
		p.diags.Add(d)
	}
}
