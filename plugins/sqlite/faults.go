package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	engine "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of rows that the table does not take.
const (
	codeConstraint = "sqlite.constraint"
	codeTooLarge   = "sqlite.too_large"
)

// causes maps SQLite's result codes to faults: https://www.sqlite.org/rescode.html
var causes = map[int]struct {
	code, message, hint string
	class               fault.Class
	retry               bool
}{
	codes.SQLITE_FULL:       {"sink.disk_full", "no space is left on the disk", "make room, or write elsewhere", fault.Sink, false},
	codes.SQLITE_BUSY:       {"sqlite.busy", "somebody else has the database locked", "try again when they are done", fault.Sink, true},
	codes.SQLITE_LOCKED:     {"sqlite.busy", "somebody else has the database locked", "try again when they are done", fault.Sink, true},
	codes.SQLITE_READONLY:   {"sink.denied", "the database cannot be written", "check who owns the file and its folder, and their modes", fault.Sink, false},
	codes.SQLITE_PERM:       {"sink.denied", "permission is denied", "check who owns the file and its folder, and their modes", fault.Sink, false},
	codes.SQLITE_CANTOPEN:   {"sqlite.open", "the database cannot be opened", "check who owns the file and its folder, and their modes", fault.Sink, false},
	codes.SQLITE_NOTADB:     {"sqlite.not_a_database", "it is no SQLite database", "give another path, or mode: replace", fault.Sink, false},
	codes.SQLITE_CORRUPT:    {"sqlite.not_a_database", "the database is damaged", "restore it, or give another path", fault.Sink, false},
	codes.SQLITE_CONSTRAINT: {codeConstraint, "the table does not take a row", "the table's own constraints, or NULL in a column that is never NULL by the pipeline's columns", fault.Data, false},
	codes.SQLITE_TOOBIG:     {codeTooLarge, "a value or a row is larger than SQLite takes (1,000,000,000 bytes)", "leave the column out with the columns filter", fault.Data, false},
}

// code makes a fault of an error: where, and what.
func (s *sink) code(err error) error {
	var coded *fault.Fault
	var theirs *engine.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &theirs):
		if c, known := causes[theirs.Code()&0xff]; known {
			f := fault.New(c.code, c.class, "%s: %s (%w)", s.path, c.message, err).WithHint("%s", c.hint)
			if c.retry {
				f.WithRetry()
			}
			return f
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New("sink.denied", fault.Sink, "%s: permission is denied (%w)", s.path, err).WithHint("check who owns the folder and its mode")
	case errors.Is(err, fs.ErrNotExist):
		return fault.New("sink.not_found", fault.Sink, "%s: the folder does not exist (%w)", s.path, err).WithHint("create it first")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New("sink.disk_full", fault.Sink, "%s: no space is left on the disk (%w)", s.path, err).WithHint("make room, or write elsewhere")
	}
	return fault.New("sink.write", fault.Sink, "%s: writing failed: %w", s.path, err)
}
