package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/pipelines"
)

// database says where ${secret.dsn} comes from.
type database struct {
	dsn, file string
}

func (d *database) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.dsn, "dsn", "",
		"connection `URL`, mysql://user:password@host:3306/database. Others can see it in the list of processes: "+envDSN+" and --dsn-file keep the password out of it")
	c.Flags().StringVar(&d.file, "dsn-file", "", "read the connection URL from `PATH`")
	_ = c.MarkFlagFilename("dsn-file") // the flag exists
}

func (d *database) given() bool { return d.dsn != "" || d.file != "" }

// maxDSN bounds the file of --dsn-file, in bytes.
const maxDSN = 64 << 10

// secret returns the connection URL, and false when there is none.
func (d *database) secret() (string, bool, error) {
	switch {
	case d.dsn != "" && d.file != "":
		return "", false, usageFault("--dsn and --dsn-file are both given").WithHint("give one")
	case d.dsn != "":
		return d.dsn, true, nil
	case d.file != "":
		dsn, err := readDSN(d.file)
		return dsn, err == nil, err
	}
	dsn := os.Getenv(envDSN)
	return dsn, dsn != "", nil
}

func readDSN(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usageFault("--dsn-file cannot be read: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxDSN+1))
	content = bytes.TrimSpace(content)
	switch {
	case err != nil:
		return "", usageFault("--dsn-file cannot be read: %w", err)
	case len(content) == 0:
		return "", usageFault("--dsn-file %s is empty", path).WithHint("it holds mysql://user:password@host:3306/database")
	case len(content) > maxDSN || bytes.ContainsAny(content, "\r\n"):
		return "", usageFault("--dsn-file %s holds more than a connection URL", path).WithHint("it holds one line, mysql://user:password@host:3306/database")
	}
	return string(content), nil
}

// lookup answers ${secret.…}.
func lookup(dsn string, ok bool) plan.Lookup {
	return func(name string) (string, bool) {
		if name != "dsn" {
			return "", false
		}
		return dsn, ok
	}
}

// practice says which generated data a sandbox holds.
type practice struct {
	seed                   uint64
	scale                  float64
	patients, appointments int64
}

func (p *practice) flags(c *cobra.Command, prefix string) {
	c.Flags().Uint64Var(&p.seed, prefix+"seed", 0, "`NUMBER` that chooses the generated practice: other data, same shape")
	c.Flags().Float64Var(&p.scale, prefix+"scale", 1, "`SIZE` of the practice: 1 is 2,000 patients and 20,000 appointments")
}

func (p *practice) rowFlags(c *cobra.Command) {
	c.Flags().Int64Var(&p.patients, "patients", 0, "`NUMBER` of patients (default by --scale)")
	c.Flags().Int64Var(&p.appointments, "appointments", 0, "`NUMBER` of appointments (default by --scale)")
}

func (p *practice) options() (sandbox.Options, error) {
	if !(p.scale > 0) {
		return sandbox.Options{}, usageFault("the scale must be above 0, but is %v", p.scale)
	}
	return sandbox.Options{Seed: p.seed, Scale: p.scale, Patients: p.patients, Appointments: p.appointments}, nil
}

// practiceSQL is the schema and the procedures of the catalogue.
func practiceSQL() (fs.FS, error) { return fs.Sub(pipelines.FS(), "sql") }

// startSandbox starts the embedded server.
func startSandbox(ctx context.Context, p *practice, addr string, log *slog.Logger) (*sandbox.Server, error) {
	options, err := p.options()
	if err != nil {
		return nil, err
	}
	sql, err := practiceSQL()
	if err != nil {
		return nil, err
	}
	return sandbox.Start(ctx, sandbox.Config{SQL: sql, Options: options, Addr: addr, Log: log})
}
