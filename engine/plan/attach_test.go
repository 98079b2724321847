package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// shapeOf writes the groups of a plan: stages with + between them, * for attached.
func shapeOf(p *Plan) string {
	var groups []string
	for _, g := range p.Groups {
		var ids []string
		for _, i := range g.Stages {
			ids = append(ids, p.Stages[i].ID)
		}
		text := strings.Join(ids, "+")
		if g.Attach {
			text += "*"
		}
		groups = append(groups, text)
	}
	return strings.Join(groups, " ")
}

func attachPlan(inHost bool) *Plan {
	p := &Plan{Name: "p"}
	for _, s := range []struct {
		id, name string
		kind     stage.Kind
	}{{"source", "mysql", stage.KindSource}, {"filter-1", "where", stage.KindFilter}, {"filter-2", "mask", stage.KindFilter},
		{"hide", "mask", stage.KindFilter}, {"encoder", "ndjson", stage.KindEncoder}, {"sink", "stream", stage.KindSink}} {
		p.Stages = append(p.Stages, Stage{ID: s.id, Kind: s.kind, Name: s.name, Plugin: "own"})
	}
	p.Groups = []Group{{Plugin: "own", InHost: inHost, Stages: []int{0, 1, 2, 3}}, {Plugin: "own", Stages: []int{4, 5}}}
	return p
}

func TestAttach(t *testing.T) {
	for _, c := range []struct {
		names  string
		inHost bool
		want   string // groups, or the fault
	}{
		{"", false, "source+filter-1+filter-2+hide encoder+sink"},
		{"filter-2", false, "source+filter-1 filter-2* hide encoder+sink"},
		{"where", false, "source filter-1* filter-2+hide encoder+sink"},
		{"source,sink", false, "source* filter-1+filter-2+hide encoder sink*"},
		{"filter-2,hide", false, "source+filter-1 filter-2* hide* encoder+sink"},
		{"sink", true, "source+filter-1+filter-2+hide encoder sink*"},
		{"gone", false, `plan.no_such_stage: pipeline "p" runs no stage "gone" | it runs source (mysql), filter-1 (where), filter-2 (mask), hide (mask), encoder (ndjson), sink (stream)`},
		{"mask", false, `plan.no_such_stage: several stages of pipeline "p" use "mask" | name one of source (mysql), filter-1 (where), filter-2 (mask), hide (mask), encoder (ndjson), sink (stream)`},
		{"where,filter-1", false, `plan.stage_not_attachable: stage "filter-1" is to be attached twice | name it once`},
		{"where", true, `plan.stage_not_attachable: stage "filter-1" runs in the host's own process, so that no other can be attached for it | ` +
			"stages have processes with the isolation group or stage; the stages are source, filter-1, filter-2, hide, encoder, sink"},
	} {
		p := attachPlan(c.inHost)
		before := shapeOf(p)
		var names []string
		if c.names != "" {
			names = strings.Split(c.names, ",")
		}
		err := p.Attach(names...)
		got := shapeOf(p)
		if f := fault.From(err); f != nil {
			if f.Class != fault.Usage || got != before {
				t.Errorf("%s: class %s, groups %s", c.names, f.Class, got)
			}
			got = f.Error() + " | " + f.Hint
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.names, got, c.want)
		}
	}
}

type assignSettings struct {
	Name    string            `config:"name"`
	On      bool              `config:"on"`
	Count   int               `config:"count"`
	Ratio   float64           `config:"ratio"`
	Limit   config.Size       `config:"limit"`
	Any     config.Value      `config:"any"`
	Key     config.Secret     `config:"key"`
	Args    []config.Value    `config:"args"`
	Headers map[string]string `config:"headers"`
	Columns map[string]struct {
		Action string        `config:"action"`
		Key    config.Secret `config:"key"`
	} `config:"columns"`
	Keys []struct {
		Text config.Secret `config:"text"`
	} `config:"keys"`
}

func TestAssign(t *testing.T) {
	spec := config.Of[assignSettings]()
	for _, c := range []struct {
		place, text string
		secret      bool
		want        string // the settings as JSON, secrets revealed, or the fault
	}{
		{"name", "007", false, `{"keys":[{}],"name":"007"}`},
		{"name", "", false, `{"keys":[{}],"name":""}`},
		{"on", "true", false, `{"keys":[{}],"on":true}`},
		{"count", "-12", false, `{"count":-12,"keys":[{}]}`},
		{"ratio", "0.10", false, `{"keys":[{}],"ratio":0.10}`},
		{"limit", "4MiB", false, `{"keys":[{}],"limit":"4MiB"}`},
		{"limit", "4096", false, `{"keys":[{}],"limit":4096}`},
		{"any", "12.50", false, `{"any":12.50,"keys":[{}]}`},
		{"any", "12.50 EUR", false, `{"any":"12.50 EUR","keys":[{}]}`},
		{"any", "null", false, `{"any":null,"keys":[{}]}`},
		{"args", `[1,"a"]`, false, `{"args":[1,"a"],"keys":[{}]}`},
		{"columns.a.action", "null", false, `{"columns":{"a":{"action":"null"}},"keys":[{}]}`},
		{"/headers/a.b~1c", "x", false, `{"headers":{"a.b/c":"x"},"keys":[{}]}`},
		{"key", "hunter2", true, `{"key":"hunter2","keys":[{}]}`},
		{"columns.a.key", "hunter2", true, `{"columns":{"a":{"key":"hunter2"}},"keys":[{}]}`},
		{"/keys/0/text", "hunter2", true, `{"keys":[{"text":"hunter2"}]}`},
		{"/keys/1/text", "hunter2", true, `plan.setting: setting "/keys" is a list of 1, and has no element "1"`},
		{"nane", "x", false, `plan.setting: the stage has no setting "/nane"`},
		{"columns.a.gone", "x", false, `plan.setting: the stage has no setting "/columns/a/gone"`},
		{"name.first", "x", false, `plan.setting: setting "/name" is a string, and has nothing in it`},
		{"args", "[1", false, `plan.setting: setting "/args" is a list, which is given as JSON: unexpected EOF`},
		{"args", "[1] 2", false, `plan.setting: setting "/args" is a list, which is given as JSON: something follows the first value`},
		{"key", "hunter2", false, `plan.setting: setting "/key" is a secret, which is not given as text`},
		{"name", "hunter2", true, `plan.setting: setting "/name" is no secret`},
	} {
		tree := map[string]any{"keys": []any{map[string]any{}}}
		err := Assign(spec, tree, c.place, c.text, c.secret)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			text, err := json.Marshal(reveal(tree))
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if got != c.want {
			t.Errorf("%s=%s:\n got %s\nwant %s", c.place, c.text, got, c.want)
		}
	}
}

func TestPointer(t *testing.T) {
	for _, path := range [][]string{{"a"}, {"a", "b"}, {"a.b", "c/d", "~e"}, {""}} {
		if got := Path(Pointer(path)); fmt.Sprint(got) != fmt.Sprint(path) {
			t.Errorf("%q became %q", path, got)
		}
	}
}
