package plan

import (
	"slices"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// TestEnds: whose the last stage is depends on what the caller wants and on what the pipeline's sink refers to, never
// on a text that happens to be alike.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sink    string
		end     End
		output  bool // ${run.output} has a value
		callers bool
		refers  bool
	}{
		{`{use: stream, with: {to: "${run.output}"}}`, EndPipeline, true, false, true},
		{`{use: stream, with: {to: "${run.output}"}}`, EndOutput, false, true, true},
		{`{use: stream, with: {to: "${run.output}"}}`, EndCaller, false, true, false},
		{`{use: stream, with: {to: /var/out}}`, EndOutput, false, false, false},
		{`{use: stream, with: {to: "$${run.output}"}}`, EndOutput, false, false, false},
		{`{use: stream, with: {to: /var/out}}`, EndCaller, false, true, false},
		{`{use: stream, when: false, with: {to: "${run.output}"}}`, EndCaller, false, true, false},
	} {
		in := testInput(load(t, "\n  stages:\n    source: {use: mysql, with: {url: u}}\n    encoder: {use: ndjson}\n    sink: "+c.sink+"\n"))
		in.Destination.Output = ""
		if c.output {
			in.Destination.Output = "/var/out"
		}
		in.End = c.end
		plan, diags := built(in)
		if diags.HasErrors() {
			t.Errorf("%s, %q: %v", c.sink, c.end, diags)
			continue
		}
		if plan.EndsAtCaller() != c.callers || plan.Refers("run.output") != c.refers {
			t.Errorf("%s, %q: at the caller %v, refers %v", c.sink, c.end, plan.EndsAtCaller(), plan.Refers("run.output"))
		}
	}
	in := testInput(load(t, "\n  stages:\n    source: {use: mysql, with: {url: u}}\n    sink: {use: stream, with: {to: x}}\n"))
	in.End = EndCaller
	if _, diags := built(in); !slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == CodeShape }) {
		t.Errorf("a table in front of the caller's sink: %+v", diags)
	}
}
