package mysqlchanges

import (
	"context"
	"encoding/json"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// page is rows of a table that were read at some moment between two places in the log. Where the log has changed one of
// them between these places, the log's word counts; where it has not, the row is as it was throughout. So the page is
// delivered when the log has been up to the second place, without the rows that it changed since the first.
type page struct {
	low, high binlog.Position
	table     *table
	rows      changerow.Rows
	origin    string
	// at are the rows by their ids; -1 is one that the log knows better.
	at map[string]int
	// missing are ids that were asked for, and of which there is no row.
	order []string

	begun bool // a part was delivered
	next  int  // in order
	// last is the progress of the copy behind the page.
	done func()
}

// drop leaves a row to the log.
func (p *page) drop(t *table, id []byte) {
	if p.table == t {
		if _, is := p.at[string(id)]; is {
			p.at[string(id)] = dropped
		}
	}
}

// dropAll leaves all rows of a table to the log.
func (p *page) dropAll(t *table) {
	if p.table == t {
		for id := range p.at {
			p.at[id] = dropped
		}
	}
}

// What page.at holds beside numbers of rows.
const (
	dropped = -1 // the log knows better
	missing = -2 // there is no such row
)

// newPage makes one of rows that were read.
func newPage(t *table, low, high binlog.Position, record arrow.Record, origin string) (*page, error) {
	p := &page{low: low, high: high, table: t, origin: origin, at: make(map[string]int, record.NumRows())}
	if err := t.mapper.Map(&p.rows, record); err != nil {
		return nil, err
	}
	for i := range p.rows.Len() {
		id := string(p.rows.ID(i))
		p.at[id] = i
		p.order = append(p.order, id)
	}
	return p, nil
}

// deliver gives the rows of the page, in several batches where they are large. Only the last has a position: a run that
// begins anew reads the whole page again.
func (s *source) deliver() (arrow.Record, error) {
	p := s.page
	p.begun = true
	for ; p.next < len(p.order); p.next++ {
		if s.builder.Rows() >= s.env.BatchRows || s.builder.Bytes() >= int64(s.env.BatchBytes) {
			s.position = ""
			return s.builder.Record(), nil
		}
		switch row := p.at[p.order[p.next]]; row {
		case dropped:
		case missing:
			s.builder.Delete(p.table.mapper, []byte(p.order[p.next]), p.origin, noTime)
		default:
			s.builder.Write(&p.rows, row, p.origin, noTime)
		}
	}
	s.page = nil
	if p.done != nil {
		p.done()
	}
	return s.batch()
}

// noTime is when rows of a table were committed.
var noTime time.Time

// copier goes through tables, or through documents that were asked for.
type copier struct {
	asked  bool
	tables []*table
	last   json.RawMessage
}

func newCopier(tables []*table, from *checkpoint) *copier {
	c := &copier{tables: tables}
	if from != nil {
		c.last = from.Copying
	}
	return c
}

func newAsker(tables []*table, again *changes.Again) *copier {
	return &copier{asked: true}
}

func (c *copier) left() bool { return false }

func (c *copier) progress(done []string) ([]string, json.RawMessage) {
	for _, t := range c.tables {
		done = append(done, t.entry())
	}
	return done, nil
}

func (c *copier) release() {}

// turn reads the next page.
func (s *source) turn(ctx context.Context) error { return nil }
