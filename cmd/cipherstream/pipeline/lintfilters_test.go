package pipeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

const contractColumns = `
  columns:
    - {name: id, type: int64}
    - {name: name, type: string}
    - {name: born, type: date}
    - {name: big, type: uint64}`

// Filters are looked at before anything is started: their settings, and their columns
// where there is a contract, each with its place in the file.
func TestFiltersAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter, columns  string
		code, at, inHint string // empty where nothing is wrong
	}{
		{`{use: where, with: {expression: "id = 4"}}`, "", "expression.invalid", "= 4", "write == for ="},
		{`{use: where, with: {expression: "id == 4 AND name == 'x'"}}`, "", "expression.invalid", "AND", "write && for AND"},
		{`{use: where, with: {expression: "name LIKE 'A%'"}}`, "", "expression.invalid", "LIKE", "startsWith"},
		{`{use: where, with: {expression: "name IS NULL"}}`, "", "expression.invalid", "IS", "== null"},
		{`{use: where, with: {expression: "id == 4"}}`, contractColumns, "", "", ""},
		{`{use: where, with: {expression: "id > 'x'"}}`, contractColumns, "expression.invalid", "id > 'x'", ""},
		{`{use: where, with: {expression: "nmae == 'x'"}}`, contractColumns, "expression.unknown_column", "nmae", "the columns are"},
		{`{use: where, with: {expression: "born > '2024-13-01'"}}`, contractColumns, "expression.invalid", "'2024-13-01'", ""},
		{`{use: where, with: {expression: "whatever == 'x' && other > 5 && flag"}}`, "", "", "", ""}, // no contract, no columns known
		{`{use: where, with: {expression: "big + 1u > 5 || big + 1 > 5"}}`, contractColumns, "", "", ""},
		{`{use: where, with: {expression: "size(name) + 1"}}`, "", "expression.invalid", "size(name) + 1", ""},
		{`{use: mask, with: {columns: {name: {action: hmac}}}}`, contractColumns, "mask.secret", "mask", "openssl"},
		{`{use: mask, with: {columns: {name: {action: hmac}}, secret: "${secret.x}"}}`, contractColumns, "", "", ""},
		{`{use: mask, with: {columns: {nmae: {action: "null"}}}}`, contractColumns, "mask.unknown_column", "nmae", "the columns are"},
		{`{use: mask, with: {columns: {id: {action: month}}}}`, contractColumns, "mask.unfit_action", "id", ""},
		{`{use: columns, with: {include: [id], exclude: [name]}}`, "", "columns.conflict", "columns", ""},
		{`{use: columns, with: {cast: {id: nonsense}}}`, "", "columns.cast", "nonsense", ""},
		{`{use: columns, with: {exclude: [secret_note], rename: {first_name: name}}}`, contractColumns, "", "", ""},
		// What is known is followed through the filters behind.
		{`[{use: where, with: {expression: "first_name != 'x' && secret_note != 'y'"}}, {use: columns, with: {exclude: [secret_note], rename: {first_name: name}}}]`, contractColumns, "", "", ""},
		{`[{use: where, with: {expression: "name != 'x'"}}, {use: columns, with: {exclude: [secret_note], rename: {first_name: name}}}]`, contractColumns, "expression.unknown_column", "name", ""},
		{`[{use: where, with: {expression: "name > 5"}}, {use: mask, with: {columns: {name: {action: hmac}}, secret: "${secret.x}"}}]`, contractColumns, "", "", ""},
		{`[{use: where, with: {expression: "nmae > 5"}}, {use: mask, with: {columns: {name: {action: hmac}}, secret: "${secret.x}"}}]`, contractColumns, "expression.unknown_column", "nmae", ""},
		{`[{use: where, with: {expression: "anything == 1"}}, {use: columns, with: {include: [id, name, born, big]}}]`, contractColumns, "", "", ""},
		{`{use: where, with: {expression: "params.who == null || name == params.who"}}`, contractColumns, "", "", ""},
		{`{use: where, with: {expression: "id == params.who"}}`, contractColumns, "expression.invalid", "id == params.who", ""},
		{`{use: where, with: {expression: "nmae == 'x'"}}`, contractColumns + "\n  drift: warn", "", "", ""},
	} {
		content := pipelineWith("${secret.dsn}", "SELECT 1", "    filter: "+c.filter, "${run.output}") + strings.TrimPrefix(c.columns, "\n")
		file := writeFile(t, "mine.yaml", content)
		for _, command := range []string{"lint", "plan"} {
			args := []string{command, file, "--json"}
			if command == "plan" {
				args = append(args, "-p", "who=x")
			}
			r := cmdtest.Call(t, args...)
			if c.code == "" {
				if r.Code != terminal.ExitDone {
					t.Errorf("%s %s: exit %d: %s%s", command, c.filter, r.Code, r.Stdout, r.Stderr)
				}
				continue
			}
			var out struct {
				Diagnostics []struct {
					Code, Message, Hint string
					Line, Column        int
				}
				Error struct {
					Diagnostics []struct {
						Code, Message, Hint string
						Line, Column        int
					}
				}
			}
			_ = json.Unmarshal([]byte(r.Stdout), &out)
			if command == "plan" {
				_ = json.Unmarshal([]byte(r.Stderr), &out)
				out.Diagnostics = out.Error.Diagnostics
			}
			if r.Code != terminal.ExitUsage || len(out.Diagnostics) != 1 || out.Diagnostics[0].Code != c.code {
				t.Errorf("%s %s: exit %d, want %s: %s%s", command, c.filter, r.Code, c.code, r.Stdout, r.Stderr)
				continue
			}
			d := out.Diagnostics[0]
			line := strings.Split(content, "\n")[d.Line-1]
			if !strings.HasPrefix(string([]rune(line)[d.Column-1:]), c.at) || !strings.Contains(d.Hint, c.inHint) {
				t.Errorf("%s %s: at %d:%d %q, want %q; hint %q, want %q", command, c.filter, d.Line, d.Column, fmt.Sprintf("%.20s", string([]rune(line)[d.Column-1:])), c.at, d.Hint, c.inHint)
			}
		}
	}
}

// One mistake is one error: nobody misses a customer for stages that may well be off.
func TestOneMistakeIsOneError(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "mine.yaml", `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: mine}
spec:
  extends: output
  nonsense: 1
  stages:
    source: {use: mysql, with: {query: SELECT 1}}
`)
	for _, command := range []string{"run", "plan"} {
		r := cmdtest.Call(t, command, file)
		if r.Code != terminal.ExitUsage || strings.Count(r.Stderr, "error: ") != 1 || !strings.Contains(r.Stderr, `"nonsense"`) {
			t.Errorf("%s: exit %d: %s", command, r.Code, r.Stderr)
		}
	}
}
