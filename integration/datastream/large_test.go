package datastream

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var (
	largeRows = flag.Int("stream-rows", 50_000, "how many rows TestLargeTransaction changes at once. make soak does it with 5,000,000")
	copyRows  = flag.Int("stream-copy", 12_000, "how many patients TestFirstCopy copies while rows change. make soak does it with 1,000,000")
)

// mostMemory is what a process of a stream may have had of memory.
const mostMemory = 256 << 20

// peak is the most memory that a process has had, or 0 where that is not known (proc_pid_status(5)).
func peak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, is := bytes.CutPrefix(line, []byte("VmHWM:")); is {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// TestLargeTransaction: a transaction of many rows comes once and whole, in pieces, and no process grows with it.
func TestLargeTransaction(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...string) *servers.Server{"MySQL": servers.PrivateMySQL, "MariaDB": servers.PrivateMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := start(t, logging[name]...)
			practice(t, source, 0)
			const secret = "geheim"
			to := take(t, secret)
			c := form(t, 1, nil, source.DSN(source.Database()), map[string]any{"url": to.URL, "shared_secret": secret, "certificate": to.certificate,
				"channels": []string{entities, logs}, "records_per_request": 1000, "rate_limit_per_minute": 300})
			c.must(t, http.MethodPost, "/enable", nil)
			source.Exec("INSERT INTO entries (who, message) VALUES ('test', 'first')")
			waiting(t, "the first row", time.Minute, func() bool { return to.entries() == 1 })
			most := map[int]int64{}
			look := func() {
				for _, pid := range c.processes() {
					most[pid] = max(most[pid], peak(pid))
				}
			}
			db := source.Open(source.Database())
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }() // after a commit it does nothing
			began, want := time.Now(), 1
			for want <= *largeRows {
				n := min(100_000, *largeRows+1-want)
				if _, err := tx.Exec("INSERT INTO entries (who, message) SELECT 'large', REPEAT(n, 20) FROM (" + counted(n) + ") x"); err != nil {
					t.Fatal(err)
				}
				want += n
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			wrote := time.Since(began)
			waiting(t, "all rows of a transaction", patience+time.Duration(*largeRows)*time.Millisecond/2, func() bool { look(); return to.entries() >= want })
			source.Exec("INSERT INTO entries (who, message) VALUES ('test', 'last')")
			waiting(t, "the last row", time.Minute, func() bool { return to.entries() > want })
			look()
			if got := to.entries(); got != want+1 {
				t.Errorf("%d documents came, want %d", got, want+1)
			}
			var sizes []string
			for pid, size := range most {
				sizes = append(sizes, fmt.Sprintf("%d MiB", size>>20))
				if size > mostMemory {
					t.Errorf("process %d has had %d MiB", pid, size>>20)
				}
			}
			t.Logf("%d rows in %.1f s, there after %.1f s; processes had %s", *largeRows, wrote.Seconds(), time.Since(began).Seconds(), strings.Join(sizes, ", "))
		})
	}
}

// TestFirstCopy: a copy of many rows, of which some change meanwhile, again and again, joins the log: in the end it is the database.
func TestFirstCopy(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...string) *servers.Server{"MySQL": servers.PrivateMySQL, "MariaDB": servers.PrivateMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Commits need not survive the server here: waiting for a disk would make the load slower than it is meant to be.
			source := start(t, append(slices.Clone(logging[name]), "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0")...)
			w := build(t, source, nil, 1, inGo(t), *copyRows, 1000, 300)
			w.patience = patience + time.Duration(*copyRows)*time.Millisecond
			l := &load{db: w.db, large: 300, pause: 5 * time.Millisecond, steady: 1000}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			wait := l.start(ctx, 2)
			began := time.Now()
			w.must(t, http.MethodPost, "/enable", nil)
			waiting(t, "the copy", w.patience, func() bool {
				return w.to.count()*1000 >= *copyRows && w.to.to.documents() >= *copyRows
			})
			stop()
			wait()
			done, copied := l.report(t), time.Since(began)
			h := w.settle(t)
			for _, fault := range h.faults() {
				t.Error(fault)
			}
			t.Logf("%d patients in %.1f s, settled after %.1f s, %d requests; the load: %s", *copyRows, copied.Seconds(), time.Since(began).Seconds(), len(h.Exchanges), done)
		})
	}
}
