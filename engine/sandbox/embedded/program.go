//go:build gms_pure_go

package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Program serves until ctx or in ends: all of cmd/cipherstream-sandbox, whose arguments args are. SQL
// holds schema.sql and procedures/*.sql. One line of JSON on out says where, {"dsn": URL}, or why not,
// {"fault": {"code": …}}. It returns the exit code: 0, 1 when the server could not be started or
// ended, 2 for wrong usage.
func Program(ctx context.Context, sql fs.FS, args []string, in io.Reader, out, errs io.Writer) int {
	config, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // package flag has said why
	}
	config.SQL = sql
	server, err := Start(ctx, config)
	if err != nil {
		return report(out, err)
	}
	ctx, ended := context.WithCancel(ctx)
	defer ended()
	go func() {
		_, _ = io.Copy(io.Discard, in) // however it ends, whoever started this is gone
		ended()
	}()
	err = json.NewEncoder(out).Encode(map[string]string{"dsn": server.DSN()})
	if err == nil {
		<-ctx.Done()
	}
	if err := errors.Join(err, server.Close()); err != nil {
		return report(out, err)
	}
	return 0
}

// parse reads the arguments.
func parse(args []string, errs io.Writer) (Config, error) {
	var config Config
	flags := flag.NewFlagSet("cipherstream-sandbox", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprint(errs, "Serves a database of generated practice data until its standard input ends.\n"+
			"\"cipherstream sandbox\" starts it for people.\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&config.Addr, "addr", "127.0.0.1:0", "loopback `ADDRESS` to listen on; port 0 takes a free one")
	flags.Uint64Var(&config.Options.Seed, "seed", 0, "`NUMBER` that chooses the practice")
	flags.Float64Var(&config.Options.Scale, "scale", 1, "`SIZE` of the practice: 1 is 2,000 patients and 20,000 appointments")
	flags.Int64Var(&config.Options.Patients, "patients", 0, "`NUMBER` of patients (default by -scale)")
	flags.Int64Var(&config.Options.Appointments, "appointments", 0, "`NUMBER` of appointments (default by -scale)")
	flags.DurationVar(&config.Changes, "changes", 0, "change a few rows every `TIME` (default never)")
	log := flags.Bool("log", false, "write what the server logs to standard error, as JSON")
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(errs, "it takes no argument, and was given %q\n", flags.Arg(0))
		return config, errors.New("an argument too many")
	}
	if *log {
		config.Log = slog.New(slog.NewJSONHandler(errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return config, nil
}

// report writes why it failed, and returns the exit code.
func report(out io.Writer, err error) int {
	f := fault.From(err)
	// Nowhere is left to say that this failed.
	_ = json.NewEncoder(out).Encode(map[string]any{"fault": map[string]string{
		"code": f.Code, "class": string(f.Class), "message": f.Message, "hint": f.Hint,
	}})
	return 1
}
