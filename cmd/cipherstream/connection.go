package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/sdk/config"
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

// secrets says where ${secret.…} come from, besides the connection URL.
type secrets struct {
	given []string
}

func (s *secrets) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.given, "secret", nil,
		"take ${secret.NAME} from `NAME=SOURCE`: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS. NAME:KIND=SOURCE says its kind: "+
			secretKindNames()+" (repeatable)")
}

// secretKindNames lists the kinds of secrets.
func secretKindNames() string {
	var names []string
	for _, kind := range config.SecretKinds {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

// knownSecrets are what the catalogue's pipelines refer to, and the environment
// variables that hold them. An optional one is empty when it is not set.
var knownSecrets = map[string]struct {
	variable string
	optional bool
}{
	"dsn":                  {variable: envDSN},
	"encryption_keys":      {variable: envKeys},
	"s3_access_key_id":     {variable: "AWS_ACCESS_KEY_ID", optional: true},
	"s3_secret_access_key": {variable: "AWS_SECRET_ACCESS_KEY", optional: true},
	"s3_session_token":     {variable: "AWS_SESSION_TOKEN", optional: true},
	"link_secret":          {variable: "CIPHERSTREAM_LINK_SECRET", optional: true},
}

// source is where a secret comes from, and its kind where that was given.
type source struct {
	reference string
	kind      config.SecretKind
}

// sources are the secrets that were given, by name.
func (s *secrets) sources() (map[string]source, error) {
	sources := map[string]source{}
	for _, text := range s.given {
		name, reference, ok := strings.Cut(text, "=")
		name, kind, typed := strings.Cut(name, ":")
		if !ok || name == "" {
			// The text may be the secret itself.
			return nil, usageFault("--secret takes NAME=SOURCE").WithHint("write --secret encryption_keys=file:keys.txt")
		}
		if _, again := sources[name]; again {
			return nil, usageFault("secret %q is given twice", name).WithHint("give it once")
		}
		if name == "dsn" {
			return nil, usageFault("--secret does not take dsn").WithHint("give --dsn-file PATH, or set " + envDSN)
		}
		if known := plan.KnownSecrets[name]; typed && known != "" && known != config.SecretKind(kind) {
			return nil, usageFault("secret %q is of the kind %s, whatever --secret says", name, known).WithHint("leave the kind out")
		}
		if typed && !slices.Contains(config.SecretKinds, config.SecretKind(kind)) {
			return nil, usageFault("secret %q: no kind of secret is called %q", name, kind).WithHint("the kinds are %s", secretKindNames())
		}
		sources[name] = source{reference, config.SecretKind(kind)}
	}
	return sources, nil
}

// limit says in the inputs what a pipeline may do with secrets, and with the environment
// variables that hold them.
func (s *secrets) limit(req *engine.Inputs) error {
	sources, err := s.sources()
	if err != nil {
		return err
	}
	req.SecretKinds = map[string]config.SecretKind{}
	for name, from := range sources {
		if from.kind != "" {
			req.SecretKinds[name] = from.kind
		}
		if variable, is := strings.CutPrefix(from.reference, "env:"); is {
			req.SecretEnv = append(req.SecretEnv, variable)
		}
	}
	for _, known := range knownSecrets {
		req.SecretEnv = append(req.SecretEnv, known.variable)
	}
	return nil
}

// lookup reads the secrets that were given, and answers for them and for those of
// the environment.
func (s *secrets) lookup(ctx context.Context) (plan.Lookup, error) {
	sources, err := s.sources()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, from := range sources {
		if values[name], err = readSecret(ctx, from.reference); err != nil {
			return nil, err
		}
	}
	return func(name string) (string, bool) {
		if value, ok := values[name]; ok {
			return value, true
		}
		known := knownSecrets[name]
		if known.variable == "" {
			return "", false
		}
		value := os.Getenv(known.variable)
		return value, value != "" || known.optional
	}, nil
}

// standIns answers for the secrets of a plan that is only looked at: for all of them,
// given or not.
func standIns(name string) (string, bool) {
	if name == "dsn" {
		return noDSN, true
	}
	if knownSecrets[name].optional {
		return "", true
	}
	return "a secret that is not looked at here", true
}

// withDSN answers for secret.dsn, and leaves the others to next.
func withDSN(dsn string, ok bool, next plan.Lookup) plan.Lookup {
	return func(name string) (string, bool) {
		if name == "dsn" {
			return dsn, ok
		}
		return next(name)
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
