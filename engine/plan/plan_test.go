package plan

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

var update = flag.Bool("update", false, "write the golden files anew")

// catalogue is a small one for these tests.
var catalogue = os.DirFS("testdata/catalogue")

type mysqlSettings struct {
	URL       config.Secret     `config:"url,required" kind:"connection" doc:"Connection URL."`
	Call      string            `config:"call" doc:"Procedure to call."`
	Query     string            `config:"query" doc:"Query to run."`
	Args      []config.Value    `config:"args" doc:"Arguments."`
	ZeroDates string            `config:"zero_dates" enum:"null,error,text" default:"error"`
	Snapshot  bool              `config:"snapshot"`
	Timeout   time.Duration     `config:"timeout" default:"10s" min:"1ms"`
	Rows      int64             `config:"rows" min:"1" max:"100"`
	Ratio     float64           `config:"ratio"`
	Session   map[string]string `config:"session"`
	TLS       struct {
		Mode string        `config:"mode" enum:"off,require"`
		Key  config.Secret `config:"key"`
	} `config:"tls"`
}

// followSettings are those of a source that a pipeline with state can have.
type followSettings struct {
	Table  string         `config:"table"`
	Query  string         `config:"query" code:"sql"`
	Args   []config.Value `config:"args"`
	Cursor config.Cursor  `config:"cursor"`
}

type noSettings struct{}

type streamSettings struct {
	To string `config:"to,required" doc:"Where the bytes go."`
}

type contractSettings struct {
	Columns []struct {
		Name     string `config:"name,required"`
		Type     string `config:"type,required"`
		Nullable bool   `config:"nullable" default:"true"`
	} `config:"columns,required"`
	Policy string `config:"policy" enum:"fail,warn" default:"fail"`
}

type columnsSettings struct {
	Include []string `config:"include"`
}

// testCatalog has the first stages, and two third-party plugins. The stages are
// never made.
func testCatalog() Catalog {
	source := func(mysqlSettings, stage.Env) (stage.Source, error) { return nil, nil }
	filter := func(columnsSettings, stage.Env) (stage.Filter, error) { return nil, nil }
	contract := func(contractSettings, stage.Env) (stage.Filter, error) { return nil, nil }
	encoder := func(noSettings, stage.Env) (stage.Encoder, error) { return nil, nil }
	compressor := func(noSettings, stage.Env) (stage.Compressor, error) { return nil, nil }
	encryptor := func(noSettings, stage.Env) (stage.Encryptor, error) { return nil, nil }
	sink := func(streamSettings, stage.Env) (stage.Sink, error) { return nil, nil }
	tableSink := func(streamSettings, stage.Env) (stage.TableSink, error) { return nil, nil }
	var c Catalog
	c = append(c, FromBundle(stage.Bundle{Name: "builtin", Stages: []stage.Definition{
		stage.DefineSource(stage.About{Name: "mysql"}, source),
		stage.DefineSource(stage.About{Name: "follow"}, func(followSettings, stage.Env) (stage.Source, error) { return nil, nil }),
		stage.DefineFilter(stage.About{Name: "limit"}, filter),
		stage.DefineFilter(stage.About{Name: "columns", KeepsRows: true, Concurrent: true}, filter),
		stage.DefineFilter(stage.About{Name: "contract", KeepsRows: true, Concurrent: true}, contract),
		stage.DefineEncoder(stage.About{Name: "ndjson", Out: stage.ShapeRecords, Concurrent: true}, encoder),
		stage.DefineEncoder(stage.About{Name: "csv", Out: stage.ShapeRecords}, encoder),
		stage.DefineEncoder(stage.About{Name: "json"}, encoder),
		stage.DefineCompressor(stage.About{Name: "gzip"}, compressor),
		stage.DefineEncryptor(stage.About{Name: "rows", In: stage.ShapeRecords, Out: stage.ShapeRecords}, encryptor),
		stage.DefineSink(stage.About{Name: "stream"}, sink),
		stage.DefineTableSink(stage.About{Name: "database"}, tableSink),
	}}, true)...)
	c = append(c, FromBundle(stage.Bundle{Name: "acme", Stages: []stage.Definition{
		stage.DefineFilter(stage.About{Name: "columns"}, filter),
		stage.DefineFilter(stage.About{Name: "upper"}, filter),
	}}, false)...)
	c = append(c, FromBundle(stage.Bundle{Name: "other", Stages: []stage.Definition{
		stage.DefineFilter(stage.About{Name: "upper"}, filter),
	}}, false)...)
	return c
}

func lookup(values map[string]string) Lookup {
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

// input is what a plan depends on: a document, and what one run gives.
type input struct {
	Config
	Inputs
}

// built prepares a pipeline and binds it.
func built(in input) (*Plan, diag.List) {
	prepared, diags := Prepare(in.Config)
	if prepared == nil {
		return nil, diags
	}
	plan, more := prepared.Bind(in.Inputs)
	return plan, append(diags, more...)
}

func lint(in input) diag.List { return Lint(in.Config, in.Inputs) }

func testInput(doc *document.Document) input {
	return input{
		Config{Document: doc, Catalog: testCatalog()},
		Inputs{
			Env:         lookup(map[string]string{"ROWS": "12", "SNAPSHOT": "true", "RATIO": "0.10", "TIMEOUT": "30s", "BAD": "many", "LATIN": "\xe9"}),
			Secrets:     lookup(map[string]string{"dsn": "mysql://u:hunter2@db/practice", "password": "hunter2"}),
			Customer:    Customer{ID: "c1", Attributes: map[string]any{"key": config.NewSecret("hunter2")}},
			RunID:       "r1",
			Destination: Destination{Output: "-"},
			EnvAllowed:  []string{"ROWS", "SNAPSHOT", "RATIO", "TIMEOUT", "BAD", "LATIN", "NOTHING", "HOME"},
			Hint: func(reference string) string {
				if reference == "secret.dsn" {
					return "give --dsn"
				}
				return ""
			},
		},
	}
}

// TestGolden plans every directory in testdata: pipeline.yaml with the
// parameters in params.txt (name=value lines; a line "isolation=…" is the
// option), and holds what Lint and Build say against expected.txt.
func TestGolden(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/[gb]*d/*")
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			good := filepath.Base(filepath.Dir(dir)) == "good"
			l := &document.Loader{Catalogue: catalogue}
			doc, diags := l.File(filepath.Join(dir, "pipeline.yaml"))
			var out bytes.Buffer
			print := func(diags diag.List) {
				if err := diag.WriteText(&out, diags, diag.TextOptions{Source: l.Source}); err != nil {
					t.Fatal(err)
				}
			}
			out.WriteString("== load\n")
			print(diags)
			if doc != nil {
				in := testInput(doc)
				in.Parameters = map[string]any{}
				if doc.State != nil {
					in.State = &State{}
				}
				params, err := os.ReadFile(filepath.Join(dir, "params.txt"))
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				for _, line := range strings.Fields(string(params)) {
					name, value, _ := strings.Cut(line, "=")
					if name == "isolation" {
						in.Isolation = Isolation(value)
					} else {
						in.Parameters[name] = value
					}
				}
				out.WriteString("== lint\n")
				linted := lint(in)
				print(linted)
				if good && linted.HasErrors() {
					t.Error("lint reports an error in a good pipeline")
				}
				if !doc.Invalid {
					out.WriteString("== plan\n")
					plan, diags := built(in)
					print(diags)
					if (plan == nil) != diags.HasErrors() {
						t.Errorf("plan %v with %v", plan, diags)
					}
					if plan != nil {
						if err := plan.WriteText(&out); err != nil {
							t.Fatal(err)
						}
						var b bytes.Buffer
						if err := plan.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) || strings.Contains(b.String(), "hunter2") {
							t.Errorf("JSON: %v\n%s", err, b.String())
						}
					}
					if good != (plan != nil) {
						t.Errorf("good is %t, but the plan is %v", good, plan)
					}
				}
			}
			if strings.Contains(out.String(), "hunter2") {
				t.Error("a secret is shown")
			}
			golden := filepath.Join(dir, "expected.txt")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("--- got\n%s--- want\n%s", out.String(), want)
			}
		})
	}
}

// load reads a pipeline with these parameters, rules and stages.
func load(t *testing.T, spec string) *document.Document {
	t.Helper()
	l := &document.Loader{Catalogue: catalogue}
	doc, diags := l.Bytes("test.yaml", []byte("apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: test}\nspec:\n"+spec))
	if diags.HasErrors() {
		var b bytes.Buffer
		_ = diag.WriteText(&b, diags, diag.TextOptions{Source: l.Source})
		t.Fatal(b.String())
	}
	return doc
}

func build(t *testing.T, in input) *Plan {
	t.Helper()
	plan, diags := built(in)
	if plan == nil {
		t.Fatal(diags.Err())
	}
	return plan
}

// TestSettings follows every kind of value to the JSON that the plugin gets.
func TestSettings(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  parameters:
    - {name: day, type: date}
    - {name: count, type: integer, default: 9007199254740993}
    - {name: amount, type: decimal, default: "0.10000000000000000000000000001"}
    - {name: flag, type: boolean, default: true}
    - {name: word, type: string, default: "<é>"}
    - {name: absent, type: string}
  stages:
    source:
      use: mysql
      with:
        url: mysql://${run.id}:${secret.password}@db
        args: ["${params.day}", "${params.count}", "${params.amount}", "${params.flag}", "${params.word}", "${params.absent}",
               "from ${params.day} $${params.day} ${params.count}/${params.amount}/${params.flag}", 18446744073709551615, 1.50, ~, 007, "$$", "$x"]
        rows: ${env.ROWS}
        snapshot: ${env.SNAPSHOT}
        ratio: ${env.RATIO}
        timeout: ${env.TIMEOUT}
        call: ${params.count}
        session: {a: "${customer.id}", b: "${run.id}"}
        tls: {mode: require, key: "${customer.key}"}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
	in := testInput(doc)
	in.Parameters = map[string]any{"day": "2024-02-29"}
	plan := build(t, in)
	got := string(plan.Stages[0].SettingsJSON())
	want := `{"args":["2024-02-29",9007199254740993,0.10000000000000000000000000001,true,"<é>",null,` +
		`"from 2024-02-29 ${params.day} 9007199254740993/0.10000000000000000000000000001/true",18446744073709551615,1.50,null,"007","$$","$x"],` +
		`"call":"9007199254740993","ratio":0.10,"rows":12,"session":{"a":"c1","b":"r1"},"snapshot":true,"timeout":"30s",` +
		`"tls":{"key":"hunter2","mode":"require"},"url":"mysql://r1:hunter2@db"}`
	if got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	if _, err := config.Decode[mysqlSettings](config.Of[mysqlSettings](), []byte(got)); err != nil {
		t.Errorf("the plugin refuses its settings: %v", err)
	}
	for name, text := range map[string]string{"%v": fmt.Sprintf("%v", plan.Stages), "%#v": fmt.Sprintf("%#v", plan.Stages), "%+v": fmt.Sprintf("%+v", plan)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s shows a secret", name)
		}
	}
	if got := string(plan.Stages[1].SettingsJSON()); got != "{}" {
		t.Errorf("no settings are %s", got)
	}
}

// TestUnavailable: a namespace without a lookup is an error, not an empty value.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", call: "${env.HOME}"}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
	in := testInput(doc)
	in.Env, in.Secrets = nil, nil
	plan, diags := built(in)
	if plan != nil || len(diags) != 2 || diags[0].Code != CodeNotAvailable || diags[1].Code != CodeNotAvailable {
		t.Errorf("%v", diags)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    filter: [{use: columns}, {use: acme/columns}, {use: acme/upper}, {use: columns, isolation: process}, {use: builtin/columns}]
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
	for _, c := range []struct {
		isolation Isolation
		want      string
	}{
		{"", "builtin[0 1] acme[2 3] builtin[4] builtin[5 6 7]"},
		{IsolationGroup, "builtin[0 1] acme[2 3] builtin[4] builtin[5 6 7]"},
		{IsolationNone, "builtin[0 1]host acme[2 3] builtin[4 5 6 7]host"},
		{IsolationStage, "builtin[0] builtin[1] acme[2] acme[3] builtin[4] builtin[5] builtin[6] builtin[7]"},
	} {
		in := testInput(doc)
		in.Isolation = c.isolation
		plan := build(t, in)
		var got []string
		for _, g := range plan.Groups {
			text := g.Plugin + fmt.Sprint(g.Stages)
			if g.InHost {
				text += "host"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%q: got %s, want %s", c.isolation, text, c.want)
		}
		var ids []string
		for _, s := range plan.Stages {
			ids = append(ids, s.ID)
		}
		if want := []string{"source", "filter-1", "filter-2", "filter-3", "filter-4", "filter-5", "encoder", "sink"}; !reflect.DeepEqual(ids, want) {
			t.Errorf("IDs %v", ids)
		}
	}
}

// TestExpressions holds conditions on parameters of every type against what they
// must decide, or the code of what is wrong with them.
func TestExpressions(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300)
	long := "true" + strings.Repeat(" || true", 2000)
	costly := "'" + strings.Repeat("a", 500) + "'.matches('a*')"
	for i := range 4 {
		costly = fmt.Sprintf("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(x%d, %s)", i, costly)
	}
	for _, c := range []struct{ expression, want string }{
		{"true", "on"}, {"false", "off"},
		{"params.day <= params.end", "on"}, {"params.day == '2024-01-31'", "on"}, {"params.day > '2024-02-01'", "off"},
		{"params.absent == null", "on"}, {"has(params.absent)", "off"}, {"has(params.day)", "on"}, {"params['word'] == 'w'", "on"},
		{"params.count > 5 && params.flag", "on"}, {"params.count > 5.5", "on"}, {"params.amount >= 10.25", "on"}, {"params.amount < 10", "off"}, {"params['absent'] == null", "on"},
		{"params.word in ['v', 'w']", "on"}, {"run.id == 'r1' && customer.id == 'c1'", "on"}, {"has(customer.key)", "off"},
		{"params.long == 10.25", "off"}, {"params.long > 10.25", "on"},
		{"params.absent > 'a'", CodeExpressionFailed}, {"run.nothing == 1", CodeExpressionFailed}, {"customer.key == 'hunter2'", CodeExpressionFailed},
		{"params.nothing == 1", CodeUnknownParameter}, {"has(params.nothing)", CodeUnknownParameter}, {"params['nothing'] == 1", CodeUnknownParameter},
		{"params.count > 'a'", CodeExpression}, {"params.day ==", CodeExpression}, {"day == 'x'", CodeExpression}, {"${params.day} == 'x'", CodeReferenceInCode},
		{"params.count + 1", CodeExpressionType}, {"params.word", CodeExpressionType}, {"'x'", CodeExpressionType}, {"run.id", CodeExpressionFailed},
		{deep, CodeExpression}, {long, CodeExpression}, {costly, formula.CodeTooCostly},
	} {
		quoted, err := json.Marshal(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		doc := load(t, `
  parameters:
    - {name: day, type: date, default: 2024-01-31}
    - {name: end, type: date, required: true}
    - {name: count, type: integer, default: 7}
    - {name: amount, type: decimal, default: "10.25"}
    - {name: long, type: decimal, default: "10.2500000000000000001"}
    - {name: flag, type: boolean, default: true}
    - {name: word, type: string, default: w}
    - {name: absent, type: string}
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}"}}
    encoder: {use: ndjson}
    compressor: {use: gzip, when: `+string(quoted)+`}
    sink: {use: stream, with: {to: x}}
`)
		in := testInput(doc)
		in.Parameters = map[string]any{"end": "2024-12-31"}
		plan, diags := built(in)
		got := "off"
		switch {
		case plan == nil:
			got = diags[0].Code
		case len(plan.Stages) == 4:
			got = "on"
		}
		if got != c.want {
			t.Errorf("%.80s: got %s, want %s: %v", c.expression, got, c.want, diags.Err())
		}
		if linted := lint(in); linted.HasErrors() && (plan != nil || c.want == CodeExpressionFailed) {
			t.Errorf("%.80s: lint reports what depends on values: %v", c.expression, linted.Err())
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	l := &document.Loader{Catalogue: catalogue}
	doc, diags := l.Name("patients")
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	in := testInput(doc)
	in.Parameters = map[string]any{"from_date": "2024-02-30", "date_modifier": "created", "output_format": json.Number("5"), "form_date": "x", "compression": nil}
	plan, got := built(in)
	want := map[string]string{ // parameter → code
		"from_date": CodeParameterInvalid, "to_date": CodeParameterMissing, "date_modifier": CodeParameterNotAllowed,
		"output_format": CodeParameterInvalid, "form_date": CodeParameterUnknown,
	}
	if plan != nil || len(got) != len(want) {
		t.Fatalf("%d diagnostics: %v", len(got), got)
	}
	for _, d := range got {
		if want[d.Parameter] != d.Code || d.File != "" {
			t.Errorf("%+v", d)
		}
	}
	in.Parameters = map[string]any{"from_date": "2024-03-01", "to_date": "2024-02-29"}
	if _, got := built(in); len(got) != 1 || got[0].Code != "INVALID_DATE_RANGE" || got[0].Parameter != "to_date" {
		t.Errorf("range: %v", got)
	}
	in.Parameters = map[string]any{"from_date": "2024-02-29", "to_date": "2024-02-29"}
	if p := build(t, in); len(p.Columns) != len(doc.Columns) || p.Parameters[2].Value != "All" || p.Parameters[2].Given {
		t.Errorf("plan %+v", p.Parameters)
	}
}

// TestTemplate: a template is linted like a pipeline, and cannot be planned.
func TestTemplate(t *testing.T) {
	t.Parallel()
	l := &document.Loader{Catalogue: catalogue}
	doc, diags := l.Name("data")
	if len(diags) > 0 || len(lint(testInput(doc))) > 0 {
		t.Errorf("template: %v %v", diags, lint(testInput(doc)))
	}
	if plan, diags := built(testInput(doc)); plan != nil || diags[0].Code != CodeTemplate {
		t.Errorf("a template was planned: %v", diags)
	}
}

// TestBounded: references cannot make settings larger than the limit.
func TestBounded(t *testing.T) {
	t.Parallel()
	doc := load(t, `
  parameters: [{name: p, type: string}]
  stages:
    source: {use: mysql, with: {url: x, args: [`+strings.Repeat(`"${params.p}", "`+strings.Repeat("${params.p}", 1000)+`", `, 20)+`1]}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: x}}
`)
	in := testInput(doc)
	in.Parameters = map[string]any{"p": strings.Repeat("x", document.MaxParameterBytes)}
	plan, diags := built(in)
	if plan != nil || len(diags) != 2 || diags[1].Code != CodeTooLarge {
		t.Errorf("%+v", diags)
	}
}

// FuzzPlan: whatever a pipeline holds, linting and planning end, agree that an
// error means no plan, and show no secret.
func FuzzPlan(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*/pipeline.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "from_date=2024-01-01")
	}
	f.Fuzz(func(t *testing.T, content []byte, parameter string) {
		l := &document.Loader{Catalogue: catalogue}
		doc, diags := l.Bytes("f.yaml", content)
		if doc == nil {
			return
		}
		in := testInput(doc)
		name, value, _ := strings.Cut(parameter, "=")
		in.Parameters = map[string]any{name: value}
		diags = append(diags, lint(in)...)
		var out bytes.Buffer
		if !doc.Invalid {
			plan, more := built(in)
			if (plan == nil) != more.HasErrors() {
				t.Fatalf("plan %v with %v", plan, more)
			}
			diags = append(diags, more...)
			if plan != nil {
				if err := plan.WriteText(&out); err != nil {
					t.Fatal(err)
				}
				if err := plan.WriteJSON(&out); err != nil {
					t.Fatal(err)
				}
				for i := range plan.Stages {
					if !json.Valid(plan.Stages[i].SettingsJSON()) {
						t.Fatal("settings are not JSON")
					}
				}
			}
		}
		if err := diag.WriteText(&out, diags, diag.TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "hunter2") && !bytes.Contains(content, []byte("hunter2")) && !strings.Contains(parameter, "hunter2") {
			t.Fatalf("a secret is shown: %s", out.String())
		}
	})
}

func TestParseReferences(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "",
		"plain":                     "'plain'",
		"${a.b}":                    "a.b@0-6",
		"é${a.b}x${c.d-e}":          "'é' a.b@1-7 'x' c.d-e@8-16",
		"$${a.b}":                   "'${a.b}'",
		"$$${a.b}":                  "'$${a.b}'",
		"a$${${a.b}":                "'a${' a.b@4-10",
		"$ $a {b} }":                "'$ $a {b} }'",
		"${a}":                      "bad@0-4",
		"${}${a.b}":                 "bad@0-3 a.b@3-9",
		"${a.b.c}":                  "bad@0-8",
		"${ a.b }":                  "bad@0-8",
		"x${a.b":                    "'x' bad@1-3",
		"${a.${b.c}}":               "bad@0-10 '}'",
		strings.Repeat("${a.b}", 2): "a.b@0-6 a.b@6-12",
	} {
		type piece struct {
			start int
			text  string
		}
		var bad []piece
		parts := parseReferences(text, func(start, end int, _ string) { bad = append(bad, piece{start, fmt.Sprintf("bad@%d-%d", start, end)}) })
		var got []string
		for _, p := range parts {
			if p.namespace == "" {
				got = append(got, "'"+p.literal+"'")
				continue
			}
			for len(bad) > 0 && bad[0].start < p.start {
				got, bad = append(got, bad[0].text), bad[1:]
			}
			got = append(got, fmt.Sprintf("%s@%d-%d", p, p.start, p.end))
		}
		for _, b := range bad {
			if text == "${a.${b.c}}" {
				got = append([]string{b.text}, got...)
			} else {
				got = append(got, b.text)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: got %s, want %s", text, text, want)
		}
	}
}

// bench prepares a pipeline of the tests' catalogue, and says what a request gives it.
func bench(t testing.TB) (*Prepared, Inputs) {
	l := &document.Loader{Catalogue: catalogue}
	doc, diags := l.Name("appointments")
	if len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	in := testInput(doc)
	in.Parameters = map[string]any{"from_date": "2024-01-01"}
	prepared, diags := Prepare(in.Config)
	if prepared == nil {
		t.Fatal(diags.Err())
	}
	return prepared, in.Inputs
}

// TestBindAllocations: what depends on no input is done by Prepare. In a pipeline of the real catalogue it is
// held by cmd/cipherstream/pipeline.
func TestBindAllocations(t *testing.T) {
	prepared, in := bench(t)
	allocations := testing.AllocsPerRun(20, func() {
		if plan, diags := prepared.Bind(in); plan == nil {
			t.Fatal(diags.Err())
		}
	})
	if allocations > 500 {
		t.Errorf("%v allocations", allocations)
	}
}

// BenchmarkBind is what a request costs before anything runs.
func BenchmarkBind(b *testing.B) {
	prepared, in := bench(b)
	b.ReportAllocs()
	for b.Loop() {
		if plan, diags := prepared.Bind(in); plan == nil {
			b.Fatal(diags.Err())
		}
	}
}
