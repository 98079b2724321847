package sqlite

import (
	"context"
	"errors"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// causes maps SQLite's result codes to faults: https://www.sqlite.org/rescode.html
var causes = map[int]struct{ code, message, hint string }{
	codes.SQLITE_FULL: {store.CodeDiskFull, "there is no room for the record on the disk",
		"make room; nothing was lost, and nothing has to be restarted"},
	codes.SQLITE_READONLY: {store.CodeReadOnly, "the file of the record cannot be written",
		"make its file system writable again; nothing was lost, and what is there can be read"},
	codes.SQLITE_NOTADB: {store.CodeDamaged, "the file of the record is no SQLite database",
		"restore it, or give another data directory"},
	codes.SQLITE_CORRUPT: {store.CodeDamaged, "the file of the record is damaged",
		"restore it, or give another data directory"},
}

// coded makes a fault of an error.
func coded(err error) error {
	var known *fault.Fault
	var theirs *driver.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &theirs):
		if c, ok := causes[theirs.Code()&0xff]; ok {
			f := fault.New(c.code, fault.Internal, "%s (%w)", c.message, err).WithHint("%s", c.hint)
			f.Retryable = c.code == store.CodeDiskFull || c.code == store.CodeReadOnly
			return f
		}
	}
	return fault.New(store.CodeFailed, fault.Internal, "the record cannot be read or written: %w", err).
		WithHint("check the disk and the file system of the data directory").WithRetry()
}

// isDuplicate reports whether an INSERT failed because there is such a row.
func isDuplicate(err error) bool {
	var theirs *driver.Error
	return errors.As(err, &theirs) &&
		(theirs.Code() == codes.SQLITE_CONSTRAINT_UNIQUE || theirs.Code() == codes.SQLITE_CONSTRAINT_PRIMARYKEY)
}
