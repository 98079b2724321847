package pipeline

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

// validate holds documents against a schema with Python's jsonschema, and prints what
// it finds, one line a document.
const validate = `
import json, sys, yaml, jsonschema
class Loader(yaml.SafeLoader): pass
# Dates stay text, as in CipherStream.
Loader.yaml_implicit_resolvers = {k: [r for r in v if r[0] != "tag:yaml.org,2002:timestamp"] for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
schema = json.load(open(sys.argv[1]))
# What an editor fills in must be taken.
def defaults(node, where):
    if isinstance(node, list):
        for i, n in enumerate(node): defaults(n, where + "/%d" % i)
    if not isinstance(node, dict): return
    if "default" in node and not isinstance(node["default"], dict):
        for e in jsonschema.Draft202012Validator(dict(node, **{"$defs": schema["$defs"]})).iter_errors(node["default"]):
            print("default", where, e.message)
    for k, n in node.items(): defaults(n, where + "/" + k)
defaults(schema, "#")
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    errors = [e for e in validator.iter_errors(yaml.load(open(path), Loader))]
    print("bad" if errors else "good", path, "; ".join(e.message[:200] for e in errors))
`

// TestSchema: an independent validator accepts every pipeline, template and test that there
// is, and refuses what lint refuses for its form.
func TestSchema(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is needed to use the schema independently (make deps installs it): %v", err)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	schema := cmdtest.Call(t, "schema")
	if schema.Code != 0 {
		t.Fatalf("%+v", schema)
	}
	documents := []string{}
	for _, pattern := range []string{"../../../pipelines/*.yaml", "../../../pipelines/templates/*.yaml", "../../../examples/pipelines/*.yaml",
		"../../../pipelines/tests/*.yaml", "../../../examples/plugins/node-redact/recall_notes.yaml", "../../../examples/plugins/*/pipelines/*.yaml",
		"testdata/everything.yaml", "testdata/tests/good.test.yaml", "testdata/tests/register.test.yaml", "testdata/tests/failing.test.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		documents = append(documents, paths...)
	}
	const head = "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: x}\n"
	bad := []string{
		file("key.yaml", head+"spec: {stagse: {}}\n"),
		file("kind.yaml", "apiVersion: cipherstream/v1\nkind: Pipelin\nmetadata: {name: x}\nspec: {}\n"),
		file("setting.yaml", head+"spec: {stages: {compressor: {use: gzip, with: {levle: 3}}}}\n"),
		file("range.yaml", head+"spec: {stages: {compressor: {use: gzip, with: {level: 33}}}}\n"),
		file("labelled.yaml", head+"spec: {stages: {encryptor.rows: {use: aes-256-gcm, with: {kye: x}}}}\n"),
		file("listed.yaml", head+"spec: {stages: {filter: [{use: mask, with: {columns: {a: {action: nul}}}}]}}\n"),
		file("drift.yaml", head+"spec: {drift: panic}\n"),
	}
	for i, spec := range []string{
		"stages: {compressor: {use: somebody/brotli, with: {anything: [1, {a: b}]}}}",
		"stages: {compressor: {use: cipherstream/gzip, with: {level: 3}}}",
		"stages: {compressor: {with: {level: 3}}}",
		"columns: [{name: a, type: int64}, {name: b, type: 'decimal(76,76)'}, {name: c, type: 'decimal(1, 0)'}, {name: d, type: 'timestamp(9)'}, " +
			"{name: e, type: time}, {name: f, type: json, nullable: false}]",
		"parameters: [{name: a, type: string, default: '7'}, {name: b, type: date, default: 2024-02-29}, {name: c, type: integer, default: 7}, " +
			"{name: d, type: boolean, default: 'true'}, {name: e, type: decimal, default: 1.5, allowed: [1.5, '2']}, {name: f, default: 7}, " +
			"{name: g, type: string, required: true, default: null}]",
		"limits: {memory: 64MiB, timeout: 1h30m, stall: 0.5s, batch_rows: 1, batch_bytes: 65536}",
	} {
		documents = append(documents, file(fmt.Sprintf("good%d.yaml", i), head+"spec: {"+spec+"}\n"))
	}
	for i, spec := range []string{
		"stages: {compressor: {use: gzpi}}",
		"stages: {compressor: {use: csv}}",
		"stages: {compressor: {use: cipherstream/gzpi}}",
		"stages: {compressor: {use: cipherstream/gzip, with: {levle: 3}}}",
		"stages: {compressor: {use: /gzip}}",
		"columns: [{name: a, type: bigint}]",
		"columns: [{name: a, type: decimal}]",
		"columns: [{name: a, type: 'decimal(77,2)'}]",
		"columns: [{name: a, type: 'decimal(0,0)'}]",
		"columns: [{name: a, type: 'timestamp(10)'}]",
		"columns: [{name: a, type: 'int64(3)'}]",
		"columns: [{name: '', type: int64}]",
		"parameters: [{name: a, type: int64}]",
		"parameters: [{name: a, type: string, default: 7}]",
		"parameters: [{name: a, type: date, default: tomorrow}]",
		"parameters: [{name: a, type: integer, default: 1.5}]",
		"parameters: [{name: a, type: boolean, default: 'no'}]",
		"parameters: [{name: a, type: decimal, default: a lot}]",
		"parameters: [{name: a, type: integer, allowed: [one]}]",
		"parameters: [{name: a, type: string, required: true, default: x}]",
		"limits: {memory: plenty}", "limits: {memory: 1024}", "limits: {timeout: 90}", "limits: {timeout: soon}", "limits: {batch_rows: 0}",
	} {
		bad = append(bad, file(fmt.Sprintf("bad%d.yaml", i), head+"spec: {"+spec+"}\n"))
	}
	const one = "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases:\n  - name: a\n"
	documents = append(documents, file("case.yaml", one+`    parameters: {state: NSW, n: 1, none: null, on: true}
    customer: "1"
    secrets: {dsn: x}
    env: {HOME: x}
    columns: [{name: a, type: int64}]
    rows_file: rows.ndjson
    expect: {rows: [{a: 1}, {a: null}]}
`), file("nothing.yaml", one+"    rows: []\n    expect: {rows: []}\n"))
	for i, rest := range []string{
		"    rows: []\n",
		"    expect: {rows: []}\n",
		"    rows: []\n    rows_file: x\n    expect: {rows: []}\n",
		"    rows: []\n    expect: {}\n",
		"    rows: []\n    expect: {rows: [], error: x}\n",
		"    rows: []\n    expect: {eror: x}\n",
		"    rows: [{a: [1]}]\n    expect: {rows: []}\n",
		"    rows: []\n    columns: [{name: a, type: varchar}]\n    expect: {rows: []}\n",
		"    rows: []\n    customer: 1\n    expect: {rows: []}\n",
		"    rows: []\n    secrets: {dsn: 1}\n    expect: {rows: []}\n",
		"    rows_file: ''\n    expect: {rows: []}\n",
		"    rows: []\n    expect: {rows: []}\nspec: {}\n",
	} {
		bad = append(bad, file(fmt.Sprintf("badcase%d.yaml", i), one+rest))
	}
	bad = append(bad, file("nocase.yaml", "apiVersion: cipherstream/v1\nkind: Test\npipeline: appointments\ncases: []\n"))
	cmd := exec.Command(python, append([]string{"-c", validate, file("schema.json", schema.Stdout)}, append(documents, bad...)...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(documents)+len(bad) {
		t.Fatalf("%d lines for %d documents:\n%s", len(lines), len(documents)+len(bad), out)
	}
	for i, line := range lines {
		if strings.HasPrefix(line, "good ") != (i < len(documents)) {
			t.Error(line)
		}
	}
}
