package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// The parameters that flags of their own set.
const (
	formatParameter      = session.FormatParameter
	compressionParameter = session.CompressionParameter
	encryptedParameter   = "encrypted"
	modeParameter        = "mode"
)

// request is what the flags of run and plan say about a pipeline.
type request struct {
	parameters          []string
	format, compression string
	encrypted           bool
	output              string
	job                 bool
	delivery            session.Delivery
	customer            string
	tables, procedures  []string
	secrets             session.Secrets
	env                 []string
	stateFile           string
	isolation           string
	timeout, stall      time.Duration
	// changed reports whether a flag was given.
	changed func(name string) bool
}

func (r *request) flags(a *app, c *cobra.Command) {
	f := c.Flags()
	r.changed = f.Changed
	f.StringArrayVarP(&r.parameters, "parameter", "p", nil, "set a parameter, as `NAME=VALUE`; name= is empty text (repeatable)")
	f.StringVarP(&r.format, "format", "f", "", "`FORMAT` of the output: the parameter "+formatParameter+" (default by the name given with -o)")
	f.StringVarP(&r.compression, "compression", "c", "", "`COMPRESSION` of the output: the parameter "+compressionParameter+" (default by the name given with -o)")
	f.BoolVar(&r.encrypted, "encrypted", false, "seal the output with the key ${secret.encryption_keys}: the parameter "+encryptedParameter)
	f.StringVarP(&r.output, "output", "o", "-", "write to `FILE`; - is standard output")
	f.BoolVar(&r.job, "job", false, "leave an object in a bucket and print the receipt as JSON: the parameter "+modeParameter)
	r.delivery.Flags(c)
	f.StringVar(&r.customer, "customer", "", "`ID` of the customer, which sealing binds the output to")
	r.secrets.Flags(c)
	f.StringArrayVar(&r.env, "env", nil, "let the pipeline read the environment variable `NAME`, as ${env.NAME}; never one that holds a secret (repeatable)")
	f.StringSliceVar(&r.tables, "allow-table", []string{"*"}, "`NAMES` of tables that custom_table may read; * stands for any letters (repeatable)")
	f.StringSliceVar(&r.procedures, "allow-procedure", []string{"*"}, "`NAMES` of procedures that custom_table may call; * stands for any letters (repeatable)")
	f.StringVar(&r.isolation, "isolation", string(engine.IsolationGroup),
		"`WHICH` processes the stages run in: group (neighbours share one), stage (one for each stage), none (first-party stages run in this one)")
	f.DurationVar(&r.timeout, "timeout", 0, "`TIME` after which the run is ended, such as 90s or 2h; 0s is no limit (default limits.timeout of the pipeline)")
	f.DurationVar(&r.stall, "stall", 0, "`TIME` that one call of a stage may take before it counts as hanging (default limits.stall of the pipeline, or 10s)")
	r.stateFlag(c)
	a.PluginsFlag(c)
	c.ValidArgsFunction = a.completePipeline
	session.Complete(c, "parameter", a.completeParameter)
	session.Complete(c, "format", a.completeAllowed(formatParameter))
	session.Complete(c, "compression", a.completeAllowed(compressionParameter))
	session.Complete(c, "isolation", cobra.FixedCompletions([]string{"group", "stage", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// toStdout reports whether standard output is the output.
func (r *request) toStdout() bool { return r.output == "-" }

// values reads the parameters.
func (r *request) values() (map[string]any, error) {
	values := map[string]any{}
	for _, p := range r.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, terminal.UsageFault("a parameter is given as name=value, not as %q", p).WithHint("write -p from_date=2024-01-31")
		}
		if _, again := values[name]; again {
			return nil, terminal.UsageFault("parameter %q is given twice", name).WithHint("give it once")
		}
		values[name] = value
	}
	return values, nil
}

// resolve turns flags into the inputs of a run of the pipeline that was given, without secrets and output.
func (a *app) resolve(given string, pipeline *engine.Document, r *request) (engine.Inputs, error) {
	req := engine.Inputs{Env: os.LookupEnv, EnvAllowed: r.env, Hint: r.hintFor, Isolation: engine.Isolation(r.isolation)}
	if err := r.secrets.Limit(&req); err != nil {
		return req, err
	}
	switch req.Isolation {
	case engine.IsolationGroup, engine.IsolationStage, engine.IsolationNone:
	default:
		return req, terminal.UsageFault("--isolation is group, stage or none, not %q", r.isolation)
	}
	if err := r.limit(&req); err != nil {
		return req, err
	}
	if err := r.readState(&req); err != nil {
		return req, err
	}
	if r.output == "" {
		return req, terminal.UsageFault("--output names no file")
	}
	if r.job && !r.toStdout() {
		return req, terminal.UsageFault("--job leaves an object in a bucket, and -o names a file").WithHint("give one of them; --bucket and --object say where the object goes")
	}
	values, err := r.values()
	if err != nil {
		return req, err
	}
	req.Parameters = values
	req.Customer.ID = r.customer
	for _, short := range []struct{ flag, parameter, value string }{
		{"--format", formatParameter, r.format}, {"--compression", compressionParameter, r.compression},
		{"--encrypted", encryptedParameter, textIf(r.encrypted, "true")}, {"--job", modeParameter, textIf(r.job, "job")},
	} {
		if short.value == "" {
			continue
		}
		declared := func(p document.Parameter) bool { return p.Name == short.parameter }
		if !slices.ContainsFunc(pipeline.Parameters, declared) {
			return req, terminal.UsageFault("pipeline %q has no parameter %q, which %s sets", pipeline.Metadata.Name, short.parameter, short.flag).
				WithHint("\"cipherstream describe %s\" shows its parameters", given)
		}
		if _, again := values[short.parameter]; again {
			return req, terminal.UsageFault("parameter %q is given twice, with -p and with %s", short.parameter, short.flag).WithHint("give it once")
		}
		values[short.parameter] = short.value
	}
	return req, r.infer(pipeline, values)
}

// textIf is text, or empty.
func textIf(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

// hintFor says how to provide a reference that is missing.
func (r *request) hintFor(reference string) string {
	namespace, name, _ := strings.Cut(reference, ".")
	switch {
	case reference == "secret.dsn":
		return "set " + session.EnvDSN + ", or give --dsn-file PATH or --dsn URL; --sandbox needs none"
	case reference == "customer.id":
		return "give --customer ID"
	case namespace == "secret":
		hint := "give --secret " + name + "=SOURCE, where SOURCE is env:VARIABLE, file:PATH or command:PROGRAM"
		if known := session.KnownSecrets[name]; known.Variable != "" {
			hint = "set " + known.Variable + ", or " + hint
		}
		return hint
	case namespace == "env" && !slices.Contains(r.env, name):
		return "allow it with --env " + name
	case namespace == "env":
		return "set the environment variable " + name
	}
	return ""
}

// isPath reports whether a pipeline is given by the path of its file, which holds a separator or ends in .yaml or .yml,
// and not by a name of the catalogue.
func isPath(pipeline string) bool {
	ext := filepath.Ext(pipeline)
	return ext == ".yaml" || ext == ".yml" || strings.ContainsRune(pipeline, filepath.Separator)
}

// load reads a pipeline that is given by its name or by a path.
func load(e *engine.Engine, pipeline string) (*engine.Document, diag.List) {
	if isPath(pipeline) {
		return e.LoadFile(pipeline)
	}
	return e.Load(pipeline)
}

// ready prepares a pipeline that is given by its name or by a path.
func (a *app) ready(e *engine.Engine, pipeline string) (*engine.Prepared, error) {
	prepare := e.Prepare
	if isPath(pipeline) {
		prepare = e.PrepareFile
	}
	p, diags := prepare(pipeline)
	return p, a.Check(e.Source, diags)
}

// plan binds a pipeline, and says how parameters are given here.
func (a *app) plan(e *engine.Engine, pipeline *engine.Prepared, req engine.Inputs) (*engine.Plan, error) {
	p, diags := pipeline.Bind(req)
	for i := range diags {
		d := &diags[i]
		if d.Code == engine.CodeParameterMissing {
			d.Hint = strings.TrimSuffix("give it with -p "+d.Parameter+"=VALUE: "+d.Hint, ": ")
		}
	}
	return p, a.Check(e.Source, diags)
}
