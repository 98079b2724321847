package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
)

const columnsSpec = `
  columns:
    - {name: id, type: int64, nullable: false, description: Key.}
    - {name: at, type: timestamp(3)}
    - {name: amount, type: "decimal(10, 2)"}
`

func planned(p *Plan) string {
	var ids []string
	for _, s := range p.Stages {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " ")
}

// TestContract: where the filter stands, and what it is told.
func TestContract(t *testing.T) {
	t.Parallel()
	const settings = `{"columns":[{"name":"id","nullable":false,"type":"int64"},{"name":"at","nullable":true,"type":"timestamp(3)"},` +
		`{"name":"amount","nullable":true,"type":"decimal(10,2)"}],"policy":"fail"}`
	for _, c := range []struct {
		name, spec, stages, settings string
	}{
		{"fail", columnsSpec, "source filter contract encoder sink", settings},
		{"warn", columnsSpec + "  drift: warn\n", "source filter contract encoder sink", strings.Replace(settings, "fail", "warn", 1)},
		{"ignore", columnsSpec + "  drift: ignore\n", "source filter encoder sink", ""},
		{"no columns", "  drift: warn\n", "source filter encoder sink", ""},
		{"empty columns", "  columns: []\n", "source filter encoder sink", ""},
	} {
		doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    filter: {use: columns}
    encoder: {use: ndjson, isolation: process}
    sink: {use: stream, with: {to: x}}
`+c.spec)
		plan := build(t, testInput(doc))
		if got := planned(plan); got != c.stages {
			t.Errorf("%s: %s", c.name, got)
		}
		at := slices.IndexFunc(plan.Stages, func(s Stage) bool { return s.Name == contractStage })
		if at < 0 {
			if c.settings != "" {
				t.Errorf("%s: no contract", c.name)
			}
			continue
		}
		s := plan.Stages[at]
		if got := string(s.SettingsJSON()); got != c.settings || !s.KeepsRows || !s.Concurrent || s.At != doc.Columns[0].At {
			t.Errorf("%s: %+v\ngot  %s\nwant %s", c.name, s, got, c.settings)
		}
		if len(plan.Groups) != 3 || !slices.Equal(plan.Groups[0].Stages, []int{0, 1, 2}) {
			t.Errorf("%s: the filter changed the groups: %+v", c.name, plan.Groups)
		}
	}
}

// TestContractNames: the author's stages keep their names.
func TestContractNames(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}, name: contract-2}
    filter: [{use: columns}, {use: columns, name: contract}]
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`+columnsSpec)
	if got := planned(build(t, testInput(doc))); got != "contract-2 filter-1 contract contract-3 encoder sink" {
		t.Error(got)
	}
	in := testInput(doc)
	in.Catalog = slices.DeleteFunc(slices.Clone(in.Catalog), func(m Manifest) bool { return m.Name == contractStage })
	if plan, diags := built(in); plan != nil || len(diags) != 1 || diags[0].Code != CodeNoContract || diags[0].Line == 0 {
		t.Errorf("without the filter: %+v", diags)
	}
}

// TestEndsOfOthers: nothing of the source and the sink whose places are taken is needed, and
// everything else is planned as always.
func TestEndsOfOthers(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  parameters: [{name: mode, type: string, default: a}]
  stages:
    source: [{use: acme/nothing, when: params.mode == 'a', with: {url: "${secret.unknown}"}}, {use: mysql, when: params.mode != 'a'}]
    encoder: {use: ndjson}
    sink: {use: bucket, name: out, with: {to: "${run.unknown}"}}
`)
	in := testInput(doc)
	in.Source, in.End = &StandIn{Use: "mysql", Config: map[string]any{"url": "u", "args": []any{int64(1)}}}, EndCaller
	plan := build(t, in)
	if got := planned(plan); got != "source encoder out" || plan.Stages[0].Name != "mysql" || plan.Stages[0].At != doc.Stages[0].At {
		t.Errorf("%s, %+v", got, plan.Stages[0])
	}
	if got := string(plan.Stages[0].SettingsJSON()) + string(plan.Stages[2].SettingsJSON()); got != `{"args":[1],"url":"u"}{}` || !plan.EndsAtCaller() {
		t.Error(got)
	}
	if last := plan.Groups[len(plan.Groups)-1]; !last.InHost || !slices.Equal(last.Stages, []int{2}) {
		t.Errorf("groups: %+v", plan.Groups)
	}
	in.Source = &StandIn{Use: "mysql", Config: map[string]any{}}
	_, diags := built(in)
	if len(diags) != 1 || diags[0].Code != "config.missing_key" {
		t.Errorf("%+v", diags)
	}
	// A source that is off has no place that could be taken.
	off := load(t, `
  stages:
    source: {use: mysql, when: false}
    encoder: {use: ndjson}
    sink: {use: stream}
`)
	in.Document = off
	if _, diags := built(in); !slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == CodeNoSource }) {
		t.Errorf("%+v", diags)
	}
}
