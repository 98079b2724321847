package service

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// goneWithin is how long a run may go on whose client has gone.
const goneWithin = 3 * time.Second

const (
	endless  = `{"customer_id":"clinic","procedure_name":"endless","mode":"stream"}`
	thinking = `{"customer_id":"clinic","procedure_name":"thinking"}`
)

// endless begins a stream that has no end, and returns when its first rows are there.
func (d *deployment) endless(t *testing.T, client *http.Client, key string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL+path, strings.NewReader(endless))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatalf("%s: %d bytes: %v", answer.Status, n, err)
	}
	return answer
}

// endsSoon holds that the database does nothing for the service any more, and that no process but its own is left, soon after a
// client has gone. Its settings keep no plugin process warm.
func (d *deployment) endsSoon(t *testing.T, db *dbtest.Server, what string) {
	t.Helper()
	from := time.Now()
	eventually(t, what+": the end of the query", func() bool { return connections(db, db.Database()) == 0 })
	query := time.Since(from)
	if query > goneWithin {
		t.Errorf("%s: the query went on for %v", what, query)
	}
	eventually(t, what+": the end of the plugin's process", func() bool { return len(d.processes()) == 1 })
	if process := time.Since(from); process > goneWithin {
		t.Errorf("%s: a process went on for %v", what, process)
	}
}

// TestGoneClients: a client that goes away ends its run, and the query on the server, whatever it waited for.
func TestGoneClients(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	practice(db)
	d := deploy(t, "  limits: {warm: 0}\n", tenant{id: "clinic", dsn: db.DSN(db.Database())})
	key, _ := d.key(t, "clinic")
	old, newer := nginxServer(t, d.address())
	busy := func() bool { return connections(db, db.Database()) > 0 && len(d.processes()) > 1 }

	// connect asks over a connection and returns it when the run goes on.
	connect := func(version, body string) *net.TCPConn {
		t.Helper()
		c, err := net.Dial("tcp", d.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "POST %s HTTP/%s\r\nHost: service\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", path, version, key, len(body), body); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the query", busy)
		return c.(*net.TCPConn)
	}
	for _, reset := range []bool{false, true} {
		leave := func(c *net.TCPConn) {
			if reset {
				_ = c.SetLinger(0)
			}
			c.Close()
		}
		what := map[bool]string{false: "closed", true: "reset"}[reset]

		c := connect("1.1", endless)
		if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
			t.Fatal(err)
		}
		leave(c)
		d.endsSoon(t, db, "a stream, "+what)

		c = connect("1.1", endless) // it takes nothing, so that the run waits for it
		leave(c)
		d.endsSoon(t, db, "a stream that nobody read, "+what)

		c = connect("1.1", strings.Replace(thinking, "{", `{"encrypted":true,"compression":"zip",`, 1))
		leave(c)
		d.endsSoon(t, db, "auto, before the first row, "+what)

		c = connect("1.0", strings.Replace(thinking, "{", `{"mode":"stream",`, 1))
		leave(c)
		d.endsSoon(t, db, "HTTP/1.0, "+what)
	}

	answer := d.endless(t, plainly, key)
	answer.Body.Close()
	d.endsSoon(t, db, "a client in Go")
	if o := d.outcome(t, plainly, key, answer.Header.Get("X-Request-Id")); o.Status != "cancelled" || o.Code != "CLIENT_GONE" {
		t.Errorf("what became of it: %+v", o)
	}
	answer = (&deployment{URL: "http://nginx"}).endless(t, newer, key)
	answer.Body.Close()
	d.endsSoon(t, db, "nginx with HTTP/1.1 to the service")

	// nginx keeps an answer back that is not whole; its client goes before the header comes.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://nginx"+path, strings.NewReader(thinking))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	impatient := *old
	impatient.Timeout = 2 * time.Second
	if answer, err := impatient.Do(r); err == nil {
		answer.Body.Close()
		t.Fatalf("it answered: %s", answer.Status)
	}
	d.endsSoon(t, db, "nginx by default")

	// So does the end of its process.
	cmd := needs(t, "curl")
	process, err := os.StartProcess(cmd, []string{cmd, "-sS", "-N", "-o", "/dev/null", "-H", "Authorization: Bearer " + key, "-d", endless,
		"-H", "Content-Type: application/json", d.URL + path}, &os.ProcAttr{Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the query", busy)
	_ = process.Signal(syscall.SIGKILL)
	_, _ = process.Wait()
	d.endsSoon(t, db, "curl, killed")
}
