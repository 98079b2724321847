package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Table is one that is read.
type Table struct {
	Database, Name string
	// Columns are those of the records, in their order; those of the key are among them.
	Columns []string
	// Key is the primary key's columns, in its order.
	Key []row.Column
}

// Options bound a page. What is zero has its default.
type Options struct {
	// Rows is the most rows of a page: 10,000.
	Rows int
	// Bytes is about how much memory the rows of a page may take: 16 MiB. One row may be larger, and is a page then.
	Bytes int64
	// Unlogged reads rows as they are when they are read, of a server whose log nobody follows: places in the log are zero.
	Unlogged bool
}

// Page is rows of a table, and the marks between which they were read (see the package's comment). A page without rows
// that is not the last one says that rows are locked: the caller goes on with the log and asks again.
type Page struct {
	// Low and High are places in the log. High is never before Low, and Low never before what was delivered.
	Low, High binlog.Position
	// Records are the rows, in the order of the key.
	Records []arrow.Record
	// Last is the id of the last row, behind which the next page begins; without rows it is what was given.
	Last *string
	// Done says that there were no rows behind these.
	Done bool
}

// Release lets go of the rows.
func (p *Page) Release() {
	for _, r := range p.Records {
		r.Release()
	}
	p.Records = nil
}

// Pager reads pages. It is not safe for concurrent use.
type Pager struct {
	session *mysql.Session
	options Options
	// rows is how many the next page asks for: fewer after locks, and where rows are large.
	rows int
}

const (
	defaultRows  = 10_000
	defaultBytes = 16 << 20
	// firstRows is how many rows the first page asks for, whose size nobody knows.
	firstRows = 500
	// lockSeconds is how long a page waits for a lock.
	lockSeconds = 1
	// mostIDs is how many rows one statement asks for by their ids.
	mostIDs = 250
)

// NewPager sets a session up for pages. The session is the pager's until it is not used any more; the caller closes it.
func NewPager(ctx context.Context, s *mysql.Session, o Options) (*Pager, error) {
	if o.Rows <= 0 {
		o.Rows = defaultRows
	}
	if o.Bytes <= 0 {
		o.Bytes = defaultBytes
	}
	wait := strconv.Itoa(lockSeconds)
	for _, sql := range []string{
		"SET SESSION innodb_lock_wait_timeout = " + wait + ", SESSION lock_wait_timeout = " + wait,
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	} {
		if err := s.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	return &Pager{session: s, options: o, rows: min(firstRows, o.Rows)}, nil
}

// Start is where a stream that copies first begins to read the log. What is before it and not visible yet, a page waits for.
func Start(ctx context.Context, s *mysql.Session) (binlog.Position, error) {
	return binlog.Current(ctx, s)
}

// Page reads the rows behind a key, from the beginning where after is nil. Delivered is the place up to which the caller
// has delivered the log.
func (p *Pager) Page(ctx context.Context, t *Table, after *string, delivered binlog.Position) (Page, error) {
	where, args := "", []any(nil)
	if after != nil {
		values, err := t.arguments(*after, true)
		if err != nil {
			return Page{}, err
		}
		condition, parts := behind(t.Key)
		for _, part := range parts {
			args = append(args, values[part])
		}
		where = " WHERE " + condition
	}
	order := make([]string, len(t.Key))
	for i := range t.Key {
		order[i] = mysql.QuoteName(t.Key[i].Name)
	}
	asked := p.rows
	query := t.selected() + where + " ORDER BY " + strings.Join(order, ", ") + " LIMIT " + strconv.Itoa(asked)
	page, got, err := p.between(ctx, t, query, args, delivered)
	switch {
	case locked(err):
		p.rows = max(1, p.rows/2)
		page, err = p.nothing(ctx, delivered)
	case err == nil && got.kept < got.came:
		p.rows = max(1, got.kept) // the rest was more than a page may be
	case err == nil:
		page.Done = got.came < asked
		if fits := int64(p.options.Rows); got.bytes > 0 {
			// The next rows are taken to be as large as these.
			fits = min(fits, p.options.Bytes*int64(got.kept)/got.bytes)
			p.rows = int(max(1, min(fits, 2*int64(p.rows))))
		}
	}
	if page.Last == nil {
		page.Last = after
	}
	return page, err
}

// Again reads rows by their ids, of which it takes from the beginning of the list as many as one page may be: taken says
// how many. A row of the page may have another id than one that was asked for, where the collation of the key takes the
// two for the same; and an id that no row of the page has is one of a row that is not there.
func (p *Pager) Again(ctx context.Context, t *Table, ids []string, delivered binlog.Position) (page Page, taken int, err error) {
	ids = ids[:min(len(ids), mostIDs, p.rows)]
	equal := make([]string, len(t.Key))
	for i := range t.Key {
		equal[i] = mysql.QuoteName(t.Key[i].Name) + " = " + place(&t.Key[i], false)
	}
	one := "(" + strings.Join(equal, " AND ") + ")"
	var either []string
	var args []any
	for _, id := range ids {
		values, err := t.arguments(id, false)
		if err != nil {
			return Page{}, 0, err
		}
		either, args = append(either, one), append(args, values...)
	}
	if len(ids) == 0 {
		page, err = p.nothing(ctx, delivered)
		return page, 0, err
	}
	page, got, err := p.between(ctx, t, t.selected()+" WHERE "+strings.Join(either, " OR "), args, delivered)
	switch {
	case locked(err):
		p.rows = max(1, p.rows/2)
		page, err = p.nothing(ctx, delivered)
		return page, 0, err
	case err != nil:
		return page, 0, err
	case got.kept < got.came:
		// Which ids the rows are of that were not kept, only the caller could tell.
		page.Release()
		p.rows = max(1, len(ids)/2)
		return page, 0, nil
	}
	p.rows = min(p.options.Rows, 2*p.rows)
	return page, len(ids), nil
}

// selected is the beginning of a statement that reads rows by their key. Labels of a key come by their numbers as well.
func (t *Table) selected() string {
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = mysql.QuoteName(name)
	}
	for i := range t.Key {
		if labelled(&t.Key[i]) {
			columns = append(columns, operand(&t.Key[i])+" AS "+mysql.QuoteName(t.Key[i].Name))
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + mysql.QuoteName(t.Database) + "." + mysql.QuoteName(t.Name) + " FORCE INDEX (`PRIMARY`)"
}

// locked reports whether an error says that it is not the time: rows or the table are locked, or it was just altered, of
// which the log says more.
func locked(err error) bool {
	switch number, _, _ := mysql.ServerError(err); number {
	case 1205, 1213, 1412: // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_TABLE_DEF_CHANGED
		return true
	}
	return false
}

// end is the end of the log, which is never before what was delivered of it.
func (p *Pager) end(ctx context.Context, delivered binlog.Position) (binlog.Position, error) {
	if p.options.Unlogged {
		return delivered, nil
	}
	at, err := binlog.Current(ctx, p.session)
	if err == nil && delivered.File != "" && (at.Server != delivered.Server || at.Compare(delivered) < 0) {
		err = fault.New(binlog.CodeOtherHistory, fault.Source,
			"rows are read from a server whose log ends at %s, and the log of another one, or an older one, was delivered up to %s",
			at, delivered).
			WithHint("connect to one server, not through an address that leads to several; after a failover run again").WithRetry()
	}
	return at, err
}

// nothing is a page without rows.
func (p *Pager) nothing(ctx context.Context, delivered binlog.Position) (Page, error) {
	if p.options.Unlogged {
		return Page{Low: delivered, High: delivered}, nil
	}
	at, err := p.end(ctx, delivered)
	return Page{Low: at, High: at}, err
}

// amount is what came of rows: how many, how many of them were kept, and their memory.
type amount struct {
	came, kept int
	bytes      int64
}

// between reads rows between two marks.
func (p *Pager) between(ctx context.Context, t *Table, query string, args []any, delivered binlog.Position) (page Page, got amount, err error) {
	if p.options.Unlogged {
		return p.read(ctx, t, query, args)
	}
	low, err := p.end(ctx, delivered)
	if err != nil {
		return page, got, err
	}
	share := " FOR SHARE"
	if p.session.MariaDB() {
		share = " LOCK IN SHARE MODE"
	}
	if page, got, err = p.read(ctx, t, query+share, args); err != nil {
		return page, got, err
	}
	page.Low = low
	if page.High, err = p.end(ctx, low); err != nil {
		page.Release()
	}
	return page, got, err
}

// read reads the rows of a statement to its end, so that locks and snapshots do not wait for those who use the rows. Rows
// for which a page has no room are read past.
func (p *Pager) read(ctx context.Context, t *Table, query string, args []any) (page Page, got amount, err error) {
	reader, err := p.session.Read(ctx, query, args...)
	if err != nil {
		return page, got, err
	}
	defer reader.Close()
	k, err := t.keyOf(reader.Schema())
	if err != nil {
		return page, got, err
	}
	for {
		record, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			page.Release()
			return page, got, err
		}
		n := int(record.NumRows())
		got.came += n
		if got.bytes >= p.options.Bytes {
			record.Release()
			continue
		}
		size := memoryOf(record)
		if room := p.options.Bytes - got.bytes; size > room {
			// A batch goes by the bytes of the session's environment, and may be more than a page.
			n = max(1, int(int64(n)*room/size))
			part := record.NewSlice(0, int64(n))
			record.Release()
			record = part
		}
		got.kept += n
		got.bytes += size
		page.Records = append(page.Records, record)
	}
	if len(page.Records) == 0 {
		return page, got, nil
	}
	last, err := k.last(page.Records[len(page.Records)-1])
	if err != nil {
		page.Release()
		return page, got, err
	}
	page.Last = &last
	for i, r := range page.Records {
		page.Records[i] = t.bare(r)
	}
	return page, got, nil
}

// memoryOf is how much memory a record takes.
func memoryOf(r arrow.Record) (n int64) {
	for _, c := range r.Columns() {
		for _, b := range c.Data().Buffers() {
			if b != nil {
				n += int64(b.Len())
			}
		}
	}
	return max(n, 1)
}

// bare is the record without the numbers of labels.
func (t *Table) bare(r arrow.Record) arrow.Record {
	n := len(t.Columns)
	if int(r.NumCols()) == n {
		return r
	}
	defer r.Release()
	metadata := r.Schema().Metadata()
	return array.NewRecord(arrow.NewSchema(r.Schema().Fields()[:n], &metadata), r.Columns()[:n], r.NumRows())
}

// key finds the key's columns in a record.
type key struct {
	columns []int
	mapper  *changerow.Mapper
}

func (t *Table) keyOf(schema *arrow.Schema) (*key, error) {
	k := &key{}
	numbers := len(t.Columns)
	var fields []arrow.Field
	var names []string
	members := map[string]string{}
	for i := range t.Key {
		c := &t.Key[i]
		index := -1
		for j, name := range t.Columns {
			if name == c.Name {
				index = j
			}
		}
		if labelled(c) {
			index = numbers
			numbers++
		}
		if index < 0 || index >= schema.NumFields() {
			return nil, fault.New(changerow.CodeColumn, fault.Internal, "the column %q of the key of %s.%s is not among those that are read",
				c.Name, t.Database, t.Name)
		}
		k.columns, fields = append(k.columns, index), append(fields, schema.Field(index))
		names, members[c.Name] = append(names, c.Name), fmt.Sprintf("key_%d", i+1)
	}
	var err error
	k.mapper, err = changerow.NewMapper(changerow.Table{Table: t.Database + "." + t.Name, Type: t.Name, Channel: "entities", Rename: members},
		arrow.NewSchema(fields, nil), names)
	return k, err
}

// last is the id of a record's last row.
func (k *key) last(r arrow.Record) (string, error) {
	end := r.NewSlice(r.NumRows()-1, r.NumRows())
	defer end.Release()
	columns := make([]arrow.Array, len(k.columns))
	fields := make([]arrow.Field, len(k.columns))
	for i, index := range k.columns {
		columns[i], fields[i] = end.Column(index), end.Schema().Field(index)
	}
	alone := array.NewRecord(arrow.NewSchema(fields, nil), columns, 1)
	defer alone.Release()
	var rows changerow.Rows
	if err := k.mapper.MapKeys(&rows, alone); err != nil {
		return "", err
	}
	return string(rows.ID(0)), nil
}
