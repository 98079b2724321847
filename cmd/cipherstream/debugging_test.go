package main

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestRecordAndReplay records a run of the catalogue and gives its stages what they
// were given.
func TestRecordAndReplay(t *testing.T) {
	dsn := smallPractice(t)
	t.Setenv(envDSN, dsn)
	dir := filepath.Join(t.TempDir(), "rec")
	out := filepath.Join(t.TempDir(), "rows.csv")
	got := call(t, "run", "appointments", "-f", "csv", "-o", out, "--record", dir)
	if got.code != exitDone || !strings.Contains(got.stderr, "warn: the recording in "+dir+" holds the data of this run, readable; delete it when you are done\n") {
		t.Fatalf("it ended with %d:\n%s", got.code, got.stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if password, ok := u.User.Password(); !ok || strings.Contains(string(text), password) || strings.Contains(string(text), u.Host) {
		t.Error("record.json has the connection URL")
	}
	replayed := filepath.Join(t.TempDir(), "replayed.arrow")
	good, _ := smallProgram(t, "good-plugin")
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string // "" is nothing
		errs string
	}{
		{"same", []string{"--stage", "contract"}, exitDone, "contract: the same as recorded: 300 rows in, 300 rows out\n", ""},
		{"records", []string{"--stage", "csv"}, exitDone, "encoder: the same as recorded: 300 rows in, 301 records out\n", ""},
		{"to a file", []string{"--stage", "csv", "--out", replayed}, exitDone, "encoder: 300 rows in, 301 records out, written to " + replayed + "\n", ""},
		{"json", []string{"--stage", "csv", "--json"}, exitDone, `{
  "stage": "encoder",
  "in": "table",
  "out": "records",
  "rows_in": 300,
  "rows_out": 301,
  "partial": false,
  "rows_compared": 301,
  "same": true
}
`, ""},
		{"no stage", nil, exitUsage, "", "error[cli.usage]: --stage is missing"},
		{"no such stage", []string{"--stage", "mask"}, exitUsage, "", `error[plan.no_such_stage]: pipeline "appointments" runs no stage "mask"`},
		{"no value", []string{"--stage", "csv", "--set", "header"}, exitUsage, "", "error[cli.usage]: --set takes SETTING=VALUE"},
		{"twice", []string{"--stage", "csv", "--set", "header=true", "--set", "header=false"}, exitUsage, "", `error[cli.usage]: --set: setting "header" is given twice`},
		{"a secret in the open", []string{"--stage", "csv", "--secret", "hunter2"}, exitUsage, "", "error[cli.usage]: --secret takes SETTING=SOURCE\n"},
		{"no secret setting", []string{"--stage", "csv", "--secret", "header=env:HOME"}, exitUsage, "", `error[plan.setting]: setting "/header" is no secret`},
		{"no program", []string{"--stage", "csv", "/nowhere/at/all"}, exitUsage, "", "error[cli.usage]: the program cannot be started"},
		{"another program", []string{"--stage", "csv", good}, exitFailed, "", `error[plugin.unknown_stage]: plugin "good" has no encoder called "csv"`},
		{"a file for an installed plugin", []string{"--stage", "csv", "--allow-files", "/data:ro"}, exitUsage, "", "error[cli.usage]: --allow-files is for a program"},
		{"no recording", []string{"--stage", "csv"}, exitUsage, "", "error[record.folder]: there is no recording in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := dir
			if c.name == "no recording" {
				from = t.TempDir()
			}
			got := call(t, append([]string{"plugin", "replay", from}, c.args...)...)
			got.stderr = unconfined.ReplaceAllString(got.stderr, "")
			if got.code != c.code || got.stdout != c.out || !strings.HasPrefix(got.stderr, c.errs) || (got.stderr == "") != (c.errs == "") {
				t.Errorf("it ended with %d:\n%s%s", got.code, got.stdout, got.stderr)
			}
			if strings.Contains(got.stderr, "hunter2") {
				t.Error("it shows what may be a secret")
			}
		})
	}
	t.Run("differs", func(t *testing.T) {
		got := call(t, "plugin", "replay", dir, "--stage", "csv", "--set", "delimiter=semicolon")
		lines := strings.Split(got.stdout, "\n")
		if got.code != exitFailed || lines[0] != `encoder: row 1 (counted from 1), column "records" differs` ||
			!strings.HasPrefix(lines[1], `    recorded: "appointment_id,`) || !strings.HasPrefix(lines[2], `    replayed: "appointment_id;`) ||
			!strings.HasPrefix(got.stderr, `error[replay.differs]: stage "encoder" makes something else than in the recorded run`) {
			t.Errorf("it ended with %d:\n%s%s", got.code, got.stdout, got.stderr)
		}
		got = call(t, "plugin", "replay", dir, "--stage", "csv", "--set", "delimiter=semicolon", "--json")
		var said struct {
			Same       *bool
			Difference *record.Difference
		}
		if err := json.Unmarshal([]byte(got.stdout), &said); err != nil || said.Same == nil || *said.Same || said.Difference == nil || said.Difference.Row != 1 {
			t.Errorf("%v: %s", err, got.stdout)
		}
	})
}

func TestDebuggingUsage(t *testing.T) {
	t.Setenv(envDSN, noDSN)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const visits = "testdata/visits.yaml"
	base := []string{"run", visits, "-p", "since=2024-01-31"}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--attach", "mask"}, `runs no stage "mask"`},
		{[]string{"--attach", "mask"}, "it runs source (mysql)"},
		{[]string{"--attach", "source", "--isolation", "none"}, "runs in the host's own process"},
		{[]string{"--attach", "source", "--attach", "mysql"}, `stage "source" is to be attached twice`},
		{[]string{"--record", ""}, "--record names no folder"},
		{[]string{"--record", "rec", "--isolation", "none"}, "leave --isolation out"},
		{[]string{"--record", "rec", "--isolation", "group"}, "leave --isolation out"},
		{[]string{"--record", full}, "is not empty"},
	} {
		got := call(t, append(append([]string{}, base...), c.args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%v: it ended with %d:\n%s", c.args, got.code, got.stderr)
		}
	}
}

// TestAwaiting: what is printed is a command that a shell understands, whatever is in
// it, however little progress is shown.
func TestAwaiting(t *testing.T) {
	script := filepath.Join(t.TempDir(), "it's a plugin")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$CIPHERSTREAM_ATTACH|$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	awaiting := run.Awaiting{Stage: "mask", Plugin: "acme", Environment: "CIPHERSTREAM_ATTACH=/tmp/a b/c", Program: script, Args: []string{"$HOME `x`"}}
	written := func(r *reporter) string {
		f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r.out = f
		r.event(awaiting)
		r.event(run.Attached{Stage: "mask", Plugin: "acme", PID: 7})
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	lines := strings.Split(written(&reporter{}), "\n")
	if lines[0] != "waiting for the process of stage mask (plugin acme). Start it in another terminal:" || lines[len(lines)-2] != "stage mask: attached to process 7" {
		t.Errorf("got %q", lines)
	}
	command := strings.TrimSpace(lines[2])
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil || string(out) != "/tmp/a b/c|$HOME `x`\n" {
		t.Errorf("%s: %v: %q", command, err, out)
	}
	if debugger := strings.TrimSpace(lines[6]); !strings.Contains(debugger, " dlv exec ") || !strings.Contains(debugger, " -- ") {
		t.Errorf("got %s", debugger)
	}
	first, _, _ := strings.Cut(written(&reporter{json: true}), "\n")
	var event struct{ Event, Stage, Plugin, Environment, Command, Debugger string }
	if err := json.Unmarshal([]byte(first), &event); err != nil || event.Event != "awaiting" || event.Command != command || event.Environment != awaiting.Environment {
		t.Errorf("%v: %s", err, first)
	}
}
