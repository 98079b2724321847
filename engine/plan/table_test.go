package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestTableSink: a sink of rows follows a source or a filter, behind the contract; an encoder in front of it is refused
// with what to do, and so is a table in front of any other sink.
func TestTableSink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stages string
		end          End
		want         string
		problem      string
	}{
		{"filters", "filter: {use: columns}\n    sink: {use: database, with: {to: x}}", EndPipeline, "source filter contract sink", ""},
		{"nothing between", "sink: {use: database, with: {to: x}}", EndPipeline, "source contract sink", ""},
		{"the caller's", "filter: {use: columns}\n    sink: {use: database, with: {to: x}}", EndCallerTable, "source filter contract sink", ""},
		{"the caller's, where there is none", "filter: {use: columns}", EndCallerTable, "source filter contract sink", ""},
		{"the caller's, in place of another", "sink: {use: stream, with: {to: x}}", EndCallerTable, "source contract sink", ""},
		{"an encoder", "encoder: {use: ndjson}\n    sink: {use: database, with: {to: x}}", EndPipeline, "", "leave out the encoder and what follows it"},
		{"a compressor", "encoder: {use: json}\n    compressor: {use: gzip}\n    sink: {use: database, with: {to: x}}", EndPipeline, "", "leave out the encoder"},
		{"an encoder before the caller's", "encoder: {use: ndjson}\n    sink: {use: stream, with: {to: x}}", EndCallerTable, "", "leave out the encoder"},
		{"a sink of bytes", "filter: {use: columns}\n    sink: {use: stream, with: {to: x}}", EndPipeline, "", "put an encoder between the two"},
		{"a caller's of bytes", "filter: {use: columns}", EndCaller, "", "put an encoder between the two"},
	} {
		in := testInput(load(t, "\n  stages:\n    source: {use: mysql, with: {url: u}}\n    "+c.stages+"\n"+columnsSpec))
		in.End = c.end
		plan, diags := built(in)
		if c.problem != "" {
			if !slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == CodeShape && strings.Contains(d.Hint, c.problem) }) {
				t.Errorf("%s: %+v", c.name, diags)
			}
			continue
		}
		if diags.HasErrors() {
			t.Errorf("%s: %v", c.name, diags)
			continue
		}
		last := plan.Stages[len(plan.Stages)-1]
		if planned(plan) != c.want || last.In != stage.ShapeTable || plan.EndsAtCaller() != (c.end == EndCallerTable) || last.Caller != plan.EndsAtCaller() {
			t.Errorf("%s: %s, which ends in %+v", c.name, planned(plan), last)
		}
		if linted := lint(in); c.end == EndPipeline && linted.HasErrors() {
			t.Errorf("%s: %v", c.name, linted)
		}
	}
}

// TestRowsOfTest: the encoder that a test of a pipeline brings stands in front of the caller's sink, behind the
// contract, where the pipeline's own end takes rows, is not known here, or is not there; nothing else gets it.
func TestRowsOfTest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, stages, want, problem string }{
		{"a sink of rows", "filter: {use: columns}\n    sink: {use: database, with: {to: x}}", "source filter contract encoder sink", ""},
		{"one that is not installed", "sink: {use: elsewhere/warehouse}", "source contract encoder sink", ""},
		{"no sink", "filter: {use: columns}", "source filter contract encoder sink", ""},
		{"the other end of two", "encoder: {use: json, when: \"false\"}\n    sink:\n      - {use: stream, when: \"false\", with: {to: x}}\n      - {use: database, with: {to: x}}", "source contract encoder sink", ""},
		{"an encoder of its own", "encoder: {use: json}\n    sink: {use: stream, with: {to: x}}", "source contract encoder sink", ""},
		{"a sink of bytes", "filter: {use: columns}\n    sink: {use: stream, with: {to: x}}", "", "put an encoder between the two"},
	} {
		in := testInput(load(t, "\n  stages:\n    source: {use: mysql, with: {url: u}}\n    "+c.stages+"\n"+columnsSpec))
		in.End, in.Encoder = EndCaller, &StandIn{Use: "ndjson", Config: map[string]any{}}
		plan, diags := built(in)
		if c.problem != "" {
			if !slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == CodeShape && strings.Contains(d.Hint, c.problem) }) {
				t.Errorf("%s: %+v", c.name, diags)
			}
			continue
		}
		if diags.HasErrors() || planned(plan) != c.want {
			t.Errorf("%s: %s: %v", c.name, planned(plan), diags)
			continue
		}
		i := slices.IndexFunc(plan.Stages, func(s Stage) bool { return s.Kind == stage.KindEncoder })
		if s := plan.Stages[i]; s.OfPlan() != (s.Name == "ndjson") {
			t.Errorf("%s: the encoder %q is of the plan: %t", c.name, s.Name, s.OfPlan())
		}
	}
}
