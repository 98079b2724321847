package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	engine "modernc.org/sqlite"

	"github.com/cipherstream/cipherstream/plugins/internal/fsync"
)

// database is one connection with one transaction. It speaks to the driver itself: database/sql would look at every
// value of every row once more.
type database struct {
	conn driver.Conn
	open bool // the transaction
	stmt []driver.Stmt
}

// pageCache is the most memory that SQLite keeps pages in, in KiB.
const pageCache = "8192"

// own is for a file that nobody else knows, and that is removed when anything goes wrong: it needs no journal, and is
// written to the disk at the end. shared is for a database of others, as careful as SQLite is.
var (
	own    = []string{"journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "temp_store = MEMORY", "cache_size = -" + pageCache}
	shared = []string{"busy_timeout = 5000", "synchronous = FULL", "temp_store = MEMORY", "cache_size = -" + pageCache, "trusted_schema = OFF"}
)

// openDatabase opens a file that is there and begins a transaction in it.
func openDatabase(path string, mine bool) (_ *database, err error) {
	conn, err := (&engine.Driver{}).Open((&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw"}).String())
	if err != nil {
		return nil, err
	}
	db := &database{conn: conn}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	pragmas := shared
	if mine {
		pragmas = own
	}
	for _, pragma := range pragmas {
		if err := db.exec("PRAGMA " + pragma); err != nil {
			return nil, err
		}
	}
	if err := db.exec("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	db.open = true
	return db, nil
}

func (d *database) exec(statement string) error {
	_, err := d.conn.(driver.ExecerContext).ExecContext(context.Background(), statement, nil)
	return err
}

// prepare makes a statement that is closed with the database.
func (d *database) prepare(statement string) (driver.StmtExecContext, error) {
	stmt, err := d.conn.(driver.ConnPrepareContext).PrepareContext(context.Background(), statement)
	if err != nil {
		return nil, err
	}
	d.stmt = append(d.stmt, stmt)
	return stmt.(driver.StmtExecContext), nil
}

// query calls see with every row of a result.
func (d *database) query(statement, argument string, see func(row []driver.Value)) error {
	rows, err := d.conn.(driver.QueryerContext).QueryContext(context.Background(), statement, []driver.NamedValue{{Ordinal: 1, Value: argument}})
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(row); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		see(row)
	}
}

func (d *database) commit() error {
	err := d.exec("COMMIT")
	d.open = err != nil
	return err
}

// rollback ends the transaction, unless SQLite has done so itself.
func (d *database) rollback() error {
	if !d.open {
		return nil
	}
	d.open = false
	err := d.exec("ROLLBACK")
	if err != nil && strings.Contains(err.Error(), "no transaction is active") {
		err = nil
	}
	// After a write that failed, as on a full disk, SQLite leaves the journal to whoever reads next.
	return errors.Join(err, d.exec("SELECT 1 FROM sqlite_schema LIMIT 1"))
}

func (d *database) close() error {
	var errs []error
	for _, stmt := range d.stmt {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, d.conn.Close())...)
}

// settle makes a file outlive a loss of power, and returns its size and digest.
func settle(ctx context.Context, path string) (size int64, digest string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	hash := sha256.New()
	buffer := make([]byte, 256<<10)
	for err == nil {
		var n int
		if n, err = file.Read(buffer); err == nil {
			hash.Write(buffer[:n])
			size += int64(n)
			err = ctx.Err()
		}
	}
	if err != io.EOF {
		return 0, "", err
	}
	return size, hex.EncodeToString(hash.Sum(nil)), file.Sync()
}

// show gives the whole file its name.
func (s *sink) show() error {
	var err error
	if s.fresh {
		// A link, unlike a rename, never takes the place of what has come meanwhile.
		if err = os.Link(s.temporary, s.path); errors.Is(err, fs.ErrExist) {
			return s.exists()
		}
		if err == nil {
			// The table is there under its name. Abort tries again where this fails.
			if os.Remove(s.temporary) == nil {
				s.over()
			}
		}
	} else if err = os.Rename(s.temporary, s.path); err == nil {
		s.over()
	}
	if err != nil {
		return s.code(err)
	}
	if err := fsync.Directory(filepath.Dir(s.path)); !errors.Is(err, fs.ErrPermission) {
		return s.code(err)
	}
	return nil
}
