package plugin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// codeDiffers says that a stage makes something else than it did in a recorded run.
const codeDiffers = "replay.differs"

// replayFlags are the flags of plugin replay.
type replayFlags struct {
	stage, out   string
	set, secrets []string
	allowFiles   []string
	attach       bool
	verbose      bool
}

func (a *app) pluginReplayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay FOLDER [PROGRAM]",
		Short: "Give a stage what it was given in a recorded run",
		Long: `Give a stage what it was given in a run that was recorded (run --record FOLDER), and
compare what it makes with what it made then. The stage runs alone, in a process as in
a run: of PROGRAM, which need not be in plugins.lock, or else of the plugin that the
recording names. Of a run that failed, as much is replayed as was recorded.

PROGRAM is confined as well as a run would confine it: it has the network only if it
declares that it needs it, and of the files it sees those that --allow-files grants.

The settings are those of the recording. --set changes one: names with dots between
them, or a JSON Pointer; lists and objects are JSON. A secret is not in the recording,
and has to be given with --secret.

The first difference is shown with its row, its column and both values, which are data.
What differs by itself, such as the output of an encryptor, always differs. With --out
the output is written as an Arrow file, and nothing is compared.

Sources and sinks are not replayed: "run --attach" debugs them. The exit code is 1
when there is a difference.`,
		Example: `  cipherstream run appointments --sandbox --record rec -o appointments.ndjson
  cipherstream plugin replay rec --stage contract
  cipherstream plugin replay rec --stage mask bin/mask --set columns.id.action=hmac --secret secret=file:key.txt`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return terminal.UsageFault("%s takes a folder, and perhaps a program, but got %d arguments", c.CommandPath(), len(args)).
					WithHint("give the folder of a recording, then the plugin's program if it is not the installed one")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			program := ""
			if len(args) == 2 {
				program = args[1]
			}
			return a.pluginReplay(c.Context(), args[0], program, &f)
		}),
	}
	c.Flags().StringVar(&f.stage, "stage", "", "`STAGE` to replay: its name in record.json, or what it uses")
	c.Flags().StringVarP(&f.out, "out", "o", "", "write the output to `FILE` as Arrow, and compare nothing")
	c.Flags().StringArrayVar(&f.set, "set", nil, "change a setting, as `SETTING=VALUE` (repeatable)")
	c.Flags().StringArrayVar(&f.secrets, "secret", nil, "take a secret setting from `SETTING=SOURCE`: "+session.SecretForms+" (repeatable)")
	c.Flags().BoolVar(&f.attach, "attach", false, "wait for the stage's process, which you start yourself, under a debugger for instance")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show log lines of level info too")
	c.Flags().StringArrayVar(&f.allowFiles, "allow-files", nil, "for PROGRAM: "+allowFilesUsage)
	a.PluginsFlag(c)
	return c
}

func (a *app) pluginReplay(ctx context.Context, dir, program string, f *replayFlags) error {
	if f.stage == "" {
		return terminal.UsageFault("--stage is missing").WithHint("name the stage to replay; record.json lists them")
	}
	in := record.Replay{Dir: dir, Stage: f.stage, Attach: f.attach, Out: f.out}
	var err error
	if in.Set, err = pairs("--set", "VALUE", f.set); err != nil {
		return err
	}
	if in.Secrets, err = pairs("--secret", "SOURCE", f.secrets); err != nil {
		return err
	}
	for place, source := range in.Secrets {
		if in.Secrets[place], err = session.ReadSecret(ctx, source); err != nil {
			return err
		}
	}
	report, err := a.NewReporter(terminal.ProgressNone, f.verbose, false)
	if err != nil {
		return err
	}
	in.Events = report.Event
	pluginDir, err := a.PluginFolder()
	if err != nil {
		return err
	}
	files, err := fileGrants(f.allowFiles)
	if err != nil {
		return err
	}
	if len(files) > 0 && (program == "" || f.attach) {
		return terminal.UsageFault("--allow-files is for a program that is given and started here").
			WithHint("what an installed plugin sees was granted with its installation; what is attached is not confined")
	}
	cfg := a.hostConfig(pluginDir, report.Logger())
	if program != "" {
		if cfg, in.Plugin, err = programConfig(program, "started", report.Logger()); err != nil {
			return err
		}
		cfg.StrictIsolation = a.StrictIsolation()
	}
	h, err := host.New(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	if program != "" && !f.attach {
		pinned, err := pinProgram(ctx, h, cfg.Executable, files)
		if err != nil {
			return err
		}
		in.Start = pinned.start
	}
	replayed, err := in.Execute(ctx, h)
	if err != nil {
		return err
	}
	return a.concludeReplay(replayed, f.out)
}

// pairs reads NAME=VALUE. What has no = is not shown: it may be a secret.
func pairs(flag, value string, given []string) (map[string]string, error) {
	all := map[string]string{}
	for _, text := range given {
		name, value1, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, terminal.UsageFault("%s takes SETTING=%s", flag, value)
		}
		if _, again := all[name]; again {
			return nil, terminal.UsageFault("%s: setting %q is given twice", flag, name).WithHint("give it once")
		}
		all[name] = value1
	}
	return all, nil
}

// unitOf is what a stream of each shape is counted in.
var unitOf = map[stage.Shape]string{stage.ShapeTable: "row", stage.ShapeRecords: "record", stage.ShapeBytes: "piece"}

// concludeReplay prints what came of it; a difference is an error.
func (a *app) concludeReplay(r *record.Replayed, out string) error {
	counts := fmt.Sprintf("%s in, %s out", terminal.Counted(int(r.RowsIn), unitOf[r.In]), terminal.Counted(int(r.RowsOut), unitOf[r.Out]))
	verdict := fmt.Sprintf("%s: the same as recorded: %s", r.Stage, counts)
	switch {
	case out != "":
		verdict = fmt.Sprintf("%s: %s, written to %s", r.Stage, counts, out)
	case r.Difference != nil:
		verdict = fmt.Sprintf("%s: %s", r.Stage, r.Difference.Message)
	case r.Partial:
		verdict = fmt.Sprintf("%s: the same as far as was recorded, %s: %s", r.Stage, terminal.Counted(int(r.RowsCompared), unitOf[r.Out]), counts)
	}
	if err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, struct {
				*record.Replayed
				Same *bool  `json:"same,omitempty"`
				File string `json:"file,omitempty"`
			}{r, sameOrNot(r, out), out})
		}
		fmt.Fprintln(w, diag.Printable(verdict))
		if d := r.Difference; d != nil {
			fmt.Fprintf(w, "    recorded: %s\n    replayed: %s\n", diag.Printable(d.Recorded), diag.Printable(d.Replayed))
		}
		return nil
	}); err != nil {
		return err
	}
	if r.Difference != nil {
		return fault.New(codeDiffers, fault.Plugin, "stage %q makes something else than in the recorded run", r.Stage)
	}
	return nil
}

// sameOrNot is nil when nothing was compared.
func sameOrNot(r *record.Replayed, out string) *bool {
	if out != "" {
		return nil
	}
	same := r.Difference == nil
	return &same
}
