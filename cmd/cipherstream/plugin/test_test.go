package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stagetest/suite"
)

// servedAs is the plugin that the test binary is under another name.
func servedAs(program string) (sdk.Bundle, bool) {
	switch program {
	case "good-plugin":
		return sdk.Bundle{Name: "good", Version: "1.2.3", Stages: []sdk.Definition{
			sdk.DefineFilter(sdk.About{Name: "pass", Summary: "Hands through.", KeepsRows: true, Concurrent: true},
				func(passSettings, sdk.Env) (sdk.Filter, error) { return passing{}, nil }),
			sdk.DefineSink(sdk.About{Name: "folder", Summary: "Writes a file."},
				func(s folderSettings, _ sdk.Env) (sdk.Sink, error) { return &folderSink{path: s.Path}, nil }),
		}}, true
	case "newer-plugin":
		return sdk.Bundle{Name: "good", Version: "2.0.0", Network: true, Stages: []sdk.Definition{
			sdk.DefineFilter(sdk.About{Name: "pass", Summary: "Hands through.", Doc: "All of it:\n\n* every row,\n* every column.", KeepsRows: true, Concurrent: true},
				func(richSettings, sdk.Env) (sdk.Filter, error) { return passing{}, nil }),
		}}, true
	case "bad-plugin":
		return sdk.Bundle{Name: "bad", Version: "0.0.1", Stages: []sdk.Definition{
			sdk.DefineFilter(sdk.About{Name: "drops", Summary: "Drops the last row.", KeepsRows: true},
				func(struct{}, sdk.Env) (sdk.Filter, error) { return dropping{}, nil }),
		}}, true
	case "nosy-plugin", "nosy-network-plugin":
		return sdk.Bundle{Name: "nosy", Version: "0.0.1", Network: program == "nosy-network-plugin", Stages: []sdk.Definition{
			sdk.DefineEncoder(sdk.About{Name: "csv", Summary: "Looks around.", Out: sdk.ShapeRecords},
				func(s nosySettings, _ sdk.Env) (sdk.Encoder, error) { return nosy{s}, nil }),
		}}, true
	}
	return sdk.Bundle{}, false
}

// nosySettings are those of the encoder in whose place it is, and what it looks at: a TCP listener and a file.
type nosySettings struct {
	Null    string `config:"null"`
	Address string `config:"address"`
	File    string `config:"file"`
}

type nosy struct{ nosySettings }

func (n nosy) Bind(*arrow.Schema) (sdk.Media, error) {
	_, dialled := net.Dial("tcp", n.Address)
	_, read := os.ReadFile(n.File)
	return sdk.Media{}, fault.New("nosy.report", fault.Source, "it reaches network: %t, file: %t", dialled == nil, read == nil)
}

func (nosy) Begin(*sdk.Output) error { return nil }

func (nosy) Encode(context.Context, sdk.Rows, *sdk.Output) error { return nil }

func (nosy) End(sdk.Totals, *sdk.Output) error { return nil }

type passSettings struct {
	Column string `config:"column,required"`
}

// richSettings has a setting of every form.
type richSettings struct {
	Mode    string                  `config:"mode" enum:"strict,lax" default:"strict" doc:"What happens to odd rows."`
	Most    int                     `config:"most" default:"5" min:"1" max:"9" doc:"Most odd rows."`
	Token   config.Secret           `config:"token,required" doc:"Grants access."`
	Names   []string                `config:"names" min:"1" doc:"Columns."`
	Rules   []ruleSettings          `config:"rules" doc:"Rules, in order."`
	ByName  map[string]ruleSettings `config:"by_name" doc:"A rule for each column."`
	Patient time.Duration           `config:"patient" default:"10s" min:"1ms"`
}

type ruleSettings struct {
	Pattern string `config:"pattern,required" doc:"What it looks for."`
}

type passing struct{}

// Bind refuses 64-bit floats, to see refusals.
func (passing) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	for _, f := range in.Fields() {
		if f.Type.ID() == arrow.FLOAT64 {
			return nil, fault.New("pass.type", fault.Usage, "column %q is %s", f.Name, f.Type)
		}
	}
	return in, nil
}

func (passing) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

type dropping struct{ passing }

func (dropping) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	return in.NewSlice(0, max(0, in.NumRows()-1)), nil
}

type folderSettings struct {
	Path string `config:"path,required"`
}

type folderSink struct {
	path    string
	content bytes.Buffer
}

func (*folderSink) Open(context.Context, sdk.Object) error { return nil }

func (s *folderSink) Write(_ context.Context, p []byte) error { s.content.Write(p); return nil }

func (*folderSink) Abort(context.Context) error { return nil }

func (s *folderSink) Commit(context.Context) (sdk.Receipt, error) {
	if err := os.WriteFile(s.path, s.content.Bytes(), 0o600); err != nil {
		return sdk.Receipt{}, fault.New("folder.write", fault.Sink, "cannot write: %w", err)
	}
	sum := sha256.Sum256(s.content.Bytes())
	return sdk.Receipt{Bytes: int64(s.content.Len()), SHA256: hex.EncodeToString(sum[:]), Location: s.path}, nil
}

// pluginProgram is a path at which the test binary is that plugin.
func pluginProgram(t *testing.T, name string) string {
	t.Helper()
	executable, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(executable, path); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodTrials = `filter/pass:
  settings: {column: name}
  columns: [{name: name, type: string}, {name: paid, type: "decimal(10,2)", nullable: false}]
  prompt: 10s
sink/folder:
  settings: {path: "{{dir}}/object"}
  object: "{{dir}}/object"
  prompt: 10s
  except: {heartbeat: the other stage has shown it}
`

func writeTrials(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trials.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPluginTest(t *testing.T) {
	program, _ := smallProgram(t, "good-plugin")
	got := cmdtest.Call(t, "plugin", "test", program, "--settings", writeTrials(t, goodTrials))
	if got.Code != terminal.ExitDone || settled(got.Stderr) != "" {
		t.Errorf("it ended with %d: %s", got.Code, got.Stderr)
	}
	golden.Compare(t, "plugin_test_good.txt", got.Stdout)
}

func TestPluginTestFails(t *testing.T) {
	program, _ := smallProgram(t, "bad-plugin")
	got := cmdtest.Call(t, "plugin", "test", program)
	if got.Code != terminal.ExitFailed {
		t.Errorf("it ended with %d", got.Code)
	}
	golden.Compare(t, "plugin_test_bad.txt", settled(got.Stdout+got.Stderr))

	got = cmdtest.Call(t, "plugin", "test", program, "--json")
	var report struct {
		Plugin string         `json:"plugin"`
		Checks []suite.Result `json:"checks"`
		Failed int            `json:"failed"`
	}
	if err := json.Unmarshal([]byte(got.Stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Plugin != "bad" || report.Failed == 0 || got.Code != terminal.ExitFailed || !strings.Contains(got.Stderr, `"code":"plugin.test_failed"`) {
		t.Errorf("it ended with %d: %+v\n%s", got.Code, report, got.Stderr)
	}
}

// TestPluginTestUsage: what is wrong with the command line is said before a check is run.
func TestPluginTestUsage(t *testing.T) {
	program, _ := smallProgram(t, "good-plugin")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no program", nil, terminal.ExitUsage, "takes one program, but got 0 arguments"},
		{"missing", []string{filepath.Join(t.TempDir(), "gone")}, terminal.ExitUsage, "the program cannot be tested"},
		{"files", []string{program, "--allow-files", "/proc/1:ro"}, terminal.ExitUsage, `"/proc/1" is of the system`},
		{"not executable", []string{text}, terminal.ExitUsage, "is not a program that can be executed"},
		{"no plugin", []string{"/bin/true"}, terminal.ExitFailed, `plugin "true" did not start`},
		{"unknown stage", []string{program, "--stage", "filter/gone"}, terminal.ExitUsage, `plugin "good" has no stage "filter/gone"`},
		{"unknown stage in the file", []string{program, "--settings", writeTrials(t, "filter/gone: {}")}, terminal.ExitUsage, "it has filter/pass, sink/folder"},
		{"unknown key", []string{program, "--settings", writeTrials(t, "filter/pass: {setting: {}}")}, terminal.ExitUsage, "field setting not found"},
		{"unknown type", []string{program, "--settings", writeTrials(t, "filter/pass: {columns: [{name: a, type: text}]}")}, terminal.ExitUsage, `column "a" has no type that is known: "text"`},
		{"bad expression", []string{program, "--settings", writeTrials(t, "filter/pass: {volatile: '('}")}, terminal.ExitUsage, "volatile is no regular expression"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := cmdtest.Call(t, append([]string{"plugin", "test"}, c.args...)...)
			if got.Code != c.code || !strings.Contains(got.Stderr, c.says) {
				t.Errorf("it ended with %d:\n%s\nexpected %d and %q", got.Code, got.Stderr, c.code, c.says)
			}
		})
	}
}
