package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// foreign is a plugin whose filters find faults of their own in what they are told.
func foreign() sdk.Bundle {
	return sdk.Bundle{Name: "foreign", Version: "1.0.0", Stages: []sdk.Definition{
		sdk.DefineFilter(sdk.About{Name: "rule", Summary: "Knows words.", KeepsRows: true},
			func(s foreignSettings, _ sdk.Env) (sdk.Filter, error) {
				if from := strings.Index(s.Rule, "bad"); from >= 0 {
					return nil, fault.New("foreign.rule", fault.Usage, "the rule has a bad word, with %s", s.Key.Reveal()).WithHint("use a good one").
						WithDetail(fault.DetailSetting, "/rule").WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, from+3))
				}
				if s.Rule == "exit" {
					os.Exit(3)
				}
				return &ruled{s}, nil
			}),
		sdk.DefineFilter(sdk.About{Name: "knows", Summary: "Says what it must be given.", KeepsRows: true},
			func(s foreignSettings, _ sdk.Env) (sdk.Filter, error) { return &knowing{ruled{s}}, nil }),
	}}
}

type foreignSettings struct {
	Rule   string        `config:"rule"`
	Column string        `config:"column"`
	Drop   string        `config:"drop"`
	Key    config.Secret `config:"key"`
}

// ruled changes a column of dates to text, or drops one.
type ruled struct{ foreignSettings }

func (r *ruled) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	if r.Column != "" && len(in.FieldIndices(r.Column)) == 0 && in.Metadata().FindKey(sdk.MetaOpen) < 0 {
		return nil, fault.New("foreign.unknown_column", fault.Usage, "there is no column %q", r.Column).WithDetail(fault.DetailSetting, "/column")
	}
	if r.Rule == "panic" {
		panic("no such column is thought of")
	}
	var fields []arrow.Field
	for _, f := range in.Fields() {
		if f.Name != r.Drop {
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil), nil
}

func (r *ruled) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

// knowing is given what it gives.
type knowing struct{ ruled }

func (k *knowing) Before(out *arrow.Schema) *arrow.Schema { return out }

// installForeign pins the plugin in a folder.
func installForeign(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "foreign-plugin")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	program := []byte("#!" + link + "\n")
	sum := sha256.Sum256(program)
	for name, text := range map[string][]byte{
		host.ProgramPrefix + "foreign": program,
		host.LockName:                  fmt.Appendf(nil, "plugins:\n  - {name: foreign, version: 1.0.0, sha256: %s}\n", hex.EncodeToString(sum[:])),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Filters of plugins are looked at by their own programs, at lint and at plan, with the
// columns of the contract, and what they find has its place in the file. What comes of a
// guess is not told: a filter that refuses the columns that it is to give may be right.
func TestForeignFiltersAreChecked(t *testing.T) {
	plugins := installForeign(t)
	const wrong, fine, warns = "error", "", "warning"
	known := strings.Replace(contractColumns, "\n    - {name: big, type: uint64}", "", 1) // of which all is known
	for _, c := range []struct{ filter, columns, level, code, at string }{
		{`{use: foreign/rule, with: {rule: "a bad one"}}`, "", wrong, "foreign.rule", "bad one"},
		{`{use: foreign/rule, with: {rule: "a good one"}}`, known, fine, "", ""},
		{`{use: foreign/rule, with: {drop: name}}`, known, wrong, "check.dropped_column", "foreign/rule"},
		{`{use: foreign/rule, with: {drop: name}}`, "", fine, "", ""},
		{`{use: foreign/rule, with: {column: birthdate}}`, known, fine, "", ""}, // it may drop it
		{`{use: foreign/rule, with: {rule: panic}}`, known, fine, "", ""},
		{`{use: foreign/knows, with: {column: nmae}}`, contractColumns, wrong, "foreign.unknown_column", "nmae"},
		{`{use: foreign/knows, with: {column: nmae}}`, "", fine, "", ""},
		{`{use: foreign/knows, with: {column: name, drop: born}}`, contractColumns, wrong, "check.dropped_column", "foreign/knows"},
		// What it says that it must be given is known to the filter in front.
		{`[{use: where, with: {expression: "nmae == 'x'"}}, {use: foreign/knows}]`, contractColumns, wrong, "expression.unknown_column", "nmae"},
		{`[{use: where, with: {expression: "nmae == 'x'"}}, {use: foreign/rule}]`, contractColumns, fine, "", ""},
		{`{use: foreign/rule, with: {rule: exit}}`, known, warns, "plugin.exited", "foreign/rule"},
		// First-party siblings.
		{`{use: columns, with: {exclude: [name]}}`, contractColumns, wrong, "check.dropped_column", "columns"},
		{`{use: columns, with: {include: [id, name, born]}}`, contractColumns, wrong, "check.dropped_column", "columns"},
		{`[{use: columns, with: {include: [id, name, born, big]}}, {use: columns, with: {exclude: [other]}}]`, contractColumns, wrong, "check.dropped_column", "columns"},
	} {
		content := pipelineWith("${secret.dsn}", "SELECT 1", "    filter: "+c.filter, "${run.output}") + strings.TrimPrefix(c.columns, "\n")
		file := writeFile(t, "mine.yaml", content)
		for _, command := range []string{"lint", "plan"} {
			args := []string{command, file, "--json", "--plugins", plugins}
			if command == "plan" {
				args = append(args, "-p", "who=x")
			}
			r := cmdtest.Call(t, args...)
			type diagnostics []struct {
				Code, Severity, Message string
				Line, Column            int
			}
			var out struct {
				Diagnostics diagnostics
				Error       struct{ Diagnostics diagnostics }
			}
			_ = json.Unmarshal([]byte(r.Stdout), &out)
			if command == "plan" && c.level == wrong {
				_ = json.Unmarshal([]byte(r.Stderr), &out)
				out.Diagnostics = out.Error.Diagnostics
			}
			if want := map[bool]int{true: terminal.ExitUsage, false: terminal.ExitDone}[c.level == wrong]; r.Code != want {
				t.Errorf("%s %s: exit %d, want %d: %s%s", command, c.filter, r.Code, want, r.Stdout, r.Stderr)
				continue
			}
			if c.level == warns && command == "plan" {
				continue // with --json it prints the plan alone
			}
			if c.level == fine {
				if len(out.Diagnostics) > 0 {
					t.Errorf("%s %s: %+v", command, c.filter, out.Diagnostics)
				}
				continue
			}
			if len(out.Diagnostics) != 1 || out.Diagnostics[0].Code != c.code || out.Diagnostics[0].Severity != c.level {
				t.Errorf("%s %s: want %s: %s%s", command, c.filter, c.code, r.Stdout, r.Stderr)
				continue
			}
			d := out.Diagnostics[0]
			if line := strings.Split(content, "\n")[d.Line-1]; !strings.HasPrefix(line[d.Column-1:], c.at) {
				t.Errorf("%s %s: at %q, want %q", command, c.filter, line[d.Column-1:], c.at)
			}
		}
	}
}

// A secret that a filter finds wrong is not in what is printed.
func TestForeignFilterKeepsSecrets(t *testing.T) {
	plugins := installForeign(t)
	file := writeFile(t, "mine.yaml", pipelineWith("${secret.dsn}", "SELECT 1",
		`    filter: {use: foreign/rule, with: {rule: bad, key: "${secret.key}"}}`, "${run.output}"))
	key := writeFile(t, "key.txt", "hunter2-hunter2-hunter2")
	r := cmdtest.Call(t, "run", file, "--plugins", plugins, "--secret", "key=file:"+key, "-o", filepath.Join(t.TempDir(), "rows"), "--sandbox", "-p", "who=x")
	if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "foreign.rule") || strings.Contains(r.Stderr+r.Stdout, "hunter2") {
		t.Errorf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}
