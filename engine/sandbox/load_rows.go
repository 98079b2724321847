package sandbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/go-sql-driver/mysql"
)

// A piece is the rows of one transaction: one LOAD DATA statement, or several
// INSERTs. This many cost little to undo, and are worth a progress report.
const rowsPerPiece = 50_000

// loadConnections work at the same time, on pieces or on keys. Reading text into
// rows keeps one core of the server busy for each.
const loadConnections = 4

// Bytes per INSERT statement, unless the server takes less.
const (
	bytesPerInsert       = 1 << 20
	insertPacketOverhead = 64 << 10
)

// piece is a part of a table.
type piece struct {
	table    int
	first, n int64
}

// pieces cuts tables up. A table without rows is one piece, too.
func pieces(tables []Table) []piece {
	var out []piece
	for i := range tables {
		for first := int64(0); first == 0 || first < tables[i].Rows; first += rowsPerPiece {
			out = append(out, piece{i, first, min(rowsPerPiece, tables[i].Rows-first)})
		}
	}
	return out
}

// fill puts all rows of the tables into the server, and adds a table's keys when
// its rows are in.
func (l *loader) fill(ctx context.Context, tables []Table) ([]LoadProgress, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		todo    = pieces(tables)
		next    atomic.Int64 // first piece that no worker took yet
		mu      sync.Mutex   // of done
		done    = make([]LoadProgress, len(tables))
		workers sync.WaitGroup
	)
	for i := range tables {
		done[i] = LoadProgress{Table: tables[i].Name, Total: tables[i].Rows}
	}
	work := func(conn *sql.Conn, p piece) error {
		table := &tables[p.table]
		if err := l.piece(ctx, conn, table, p.first, p.n); err != nil {
			return loadFault(ctx, err, "loading table %s, rows %d to %d", table.Name, p.first+1, p.first+p.n)
		}
		mu.Lock()
		done[p.table].Rows += p.n
		complete := done[p.table].Rows == table.Rows
		if l.progress != nil {
			l.progress(done[p.table])
		}
		mu.Unlock()
		if !complete {
			return nil
		}
		return l.addKeys(ctx, conn, table.Name)
	}
	for range min(loadConnections, len(todo)) {
		workers.Go(func() {
			conn, err := l.db.Conn(ctx)
			if err != nil {
				cancel(loadFault(ctx, err, "connecting to load"))
				return
			}
			defer conn.Close()
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(todo)) {
					return
				}
				if err := work(conn, todo[i]); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return done, nil
}

// executor is a connection, or any of several.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (l *loader) addKeys(ctx context.Context, conn executor, table string) error {
	for _, def := range l.defs.Keys {
		if def.Name != table {
			continue
		}
		if _, err := conn.ExecContext(ctx, def.Statement); err != nil {
			return loadFault(ctx, err, "adding keys to table %s", table)
		}
	}
	return nil
}

// piece loads n rows from first on, by INSERT once the server has refused LOAD
// DATA LOCAL.
func (l *loader) piece(ctx context.Context, conn *sql.Conn, table *Table, first, n int64) error {
	if !l.inserts.Load() {
		err := l.infile(ctx, conn, table, first, n)
		if !localInfileRefused(err) {
			return err
		}
		l.inserts.Store(true)
	}
	return l.insert(ctx, conn, table, first, n)
}

// localInfileRefused recognises a server with local_infile switched off.
func localInfileRefused(err error) bool {
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Number {
	case 1148, // ER_NOT_ALLOWED_COMMAND
		3948, 3950, // MySQL: ER_CLIENT_LOCAL_FILES_DISABLED, ER_LOAD_INFILE_CAPABILITY_DISABLED
		4166: // MariaDB: ER_LOAD_INFILE_CAPABILITY_DISABLED
		return true
	}
	return false
}

// infileNumber makes the driver's process-wide reader names unique.
var infileNumber atomic.Uint64

// infile loads n rows from first on with one LOAD DATA LOCAL INFILE.
func (l *loader) infile(ctx context.Context, conn *sql.Conn, table *Table, first, n int64) error {
	name := fmt.Sprintf("cipherstream-%d", infileNumber.Add(1))
	mysql.RegisterReaderHandler(name, func() io.Reader { return newRowReader(ctx, table, first, n) })
	defer mysql.DeregisterReaderHandler(name)
	result, err := conn.ExecContext(ctx, fmt.Sprintf(
		`LOAD DATA LOCAL INFILE 'Reader::%s' INTO TABLE %s CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (%s)`,
		name, quoteName(table.Name), columnList(table)))
	if err != nil {
		return err
	}
	// LOCAL makes the server skip or bend rows that it would otherwise refuse;
	// it only tells.
	loaded, err := result.RowsAffected()
	if err != nil {
		return err
	}
	var level, message string
	var code int
	switch err := conn.QueryRowContext(ctx, "SHOW WARNINGS LIMIT 1").Scan(&level, &code, &message); {
	case err == nil:
		return fmt.Errorf("the server changed or skipped rows: %s %d: %s", level, code, message)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	if loaded != n {
		return fmt.Errorf("the server took %d rows of %d", loaded, n)
	}
	return nil
}

// insert loads n rows from first on with INSERT statements in one transaction.
func (l *loader) insert(ctx context.Context, conn *sql.Conn, table *Table, first, n int64) error {
	var packet int
	if err := conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet); err != nil {
		return err
	}
	limit := min(bytesPerInsert, packet-insertPacketOverhead)
	if limit < insertPacketOverhead {
		return fault.New(CodeLoad, fault.Source, "max_allowed_packet is %d bytes; at least %d are needed", packet, 2*insertPacketOverhead)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	head := "INSERT INTO " + quoteName(table.Name) + " (" + columnList(table) + ") VALUES "
	row := make([]Value, len(table.Columns))
	statement := append(make([]byte, 0, bytesPerInsert+insertPacketOverhead), head...)
	for i := first; i < first+n; i++ {
		table.Row(i, row)
		if len(statement) > len(head) {
			statement = append(statement, ',')
		}
		statement = appendTuple(statement, row)
		if len(statement) > limit || i == first+n-1 {
			if _, err := tx.ExecContext(ctx, string(statement)); err != nil {
				return err
			}
			statement = statement[:len(head)]
		}
	}
	return tx.Commit()
}

func columnList(table *Table) string {
	names := make([]string, len(table.Columns))
	for i, c := range table.Columns {
		names[i] = quoteName(c)
	}
	return strings.Join(names, ",")
}

// appendTuple appends a row as (1,'text',NULL), in the escapes that every
// sql_mode but NO_BACKSLASH_ESCAPES reads; the loader's session has it off.
func appendTuple(dst []byte, row []Value) []byte {
	dst = append(dst, '(')
	for i, v := range row {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch v.Kind {
		case Null:
			dst = append(dst, "NULL"...)
		case Int, Decimal:
			dst = v.AppendText(dst)
		case Text:
			dst = append(dst, '\'')
			for j := range len(v.S) {
				switch c := v.S[j]; c {
				case 0:
					dst = append(dst, `\0`...)
				case '\'', '\\':
					dst = append(dst, '\\', c)
				default:
					dst = append(dst, c)
				}
			}
			dst = append(dst, '\'')
		default:
			dst = append(dst, '\'')
			dst = v.AppendText(dst)
			dst = append(dst, '\'')
		}
	}
	return append(dst, ')')
}

// appendLine appends a row in LOAD DATA's default format: fields separated by
// tabs, NULL as \N, backslash before what would end a field or a line.
func appendLine(dst []byte, row []Value) []byte {
	for i, v := range row {
		if i > 0 {
			dst = append(dst, '\t')
		}
		switch v.Kind {
		case Null:
			dst = append(dst, '\\', 'N')
		case Text:
			for j := range len(v.S) {
				switch c := v.S[j]; c {
				case 0:
					dst = append(dst, `\0`...)
				case '\t':
					dst = append(dst, `\t`...)
				case '\n':
					dst = append(dst, `\n`...)
				case '\\':
					dst = append(dst, `\\`...)
				default:
					dst = append(dst, c)
				}
			}
		default:
			dst = v.AppendText(dst)
		}
	}
	return append(dst, '\n')
}

// rowReader is the text of rows, made while it is read.
type rowReader struct {
	ctx       context.Context
	table     *Table
	next, end int64
	row       []Value
	buf, rest []byte // rest is the unread part of buf
}

func newRowReader(ctx context.Context, table *Table, first, n int64) *rowReader {
	return &rowReader{ctx: ctx, table: table, next: first, end: first + n, row: make([]Value, len(table.Columns))}
}

func (r *rowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.next == r.end {
			return 0, io.EOF
		}
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		r.buf = r.buf[:0]
		for r.next < r.end && len(r.buf) < len(p) {
			r.table.Row(r.next, r.row)
			r.buf = appendLine(r.buf, r.row)
			r.next++
		}
		r.rest = r.buf
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
