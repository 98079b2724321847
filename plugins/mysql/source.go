package mysql

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	defaultBatchRows  = 8192
	defaultBatchBytes = 4 << 20
	// largestBatchBytes keeps the offsets of a batch that holds one row of the
	// largest size, too, within 32 bits.
	largestBatchBytes = 512 << 20
)

// Stage declares the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "mysql",
		Summary: "Reads the result of a procedure or a query from MySQL or MariaDB.",
		Doc: "Calls a procedure, runs a SELECT, or answers a request for a table or a call, and delivers one result set as Arrow record batches, " +
			"every value exactly as it is stored. The run fails when the server reports an error at any point, " +
			"after the last row included. When the run is cancelled, the query is killed on the server.",
	}, newSource)
}

// source is the implementation of sdk.Source.
type source struct {
	settings Settings
	request  *checkedRequest // nil unless there is a request
	query    string
	args     []any
	doing    string // what is asked of the server, for messages
	env      sdk.Env
	target   *target
	pool     *pool
	// flushAfter is the constant of that name; tests want it shorter.
	flushAfter time.Duration

	session *session
	release func()   // of the announcement of the session, nil when there is none
	results *results // of the statement that is under way
	binary  bool
	// statement is the prepared one, when binary.
	statement uint32
	stored    []columnDef // of a table's columns as they are, where the statement reads UNIX times
	clocks    *zone.Zone  // that these are shown in
	// clocksApart says that the session's zone is UTC, and clocks are what the text of a TIMESTAMP shows.
	clocksApart     bool
	local           bool  // TIMESTAMP columns were understood in the session's zone
	sets            int   // result sets so far, those of OUT parameters left out
	wanted          int   // the setting result_set; 0 is the only one
	wantOut         bool  // result_set: out
	rows            int64 // about how many will come; 0 is unknown
	out             bool  // OUT parameters are what is delivered
	outs            []outParameter
	ended           bool           // the statement was looked back at
	leftTransaction bool           // its procedure ended the transaction that it was called in
	read            int64          // rows so far
	preview         bool           // max_rows are there, and the rest is not wanted
	cursor          *cursor        // nil where the pipeline keeps no state
	table           *statement     // that is read, nil for anything else
	kept            *keptStatement // that ranges are read with, one after the other; nil where there are none
	parallel        *parallel      // reads instead of the session; nil for one connection
	batch           *batch         // nil before the data and after it
	done            error          // what Next returns from now on: io.EOF, or why the run failed
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	t, err := newTarget(&s)
	if err != nil {
		return nil, aboutSetting("/url", err)
	}
	if err := s.checkStatement(); err != nil {
		return nil, err
	}
	src := &source{settings: s, query: s.Query, doing: "running the query", target: t, flushAfter: flushAfter}
	if src.args, err = arguments(s.Args); err != nil {
		return nil, err
	}
	if src.wanted, src.wantOut, err = s.resultSet(); err != nil {
		return nil, err
	}
	if s.Query != "" && s.ReadOnly {
		if err := checkReads(s.Query); err != nil {
			return nil, aboutSetting("/query", err)
		}
	}
	switch {
	case s.Call != "":
		src.doing = "calling " + s.Call
		src.query, err = callStatement(s.Call, len(src.args))
	case s.Request.given():
		src.request, err = s.Request.check()
	}
	if err == nil {
		src.cursor, err = newCursor(&s)
	}
	if err != nil {
		return nil, err
	}
	if src.request != nil {
		src.request.cursor = src.cursor
	}
	src.env, src.pool = withBatches(env), newPool(env.Memory)
	return src, nil
}

// withBatches gives an environment the default size of batches, where it says none.
func withBatches(env sdk.Env) sdk.Env {
	if env.BatchRows <= 0 {
		env.BatchRows = defaultBatchRows
	}
	if env.BatchBytes <= 0 {
		env.BatchBytes = defaultBatchBytes
	}
	env.BatchBytes = min(env.BatchBytes, largestBatchBytes)
	return env
}

// Open connects, executes the statement and reads up to the first row of the
// chosen result set.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	ses, err := openSession(ctx, s.target, &s.settings)
	if err != nil {
		s.done = aboutSetting("/url", err)
		return nil, s.done
	}
	s.session = ses
	s.state(ses.facts)
	if err := s.announce(ctx); err != nil {
		s.abandon()
		s.done = err
		return nil, err
	}
	defer ses.watch(ctx)()
	if s.cursor != nil {
		if err := s.cursor.begin(ses); err != nil {
			return nil, s.failed(ctx, err)
		}
	}
	schema, err := s.begin(ctx)
	if err == nil && s.cursor != nil {
		if err = s.cursor.bind(schema); err != nil && s.parallel != nil {
			s.parallel.close()
		}
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return schema, nil
}

// state puts facts into the receipt.
func (s *source) state(facts map[string]string) {
	for name, value := range facts {
		if s.env.Fact != nil {
			s.env.Fact(name, value)
		}
	}
}

// EstimateRows is about how many rows a whole table has by the server's statistics, which come with the description of
// the table. Of a part of one, a view, a query and a call nothing is known.
func (s *source) EstimateRows() int64 {
	if most := s.settings.MaxRows; most > 0 {
		return min(s.rows, most)
	}
	return s.rows
}

// Next reads the next batch of rows, and follows the cursor.
func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if s.done != nil {
		return nil, s.done
	}
	record, err := s.next(ctx)
	if s.cursor == nil {
		return record, err
	}
	switch {
	case err == nil:
		if err := s.cursor.follow(record); err != nil {
			record.Release()
			return nil, s.failed(ctx, err)
		}
	case err == io.EOF:
		s.state(s.cursor.facts())
	}
	return record, err
}

func (s *source) next(ctx context.Context) (arrow.Record, error) {
	if s.parallel != nil {
		record, err := s.parallel.next(ctx)
		s.done = err
		return record, err
	}
	defer s.session.watch(ctx)()
	if s.batch != nil {
		end, err := s.fill()
		if n := s.batch.zeroDates; n > 0 {
			s.env.Count("zero_dates", n)
			s.batch.zeroDates = 0
		}
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		b := s.batch
		if end {
			s.batch = nil
		}
		if b.rows > 0 {
			return b.record(), nil
		}
	}
	if s.preview {
		s.abandon()
		s.done = io.EOF
		return nil, s.done
	}
	// What comes after the data decides whether the data is good.
	if err := s.finish(); err != nil {
		return nil, s.failed(ctx, err)
	}
	s.leave()
	s.done = io.EOF
	return nil, s.done
}

// leave ends a session in which nothing is under way.
func (s *source) leave() {
	_ = s.session.c.command(commandQuit, nil) // the server may as well find out later
	s.session.c.conn.Close()
	s.session = nil
	s.over()
}

// Close ends the connection. A query that is still running is killed.
func (s *source) Close() error {
	if s.parallel != nil {
		s.parallel.close()
	}
	if s.session != nil {
		s.abandon()
	}
	if s.batch != nil {
		s.batch.release()
		s.batch = nil
	}
	s.pool.close()
	return nil
}

// begin executes the statement and goes to the chosen result set.
func (s *source) begin(ctx context.Context) (*arrow.Schema, error) {
	if s.request != nil {
		if err := s.authorise(); err != nil {
			return nil, err
		}
	}
	if err := s.prepareCall(); err != nil {
		return nil, err
	}
	if s.settings.Partitions > 1 {
		if schema, err := s.divide(ctx); schema != nil || err != nil {
			return schema, err
		}
	}
	if err := s.session.beginTransaction(&s.settings); err != nil {
		return nil, err
	}
	return s.execute()
}

// execute is begin in a session that is ready for the statement.
func (s *source) execute() (*arrow.Schema, error) {
	s.session.c.limit = bound{bytes: int(s.settings.MaxRowSize)}
	if err := s.send(s.query, s.args); err != nil {
		return nil, err
	}
	wanted := max(s.wanted, 1)
	for {
		defs, outParams, err := s.results.next()
		if err != nil {
			return nil, err
		}
		// Of a procedure that gives no result set, the OUT parameters are the result.
		takesOut := s.wantOut || s.wanted == 0 && s.sets == 0
		switch {
		case defs == nil && takesOut && len(s.outs) > 0:
			return s.beginOut()
		case defs == nil && s.wantOut:
			return nil, noOutParameters(s.doing)
		case defs == nil:
			return nil, noResultSet(wanted, s.sets)
		}
		if s.count(defs, outParams) == wanted && !s.wantOut {
			return s.bind(defs)
		}
		if err := s.results.skip(); err != nil {
			return nil, err
		}
	}
}

// count takes note of a result set, and gives its number; that of OUT parameters has none.
func (s *source) count(defs []columnDef, outParams bool) int {
	if outParams {
		s.env.Count("out_parameters_dropped", int64(len(defs)))
		return 0
	}
	s.sets++
	return s.sets
}

// authorise checks the request against the server's catalogue and makes it the
// statement.
func (s *source) authorise() error {
	s.doing = "looking up what was asked for"
	c, err := openDatabase(s)
	if err != nil {
		return err
	}
	authorised, err := s.request.statement(c)
	if err != nil {
		return err
	}
	if authorised.allOf != "" {
		if err := s.checkReadable(authorised.allOf); err != nil {
			return err
		}
	}
	if n := len(authorised.invisible); n > 0 {
		s.env.Count("columns_invisible", int64(n))
		s.env.Log.Warn("the table has invisible columns, which are read only when columns names them", "columns",
			quoteNames(authorised.invisible))
	}
	if err := s.checkInstants(authorised.instants); err != nil {
		return err
	}
	if err := s.setVariables(authorised.inout, authorised.inoutArgs); err != nil {
		return err
	}
	if err := s.unixTimes(&authorised); err != nil {
		return err
	}
	s.query, s.args, s.doing, s.outs, s.rows = authorised.query, authorised.args, authorised.doing, authorised.outs, authorised.rows
	if authorised.table != "" {
		s.table = &authorised
	}
	return nil
}

// send executes a statement, in the protocol that the settings and the server allow.
func (s *source) send(query string, args []any) error {
	c := s.session.c
	s.results, s.binary = &results{c: c}, false
	if k := s.kept; k != nil && k.query == query {
		s.binary, s.statement = true, k.stmt.id
		return execute(c, k.stmt, args)
	}
	if s.settings.Protocol != "text" {
		stmt, err := prepare(c, query)
		var refused *serverError
		switch {
		case err == nil:
			if stmt.params != len(args) {
				s.results.over = true
				_ = c.forget(stmt.id)
				return argumentCountFault(stmt.params, len(args))
			}
			s.binary, s.statement = true, stmt.id
			if s.kept != nil {
				if err := s.kept.replace(c, query, stmt); err != nil {
					return err
				}
			}
			return execute(c, stmt, args)
		case !errors.As(err, &refused):
			return err
		case s.settings.Protocol == "binary" || !slices.Contains(cannotPrepare, refused.errno):
			s.results.over = true
			return err
		}
		s.env.Log.Debug("the server cannot prepare the statement; rows travel as text", "errno", refused.errno)
	}
	sql, err := inline(query, args, s.session.mode)
	if err != nil {
		s.results.over = true
		return err
	}
	return c.command(commandQuery, []byte(sql))
}

// keptStatement is the prepared statement of a session that executes it again with other arguments.
type keptStatement struct {
	query string
	stmt  prepared
}

// replace keeps another statement, and has the server forget the one before.
func (k *keptStatement) replace(c *wire, query string, stmt prepared) error {
	before := *k
	k.query, k.stmt = query, stmt
	if before.query == "" {
		return nil
	}
	return c.forget(before.stmt.id)
}

// cannotPrepare are the errors of servers and proxies that refuse to prepare a
// statement, or any: unknown command, not supported in the prepared statement
// protocol, too many prepared statements.
var cannotPrepare = []uint16{1047, 1295, 1461}

func (s *source) bind(defs []columnDef) (*arrow.Schema, error) {
	zero := zeroPolicy(s.settings.ZeroDates)
	came := defs
	if s.stored != nil {
		if defs = s.stored; len(came) != len(defs) {
			return nil, protocolFault("%d columns were described, and %d came", len(defs), len(came))
		}
	}
	_, mappings, err := mapColumns(defs, zero)
	if err != nil {
		return nil, err
	}
	for i := range mappings {
		p := &mappings[i]
		switch z := s.session.zone; {
		case p.kind == kindTimestamp && s.stored != nil:
			unix, ok := unixKind(&came[i])
			if !ok {
				return nil, protocolFault("column %q: a UNIX time is of type code 0x%02x", defs[i].name, came[i].typ)
			}
			p.kind = unix
			p.field.Type = &arrow.TimestampType{Unit: p.unit, TimeZone: s.clocks.Name}
			if text := s.clocks.Text(); text != "" {
				p.field.Metadata = with(p.field.Metadata, sdk.MetaClocks, text)
			}
		case p.kind == kindTimestamp && s.clocksApart:
			if s.clocks == nil {
				return nil, unknownClocks(defs[i].name)
			}
			p.field.Type = &arrow.TimestampType{Unit: p.unit, TimeZone: s.clocks.Name}
			if text := s.clocks.Text(); text != "" {
				p.field.Metadata = with(p.field.Metadata, sdk.MetaClocks, text)
			}
		case p.kind == kindTimestamp && z == nil:
			p.kind = kindDatetime
			p.field.Type = p.arrowType()
		case p.kind == kindTimestamp && z.Name != zone.UTC:
			p.kind, p.zone, s.local = kindLocal, z, true
			p.field.Type = &arrow.TimestampType{Unit: p.unit, TimeZone: z.Name}
			if !z.Fixed() {
				p.field.Metadata = with(p.field.Metadata, sdk.MetaLocalTime, "true")
			}
		case p.kind == kindTimestamp:
			s.local = true
		case p.kind == kindGeometry && s.settings.Geometry == "ewkb":
			p.kind = kindEWKB
		}
	}
	schema := schemaOf(mappings)
	for i := range mappings {
		if mappings[i].kind == kindFloat32 && !s.binary && !s.out {
			return nil, fault.New(codeFloat, fault.Source, "column %q is a FLOAT, and rows travel as text, in which the server rounds it to six digits", defs[i].name).
				WithHint("let the server prepare statements (max_prepared_stmt_count, protocol), or write CAST(column AS DOUBLE) in the query")
		}
	}
	s.batch = newBatch(s.pool, schema, mappings, zero, s.env.BatchRows, s.env.BatchBytes)
	return schema, nil
}

// with is metadata and one more entry.
func with(metadata arrow.Metadata, key, value string) arrow.Metadata {
	all := metadata.ToMap()
	all[key] = value
	return arrow.MetadataFrom(all)
}

// fill reads rows until the batch is full, for as long as rows may wait for others, or to
// the end of the result set.
func (s *source) fill() (end bool, err error) {
	b, c := s.batch, s.session.c
	defer func() { c.flushAt = time.Time{} }()
	for {
		p, err := c.next()
		if err == errNotYet {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(p) == 0 || p[0] >= headerEOF {
			if end, err := s.results.endOfRows(p); end || err != nil {
				return end, err
			}
		}
		if !b.open {
			b.begin()
			c.flushAt = time.Now().Add(s.flushAfter)
		}
		if s.binary {
			err = b.decodeBinary(p)
		} else {
			err = b.decodeText(p)
		}
		if err != nil {
			return false, err
		}
		if s.read++; s.read == s.settings.MaxRows {
			s.preview = true
			return true, nil
		}
		if b.full() {
			return false, nil
		}
	}
}

// finish reads what comes after the data, and looks back at what the statement did.
func (s *source) finish() error {
	if err := s.drain(); err != nil {
		return err
	}
	s.session.c.limit = ownAnswers
	if err := s.conclude(); err != nil {
		return err
	}
	if s.local {
		return s.session.checkZone()
	}
	return nil
}

// conclude looks back, once, at what the statement did, when its last packet was read.
func (s *source) conclude() error {
	if s.ended {
		return nil
	}
	s.ended = true
	s.session.c.limit = ownAnswers
	if n := len(s.outs); n > 0 && !s.out {
		s.env.Count("out_parameters_dropped", int64(n))
	}
	if err := s.checkResultSets(); err != nil {
		return err
	}
	if err := s.checkWarnings(s.results.warnings); err != nil {
		return err
	}
	ended, err := s.session.transactionEnded(s.results.status)
	if err != nil {
		return err
	}
	if s.leftTransaction = ended; ended {
		s.env.Count("transactions_ended", 1)
		s.env.Log.Warn("the procedure ended the read-only transaction that it was called in; whether it wrote afterwards cannot be seen")
	}
	return nil
}

// drain reads everything that comes after the data.
func (s *source) drain() error {
	for {
		defs, outParams, err := s.results.next()
		if defs == nil || err != nil {
			return err
		}
		s.count(defs, outParams)
		if err := s.results.skip(); err != nil {
			return err
		}
	}
}

// failed ends the connection, and codes and keeps err.
func (s *source) failed(ctx context.Context, err error) (coded error) {
	if s.session != nil { // it may be one of a parallel's
		s.abandon()
	}
	defer func() { s.done = coded }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if server, ok := err.(*serverError); ok {
		err = server.fault(s.doing)
	}
	return s.aboutStatement(err)
}

// aboutStatement says of a fault which setting it is about: what is read, or its arguments.
func (s *source) aboutStatement(err error) error {
	setting := "/request"
	switch {
	case fault.From(err).Retryable:
		return err // a matter of the moment, and not of settings
	case len(s.settings.Args) > 0 && (fault.Is(err, codeArgumentCount) || fault.Is(err, codeArgument)):
		setting = "/args"
	case s.settings.Call != "":
		setting = "/call"
	case s.settings.Query != "":
		setting = "/query"
	}
	return aboutSetting(setting, err)
}

// abandon closes the connection, and kills the query first unless it is over: a
// server notices a closed connection only when it writes to it.
func (s *source) abandon() {
	ended := true
	if s.results != nil && !s.results.over {
		if err := s.session.kill(); err != nil {
			level := slog.LevelWarn
			ended = s.session.c.dead
			if ended {
				// The broken connection is what the run fails with. The query ended with the server, or
				// ends when the server writes its next row.
				level = slog.LevelDebug
			}
			s.env.Log.Log(context.Background(), level, "the query could not be killed on the server", "error",
				fault.From(err).Message)
		}
	}
	s.session.c.conn.Close()
	s.session = nil
	if ended {
		s.over() // otherwise the host tries once more
	}
}

func noResultSet(wanted, sets int) error {
	if sets == 0 {
		return fault.New(codeNoResultSet, fault.Source, "the statement gave no result set").
			WithHint("the procedure or query must SELECT something")
	}
	return fault.New(codeNoResultSet, fault.Source, "result set %d was asked for, and the statement gave %d", wanted,
		sets).
		WithHint("set result_set to a number from 1 to %d", sets)
}
