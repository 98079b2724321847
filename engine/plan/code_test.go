package plan

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// What stages of the tests below have as settings.
type (
	codeSource struct {
		URL   config.Secret  `config:"url" kind:"connection"`
		Query string         `config:"query" code:"sql"`
		Args  []config.Value `config:"args"`
	}
	codeFilter struct {
		Expression string            `config:"expression" code:"cel"`
		Each       map[string]string `config:"each" code:"cel"`
		Params     config.Parameters `config:"params"`
	}
	luaFilter struct {
		Script string            `config:"script" code:"lua"`
		Given  config.Parameters `config:"given"`
	}
	sealSettings struct {
		Keys  config.Secret   `config:"keys" kind:"keys"`
		More  []config.Secret `config:"more" kind:"keys"`
		Token config.Secret   `config:"token"`
		Sign  config.Secret   `config:"sign" kind:"signing"`
		Text  string          `config:"text"`
	}
)

func codeCatalog() Catalog {
	c := FromBundle(stage.Bundle{Name: "builtin", Stages: []stage.Definition{
		stage.DefineSource(stage.About{Name: "db"}, func(codeSource, stage.Env) (stage.Source, error) { return nil, nil }),
		stage.DefineFilter(stage.About{Name: "where"}, func(codeFilter, stage.Env) (stage.Filter, error) { return nil, nil }),
		stage.DefineEncoder(stage.About{Name: "lines", Out: stage.ShapeRecords}, func(noSettings, stage.Env) (stage.Encoder, error) { return nil, nil }),
		stage.DefineFilter(stage.About{Name: "seal"}, func(sealSettings, stage.Env) (stage.Filter, error) { return nil, nil }),
		stage.DefineSink(stage.About{Name: "out"}, func(noSettings, stage.Env) (stage.Sink, error) { return nil, nil }),
	}}, true)
	return append(c, FromBundle(stage.Bundle{Name: "acme", Stages: []stage.Definition{
		stage.DefineFilter(stage.About{Name: "script"}, func(luaFilter, stage.Env) (stage.Filter, error) { return nil, nil }),
	}}, false)...)
}

// codeInput is a pipeline with parameters of every type and these stages between its
// source and its sink.
func codeInput(t *testing.T, source, middle string) input {
	t.Helper()
	doc := load(t, `
  parameters:
    - {name: who, type: string}
    - {name: day, type: date}
    - {name: n, type: integer, default: 9007199254740993}
    - {name: fee, type: decimal, default: 12345678901234567890.10}
    - {name: live, type: boolean, default: true}
    - {name: other, type: string, default: "not mentioned"}
  stages:
    source: {use: db, with: {`+source+`}}
`+middle+`
    encoder: {use: lines}
    sink: {use: out}
`)
	return input{
		Config{Document: doc, Catalog: codeCatalog()},
		Inputs{
			Customer: Customer{Attributes: map[string]any{"host": "db1"}}, RunID: "r1",
			Env:        lookup(map[string]string{"REGION": "eu", "MY_DSN": "x", "CIPHERSTREAM_DSN": "x", "DATABASE": "mysql://u:hunter2@db"}),
			EnvAllowed: []string{"REGION", "CIPHERSTREAM_DSN", "CIPHERSTREAM_KEYS", "AWS_SECRET_ACCESS_KEY", "MYSQL_PWD", "PWD", "GITHUB_TOKEN", "DATABASE"},
			SecretEnv:  []string{"DATABASE"},
			Secrets: lookup(map[string]string{"dsn": "mysql://u:hunter2@db", "encryption_keys": "AAAA", "db": "p@ss/wo rd", "mine": "m1",
				"declared": "d1", "vault": "v1"}),
			SecretKinds: map[string]config.SecretKind{"declared": config.SecretKeys, "vault": config.SecretToken},
		},
	}
}

// codes are what Bind and Lint say of an input. What does not depend on values, both say.
func codes(in input) (bound, linted []string) {
	_, diags := built(in)
	for _, d := range diags {
		bound = append(bound, d.Code)
	}
	for _, d := range lint(in) {
		linted = append(linted, d.Code)
	}
	return bound, linted
}

// Code takes no reference, of any namespace, wherever it stands.
func TestCodeTakesNoReference(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, middle, hint string }{
		{`query: "SELECT * FROM patient WHERE name = '${params.who}'"`, "", "bind it: write ? in its place"},
		{`query: "${env.REGION}"`, "", "bind it"},
		{`query: "SELECT ${customer.host}, ${run.id}"`, "", "bind it"},
		{`query: "SELECT '${secret.dsn}'"`, "", "bind it"},
		{"", `    filter: {use: where, with: {expression: "name == '${params.who}'"}}`, "write params.NAME"},
		{"", `    filter: {use: where, with: {each: {a: "x == ${params.n}"}}}`, "write params.NAME"},
		{"", `    filter: {use: acme/script, with: {script: "return '${params.who}'"}}`, "a setting of its own"},
		{"", `    filter: {use: where, when: "params.who == '${params.other}'", with: {expression: "true"}}`, "write params.NAME"},
	} {
		in := codeInput(t, c.source, c.middle)
		_, diags := built(in)
		bound, linted := codes(in)
		if len(diags) == 0 || !slices.Contains(bound, CodeReferenceInCode) || !slices.Contains(linted, CodeReferenceInCode) {
			t.Errorf("%s%s: built %v, linted %v", c.source, c.middle, bound, linted)
			continue
		}
		if !strings.Contains(diags[0].Hint, c.hint) || diags[0].Line == 0 || diags[0].EndColumn <= diags[0].Column {
			t.Errorf("%s%s: %v, hint %q", c.source, c.middle, diags[0], diags[0].Hint)
		}
	}
	// $${ is a literal ${ in code as well.
	plan := build(t, codeInput(t, `query: "SELECT '$${params.who}'"`, ""))
	if got := plan.Stages[0].Config["query"]; got != "SELECT '${params.who}'" {
		t.Errorf("query %q", got)
	}
}

// A stage is given the parameters that its code names, with their types and every digit,
// and no other.
func TestParametersOfCode(t *testing.T) {
	t.Parallel()
	in := codeInput(t, "", `    filter:
      - {use: where, with: {expression: "name == params.who && 'params.other' != '' && has(params.day)", each: {a: "fee > params.fee"}}}
      - {use: acme/script, with: {script: "row.n > params.n and params.live and params.nothing"}}
      - {use: where, with: {expression: "true"}}`)
	in.Parameters = map[string]any{"who": "x' || true || name == 'y"}
	plan := build(t, in)
	for i, want := range map[int]string{
		1: `{"day":{"type":"date","value":null},"fee":{"type":"decimal","value":"12345678901234567890.10"},"who":{"type":"string","value":"x' || true || name == 'y"}}`,
		2: `{"live":{"type":"boolean","value":true},"n":{"type":"integer","value":9007199254740993}}`,
		3: `null`,
	} {
		var settings map[string]json.RawMessage
		if err := json.Unmarshal(plan.Stages[i].SettingsJSON(), &settings); err != nil {
			t.Fatal(err)
		}
		got := settings["params"]
		if i == 2 {
			got = settings["given"]
		}
		if got == nil {
			got = json.RawMessage("null")
		}
		if string(got) != want {
			t.Errorf("stage %d: got %s, want %s", i, got, want)
		}
	}
	spec := config.Of[codeFilter]()
	decoded, err := config.Decode[codeFilter](spec, plan.Stages[1].SettingsJSON())
	if err != nil || decoded.Params["fee"].Value != json.Number("12345678901234567890.10") || decoded.Params["day"].Value != nil {
		t.Errorf("decoded %+v, %v", decoded.Params, err)
	}
	for _, c := range []struct{ middle, want string }{
		{`    filter: {use: where, with: {expression: "name == params.woh"}}`, CodeUnknownParameter},
		{`    filter: {use: where, with: {expression: "true", params: {who: {type: string, value: x}}}}`, CodeFilledIn},
	} {
		bound, linted := codes(codeInput(t, "", c.middle))
		if !slices.Contains(bound, c.want) || !slices.Contains(linted, c.want) {
			t.Errorf("%s: built %v, linted %v", c.middle, bound, linted)
		}
	}
	if diags := lint(in); len(diags) > 0 {
		t.Errorf("lint: %v", diags)
	}
}

// A secret goes where its kind belongs, whole, or as the password of a connection's URL.
func TestSecretKinds(t *testing.T) {
	t.Parallel()
	seal := func(with string) string { return `    filter: {use: seal, with: {` + with + `}}` }
	for _, c := range []struct{ source, seal, want string }{
		{`url: "${secret.dsn}"`, `keys: "${secret.encryption_keys}"`, ""},
		{`url: "mysql://x:${secret.encryption_keys}@elsewhere"`, ``, CodeSecretKind},
		{`url: "${secret.encryption_keys}"`, ``, CodeSecretKind},
		{`url: "mysql://x:${secret.dsn}@elsewhere"`, ``, CodeSecretKind},
		{`url: "${secret.dsn}@elsewhere"`, ``, CodeSecretInText},
		{`url: "mysql://${secret.db}@db"`, ``, CodeSecretInText},
		{`url: "mysql://u@db/${secret.db}"`, ``, CodeSecretInText},
		{`url: "mysql://u:p@db/x:${secret.db}@y"`, ``, CodeSecretInText},
		{`url: "mysql://u:${secret.db}@${params.who}/x"`, ``, CodeSecretInText},
		{`url: "mysql://u:${secret.db}@${customer.host}/x"`, ``, ""},
		{``, `token: "${secret.encryption_keys}"`, CodeSecretKind},
		{``, `sign: "${secret.encryption_keys}"`, CodeSecretKind},
		{``, `text: "${secret.encryption_keys}"`, CodeSecretMisplaced},
		{``, `text: "x ${secret.mine}"`, CodeSecretMisplaced},
		{``, `token: "${secret.dsn}"`, CodeSecretKind},
		{``, `keys: "${secret.mine}", more: ["${secret.mine}"]`, ""},
		{``, `keys: "${secret.mine}", token: "${secret.mine}"`, CodeSecretKind},
		{``, `token: "${secret.declared}"`, CodeSecretKind},
		{``, `keys: "${secret.declared}"`, ""},
		{``, `token: "Bearer ${secret.vault}"`, ""},
		{``, `keys: "${secret.vault}"`, CodeSecretKind},
		{`url: "mysql://u:${secret.mine}@db"`, `keys: "${secret.mine}"`, CodeSecretKind},
	} {
		in := codeInput(t, c.source, seal(c.seal))
		if c.source != "" && strings.Contains(c.source, "params.who") {
			in.Parameters = map[string]any{"who": "evil"}
		}
		bound, linted := codes(in)
		wanted := []string{c.want}
		if c.want == "" {
			wanted = nil
		}
		if !slices.Equal(bound, wanted) || !slices.Equal(linted, wanted) {
			t.Errorf("%s %s: built %v, linted %v, want %q", c.source, c.seal, bound, linted, c.want)
		}
	}
}

func TestSecretsOfAPlan(t *testing.T) {
	t.Parallel()
	plan := build(t, codeInput(t, `url: "mysql://u:${secret.db}@db"`, `    filter: {use: seal, with: {keys: "${secret.encryption_keys}", more: ["${secret.mine}"]}}`))
	want := []SecretUse{
		{"secret.db", config.SecretPassword, "source", "/url"},
		{"secret.encryption_keys", config.SecretKeys, "filter", "/keys"},
		{"secret.mine", config.SecretKeys, "filter", "/more/0"},
	}
	if !slices.Equal(plan.Secrets, want) {
		t.Errorf("got %v", plan.Secrets)
	}
	// A password is itself, whatever is in it.
	if got := plan.Stages[0].Config["url"].(config.Secret).Reveal(); got != "mysql://u:p%40ss%2Fwo%20rd@db" {
		t.Errorf("url %s", got)
	}
	var text, machine strings.Builder
	if err := plan.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := plan.WriteJSON(&machine); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "secret.mine             keys      → filter  more.0") ||
		!strings.Contains(machine.String(), `"setting": "/more/0"`) {
		t.Errorf("%s%s", text.String(), machine.String())
	}
	for _, secret := range []string{"p@ss", "p%40ss", "AAAA"} {
		if strings.Contains(text.String()+machine.String(), secret) {
			t.Errorf("the plan shows %s", secret)
		}
	}
}

// An environment variable is read when whoever runs allows it, and never when it holds a
// secret, wherever the reference stands.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, built, linted string }{
		{"REGION", "", ""},
		{"PWD", CodeUnknownReference, ""}, // the current folder is no secret
		{"HOME", CodeEnvDenied, ""},
		{"MY_DSN", CodeEnvSecret, CodeEnvSecret},
		{"CIPHERSTREAM_DSN", CodeEnvSecret, CodeEnvSecret},
		{"CIPHERSTREAM_KEYS", CodeEnvSecret, CodeEnvSecret},
		{"cipherstream_keys", CodeEnvSecret, CodeEnvSecret},
		{"AWS_SECRET_ACCESS_KEY", CodeEnvSecret, CodeEnvSecret},
		{"MYSQL_PWD", CodeEnvSecret, CodeEnvSecret},
		{"SORT_KEY", CodeEnvDenied, ""}, // a key that opens nothing
		{"PRIMARY_KEYS", CodeEnvDenied, ""},
		{"SORT", CodeEnvDenied, ""},
		{"KEY", CodeEnvSecret, CodeEnvSecret},
		{"SORT_KEY_TOKEN", CodeEnvSecret, CodeEnvSecret},
		{"API_KEY", CodeEnvSecret, CodeEnvSecret},
		{"PRIVATE_KEY", CodeEnvSecret, CodeEnvSecret},
		{"GITHUB_TOKEN", CodeEnvSecret, CodeEnvSecret},
		{"DATABASE", CodeEnvSecret, CodeEnvSecret}, // a secret is read from it
	} {
		for _, where := range []string{`text: "x ${env.` + c.name + `}"`, `token: "${env.` + c.name + `}"`} {
			bound, linted := codes(codeInput(t, "", `    filter: {use: seal, with: {`+where+`}}`))
			if strings.Join(bound, " ") != c.built || strings.Join(linted, " ") != c.linted {
				t.Errorf("%s: built %v, linted %v", where, bound, linted)
			}
		}
	}
}
