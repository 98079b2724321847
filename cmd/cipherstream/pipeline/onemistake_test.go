package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// withoutMistake is a pipeline in which nothing is wrong.
const withoutMistake = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: mine}
spec:
  extends: output
  parameters:
    - {name: who, type: string}
  rules:
    - {check: "params.who == null || params.who != 'x'", message: not x}
  stages:
    source: {with: {query: "SELECT 1 AS id", args: []}}
    filter: {use: where, with: {expression: "id == 1"}}
  columns:
    - {name: id, type: int64}
  drift: fail
`

// Every single mistake is one diagnostic, in lint and in plan.
func TestEveryMistakeIsOneDiagnostic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, with, says string }{
		{"unknown key", "  drift: fail", "  drift: fail\n  nonsense: 1", "nonsense"},
		{"unknown key of the metadata", "{name: mine}", "{name: mine, nonsense: 1}", "nonsense"},
		{"unknown template", "extends: output", "extends: outptu", "outptu"},
		{"unknown kind of document", "kind: Pipeline", "kind: Pipelin", "Pipelin"},
		{"other version", "cipherstream/v1", "cipherstream/v9", "v9"},
		{"broken YAML", "{use: where, with:", "{use: where with:", ""},
		{"unknown filter", "use: where", "use: wehre", "wehre"},
		{"unknown plugin", "use: where", "use: nobody/where", "nobody"},
		{"stage of another kind", "use: where", "use: ndjson", "ndjson"},
		{"unknown kind of stage", "    filter:", "    fliter:", "fliter"},
		{"unknown key of a stage", "{use: where, with", "{use: where, wiht: {}, with", "wiht"},
		{"unknown setting", `args: []`, `agrs: []`, "agrs"},
		{"setting of another type", `args: []`, `args: {}`, "args"},
		{"value that is not allowed", `args: []`, `protocol: texts`, "protocol"},
		{"missing setting", `{expression: "id == 1"}`, `{}`, "expression"},
		{"unknown namespace", `args: []`, `args: ["${param.who}"]`, "param"},
		{"unknown parameter in a reference", `args: []`, `args: ["${params.whoo}"]`, "whoo"},
		{"unknown parameter in an expression", `"id == 1"`, `"params.whoo == null"`, "whoo"},
		{"unknown parameter in a rule", "params.who != 'x'", "params.whoo != 'x'", "whoo"},
		{"reference without an end", `args: []`, `args: ["${params.who"]`, ""},
		{"reference in code", "SELECT 1 AS id", "SELECT '${params.who}' AS id", "query"},
		{"expression that is none", `"id == 1"`, `"id == "`, ""},
		{"SQL in an expression", `"id == 1"`, `"id = 1"`, "=="},
		{"unknown column", `"id == 1"`, `"idd == 1"`, "idd"},
		{"condition that is none", "{use: where, with", "{use: where, when: \"params.who ==\", with", ""},
		{"unknown parameter in a condition", "{use: where, with", "{use: where, when: \"params.whoo == null\", with", "whoo"},
		{"unknown type of a column", "type: int64", "type: int63", "int63"},
		{"column twice", "{name: id, type: int64}", "{name: id, type: int64}\n    - {name: id, type: int64}", "id"},
		{"unknown drift", "drift: fail", "drift: fial", "fial"},
		{"unknown type of a parameter", "type: string", "type: strnig", "strnig"},
		{"parameter twice", "{name: who, type: string}", "{name: who, type: string}\n    - {name: who, type: string}", "who"},
		{"default of another type", "{name: who, type: string}", "{name: who, type: string}\n    - {name: n, type: integer, default: x}", ""},
		{"stage after the encoder", "    filter: {use: where, with: {expression: \"id == 1\"}}", "    encoder: {use: ndjson}\n    filter: {use: where, with: {expression: \"id == 1\"}}", ""},
		{"secret of another kind", `query:`, `url: "mysql://u:${secret.encryption_keys}@db/x", query:`, "encryption_keys"},
	} {
		content := strings.Replace(withoutMistake, c.old, c.with, 1)
		if content == withoutMistake {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		file := writeFile(t, "mine.yaml", content)
		for _, command := range []string{"lint", "plan"} {
			r := cmdtest.Call(t, command, file, "--json")
			var out struct {
				Diagnostics diag.List
				Error       struct{ Diagnostics diag.List }
			}
			_ = json.Unmarshal([]byte(r.Stdout), &out)
			if command == "plan" {
				_ = json.Unmarshal([]byte(r.Stderr), &out)
				out.Diagnostics = out.Error.Diagnostics
			}
			if r.Code != terminal.ExitUsage || len(out.Diagnostics) != 1 {
				var texts []string
				for _, d := range out.Diagnostics {
					texts = append(texts, d.Position.String()+" "+d.Code+": "+d.Message)
				}
				t.Errorf("%s, %s: exit %d, %d diagnostics\n  %s", c.name, command, r.Code, len(out.Diagnostics), strings.Join(texts, "\n  "))
				continue
			}
			if d := out.Diagnostics[0]; !strings.Contains(d.Message+d.Hint, c.says) || !strings.HasSuffix(d.File, "mine.yaml") {
				t.Errorf("%s, %s: %s: %s (%s), want %q", c.name, command, d.Position, d.Message, d.Hint, c.says)
			}
		}
	}
	file := writeFile(t, "mine.yaml", withoutMistake)
	for _, args := range [][]string{{"lint", file}, {"plan", file}} {
		if r := cmdtest.Call(t, args...); r.Code != terminal.ExitDone {
			t.Errorf("%v: exit %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
		}
	}
	// What only a request can get wrong.
	for _, args := range [][]string{
		{"plan", file, "-p", "whoo=x"}, {"plan", file, "-p", "output_format=cvs"}, {"plan", file, "-p", "encrypted=perhaps"}, {"plan", file, "-p", "who=x"},
		{"plan", file, "--encrypted"}, {"run", file}, {"run", "appointments", "-p", "from_date=2024-13-01", "--sandbox"},
		{"run", file, "--encrypted", "--customer", "c", "--dsn", "mysql://u:p@127.0.0.1:1/x"},
	} {
		if r := cmdtest.Call(t, args...); r.Code != terminal.ExitUsage || strings.Count(r.Stderr, "error") != 1 {
			t.Errorf("%v: exit %d: %s", args, r.Code, r.Stderr)
		}
	}
}

// plan needs no secret, whatever the pipeline is and whichever stages are on.
func TestPlanOfTheCatalogueNeedsNoSecret(t *testing.T) {
	for known := range session.KnownSecrets {
		t.Setenv(session.KnownSecrets[known].Variable, "")
	}
	e, err := session.Loader()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, name := range e.Names() {
		args := []string{"plan", name}
		if name == "custom_table" {
			args = append(args, "-p", "table_name=patient")
		}
		doc, _ := e.Load(name)
		for _, p := range doc.Parameters {
			if p.Required {
				args = append(args, "-p", p.Name+"=2024-01-01")
			}
		}
		for _, more := range [][]string{nil, {"--encrypted", "--customer", "c", "-c", "zip", "-f", "csv"}, {"--job", "--bucket", "s3://b", "--encrypted", "--customer", "c"}} {
			if r := cmdtest.Call(t, append(args, more...)...); r.Code != terminal.ExitDone || r.Stderr != "" {
				t.Errorf("%v %v: exit %d: %s", args, more, r.Code, r.Stderr)
			}
		}
	}
}
