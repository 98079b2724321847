package mysqlchanges

import (
	"context"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/snapshot"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// page is rows of a table that were read at some moment between two places in the log; see package snapshot. It is
// delivered when the log has been up to the second place, without the documents that it changed since the first.
type page struct {
	low, high binlog.Position
	table     *table
	origin    string
	rows      []*changerow.Rows
	order     []string       // ids, as they are to come
	at        map[string]int // what is known of an id: the number of its row, or one of those below
	next      int            // in order
	begun     bool           // a part was delivered
	// finish takes note that the page is delivered.
	finish func()
}

// What page.at holds beside numbers of rows.
const (
	dropped = -1 // the log knows better
	missing = -2 // there is no such row
)

// newPage makes one of rows that were read, and lets go of them.
func newPage(t *table, read *snapshot.Page, origin string) (*page, error) {
	defer read.Release()
	p := &page{low: read.Low, high: read.High, table: t, origin: origin, at: map[string]int{}}
	for _, record := range read.Records {
		rows := &changerow.Rows{}
		if err := t.mapper.Map(rows, record); err != nil {
			return nil, err
		}
		for i := range rows.Len() {
			id := string(rows.ID(i))
			p.at[id] = len(p.rows)<<32 | i
			p.order = append(p.order, id)
		}
		p.rows = append(p.rows, rows)
	}
	return p, nil
}

// drop leaves a document to the log.
func (p *page) drop(t *table, id []byte) {
	if p.table == t {
		if _, is := p.at[string(id)]; is {
			p.at[string(id)] = dropped
		}
	}
}

// dropAll leaves all documents of a table to the log.
func (p *page) dropAll(t *table) {
	if p.table == t {
		for id := range p.at {
			p.at[id] = dropped
		}
	}
}

// deliver gives the documents of the page, in several batches where they are many. Only the last has a position: a run
// that begins anew reads the whole page again.
func (s *source) deliver() (arrow.Record, error) {
	p := s.page
	if p.begun = true; p.next == 0 {
		s.begin()
	}
	var unknown time.Time
	for ; p.next < len(p.order); p.next++ {
		if s.full() {
			s.position = ""
			return s.builder.Record(), nil
		}
		switch place := p.at[p.order[p.next]]; place {
		case dropped:
		case missing:
			s.builder.Delete(p.table.mapper, []byte(p.order[p.next]), p.origin, unknown)
		default:
			s.builder.Write(p.rows[place>>32], place&0xffffffff, p.origin, unknown)
		}
	}
	s.page = nil
	p.finish()
	return s.batch()
}

// copier is what is left of a first copy.
type copier struct {
	tables []*table // the one that is being copied, and those that follow
	after  *string  // the id behind which the first one goes on; nil is its beginning
}

// turn reads the next page of the copy.
func (s *source) turn(ctx context.Context) error {
	t := s.copier.tables[0]
	if err := s.paging(ctx); err != nil {
		return err
	}
	read, err := s.pager.Page(ctx, t.paged(), s.copier.after, s.reader.Place())
	if err != nil {
		return err
	}
	if s.page, err = newPage(t, &read, changes.OriginCopy); err != nil {
		return err
	}
	s.page.finish = func() {
		s.copier.after = read.Last
		if read.Done {
			s.copies = append(s.copies, t.entry())
			s.copier = &copier{tables: s.copier.tables[1:]}
		}
	}
	return nil
}

// ask reads the next documents that are asked for again.
func (s *source) ask(ctx context.Context) error {
	if err := s.paging(ctx); err != nil {
		return err
	}
	kind := s.again.Documents[0].Type
	var ids []string
	for _, d := range s.again.Documents {
		if d.Type != kind {
			break
		}
		ids = append(ids, d.ID)
	}
	t := s.tables.ofType(kind)
	read, taken, err := s.pager.Again(ctx, t.paged(), ids, s.reader.Place())
	if err != nil {
		return err
	}
	p, err := newPage(t, &read, changes.OriginAgain)
	if err != nil {
		return err
	}
	p.order = ids[:taken]
	for _, id := range p.order {
		if _, is := p.at[id]; !is {
			p.at[id] = missing
		}
	}
	p.finish = func() { s.again.Documents = s.again.Documents[taken:] }
	s.page = p
	return nil
}

// paging makes what reads pages, unless it is there.
func (s *source) paging(ctx context.Context) (err error) {
	if err := s.connect(ctx); err != nil || s.pager != nil {
		return err
	}
	s.pager, err = snapshot.NewPager(ctx, s.control, snapshot.Options{Rows: int(s.settings.PageRows)})
	return err
}

// paged is the table as pages are read of it.
func (t *table) paged() *snapshot.Table {
	key := make([]row.Column, len(t.key))
	for i, name := range t.key {
		for _, c := range t.columns {
			if c.Name == name {
				key[i] = c
			}
		}
	}
	return &snapshot.Table{Database: t.database, Name: t.name, Columns: t.names, Key: key}
}
