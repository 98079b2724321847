package sandbox

import (
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/pipelines"
)

// Practice says which generated data a sandbox holds.
type Practice struct {
	seed                   uint64
	scale                  float64
	patients, appointments int64
	changes                time.Duration
}

// Flags adds those for seed and scale to a command, with a prefix before their names.
func (p *Practice) Flags(c *cobra.Command, prefix string) {
	c.Flags().Uint64Var(&p.seed, prefix+"seed", 0, "`NUMBER` that chooses the generated practice: other data, same shape")
	c.Flags().Float64Var(&p.scale, prefix+"scale", 1, "`SIZE` of the practice: 1 is 2,000 patients and 20,000 appointments")
}

// ChangesFlag adds the one that lets rows change, for a sandbox that goes on for a while.
func (p *Practice) ChangesFlag(c *cobra.Command, prefix string) {
	c.Flags().DurationVar(&p.changes, prefix+"changes", 0, "change a few rows every `TIME`, such as 2s: patients, appointments and log entries (default never)")
}

func (p *Practice) rowFlags(c *cobra.Command) {
	c.Flags().Int64Var(&p.patients, "patients", 0, "`NUMBER` of patients (default by --scale)")
	c.Flags().Int64Var(&p.appointments, "appointments", 0, "`NUMBER` of appointments (default by --scale)")
}

func (p *Practice) options() (sandbox.Options, error) {
	if !(p.scale > 0) {
		return sandbox.Options{}, terminal.UsageFault("the scale must be above 0, but is %v", p.scale)
	}
	if p.changes < 0 || p.changes > 0 && p.changes < time.Millisecond {
		return sandbox.Options{}, terminal.UsageFault("rows change every 1ms at most, and not every %v", p.changes)
	}
	return sandbox.Options{Seed: p.seed, Scale: p.scale, Patients: p.patients, Appointments: p.appointments}, nil
}

// practiceSQL is the schema and the procedures of the catalogue.
func practiceSQL() (fs.FS, error) { return fs.Sub(pipelines.FS(), "sql") }
