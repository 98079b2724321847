package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
)

// TestCut: ranges are in order, without gap, and about as large as they are to be, whatever the numbers are like.
func TestCut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for name, keys := range map[string][]uint64{
		"dense":   make([]uint64, 5000),
		"random":  make([]uint64, 5000),
		"skewed":  make([]uint64, 5000),
		"extreme": {0, 1, math.MaxUint64 - 1, math.MaxUint64},
		"one":     {7},
	} {
		for i := range keys {
			switch name {
			case "dense":
				keys[i] = uint64(i)
			case "random":
				keys[i] = random.Uint64()
			case "skewed":
				keys[i] = uint64(i)
				if i == len(keys)-1 {
					keys[i] = math.MaxUint64
				}
			}
		}
		slices.Sort(keys)
		rows := func(low, high uint64) (n int64, err error) {
			if low > high {
				t.Fatalf("%s: %d to %d", name, low, high)
			}
			for _, k := range keys {
				if low <= k && k <= high {
					n++
				}
			}
			return n, nil
		}
		const most = 300
		bounds, err := cut(keys[0], keys[len(keys)-1], int64(len(keys)), most, rows)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) != len(bounds) {
			t.Errorf("%s: bounds are %d", name, bounds)
		}
		if most := 2*len(keys)/most + 1; len(bounds) > most {
			t.Errorf("%s: %d bounds, want at most %d", name, len(bounds), most)
		}
		low := uint64(0)
		for _, bound := range append(bounds, math.MaxUint64) {
			if n, _ := rows(low, bound-1); n > most {
				t.Errorf("%s: %d rows before %d", name, n, bound)
			}
			low = bound
		}
	}
	// Statistics that never tell of few rows end, too.
	bounds, err := cut(0, math.MaxUint64, math.MaxInt64, 1, func(uint64, uint64) (int64, error) { return math.MaxInt64, nil })
	if err != nil || len(bounds) > 8*mostParts {
		t.Errorf("%d bounds, %v", len(bounds), err)
	}
	wrong := errors.New("wrong")
	if _, err := cut(0, 100, 100, 1, func(uint64, uint64) (int64, error) { return 0, wrong }); err != wrong {
		t.Errorf("the error is %v", err)
	}
}

// TestNumbersOf: the numbers of a key keep their order as numbers from 0, and come back as they were.
func TestNumbersOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		least, greatest string
		middle          string
		fails           bool
	}{
		{"0", "18446744073709551615", "9223372036854775807", false},
		{"-9223372036854775808", "9223372036854775807", "-1", false},
		{"-10", "-4", "-7", false},
		{"5", "5", "5", false},
		{"5", "4", "", true},
		{"-5", "18446744073709551615", "", true},
		{"1.5", "2", "", true},
		{"1", "x", "", true},
	} {
		k, err := numbersOf(c.least, c.greatest)
		if (err != nil) != c.fails {
			t.Errorf("%s to %s: %v", c.least, c.greatest, err)
		}
		if err != nil {
			continue
		}
		if low, high, middle := k.text(k.low), k.text(k.high), k.text(k.low+(k.high-k.low)/2); low != c.least || high != c.greatest || middle != c.middle {
			t.Errorf("%s to %s: got %s to %s by %s, want %s", c.least, c.greatest, low, high, middle, c.middle)
		}
	}
}

// TestPartitionSettings: what contradicts itself is refused before anything is asked of a server.
func TestPartitionSettings(t *testing.T) {
	t.Parallel()
	const url = "mysql://u:p@127.0.0.1:1/d"
	request := settings{"table_name": "t", "allowed_tables": "*"}
	args := []any{"2026-01-01", "2026-02-01"}
	for _, c := range []struct {
		with settings
		says string // empty where nothing is wrong
	}{
		{settings{"request": request, "partitions": 4}, ""},
		{settings{"call": "p", "args": args, "partitions": 4, "partition_days": settings{"from": 1, "to": 2, "tables": "t"}}, ""},
		{settings{"call": "p", "args": args, "partition_days": settings{"from": 1, "to": 2, "tables": "t"}}, ""},
		{settings{"request": request, "partitions": 0}, "partitions"},
		{settings{"request": request, "partitions": 33}, "partitions"},
		{settings{"request": request, "partitions": 2, "partition_buffer": "1KiB"}, "partition_buffer"},
		{settings{"query": "SELECT 1", "partitions": 2}, "partitions needs a table or a call"},
		{settings{"call": "p", "args": args, "partitions": 2}, "partitions needs partition_days"},
		{settings{"request": request, "partitions": 2, "read_only": false}, "partitions needs read_only"},
		{settings{"request": request, "partition_days": settings{"from": 1, "to": 2, "tables": "t"}}, "partition_days is about the arguments of a call"},
		{settings{"call": "p", "args": args, "partition_days": settings{"from": 1, "to": 3, "tables": "t"}}, "the arguments 1 and 3, and there are 2"},
		{settings{"call": "p", "args": args, "partition_days": settings{"from": 1, "to": 1, "tables": "t"}}, "the arguments 1 and 1"},
		{settings{"call": "p", "args": args, "partition_days": settings{"from": 1, "to": 2, "tables": " ,"}}, "names no tables"},
	} {
		c.with["url"] = url
		_, err := sourceOf(c.with)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v: %v, want %q", c.with, err, c.says)
		}
	}
}

// rowsPerSecond is how fast a session of a paced server delivers rows.
const rowsPerSecond = 50_000

var (
	estimated = regexp.MustCompile("BETWEEN ([0-9]+) AND ([0-9]+)")
	lowest    = regexp.MustCompile("`id` >= ([0-9]+)")
	beyond    = regexp.MustCompile("`id` < ([0-9]+)")
)

// paced is a server of pacedServer.
type paced struct {
	*fakeServer
	// cluster says that it is a node of a Galera cluster, elsewhere that transactions go to another server, and simple that it
	// knows no consistent snapshot.
	cluster, elsewhere, simple bool
}

// pacedServer is a server with a table of so many rows, every session of which delivers so many in a second; 0 is as fast as
// it can.
func pacedServer(tb testing.TB, rows, perSecond int) *paced {
	text := func(values ...string) (p []byte) {
		for _, v := range values {
			p = append(appendLengthEncoded(p, uint64(len(v))), v...)
		}
		return p
	}
	column := func(name string, typ byte, charset uint16) []byte {
		p := append([]byte{0, 0, 0, 0}, text(name)...)
		p = append(p, 0, 12)
		p = binary.LittleEndian.AppendUint16(p, charset)
		p = binary.LittleEndian.AppendUint32(p, 400)
		return append(p, typ, 0, 0, 0, 0, 0)
	}
	number := func(of *regexp.Regexp, sql string, group, otherwise int) int {
		if m := of.FindStringSubmatch(sql); m != nil {
			n, _ := strconv.Atoi(m[group])
			return n
		}
		return otherwise
	}
	s := &paced{}
	s.fakeServer = newFakeServer(tb, nil, pluginNative, func(c *fakeConn) {
		began := false // a transaction
		answer := func(rows ...[]string) bool {
			c.send([]byte{byte(len(rows[0]))})
			for range rows[0] {
				c.send(column("c", typeVarString, 45))
			}
			c.send(fakeEOF)
			for _, row := range rows {
				c.send(text(row...))
			}
			return c.send(fakeEOF)
		}
		c.serve(func(c *fakeConn, sql string) bool {
			switch {
			case strings.HasPrefix(sql, "SELECT CAST(DATABASE()"):
				return answer([]string{"d", "0"})
			case strings.Contains(sql, "table_type IN"):
				return answer([]string{"d", "t"})
			case strings.Contains(sql, "information_schema.columns"):
				return answer([]string{"d", "t", "id", "bigint", ""}, []string{"d", "t", "v", "varchar", ""})
			case strings.Contains(sql, "information_schema.tables"):
				return answer([]string{"d", "t", "InnoDB", strconv.Itoa(rows), "100"})
			case strings.Contains(sql, "information_schema.statistics"):
				return answer([]string{"d", "t", "PRIMARY", "1", "id"})
			case strings.HasPrefix(sql, "SELECT MIN("):
				return answer([]string{"1", strconv.Itoa(rows)})
			case strings.HasPrefix(sql, "EXPLAIN"):
				n := number(estimated, sql, 2, 0) - number(estimated, sql, 1, 0) + 1
				return answer([]string{"1", "SIMPLE", "t", "", "range", "PRIMARY", "PRIMARY", "8", "", strconv.Itoa(n), "100.00", ""})
			case strings.HasPrefix(sql, "SHOW SESSION VARIABLES LIKE 'wsrep_on'") && s.cluster:
				return answer([]string{"wsrep_on", "ON"})
			case strings.HasPrefix(sql, "SELECT @@hostname") && s.elsewhere && began:
				return answer([]string{"other", "1", "1"})
			case strings.HasPrefix(sql, "START TRANSACTION WITH") && s.simple:
				return c.send(append([]byte{headerError, 0x28, 0x04}, "#42000no such syntax"...))
			case strings.HasPrefix(sql, "START TRANSACTION"):
				began = true
				return false
			case !strings.HasPrefix(sql, "SELECT `id`"):
				return false
			}
			low, high := number(lowest, sql, 1, 1), number(beyond, sql, 1, rows+1)
			c.send([]byte{2})
			c.send(column("id", typeLongLong, charsetBinary))
			c.send(column("v", typeVarString, 45))
			c.send(fakeEOF)
			const step = 250
			start := time.Now()
			var packets []byte
			for id := low; id < high; id++ {
				row := text(strconv.Itoa(id), "recall, six months; check the lower left, and once more what is said of the upper right")
				packets = append(packets, byte(len(row)), 0, 0, c.seq)
				packets = append(packets, row...)
				c.seq++
				if n := id - low + 1; n%step == 0 || id == high-1 {
					if perSecond > 0 {
						time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(perSecond))))
					}
					if _, err := c.Write(packets); err != nil {
						return true
					}
					packets = packets[:0]
				}
			}
			return c.send(fakeEOF)
		})
	})
	return s
}

// TestNoOneServer: where other nodes write past a lock, or there are no consistent snapshots, one connection reads; where a proxy sends the transactions to another
// server than the lock, the run fails, and may be tried again.
func TestNoOneServer(t *testing.T) {
	const rows = 20_000
	for because, is := range map[string]func(*paced){
		"Galera":                 func(s *paced) { s.cluster = true },
		"no consistent snapshot": func(s *paced) { s.simple = true },
	} {
		s := pacedServer(t, rows, 0)
		is(s)
		p, err := newProbe(t, s.table(3))
		if err == nil {
			_, err = p.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		readInOrder(t, p, rows, func() {})
		if fact := p.facts["partitions"]; !strings.HasPrefix(fact, "1 connection: ") || !strings.Contains(fact, because) {
			t.Errorf("the receipt says %q, want %q", fact, because)
		}
	}

	s := pacedServer(t, rows, 0)
	s.elsewhere = true
	p, err := newProbe(t, s.table(3))
	if err == nil {
		_, err = p.Open(t.Context())
	}
	if f := wantFault(t, err, codeConnect); !f.Retryable {
		t.Errorf("the fault is %+v", f)
	}
}

// BenchmarkPartitions reads from a server whose sessions each deliver at one speed, which is what a server's thread that is bound
// by its CPU does. speedup is by how much faster k connections are than the speed of one session; of-k is its part of k.
func BenchmarkPartitions(b *testing.B) {
	const rows = 200_000
	for _, k := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("k=%d", k), func(b *testing.B) {
			with := pacedServer(b, rows, rowsPerSecond).table(k)
			for b.Loop() {
				s, err := sourceOf(with)
				if err == nil {
					_, err = s.Open(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
				readInOrder(b, s, rows, func() {})
				s.Close()
			}
			speedup := float64(b.N) * rows / b.Elapsed().Seconds() / rowsPerSecond
			b.ReportMetric(speedup, "speedup")
			b.ReportMetric(speedup/float64(k), "of-k")
		})
	}
}

// table are settings that read the table of a paced server by so many connections.
func (s *paced) table(connections int) settings {
	return settings{"url": strings.Replace(s.url(false, "tls=disabled"), "/?", "/d?", 1), "protocol": "text", "partitions": connections,
		"request": settings{"table_name": "t", "allowed_tables": "*", "columns": "id,v"}}
}

// readInOrder reads ids from 1 on, and calls between before every batch.
func readInOrder(tb testing.TB, s sdk.Source, rows int, between func()) {
	tb.Helper()
	next := 1
	for {
		between()
		record, err := s.Next(tb.Context())
		if err == io.EOF && next == rows+1 {
			return
		}
		if err != nil {
			tb.Fatalf("at row %d: %v", next, err)
		}
		for i := range int(record.NumRows()) {
			if got := record.Column(0).ValueStr(i); got != strconv.Itoa(next) {
				tb.Fatalf("row %d is %s", next, got)
			}
			next++
		}
		record.Release()
	}
}

// TestReadAhead: what is read ahead of its turn is no more than is set, a batch of each connection, and one more of the part
// whose turn it is, however slow the rows are taken; and the rows still come, in order, when all of that is full.
func TestReadAhead(t *testing.T) {
	const rows, connections = 60_000, 4
	with := pacedServer(t, rows, 0).table(connections)
	with["partition_buffer"] = "1MiB"
	p, err := newProbe(t, with)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Source.(*source)
	s.env.BatchRows = 500
	if _, err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ahead := s.parallel
	within := func() {
		largest := int64(0)
		for _, kept := range ahead.kept {
			for _, record := range kept.records {
				largest = max(largest, recordBytes(record))
			}
		}
		if most := ahead.most + (connections+1)*largest; ahead.bytes > most {
			t.Fatalf("%d bytes are kept, want at most %d", ahead.bytes, most)
		}
	}
	readInOrder(t, p, rows, func() {
		ahead.mu.Lock()
		defer ahead.mu.Unlock()
		// Until the last part is taken, sessions fill what there is as long as nobody takes from it.
		for ahead.bytes < ahead.most && ahead.taken < len(ahead.parts) && ahead.err == nil {
			ahead.changed.Wait()
		}
		within()
	})
}
