package plan

import (
	"cmp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestBroken: a plugin that does not work is told where a stage of it is asked for, or may be, and nowhere else. Nobody
// asks it for the sake of another's stage.
func TestBroken(t *testing.T) {
	t.Parallel()
	for use, want := range map[string]struct{ code, message, hint, asked string }{
		"columns":    {},
		"acme/upper": {},
		"late/shout": {asked: "late"},
		"whisper":    {asked: "all"},
		"gone/upper": {"plugin.missing", `filter "gone/upper" cannot be had: the program is not there`, "install it again", "gone"},
		"odd/upper":  {"plugin.start", `filter "odd/upper" cannot be had: it did not start`, `"cipherstream plugin verify odd" tells more`, "odd"},
		"acme/other": {CodeUnknownStage, `no filter is called "other"`, "", "acme"},
		"nobody/x":   {CodeUnknownPlugin, `no plugin is called "nobody"`, "", "nobody"},
		"unheard-of": {CodeUnknownStage, `no filter is called "unheard-of"`,
			`; what the broken plugins "gone" (plugin.missing), "odd" (plugin.start) would offer is not known: see "cipherstream plugin list"`, "all"},
	} {
		doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    filter: {use: `+use+`}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
		in := testInput(doc)
		asked := map[string]bool{}
		in.Others = func(plugin string) (Catalog, []Broken) {
			asked[cmp.Or(plugin, "all")] = true
			late := func(name string) Manifest {
				return Manifest{Plugin: "late", Kind: stage.KindFilter, Name: name, In: stage.ShapeTable, Out: stage.ShapeTable, Spec: &config.Spec{}}
			}
			return Catalog{late("shout"), late("whisper")}, []Broken{
				{"gone", fault.New("plugin.missing", fault.Usage, "the program is not there").WithHint("install it again")},
				{"odd", fault.New("plugin.start", fault.Plugin, "it did not start")},
			}
		}
		_, bound := built(in)
		for _, diags := range []diag.List{lint(in), bound} {
			switch {
			case want.code == "" && len(diags) > 0:
				t.Errorf("%s: %+v", use, diags)
			case want.code != "" && (len(diags) != 1 || diags[0].Code != want.code || diags[0].Message != want.message ||
				!strings.Contains(diags[0].Hint, want.hint) || diags[0].Line != doc.Stages[1].Use.At.Line):
				t.Errorf("%s: got %+v, want %+v", use, diags, want)
			}
		}
		if len(asked) > 1 || want.asked == "" && len(asked) > 0 || want.asked != "" && !asked[want.asked] {
			t.Errorf("%s: asked %v, want %q", use, asked, want.asked)
		}
	}
}
