package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/sandbox"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/plugins/stream"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// runFlags are the flags of run that plan doesn't have.
type runFlags struct {
	session.Database
	sandbox.Practice
	debugging
	sandbox  bool
	retries  int
	progress string
	summary  string
	digest   string
	verbose  bool
}

func (a *app) runCommand() *cobra.Command {
	var r request
	var f runFlags
	c := &cobra.Command{
		Use:   "run PIPELINE",
		Short: "Run a pipeline",
		Long: `Run a pipeline: a name that "cipherstream list" shows, or the path of a YAML file.

The connection URL comes from --dsn, --dsn-file or ` + session.EnvDSN + `, in this order.
--sandbox needs none: it starts a database with generated data.

--job leaves an object in a bucket, a folder by default, and prints the receipt: where
the object is, its size and SHA-256, and a link to it.

A file given with -o appears under its name when it is whole, and only then. Its name
says format and compression, such as rows.parquet or rows.csv.gz, unless -f and -c do;
a name that contradicts them is refused. What
is written to standard output is on its way before the run has succeeded: the
exit code tells whether it is all.

` + debuggingHelp,
		Example: `  cipherstream run appointments --sandbox -p from_date=2024-01-01 | head
  cipherstream run appointments --dsn-file dsn.txt -f csv -c gzip -o appointments.csv.gz
  cipherstream run appointments --sandbox -c zip --encrypted --customer sandbox \
    --secret encryption_keys=file:keys.txt --job --bucket ./objects`,
		Args: a.onePipeline,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if err := f.validate(c, &r); err != nil {
				return err
			}
			return a.run(c.Context(), args[0], &r, &f)
		}),
	}
	r.flags(a, c)
	a.PluginLimitFlags(c)
	f.Database.Flags(c)
	f.debugging.flags(c)
	c.Flags().BoolVar(&f.sandbox, "sandbox", false, "read from a database of generated data, started for this run")
	f.Practice.Flags(c, "sandbox-")
	c.Flags().IntVar(&f.retries, "retries", 0, "try again a run whose failure may go away by itself, up to `N` times, with growing pauses; never when standard output has bytes of it")
	c.Flags().StringVar(&f.progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	c.Flags().StringVar(&f.summary, "summary", "", "write the receipt to `FILE` as JSON when the run has succeeded; - is standard output")
	c.Flags().StringVar(&f.digest, "digest", stream.DigestSHA256, "`WHAT` the receipt says of the output's bytes besides their number: sha256, or none, where nobody reads it")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show log lines of level info too, and what the sandbox logs")
	session.Complete(c, "digest", cobra.FixedCompletions(digests, cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// digests are the values of --digest.
var digests = []string{stream.DigestSHA256, stream.DigestNone}

// checkDigest refuses to leave the digest out where something needs it, or where the pipeline would make it all the same.
func (f *runFlags) checkDigest(p *engine.Plan) error {
	if f.digest != stream.DigestNone {
		return nil
	}
	for i := range p.Stages {
		if s := &p.Stages[i]; s.Kind == stage.KindEncryptor && s.FirstParty {
			return terminal.UsageFault("the output is sealed, and without a digest its receipt would prove nothing").
				WithHint("leave --digest none out")
		}
	}
	if !p.EndsAtCaller() && !p.Refers("run.digest") {
		return terminal.UsageFault("--digest none has no effect on the sink %s of pipeline %q", p.Stages[len(p.Stages)-1].Name, p.Name).
			WithHint("leave it out, or let the sink have digest: ${run.digest}; an object in a bucket always has a digest, which proves that it is whole")
	}
	return nil
}

// validate finds flags that contradict one another.
func (f *runFlags) validate(c *cobra.Command, r *request) error {
	switch {
	case f.sandbox && f.Database.Given():
		return terminal.UsageFault("--sandbox brings its own database, but --dsn or --dsn-file names another").WithHint("give one of them")
	case !f.sandbox && (c.Flags().Changed("sandbox-seed") || c.Flags().Changed("sandbox-scale")):
		return terminal.UsageFault("--sandbox-seed and --sandbox-scale have no effect without --sandbox")
	}
	if f.digest != "" && !slices.Contains(digests, f.digest) { // check has no such flag
		return terminal.UsageFault("--digest is one of %s, not %q", strings.Join(digests, ", "), f.digest)
	}
	if err := f.validateRetries(); err != nil {
		return err
	}
	return f.debugging.validate(c, r)
}

func (a *app) run(ctx context.Context, pipeline string, r *request, f *runFlags) error {
	report, err := a.NewReporter(f.progress, f.verbose, r.toStdout() && !r.job && terminal.IsTerminal(a.Out))
	if err != nil {
		return err
	}
	defer report.Clear()
	e, err := a.Engine(ctx, report.Logger())
	if err != nil {
		return err
	}
	defer e.Close()
	prepared, err := a.prepare(ctx, e, pipeline, r, f)
	if err != nil {
		return err
	}
	if prepared.handsOver {
		if err := a.CheckOutput("the rows", "to throw the rows away, say so: -o /dev/null"); err != nil {
			return err
		}
	}
	switch {
	case f.summary == "-" && prepared.handsOver:
		return terminal.UsageFault("the summary and the data cannot both go to standard output").WithHint("give -o FILE, or --summary FILE")
	case f.summary == "" && !prepared.handsOver && prepared.output == "":
		// Only the receipt tells where the output is.
		f.summary = "-"
	}
	if f.summary == "-" {
		if err := a.CheckOutput("the receipt", "give --summary FILE"); err != nil {
			return err
		}
	}
	summary, err := a.newSummary(f.summary, prepared.output)
	if err != nil {
		return err
	}
	defer summary.discard()
	kept, err := r.keepState(prepared)
	if err != nil {
		return err
	}
	defer kept.close()
	release, err := a.acquire(ctx, prepared, f, report)
	defer release()
	if err != nil {
		return err
	}
	var receipt *engine.Receipt
	var p *engine.Plan
	err = repeat(ctx, f.retries, report, func() (again bool, err error) {
		p, receipt, again, err = a.attempt(ctx, e, prepared, f, report)
		return again, err
	})
	if err != nil {
		return err
	}
	// The receipt is told all the same: the output is there.
	failed := kept.save(p, receipt)
	if err := summary.commit(receipt); err != nil {
		return err
	}
	return failed
}

// attempt runs the request once, and gives the plan that was run. Again is whether a failure allows another attempt.
func (a *app) attempt(ctx context.Context, e *engine.Engine, in *prepared, f *runFlags, report *terminal.Reporter) (
	p *engine.Plan, receipt *engine.Receipt, again bool, err error) {
	if p, err = in.bind(e, f); err != nil {
		return nil, nil, false, err
	}
	// The next attempt is another run.
	now := time.Now()
	in.request.RunID, in.request.StartedAt = engine.NewRunID(p.Name, now), now
	out := watched{Sink: stream.To(a.Out, "stdout", f.digest)}
	var sink engine.AnySink
	if p.EndsAtCaller() {
		sink = &out
	}
	receipt, err = e.Run(ctx, p, sink, engine.RunOptions{Events: f.debugging.events(report), Record: f.record})
	locate(p, err)
	switch {
	case fault.Is(err, "sink.closed") && in.handsOver:
		return nil, nil, false, terminal.ReaderGone()
	case err == nil || !engine.Repeatable(err):
		return p, receipt, false, err
	case out.wrote && f.retries > 0:
		return nil, nil, false, seen(err)
	}
	return p, receipt, !out.wrote, err
}

// locate adds to a fault where the pipeline says what it is about.
func locate(p *engine.Plan, err error) {
	f := fault.From(err)
	if f == nil {
		return
	}
	for i := range p.Stages {
		if p.Stages[i].ID != f.Stage {
			continue
		}
		if at := p.Stages[i].Locate(f); at.File != "" {
			f.WithDetail(terminal.DetailAt, at.String())
		}
	}
}

// prepared is a request that has been checked as far as it can be before
// anything is started.
type prepared struct {
	pipeline *engine.Prepared
	request  engine.Inputs
	// output is the absolute path of the file, or empty.
	output string
	// handsOver says that the pipeline writes to standard output.
	handsOver bool
}

// prepare checks a request by planning it, with stand-ins for what is not there
// yet.
func (a *app) prepare(ctx context.Context, e *engine.Engine, pipeline string, r *request, f *runFlags) (*prepared, error) {
	ready, err := a.ready(e, pipeline)
	if err != nil {
		return nil, err
	}
	if err := r.requireState(ready.Document()); err != nil {
		return nil, err
	}
	req, err := a.resolve(pipeline, ready.Document(), r)
	if err != nil {
		return nil, err
	}
	secrets, err := r.secrets.Lookup(ctx)
	if err != nil {
		return nil, err
	}
	dsn, ok := noDSN, true
	if !f.sandbox {
		if dsn, ok, err = f.Database.Secret(); err != nil {
			return nil, err
		}
	}
	req.Secrets = withDSN(dsn, ok, secrets)
	req.Destination.Digest = f.digest
	out := &prepared{pipeline: ready, request: req}
	if err := out.setDestination(r); err != nil {
		return nil, err
	}
	now := time.Now()
	out.request.RunID, out.request.StartedAt = engine.NewRunID(ready.Document().Metadata.Name, now), now
	p, err := a.plan(e, ready, out.request)
	if err == nil {
		err = p.Attach(f.attach...)
	}
	if err != nil {
		return nil, err
	}
	if err := r.checkObject(p); err != nil {
		return nil, err
	}
	if err := r.checkDatabase(p); err != nil {
		return nil, err
	}
	if err := f.checkDigest(p); err != nil {
		return nil, err
	}
	if r.toStdout() {
		out.handsOver = p.EndsAtCaller()
		return out, a.fitForTerminal(p, out.handsOver)
	}
	if !p.Refers("run.output") {
		return nil, terminal.UsageFault("pipeline %q chooses its own output, so that -o has no effect", p.Name).
			WithHint("leave -o out, or let the sink write to ${run.output}")
	}
	return out, nil
}

// setDestination sets where the output goes, and which tables and procedures may be asked for.
func (p *prepared) setDestination(r *request) (err error) {
	if p.request.Destination.Object, err = r.delivery.Destination(); err != nil {
		return err
	}
	if r.toStdout() {
		p.request.End = engine.EndOutput
	} else {
		if p.output, err = session.OutputPath(r.output); err != nil {
			return err
		}
		p.request.Destination.Output = p.output
	}
	p.request.Allow = engine.AllowList{Tables: names(r.tables), Procedures: names(r.procedures)}
	return nil
}

// names are those of a list, without the blanks around them, and without those that are blank.
func names(list []string) (out []string) {
	for _, name := range list {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// binaryFormats are the encoders whose output is no text.
var binaryFormats = []string{"parquet", "arrow"}

// fitForTerminal refuses to fill a terminal with bytes that are no text.
func (a *app) fitForTerminal(p *engine.Plan, toStdout bool) error {
	if !toStdout || !terminal.IsTerminal(a.Out) {
		return nil
	}
	var binary string
	for _, s := range p.Stages {
		switch {
		case s.Kind == stage.KindCompressor || s.Kind == stage.KindEncoder && slices.Contains(binaryFormats, s.Name):
			binary = s.Name
		case s.Kind == stage.KindEncryptor:
			// Envelopes are text again.
			binary = ""
		}
	}
	if binary == "" {
		return nil
	}
	return terminal.UsageFault("the output is %s, which is no text, and standard output is a terminal", binary).
		WithHint("write it to a file with -o FILE, or send it on with a pipe")
}

// acquire starts what the run needs, and completes the request with it. Release undoes it.
func (a *app) acquire(ctx context.Context, in *prepared, f *runFlags, report *terminal.Reporter) (release func(), err error) {
	if !f.sandbox {
		return func() {}, nil
	}
	server, err := sandbox.Start(ctx, a.Terminal, &f.Practice, "", sandbox.ServerLog(report))
	if err != nil {
		return func() {}, err
	}
	in.request.Secrets = withDSN(server.DSN(), true, in.request.Secrets)
	return func() {
		if err := server.Close(); err != nil {
			report.Logger().Warn(fmt.Sprintf("ending the sandbox: %v", err))
		}
	}, nil
}

// bind plans the request when it is complete.
func (p *prepared) bind(e *engine.Engine, f *runFlags) (*engine.Plan, error) {
	bound, diags := p.pipeline.Bind(p.request)
	if err := terminal.DiagnosticsError(diags, e.Source); err != nil {
		return nil, err
	}
	return bound, bound.Attach(f.attach...)
}
