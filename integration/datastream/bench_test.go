package datastream

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var (
	benchChanges = flag.Int("stream-changes", 100_000, "how many changes BenchmarkStream has waiting")
	benchSeconds = flag.Int("stream-seconds", 20, "for how many seconds it writes 1,000 rows a second")
)

// BenchmarkStream compares a stream with the server's own replica, which reads the same log: how fast each is with changes that
// wait, one after the other, and how late each is beside the other while 1,000 rows are written a second. The stream may make
// 300 requests a minute of 1,000 documents, and can be no faster than that in the long run.
func BenchmarkStream(b *testing.B) {
	b.Setenv("CIPHERSTREAM_SERVERS", "process") // so that the replica reaches its source
	source := servers.PrivateMariaDB(b, append(slices.Clone(logging["MariaDB"]), "--sync-binlog=0")...)
	replica := servers.PrivateMariaDB(b, "--server-id=2", "--skip-slave-start")
	practice(b, source, 0)
	name := source.Database()
	reads := replica.Open("")
	reads.SetMaxOpenConns(1)
	must := func(db *sql.DB, statements ...string) {
		b.Helper()
		for _, s := range statements {
			if _, err := db.Exec(s); err != nil {
				b.Fatalf("%.200s: %v", s, err)
			}
		}
	}
	must(reads, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4", "USE "+name)
	for statement := range strings.SplitSeq(strings.TrimSpace(tables), ";\n") {
		must(reads, strings.TrimSuffix(statement, ";"))
	}
	writes := source.Open(name)
	var position string
	if err := writes.QueryRow("SELECT @@gtid_binlog_pos").Scan(&position); err != nil {
		b.Fatal(err)
	}
	must(reads, "SET GLOBAL gtid_slave_pos = '"+position+"'", fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %d, MASTER_USER = 'root',"+
		" MASTER_PASSWORD = '%s', MASTER_USE_GTID = slave_pos", source.Port(), source.Password()), "START SLAVE")
	replicated := func() (n int) {
		if err := reads.QueryRow("SELECT COUNT(*) FROM entries").Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}

	const secret = "geheim"
	to := take(b, secret)
	to.came = map[string]time.Time{}
	c := form(b, 1, nil, source.DSN(name), map[string]any{"url": to.URL, "shared_secret": secret, "certificate": to.certificate,
		"channels": []string{entities, logs}, "records_per_request": 1000, "rate_limit_per_minute": 300})
	c.must(b, http.MethodPost, "/enable", nil)
	must(writes, "INSERT INTO entries (who, message) VALUES ('bench', 'first')")
	eventually(b, "the first change on both ways", func() bool { return to.entries() == 1 && replicated() == 1 })

	// Changes that wait.
	c.must(b, http.MethodPost, "/disable", nil)
	must(reads, "STOP SLAVE")
	rows := 1
	for rows < *benchChanges {
		n := min(100, *benchChanges-rows) // of a transaction
		must(writes, "INSERT INTO entries (who, message) VALUES "+strings.TrimSuffix(strings.Repeat("('bench', 'a message of an application, as there are many of them in a day of a practice'),", n), ","))
		rows += n
	}
	began := time.Now()
	must(reads, "START SLAVE")
	eventually(b, "the replica to have all that waits", func() bool { return replicated() == rows })
	theirs := time.Since(began)
	began = time.Now()
	c.must(b, http.MethodPost, "/enable", nil)
	eventually(b, "the stream to have sent all that waits", func() bool { return to.entries() == rows })
	ours := time.Since(began)
	b.ReportMetric(float64(rows-1)/ours.Seconds(), "changes/s")
	b.ReportMetric(float64(rows-1)/theirs.Seconds(), "replica-changes/s")

	// How late they are.
	<-time.After(time.Minute) // so that the requests so far count no more
	sent := len(to.requests)
	seen := map[int]time.Time{} // by the replica
	var base int
	if err := writes.QueryRow("SELECT MAX(entry) FROM entries").Scan(&base); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var watching sync.WaitGroup
	final := 0
	watching.Go(func() {
		for last := base; ctx.Err() == nil || last < final; {
			var n int
			if err := reads.QueryRow("SELECT COALESCE(MAX(entry), 0) FROM entries").Scan(&n); err != nil {
				b.Error(err)
				return
			}
			at := time.Now()
			for ; last < n; last++ {
				seen[last+1] = at
			}
			<-time.After(500 * time.Microsecond)
		}
	})
	written := map[int]time.Time{}
	began = time.Now()
	for n := range *benchSeconds * 100 { // ten rows of a transaction, 100 times a second
		<-time.After(time.Until(began.Add(time.Duration(n) * 10 * time.Millisecond)))
		result, err := writes.Exec("INSERT INTO entries (who, message) VALUES " + strings.TrimSuffix(strings.Repeat("('bench', 'a message'),", 10), ","))
		if err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		first, err := result.LastInsertId()
		if err != nil {
			b.Fatal(err)
		}
		for i := range 10 {
			written[int(first)+i] = at
		}
		final = int(first) + 9 // looked at when ctx has ended
	}
	wrote := float64(len(written)) / time.Since(began).Seconds()
	rows += len(written)
	eventually(b, "the last rows", func() bool { return to.entries() == rows })
	eventually(b, "the last rows of the replica", func() bool { return replicated() == rows })
	stop()
	watching.Wait()
	var lag, replicaLag []time.Duration
	for n, at := range written {
		lag = append(lag, to.came[fmt.Sprint(n)].Sub(at))
		replicaLag = append(replicaLag, seen[n].Sub(at))
	}
	for name, list := range map[string][]time.Duration{"lag": lag, "replica-lag": replicaLag} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	b.ReportMetric(wrote, "written-rows/s")
	b.ReportMetric(float64(len(to.requests)-sent)/float64(*benchSeconds)*60, "requests/min")
	b.ReportMetric(0, "ns/op") // says nothing here
}
