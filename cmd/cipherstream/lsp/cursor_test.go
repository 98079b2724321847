package lsp

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// at opens a text, in which ‸ is the cursor, and returns where that is, as the parameters of a request.
func (c *client) at(name, content string) string {
	c.t.Helper()
	before, after, found := strings.Cut(content, "‸")
	if !found {
		c.t.Fatalf("there is no cursor in %q", content)
	}
	c.open(name, before+after)
	p := newText(before, utf16Encoding).position(len(before))
	return fmt.Sprintf(`{"textDocument":{"uri":%s},"position":{"line":%d,"character":%d}}`, quoted(c.uri(name)), p.Line, p.Character)
}

// completed are the items offered at the cursor, in their order.
func (c *client) completed(name, content string) (list []item) {
	c.t.Helper()
	if err := json.Unmarshal(c.call("textDocument/completion", c.at(name, content)), &list); err != nil {
		c.t.Fatal(err)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].SortText < list[j].SortText })
	return list
}

const head = "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: visits}\nspec:\n"

// TestComplete: what is offered first, what it puts there, and what is not offered. The texts are as they are while they
// are typed, most of them no YAML.
func TestComplete(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content string
		want          string // the first labels, and … when there may be more
		becomes       string // the line of the cursor when the first is taken
	}{
		{"a new document", "‸", "apiVersion, kind, metadata, spec, pipeline, template, test", "apiVersion: "},
		{"the version", "apiVersion: ‸", "cipherstream/v1", "apiVersion: cipherstream/v1"},
		{"the kind", "apiVersion: cipherstream/v1\nkind: P‸\n", "Pipeline, Template, Test", "kind: Pipeline"},
		{"a key of the document", "apiVersion: cipherstream/v1\nkind: Pipeline\nme‸\n", "metadata, spec", "metadata:"},
		{"a key of metadata", head[:strings.Index(head, "metadata")] + "metadata: {name: x, ‸}\n", "category, class, description, title", "metadata: {name: x, category: }"},
		{"keys of spec", head + "  ‸\n", "columns, drift, extends, limits, parameters, rules, stages, state", "  columns:"},
		{"one that is there is left out", head + "  extends: data\n  dr‸\n  columns: []\n", "drift, limits, parameters, rules, stages, state", "  drift: "},
		{"a template", head + "  extends: ‸\n", "custom, data, …", "  extends: custom"},
		{"what a stage uses", head + "  stages:\n    filter:\n      use: ‸\n", "columns, contract, …", "      use: columns"},
		{"in brackets that are open", head + "  stages:\n    encoder: {use: ‸\n", "arrow, csv, …", "    encoder: {use: arrow"},
		{"kinds of stages", head + "  stages:\n    s‸\n", "compressor, encoder, encryptor, filter, sink, source", "    compressor:"},
		{"settings", head + "  stages:\n    filter:\n      use: mask\n      with:\n        ‸\n", "columns, secret", "        columns:"},
		{"settings in brackets", head + "  stages:\n    encoder: {use: csv, with: {‸}}\n", "delimiter, formula_guard, header, …", `    encoder: {use: csv, with: {delimiter: }}`},
		{"values of a setting", head + "  stages:\n    encoder: {use: csv, with: {invalid_utf8: ‸\n", "error, replace", "    encoder: {use: csv, with: {invalid_utf8: error"},
		{"true and false", head + "  stages:\n    encoder:\n      use: csv\n      with:\n        header: f‸\n", "true, false", "        header: true"},
		{"a parameter in a reference", head + "  parameters:\n    - {name: since, type: date}\n  stages:\n    source:\n      use: mysql\n      with: {query: x, args: [\"${params.‸\n", "params.since", `      with: {query: x, args: ["${params.since}`},
		{"an inherited parameter", head + "  extends: data\n  stages:\n    source:\n      use: mysql\n      with: {args: [\"${pa‸\"]}\n", "params.compression, params.date_modifier, …", `      with: {args: ["${params.compression}"]}`},
		{"a name in a reference that is closed", head + "  stages:\n    sink: {use: stream, with: {to: \"${run.o‸}\"}}\n", "run.allowed_procedures, …", `    sink: {use: stream, with: {to: "${run.allowed_procedures}"}}`},
		{"no reference in code", head + "  parameters: [{name: since, type: date}]\n  stages:\n    source: {use: mysql, with: {query: \"${‸\"}}\n", "", ""},
		{"columns of the contract", head + "  columns:\n    - {name: id, type: int64}\n    - {name: phone, type: string}\n  stages:\n    filter: {use: columns, with: {exclude: [‸]}}\n", "id, phone", "    filter: {use: columns, with: {exclude: [id]}}"},
		{"columns as keys", head + "  columns:\n    - {name: id, type: int64}\n  stages:\n    filter:\n      use: mask\n      with:\n        columns:\n          ‸\n", "id", "          id:"},
		{"an action", head + "  stages:\n    filter: {use: mask, with: {columns: {id: {action: ‸}}}}\n", "constant, hmac, keep_last, month, null, year", "    filter: {use: mask, with: {columns: {id: {action: constant}}}}"},
		{"columns and parameters in an expression", head + "  parameters: [{name: since, type: date}]\n  columns:\n    - {name: status, type: string}\n  stages:\n    filter:\n      use: where\n      with:\n        expression: status != 'x' && st‸\n", "status, params.since", "        expression: status != 'x' && status"},
		{"parameters in a condition", head + "  parameters: [{name: since, type: date}]\n  rules:\n    - {check: params.s‸, message: x}\n", "params.since, customer.id, run.allowed_procedures, …", "    - {check: params.since, message: x}"},
		{"whom a rule blames", head + "  parameters: [{name: since, type: date}]\n  rules:\n    - {check: \"true\", message: x, parameter: ‸}\n", "since", "    - {check: \"true\", message: x, parameter: since}"},
		{"types of columns", head + "  columns:\n    - {name: id, type: ‸}\n", "binary, boolean, date, …", "    - {name: id, type: binary}"},
		{"a column", head + "  columns:\n    - ‸\n", "name, type, {name, type}, description, nullable, personal", "    - name: "},
		{"a parameter's allowed values", head + "  parameters:\n    - {name: state, type: string, allowed: [NSW, VIC], default: ‸}\n", "NSW, VIC", "    - {name: state, type: string, allowed: [NSW, VIC], default: NSW}"},
		{"nothing in a comment", head + "  # ‸\n", "", ""},
		{"nothing for others", "apiVersion: tekton.dev/v1\nkind: Pipeline\nspec:\n  ‸\n", "", ""},
		{"nothing in a compose file", "services:\n  ‸\n", "", ""},
		{"keys of a test", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - name: x\n    ‸\n", "expect, rows, rows_file, columns, customer, env, parameters, secrets", "    expect:"},
		{"parameters of a test", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - name: x\n    parameters: {‸}\n", "compression, date_modifier, …", "    parameters: {compression: }"},
		{"values of a test's parameters", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - name: x\n    parameters: {date_modifier: ‸}\n", "All, Created, Updated", "    parameters: {date_modifier: All}"},
		{"columns of a test's rows", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - name: x\n    rows:\n      - {appointment_id: 1, ‸\n", "actual_end_time, …", "      - {appointment_id: 1, actual_end_time: "},
		{"what is tested", "apiVersion: cipherstream/v1\nkind: Test\npipeline: ‸\n", "…appointments", ""},
		{"settings of a service", "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: x}\nspec:\n  sta‸\n", "…state", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := start(t, `{}`)
			list := client.completed("visits.yaml", c.content)
			var labels []string
			for _, i := range list {
				labels = append(labels, i.Label)
			}
			got := strings.Join(labels, ", ")
			if one, among := strings.CutPrefix(c.want, "…"); among && slices.Contains(labels, one) {
				return
			}
			start, more := strings.CutSuffix(c.want, "…")
			if got != c.want && !(more && strings.HasPrefix(got, start)) {
				t.Fatalf("%s\nwant\n%s", got, c.want)
			}
			if len(list) == 0 {
				return
			}
			content := strings.Replace(c.content, "‸", "", 1)
			edited := newText(content, utf16Encoding).edited(list[0].Edit.Range, list[0].Edit.NewText)
			if line := edited.line(list[0].Edit.Range.Start.Line); line != c.becomes {
				t.Errorf("the line becomes %q, want %q", line, c.becomes)
			}
		})
	}
}

func TestHover(t *testing.T) {
	t.Parallel()
	full := head + `  extends: data
  parameters:
    - {name: state, type: string, required: true, description: State or territory.}
  stages:
    source: {use: mysql, with: {query: x, args: ["${params.state}", "${params.to_date}", "${secret.dsn}"]}}
    filter: {use: where, with: {expression: "phone != '' && params.state == 'x'"}}
    encoder: {use: csv, with: {header: true}}
  columns:
    - {name: phone, type: string, personal: true, description: Mobile.}
`
	for _, c := range []struct{ at, want string }{
		{"ex‸tends: data", "A template or a pipeline: a name of the catalogue"},
		{"extends: da‸ta", "**template** `data`: Data extraction"},
		{"use: my‸sql", "**source** `mysql` of `cipherstream`"},
		{"${params.st‸ate}", "parameter `state`: string, required\n\nState or territory."},
		{"${params.to_‸date}", "parameter `to_date`: date"},
		{"${secr‸et.dsn}", "Secrets, which only settings of their kind take."},
		{"ph‸one !=", "column `phone`: string, personal\n\nMobile."},
		{"params.st‸ate ==", "parameter `state`: string, required"},
		{"{he‸ader: true}", "Begin with a line of column names.\n\nType: boolean or string. Default: `true`."},
		{"header: tr‸ue", "Begin with a line of column names."},
		{"sou‸rce: {use", "Where the rows come from."},
		{"type: str‸ing, required", "What its values are."},
	} {
		client := start(t, everything)
		content := strings.Replace(full, strings.Replace(c.at, "‸", "", 1), c.at, 1)
		for _, content := range []string{content, strings.Replace(content, "  columns:", "  columns: {{", 1)} {
			var got *hoverResult
			if err := json.Unmarshal(client.call("textDocument/hover", client.at("visits.yaml", content)), &got); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(content, "{{") && strings.Contains(c.want, "column") {
				continue
			}
			if got == nil || !strings.HasPrefix(got.Contents.Value, c.want) {
				t.Errorf("%s: %+v, want %q", c.at, got, c.want)
			}
		}
	}
}

func TestDefinition(t *testing.T) {
	t.Parallel()
	client := start(t, everything)
	client.write("base.yaml", "apiVersion: cipherstream/v1\nkind: Template\nmetadata: {name: base}\nspec:\n  extends: data\n  parameters:\n    - {name: state, type: string}\n")
	child := head + `  extends: ./base.yaml
  stages:
    source: {use: mysql, with: {query: x, args: ["${params.state}", "${params.to_date}"]}}
    filter: {use: columns, with: {exclude: [phone, mail]}}
  columns:
    - {name: phone, type: string}
`
	test := "apiVersion: cipherstream/v1\nkind: Test\npipeline: ./visits.yaml\ncases:\n  - {name: x, parameters: {state: NSW}, rows: [{phone: 1}], expect: {output_file: rows.csv}}\n"
	client.write("visits.yaml", child)
	client.write("rows.csv", "x")
	for _, c := range []struct{ file, at, want string }{
		{"visits.yaml", "./ba‸se.yaml", "base.yaml:0:0"},
		{"visits.yaml", "${params.st‸ate}", "base.yaml:6:13"},
		{"visits.yaml", "${params.to_d‸ate}", "data.yaml:14:13"},
		{"visits.yaml", "[pho‸ne, mail]", "visits.yaml:9:13"},
		{"visits.yaml", "[phone, ma‸il]", ""},
		{"visits.test.yaml", "./vis‸its.yaml", "visits.yaml:0:0"},
		{"visits.test.yaml", "{sta‸te: NSW}", "base.yaml:6:13"},
		{"visits.test.yaml", "{pho‸ne: 1}", "visits.yaml:9:6"},
		{"visits.test.yaml", "rows‸.csv", "rows.csv:0:0"},
	} {
		content := child
		if c.file != "visits.yaml" {
			content = test
		}
		content = strings.Replace(content, strings.Replace(c.at, "‸", "", 1), c.at, 1)
		var got *Location
		if err := json.Unmarshal(client.call("textDocument/definition", client.at(c.file, content)), &got); err != nil {
			t.Fatal(err)
		}
		shown := ""
		if got != nil {
			shown = fmt.Sprintf("%s:%d:%d", filepath.Base(pathOf(got.URI)), got.Range.Start.Line, got.Range.Start.Character)
		}
		if shown != c.want {
			t.Errorf("%s: %q, want %q", c.at, shown, c.want)
		}
	}
}

// TestActions: what is offered mends the problem: the text becomes what is wanted, and lint no longer finds the code.
func TestActions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, content, title, want string }{
		{"a typo", head[:strings.Index(head, "metadata")] + "metadata: {name: a, ti‸tel: x}\nspec: {}\n", "Replace titel by title", "metadata: {name: a, title: x}"},
		{"another word", head + "  columns:\n    - {name: a, type: big‸int}\n", "Replace bigint by int64", "    - {name: a, type: int64}"},
		{"a number for text", head[:strings.Index(head, "metadata")] + "metadata: {name: a, title: 1‸2}\nspec: {}\n", `Replace 12 by "12"`, `metadata: {name: a, title: "12"}`},
		{"a key that is missing in brackets", head + "  columns:\n    - ‸{name: a}\n", "Add the key type", "    - {name: a, type: }"},
		{"a key that is missing in lines", head[:strings.Index(head, "metadata")] + "metadata:\n  ti‸tle: x\nspec: {}\n", "Add the key name", "  title: x\n  name:"},
		{"a setting that is missing", head + "  stages:\n    sink: {use: str‸eam}\n", "Add the key to", "    sink: {use: stream, with: {to: }}"},
		{"another setting that is missing", head + "  stages:\n    filter: {use: ma‸sk, with: {}}\n", "Add the key columns", "    filter: {use: mask, with: {columns: }}"},
		{"SQL", head + "  columns:\n    - {name: status, type: string}\n  stages:\n    filter: {use: where, with: {expression: \"status = 'x‸' AND status IS NOT NULL\"}}\n", "Write it in CEL: status == 'x' && status != null", "    filter: {use: where, with: {expression: \"status == 'x' && status != null\"}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := start(t, everything)
			before, after, _ := strings.Cut(c.content, "‸")
			at := client.at("visits.yaml", c.content)
			place := at[strings.Index(at, `"position":`)+len(`"position":`) : len(at)-1]
			params := fmt.Sprintf(`{"textDocument":{"uri":%s},"range":{"start":%s,"end":%s},"context":{"diagnostics":[]}}`, quoted(client.uri("visits.yaml")), place, place)
			var list []codeAction
			if err := json.Unmarshal(client.call("textDocument/codeAction", params), &list); err != nil {
				t.Fatal(err)
			}
			var titles []string
			for _, a := range list {
				titles = append(titles, a.Title)
				if a.Title != c.title {
					continue
				}
				edit := a.Edit.Changes[client.uri("visits.yaml")][0]
				got := newText(before+after, utf16Encoding).edited(edit.Range, edit.NewText)
				if !strings.Contains(got.content, c.want) {
					t.Errorf("it becomes\n%s\nwant\n%s", got.content, c.want)
				}
				client.open("mended.yaml", got.content)
				for _, d := range client.published("mended.yaml") {
					if d.Code == a.Diagnostics[0].Code && d.Message == a.Diagnostics[0].Message {
						t.Errorf("it is still there: %+v", d)
					}
				}
				return
			}
			t.Errorf("%v, want %s", titles, c.title)
		})
	}
}

func TestSymbols(t *testing.T) {
	t.Parallel()
	client := start(t, everything)
	client.at("visits.yaml", head+"‸  parameters: [{name: since, type: date}]\n  stages:\n    source: {use: mysql}\n  columns:\n    - {name: id, type: int64}\n")
	var list []symbol
	if err := json.Unmarshal(client.call("textDocument/documentSymbol", `{"textDocument":{"uri":`+quoted(client.uri("visits.yaml"))+`}}`), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range list {
		for _, c := range s.Children {
			got = append(got, s.Name+"."+c.Name+" "+c.Detail)
		}
	}
	if want := "parameters.since date, stages.source mysql, columns.id int64"; strings.Join(got, ", ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// FuzzCursor: whatever is in a text, and wherever the cursor is, there is an answer, and what it edits is in the text.
func FuzzCursor(f *testing.F) {
	f.Add(head+"  stages:\n    filter: {use: mask, with: {columns: {x: {action: null}}}}\n", 120)
	f.Add(head+"  extends: data\n  rules:\n    - {check: params.x = 1 AND y}\n", 100)
	f.Add("apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - {rows: [{a: \"${", 80)
	s := newServerFor(f, io.Discard)
	f.Fuzz(func(t *testing.T, content string, at int) {
		path := filepath.Join(t.TempDir(), "x.yaml")
		file := &file{uri: uriOf(path), path: path, text: newText(content, utf16Encoding)}
		s.texts.put(file)
		defer s.texts.remove(path)
		position := file.position(at)
		p := &positionParams{textDocumentIdentifier{file.uri}, position}
		result, problem := s.complete(p)
		if problem != nil {
			t.Fatal(problem)
		}
		for _, i := range result.([]item) {
			if r := i.Edit.Range; r.Start.Line != position.Line || r.End.Line != position.Line || file.offset(r.Start) > file.offset(position) || file.offset(r.End) < file.offset(position) {
				t.Fatalf("at %+v, %s edits %+v", position, i.Label, r)
			}
		}
		if _, problem := s.hover(p); problem != nil {
			t.Fatal(problem)
		}
		if _, problem := s.definition(p); problem != nil {
			t.Fatal(problem)
		}
	})
}
