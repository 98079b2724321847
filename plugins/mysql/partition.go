package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Several connections read one result, when the setting partitions asks for it: the result is cut into parts (of a table, by
// its key; of a procedure, by the days of its range), the connections open their snapshots at one moment (together.go), and
// the parts come one after the other (parallel.go). Where that cannot be, one connection reads, as it does without the
// setting, and the receipt's fact partitions says why.

// part is what one statement gives of the result.
type part struct {
	query string
	args  []any
}

// partsPerConnection is how many parts there are at least for each connection, where there is enough to be cut: the last parts of
// a result are read by fewer connections than there are.
const partsPerConnection = 4

// mostParts is about how many parts there are at most; every one of a table costs a question or two before the first row.
const mostParts = 1024

// divide begins to read with several connections. It gives no schema where one is to read, whose session is as it was.
func (s *source) divide(ctx context.Context) (*arrow.Schema, error) {
	tables, why := s.divisible()
	if why != "" {
		s.undivided(why)
		return nil, nil
	}
	others, err := s.openOthers(ctx)
	if err != nil {
		return nil, err
	}
	why, err = s.together(ctx, others, tables)
	var parts []part
	if err == nil && why == "" {
		parts, err = s.parts()
	}
	if err != nil || why != "" {
		for _, w := range others {
			w.leave()
		}
		if err == nil {
			s.undivided(why)
		}
		return nil, err
	}
	s.state(map[string]string{
		"partitions": fmt.Sprintf("%d connections, %d parts", len(others)+1, len(parts)),
		"snapshot":   "one and the same, opened while the tables were locked READ",
	})
	first := s.another()
	first.session, first.release, s.session, s.release = s.session, s.release, nil, nil
	s.parallel = newParallel(ctx, parts, int64(s.settings.PartitionBuffer), s.flushAfter)
	s.parallel.start(append([]*source{first}, others...))
	schema, err := s.parallel.begun(ctx)
	if err != nil {
		s.parallel.close()
	}
	return schema, err
}

// undivided says that one connection reads.
func (s *source) undivided(why string) {
	s.state(map[string]string{"partitions": "1 connection: " + why})
	s.env.Log.Info("one connection reads, and not as many as partitions asks for", "because", why)
}

// divisible gives the tables that a result comes from, or why it is not to be cut.
func (s *source) divisible() (tables []string, why string) {
	switch days := s.settings.PartitionDays; {
	case s.settings.MaxRows > 0:
		return nil, "it is a preview"
	case s.table != nil && s.table.order == "":
		return nil, s.table.undivided
	case s.table != nil:
		return []string{quoteName(s.table.table)}, ""
	case s.settings.Call == "":
		return nil, "a procedure is asked for"
	case s.wantOut || len(s.outs) > 0:
		return nil, "the procedure has OUT parameters"
	default:
		first, last, ok := s.days()
		if !ok {
			return nil, "the range is not from one day to another, written as YYYY-MM-DD"
		}
		if !first.Before(last) {
			return nil, "the range has no two days"
		}
		for _, name := range parseAllowList(days.Tables) {
			database, table, qualified := strings.Cut(name, ".")
			if tables = append(tables, quoteName(database)); qualified {
				tables[len(tables)-1] += "." + quoteName(table)
			}
		}
		return tables, ""
	}
}

// days is the range of a call.
func (s *source) days() (first, last time.Time, ok bool) {
	of := func(number int) (day time.Time, ok bool) {
		text, _ := s.args[number-1].(string)
		day, err := time.Parse(time.DateOnly, text)
		return day, err == nil
	}
	first, from := of(s.settings.PartitionDays.From)
	last, to := of(s.settings.PartitionDays.To)
	return first, last, from && to
}

// another is a source that executes the parts of this one in a session of its own.
func (s *source) another() *source {
	return &source{
		settings: s.settings, doing: s.doing, env: s.env, target: s.target, pool: s.pool, flushAfter: s.flushAfter,
		stored: s.stored, clocks: s.clocks, wanted: s.wanted, kept: &keptStatement{},
	}
}

// openOthers opens the sessions of the other connections, and announces them. They are to be those of the same server, and
// set up alike.
func (s *source) openOthers(ctx context.Context) (others []*source, err error) {
	opened := make([]*session, s.settings.Partitions-1)
	failures := make([]error, len(opened))
	var wait sync.WaitGroup
	for i := range opened {
		wait.Go(func() { opened[i], failures[i] = s.openAlike(ctx) })
	}
	wait.Wait()
	defer func() {
		if err == nil {
			return
		}
		for _, w := range others {
			w.leave()
		}
		for _, ses := range opened[len(others):] {
			if ses != nil {
				ses.c.conn.Close()
			}
		}
	}()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	for _, ses := range opened {
		w := s.another()
		w.session = ses
		others = append(others, w)
		if err := w.announce(ctx); err != nil {
			return others, err
		}
	}
	return others, nil
}

// openAlike opens one more session on the server of this one.
func (s *source) openAlike(ctx context.Context) (*session, error) {
	ses, err := openSession(ctx, s.target, &s.settings)
	if err != nil {
		return nil, err
	}
	mine := s.session
	if ses.identity != mine.identity || ses.version != mine.version || ses.zoneName != mine.zoneName || ses.mode != mine.mode {
		ses.c.conn.Close()
		return nil, s.anotherServer()
	}
	return ses, nil
}

// anotherServer reports an address that leads to more than one server.
func (s *source) anotherServer() error {
	return fault.New(codeConnect, fault.Connect,
		"a second connection to %s leads to another server, or to a session that is set up otherwise", s.target.address).
		WithHint("let the address lead to one server, or leave partitions out").WithRetry()
}

// parts cuts the result; the snapshot is open.
func (s *source) parts() ([]part, error) {
	if s.table == nil {
		return s.partsOfDays(), nil
	}
	return s.partsOfKey()
}

// partsOfDays cuts the range of a call into as many parts as there are to be, or days.
func (s *source) partsOfDays() (parts []part) {
	first, last, _ := s.days()
	const day = 24 * time.Hour // of UTC
	all := int(last.Sub(first)/day) + 1
	count := min(all, partsPerConnection*s.settings.Partitions)
	for i := range count {
		args := slices.Clone(s.args)
		args[s.settings.PartitionDays.From-1] = first.AddDate(0, 0, all*i/count).Format(time.DateOnly)
		args[s.settings.PartitionDays.To-1] = first.AddDate(0, 0, all*(i+1)/count-1).Format(time.DateOnly)
		parts = append(parts, part{s.query, args})
	}
	return parts
}

// partsOfKey cuts a table by the first column of its primary key. The first part has no lower bound and the last one no upper
// one, and every other bound ends one part and begins the next: whatever the bounds are, every row is in one part, and in
// the order of the key. Where they are is by the statistics of the index, so that a part has about as many rows as fit
// into what may be read ahead.
func (s *source) partsOfKey() ([]part, error) {
	t, n := s.table, int64(s.settings.Partitions)
	key, table := quoteName(t.key), quoteName(t.table)
	ends, err := s.session.run("SELECT MIN(" + key + "), MAX(" + key + ") FROM " + table)
	if err != nil {
		return nil, err
	}
	if len(ends) != 2 {
		return nil, protocolFault("the least and the greatest value of a key are %d values", len(ends))
	}
	if ends[0] == "" { // there are no rows
		return []part{{s.query, s.args}}, nil
	}
	numbers, err := numbersOf(ends[0], ends[1])
	if err != nil {
		return nil, err
	}
	rows := func(low, high uint64) (int64, error) {
		return s.estimate(fmt.Sprintf("SELECT %[1]s FROM %[2]s USE INDEX (PRIMARY) WHERE %[1]s BETWEEN %[3]s AND %[4]s",
			key, table, numbers.text(low), numbers.text(high)))
	}
	all, err := rows(numbers.low, numbers.high)
	if err != nil {
		return nil, err
	}
	fit := int64(s.settings.PartitionBuffer) / (2 * n) / max(1, t.rowBytes)
	most := max(min(fit, all/(partsPerConnection*n)), int64(s.env.BatchRows)/4, all/mostParts, 1)
	bounds, err := cut(numbers.low, numbers.high, all, most, rows)
	if err != nil {
		return nil, err
	}
	head, word := strings.TrimSuffix(s.query, t.order), " WHERE "
	if len(s.args) > 0 {
		word = " AND "
	}
	parts := make([]part, len(bounds)+1)
	for i := range parts {
		query, args, word := head, slices.Clone(s.args), word
		if i > 0 {
			query, args, word = query+word+key+" >= ?", append(args, numbers.argument(bounds[i-1])), " AND "
		}
		if i < len(bounds) {
			query, args = query+word+key+" < ?", append(args, numbers.argument(bounds[i]))
		}
		parts[i] = part{query + t.order, args}
	}
	return parts, nil
}

// estimate is about how many rows a statement looks at in one table.
func (s *source) estimate(query string) (int64, error) {
	explain, fromEnd := "EXPLAIN FORMAT=TRADITIONAL ", 3 // rows, filtered, Extra
	if s.session.mariaDB {
		explain, fromEnd = "EXPLAIN ", 2
	}
	row, err := s.session.run(explain + query)
	if err != nil {
		return 0, err
	}
	if len(row) < fromEnd {
		return 0, protocolFault("a plan of %d columns", len(row))
	}
	rows, err := strconv.ParseInt(row[len(row)-fromEnd], 10, 64)
	if err != nil { // NULL: a plan that looks at no row
		return 0, nil
	}
	return rows, nil
}

// keyNumbers are the whole numbers from the least to the greatest value of a key, as numbers from 0 in the same order.
type keyNumbers struct {
	low, high uint64
	signed    bool
}

const signBit = 1 << 63

// numbersOf reads the two ends.
func numbersOf(least, greatest string) (keyNumbers, error) {
	k := keyNumbers{signed: strings.HasPrefix(least, "-")}
	var failures [2]error
	for i, end := range []struct {
		text string
		into *uint64
	}{{least, &k.low}, {greatest, &k.high}} {
		if k.signed {
			var n int64
			n, failures[i] = strconv.ParseInt(end.text, 10, 64)
			*end.into = uint64(n) ^ signBit
		} else {
			*end.into, failures[i] = strconv.ParseUint(end.text, 10, 64)
		}
	}
	if errors.Join(failures[:]...) != nil || k.low > k.high {
		return k, protocolFault("the least and the greatest value of a key are no whole numbers, or in no order")
	}
	return k, nil
}

// argument is a number as it is bound.
func (k keyNumbers) argument(n uint64) any {
	if k.signed {
		return int64(n ^ signBit)
	}
	return n
}

func (k keyNumbers) text(n uint64) string { return fmt.Sprint(k.argument(n)) }

// cut halves the numbers from low to high, which have about so many rows, until no half has more than most, and gives the bounds
// between: the first number of every range but the first one. Neighbours that have few rows together stay one range.
func cut(low, high uint64, all, most int64, rows func(low, high uint64) (int64, error)) (bounds []uint64, err error) {
	asked := 0
	last := int64(0) // rows of the last range
	var halve func(low, high uint64, n int64) error
	halve = func(low, high uint64, n int64) error {
		if n <= most || low == high || asked >= 8*mostParts {
			if last > 0 && last+n > most {
				bounds, last = append(bounds, low), 0
			}
			last += n
			return nil
		}
		middle := low + (high-low)/2
		asked += 2
		left, err := rows(low, middle)
		if err != nil {
			return err
		}
		right, err := rows(middle+1, high)
		if err != nil {
			return err
		}
		if err := halve(low, middle, left); err != nil {
			return err
		}
		return halve(middle+1, high, right)
	}
	err = halve(low, high, all)
	return bounds, err
}
