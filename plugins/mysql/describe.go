package mysql

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Describe finds out which columns the source would deliver with some settings, without taking a row. A query and a
// request are prepared, which executes nothing. What a CALL gives, the server knows only when it executes it: it is
// called in a READ ONLY transaction, and killed on the server as soon as its result is described; what a transaction
// does not hold back it may have done by then. Settings that are zero have their defaults, but for read_only, which
// is true.
func Describe(ctx context.Context, s Settings) (*arrow.Schema, error) {
	s.ReadOnly, s.ResultSet, s.Protocol, s.Request.DateModifier = true, "0", "auto", modifierAll
	s.setDefaults()
	made, err := newSource(s, heard(sdk.Env{}))
	if err != nil {
		return nil, err
	}
	defer made.Close()
	src := made.(*source)
	if s.Call == "" {
		var report sdk.Report
		schema := src.CheckSource(ctx, &report)
		for _, found := range report.Findings {
			if found.Level == stage.LevelWrong {
				return nil, found.Fault
			}
		}
		if schema != nil {
			return schema, nil
		}
		// A statement that servers do not prepare, such as SHOW, reads as well.
	}
	return src.Open(ctx)
}

// Columns describes what a query gives, by having it prepared: nothing is executed. A TIMESTAMP has the zone UTC.
func (s *Session) Columns(ctx context.Context, query string) (*arrow.Schema, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	defer s.ses.watch(ctx)()
	stmt, err := prepare(s.ses.c, query)
	if err == nil {
		err = s.ses.c.forget(stmt.id)
	}
	if err != nil {
		return nil, s.failed(ctx, "preparing "+firstWord(query), err)
	}
	schema, _, err := mapColumns(stmt.columns, zeroPolicy(s.settings.ZeroDates))
	return schema, err
}

// Grants are what an account was granted, active roles included, as the server says it. They are empty where it does
// not.
type Grants []string

// Grants asks for those of the session's account.
func (s *Session) Grants(ctx context.Context) (Grants, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	defer s.ses.watch(ctx)()
	grants, err := s.ses.grants()
	return grants, s.failed(ctx, "reading the account's grants", err)
}

// OnDatabase reports whether a privilege, in capitals, was granted on a whole database.
func (g Grants) OnDatabase(privilege, database string) (may bool) {
	grantsOf(g, privilege, func(schema, name string, ofProcedure bool) {
		may = may || !ofProcedure && (schema == "*" || name == "*" && likeName(lower(schema), lower(database)))
	})
	return may
}

// Execute reports whether the account may call a procedure.
func (g Grants) Execute(database, procedure string) bool { return mayExecute(g, database, procedure) }

// Procedures lists those of a database that were granted by their names.
func (g Grants) Procedures(database string) (names []string) {
	grantsOf(g, "EXECUTE", func(schema, name string, ofProcedure bool) {
		if ofProcedure && sameName(schema, database, true) {
			names = append(names, name)
		}
	})
	return names
}

// Members lists the members of an ENUM or a SET, as it is declared; nil where the type is another.
func Members(declared string) []string {
	t := parseParamType(declared)
	return t.members
}
