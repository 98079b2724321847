package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestGolden holds what the help says of the program as a whole.
func TestGolden(t *testing.T) {
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
		{"help_webhook.txt", 0, []string{"help", "webhook"}},
	} {
		t.Run(strings.Join(append([]string{c.file}, c.args...), " "), func(t *testing.T) {
			got := cmdtest.Call(t, c.args...)
			if got.Code != c.code {
				t.Errorf("exit code %d, want %d", got.Code, c.code)
			}
			golden.Compare(t, c.file, got.Stdout+got.Stderr)
			if got.Stdout != "" && got.Stderr != "" {
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
	const visits, dsn = "pipeline/testdata/visits.yaml", "mysql://nobody:geheim@127.0.0.1:1/x"
	for _, c := range []struct {
		name  string
		args  string
		wants string // regular expression
	}{
		{"unknown command", "rnu", `no command "rnu"\n  help: did you mean run\?`},
		{"unknown command with a flag", "sevre --sandbox", `no command "sevre"\n  help: did you mean serve\?`},
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
		{"format not declared", "run pipeline/testdata/everything.yaml -f csv --sandbox", `"everything" has no parameter "output_format", which --format sets`},
		{"compression not declared", "plan pipeline/testdata/everything.yaml -c gzip", `no parameter "compression", which --compression sets`},
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
		{"own output", "run pipeline/testdata/own_output.yaml -o x --dsn " + dsn, `"own_output" chooses its own output`},
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
			got := cmdtest.Call(t, strings.Fields(c.args)...)
			if got.Code != terminal.ExitUsage {
				t.Errorf("exit code %d, want %d", got.Code, terminal.ExitUsage)
			}
			if !regexp.MustCompile(c.wants).MatchString(got.Stderr) {
				t.Errorf("standard error does not match %s:\n%s", c.wants, got.Stderr)
			}
			if got.Stdout != "" {
				t.Errorf("standard output: %s", got.Stdout)
			}
			if strings.Contains(got.Stderr, "geheim") {
				t.Errorf("the password is shown: %s", got.Stderr)
			}
			asJSON := cmdtest.Call(t, append(strings.Fields(c.args), "--json")...)
			var machine struct {
				Error struct {
					Code     string
					Class    fault.Class
					ExitCode int `json:"exit_code"`
				}
			}
			if err := json.Unmarshal([]byte(asJSON.Stderr), &machine); err != nil {
				t.Fatalf("with --json: %v: %s", err, asJSON.Stderr)
			} else if machine.Error.ExitCode != terminal.ExitUsage || machine.Error.Class != fault.Usage || machine.Error.Code == "" || asJSON.Code != terminal.ExitUsage {
				t.Errorf("with --json: %d, %s", asJSON.Code, asJSON.Stderr)
			}
		})
	}
	if names := cmdtest.Leftovers(t, dir); len(names) != 3 {
		t.Errorf("something was left behind: %v", names)
	}
}

func TestVersion(t *testing.T) {
	if got := cmdtest.Call(t, "version"); got.Code != 0 || !strings.HasPrefix(got.Stdout, "cipherstream "+session.Version()+"\n") {
		t.Errorf("version: %+v", got)
	}
	var b struct{ Version, Platform string }
	if err := json.Unmarshal([]byte(cmdtest.Call(t, "version", "--json").Stdout), &b); err != nil || b.Version != session.Version() || b.Platform == "" {
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
		{[]string{"run", "pipeline/testdata/visits.yaml", "-c", ""}, []string{"none", "gzip"}},
		{[]string{"run", "x", "--progress", ""}, []string{"plain"}},
		{[]string{"lint", "patients", "appoin"}, []string{"appointments\t"}},
		{[]string{"help", "sandbox", ""}, []string{"load\t"}},
	} {
		got := cmdtest.Call(t, append([]string{"__complete"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(got.Stdout, want) {
				t.Errorf("%v: %q is not in\n%s", c.args, want, got.Stdout)
			}
		}
	}
	if got := cmdtest.Call(t, "completion", "bash"); got.Code != 0 || !strings.Contains(got.Stdout, "__start_cipherstream") {
		t.Errorf("completion bash: %d %.200s", got.Code, got.Stdout)
	}
}
