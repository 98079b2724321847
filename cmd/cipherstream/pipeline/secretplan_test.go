package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/plan"
)

// writeFile writes a file of a test and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pipelineWith(url, query, middle, to string) string {
	return `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: mine}
spec:
  parameters: [{name: who, type: string}]
  stages:
    source: {use: mysql, with: {url: "` + url + `", query: "` + query + `"}}
` + middle + `
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "` + to + `"}}
`
}

// Neither lint nor plan lets through what would send a secret away, show it, or make a
// caller's text a part of a statement.
func TestLeaksAreRefused(t *testing.T) {
	t.Setenv(session.EnvDSN, "mysql://u:hunter2@db/x")
	t.Setenv(session.EnvKeys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	t.Setenv("OTHER_HOME", "hunter2")
	for _, c := range []struct{ pipeline, code string }{
		{pipelineWith("mysql://x:${secret.encryption_keys}@elsewhere", "SELECT 1", "", "-"), plan.CodeSecretKind},
		{pipelineWith("${secret.dsn}", "SELECT 1", "", "${env.CIPHERSTREAM_DSN}"), plan.CodeEnvSecret},
		{pipelineWith("${secret.dsn}", "SELECT 1", "", "${env.CIPHERSTREAM_KEYS}"), plan.CodeEnvSecret},
		{pipelineWith("${secret.dsn}", "SELECT 1", "", "${env.OTHER_HOME}"), plan.CodeEnvSecret},
		{pipelineWith("${secret.dsn}", "SELECT * FROM patient WHERE surname = '${params.who}'", "", "-"), plan.CodeReferenceInCode},
		{pipelineWith("${secret.dsn}", "SELECT 1", `    filter: {use: where, with: {expression: "name == '${params.who}'"}}`, "-"), plan.CodeReferenceInCode},
	} {
		file := writeFile(t, "mine.yaml", c.pipeline)
		for _, args := range [][]string{
			{"plan", file, "--json", "--secret", "home=env:OTHER_HOME", "--env", "OTHER_HOME", "--env", session.EnvDSN},
			{"run", file, "--json", "--secret", "home=env:OTHER_HOME", "--env", "OTHER_HOME", "--env", session.EnvDSN},
			{"lint", file, "--json"},
		} {
			if args[0] == "lint" && strings.Contains(c.pipeline, "OTHER_HOME") {
				continue // only who runs knows that a secret is in there
			}
			r := cmdtest.Call(t, args...)
			if r.Code != terminal.ExitUsage || !strings.Contains(r.Stdout+r.Stderr, c.code) {
				t.Errorf("%v: exit %d, want %s: %s%s", args[0], r.Code, c.code, r.Stdout, r.Stderr)
			}
			if strings.Contains(r.Stdout+r.Stderr, "hunter2") || strings.Contains(r.Stdout+r.Stderr, "AAAAAAAA") {
				t.Errorf("%v shows a secret: %s%s", args[0], r.Stdout, r.Stderr)
			}
		}
	}
}

// plan needs no secret, and says where each would go.
func TestPlanNeedsNoSecret(t *testing.T) {
	file := writeFile(t, "mine.yaml", pipelineWith("mysql://u:${secret.practice}@db/x", "SELECT 1",
		`    filter: {use: mask, with: {columns: {a: {action: hmac}}, secret: "${secret.pseudonyms}"}}`, "-"))
	r := cmdtest.Call(t, "plan", file)
	for _, want := range []string{"secret.practice    password  → source  url", "secret.pseudonyms  signing   → filter  secret"} {
		if r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, want) {
			t.Errorf("exit %d, want %q: %s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
	// A kind that was said holds.
	if r := cmdtest.Call(t, "plan", file, "--secret", "practice:keys=env:NOWHERE"); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, plan.CodeSecretKind) {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	for _, wrong := range []string{"a:nonsense=env:X", "encryption_keys:token=env:X"} {
		if r := cmdtest.Call(t, "plan", file, "--secret", wrong); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "kind") {
			t.Errorf("%s: exit %d: %s", wrong, r.Code, r.Stderr)
		}
	}
}

// TestReadOnlyIsSaid: whoever looks at a plan sees that its source may write, and no caller of the catalogue can ask for that.
func TestReadOnlyIsSaid(t *testing.T) {
	pipeline := strings.Replace(pipelineWith("${secret.dsn}", "SELECT 1", "", "-"), `query: "SELECT 1"`, `query: "SELECT 1", read_only: false`, 1)
	file := writeFile(t, "mine.yaml", pipeline)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"plan", file}, terminal.ExitDone, "read_only: false"},
		{[]string{"plan", file, "--json"}, terminal.ExitDone, `"read_only": false`},
		{[]string{"plan", "custom_table", "-p", "procedure_name=p", "-p", "read_only=false"}, terminal.ExitUsage, "parameter.unknown"},
		{[]string{"run", "custom_table", "--dsn", "mysql://u:p@127.0.0.1:1/x", "-p", "procedure_name=p", "-p", "read_only=false"}, terminal.ExitUsage, "parameter.unknown"},
	} {
		if r := cmdtest.Call(t, c.args...); r.Code != c.code || !strings.Contains(r.Stdout+r.Stderr, c.says) {
			t.Errorf("%v: exit %d, want %q: %s%s", c.args, r.Code, c.says, r.Stdout, r.Stderr)
		}
	}
}

func TestEnvironmentIsAllowed(t *testing.T) {
	t.Setenv("REGION_OF_TEST", "eu")
	file := writeFile(t, "mine.yaml", pipelineWith("${secret.dsn}", "SELECT 1", "", "/data/${env.REGION_OF_TEST}"))
	if r := cmdtest.Call(t, "plan", file); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, plan.CodeEnvDenied) || !strings.Contains(r.Stderr, "--env REGION_OF_TEST") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	if r := cmdtest.Call(t, "plan", file, "--env", "REGION_OF_TEST"); r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, `to: "/data/eu"`) {
		t.Errorf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// What the program can get, the planner knows the kind of.
func TestKnownSecretsHaveKinds(t *testing.T) {
	t.Parallel()
	for name := range session.KnownSecrets {
		if plan.KnownSecrets[name] == "" {
			t.Errorf("secret %s has no kind", name)
		}
	}
	if len(session.KnownSecrets) != len(plan.KnownSecrets) {
		t.Errorf("%d secrets, %d kinds", len(session.KnownSecrets), len(plan.KnownSecrets))
	}
}

// A condition compares with what a caller gave, whatever stands in it, and a caller who
// gave nothing gets all rows.
func TestParametersInConditions(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"mine.yaml": pipelineWith("${secret.dsn}", "SELECT 1", `    filter: {use: where, with: {expression: "params.who == null || name == params.who"}}`, "-"),
		"mine.test.yaml": `apiVersion: cipherstream/v1
kind: Test
pipeline: ./mine.yaml
cases:
  - {name: a name, parameters: {who: Li}, secrets: {dsn: x}, columns: &c [{name: name, type: string}], rows: &r [{name: Li}, {name: "x' || true || name == 'y"}], expect: {output: "{\"name\":\"Li\"}\n"}}
  - {name: code, parameters: {who: "x' || true || name == 'y"}, columns: *c, rows: *r, expect: {output: "{\"name\":\"x' || true || name == 'y\"}\n"}}
  - {name: nothing, columns: *c, rows: *r, expect: {output: "{\"name\":\"Li\"}\n{\"name\":\"x' || true || name == 'y\"}\n"}}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := cmdtest.Call(t, "test", filepath.Join(dir, "mine.test.yaml")); r.Code != terminal.ExitDone {
		t.Errorf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}
