package mysqlchanges

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/preflight"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// parent is a table, of the stream or not, whose changes have the server change rows of tables of the stream that it does
// not log, at once or through tables between.
type parent struct {
	table // what a table of the stream has that reads it: name and columns
	// deletes are the tables of the stream that a deleted row has changed, and updates those that another value of a column
	// has changed.
	deletes []*table
	updates map[string][]*table
	// watched are the columns of updates; before and after decode them.
	watched       []string
	before, after *row.Decoder
}

// cascades are the foreign keys that the server follows silently, from the tables of the stream upwards.
type cascades struct {
	c *catalogue
	// keys are those of each table that has some, children the tables that refer to each.
	keys     map[[2]string][]preflight.ForeignKey
	children map[[2]string][][2]string
	names    map[[2]string][2]string // as the server writes them
	queue    [][2]string
}

// name is a table's name in the maps.
func (c *catalogue) name(database, name string) [2]string {
	return [2]string{c.folded(database), c.folded(name)}
}

// readCascades finds the parents of the catalogue's tables.
func (c *catalogue) readCascades(ctx context.Context, s *mysql.Session) error {
	logged, err := preflight.LogsCascades(ctx, s)
	if err != nil || logged {
		return err
	}
	g := &cascades{c: c, keys: map[[2]string][]preflight.ForeignKey{}, children: map[[2]string][][2]string{}, names: map[[2]string][2]string{}}
	for _, t := range c.list {
		g.add(t.database, t.name)
	}
	for ; len(g.queue) > 0; g.queue = g.queue[1:] {
		child := g.queue[0]
		names := g.names[child]
		keys, err := preflight.SilentKeys(ctx, s, names[0], names[1])
		if err != nil {
			return err
		}
		for i := range keys {
			if keys[i].Database == "" {
				keys[i].Database = names[0]
			}
			above := c.name(keys[i].Database, keys[i].Parent)
			if !slices.Contains(g.children[above], child) {
				g.children[above] = append(g.children[above], child)
			}
			g.add(keys[i].Database, keys[i].Parent)
		}
		g.keys[child] = keys
	}
	for name := range g.children {
		p := &parent{updates: map[string][]*table{}}
		p.database, p.name = g.names[name][0], g.names[name][1]
		deleted := newWalk(g)
		deleted.remove(name)
		p.deletes = deleted.changed
		for _, column := range g.referenced(name) {
			updated := newWalk(g)
			if updated.update(name, []string{column}); len(updated.changed) > 0 {
				p.updates[column], p.watched = updated.changed, append(p.watched, column)
			}
		}
		if len(p.deletes) == 0 && len(p.watched) == 0 {
			continue
		}
		slices.Sort(p.watched)
		c.parents[name] = p
	}
	return nil
}

func (g *cascades) add(database, table string) {
	name := g.c.name(database, table)
	if _, known := g.names[name]; !known {
		g.names[name] = [2]string{database, table}
		g.queue = append(g.queue, name)
	}
}

// referenced are the columns of a table that foreign keys refer to. Names of columns have no case.
func (g *cascades) referenced(name [2]string) (columns []string) {
	for _, child := range g.children[name] {
		for _, k := range g.keys[child] {
			if g.c.name(k.Database, k.Parent) == name {
				for _, column := range k.Referenced {
					if column = strings.ToLower(column); !slices.Contains(columns, column) {
						columns = append(columns, column)
					}
				}
			}
		}
	}
	return columns
}

// walk follows what one change of a row has changed.
type walk struct {
	g       *cascades
	removed map[[2]string]bool
	updated map[[3]string]bool
	changed []*table
}

func newWalk(g *cascades) *walk {
	return &walk{g: g, removed: map[[2]string]bool{}, updated: map[[3]string]bool{}}
}

// change takes note that rows of a table are changed.
func (w *walk) change(name [2]string) {
	if t := w.g.c.by[name]; t != nil && !slices.Contains(w.changed, t) {
		w.changed = append(w.changed, t)
	}
}

// remove follows rows of a table that are deleted.
func (w *walk) remove(name [2]string) {
	if w.removed[name] {
		return
	}
	w.removed[name] = true
	for _, child := range w.g.children[name] {
		for _, k := range w.g.keys[child] {
			switch {
			case w.g.c.name(k.Database, k.Parent) != name || k.OnDelete == "":
			case k.OnDelete == "CASCADE":
				w.change(child)
				w.remove(child)
			default:
				w.change(child)
				w.update(child, k.Columns)
			}
		}
	}
}

// update follows columns of a table that have other values.
func (w *walk) update(name [2]string, columns []string) {
	for _, column := range columns {
		column = strings.ToLower(column)
		at := [3]string{name[0], name[1], column}
		if w.updated[at] {
			continue
		}
		w.updated[at] = true
		for _, child := range w.g.children[name] {
			for _, k := range w.g.keys[child] {
				if w.g.c.name(k.Database, k.Parent) == name && k.OnUpdate != "" &&
					slices.ContainsFunc(k.Referenced, func(r string) bool { return strings.EqualFold(r, column) }) {
					w.change(child)
					w.update(child, k.Columns)
				}
			}
		}
	}
}

// prepare makes what reads the columns that are watched.
func (p *parent) prepare(ctx context.Context, s *mysql.Session, settings *Settings) error {
	if len(p.watched) == 0 {
		return nil
	}
	if err := preflight.Hold(ctx, s, p.database, p.name, func() error { return p.readColumns(ctx, s) }); err != nil {
		return err
	}
	for i, name := range p.watched {
		for _, c := range p.columns {
			if strings.EqualFold(c.Name, name) {
				p.names = append(p.names, c.Name)
			}
		}
		if len(p.names) != i+1 {
			return unknown(&p.table)
		}
	}
	wanted, err := p.indexes(p.names)
	if err != nil {
		return err
	}
	if p.schema, err = p.readSchema(ctx, s); err != nil {
		return err
	}
	options := settings.decoding(s)
	if p.before, err = row.NewDecoder(p.columns, wanted, p.schema, options); err != nil {
		return err
	}
	p.after, err = row.NewDecoder(p.columns, wanted, p.schema, options)
	return err
}

// tableMap takes what images that come are like.
func (p *parent) tableMap(m row.TableMap) error {
	if p.before == nil {
		return nil
	}
	return firstOf(p.before.Table(m), p.after.Table(m))
}

// changed are the tables of the stream that changes of the parent's rows have changed.
func (p *parent) changed(ev *binlog.Event) (list []*table, err error) {
	switch {
	case ev.Operation == binlog.Delete:
		return p.deletes, nil
	case ev.Operation == binlog.Insert || p.before == nil:
		return nil, nil
	}
	for images := ev.Images; len(images) > 0; {
		left := len(images)
		if images, err = p.before.Row(images, ev.Before); err == nil {
			images, err = p.after.Row(images, ev.After)
		}
		if err != nil {
			return nil, err
		}
		if len(images) >= left {
			return nil, emptyImage(&p.table)
		}
	}
	err = mapRecord(p.before.Record(), func(before arrow.Record) error {
		return mapRecord(p.after.Record(), func(after arrow.Record) error {
			for i, name := range p.watched {
				if !array.Equal(before.Column(i), after.Column(i)) {
					list = append(list, p.updates[name]...)
				}
			}
			return nil
		})
	})
	return list, err
}

// rereading is a table all of whose rows are read again.
type rereading struct {
	table *table
	after *string          // the id behind which it goes on; nil is its beginning
	low   *binlog.Position // the first page's
	begun bool             // the log is behind low, and that all documents come was said
}

// begin says that all documents of the table that is read again come from here on, between transactions and where the log
// reaches the first mark of the first page: not before, because what the log writes until then may have been deleted
// silently when the page was read; and not behind, because the page lacks what the log writes from there on.
func (s *source) begin() {
	if r := s.rereading; r != nil && !r.begun && r.low != nil && s.page != nil && s.reader.Place().Compare(*r.low) >= 0 {
		r.begun = true
		s.builder.Begin(r.table.mapper, changes.OriginCopy)
	}
}

// cascaded takes note that rows of tables were changed by the transaction, and are not in the log.
func (s *source) cascaded(list []*table) {
	for _, t := range list {
		if slices.Contains(s.pending, t) {
			continue
		}
		if r := s.rereading; r != nil && r.table == t && r.low != nil && s.reader.Place().Compare(*r.low) < 0 {
			continue // its first page was read behind the transaction
		}
		s.pending = append(s.pending, t)
	}
}

// reread reads the next page of a table that is read again.
func (s *source) reread(ctx context.Context) error {
	if err := s.paging(ctx); err != nil {
		return err
	}
	if s.rereading == nil {
		s.rereading = &rereading{table: s.pending[0]}
		s.pending = s.pending[1:]
	}
	r := s.rereading
	read, err := s.pager.Page(ctx, r.table.paged(), r.after, s.reader.Place())
	if err != nil {
		return err
	}
	if !r.begun {
		r.low = &read.Low
	}
	if s.page, err = newPage(r.table, &read, changes.OriginCopy); err != nil {
		return err
	}
	s.page.finish = func() {
		if r.after = read.Last; read.Done {
			s.builder.End(r.table.mapper, changes.OriginCopy)
			s.rereading = nil
		}
	}
	return nil
}

// unread are the tables that are to be read again from their beginning by a run that goes on here.
func (s *source) unread() (names []string) {
	if s.rereading != nil {
		names = append(names, s.rereading.table.digest())
	}
	for _, t := range s.pending {
		if name := t.digest(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// cascading is which changes of parents change which tables.
func (c *catalogue) cascading() string {
	var list []string
	for _, p := range c.parents {
		one := p.database + "\x00" + p.name
		for _, t := range p.deletes {
			one += "\x00-" + t.database + "\x00" + t.name
		}
		for _, column := range p.watched {
			for _, t := range p.updates[column] {
				one += "\x00+" + column + "\x00" + t.database + "\x00" + t.name
			}
		}
		list = append(list, one)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}
