package session

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Database says where ${secret.dsn} comes from.
type Database struct {
	dsn, file string
}

// Flags adds those that name a database.
func (d *Database) Flags(c *cobra.Command) {
	c.Flags().StringVar(&d.dsn, "dsn", "",
		"connection `URL`, mysql://user:password@host:3306/database. Others can see it in the list of processes: "+EnvDSN+" and --dsn-file keep the password out of it")
	c.Flags().StringVar(&d.file, "dsn-file", "", "read the connection URL from `PATH`")
	_ = c.MarkFlagFilename("dsn-file") // the flag exists
}

// Given reports whether a flag names a database.
func (d *Database) Given() bool { return d.dsn != "" || d.file != "" }

// maxDSN bounds the file of --dsn-file, in bytes.
const maxDSN = 64 << 10

// Secret returns the connection URL, and false when there is none.
func (d *Database) Secret() (string, bool, error) {
	switch {
	case d.dsn != "" && d.file != "":
		return "", false, terminal.UsageFault("--dsn and --dsn-file are both given").WithHint("give one")
	case d.dsn != "":
		return d.dsn, true, nil
	case d.file != "":
		dsn, err := readDSN(d.file)
		return dsn, err == nil, err
	}
	dsn := os.Getenv(EnvDSN)
	return dsn, dsn != "", nil
}

func readDSN(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", terminal.UsageFault("--dsn-file cannot be read: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxDSN+1))
	content = bytes.TrimSpace(content)
	switch {
	case err != nil:
		return "", terminal.UsageFault("--dsn-file cannot be read: %w", err)
	case len(content) == 0:
		return "", terminal.UsageFault("--dsn-file %s is empty", path).WithHint("it holds mysql://user:password@host:3306/database")
	case len(content) > maxDSN || bytes.ContainsAny(content, "\r\n"):
		return "", terminal.UsageFault("--dsn-file %s holds more than a connection URL", path).WithHint("it holds one line, mysql://user:password@host:3306/database")
	}
	return string(content), nil
}

// Secrets says where ${secret.…} come from, besides the connection URL.
type Secrets struct {
	given []string
}

// Flags adds the one that names sources of secrets.
func (s *Secrets) Flags(c *cobra.Command) {
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

// KnownSecrets are what the catalogue's pipelines refer to, and the environment
// variables that hold them. An optional one is empty when it is not set.
var KnownSecrets = map[string]struct {
	Variable string
	Optional bool
}{
	"dsn":                  {Variable: EnvDSN},
	"encryption_keys":      {Variable: EnvKeys},
	"s3_access_key_id":     {Variable: "AWS_ACCESS_KEY_ID", Optional: true},
	"s3_secret_access_key": {Variable: "AWS_SECRET_ACCESS_KEY", Optional: true},
	"s3_session_token":     {Variable: "AWS_SESSION_TOKEN", Optional: true},
	"link_secret":          {Variable: "CIPHERSTREAM_LINK_SECRET", Optional: true},
}

// source is where a secret comes from, and its kind where that was given.
type source struct {
	reference string
	kind      config.SecretKind
}

// sources are the secrets that were given, by name.
func (s *Secrets) sources() (map[string]source, error) {
	sources := map[string]source{}
	for _, text := range s.given {
		name, reference, ok := strings.Cut(text, "=")
		name, kind, typed := strings.Cut(name, ":")
		if !ok || name == "" {
			// The text may be the secret itself.
			return nil, terminal.UsageFault("--secret takes NAME=SOURCE").WithHint("write --secret encryption_keys=file:keys.txt")
		}
		if _, again := sources[name]; again {
			return nil, terminal.UsageFault("secret %q is given twice", name).WithHint("give it once")
		}
		if name == "dsn" {
			return nil, terminal.UsageFault("--secret does not take dsn").WithHint("give --dsn-file PATH, or set " + EnvDSN)
		}
		if known := engine.KnownSecret(name); typed && known != "" && known != config.SecretKind(kind) {
			return nil, terminal.UsageFault("secret %q is of the kind %s, whatever --secret says", name, known).WithHint("leave the kind out")
		}
		if typed && !slices.Contains(config.SecretKinds, config.SecretKind(kind)) {
			return nil, terminal.UsageFault("secret %q: no kind of secret is called %q", name, kind).WithHint("the kinds are %s", secretKindNames())
		}
		sources[name] = source{reference, config.SecretKind(kind)}
	}
	return sources, nil
}

// Limit says in the inputs what a pipeline may do with secrets, and with the environment
// variables that hold them.
func (s *Secrets) Limit(req *engine.Inputs) error {
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
	for _, known := range KnownSecrets {
		req.SecretEnv = append(req.SecretEnv, known.Variable)
	}
	return nil
}

// Lookup reads the secrets that were given, and answers for them and for those of
// the environment.
func (s *Secrets) Lookup(ctx context.Context) (engine.Lookup, error) {
	sources, err := s.sources()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, from := range sources {
		if values[name], err = ReadSecret(ctx, from.reference); err != nil {
			f := fault.From(err)
			f.Message = "--secret " + name + ": " + f.Message
			return nil, f
		}
	}
	return func(name string) (string, bool) {
		if value, ok := values[name]; ok {
			return value, true
		}
		known := KnownSecrets[name]
		if known.Variable == "" {
			return "", false
		}
		value := os.Getenv(known.Variable)
		return value, value != "" || known.Optional
	}, nil
}
