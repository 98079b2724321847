// Package database owns what is done with a database on the command line before there is a pipeline: looking at what
// an account can read, and writing a pipeline of it. It reads flags, asks the server through plugins/mysql/inspect,
// and has package draft write; it never reads a row of the database, and runs no pipeline.
package database

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysql/inspect"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of what is asked for and is not there, or may not be read.
const (
	codeUnknownTable     = "inspect.unknown_table"
	codeUnknownProcedure = "inspect.unknown_procedure"
	codeAccessDenied     = "inspect.access_denied"
	codeBrokenView       = "mysql.broken_view" // as the source calls it
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return append(session.Under(session.Reading, a.inspectCommand()), session.Under(session.Writing,
		a.initCommand())...)
}

// source is a database that is looked at.
type source struct {
	settings mysql.Settings
	session  *mysql.Session
	*inspect.Database
}

// open connects, and reads what the account sees. The caller closes the session.
func open(ctx context.Context, from *session.Database) (*source, error) {
	dsn, ok, err := from.Secret()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, terminal.UsageFault("no connection URL is given").
			WithHint("export %s='mysql://user:password@host:3306/database', or give --dsn-file PATH or --dsn URL",
				session.EnvDSN)
	}
	src := &source{settings: mysql.Settings{URL: config.NewSecret(dsn)}}
	if src.session, err = mysql.Connect(ctx, src.settings); err != nil {
		return nil, err
	}
	if src.Database, err = inspect.Read(ctx, src.session); err != nil {
		_ = src.session.Close() // why it could not be read is what is to be said
		return nil, err
	}
	return src, nil
}

// about is what the account lacks for a table or a procedure; nil where nothing.
func (s *source) about(name string) *inspect.Missing {
	for i := range s.Missing {
		if s.Missing[i].About == name {
			return &s.Missing[i]
		}
	}
	return nil
}

// denied is the fault of what the account may not read or call.
func denied(code string, m *inspect.Missing) *fault.Fault {
	return fault.New(code, fault.Source, "%s", diag.Printable(m.Message)).WithHint("%s", diag.Printable(m.Mend))
}

// unknown is the fault of a name that nothing has that the account sees. Names are those that may be meant.
func (s *source) unknown(code, what, name string, names []string) *fault.Fault {
	f := fault.New(code, fault.Usage, "database %q has no %s %q, or the account may do nothing with it", s.Name, what,
		diag.Printable(name))
	near := diag.Nearest(name, names)
	qualifier, _, qualified := strings.Cut(name, ".")
	switch {
	case len(near) > 0:
		return f.WithHint("did you mean %s?", diag.Printable(strings.Join(near, " or ")))
	case qualified && !strings.EqualFold(qualifier, s.Name):
		return f.WithHint("the connection URL names the database: write …/%s there, and the name alone here",
			diag.Printable(qualifier))
	case qualified:
		return f.WithHint("write the name alone, without the database")
	case strings.ContainsAny(name, " \t\n"):
		return f.WithHint("a statement is given with cipherstream init --query")
	}
	return f.WithHint("cipherstream inspect lists what the account sees; what is missing there has to be granted to it, " +
		"SELECT on tables and EXECUTE on procedures")
}

// tableNames are those of tables and views, procedureNames those of procedures.
func (s *source) tableNames() (names []string) {
	for _, t := range s.Tables {
		names = append(names, t.Name)
	}
	return names
}

func (s *source) procedureNames() (names []string) {
	for _, p := range s.Procedures {
		names = append(names, p.Name)
	}
	return names
}
