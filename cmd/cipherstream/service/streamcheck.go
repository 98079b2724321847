package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeNoStream: there is no data stream to be looked at.
const codeNoStream = "data_stream.none"

func (a *app) dataStreamCheckCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "check [CUSTOMER]",
		Short: "Say what keeps a database from being followed exactly",
		Long: `Say what keeps the databases of the customers of a document, or of one of them, from being followed
exactly: settings of the server and its log, grants, tables and their keys. Each finding says what to
do, with the statement that does it. Nothing is read, sent or changed, and no service is asked.

Each finding is wrong, a warning, unchecked or fine. The exit code is that of the worst one, as of
"cipherstream doctor", which looks at this too.`,
		Example: `  cipherstream data-stream check sunrise --config /etc/cipherstream/service.yaml`,
		Args:    a.atMostOne("one customer"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if f.timeout <= 0 {
				return usage("--timeout is longer than 0s")
			}
			customer := ""
			if len(args) == 1 {
				customer = args[0]
			}
			return a.checkStreams(c.Context(), &f, customer)
		}),
	}
	c.Flags().StringVar(&f.config, "config", defaultConfig, "`FILE` of kind Service")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "longest `TIME` that looking at one database may take")
	c.Flags().BoolVar(&f.strict, "strict", false, "end with an error where there are warnings")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
	return c
}

// checkStreams looks at the databases of a customer's data stream, or of all; empty is all.
func (a *app) checkStreams(ctx context.Context, f *doctorFlags, customer string) (err error) {
	if err := f.missing(); err != nil {
		return err
	}
	set, err := a.settings(ctx, f.config, f.options())
	if err != nil {
		return err
	}
	e, err := a.streamsEngine(ctx, set, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	pipelines, err := a.streamPipelines(e, set)
	if err != nil {
		return err
	}
	var checks []check
	for i := range set.Customers {
		c := &set.Customers[i]
		if pipeline := pipelines[c.ID]; pipeline != nil && (customer == "" || customer == c.ID) {
			checks = append(checks, streamCheck(e, pipeline, c))
		}
	}
	if len(checks) == 0 {
		whose := "no customer"
		if customer != "" {
			whose = "no customer " + customer
		}
		return fault.New(codeNoStream, fault.Usage, "%s declares %s with a data stream", f.config, whose).
			WithHint("name its pipeline: customers: [{id: …, data_stream: {pipeline: practice}}]")
	}
	found := examine(ctx, checks, f.timeout)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return a.tell(ctx, f.config, found, f.strict)
}

// streamPipelines are the pipelines of customers' data streams. What is wrong with one is shown with its lines.
func (a *app) streamPipelines(e *engine.Engine, set *config.Settings) (map[string]*engine.Prepared, error) {
	pipelines, source, diags := service.PrepareStreams(e, set)
	return pipelines, a.Check(source, diags)
}

// checkStreamPipelines looks at the pipelines that a configuration names.
func (a *app) checkStreamPipelines(ctx context.Context, set *config.Settings) (err error) {
	e, err := a.streamsEngine(ctx, set, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	_, err = a.streamPipelines(e, set)
	return err
}

// streamCheck looks whether a customer's database can be followed.
func streamCheck(e *engine.Engine, pipeline *engine.Prepared, c *config.Customer) check {
	return check{"data stream", c.ID, func(ctx context.Context, r *findings) {
		plan, diags := pipeline.Bind(engine.Inputs{
			Parameters: map[string]any{"position": "", "again": ""}, Timeout: -1, End: engine.EndCallerTable,
			Secrets:  func(name string) (string, bool) { return c.DSN.Reveal(), name == "dsn" },
			Customer: declared(c), Log: slog.New(slog.DiscardHandler),
		})
		if plan == nil {
			r.wrong(diags.Err())
			return
		}
		if r.plan(ctx, e, plan) {
			r.fine("its database can be followed")
		}
	}}
}
