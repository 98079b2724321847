package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// resident is the memory of a process, in bytes; 0 when it has ended.
func resident(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// TestSoakSlowReader: while nobody reads standard output, the server waits too. What is under way stays small, and
// all of it arrives. The server would cut a connection that takes nothing for a second; our session asks it for patience.
// The long form pauses for longer than the minute that servers usually give.
func TestSoakSlowReader(t *testing.T) {
	const (
		rows = 1_000_000
		step = 1 << 20 // what is read between two pauses, in bytes
		// most is what may be under way between the server and the reader, and grows what the memory
		// of all processes may grow from one pause to the next, in bytes.
		most, grows = 64 << 20, 24 << 20
	)
	long, short := 1200*time.Millisecond, 200*time.Millisecond
	if *soak >= time.Minute {
		long = *soak / 2
	}
	db := dbtest.MariaDB(t)
	db.Exec("SET GLOBAL net_write_timeout = 1")
	defer db.Exec("SET GLOBAL net_write_timeout = DEFAULT")
	p := newProxy(t, db.Port())
	w := newWorkspace(t, p.through(db.DSN(db.Database())))
	source := settings{"query": fmt.Sprintf("SELECT seq, REPEAT('x', 100) AS filler FROM seq_1_to_%d", rows)}
	pipeline := w.pipeline(source, "ndjson")
	want := sha256.New()
	lines := bufio.NewWriterSize(want, 1<<20)
	filler := strings.Repeat("x", 100)
	for n := 1; n <= rows; n++ {
		fmt.Fprintf(lines, `{"seq":%d,"filler":"%s"}`+"\n", n, filler)
	}
	lines.Flush()
	for _, isolation := range []string{"group", "stage"} {
		start := p.flowed.Load()
		read, ended := w.piped("run", pipeline, "--isolation", isolation, "--progress", "none")
		got := sha256.New()
		memory := int64(0)
		for n, pause := range []time.Duration{long, short, short} {
			take(t, got, read, step)
			under := p.pausedFor(t, pause) - start - int64(n+1)*step
			before := memory
			memory = 0
			for _, pid := range w.processes() {
				memory += resident(pid)
			}
			t.Logf("isolation %s: %d MiB under way, %d MiB in memory", isolation, under>>20, memory>>20)
			if under > most {
				t.Errorf("isolation %s: %d bytes are under way after %d were read", isolation, under, (n+1)*step)
			}
			if n > 0 && memory > before+grows {
				t.Errorf("isolation %s: the processes use %d bytes, %d before", isolation, memory, before)
			}
		}
		if _, err := io.Copy(got, read); err != nil {
			t.Fatal(err)
		}
		if r := <-ended; r.code != 0 || r.stderr != "" {
			t.Errorf("isolation %s: it ended with %d:\n%s", isolation, r.code, r.stderr)
		}
		if string(got.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("isolation %s: something else arrived", isolation)
		}
	}

	// A server that loses patience all the same fails the run.
	source["net_write_timeout"] = "1s"
	read, ended := w.piped("run", w.pipeline(source, "ndjson"), "--progress", "none")
	got := sha256.New()
	take(t, got, read, step)
	w.idle(db)
	rest, err := io.Copy(got, read)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.code != 1 || !strings.HasPrefix(r.stderr, "error[mysql.connection_lost]: ") {
		t.Errorf("cut by the server after %d bytes, it ended with %d:\n%s", step+rest, r.code, r.stderr)
	}
}

// piped starts cipherstream and returns its standard output, which is closed when the test ends.
func (w *workspace) piped(args ...string) (*os.File, <-chan result) {
	w.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { read.Close() })
	cmd := w.command(args...)
	cmd.Stdout = write
	ended := w.begin(cmd)
	write.Close()
	return read, ended
}

// take reads that many bytes.
func take(t testing.TB, into hash.Hash, from io.Reader, n int64) {
	t.Helper()
	if _, err := io.CopyN(into, from, n); err != nil {
		t.Fatal(err)
	}
}

// pausedFor waits until nothing has come through for so long, and returns how much has.
func (p *proxy) pausedFor(t testing.TB, pause time.Duration) int64 {
	t.Helper()
	flowed := p.flowed.Load()
	deadline := time.NewTimer(3*pause + patience)
	defer deadline.Stop()
	for {
		still := time.NewTimer(pause)
		select {
		case <-still.C:
			if now := p.flowed.Load(); now == flowed {
				return now
			} else {
				flowed = now
			}
		case <-deadline.C:
			t.Fatal("rows go on to flow, and nobody reads them")
		}
	}
}
