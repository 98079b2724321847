package plan

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestCheckFilter: who plans is asked about the filters of others, and about no other stage,
// with the columns that the filter is to give; what was found stands at its setting.
func TestCheckFilter(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    filter:
      - {use: columns}
      - {use: acme/upper, with: {include: [id, nmae]}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`+columnsSpec)
	for level, severity := range map[stage.Level]diag.Severity{
		stage.LevelWrong: diag.Error, stage.LevelWarning: diag.Warning, stage.LevelUnchecked: "", stage.LevelFine: "",
	} {
		in := testInput(doc)
		asked := 0
		in.CheckFilter = func(s *Stage, gives *arrow.Schema) (*arrow.Schema, []stage.Finding) {
			asked++
			if s.Plugin != "acme" || s.Name != "upper" || gives.NumFields() != len(doc.Columns) || string(s.SettingsJSON()) != `{"include":["id","nmae"]}` {
				t.Errorf("asked about %s/%s with %s, which is to give %s", s.Plugin, s.Name, s.SettingsJSON(), gives)
			}
			f := fault.New("upper.unknown_column", fault.Usage, "no such column").WithDetail(fault.DetailSetting, "/include/1")
			return nil, []stage.Finding{{Level: level, Fault: f}}
		}
		for name, diags := range map[string]diag.List{"lint": lint(in), "build": func() diag.List { _, d := built(in); return d }()} {
			if severity == "" {
				if len(diags) > 0 {
					t.Errorf("%s, %s: %+v", name, level, diags)
				}
				continue
			}
			if len(diags) != 1 || diags[0].Code != "upper.unknown_column" || diags[0].Severity != severity ||
				diags[0].Line != doc.Stages[2].With.Entries[0].Value.Items[1].At.Line || diags[0].Column != doc.Stages[2].With.Entries[0].Value.Items[1].At.Column {
				t.Errorf("%s, %s: %+v", name, level, diags)
			}
		}
		if asked != 2 {
			t.Errorf("%s: asked %d times", level, asked)
		}
	}
}
