package mysqlchanges

import (
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/statement"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// transaction is what is known of the one whose events are being read, or that will be read next.
type transaction struct {
	// seen is how many of its rows, of tables of the stream, were read since it began, and delivered how many were taken
	// into a batch. When a transaction is read again, because a connection broke or by a later run, delivered is ahead.
	seen, delivered int64
	// maps are the tables by their numbers in the log; nil is one of no interest.
	maps map[uint64]*table
	// parents are those of them that are in a foreign key that cascades.
	parents map[uint64]*parent
	// xa is its name as one of two phases, or "".
	xa string
}

// mostPrepared bounds how many transactions of two phases are remembered that are none of ours.
const mostPrepared = 1000

// apply takes an event of the log.
func (s *source) apply(ev *binlog.Event) error {
	tx := &s.tx
	switch ev.Kind {
	case binlog.Begin:
		tx.seen, tx.xa = 0, ""
		tx.maps, tx.parents = map[uint64]*table{}, map[uint64]*parent{}
		s.window = s.page != nil && s.reader.Place().Compare(s.page.low) >= 0
		s.begin()
	case binlog.Table:
		return s.tableMap(ev)
	case binlog.Rows:
		return s.rows(ev)
	case binlog.Statement:
		return s.statement(ev)
	case binlog.Commit:
		return s.end()
	case binlog.Rollback:
		if tx.seen > 0 {
			return s.stop(codeRolledBack, "rows of the stream's tables are in the log, and were rolled back").
				WithHint("a transaction over tables of InnoDB and others was rolled back, or the server crashed: %s", copyAnew)
		}
		return s.end()
	case binlog.XAPrepare:
		if len(s.prepared) < mostPrepared {
			s.prepared[tx.xa] = true
		}
		return s.end()
	case binlog.Incident:
		return s.stop(codeIncident, "the server says that its log lacks changes (INCIDENT)").
			WithHint("see the server's error log, %s", copyAnew)
	case binlog.Unknown:
		return s.stop(codeEvent, "the log has an event of the type %d, which is not known", ev.Type).
			WithHint("a newer version of this program may know it")
	}
	return nil
}

// stop is a fault about the transaction that is being read.
func (s *source) stop(code, format string, args ...any) *fault.Fault {
	return stop(code, s.reader.Start(), format, args...)
}

// end takes note that a transaction has ended.
func (s *source) end() error {
	tx := &s.tx
	if tx.seen < tx.delivered {
		return s.stop(codePosition, "%d rows of the transaction were delivered before, and the log has %d", tx.delivered, tx.seen).
			WithHint("the log is not the one that the position is of: reset the stream from 0")
	}
	*tx = transaction{}
	return nil
}

func (s *source) tableMap(ev *binlog.Event) error {
	t := s.tables.find(ev.Database, ev.Name)
	p := s.tables.parents[s.tables.name(ev.Database, ev.Name)]
	s.tx.maps[ev.TableID], s.tx.parents[ev.TableID] = t, p
	if t == nil && p == nil {
		return nil
	}
	m, err := row.ReadTableMap(ev.Body)
	if err == nil && t != nil {
		err = firstOf(t.rows.Table(m), t.keys.Table(m))
	}
	if err == nil && p != nil {
		err = p.tableMap(m)
	}
	return s.placed(err)
}

// placed says of a fault in the log's data where it is.
func (s *source) placed(err error) error {
	if err == nil {
		return nil
	}
	f := *fault.From(err)
	at := s.reader.Start()
	f.Message += ", in the transaction at " + at.String()
	return f.WithDetail("log_file", at.File).WithDetail("log_position", at.String())
}

// rows takes changed rows of a table.
func (s *source) rows(ev *binlog.Event) error {
	t, known := s.tx.maps[ev.TableID]
	p, named := s.tx.parents[ev.TableID], t
	if p != nil {
		named = &p.table
	}
	switch {
	case !known:
		return s.stop(binlog.CodeLog, "rows of a table that the log has not described").WithHint("see the server's error log")
	case named == nil:
		return nil
	case ev.Partial:
		return s.stop(codePartialJSON, "a row of %s.%s was logged with parts of its JSON documents only", named.database, named.name).
			WithHint("SET PERSIST binlog_row_value_options = '', end the sessions that have their own, %s", copyAnew)
	case s.tx.xa != "":
		return s.stop(codeXA, "a row of %s.%s was changed in an XA transaction", named.database, named.name).
			WithHint("change tables of the stream, and parents of foreign keys that cascade, in ordinary transactions, %s", copyAnew)
	}
	if p != nil {
		list, err := p.changed(ev)
		if err != nil {
			return s.placed(err)
		}
		s.cascaded(list)
	}
	if t == nil {
		return nil
	}
	return s.placed(s.decode(t, ev))
}

// decode adds what became of rows to the batch.
func (s *source) decode(t *table, ev *binlog.Event) error {
	n := 0
	for images := ev.Images; len(images) > 0; n++ {
		left := len(images)
		var err error
		if ev.Operation != binlog.Insert {
			if images, err = t.keys.Row(images, ev.Before); err != nil {
				return err
			}
		}
		if ev.Operation != binlog.Delete {
			if images, err = t.rows.Row(images, ev.After); err != nil {
				return err
			}
		}
		if len(images) >= left {
			return emptyImage(t)
		}
	}
	if ev.Operation != binlog.Insert {
		if err := mapRecord(t.keys.Record(), func(r arrow.Record) error { return t.mapper.MapKeys(&t.before, r) }); err != nil {
			return err
		}
	}
	if ev.Operation != binlog.Delete {
		if zeroes := t.rows.ZeroDates(); zeroes > 0 {
			s.env.Count("zero_dates", zeroes)
		}
		if err := mapRecord(t.rows.Record(), func(r arrow.Record) error { return t.mapper.Map(&t.after, r) }); err != nil {
			return err
		}
	}
	for i := range n {
		if s.take() {
			s.add(t, ev, i)
		}
	}
	return nil
}

func emptyImage(t *table) error {
	return fault.New(codeRowImage, fault.Data, "an image of a row of %s.%s is empty", t.database, t.name).WithHint("leave the table out")
}

func mapRecord(r arrow.Record, take func(arrow.Record) error) error {
	defer r.Release()
	return take(r)
}

// take counts a row of the transaction, and says whether it is to be delivered.
func (s *source) take() bool {
	tx := &s.tx
	if tx.seen++; tx.seen <= tx.delivered {
		return false
	}
	tx.delivered = tx.seen
	if s.builder.Rows() == 0 {
		s.first = time.Now()
	}
	return true
}

// add adds what became of a row. A row that has another key now is another document.
func (s *source) add(t *table, ev *binlog.Event, i int) {
	switch ev.Operation {
	case binlog.Insert:
		s.changed(t, t.after.ID(i))
		s.builder.Write(&t.after, i, changes.OriginLog, ev.At)
	case binlog.Update:
		before, after := t.before.ID(i), t.after.ID(i)
		s.changed(t, after)
		if string(before) != string(after) {
			s.changed(t, before)
			s.builder.Delete(t.mapper, before, changes.OriginLog, ev.At)
		}
		s.builder.Write(&t.after, i, changes.OriginLog, ev.At)
	case binlog.Delete:
		s.changed(t, t.before.ID(i))
		s.builder.Delete(t.mapper, t.before.ID(i), changes.OriginLog, ev.At)
	}
}

// changed takes note that the log knows a document better than the page that was read meanwhile.
func (s *source) changed(t *table, id []byte) {
	if s.window {
		s.page.drop(t, id)
	}
}

// statement takes a statement of the log.
func (s *source) statement(ev *binlog.Event) error {
	v := statement.Judge(ev.Text, ev.Database, s.tables)
	switch v.Meaning {
	case statement.Truncated:
		// Of a parent alone it changes nothing: there are no cascades.
		if t := s.tables.find(v.Database, v.Table); t != nil && s.take() {
			if s.window {
				s.page.dropAll(t)
			}
			s.builder.Truncate(t.mapper, changes.OriginLog, ev.At)
		}
	case statement.Altered:
		what := v.Database
		if v.Table != "" {
			what += "." + v.Table
		}
		return s.stop(codeTableChanged, "%s has changed what %s is", v.What, what).
			WithHint("see to it that the stream's tables are as they shall be, %s. The documents before that change are delivered", copyAnew)
	case statement.Changes:
		return s.stop(codeStatement, "the log has a statement, %s, where the rows that it changed should be", v.What).
			WithHint("SET PERSIST binlog_format = 'ROW', end the sessions that have their own, %s", copyAnew)
	case statement.RolledBack:
		if s.tx.seen > 0 {
			return s.stop(codeRolledBack, "rows of the stream's tables are in the log, and were rolled back to a savepoint").WithHint("%s", copyAnew)
		}
	case statement.XABegin:
		if _, name, ok := strings.Cut(ev.Text, " "); ok && s.tx.xa == "" {
			s.tx.xa = xaName(name)
		}
		if s.tx.seen > 0 {
			return s.stop(codeXA, "rows of the stream's tables were changed in an XA transaction").WithHint("%s", copyAnew)
		}
	case statement.XAEnd:
		_, name, _ := strings.Cut(ev.Text, " ")
		if name = xaName(name); !s.prepared[name] {
			return s.stop(codeXA, "an XA transaction ends (%s) that was prepared before this run, with rows of nobody knows which tables", v.What).
				WithHint("%s", copyAnew)
		}
		delete(s.prepared, name)
	case statement.Strange:
		return s.stop(codeStatement, "the log has a statement that is not known: %s", v.What).
			WithHint("a newer version of this program may know it; or reset the stream from 0")
	}
	return nil
}

// xaName is what names a transaction of two phases in XA START, END, COMMIT and ROLLBACK.
func xaName(text string) string {
	_, name, _ := strings.Cut(strings.TrimSpace(text), " ")
	return strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(name)), " ONE PHASE")
}
