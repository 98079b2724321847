// Package mysqlpoll is the source of changes for a server whose binary log nobody may read: it copies tables once, and then
// asks them again and again for rows whose time of change is new. It owns the order of those questions and how far they
// are; what it cannot see, its documentation says. Rows become documents in package changerow.
package mysqlpoll

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/snapshot"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const doc = `Copies tables, and then asks each of them, every interval, for the rows whose time of change is new. Every row is
delivered as a document, in the table of changes; the run ends when it is cancelled, or, with again, when everything is
delivered that was there.

It is for servers whose binary log is off or may not be read. It needs no privilege but SELECT, and it sees less than the
log has. What it cannot see:

* **Deletes.** A row that is not there any more is not found by a question for what is new: its document stays. A reset of
  the stream reads every document again, and finds those that are gone.
* **Changes that do not move the time on**: where the column is set by an application that forgets it, is set back, or is
  restored from a copy; and rows that were changed by cascading foreign keys, which fire no trigger.
* **Changes between two rounds**: a row that was changed twice is delivered once, as it is then.
* **Transactions that take longer than the setting overlap**: they commit rows whose time has passed by then.
* **TRUNCATE, DROP and RENAME** of a table, and rows that move to another id: the old document stays.
* **The order between tables.** Rows of one table come in the order of their times; those of another come after them.
* **One instant.** Every table is asked for itself, so that documents of two tables may be of different moments.

Rows of the overlap are delivered in every round, whether or not they were changed: whoever numbers documents skips those
that are as they were. An index that begins with the column makes a round cheap; without one each round reads the whole
table.`

// Stage declares the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "mysql-poll",
		Summary: "Follows tables of MySQL or MariaDB without their log, by asking for rows whose time of change is new.",
		Doc:     doc,
	}, newSource)
}

// source is the implementation of sdk.Source.
type source struct {
	settings Settings
	again    *changes.Again // nil unless the run is bounded
	env      sdk.Env
	at       position
	given    string // the checkpoint that was given last
	fresh    string // one that belongs to the batch that Next returned

	session *mysql.Session
	pager   *snapshot.Pager
	tables  []*table
	builder *changerow.Builder
	now     time.Time // the server's, when the round began

	done   error         // what Next returns from now on
	reader *mysql.Reader // of the table that is being asked
	asking int           // its index; len(tables) behind a round
	seen   int64         // the latest change of it in this round
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	again, err := s.check()
	if err != nil {
		return nil, err
	}
	at, err := parsePosition(s.Position)
	if err != nil {
		return nil, err
	}
	return &source{settings: s, again: again, env: env, at: at, given: s.Position}, nil
}

// Open connects, and reads what the tables are like.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	for name, value := range s.session.Facts() {
		if s.env.Fact != nil {
			s.env.Fact(name, value)
		}
	}
	return changes.Schema(), s.begin(ctx)
}

// connect opens the session, and looks at the tables.
func (s *source) connect(ctx context.Context) (err error) {
	if s.session, err = mysql.Connect(ctx, s.settings.connection()); err != nil {
		return err
	}
	s.session.SetEnv(s.env)
	if err := s.session.Announce(ctx); err != nil {
		return err
	}
	if s.builder == nil {
		s.builder = changerow.NewBuilder(s.env.Memory)
	}
	s.tables = nil
	s.pager, err = snapshot.NewPager(ctx, s.session, snapshot.Options{Rows: int(s.settings.PageRows), Bytes: int64(s.env.BatchBytes), Unlogged: true})
	if err != nil {
		return err
	}
	for _, setting := range s.settings.Tables {
		t, err := look(ctx, s.session, &s.settings, setting)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(s.tables, func(other *table) bool { return other.digest == t.digest }) {
			return fault.New(changerow.CodeTables, fault.Usage, "the table %s is named twice", setting.Table).WithHint("a table has one type of documents")
		}
		s.tables = append(s.tables, t)
	}
	return nil
}

// begin begins a round.
func (s *source) begin(ctx context.Context) error {
	text := ""
	if err := s.session.Rows(ctx, "SELECT UTC_TIMESTAMP(6)", func(row []string) { text = row[0] }); err != nil {
		return err
	}
	var err error
	if s.now, err = time.Parse(literalForm, text); err != nil {
		return fault.New(codeSettings, fault.Source, "the server's time is %q, which is none", text).WithHint("this is no server of MySQL or MariaDB")
	}
	s.asking = 0
	return nil
}

// Next gives the next documents.
func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	for s.done == nil {
		more, err := s.step(ctx)
		if err != nil {
			more, err = s.recover(ctx, err)
		}
		if err != nil {
			s.done = err
			return nil, err
		}
		text, err := s.at.text()
		if err != nil {
			return nil, err
		}
		if s.builder.Rows() > 0 || text != s.given {
			s.given, s.fresh = text, text
			return s.builder.Record(), nil
		}
		if !more {
			s.done = io.EOF
		}
	}
	return nil, s.done
}

// recover makes the connection anew where an error is one that may pass, and does what was to be done. Otherwise it returns
// the error.
func (s *source) recover(ctx context.Context, why error) (more bool, err error) {
	if !fault.From(why).Retryable || ctx.Err() != nil || s.settings.Reconnect == 0 {
		return false, why
	}
	s.env.Log.Warn("the connection is made anew", "error", fault.From(why).Message)
	err = mysql.Persist(ctx, s.settings.Reconnect, func() (err error) {
		_ = s.disconnect() // it is lost
		if err = s.connect(ctx); err == nil {
			more, err = s.step(ctx)
		}
		return err
	})
	return more, err
}

// Undo is part of sdk.Undoer: it ends the session of a run whose process has died.
func (s *source) Undo(ctx context.Context, r sdk.Resource) error {
	return mysql.Undo(ctx, s.settings.connection(), r)
}

// Checkpoint is part of sdk.Checkpointer.
func (s *source) Checkpoint() string {
	fresh := s.fresh
	s.fresh = ""
	return fresh
}

// step does the next small thing: a page of the copy, a batch of a table, documents that were asked for, or a wait. It is
// false behind the last one.
func (s *source) step(ctx context.Context) (more bool, err error) {
	if s.asking < len(s.tables) {
		t := s.tables[s.asking]
		if _, copied := s.at.Seen[t.digest]; !copied {
			return true, s.copy(ctx, t)
		}
		return true, s.ask(ctx, t)
	}
	if s.again != nil {
		return s.readAgain(ctx)
	}
	wait := time.NewTimer(s.settings.Interval)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true, s.begin(ctx)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// copy reads a page of a table that is not copied.
func (s *source) copy(ctx context.Context, t *table) error {
	if s.at.Copying != t.digest {
		// What is changed while the table is copied is later than what was the latest change before.
		since, err := s.latest(ctx, t)
		if err != nil {
			return err
		}
		s.at.Copying, s.at.Since, s.at.Last = t.digest, since, nil
	}
	page, err := s.pager.Page(ctx, &t.Table, s.at.Last, binlog.Position{})
	if err != nil {
		return err
	}
	defer page.Release()
	for _, record := range page.Records {
		if err := s.write(t, record, changes.OriginCopy); err != nil {
			return err
		}
	}
	if s.at.Last = page.Last; page.Done {
		s.at.Seen[t.digest] = s.at.Since
		s.at.Copying, s.at.Since, s.at.Last = "", 0, nil
	}
	return nil
}

// latest is the latest change of a table before it is copied.
func (s *source) latest(ctx context.Context, t *table) (int64, error) {
	seen := int64(beginning)
	column := mysql.QuoteName(t.changed.Name)
	err := s.read(ctx, "SELECT "+column+" FROM "+t.quoted()+" ORDER BY "+column+" DESC LIMIT 1", func(record arrow.Record) error {
		seen = max(seen, latest(record.Column(0)))
		return nil
	})
	return s.bounded(t, seen), err
}

// bounded is a time of change as it may be trusted.
func (s *source) bounded(t *table, seen int64) int64 {
	return min(seen, present(s.now, t.civil(s.settings.ZeroDates), s.session.Zone()))
}

// read reads the rows of a statement.
func (s *source) read(ctx context.Context, query string, visit func(arrow.Record) error, args ...any) error {
	reader, err := s.session.Read(ctx, query, args...)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		record, err := reader.Next(ctx)
		if err != nil {
			return notEnd(err)
		}
		err = visit(record)
		record.Release()
		if err != nil {
			return err
		}
	}
}

func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ask reads the next rows of a table that were changed since the last round.
func (s *source) ask(ctx context.Context, t *table) error {
	seen := s.at.Seen[t.digest]
	if s.reader == nil {
		query, args := t.selected(), []any(nil)
		column := mysql.QuoteName(t.changed.Name)
		if from := t.from(seen, s.settings.Overlap, t.civil(s.settings.ZeroDates)); from != "" {
			query += " WHERE " + column + " >= ?"
			args = append(args, from)
		}
		reader, err := s.session.Read(ctx, query+" ORDER BY "+column, args...)
		if err != nil {
			return err
		}
		s.reader, s.seen = reader, seen
	}
	record, err := s.reader.Next(ctx)
	if errors.Is(err, io.EOF) {
		s.at.Seen[t.digest] = s.bounded(t, s.seen)
		s.asking++
		return s.closeReader()
	}
	if err != nil {
		return firstOf(err, s.closeReader())
	}
	defer record.Release()
	// Rows come in the order of their times, so that a run that goes on from here misses none.
	s.seen = max(s.seen, latest(record.Column(t.at)))
	s.at.Seen[t.digest] = s.bounded(t, s.seen)
	return s.write(t, record, changes.OriginPoll)
}

func (s *source) closeReader() error {
	err := s.reader.Close()
	s.reader = nil
	return err
}

// write adds documents of rows.
func (s *source) write(t *table, record arrow.Record, origin string) error {
	if err := t.mapper.Map(&t.rows, record); err != nil {
		return err
	}
	for i := range t.rows.Len() {
		s.builder.Write(&t.rows, i, origin, time.Time{})
	}
	return nil
}

// readAgain reads the next documents that were asked for, of one type as many as come one after the other.
func (s *source) readAgain(ctx context.Context) (more bool, err error) {
	asked := s.again.Documents
	if len(asked) == 0 {
		return false, nil
	}
	n := slices.IndexFunc(asked, func(d changes.Document) bool { return d.Type != asked[0].Type })
	if n < 0 {
		n = len(asked)
	}
	t := s.tables[slices.IndexFunc(s.tables, func(t *table) bool { return t.setting.Type == asked[0].Type })]
	ids := make([]string, n)
	for i := range ids {
		ids[i] = asked[i].ID
	}
	page, taken, err := s.pager.Again(ctx, &t.Table, ids, binlog.Position{})
	if err != nil {
		return false, err
	}
	defer page.Release()
	// The rows come in an order of their own, and the documents in that of the list.
	type place struct{ rows, row int }
	found, mapped := map[string]place{}, make([]changerow.Rows, len(page.Records))
	for i, record := range page.Records {
		if err := t.mapper.Map(&mapped[i], record); err != nil {
			return false, err
		}
		for row := range mapped[i].Len() {
			found[string(mapped[i].ID(row))] = place{i, row}
		}
	}
	for _, id := range ids[:taken] {
		if at, there := found[id]; there {
			s.builder.Write(&mapped[at.rows], at.row, changes.OriginAgain, time.Time{})
		} else {
			s.builder.Delete(t.mapper, []byte(id), changes.OriginAgain, time.Time{})
		}
	}
	s.again.Documents = asked[taken:]
	return true, nil
}

// CheckSource is part of sdk.SourceChecker.
func (s *source) CheckSource(ctx context.Context, report *sdk.Report) *arrow.Schema {
	if err := s.connect(ctx); err != nil {
		report.Wrong(err)
		return nil
	}
	for _, t := range s.tables {
		if !t.indexed {
			report.Warn(fault.New(codeChanged, fault.Source, "table %s: no index begins with %s, so that each round reads the whole table", t.setting.Table, t.changed.Name).
				WithHint("CREATE INDEX %s ON %s (%s)", mysql.QuoteName(t.changed.Name), t.quoted(), mysql.QuoteName(t.changed.Name)))
		}
	}
	report.Fine("%d tables are there, with their keys and their columns of changes", len(s.tables))
	report.Unchecked("deletes, and changes that do not move the time of their row on: polling does not see them")
	return changes.Schema()
}

// Close ends the session.
func (s *source) Close() error {
	err := s.disconnect()
	if s.builder != nil {
		s.builder.Release()
		s.builder = nil
	}
	return err
}

func (s *source) disconnect() (err error) {
	if s.reader != nil {
		err = s.closeReader()
	}
	if s.session != nil {
		err = firstOf(err, s.session.Close())
		s.session = nil
	}
	return err
}
