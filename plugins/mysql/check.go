package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	codeMayWrite = "mysql.may_write"
	codeClock    = "mysql.clock"
)

// CheckSource is part of sdk.SourceChecker: it connects, looks at the account's grants, and
// has the statement prepared, which executes nothing. A CALL is not prepared; whether the
// procedure is there, may be called and takes as many arguments, the catalogue tells.
func (s *source) CheckSource(ctx context.Context, report *sdk.Report) *arrow.Schema {
	ses, err := openSession(ctx, s.target, &s.settings)
	if err != nil {
		report.Wrong(aboutSetting("/url", err))
		return nil
	}
	s.session = ses
	defer ses.watch(ctx)()
	defer func() {
		_ = ses.c.command(commandQuit, nil) // nothing is under way; the server may as well find out later
		ses.c.conn.Close()
		s.session, s.results = nil, nil
	}()
	schema, err := s.check(report)
	var server *serverError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		report.Wrong(context.Cause(ctx))
	case errors.As(err, &server):
		report.Wrong(s.aboutStatement(server.fault(s.doing)))
	default:
		report.Wrong(s.aboutStatement(err))
	}
	return schema
}

func (s *source) check(report *sdk.Report) (*arrow.Schema, error) {
	if s.cursor == nil {
		return s.checkStatement(report)
	}
	if err := s.cursor.begin(s.session); err != nil {
		return nil, err
	}
	schema, err := s.checkStatement(report)
	if err == nil && schema != nil {
		err = s.cursor.bind(schema)
	}
	if err == nil && s.cursor.From == "" {
		report.Fine("there is no state yet, and every row would be read")
	} else if err == nil {
		report.Fine("rows would be read from %s on", s.cursor.From)
	}
	return schema, err
}

func (s *source) checkStatement(report *sdk.Report) (*arrow.Schema, error) {
	if row, err := s.session.run("SELECT CURRENT_USER(), VERSION()"); err == nil && len(row) == 2 {
		report.Fine("connected to %s as %s: server %s, %s", s.target.address, shown(row[0]), row[1],
			s.session.facts["connection"])
	} else if err != nil && !isServerError(err) {
		return nil, err
	}
	grants, err := s.session.grants()
	if err != nil {
		return nil, err
	}
	if writing := writingGrants(grants); len(writing) > 0 {
		report.Warn(mayWrite(writing))
	}
	began := time.Now()
	if row, err := s.session.run("SELECT TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6))"); err == nil && len(row) == 1 {
		if f := clockFault(row[0], began, time.Now()); f != nil {
			report.Warn(f)
		}
	} else if err != nil && !isServerError(err) {
		return nil, err
	}
	procedure, inDatabase := s.settings.Call, ""
	if s.request != nil {
		if err := s.authorise(); err != nil {
			return nil, err
		}
		procedure = s.request.procedure
	}
	if n := s.settings.Partitions; n > 1 {
		if tables, why := s.divisible(); why != "" {
			report.Unchecked("partitions: one connection would read, because %s", why)
		} else {
			report.Unchecked("partitions: %d connections would read, if the account may LOCK TABLES %s", n, strings.Join(tables, ", "))
		}
	}
	if procedure == "" {
		return s.describe(report)
	}
	if database, name, qualified := strings.Cut(procedure, "."); qualified && s.request == nil {
		inDatabase, procedure = database, name
	}
	hidden, err := s.checkCall(inDatabase, procedure, grants)
	if err != nil {
		return nil, err
	}
	if hidden {
		report.Unchecked("procedure %s: the account may call it by a role, and the server's catalogue does not show it to such an account", shown(procedure))
		return nil, nil
	}
	report.Fine("procedure %s is there, may be called, and takes as many arguments as it is given", shown(procedure))
	report.Unchecked("what procedure %s delivers, and whether it may read what it reads, shows only when it is called",
		shown(procedure))
	return nil, nil
}

// clockSkew is by how much the clocks of server and machine may differ.
const clockSkew = time.Minute

// clockFault warns of a server whose clock, in microseconds since 1970, is another than this machine's, by which it was asked
// between two times; nil where it is not, or does not say.
func clockFault(says string, began, ended time.Time) *fault.Fault {
	micros, err := strconv.ParseInt(says, 10, 64)
	if err != nil {
		return nil
	}
	server, off := time.UnixMicro(micros), time.Duration(0)
	switch {
	case server.Before(began.Add(-clockSkew)):
		off = server.Sub(began)
	case server.After(ended.Add(clockSkew)):
		off = server.Sub(ended)
	default:
		return nil
	}
	return fault.New(codeClock, fault.Usage, "the server's clock and this machine's differ by %v", off.Round(time.Second)).
		WithHint("let both follow one (NTP): days of a range, and the day that a following extract goes on with, are by the server's")
}

// mostGrants are those that a warning names.
const mostGrants = 3

// mayWrite warns of an account that may write.
func mayWrite(writing []writingGrant) *fault.Fault {
	var texts []string
	files := false
	for _, g := range writing {
		quoted := strconv.Quote(g.String()) // a name may hold anything
		texts = append(texts, quoted[1:len(quoted)-1])
		files = files || slices.ContainsFunc(g.privileges, func(p string) bool { return p == "ALL" || p == "ALL PRIVILEGES" || p == "FILE" })
	}
	if more := len(texts) - mostGrants; more > 0 {
		texts = append(texts[:mostGrants], fmt.Sprintf("and %d more grants", more))
	}
	f := fault.New(codeMayWrite, fault.Usage, "the account may write: %s", strings.Join(texts, "; "))
	if files {
		f.Message += "; by FILE, INTO OUTFILE in a procedure writes files on the server, which no read-only transaction holds back"
	}
	return f.WithHint("grants are the real guard: read with an account that has SELECT and EXECUTE and nothing else")
}

// describe has the statement prepared and returns its columns. Arguments are written into
// it, since a server guesses the types of question marks.
func (s *source) describe(report *sdk.Report) (*arrow.Schema, error) {
	defs, err := s.prepareOnly(s.query, len(s.args))
	if err == nil && len(s.args) > 0 {
		var sql string
		if sql, err = inline(s.query, s.args, s.session.mode); err == nil {
			defs, err = s.prepareOnly(sql, 0)
		}
	}
	var server *serverError
	if errors.As(err, &server) && slices.Contains(cannotPrepare, server.errno) {
		report.Unchecked("the statement: the server cannot prepare it (error %d), and only a run executes it",
			server.errno)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(defs) == 0 {
		report.Unchecked("the columns of the statement: the server knows them only when it executes it")
		return nil, nil
	}
	s.binary = s.settings.Protocol != "text"
	schema, err := s.bind(defs)
	if err == nil {
		report.Fine("the statement is good: it was prepared, and has %d columns", schema.NumFields())
	}
	return schema, err
}

// prepareOnly has a statement prepared, and forgets it.
func (s *source) prepareOnly(query string, args int) ([]columnDef, error) {
	stmt, err := prepare(s.session.c, query)
	if err != nil {
		return nil, err
	}
	if stmt.params != args {
		return nil, argumentCountFault(stmt.params, args)
	}
	return stmt.columns, s.session.c.forget(stmt.id)
}

// checkCall looks a procedure up in the catalogue. An empty database is the session's own. The
// result is true when the catalogue hides it: MySQL does so when a role alone lets it be called.
func (s *source) checkCall(database, procedure string, grants []string) (hidden bool, err error) {
	s.doing = "looking up procedure " + procedure
	d, err := openDatabase(s)
	if err != nil {
		return false, err
	}
	if database == "" {
		database = d.name
	}
	if database == "" {
		return false, (&serverError{errno: 1046, state: "3D000", message: "No database selected"}).fault("calling " + procedure)
	}
	found, fold := false, d.fold
	err = s.texts(`SELECT CAST(routine_schema AS CHAR), CAST(routine_name AS CHAR) FROM information_schema.routines
WHERE routine_schema = ? AND routine_name = ? AND routine_type = 'PROCEDURE'`, []any{database, procedure}, func(row []string) {
		found = found || sameName(row[0], database, fold) && sameName(row[1], procedure, true)
	})
	if err != nil {
		return false, err
	}
	full := database + "." + procedure
	if !found && s.session.hasRole && mayExecute(grants, database, procedure) {
		return true, nil
	}
	if !found {
		f := fault.New(codeUnknownProcedure, fault.Source, "procedure %s is not there, or the account may not call it", shown(full)).
			WithHint("check the procedure's name and database, and grant EXECUTE on it")
		if strings.Contains(procedure, "(") {
			f = f.WithHint("write the name alone; arguments stand under args")
		}
		return false, f
	}
	if len(grants) > 0 && !mayExecute(grants, database, procedure) {
		return false, fault.New(codeAccessDenied, fault.Source, "the account may not call procedure %s", shown(full)).
			WithHint("GRANT EXECUTE ON PROCEDURE %s TO the account", quoteName(database)+"."+quoteName(procedure))
	}
	if s.request != nil {
		return false, nil // its arguments were held against the parameters
	}
	params := 0
	err = s.texts(`SELECT CAST(specific_schema AS CHAR), CAST(specific_name AS CHAR) FROM information_schema.parameters
WHERE specific_schema = ? AND specific_name = ? AND routine_type = 'PROCEDURE'`, []any{database, procedure}, func(row []string) {
		if sameName(row[0], database, fold) && sameName(row[1], procedure, true) {
			params++
		}
	})
	if err == nil && params != len(s.args) {
		err = fault.New(codeArgumentCount, fault.Source, "procedure %s takes %d arguments, and %d are given",
			shown(full), params, len(s.args)).
			WithHint("give as many arguments as the procedure has parameters")
	}
	return false, err
}

// mayExecute reads the answer to SHOW GRANTS, and says whether one of the grants lets the
// account call a procedure.
func mayExecute(grants []string, database, procedure string) (may bool) {
	grantsOf(grants, "EXECUTE", func(schema, routine string, ofProcedure bool) {
		switch {
		case schema == "*", ofProcedure && sameName(schema, database, true) && sameName(routine, procedure, true),
			!ofProcedure && routine == "*" && likeName(lower(schema), lower(database)):
			may = true
		}
	})
	return may
}

// grantsOf visits what the answer to SHOW GRANTS gives the account a privilege on: a table, a procedure, or whatever is
// in the databases that schema stands for, with * as the name.
func grantsOf(grants []string, privilege string, visit func(schema, name string, ofProcedure bool)) {
	for _, line := range grants {
		list, ok := strings.CutPrefix(line, "GRANT ")
		list, target, on := strings.Cut(list, " ON ")
		privileges := strings.Split(strings.ToUpper(list), ",")
		for i := range privileges {
			privileges[i] = strings.TrimSpace(privileges[i])
		}
		all := slices.Contains(privileges, "ALL PRIVILEGES") || slices.Contains(privileges, "ALL")
		if !ok || !on || !all && !slices.Contains(privileges, privilege) {
			continue
		}
		target, ofProcedure := strings.CutPrefix(target, "PROCEDURE ")
		schema, rest := grantedName(target)
		routine, _ := grantedName(strings.TrimPrefix(rest, "."))
		visit(schema, routine, ofProcedure)
	}
}

// grantedName takes a name off the front of a grant's target, as servers quote it.
func grantedName(target string) (name, rest string) {
	if target == "" || target[0] != '`' && target[0] != '"' {
		return target[:min(len(target), 1)], target[min(len(target), 1):] // *
	}
	quote := target[0]
	var b strings.Builder
	for i := 1; i < len(target); i++ {
		if target[i] != quote {
			b.WriteByte(target[i])
			continue
		}
		if i+1 < len(target) && target[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return b.String(), target[i+1:]
	}
	return b.String(), ""
}

// likeName matches a database's name against that of a grant, in which _ and % stand for
// any letter and any letters unless a backslash stands before them.
func likeName(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	switch {
	case pattern[0] == '%':
		for i := 0; i <= len(name); i++ {
			if likeName(pattern[1:], name[i:]) {
				return true
			}
		}
		return false
	case name == "":
		return false
	case pattern[0] == '_':
		return likeName(pattern[1:], name[1:])
	case pattern[0] == '\\' && len(pattern) > 1:
		pattern = pattern[1:]
	}
	return pattern[0] == name[0] && likeName(pattern[1:], name[1:])
}
