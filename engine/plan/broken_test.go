package plan

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestBroken: a plugin that does not work is told where a stage of it is asked for, or may be, and nowhere else.
func TestBroken(t *testing.T) {
	t.Parallel()
	for use, want := range map[string]struct{ code, message, hint string }{
		"columns":    {},
		"acme/upper": {},
		"gone/upper": {"plugin.missing", `filter "gone/upper" cannot be had: the program is not there`, "install it again"},
		"odd/upper":  {"plugin.start", `filter "odd/upper" cannot be had: it did not start`, `"cipherstream plugin verify odd" tells more`},
		"acme/other": {CodeUnknownStage, `no filter is called "other"`, ""},
		"nobody/x":   {CodeUnknownPlugin, `no plugin is called "nobody"`, ""},
		"unheard-of": {CodeUnknownStage, `no filter is called "unheard-of"`,
			`; what the broken plugins "gone" (plugin.missing), "odd" (plugin.start) would offer is not known: see "cipherstream plugin list"`},
	} {
		doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    filter: {use: `+use+`}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
		in := testInput(doc)
		in.Broken = []Broken{
			{"gone", fault.New("plugin.missing", fault.Usage, "the program is not there").WithHint("install it again")},
			{"odd", fault.New("plugin.start", fault.Plugin, "it did not start")},
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
	}
}
