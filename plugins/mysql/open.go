package mysql

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// Session is an open connection for plugins that ask several things of a server one after the other. It is set up as the
// source's own, and READ ONLY; it commits every statement by itself unless a transaction is begun by Exec. It is not
// safe for concurrent use, and has one thing under way at a time: a Reader or Packets are read to their end, or closed.
//
// After an error that the server answered, the session goes on. After any other one, a cancelled context included, it is
// closed, and says so to whatever is asked of it then.
//
// Its time zone is UTC, so that a TIMESTAMP is an instant in whatever statement reads it, and one is compared with the
// text of a UTC time; the clocks that its text shows are those of the setting time_zone (Zone). With zero_dates: text,
// where the server itself writes the text, the session's zone is that of the setting.
type Session struct {
	ses      *session
	settings Settings
	target   *target
	env      sdk.Env
	pool     *pool
	clocks   *zone.Zone
	open     func() error // closes the Reader that is under way; nil when there is none
	broken   error        // why nothing can be asked any more
	release  func()       // of the announcement; nil when there is none
}

// Connect opens a session. Of the settings it uses those of the connection and of what becomes of values: url, socket,
// tls and its kin, time_zone, zero_dates, geometry, the timeouts, max_row_size. Those that are zero have their defaults.
func Connect(ctx context.Context, s Settings) (*Session, error) {
	s.fillIn()
	t, err := newTarget(&s)
	if err != nil {
		return nil, err
	}
	ses, err := openSession(ctx, t, &s)
	if err != nil {
		return nil, err
	}
	opened := &Session{ses: ses, settings: s, target: t, clocks: ses.zone}
	opened.SetEnv(sdk.Env{})
	if err := opened.finishSetUp(ctx); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// fillIn gives the settings of a session their defaults, and those of a statement none.
func (s *Settings) fillIn() {
	s.Call, s.Query, s.Args, s.Request, s.ResultSet, s.MaxRows = "", "", nil, Request{}, "0", 0
	s.ReadOnly, s.Snapshot, s.Protocol = true, false, "auto"
	s.setDefaults()
}

// setDefaults gives settings that are zero their defaults, those that only a statement of the source's own has included.
func (s *Settings) setDefaults() {
	s.Partitions, s.PartitionDays = 1, PartitionDays{}
	for text, otherwise := range map[*string]string{&s.Warnings: warningsCut, &s.TimeZone: zoneServer, &s.Geometry: "wkb",
		&s.ZeroDates: string(zeroError), &s.TLS: mysqlurl.Auto} {
		if *text == "" {
			*text = otherwise
		}
	}
	for wait, otherwise := range map[*time.Duration]time.Duration{&s.ConnectTimeout: 10 * time.Second, &s.KeepAlive: 15 * time.Second,
		&s.NetWriteTimeout: time.Hour} {
		if *wait == 0 {
			*wait = otherwise
		}
	}
	if s.MaxRowSize == 0 {
		s.MaxRowSize = 256 << 20
	}
}

// finishSetUp learns the clocks of a zone that has no name, and goes to UTC.
func (s *Session) finishSetUp(ctx context.Context) error {
	if s.settings.ZeroDates == string(zeroText) {
		return nil
	}
	defer s.ses.watch(ctx)()
	if s.clocks == nil {
		var err error
		if s.clocks, err = s.ses.learn(); err != nil && !isServerError(err) {
			return s.failed(ctx, "learning the server's clocks", err)
		}
	}
	const utc = "+00:00"
	if _, err := s.ses.run("SET SESSION time_zone = '" + utc + "'"); err != nil {
		return s.failed(ctx, "setting the session's time zone", err)
	}
	s.ses.zoneName = utc
	return nil
}

// SetEnv gives the session the environment of the stage that it works for: allocator, log, counters and size of batches.
// Without one, nobody is told and batches have their default size. It is called before anything is read.
func (s *Session) SetEnv(env sdk.Env) {
	env = heard(env)
	if s.pool != nil {
		s.pool.close()
	}
	s.env, s.pool = withBatches(env), newPool(env.Memory)
}

// heard gives an environment that lacks them a log and counters that nobody reads, and an allocator.
func heard(env sdk.Env) sdk.Env {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	if env.Memory == nil {
		env.Memory = memory.DefaultAllocator
	}
	if env.Count == nil {
		env.Count = func(string, int64) {}
	}
	return env
}

// Announce tells the host of the session, so that it is ended (Undo) when this process dies in the middle of something. The
// environment comes before it (SetEnv), and what is asked of the server behind it. That the session has ended, the host
// hears without being told.
func (s *Session) Announce(ctx context.Context) (err error) {
	if err := s.idle(); err != nil {
		return err
	}
	s.release, err = announce(ctx, s.env, s.target, s.ses)
	return s.failed(ctx, "announcing the session", err)
}

// over says that the session is no more.
func (s *Session) over() {
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// MariaDB reports whether the server is one of MariaDB.
func (s *Session) MariaDB() bool { return s.ses.mariaDB }

// Version is the server's, such as 8.4.3 or 10.11.6-MariaDB.
func (s *Session) Version() string { return s.ses.version }

// Database is the one that the connection URL names; empty where it names none.
func (s *Session) Database() string { return s.target.database }

// Zone is whose clocks the text of a TIMESTAMP shows; nil where nobody knows them, and a TIMESTAMP cannot be read.
func (s *Session) Zone() *zone.Zone { return s.clocks }

// Facts are what a receipt says of the session: how it is protected, its time zone.
func (s *Session) Facts() map[string]string { return s.ses.facts }

// QuoteName writes a name so that it can be nothing but a name in a statement.
func QuoteName(name string) string { return quoteName(name) }

// QuoteText writes text as a literal of the session's SQL.
func (s *Session) QuoteText(text string) string { return quote(text, s.ses.mode) }

// Exec executes a statement, and drops rows that it gives.
func (s *Session) Exec(ctx context.Context, sql string) error {
	return s.Rows(ctx, sql, func([]string) {})
}

// Rows visits the rows of a small answer as text, NULL being empty. Visit must not use the session.
func (s *Session) Rows(ctx context.Context, sql string, visit func(row []string)) error {
	if err := s.idle(); err != nil {
		return err
	}
	defer s.ses.watch(ctx)()
	s.ses.c.limit = ownAnswers
	err := s.ses.runRows(sql, visit)
	if err != nil && ctx.Err() != nil {
		// A server looks at a closed connection only when it writes to it.
		if failed := s.ses.kill(); failed != nil {
			s.env.Log.Debug("the statement could not be killed on the server", "error", fault.From(failed).Message)
			s.release = nil // the host tries once more
		}
	}
	return s.failed(ctx, "running "+firstWord(sql), err)
}

// firstWord says what a statement does; the rest may hold what is stored.
func firstWord(sql string) string {
	if word, _ := leadingWords(sql)(); word != "" {
		return word
	}
	return "a statement"
}

// idle reports whether something can be asked of the server.
func (s *Session) idle() error {
	if s.broken != nil {
		return s.broken
	}
	if s.open != nil {
		return errors.New("mysql: a reader of the session is still open")
	}
	return nil
}

// failed codes an error, and closes the session unless the server answered with it.
func (s *Session) failed(ctx context.Context, doing string, err error) error {
	var server *serverError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &server):
		return server.fault(doing)
	}
	s.shut(err)
	return err
}

// shut closes the connection, and keeps why.
func (s *Session) shut(why error) {
	if s.broken == nil {
		s.broken = why
		s.ses.c.conn.Close()
		s.over()
	}
}

// errSessionClosed is what a closed session answers.
var errSessionClosed = errors.New("mysql: the session is closed")

// Close ends the session, and kills a query that is still running. It may be called twice.
func (s *Session) Close() (err error) {
	if s.open != nil {
		err = s.open()
	}
	if s.broken == nil {
		_ = s.ses.c.command(commandQuit, nil) // nothing is under way; the server may as well find out later
		s.shut(errSessionClosed)
	}
	s.pool.close()
	return err
}

// Reader is the rows of a statement, every value as the source gives that of a base table.
type Reader struct {
	session *Session
	src     *source
	schema  *arrow.Schema
	done    error // what Next returns from now on
}

// Read executes a statement with ? where arguments go, and gives its rows. Arguments are nil, bool, string, []byte, the
// integers, float64 and json.Number, as in the setting args; bytes are bound as bytes.
func (s *Session) Read(ctx context.Context, query string, args ...any) (*Reader, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	values := make([]config.Value, len(args))
	for i, arg := range args {
		if _, bytes := arg.([]byte); !bytes {
			values[i] = arg
		}
	}
	bound, err := arguments(values)
	if err != nil {
		return nil, err
	}
	for i, arg := range args {
		if b, bytes := arg.([]byte); bytes {
			bound[i] = bytesArg(b)
		}
	}
	// The session is READ ONLY as a whole. A transaction of the statement's own would keep its locks until the next one, and
	// end one that Exec has begun.
	settings := s.settings
	settings.ReadOnly = false
	r := &Reader{session: s, src: &source{
		settings: settings, query: query, args: bound, doing: "reading rows", env: s.env, target: s.target, pool: s.pool,
		flushAfter: flushAfter, session: s.ses, clocks: s.clocks, clocksApart: s.settings.ZeroDates != string(zeroText),
		release: s.over,
	}}
	s.open = r.Close
	defer s.ses.watch(ctx)()
	if r.schema, err = r.src.begin(ctx); err != nil {
		return nil, r.failed(ctx, err)
	}
	return r, nil
}

// Schema is that of the rows.
func (r *Reader) Schema() *arrow.Schema { return r.schema }

// Next gives the next batch of rows, which the caller releases; io.EOF ends them.
func (r *Reader) Next(ctx context.Context) (arrow.Record, error) {
	if r.done != nil {
		return nil, r.done
	}
	src := r.src
	defer r.session.ses.watch(ctx)()
	if src.batch != nil {
		end, err := src.fill()
		if n := src.batch.zeroDates; n > 0 {
			src.env.Count("zero_dates", n)
			src.batch.zeroDates = 0
		}
		if err != nil {
			return nil, r.failed(ctx, err)
		}
		b := src.batch
		if end {
			src.batch = nil
		}
		if b.rows > 0 {
			return b.record(), nil
		}
	}
	if err := src.finish(); err != nil {
		return nil, r.failed(ctx, err)
	}
	r.end(io.EOF)
	return nil, r.done
}

// failed ends the reader, and the session too when the server did not end the statement itself.
func (r *Reader) failed(ctx context.Context, err error) error {
	over := r.src.results == nil || r.src.results.over
	if f := fault.From(err); over && ctx.Err() == nil && !isServerError(err) && f.Code != codeConnectionLost && f.Code != codeProtocol {
		r.end(err) // nothing is under way
		return err
	}
	coded := r.session.failed(ctx, r.src.doing, err)
	if !over && r.session.broken == nil {
		r.session.broken = coded
	}
	if r.session.broken != nil {
		r.src.abandon()
	}
	r.end(coded)
	return coded
}

// end lets go of the statement and of the rows that are not delivered.
func (r *Reader) end(why error) {
	if r.src.batch != nil {
		r.src.batch.release()
		r.src.batch = nil
	}
	if r.session.broken == nil && r.src.binary {
		_ = r.session.ses.c.forget(r.src.statement) // a connection that is lost says so to the next statement
	}
	r.done, r.session.open = why, nil
}

// Close ends the reader. Where the rows are not all read, the query is killed and the session closed. It may be called
// twice.
func (r *Reader) Close() error {
	if r.done == nil {
		r.session.broken = errSessionClosed
		r.src.abandon()
		r.end(errSessionClosed)
	}
	return nil
}

// unknownClocks reports a TIMESTAMP whose local time nobody can tell.
func unknownClocks(column string) error {
	return fault.New(codeTimeZone, fault.Source, "column %q is a TIMESTAMP, and nobody can tell which zone the server's clocks are those of", column).
		WithHint("set time_zone to the practice's zone, or to an offset such as +10:00; mysql_tzinfo_to_sql loads the names of zones into a server")
}
