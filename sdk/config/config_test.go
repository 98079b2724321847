package config_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/config"
)

type settings struct {
	URL    config.Secret     `config:"url,required" doc:"Where to connect."`
	Mode   string            `config:"mode" enum:"fast,safe" default:"safe"`
	Wait   time.Duration     `config:"wait" default:"10s" min:"1ms" max:"1h"`
	Buffer config.Size       `config:"buffer" default:"4MiB" min:"1KiB"`
	Count  int               `config:"count" default:"3" min:"1" max:"9"`
	Big    int64             `config:"big"`
	Ratio  float64           `config:"ratio" default:"0.5"`
	Deep   bool              `config:"deep" default:"true"`
	Args   []config.Value    `config:"args" max:"3"`
	Names  []string          `config:"names" default:"[\"a\",\"b\"]"`
	Rename map[string]string `config:"rename"`
	Keys   []config.Secret   `config:"keys"`
	TLS    tls               `config:"tls"`
}

type tls struct {
	CA     string `config:"ca" max:"5"`
	Verify bool   `config:"verify" default:"true"`
}

var spec = config.Of[settings]()

func decode(t *testing.T, text string) settings {
	t.Helper()
	s, err := config.Decode[settings](spec, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := settings{
		URL: config.NewSecret("x"), Mode: "safe", Wait: 10 * time.Second, Buffer: 4 << 20, Count: 3,
		Ratio: 0.5, Deep: true, Names: []string{"a", "b"}, TLS: tls{Verify: true},
	}
	if got := decode(t, `{"url":"x"}`); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestCursor: what a host fills in comes back as it was, what it never writes is refused, and no author is offered it.
func TestCursor(t *testing.T) {
	t.Parallel()
	type source struct {
		Cursor config.Cursor `config:"cursor"`
		Other  string        `config:"other"`
	}
	spec := config.Of[source]()
	want := config.Cursor{Column: "updated_at", Type: config.CursorTimestamp, From: "2024-01-30 23:59:59.5", Bound: true,
		Zone: "Australia/Sydney", Origin: "db:3306/practice"}
	raw, err := json.Marshal(map[string]any{"cursor": want.Tree()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := config.Decode[source](spec, raw); err != nil || got.Cursor != want {
		t.Errorf("%+v, %v", got.Cursor, err)
	}
	if got, err := config.Decode[source](spec, nil); err != nil || got.Cursor != (config.Cursor{}) {
		t.Errorf("without: %+v, %v", got.Cursor, err)
	}
	for _, text := range []string{`5`, `{}`, `{"column":"a"}`, `{"column":"a","type":"text"}`, `{"column":1,"type":"date"}`,
		`{"column":"a","type":"date","bound":"true"}`, `{"column":"a","type":"date","more":"x"}`} {
		if _, err := config.Decode[source](spec, []byte(`{"cursor":`+text+`}`)); err == nil {
			t.Errorf("%s is a cursor", text)
		}
	}
	if schema, _ := json.Marshal(spec.JSONSchema()); strings.Contains(string(schema), "cursor") {
		t.Errorf("an editor would offer it: %s", schema)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	got := decode(t, `{"url":"x","mode":"fast","wait":"250ms","buffer":65536,"count":9,"big":9223372036854775807,"ratio":2,
		"deep":false,"args":[null,"t",true],"names":[],"rename":{"a":"b"},"keys":["k1","k2"],"tls":{"ca":"c","verify":false}}`)
	want := settings{
		URL: config.NewSecret("x"), Mode: "fast", Wait: 250 * time.Millisecond, Buffer: 65536, Count: 9, Big: 1<<63 - 1, Ratio: 2,
		Args: []config.Value{nil, "t", true}, Names: []string{}, Rename: map[string]string{"a": "b"},
		Keys: []config.Secret{config.NewSecret("k1"), config.NewSecret("k2")}, TLS: tls{CA: "c"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Numbers of scalars keep their digits.
	exact := decode(t, `{"url":"x","args":[12345678901234567890.123456789]}`)
	if n := exact.Args[0].(json.Number); n != "12345678901234567890.123456789" {
		t.Errorf("scalar number: %v", n)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ settings, want string }{
		{`{}`, `"url" is required`},
		{`{"url":7}`, `url: expected text`},
		{`{"url":"x","mod":"fast"}`, `mod: unknown key "mod"`},
		{`{"url":"x","mode":"slow"}`, `mode: "slow" is not allowed here; allowed: fast, safe`},
		{`{"url":"x","mode":true}`, `mode: expected text (put it in quotes), not the boolean true`},
		{`{"url":"x","wait":"soon"}`, `wait: expected a duration such as "30s" or "1m30s", not the text "soon"`},
		{`{"url":"x","wait":10}`, `wait: expected a duration such as "30s" or "1m30s", not the number 10`},
		{`{"url":"x","wait":"2h"}`, `wait: 2h is out of range: from 1ms to 1h`},
		{`{"url":"x","buffer":"4 parsecs"}`, `buffer: expected a size`},
		{`{"url":"x","buffer":-1}`, `buffer: expected a size`},
		{`{"url":"x","buffer":512}`, `buffer: 512 is out of range: at least 1KiB`},
		{`{"url":"x","count":"3"}`, `count: expected a whole number, not the text "3"`},
		{`{"url":"x","count":1.5}`, `count: expected a whole number, not the number 1.5`},
		{`{"url":"x","count":10}`, `count: 10 is out of range: from 1 to 9`},
		{`{"url":"x","big":9223372036854775808}`, `big: expected a whole number`},
		{`{"url":"x","deep":"yes"}`, `deep: expected true or false, not the text "yes"`},
		{`{"url":"x","args":{"a":1}}`, `args: expected a list, not a mapping`},
		{`{"url":"x","args":[[1]]}`, `args.0: expected a single value, not a list`},
		{`{"url":"x","args":[1,2,3,4]}`, `args: 4 elements: at most 3`},
		{`{"url":"x","rename":{"a":1}}`, `rename.a: expected text (put it in quotes), not the number 1`},
		{`{"url":"x","tls":{"ca":"123456"}}`, `tls.ca: 6 characters: at most 5`},
		{`{"url":"x","tls":{"cert":"1"}}`, `tls.cert: unknown key "cert"`},
		{`[1]`, `the settings are not a JSON object`},
		{`{"url":"x"}{}`, `the settings are more than one JSON object`},
	} {
		_, err := config.Decode[settings](spec, []byte(c.settings))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got  %v\n want %s", c.settings, err, c.want)
		}
	}
	// All of them at once, in the specification's order.
	_, err := config.Decode[settings](spec, []byte(`{"zzz":1,"count":0,"mode":1}`))
	if got := strings.Count(err.Error(), "\n") + 1; got != 4 {
		t.Errorf("%d problems:\n%v", got, err)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const text = "p4ssw0rd"
	s := decode(t, `{"url":"`+text+`","keys":["`+text+`"]}`)
	if s.URL.Reveal() != text {
		t.Fatal("the secret is lost")
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", s, s, s, s.URL), string(encoded)} {
		if strings.Contains(shown, text) {
			t.Errorf("printed: %s", shown)
		}
	}
	_, err = config.Decode[settings](spec, []byte(`{"url":["`+text+`"],"keys":[{"`+text+`":1}]}`))
	if err == nil || strings.Contains(err.Error(), text) {
		t.Errorf("error: %v", err)
	}
}

// A specification crosses the process boundary as JSON and must check the same.
func TestSpecSurvivesJSON(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var copied config.Spec
	if err := json.Unmarshal(encoded, &copied); err != nil {
		t.Fatal(err)
	}
	tree := map[string]any{"mode": "slow", "tls": map[string]any{"x": int64(1)}, "count": int64(100)}
	if got, want := copied.Check(tree), spec.Check(tree); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestJSONSchema(t *testing.T) {
	t.Parallel()
	schema := spec.JSONSchema()
	if schema["additionalProperties"] != false || !reflect.DeepEqual(schema["required"], []string{"url"}) {
		t.Errorf("schema: %v", schema)
	}
	properties := schema["properties"].(map[string]any)
	if len(properties) != 13 {
		t.Errorf("%d properties", len(properties))
	}
	text, err := json.Marshal(properties["count"])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"anyOf":[{"maximum":9,"minimum":1,"type":"integer"},{"pattern":"\\$\\{[^}]+\\}","type":"string"}],"default":3}`
	if string(text) != want {
		t.Errorf("count: %s", text)
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"0": 0, "512": 512, "1KiB": 1024, "4MiB": 4 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40, "3kB": 3000, "5MB": 5_000_000, "7B": 7,
	} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1mib", "9223372036854775807KiB", "1MiBMiB", "1 2"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	for size, want := range map[config.Size]string{0: "0", 1000: "1000", 1024: "1KiB", 4 << 20: "4MiB", 1<<20 + 1: "1048577"} {
		if got := size.String(); got != want {
			t.Errorf("%d: %q", int64(size), got)
		}
	}
}

func TestBadDeclarationsPanic(t *testing.T) {
	t.Parallel()
	for name, declare := range map[string]func(){
		"not a struct": func() { config.Of[int]() },
		"type": func() {
			config.Of[struct {
				C chan int `config:"c"`
			}]()
		},
		"default": func() {
			config.Of[struct {
				N int `config:"n" default:"x"`
			}]()
		},
		"option": func() {
			config.Of[struct {
				N int `config:"n,optional"`
			}]()
		},
		"name": func() {
			config.Of[struct {
				N int `config:""`
			}]()
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			declare()
		})
	}
}

// Settings come from another process: nothing in them may panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"url":"x","args":[1,"a",null],"tls":{"ca":"b"}}`))
	f.Add([]byte(`{"url":"x","buffer":"4MiB","wait":"1s","names":[],"rename":{"a":"b"}}`))
	f.Add([]byte(`{"count":1e400,"ratio":1e400,"big":-0}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := config.Decode[settings](spec, raw)
		if err == nil && (s.Count < 1 || s.Count > 9 || s.Wait < time.Millisecond || s.Buffer < 1024) {
			t.Errorf("out of range: %+v", s)
		}
	})
}
