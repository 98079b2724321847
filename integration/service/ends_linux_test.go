package service

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/disk"
)

var kills = flag.Int("kills", 20, "how often TestServiceEnds ends a service while streams are open. make soak does it ten times as often")

// attempt asks for rows of a service that may end meanwhile. The error is that of the connection.
func (d *deployment) attempt(key, body string) (*reply, error) {
	r, err := http.NewRequest(http.MethodPost, d.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := plainly.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	a := &reply{Response: answer}
	a.body, a.broken = io.ReadAll(io.LimitReader(answer.Body, 256<<20))
	return a, nil
}

// TestServiceEnds ends a service, by SIGKILL and by SIGTERM, at random moments while streams are open: nothing looks whole that
// is not, no query and no process goes on, what became of a stream can be asked of the next one, and no file is left.
func TestServiceEnds(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	practice(db)
	d := deploy(t, "  limits: {warm: 1, spool: {memory: 0}}\n", tenant{id: "clinic", dsn: db.DSN(db.Database())})
	key, _ := d.key(t, "clinic")
	const rows = 1 << 16
	for round := range *kills {
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2]
		var wait sync.WaitGroup
		requests := map[string]string{
			"a stream that ends":   `{"customer_id":"clinic","table_name":"numbers","mode":"stream"}`,
			"a spool that ends":    `{"customer_id":"clinic","table_name":"numbers"}`,
			"CSV that ends":        `{"customer_id":"clinic","table_name":"numbers","mode":"stream","output_format":"csv"}`,
			"auto without an end":  thinking,
			"a sealed one without": strings.Replace(endless, "{", `{"encrypted":true,"compression":"gzip",`, 1),
			"a document without":   strings.Replace(endless, "{", `{"output_format":"json",`, 1),
			"an archive without":   strings.Replace(endless, "{", `{"compression":"zip",`, 1),
			"rows of it":           endless,
		}
		var mu sync.Mutex
		ids := map[string]string{} // of those that have no end
		for name, body := range requests {
			wait.Go(func() {
				a, err := d.attempt(key, body)
				if err != nil || a.StatusCode != http.StatusOK || a.broken != nil {
					if err == nil && a.StatusCode == http.StatusOK && strings.Contains(name, "without") {
						mu.Lock()
						ids[name] = a.Header.Get("X-Request-Id")
						mu.Unlock()
					}
					return // it knows
				}
				want := map[string]int{"a stream that ends": rows, "a spool that ends": rows, "CSV that ends": rows + 1}[name]
				if got := bytes.Count(a.body, []byte("\n")); got != want {
					t.Errorf("round %d, %v: %s looks whole, with %d bytes and %d of %d lines", round, signal, name, len(a.body), got, want)
				}
			})
		}
		answer := d.endless(t, plainly, key)
		<-time.After(time.Duration(rand.IntN(200)) * time.Millisecond) // a moment is what the test is about
		if code := d.stop(t, signal); signal == syscall.SIGTERM && code != 0 {
			t.Errorf("round %d: exit code %d", round, code)
		}
		if n, err := io.Copy(io.Discard, answer.Body); err == nil {
			t.Errorf("round %d, %v: a stream without an end looks whole after %d more bytes", round, signal, n)
		}
		answer.Body.Close()
		wait.Wait()
		eventually(t, fmt.Sprintf("round %d, %v: the end of all queries", round, signal), func() bool { return connections(db, db.Database()) == 0 })
		eventually(t, fmt.Sprintf("round %d, %v: the end of all processes", round, signal), func() bool { return len(d.processes()) == 0 })
		d.start(t)
		ids["the one without an end"] = answer.Header.Get("X-Request-Id")
		want := outcome{Status: "cancelled", Code: "SHUTTING_DOWN"}
		if signal == syscall.SIGKILL {
			want = outcome{Status: "failed", Code: "SERVICE_RESTARTED"}
		}
		for name, id := range ids {
			if o := d.outcome(t, plainly, key, id); o.Status != want.Status || o.Code != want.Code {
				t.Errorf("round %d, %v, %s: %+v, want %+v", round, signal, name, o, want)
			}
		}
		if t.Failed() {
			return
		}
	}
	// What a service that was killed has left is cleared by a run that has the time for it, which those of the last round may
	// not have had.
	if a, err := d.attempt(key, `{"customer_id":"clinic","table_name":"numbers","mode":"stream"}`); err != nil || a.StatusCode != http.StatusOK || a.broken != nil {
		t.Errorf("behind all of it: %v %v", err, a)
	}
}

// TestSpoolWithoutRoom: an answer for which the disk has no room is refused before its first byte, and others are not.
func TestSpoolWithoutRoom(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	disk.Small(t, small, "size=2m")
	db := dbtest.MariaDB(t)
	practice(db)
	d := deploy(t, "  limits: {spool: {directory: "+small+", memory: 128KiB}}\n", tenant{id: "clinic", dsn: db.DSN(db.Database())})
	key, _ := d.key(t, "clinic")
	for range 3 {
		a := d.ask(t, key, "custom_table", `{"customer_id":"clinic","table_name":"numbers"}`)
		if a.StatusCode != http.StatusServiceUnavailable || a.code() != "SPOOL_FULL" {
			t.Errorf("auto: %s %.300s", a.Status, a.body)
		}
		if o := d.outcome(t, plainly, key, a.Header.Get("X-Request-Id")); o.Status != "failed" || o.Code != "SPOOL_FULL" {
			t.Errorf("auto: %+v", o)
		}
		old := raw(d.address(), "1.0")(t, key, `{"customer_id":"clinic","table_name":"numbers","mode":"stream"}`)
		if old.Status != http.StatusServiceUnavailable {
			t.Errorf("HTTP/1.0: %+v", old)
		}
		if a := d.ask(t, key, "custom_table", `{"customer_id":"clinic","table_name":"numbers","mode":"stream"}`); a.broken != nil || bytes.Count(a.body, []byte("\n")) != 1<<16 {
			t.Errorf("a stream: %s, %d bytes, %v", a.Status, len(a.body), a.broken)
		}
		if a := d.ask(t, key, "custom_table", `{"customer_id":"clinic","table_name":"few"}`); a.StatusCode != http.StatusOK || bytes.Count(a.body, []byte("\n")) != 1000 {
			t.Errorf("a small answer: %s, %d bytes", a.Status, len(a.body))
		}
		var room syscall.Statfs_t
		eventually(t, "room on the disk", func() bool { return syscall.Statfs(small, &room) == nil && room.Bfree == room.Blocks })
	}
}
