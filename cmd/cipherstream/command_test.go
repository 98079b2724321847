package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestGolden holds what the commands that only look at things print.
func TestGolden(t *testing.T) {
	const visits = "testdata/visits.yaml"
	for _, c := range []struct {
		file string
		code int
		args []string
	}{
		{"help.txt", 0, []string{"--help"}},
		{"help.txt", 0, []string{"help"}},
		{"help.txt", 0, nil},
		{"help_run.txt", 0, []string{"help", "run"}},
		{"help_sandbox_load.txt", 0, []string{"help", "sandbox", "load"}},
		{"help_exit_codes.txt", 0, []string{"help", "exit-codes"}},
		{"describe.txt", 0, []string{"describe", visits}},
		{"describe.json", 0, []string{"describe", visits, "--json"}},
		{"plan.txt", 0, []string{"plan", visits, "-p", "since=2024-01-31", "-c", "gzip", "-o", "/data/out.gz"}},
		{"plan.json", 0, []string{"plan", visits, "-p", "since=2024-01-31", "-f", "csv", "--isolation", "stage", "--json"}},
		{"plan_missing.txt", 2, []string{"plan", visits}},
		{"plan_rule.txt", 2, []string{"plan", visits, "-p", "since=2024-02-30", "-p", "mots=1"}},
		{"lint_good.txt", 0, []string{"lint", visits, "testdata/everything.yaml"}},
		{"lint_bad.txt", 2, []string{"lint", visits, "testdata/bad.yaml"}},
		{"lint_bad.json", 2, []string{"lint", "testdata/bad.yaml", "--json"}},
		{"lint_bad.sarif", 2, []string{"lint", "testdata/bad.yaml", "--sarif"}},
	} {
		t.Run(strings.Join(append([]string{c.file}, c.args...), " "), func(t *testing.T) {
			got := call(t, c.args...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			golden(t, c.file, got.stdout+got.stderr)
			if got.stdout != "" && got.stderr != "" {
				t.Error("a result and an error came together")
			}
		})
	}
}

// TestUsage holds what is refused before anything is started.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const visits, dsn = "testdata/visits.yaml", "mysql://nobody:geheim@127.0.0.1:1/x"
	for _, c := range []struct {
		name  string
		args  string
		wants string // regular expression
	}{
		{"unknown command", "rnu", `no command "rnu"\n  help: did you mean run\?`},
		{"unknown command with a flag", "serve --sandbox", `no command "serve"`},
		{"unknown command with flags", "rnu x --sandbox -p a=b", `no command "rnu"\n  help: did you mean run\?`},
		{"unknown subcommand with a flag", "plugin lst --bogus", `no command "lst"\n  help: did you mean list\?`},
		{"time limit", "run " + visits + " --sandbox --timeout -1s", `--timeout is a time of at most 168h0m0s, or 0s for no limit, and not -1s`},
		{"stall limit", "run " + visits + " --sandbox --stall 0s", `--stall is a time of more than nothing`},
		{"unknown subcommand", "plugin lst", `no command "lst"\n  help: did you mean list\?`},
		{"unknown subcommand with action", "sandbox laod", `no command "laod"\n  help: did you mean load\?`},
		{"unknown topic", "help exit-code", `no command "exit-code"\n  help: did you mean exit-codes\?`},
		{"unknown flag", "run x --bogus", `unknown flag: --bogus\n  help: see cipherstream run --help`},
		{"bad flag value", "run x --sandbox-seed minus", `invalid argument "minus" for "--sandbox-seed"`},
		{"no pipeline", "run", `takes one pipeline, but got 0`},
		{"two pipelines", "plan a b", `takes one pipeline, but got 2`},
		{"argument too many", "list all", `takes no argument, but got "all"`},
		{"lint of nothing", "lint", `takes at least one pipeline`},
		{"two forms of lint", "lint x --sarif --json", `--sarif and --json are both given`},
		{"unknown pipeline", "describe appointmnts", `did you mean "appointments"\?`},
		{"missing file", "run no/such.yaml", `no/such\.yaml: error: .*\[file\.`},
		{"parameter without value", "plan " + visits + " -p since", `name=value, not as "since"`},
		{"parameter without name", "plan " + visits + " -p =5", `name=value, not as "=5"`},
		{"parameter twice", "plan " + visits + " -p since=2024-01-01 -p since=2024-01-02", `"since" is given twice`},
		{"empty parameter", "plan " + visits + " -p since=", `parameter since: error: .*YYYY-MM-DD, not ""`},
		{"unknown parameter", "plan " + visits + " -p since=2024-01-01 -p snice=1", `parameter snice: error: .*no such parameter`},
		{"rule", "plan " + visits + " -p since=2024-01-01 -p most=0", `most must be at least 1 \[BAD_MOST\]`},
		{"missing parameter", "run " + visits + " --sandbox", `give it with -p since=VALUE: First day\.`},
		{"format twice", "plan " + visits + " -p since=2024-01-01 -f csv -p output_format=json", `twice, with -p and with --format`},
		{"format not allowed", "plan " + visits + " -p since=2024-01-01 -f xml", `"xml" is not allowed; allowed: ndjson, json, csv`},
		{"format not declared", "run testdata/everything.yaml -f csv --sandbox", `"everything" has no parameter "output_format", which --format sets`},
		{"compression not declared", "plan testdata/everything.yaml -c gzip", `no parameter "compression", which --compression sets`},
		{"isolation", "plan " + visits + " -p since=2024-01-01 --isolation full", `group, stage or none, not "full"`},
		{"progress", "run " + visits + " --sandbox --progress dots", `auto, bar, plain, json, none, not "dots"`},
		{"no database", "run " + visits + " -p since=2024-01-01", `secret\.dsn is not set[\s\S]*CIPHERSTREAM_DSN`},
		{"two databases", "run " + visits + " --sandbox --dsn " + dsn, `--sandbox brings its own database`},
		{"two sources of a URL", "run " + visits + " -p since=2024-01-01 --dsn-file x --dsn " + dsn, `--dsn and --dsn-file are both given`},
		{"seed without sandbox", "run " + visits + " --sandbox-seed 3", `no effect without --sandbox`},
		{"scale of the sandbox", "run " + visits + " -p since=2024-01-01 --sandbox --sandbox-scale -1", `scale must be above 0`},
		{"missing file of a URL", "run " + visits + " --dsn-file " + dir + "/no", `--dsn-file cannot be read`},
		{"empty file of a URL", "run " + visits + " --dsn-file " + file("empty", "\n"), `is empty`},
		{"long file of a URL", "run " + visits + " --dsn-file " + file("long", "a\nb"), `holds more than a connection URL`},
		{"malformed URL", "run " + visits + " -p since=2024-01-01 --dsn postgres://u:geheim@h/x", `error\[mysql\.settings\]`},
		{"own output", "run testdata/own_output.yaml -o x --dsn " + dsn, `"own_output" chooses its own output`},
		{"empty output", "run " + visits + " --output= --dsn " + dsn, `--output names no file`},
		{"summary among data", "run " + visits + " -p since=2024-01-01 --summary - --sandbox", `cannot both go to standard output`},
		{"summary on the data", "run " + visits + " -p since=2024-01-01 --dsn " + dsn + " -o " + dir + "/x --summary " + dir + "/./x", `cannot both go to`},
		{"summary without folder", "run " + visits + " -p since=2024-01-01 --dsn " + dsn + " --summary " + dir + "/no/x", `summary cannot be written`},
		{"summary on a folder", "run " + visits + " -p since=2024-01-01 --dsn " + dsn + " --summary " + dir, `it is not a file`},
		{"plugins", "plugin list --plugins " + dir + "/no", `folder of plugins cannot be used`},
		{"plugins in a file", "plugin list --plugins " + file("file", "x"), `is no folder`},
		{"load without database", "sandbox load", `no connection URL is given`},
		{"load with a bad URL", "sandbox load --dsn x", `error\[sandbox\.dsn\]`},
		{"address of the sandbox", "sandbox --addr 0.0.0.0:0", `loopback only`},
		{"size of the sandbox", "sandbox --scale 0", `scale must be above 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := call(t, strings.Fields(c.args)...)
			if got.code != exitUsage {
				t.Errorf("exit code %d, want %d", got.code, exitUsage)
			}
			if !regexp.MustCompile(c.wants).MatchString(got.stderr) {
				t.Errorf("standard error does not match %s:\n%s", c.wants, got.stderr)
			}
			if got.stdout != "" {
				t.Errorf("standard output: %s", got.stdout)
			}
			if strings.Contains(got.stderr, "geheim") {
				t.Errorf("the password is shown: %s", got.stderr)
			}
			asJSON := call(t, append(strings.Fields(c.args), "--json")...)
			var machine struct{ Error failure }
			if err := json.Unmarshal([]byte(asJSON.stderr), &machine); err != nil {
				t.Fatalf("with --json: %v: %s", err, asJSON.stderr)
			} else if machine.Error.ExitCode != exitUsage || machine.Error.Class != fault.Usage || machine.Error.Code == "" || asJSON.code != exitUsage {
				t.Errorf("with --json: %d, %s", asJSON.code, asJSON.stderr)
			}
		})
	}
	if names := leftovers(t, dir); len(names) != 3 {
		t.Errorf("something was left behind: %v", names)
	}
}

// TestCatalogue looks at the catalogue through list and describe.
func TestCatalogue(t *testing.T) {
	text := call(t, "list")
	if !strings.HasPrefix(text.stdout, "NAME ") || !regexp.MustCompile(`(?m)^patients +Patients +Patient Management +data$`).MatchString(text.stdout) {
		t.Errorf("list: %s%s", text.stdout, text.stderr)
	}
	var list struct{ Pipelines []entry }
	if err := json.Unmarshal([]byte(call(t, "list", "--json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Pipelines) != strings.Count(text.stdout, "\n")-1 || len(list.Pipelines) < 2 {
		t.Errorf("list --json has %d pipelines, list %d lines", len(list.Pipelines), strings.Count(text.stdout, "\n"))
	}
	for _, p := range list.Pipelines {
		if p.Name == "" || p.Title == "" || p.Category == "" || p.Class == "" {
			t.Errorf("list --json: %+v", p)
		}
		if got := call(t, "describe", p.Name); got.code != 0 || !strings.HasPrefix(got.stdout, p.Name+": "+p.Title) {
			t.Errorf("describe %s: %d %s%s", p.Name, got.code, got.stdout, got.stderr)
		}
		if got := call(t, "lint", p.Name); got.code != 0 || got.stdout != "1 pipeline: no problems\n" {
			t.Errorf("lint %s: %d %s%s", p.Name, got.code, got.stdout, got.stderr)
		}
	}
}

func TestPluginList(t *testing.T) {
	text := call(t, "plugin", "list")
	if !regexp.MustCompile(`(?m)^cipherstream \S+ \(first party\)\n  source +mysql +→ table +\S`).MatchString(text.stdout) {
		t.Errorf("plugin list: %s%s", text.stdout, text.stderr)
	}
	var list struct{ Plugins []offeredPlugin }
	if err := json.Unmarshal([]byte(call(t, "plugin", "list", "--json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	settings := map[string]int{}
	for _, s := range list.Plugins[0].Stages {
		settings[string(s.Kind)+"/"+s.Name] = len(s.Settings)
	}
	if len(settings) != strings.Count(text.stdout, "\n")-1 || settings["source/mysql"] == 0 || settings["sink/stream"] != 1 {
		t.Errorf("plugin list --json: %v", settings)
	}
}

func TestVersion(t *testing.T) {
	if got := call(t, "version"); got.code != 0 || !strings.HasPrefix(got.stdout, "cipherstream "+version()+"\n") {
		t.Errorf("version: %+v", got)
	}
	var b build
	if err := json.Unmarshal([]byte(call(t, "version", "--json").stdout), &b); err != nil || b.Version != version() || b.Platform == "" {
		t.Errorf("version --json: %+v %v", b, err)
	}
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"ru"}, []string{"run\t"}},
		{[]string{"run", "appoin"}, []string{"appointments\tAppointments"}},
		{[]string{"plan", "patients", "-p", "from"}, []string{"from_date=\tFirst day"}},
		{[]string{"run", "patients", "-p", "date_modifier="}, []string{"date_modifier=Created"}},
		{[]string{"run", "patients", "-f", ""}, []string{"ndjson", "csv"}},
		{[]string{"run", "testdata/visits.yaml", "-c", ""}, []string{"none", "gzip"}},
		{[]string{"run", "x", "--progress", ""}, []string{"plain"}},
		{[]string{"lint", "patients", "appoin"}, []string{"appointments\t"}},
		{[]string{"help", "sandbox", ""}, []string{"load\t"}},
	} {
		got := call(t, append([]string{"__complete"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%v: %q is not in\n%s", c.args, want, got.stdout)
			}
		}
	}
	if got := call(t, "completion", "bash"); got.code != 0 || !strings.Contains(got.stdout, "__start_cipherstream") {
		t.Errorf("completion bash: %d %.200s", got.code, got.stdout)
	}
}

// TestExitCodes holds the contract for every class of fault.
func TestExitCodes(t *testing.T) {
	interruptedCtx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want int
	}{
		{t.Context(), nil, 0},
		{t.Context(), fault.New("x", fault.Source, "x"), 1},
		{t.Context(), fault.New("x", fault.Data, "x"), 1},
		{t.Context(), fault.New("x", fault.Sink, "x"), 1},
		{t.Context(), fault.New("x", fault.Plugin, "x"), 1},
		{t.Context(), fault.New("x", fault.Internal, "x"), 1},
		{t.Context(), fault.New("run.timeout", fault.Cancelled, "x"), 1},
		{t.Context(), os.ErrClosed, 1},
		{t.Context(), fault.New("x", fault.Usage, "x"), 2},
		{t.Context(), fault.New("x", fault.Connect, "x"), 3},
		{interruptedCtx, context.Canceled, 130},
		{interruptedCtx, fault.New("x", fault.Sink, "x"), 130},
		// What was done before the signal came is done.
		{interruptedCtx, nil, 0},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
