package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// validate holds documents against a schema with Python's jsonschema, and prints what
// it finds, one line a document.
const validate = `
import json, sys, yaml, jsonschema
class Loader(yaml.SafeLoader): pass
# Dates stay text, as in CipherStream.
Loader.yaml_implicit_resolvers = {k: [r for r in v if r[0] != "tag:yaml.org,2002:timestamp"] for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    errors = [e for e in validator.iter_errors(yaml.load(open(path), Loader))]
    print("bad" if errors else "good", path, "; ".join(e.message[:200] for e in errors))
`

// TestSchema: an independent validator accepts every pipeline and template that there
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
	schema := call(t, "schema")
	if schema.code != 0 {
		t.Fatalf("%+v", schema)
	}
	documents := []string{}
	for _, pattern := range []string{"../../pipelines/*.yaml", "../../pipelines/templates/*.yaml", "../../examples/pipelines/*.yaml", "testdata/everything.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, ".test.yaml") {
				documents = append(documents, path)
			}
		}
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
	cmd := exec.Command(python, append([]string{"-c", validate, file("schema.json", schema.stdout)}, append(documents, bad...)...)...)
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
