package plugin

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/record"
)

// TestRecordAndReplay records a run of the catalogue and gives its stages what they
// were given.
func TestRecordAndReplay(t *testing.T) {
	dsn := cmdtest.SmallPractice(t)
	t.Setenv(session.EnvDSN, dsn)
	dir := filepath.Join(t.TempDir(), "rec")
	out := filepath.Join(t.TempDir(), "rows.csv")
	got := cmdtest.Call(t, "run", "appointments", "-f", "csv", "-o", out, "--record", dir)
	if got.Code != terminal.ExitDone || !strings.Contains(got.Stderr, "warn: the recording in "+dir+" holds the data of this run, readable; delete it when you are done\n") {
		t.Fatalf("it ended with %d:\n%s", got.Code, got.Stderr)
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
		{"same", []string{"--stage", "contract"}, terminal.ExitDone, "contract: the same as recorded: 300 rows in, 300 rows out\n", ""},
		{"records", []string{"--stage", "csv"}, terminal.ExitDone, "encoder: the same as recorded: 300 rows in, 301 records out\n", ""},
		{"to a file", []string{"--stage", "csv", "--out", replayed}, terminal.ExitDone, "encoder: 300 rows in, 301 records out, written to " + replayed + "\n", ""},
		{"json", []string{"--stage", "csv", "--json"}, terminal.ExitDone, `{
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
		{"no stage", nil, terminal.ExitUsage, "", "error[cli.usage]: --stage is missing"},
		{"no such stage", []string{"--stage", "mask"}, terminal.ExitUsage, "", `error[plan.no_such_stage]: pipeline "appointments" runs no stage "mask"`},
		{"no value", []string{"--stage", "csv", "--set", "header"}, terminal.ExitUsage, "", "error[cli.usage]: --set takes SETTING=VALUE"},
		{"twice", []string{"--stage", "csv", "--set", "header=true", "--set", "header=false"}, terminal.ExitUsage, "", `error[cli.usage]: --set: setting "header" is given twice`},
		{"a secret in the open", []string{"--stage", "csv", "--secret", "hunter2"}, terminal.ExitUsage, "", "error[cli.usage]: --secret takes SETTING=SOURCE\n"},
		{"no secret setting", []string{"--stage", "csv", "--secret", "header=env:HOME"}, terminal.ExitUsage, "", `error[plan.setting]: setting "/header" is no secret`},
		{"no program", []string{"--stage", "csv", "/nowhere/at/all"}, terminal.ExitUsage, "", "error[cli.usage]: the program cannot be started"},
		{"another program", []string{"--stage", "csv", good}, terminal.ExitFailed, "", `error[plugin.unknown_stage]: plugin "good" has no encoder called "csv"`},
		{"a file for an installed plugin", []string{"--stage", "csv", "--allow-files", "/data:ro"}, terminal.ExitUsage, "", "error[cli.usage]: --allow-files is for a program"},
		{"no recording", []string{"--stage", "csv"}, terminal.ExitUsage, "", "error[record.folder]: there is no recording in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := dir
			if c.name == "no recording" {
				from = t.TempDir()
			}
			got := cmdtest.Call(t, append([]string{"plugin", "replay", from}, c.args...)...)
			got.Stderr = unconfined.ReplaceAllString(got.Stderr, "")
			if got.Code != c.code || got.Stdout != c.out || !strings.HasPrefix(got.Stderr, c.errs) || (got.Stderr == "") != (c.errs == "") {
				t.Errorf("it ended with %d:\n%s%s", got.Code, got.Stdout, got.Stderr)
			}
			if strings.Contains(got.Stderr, "hunter2") {
				t.Error("it shows what may be a secret")
			}
		})
	}
	t.Run("differs", func(t *testing.T) {
		got := cmdtest.Call(t, "plugin", "replay", dir, "--stage", "csv", "--set", "delimiter=semicolon")
		lines := strings.Split(got.Stdout, "\n")
		if got.Code != terminal.ExitFailed || lines[0] != `encoder: row 1 (counted from 1), column "records" differs` ||
			!strings.HasPrefix(lines[1], `    recorded: "appointment_id,`) || !strings.HasPrefix(lines[2], `    replayed: "appointment_id;`) ||
			!strings.HasPrefix(got.Stderr, `error[replay.differs]: stage "encoder" makes something else than in the recorded run`) {
			t.Errorf("it ended with %d:\n%s%s", got.Code, got.Stdout, got.Stderr)
		}
		got = cmdtest.Call(t, "plugin", "replay", dir, "--stage", "csv", "--set", "delimiter=semicolon", "--json")
		var said struct {
			Same       *bool
			Difference *record.Difference
		}
		if err := json.Unmarshal([]byte(got.Stdout), &said); err != nil || said.Same == nil || *said.Same || said.Difference == nil || said.Difference.Row != 1 {
			t.Errorf("%v: %s", err, got.Stdout)
		}
	})
}
