package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var rounds = flag.Int("rounds", 80, "how often TestKillRounds kills something; a fifth of it on MinIO, a tenth on each other server, and half of it are broken connections. make soak does it 25 times as often")

// databases are the kinds of server that faults happen to.
var databases = []struct {
	name    string
	shared  func(testing.TB) *servers.Server
	private func(testing.TB, ...string) *servers.Server
}{
	{"mysql", servers.MySQL, servers.PrivateMySQL},
	{"mariadb", servers.MariaDB, servers.PrivateMariaDB},
}

// numbers makes a table of that name with 65,536 rows of some 110 bytes.
func numbers(s *servers.Server) {
	s.Exec("CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200));\nINSERT INTO numbers VALUES (1, REPEAT(1, 20));\n" +
		strings.Repeat("SET @n = (SELECT COUNT(*) FROM numbers);\nINSERT INTO numbers SELECT n + @n, REPEAT(n + @n, 20) FROM numbers;\n", 16))
}

const (
	// counted reads the table in an order that it keeps.
	counted = "SELECT n, filler FROM numbers ORDER BY n"
	// crossed is far from its end when a test is done with it.
	crossed = "SELECT a.n, b.n AS m, a.filler FROM numbers a, numbers b"
	// thinking takes that long to find its only row.
	thinking = "SELECT COUNT(*) AS thinking FROM numbers a, numbers b, numbers c WHERE a.filler < b.filler AND b.filler < c.filler"
)

// limited is a pipeline whose run may take so long.
func (w *workspace) limited(source settings, timeout string) string {
	w.Helper()
	with := settings{"url": "${secret.dsn}"}
	for k, v := range source {
		with[k] = v
	}
	text, err := json.Marshal(with) // JSON is YAML
	if err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(w.TempDir(), "limited.yaml")
	if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: e2e, title: End to end}
spec:
  limits: {timeout: `+timeout+`}
  stages:
    source: {use: mysql, with: `+string(text)+`}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// wholeOrFailed holds that a run to the file "rows" either succeeded and left exactly those bytes, or failed with
// one of the faults, said so first, and left nothing. It reports which, and removes the file.
func (w *workspace) wholeOrFailed(r result, where string, want []byte, faults ...string) (whole bool) {
	w.Helper()
	if r.code == 0 {
		if got := readFile(w, w.output("rows")); !bytes.Equal(got, want) {
			w.Errorf("%s: it ended well with %d bytes that are not the %d expected", where, len(got), len(want))
		}
		if err := os.Remove(w.output("rows")); err != nil {
			w.Error(err)
		}
	} else {
		// A server that is as silent to who would kill the query is said first, in a line of its own.
		said := r.stderr
		if strings.HasPrefix(said, "warn[source]: the query could not be killed on the server error=") {
			_, said, _ = strings.Cut(said, "\n")
		}
		known := false
		for _, f := range faults {
			known = known || strings.HasPrefix(said, "error["+f+"]: ")
		}
		if !known || r.code != 1 && r.code != 3 {
			w.Errorf("%s: it ended with %d, want one of %v:\n%s", where, r.code, faults, r.stderr)
		}
	}
	if left := names(w, w.out); len(left) > 0 {
		w.Errorf("%s: it ended with %d and left %v", where, r.code, left)
		for _, name := range left {
			_ = os.RemoveAll(w.output(name))
		}
	}
	return r.code == 0
}

// broken are the faults of a connection that breaks while it is made or used.
var broken = []string{"mysql.connection_lost", "mysql.connect", "mysql.tls"}

// TestConnectionReset breaks the connection at random bytes in either direction, by an end and by a reset, with TLS
// and without; the long form of the tests does it more often.
func TestConnectionReset(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		for _, protocol := range []string{"binary", "text"} {
			t.Run(d.name+" "+protocol, func(t *testing.T) {
				s := d.shared(t)
				numbers(s)
				random := chance(t)
				p := newProxy(t, s.Port())
				dsn := p.through(s.DSN(s.Database()))
				w := newWorkspace(t, dsn)
				pipeline := w.pipeline(settings{"query": counted + " LIMIT 20000", "protocol": protocol}, "csv")
				want := w.must("run", pipeline)
				eventually(t, "the end of the connection", func() bool { return p.passed.Load() > 0 && p.asked.Load() > 0 })
				total, asked := p.passed.Load(), p.asked.Load()
				if total < 1<<20 || bytes.Count(want, []byte("\n")) != 20001 {
					t.Fatalf("%d bytes from the server, %d lines", total, bytes.Count(want, []byte("\n")))
				}
				whole, failed := 0, 0
				for range max(1, *rounds/8) {
					p.restore()
					at := []ending{closed, reset}[random.IntN(2)]
					p.at.Store(int32(at))
					tls := []string{"disabled", "auto"}[random.IntN(2)]
					isolation := isolations[random.IntN(3)]
					where := fmt.Sprintf("tls %s, isolation %s, %s after ", tls, isolation, at)
					switch random.IntN(4) {
					case 0: // while it asks
						n := random.Int64N(asked + 1)
						p.asks.Store(n)
						where += fmt.Sprintf("%d of %d bytes to the server", n, asked)
					case 1: // handshake, TLS, authentication, session, columns
						n := random.Int64N(4096)
						p.limit.Store(n)
						where += fmt.Sprintf("%d of %d bytes", n, total)
					default: // TLS and its keys make the number of bytes vary
						n := random.Int64N(total + total/50)
						p.limit.Store(n)
						where += fmt.Sprintf("%d of %d bytes", n, total)
					}
					w.dsn = dsn + "?tls=" + tls
					if w.wholeOrFailed(w.run("run", pipeline, "-o", "rows", "--isolation", isolation, "--progress", "none"), where, want, broken...) {
						whole++
					} else {
						failed++
					}
				}
				t.Logf("%d runs were whole, %d failed", whole, failed)
				if failed == 0 {
					t.Error("no run failed")
				}
				p.restore()
				w.idle(s)
				if got := w.must("run", pipeline); !bytes.Equal(got, want) {
					t.Errorf("afterwards it gives %d bytes, it was %d", len(got), len(want))
				}
			})
		}
	}
}

// TestConnectionSilent: a connection that stands and carries nothing is given up after the time that is set for it,
// at any byte.
func TestConnectionSilent(t *testing.T) {
	t.Parallel()
	s := servers.MySQL(t)
	numbers(s)
	random := chance(t)
	p := newProxy(t, s.Port())
	w := newWorkspace(t, p.through(s.DSN(s.Database())))
	p.at.Store(int32(silent))
	pipeline := w.pipeline(settings{"query": counted, "connect_timeout": "500ms", "read_timeout": "500ms"}, "ndjson")
	for _, bytes := range []int64{0, 30, 200, 3000, random.Int64N(5 << 20), random.Int64N(5 << 20)} {
		p.limit.Store(bytes)
		if w.wholeOrFailed(w.run("run", pipeline, "-o", "rows", "--progress", "none"), fmt.Sprintf("silent after %d bytes", bytes), nil,
			broken...) {
			t.Errorf("a connection that says nothing after %d bytes is enough", bytes)
		}
	}
	// Without such a time the run waits, until somebody ends it.
	p.limit.Store(1 << 20)
	flowed := p.flowed.Load()
	cmd := w.command("run", w.pipeline(settings{"query": counted}, "ndjson"), "-o", "rows", "--progress", "none")
	ended := w.begin(cmd)
	eventually(t, "the silence", func() bool { return p.flowed.Load() >= flowed+1<<20 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.code != 130 || !strings.Contains(r.stderr, "error[cli.interrupted]: ") || len(names(t, w.out)) > 0 {
		t.Errorf("it ended with %d and left %v:\n%s", r.code, names(t, w.out), r.stderr)
	}
	p.restore()
	w.idle(s)
}

// TestSlowDatabase: rows that trickle in are as good as others as long as the run may take, and a run that may not
// take any longer ends at once.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	s := servers.MySQL(t)
	numbers(s)
	random := chance(t)
	p := newProxy(t, s.Port())
	w := newWorkspace(t, p.through(s.DSN(s.Database())))
	source := settings{"query": counted + " LIMIT 5000"}
	want := w.must("run", w.pipeline(source, "ndjson"))
	p.piece.Store(211 + random.Int64N(1000)) // ends in the middle of packets, and of their headers
	for _, isolation := range isolations {
		w.run("run", w.limited(source, "100s"), "-o", "rows", "--isolation", isolation, "--progress", "none")
		if got := readFile(t, w.output("rows")); !bytes.Equal(got, want) {
			t.Errorf("isolation %s: %d bytes, want %d", isolation, len(got), len(want))
		}
		_ = os.Remove(w.output("rows"))
	}

	for _, isolation := range isolations {
		w.fails(w.run("run", w.limited(settings{"query": crossed}, "700ms"), "-o", "rows", "--isolation", isolation, "--progress", "none"), 1, "run.timeout")
		cmd := w.command("run", w.pipeline(settings{"query": crossed}, "ndjson"), "-o", "rows", "--isolation", isolation, "--progress", "none")
		ended := w.begin(cmd)
		w.flowing()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		w.fails(<-ended, 130, "cli.interrupted")
	}
	p.restore()
	w.idle(s)
}
