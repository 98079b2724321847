package plan

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// following is a pipeline that keeps state, with a source of one kind or another.
func following(t *testing.T, cursor, with string) input {
	t.Helper()
	return testInput(load(t, `
  parameters:
    - {name: location, type: integer, default: 1}
    - {name: format, type: string, default: ndjson}
    - {name: from, type: date}
  state: {cursor: `+cursor+`}
  stages:
    source: {use: follow, with: {`+with+`}}
    filter: {use: columns, when: params.from != null, with: {include: ["${customer.id}"]}}
    encoder: {use: ndjson, when: params.format == 'ndjson'}
    sink: {use: stream, with: {to: "${params.format}"}}
  columns:
    - {name: id, type: int64, nullable: false}
    - {name: big, type: uint64, nullable: false}
    - {name: amount, type: "decimal(5,2)", nullable: false}
    - {name: day, type: date, nullable: false}
    - {name: updated_at, type: timestamp(6), nullable: false}
`))
}

// TestStateFrom: the least value that a run reads, as the source is given it and as the arguments of its code.
func TestStateFrom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cursor, value, zone string
		from, argument      string
	}{
		{cursor: "updated_at", argument: `"0001-01-01 00:00:00"`},
		{cursor: "day", argument: `"0001-01-01"`},
		{cursor: "id, overlap: 5", argument: `-9223372036854775808`},
		{cursor: "big, overlap: 5", argument: `0`},
		{cursor: "amount, overlap: 5", argument: `-999.99`},
		{"updated_at", "2024-03-01 10:00:00.000001", "UTC", "2024-02-29 10:00:00.000001",
			`"2024-02-29 10:00:00.000001"`},
		{"updated_at, overlap: 1h", "2024-03-01 00:30:00", "+10:00", "2024-02-29 23:30:00", `"2024-02-29 23:30:00"`},
		// Clocks that are put back show an earlier time for what comes later.
		{"updated_at, overlap: 1h", "2024-04-07 02:59:59.5", "Australia/Sydney", "2024-04-06 22:59:59.5",
			`"2024-04-06 22:59:59.5"`},
		{"updated_at, overlap: 1h", "2024-04-07 02:59:59", "SYSTEM (XYZ)", "2024-04-06 22:59:59",
			`"2024-04-06 22:59:59"`},
		{"updated_at, overlap: 3650d", "0002-01-01 00:00:00", "UTC", "0001-01-01 00:00:00", `"0001-01-01 00:00:00"`},
		{"day, overlap: 2d", "2024-03-01", "UTC", "2024-02-28", `"2024-02-28"`},
		{"day, overlap: 2d", "0001-01-02", "UTC", "0001-01-01", `"0001-01-01"`},
		{"id, overlap: 100", "42", "", "-58", `-58`},
		{"id, overlap: 9", "-9223372036854775800", "", "-9223372036854775808", `-9223372036854775808`},
		{"big, overlap: 1", "18446744073709551615", "", "18446744073709551614", `18446744073709551614`},
		{"amount, overlap: 1", "0.05", "", "-0.95", `-0.95`},
		{"amount, overlap: 10", "123.45", "", "113.45", `113.45`},
		{"amount, overlap: 10", "10", "", "0", `0`},
	} {
		in := following(t, c.cursor, `query: "SELECT ?", args: ["${state.cursor}"]`)
		declared := in.Document.State
		in.Inputs.State = &State{}
		if c.value != "" {
			*in.Inputs.State = State{Version: StateVersion, Pipeline: "test", Source: "builtin/follow",
				Cursor: declared.Cursor, Type: declared.CursorType,
				Inputs: map[string]string{}, Value: c.value, Zone: c.zone, Origin: "db:3306/a"}
		}
		p := build(t, in)
		settings := string(p.Stages[0].SettingsJSON())
		got, err := config.Decode[followSettings](config.Of[followSettings](), []byte(settings))
		if err != nil {
			t.Fatalf("%s: %v", settings, err)
		}
		want := config.Cursor{Column: declared.Cursor, Type: declared.CursorType, From: c.from, Bound: true}
		if c.value != "" {
			want.Zone, want.Origin = c.zone, "db:3306/a"
		}
		if got.Cursor != want || !strings.Contains(settings, `"args":[`+c.argument+`]`) {
			t.Errorf("%s at %s: %s, want %+v and %s", c.cursor, c.value, settings, want, c.argument)
		}
		if p.State == nil || !p.State.Kept || p.State.From != c.from || p.State.Last != c.value {
			t.Errorf("%s at %s: %+v", c.cursor, c.value, p.State)
		}
	}
}

// TestStateTable: a source without code reads from the cursor on by itself; and one that is to keep no state reads all.
func TestStateTable(t *testing.T) {
	t.Parallel()
	in := following(t, "id, overlap: 10", "table: t")
	if got := string(build(t, in).Stages[0].SettingsJSON()); got != `{"table":"t"}` {
		t.Errorf("without state: %s", got)
	}
	in.Inputs.State = &State{}
	if got := string(build(t,
		in).Stages[0].SettingsJSON()); got != `{"cursor":{"bound":false,"column":"id","from":"","origin":"","type":"integer","zone":""},"table":"t"}` {
		t.Errorf("the first run: %s", got)
	}
	in.Inputs.Source = &StandIn{Use: "follow", Config: map[string]any{"table": "invented"}}
	if p := build(t, in); string(p.Stages[0].SettingsJSON()) != `{"table":"invented"}` || p.State.Kept {
		t.Errorf("a test's rows: %s, %+v", p.Stages[0].SettingsJSON(), p.State)
	}
}

// TestStateNext: what a committed run says becomes the state of the next one, whatever else it says does not.
func TestStateNext(t *testing.T) {
	t.Parallel()
	in := following(t, "updated_at", "table: t")
	in.Inputs.State = &State{}
	in.Parameters = map[string]any{"from": "2024-01-01", "format": "ndjson", "location": "5"}
	p := build(t, in)
	at := time.Date(2024, 3, 1, 12, 0, 0, 5, time.FixedZone("", 3600))
	facts := map[string]string{"source." + stage.FactCursor: "2024-03-01 10:00:00.5",
		"source." + stage.FactCursorZone:   "UTC",
		"source." + stage.FactCursorOrigin: "db:3306/a", "filter." + stage.FactCursor: "x"}
	next, err := p.NextState(facts, at)
	if err != nil {
		t.Fatal(err)
	}
	// What only the encoder and the sink depend on is of no matter for which rows come.
	text, err := json.Marshal(next)
	if want := `{"version":1,"pipeline":"test","source":"builtin/follow","cursor":"updated_at","type":"timestamp",` +
		`"inputs":{"customer.id":"c1","params.from":"2024-01-01"},"value":"2024-03-01 10:00:00.5","zone":"UTC","origin":"db:3306/a",` +
		`"run_id":"r1","saved_at":"2024-03-01T11:00:00Z"}`; err != nil || string(text) != want {
		t.Errorf("got  %s, %v\nwant %s", text, err, want)
	}
	in.Inputs.State = next
	if p := build(t, in); p.State.From != "2024-02-29 10:00:00.5" {
		t.Errorf("%+v", p.State)
	}
	if next, err := p.NextState(map[string]string{}, at); next != nil || err != nil {
		t.Errorf("no rows: %+v, %v", next, err)
	}
	for name, value := range map[string]string{stage.FactCursor: "[secret]-03-01 10:00:00", stage.FactCursorZone: "",
		stage.FactCursorOrigin: ""} {
		wrong := maps.Clone(facts)
		wrong["source."+name] = value
		if next, err := p.NextState(wrong, at); next != nil || !fault.Is(err, CodeStateInvalid) {
			t.Errorf("%s %q: %+v, %v", name, value, next, err)
		}
	}
	in.Inputs.State = nil
	if next, err := build(t, in).NextState(facts, at); next != nil || err != nil {
		t.Errorf("of a run without state: %+v, %v", next, err)
	}
}

// TestStateOther: the state of anything else is refused, and so is one that cannot be one.
func TestStateOther(t *testing.T) {
	t.Parallel()
	mine := State{Version: StateVersion, Pipeline: "test", Source: "builtin/follow", Cursor: "updated_at",
		Type: config.CursorTimestamp,
		Inputs: map[string]string{"params.from": "2024-01-01",
			"customer.id": "c1"}, Value: "2024-03-01 10:00:00", Zone: "UTC", Origin: "db:3306/a"}
	for name, c := range map[string]struct {
		change func(*State)
		code   string
	}{
		"its own":            {func(*State) {}, ""},
		"another pipeline":   {func(s *State) { s.Pipeline = "tset" }, CodeStateOther},
		"another source":     {func(s *State) { s.Source = "acme/follow" }, CodeStateOther},
		"another cursor":     {func(s *State) { s.Cursor = "created_at" }, CodeStateOther},
		"another type":       {func(s *State) { s.Type, s.Value = config.CursorDate, "2024-03-01" }, CodeStateOther},
		"another parameter":  {func(s *State) { s.Inputs["params.from"] = "2024-01-02" }, CodeStateOther},
		"a parameter more":   {func(s *State) { s.Inputs["params.x"] = "" }, CodeStateOther},
		"a parameter less":   {func(s *State) { delete(s.Inputs, "customer.id") }, CodeStateOther},
		"another version":    {func(s *State) { s.Version = 2 }, CodeStateInvalid},
		"no value":           {func(s *State) { s.Value = "" }, CodeStateInvalid},
		"no day":             {func(s *State) { s.Value = "2024-02-30 10:00:00" }, CodeStateInvalid},
		"code":               {func(s *State) { s.Value = "2024-03-01 10:00:00' OR 1=1" }, CodeStateInvalid},
		"of another type":    {func(s *State) { s.Value = "5" }, CodeStateInvalid},
		"no zone":            {func(s *State) { s.Zone = "" }, CodeStateInvalid},
		"no origin":          {func(s *State) { s.Origin = "" }, CodeStateInvalid},
		"a type that is not": {func(s *State) { s.Type = "text" }, CodeStateInvalid},
	} {
		in := following(t, "updated_at", "table: t")
		in.Parameters = map[string]any{"from": "2024-01-01"}
		state := mine
		state.Inputs = maps.Clone(mine.Inputs)
		c.change(&state)
		in.Inputs.State = &state
		p, diags := built(in)
		if (p == nil) != (c.code != "") || c.code != "" && diags[0].Code != c.code {
			t.Errorf("%s: %v", name, diags)
		}
		for _, d := range diags {
			if strings.Contains(d.Message+d.Hint, "2024-01-0") {
				t.Errorf("%s: a parameter's value is shown: %s", name, d.Message)
			}
		}
	}
	in := testInput(load(t,
		"  stages:\n    source: {use: follow}\n    encoder: {use: ndjson}\n    sink: {use: stream, with: {to: x}}\n"))
	in.Inputs.State = &State{}
	if p, diags := built(in); p != nil || diags[0].Code != CodeStateOther {
		t.Errorf("a pipeline without state: %v", diags)
	}
}

// FuzzBelow: whatever a state says is refused or a value; and what a run begins with is a value again, not above it.
func FuzzBelow(f *testing.F) {
	for _, seed := range []string{"2024-03-01 10:00:00.5", "0001-01-01 00:00:00", "2024-03-01", "-5",
		"18446744073709551615", "0.05", "-0.00", "1e5", "", "٣"} {
		f.Add(seed, int64(1))
	}
	f.Fuzz(func(t *testing.T, text string, by int64) {
		for _, typ := range config.CursorTypes {
			if !validCursor(typ, text) {
				continue
			}
			overlap := document.Overlap{Number: max(1, by)}
			if typ == config.CursorTimestamp || typ == config.CursorDate {
				overlap = document.Overlap{Time: time.Duration(max(1, by))}
			}
			from := below(typ, text, overlap, "UTC")
			if !validCursor(typ, from) {
				t.Fatalf("%s %s: below it is %q", typ, text, from)
			}
			higher := from > text
			if typ == config.CursorInteger || typ == config.CursorDecimal {
				before, _ := new(big.Rat).SetString(text)
				after, _ := new(big.Rat).SetString(from)
				higher = after.Cmp(before) > 0
			}
			if higher {
				t.Fatalf("%s: %s is above %s", typ, from, text)
			}
		}
	})
}

// TestStateText: people see how far a pipeline has come.
func TestStateText(t *testing.T) {
	t.Parallel()
	in := following(t, "id, overlap: 10", "table: t")
	for want, state := range map[string]*State{
		"reads    every row  and keeps no state": nil, "reads    every row  for it is the first run": {},
		"last        42\n  reads from  32\n": {Version: StateVersion, Pipeline: "test", Source: "builtin/follow",
			Cursor: "id", Type: config.CursorInteger, Value: "42", Origin: "db"},
	} {
		in.Inputs.State = state
		var b bytes.Buffer
		if err := build(t, in).WriteText(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v\n%s\nwithout %q", err, b.String(), want)
		}
	}
}

// TestStateSize: what could not be kept when the output is there is refused before the run.
func TestStateSize(t *testing.T) {
	t.Parallel()
	for size, code := range map[int]string{MostState - 1000: "", MostState: CodeStateSize} {
		in := following(t, "id, overlap: 10", `table: "${customer.city}"`)
		in.Inputs.State = &State{}
		in.Customer.Attributes = map[string]any{"city": strings.Repeat("x", size)}
		p, diags := built(in)
		if (p == nil) != (code != "") || code != "" && diags[0].Code != code {
			t.Errorf("of %d bytes: %.300v", size, diags)
		}
	}
}
