package pipeline

import (
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
)

// debugging is how a plugin's author looks into a run.
type debugging struct {
	attach []string
	record string
}

const debuggingHelp = `For authors of plugins: --attach STAGE does not start the process of that stage. It
prints the command that starts it, for another terminal and a debugger, and waits.
Nothing is cut short there: no time limit holds for that process, nor the pipeline's
own for the run. Its socket is in a folder that only this user can enter.

--record FOLDER keeps what crosses from stage to stage, an Arrow file for each
boundary, and record.json, which has the settings without secrets. Every stage then
has a process of its own, and what crosses passes through this one. The files hold
the data itself, readable, also where the output is sealed: delete them when you are
done. "cipherstream plugin replay" gives them to a stage again.`

func (d *debugging) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&d.attach, "attach", nil,
		"wait for the process of `STAGE`, which you start yourself, under a debugger for instance (repeatable)")
	c.Flags().StringVar(&d.record, "record", "", "keep what crosses from stage to stage in `FOLDER`, which is new or empty. It will hold the data, readable")
	_ = c.MarkFlagDirname("record") // the flag exists
}

func (d *debugging) validate(c *cobra.Command, r *request) error {
	if !c.Flags().Changed("record") {
		return nil
	}
	if d.record == "" {
		return terminal.UsageFault("--record names no folder")
	}
	if c.Flags().Changed("isolation") && r.isolation != string(engine.IsolationStage) {
		return terminal.UsageFault("--record keeps what crosses from process to process, and --isolation %s joins stages in one", r.isolation).
			WithHint("leave --isolation out: with --record every stage has a process of its own")
	}
	r.isolation = string(engine.IsolationStage)
	return nil
}

// events takes the events of a run, and says what a recording will hold.
func (d *debugging) events(r *terminal.Reporter) func(engine.Event) {
	return func(e engine.Event) {
		if _, begins := e.(engine.Started); begins && d.record != "" {
			r.Logger().Warn("the recording in " + d.record + " holds the data of this run, readable; delete it when you are done")
		}
		r.Event(e)
	}
}
