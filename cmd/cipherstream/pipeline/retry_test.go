package pipeline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// quiet is a reporter that shows nothing but warnings, in a file that nobody reads.
func quiet(t *testing.T) *terminal.Reporter {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := terminal.New(terminal.Streams{In: os.Stdin, Out: f, Err: f}, false).NewReporter(terminal.ProgressNone, false, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRepeat: there are as many attempts as asked for, with pauses that grow and differ, and none after one that went well, that
// failed for good, or whose caller has left.
func TestRepeat(t *testing.T) {
	lost := fault.New("x.lost", fault.Connect, "lost").WithRetry()
	report := quiet(t)
	for name, c := range map[string]struct {
		retries, fails, want int
		forGood              bool
	}{
		"none asked for": {0, 9, 1, false}, "all fail": {3, 9, 4, false}, "the third goes well": {5, 2, 3, false}, "for good": {5, 9, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			made, last := 0, time.Now()
			err := repeat(t.Context(), c.retries, report, func() (bool, error) {
				if made++; made > 1 {
					bound := min(mostPause, firstPause<<(made-2))
					if waited := time.Since(last); waited < bound/2 || waited > bound {
						t.Errorf("%s: attempt %d came after %v, want up to %v", name, made, waited, bound)
					}
				}
				last = time.Now()
				if made > c.fails {
					return false, nil
				}
				return !c.forGood, lost
			})
			if made != c.want || (err == nil) != (c.fails < c.want) {
				t.Errorf("%s: %d attempts, %v", name, made, err)
			}
			if f := fault.From(err); c.want == 4 && (f.Details["attempts"] != "4" || f.Code != "x.lost") {
				t.Errorf("%s: %+v", name, f)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(left) })
		began := time.Now()
		err := repeat(ctx, 5, report, func() (bool, error) { return true, lost })
		if !errors.Is(err, left) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	var pauses [20]time.Duration
	for i := range pauses {
		if pauses[i] = pause(60); pauses[i] < mostPause/2 || pauses[i] >= mostPause {
			t.Errorf("a late pause is %v", pauses[i])
		}
	}
	if pauses == [20]time.Duration{} || pauses[0] == pauses[1] && pauses[1] == pauses[2] {
		t.Errorf("pauses do not differ: %v", pauses)
	}
}

// breaking stands before a server, and breaks the first connections when so many bytes have come from it. It returns the
// server's URL by way of it, and how many connections there were.
func breaking(t *testing.T, dsn string, first int64, after int64) (string, *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var connections atomic.Int64
	to := u.Host
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			breaks := connections.Add(1) <= first
			go func() {
				defer conn.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, conn); server.Close() }()
				if breaks {
					_, _ = io.CopyN(conn, server, after)
					return
				}
				_, _ = io.Copy(conn, server)
			}()
		}
	}()
	u.Host = listener.Addr().String()
	return u.String(), &connections
}

// TestRetries: a run whose connection is lost is tried again, whole, by a new run; what the first one wrote is gone, and there is
// one output. On standard output the rows of the first cannot be taken back: there is no other attempt, and the fault says why.
func TestRetries(t *testing.T) {
	const rows = 20_000
	practice := cmdtest.Practice(t, sandbox.Options{Patients: cmdtest.Patients, Appointments: rows})
	args := func(more ...string) []string {
		return append([]string{"run", "appointments", "--progress", "none", "--retries", "2"}, more...)
	}
	lines := func(text []byte) int { return strings.Count(string(text), "\n") }
	only := func(t *testing.T, dir string) (content []byte) {
		t.Helper()
		var files []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, ".attrs") { // what an object in a folder is described by
				return err
			}
			files = append(files, path)
			content, err = os.ReadFile(path)
			return err
		})
		if err != nil || len(files) != 1 {
			t.Fatalf("there are %q, %v; want one output and nothing else", files, err)
		}
		return content
	}
	for name, after := range map[string]int64{"in the midst of the rows": 1 << 20, "at the greeting": 10} {
		t.Run("file "+name, func(t *testing.T) {
			dsn, _ := breaking(t, practice, 1, after)
			t.Setenv(session.EnvDSN, dsn)
			dir := t.TempDir()
			r := cmdtest.Call(t, args("-o", filepath.Join(dir, "rows.ndjson"))...)
			if r.Code != 0 || strings.Count(r.Stderr, "is tried again") != 1 || !strings.Contains(r.Stderr, `attempt="1 of 3"`) {
				t.Fatalf("%d: %s", r.Code, r.Stderr)
			}
			if n := lines(only(t, dir)); n != rows {
				t.Errorf("%d rows", n)
			}
		})
	}
	t.Run("object", func(t *testing.T) {
		dsn, _ := breaking(t, practice, 1, 1<<20)
		t.Setenv(session.EnvDSN, dsn)
		dir := t.TempDir()
		r := cmdtest.Call(t, args("--job", "--bucket", dir)...)
		if r.Code != 0 || strings.Count(r.Stderr, "is tried again") != 1 {
			t.Fatalf("%d: %s", r.Code, r.Stderr)
		}
		if n := lines(only(t, dir)); n != rows {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("standard output with rows", func(t *testing.T) {
		dsn, connections := breaking(t, practice, 1, 3<<20)
		t.Setenv(session.EnvDSN, dsn)
		r := cmdtest.Call(t, args("--json")...)
		if r.Code != 1 || r.Stdout == "" || lines([]byte(r.Stdout)) >= rows || strings.Contains(r.Stderr, "is tried again") ||
			!strings.Contains(r.Stderr, `"not_retried":"standard output has bytes of this run already"`) || !strings.Contains(r.Stderr, "it was not tried again") {
			t.Errorf("%d after %d rows and %d connections: %s", r.Code, lines([]byte(r.Stdout)), connections.Load(), r.Stderr)
		}
	})
	t.Run("standard output without rows", func(t *testing.T) {
		dsn, _ := breaking(t, practice, 1, 10)
		t.Setenv(session.EnvDSN, dsn)
		if r := cmdtest.Call(t, args()...); r.Code != 0 || lines([]byte(r.Stdout)) != rows {
			t.Errorf("%d after %d rows: %s", r.Code, lines([]byte(r.Stdout)), r.Stderr)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		dsn, connections := breaking(t, practice, 1, 10)
		t.Setenv(session.EnvDSN, dsn)
		r := cmdtest.Call(t, "run", "appointments", "--progress", "none")
		if r.Code == 0 || connections.Load() != 1 || strings.Contains(r.Stderr, "attempts") || strings.Contains(r.Stderr, "not tried again") {
			t.Errorf("%d after %d connections: %s", r.Code, connections.Load(), r.Stderr)
		}
	})
}

// TestRetriesRefused: what looks into one run does not go with several.
func TestRetriesRefused(t *testing.T) {
	for _, more := range [][]string{{"--retries", "-1"}, {"--retries", "101"}, {"--retries", "1", "--record", t.TempDir()}, {"--retries", "1", "--attach", "source"}} {
		if r := cmdtest.Call(t, append([]string{"run", "appointments", "--sandbox"}, more...)...); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "--retries") {
			t.Errorf("%v: %d: %s", more, r.Code, r.Stderr)
		}
	}
}
