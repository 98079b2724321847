// Package sqlite is the sink of rows that writes a table of an SQLite database. It owns the table: its columns and
// their declared types, how every value is stored, and that nothing of it is seen before Commit; it never spells a
// decimal or a time itself (package format does).
//
// A new database, and one that replaces another, is written beside its destination under a hidden name and gets its
// own when it is whole. What is added to a database that is there is one transaction in it: a process that is killed
// leaves a journal, by which SQLite restores the file for whoever opens it next.
package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/partial"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Path     string `config:"path,required" min:"1" doc:"The database's file, with its whole path."`
	Table    string `config:"table,required" min:"1" max:"1000" doc:"The name of the table; any text but one that begins with sqlite_."`
	Mode     string `config:"mode" enum:"create,replace,append" default:"create" doc:"What becomes of a file that is there: create refuses it, replace puts a new database with this table alone in its place, append adds the rows to the table in it, which is made if it is missing."`
	Unsigned string `config:"unsigned" enum:"integer,text" default:"integer" doc:"How unsigned integers of 64 bits are stored. SQLite's integers are signed: with integer a value above 9223372036854775807 fails the run, with text all values of such a column are text."`
}

const (
	modeCreate  = "create"
	modeReplace = "replace"
	modeAppend  = "append"
)

const doc = `Takes rows, not bytes: it stands right behind the source or the filters, and there is no encoder.

| column | declared | value |
|---|---|---|
| integers, booleans | INTEGER | the number; 0 and 1 |
| unsigned integers of 64 bits | INTEGER, or TEXT | see the setting ` + "`unsigned`" + ` |
| floats | REAL | the number; one that is none (NaN) fails the run, because SQLite would store NULL |
| decimals | TEXT | in fixed-point notation with exactly the column's scale: ` + "`148.4000`" + ` |
| dates, timestamps | TEXT | ` + "`YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS`" + ` with as many fractional digits as the column declares (instants in local time of the column's zone, see the counter doubled_hours) |
| times | TEXT | ` + "`[-]HH:MM:SS`" + ` |
| text, JSON | TEXT | the text; what is not UTF-8 fails the run |
| binary | BLOB | the bytes |

Columns that are never NULL by the schema are declared NOT NULL. SQLite tells names of columns apart only beyond the case
of A to Z, so two that differ in nothing else fail the run.

Nothing is visible before the run has succeeded. With create and replace the receipt has the size and the SHA-256 of the
file; with append neither, because the file is not this run's alone.`

// Stage defines the sink.
func Stage() sdk.Definition {
	return sdk.DefineTableSink(sdk.About{Name: "sqlite", Summary: "Writes a table of an SQLite database.", Doc: doc},
		newSink)
}

func newSink(s Settings, env sdk.Env) (sdk.TableSink, error) {
	switch {
	case !filepath.IsAbs(s.Path):
		return nil, fault.New("sqlite.path", fault.Usage, "expected the whole path of the database's file, not %q", s.Path)
	case strings.ContainsRune(s.Table, 0) || len(s.Table) >= 7 && strings.EqualFold(s.Table[:7], "sqlite_"):
		return nil, fault.New("sqlite.table", fault.Usage, "%q cannot be the name of a table", s.Table).
			WithHint("names that begin with sqlite_ are SQLite's own")
	}
	return &sink{settings: s, env: env, path: s.Path}, nil
}

// sink writes one table. It is open from begin to Commit or Abort.
type sink struct {
	settings Settings
	env      sdk.Env

	// mu keeps Abort, which may come while a Write goes on, from closing the database under its statement.
	mu sync.Mutex

	path      string        // of the destination
	temporary string        // of the database that is being written; empty when it is the destination itself
	partial   *partial.File // that one, locked as long as somebody is at work on it
	release   func()        // tells the host that it is no more
	fresh     bool          // there is nothing at the destination, and must not be at Commit
	db        *database
	insert    driver.StmtExecContext
	table     *format.Table
	columns   []column
	args      []driver.NamedValue
}

// Open makes the table, where nobody sees it yet.
func (s *sink) Open(ctx context.Context, table sdk.Table) error { return s.begin(ctx, table) }

// begin is Open, also for a check: of a table without a schema only the place is looked at.
func (s *sink) begin(ctx context.Context, table sdk.Table) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if table.Schema != nil {
		if err := s.mapColumns(table.Schema); err != nil {
			return err
		}
	}
	if err := s.locate(ctx, table.RunID); err != nil {
		return err
	}
	if s.db, err = openDatabase(s.file(), s.temporary != ""); err != nil {
		return s.code(err)
	}
	if table.Schema == nil {
		return nil
	}
	known, err := s.known()
	if err == nil && known == nil {
		err = s.code(s.db.exec(s.createStatement()))
	} else if err == nil {
		err = s.fits(known)
	}
	if err != nil {
		return err
	}
	s.insert, err = s.db.prepare(s.insertStatement())
	return s.code(err)
}

// file is what is written to.
func (s *sink) file() string {
	if s.temporary != "" {
		return s.temporary
	}
	return s.path
}

// locate looks at the destination, and makes the file that is written instead of it where that is another.
func (s *sink) locate(ctx context.Context, runID string) error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.fresh = true
	case err != nil:
		return s.code(err)
	case !info.Mode().IsRegular():
		return fault.New("sqlite.not_a_file", fault.Sink, "%s exists and is not a file (%s)", s.path,
			info.Mode().Type())
	case s.settings.Mode == modeCreate:
		return s.exists()
	case s.settings.Mode == modeAppend:
		return nil
	default:
		// Behind a symbolic link, replace the file and leave the link.
		if s.path, err = filepath.EvalSymlinks(s.path); err != nil {
			return s.code(err)
		}
	}
	// A journal belongs to the file of its name, whatever that is then: SQLite would play it into the new one.
	for _, ending := range []string{"-journal", "-wal"} {
		if _, err := os.Lstat(s.path + ending); !errors.Is(err, fs.ErrNotExist) {
			return fault.New("sqlite.in_use", fault.Sink, "%s is beside the destination: somebody has the database open, or was killed while it wrote", s.path+ending).
				WithHint("end who uses it, or open the database once with sqlite3, which restores it and removes the journal; or write elsewhere")
		}
	}
	_, _ = partial.Sweep(s.path) // what dead runs have left of it; it does not keep this one from its own
	dir, name := filepath.Split(s.path)
	temporary := filepath.Join(dir, partial.Name(name, runID))
	if s.env.Announce != nil {
		if s.release, err = s.env.Announce(ctx, partial.Announcement(temporary)); err != nil {
			return err
		}
	}
	file, err := partial.Create(temporary)
	if err != nil {
		s.over() // it is not ours to remove
		return s.code(err)
	}
	s.temporary, s.partial = temporary, file
	return s.code(file.Close())
}

// over says that the file on its way is no more, or has its name.
func (s *sink) over() {
	s.temporary = ""
	if s.partial != nil {
		s.partial.Release()
		s.partial = nil
	}
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// Undo removes the database of a run whose process has died before it had its name. The rows of one in mode append
// SQLite takes back itself, when somebody reads.
func (s *sink) Undo(_ context.Context, r sdk.Resource) error { return s.code(partial.Undo(r, s.path)) }

func (s *sink) exists() error {
	return fault.New("sqlite.exists", fault.Sink, "%s is there already", s.path).
		WithHint("give another path, mode: replace for a new database in its place, or mode: append to add the rows to it")
}

// rowsBetweenLooks is how many rows are written before it is asked whether the run still goes on.
const rowsBetweenLooks = 16

// Write inserts the rows.
func (s *sink) Write(ctx context.Context, rows sdk.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.table.Load(rows.Record)
	if err != nil {
		return err
	}
	defer s.table.Unload(l)
	for i := range s.columns {
		s.columns[i].load(rows.Column(i), &l.Columns[i])
	}
	for row := range int(rows.NumRows()) {
		if row%rowsBetweenLooks == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for i := range s.columns {
			value, err := s.columns[i].value(row)
			if err != nil {
				return err
			}
			s.args[i].Value = value
		}
		// The statement neither waits nor takes long, and a context that can end would cost each a goroutine.
		if _, err := s.insert.ExecContext(context.Background(), s.args); err != nil {
			if f := fault.From(s.code(err)); f.Code == codeConstraint || f.Code == codeTooLarge {
				return f.InRow(row)
			}
			return s.code(err)
		}
	}
	return nil
}

// Commit makes the rows visible.
func (s *sink) Commit(ctx context.Context) (sdk.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Receipt{}, err
	}
	receipt := sdk.Receipt{Location: s.path}
	if err := s.db.commit(); err != nil {
		return receipt, s.code(err)
	}
	if s.temporary == "" {
		// The rows are there; what is said of the closing cannot change it.
		_ = s.db.close()
		s.db = nil
		return receipt, nil
	}
	err := s.db.close()
	s.db = nil
	if err != nil {
		return receipt, s.code(err)
	}
	if receipt.Bytes, receipt.SHA256, err = settle(ctx, s.temporary); err != nil {
		return receipt, s.code(err)
	}
	if err := s.show(); err != nil {
		return receipt, err
	}
	return receipt, nil
}

// Abort removes all traces. It works on a cancelled context too.
func (s *sink) Abort(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.db != nil {
		if s.temporary == "" {
			errs = append(errs, s.db.rollback())
		}
		errs = append(errs, s.db.close())
		s.db = nil
	}
	if s.temporary != "" {
		// What cannot be removed the host tries once more, or names.
		if err := os.Remove(s.temporary); err == nil || errors.Is(err, fs.ErrNotExist) {
			s.over()
		} else {
			errs = append(errs, err)
			s.temporary = ""
			s.partial.Release()
		}
	}
	return s.code(errors.Join(errs...))
}

// CheckTable is part of sdk.TableChecker: the table is begun as in a run, and removed.
func (s *sink) CheckTable(ctx context.Context, table sdk.Table, report *sdk.Report) {
	err := s.begin(ctx, table)
	if err == nil {
		report.Fine("table %q in %s can be written", s.settings.Table, s.path)
	}
	report.Wrong(err)
	report.Wrong(s.Abort(ctx))
}

// mapColumns finds out how every column is stored.
func (s *sink) mapColumns(schema *arrow.Schema) (err error) {
	if s.table, err = format.NewTable(schema); err != nil {
		return err
	}
	s.table.Count = s.env.Count
	if s.columns, err = mapColumns(schema, s.settings.Unsigned); err != nil {
		return err
	}
	s.args = make([]driver.NamedValue, len(s.columns))
	for i := range s.args {
		s.args[i].Ordinal = i + 1
	}
	return nil
}
