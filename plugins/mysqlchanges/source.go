package mysqlchanges

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/preflight"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/snapshot"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const (
	defaultBatchRows  = 8192
	defaultBatchBytes = 4 << 20
	// gatherTime is for how long changes wait for others to fill their batch, when the log has no more at the moment.
	gatherTime = 50 * time.Millisecond
	// progressTime is how often a position is given where the log goes on without a change of the stream's tables.
	progressTime = 10 * time.Second
)

// Stage declares the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "mysql-changes",
		Summary: "Follows the changes of tables of MySQL or MariaDB from the binary log, after a first copy of them.",
		Doc: "Gives a row for every document that is written or deleted, in the order in which the database commits them, and does not end unless `again` is set. " +
			"Tables are copied first, in pages that join the log without gap or double. Behind every batch it gives a position, with which a later run goes on exactly there, " +
			"in the middle of a large transaction too. What cannot be followed exactly, such as an altered table, a statement that is logged in place of its rows, or a log that the server has purged, " +
			"stops the run with a code and the place in the log.",
	}, newSource)
}

// source is the implementation of sdk.Source and sdk.Checkpointer.
type source struct {
	settings   Settings
	connection mysql.Settings
	env        sdk.Env
	again      *changes.Again // nil unless the run is bounded
	resume     *checkpoint    // nil unless the setting position is given
	serverID   uint32
	uuid       string

	control *mysql.Session // for everything but the log; nil when it is not needed
	reader  *binlog.Reader // nil before Open, and after a failure
	tables  *catalogue
	left    binlog.Position // where the log was when there was a reader last
	lost    time.Time       // when a connection broke behind which none has given anything; zero is that the last one did
	builder *changerow.Builder
	first   time.Time // when the first row of the batch came
	tx      transaction
	// prepared are transactions of two phases that have no rows of the stream's tables.
	prepared map[string]bool

	copies []string // checkpoint.Tables
	copier *copier
	pager  *snapshot.Pager // on control, or nil
	page   *page           // that is to be joined with the log, or nil
	window bool            // the transaction is one that the page may have seen or not
	// pending are tables that are to be read again, and rereading is the one that is, or nil.
	pending   []*table
	rereading *rereading
	target    binlog.Position
	position  string    // the last one that was given, for Checkpoint
	given     time.Time // when
	moved     bool      // the log has gone on since
	failure   error     // what ends the run once what was read before is delivered
	done      error
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	if err := changerow.CheckTables(s.Tables); err != nil {
		return nil, err
	}
	src := &source{settings: s, connection: s.connection(), env: env, prepared: map[string]bool{}, serverID: uint32(s.ServerID), uuid: randomUUID()}
	var err error
	if src.again, err = s.again(); err != nil {
		return nil, err
	}
	if s.Position != "" {
		c, err := parseCheckpoint(s.Position)
		if err != nil {
			return nil, err
		}
		src.resume = &c
	}
	if src.env.BatchRows <= 0 {
		src.env.BatchRows = defaultBatchRows
	}
	if src.env.BatchBytes <= 0 {
		src.env.BatchBytes = defaultBatchBytes
	}
	if src.serverID == 0 {
		src.serverID = 1<<31 | mathrand.Uint32() // people give small ones
	}
	return src, nil
}

// randomUUID is one of version 4.
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Open reads the tables' columns, finds the place in the log, and asks for what follows.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	if err := s.open(ctx); err != nil {
		s.done = err
		return nil, err
	}
	return changes.Schema(), nil
}

func (s *source) open(ctx context.Context) (err error) {
	s.builder = changerow.NewBuilder(s.env.Memory)
	if err := s.connect(ctx); err != nil {
		return err
	}
	for name, value := range s.control.Facts() {
		if s.env.Fact != nil {
			s.env.Fact(name, value)
		}
	}
	if err := s.judge(ctx); err != nil {
		return err
	}
	from, err := s.start(ctx)
	if err != nil {
		return err
	}
	for _, t := range s.tables.list {
		if err := t.prepare(ctx, s.control, &s.settings); err != nil {
			return err
		}
	}
	for _, p := range s.tables.parents {
		if err := p.prepare(ctx, s.control, &s.settings); err != nil {
			return err
		}
	}
	if s.again != nil {
		if s.target, err = binlog.Current(ctx, s.control); err != nil {
			return err
		}
	}
	return s.follow(ctx, from)
}

// judge refuses a server that cannot be followed, and says what makes it unwise.
func (s *source) judge(ctx context.Context) error {
	findings, err := s.find(ctx)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Level == stage.LevelWarning {
			s.env.Log.Warn(f.Fault.Message, "code", f.Fault.Code, "hint", f.Fault.Hint)
		}
	}
	return preflight.Err(findings)
}

// connect opens the session for everything but the log, unless it is there.
func (s *source) connect(ctx context.Context) (err error) {
	if s.control != nil {
		return nil
	}
	if s.control, err = mysql.Connect(ctx, s.connection); err != nil {
		return err
	}
	s.control.SetEnv(s.env)
	if err := s.control.Announce(ctx); err != nil {
		s.shutControl()
		return err
	}
	return nil
}

// Undo is part of sdk.Undoer: it ends a session of a run whose process has died.
func (s *source) Undo(ctx context.Context, r sdk.Resource) error {
	return mysql.Undo(ctx, s.connection, r)
}

// CheckSource is part of sdk.SourceChecker: it says what keeps the server from being followed, and what makes it unwise.
func (s *source) CheckSource(ctx context.Context, report *sdk.Report) *arrow.Schema {
	if err := s.connect(ctx); err != nil {
		report.Wrong(err)
		return nil
	}
	defer s.shutControl()
	findings, err := s.find(ctx)
	if err != nil {
		report.Wrong(err)
		return nil
	}
	report.Findings = append(report.Findings, findings...)
	return changes.Schema()
}

func (s *source) find(ctx context.Context) ([]sdk.Finding, error) {
	return preflight.Check(ctx, s.control, preflight.Options{
		Tables: s.settings.Tables, Cascades: s.settings.Cascades, ServerID: uint32(s.settings.ServerID), Copied: s.resume != nil && s.resume.Copying == nil,
	})
}

// start reads the catalogue and says where in the log to begin.
func (s *source) start(ctx context.Context) (from binlog.Position, err error) {
	if s.tables, err = readCatalogue(ctx, s.control, &s.settings); err != nil {
		return from, err
	}
	if s.resume == nil {
		// Between two looks at the columns, so that what is altered after the place is altered in the log.
		for {
			if from, err = snapshot.Start(ctx, s.control); err != nil {
				return from, err
			}
			again, err := readCatalogue(ctx, s.control, &s.settings)
			if err != nil {
				return from, err
			}
			if s.tables.shapes() == again.shapes() {
				break
			}
			s.tables = again
		}
		s.copier = &copier{tables: s.tables.list}
		return from, nil
	}
	var left []*table
	for _, t := range s.tables.list {
		copied, same := s.resume.copied(t)
		if !same {
			return from, fault.New(codeTableChanged, fault.Source, "the table %s.%s is not as it was at the position %s", t.database, t.name, s.resume.At).
				WithHint("what the log has of it before the change cannot be read any more: reset the stream from 0, so that everything is copied first")
		}
		if copied {
			s.copies = append(s.copies, t.entry())
		} else {
			left = append(left, t)
		}
	}
	for _, t := range s.tables.list {
		if slices.Contains(s.resume.Unread, t.digest()) {
			s.pending = append(s.pending, t)
		}
	}
	slices.SortStableFunc(left, func(a, b *table) int { return s.resume.order(a) - s.resume.order(b) })
	s.copier = &copier{tables: left}
	if len(left) > 0 && s.resume.order(left[0]) == 0 {
		s.copier.after = s.resume.Copying
	}
	s.tx.delivered = s.resume.Taken
	if s.resume.Of != digest(s.tables.names()) {
		s.tx.delivered = 0 // other rows are counted now: the transaction is delivered once more, whole
	}
	return s.resume.At, nil
}

// follow asks for the log from a place on.
func (s *source) follow(ctx context.Context, from binlog.Position) error {
	session, err := mysql.Connect(ctx, s.connection)
	if err != nil {
		return err
	}
	session.SetEnv(s.env)
	if err := session.Announce(ctx); err != nil {
		_ = session.Close()
		return err
	}
	s.reader, err = binlog.Open(ctx, session, from, binlog.Config{
		ServerID: s.serverID, UUID: s.uuid, Heartbeat: s.settings.Heartbeat, LargestEvent: int(s.settings.MaxRowSize),
	})
	if err == nil {
		s.given = time.Now()
	}
	return err
}

// Next gives the next changes.
func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if s.done != nil {
		return nil, s.done
	}
	record, err := s.next(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		s.done = err
		return nil, err
	}
	return record, nil
}

func (s *source) next(ctx context.Context) (arrow.Record, error) {
	for {
		if s.failure != nil {
			if s.builder.Rows() > 0 && !fault.Is(s.failure, codeRolledBack) {
				return s.batch()
			}
			return nil, s.failure
		}
		if s.full() {
			return s.batch()
		}
		record, err := s.join(ctx)
		if record != nil || err != nil {
			return record, err
		}
		ev, err := s.event(ctx)
		switch {
		case errors.Is(err, mysql.ErrNotYet):
			s.lost = time.Time{}
			if s.tx.maps == nil && (s.builder.Rows() > 0 || s.moved && time.Since(s.given) >= progressTime) {
				return s.batch()
			}
			continue
		case err != nil:
			if err := s.recover(ctx, err); err != nil {
				s.failure = err
			}
			continue
		}
		s.moved, s.lost = true, time.Time{}
		if err := s.apply(ev); err != nil {
			s.failure = err
		}
	}
}

// event reads the next event of the log. It waits for less while changes wait for others.
func (s *source) event(ctx context.Context) (*binlog.Event, error) {
	until := time.Now().Add(progressTime)
	if s.builder.Rows() > 0 {
		until = s.first.Add(gatherTime)
		if now := time.Now(); until.Before(now) {
			until = now.Add(time.Millisecond)
		}
	}
	defer s.reader.Watch(ctx)()
	return s.reader.Next(until)
}

// join does what is to be done between the log and everything else: pages of the first copy, documents that are asked for
// again, and the end of a bounded run.
func (s *source) join(ctx context.Context) (arrow.Record, error) {
	for {
		switch {
		case s.tx.maps != nil: // in the middle of a transaction
			return nil, nil
		case s.page != nil:
			if s.reader.Place().Compare(s.page.high) < 0 {
				return nil, nil
			}
			if s.builder.Rows() > 0 && !s.page.begun {
				return s.batch()
			}
			if record, err := s.deliver(); record != nil || err != nil {
				return record, err
			}
		case len(s.copier.tables) > 0:
			if err := s.turn(ctx); err != nil {
				if err := s.recover(ctx, err); err != nil {
					return nil, err
				}
			}
		case s.again == nil && (s.rereading != nil || len(s.pending) > 0):
			if err := s.reread(ctx); err != nil {
				if err := s.recover(ctx, err); err != nil {
					return nil, err
				}
			}
		case s.again == nil:
			s.shutControl() // it was for the copy
			return nil, nil
		case s.reader.Place().Compare(s.target) < 0:
			return nil, nil
		case len(s.again.Documents) > 0:
			if err := s.ask(ctx); err != nil {
				if err := s.recover(ctx, err); err != nil {
					return nil, err
				}
			}
		case s.builder.Rows() > 0 || s.moved || s.position == "":
			return s.batch()
		default:
			return nil, io.EOF
		}
	}
}

// full says whether the batch is as large as one shall be.
func (s *source) full() bool {
	return s.builder.Rows() >= s.env.BatchRows || s.builder.Bytes() >= int64(s.env.BatchBytes)
}

// batch gives what was collected, with a position behind it.
func (s *source) batch() (arrow.Record, error) {
	c := checkpoint{At: s.at(), Taken: s.tx.delivered, Tables: s.copies, Unread: s.unread()}
	if c.Taken > 0 {
		c.Of = digest(s.tables.names())
	}
	if s.copier.after != nil {
		c.Tables, c.Copying = append(slices.Clone(s.copies), s.copier.tables[0].entry()), s.copier.after
	}
	text, err := c.text()
	if err != nil {
		return nil, err
	}
	s.position, s.given, s.moved = text, time.Now(), false
	return s.builder.Record(), nil
}

// at is where the transaction begins that is being read, or that comes next.
func (s *source) at() binlog.Position {
	if s.reader == nil {
		return s.left
	}
	return s.reader.Start()
}

// Checkpoint is the position behind the last batch; see stage.Checkpointer.
func (s *source) Checkpoint() string { return s.position }

// recover makes the connections anew where an error is one that may pass, and goes on where the log was. Otherwise it
// returns the error.
func (s *source) recover(ctx context.Context, why error) error {
	if !fault.From(why).Retryable || ctx.Err() != nil || s.settings.Reconnect == 0 {
		return why
	}
	s.env.Log.Warn("the connection is made anew", "error", fault.From(why).Message)
	from := s.reader.Start()
	s.left = from
	_ = s.reader.Close()
	s.shutControl()
	s.page, s.tx.maps = nil, nil
	// A connection that was made and gives nothing was in vain: the next one waits as if it had not been made.
	vain := !s.lost.IsZero()
	switch {
	case !vain:
		s.lost = time.Now()
	case time.Since(s.lost) > s.settings.Reconnect:
		return why
	}
	return mysql.Persist(ctx, s.settings.Reconnect, func() error {
		if vain {
			vain = false
			return why
		}
		return s.follow(ctx, from)
	})
}

func (s *source) shutControl() {
	s.pager = nil
	if s.control != nil {
		_ = s.control.Close()
		s.control = nil
	}
}

// Close ends the connections.
func (s *source) Close() (err error) {
	s.shutControl()
	if s.reader != nil {
		err = s.reader.Close()
	}
	if s.builder != nil {
		s.builder.Release()
	}
	return err
}

// isEnd says whether there are no more rows.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
