package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// ours waits for the program's connection to do something, by a condition on the server's list of processes, and
// returns its number.
func ours(t testing.TB, s *servers.Server, condition string) (id string) {
	t.Helper()
	eventually(t, "our connection with "+condition, func() bool {
		id = strings.TrimSpace(s.Query("SELECT MIN(id) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND " + condition))
		return id != "NULL"
	})
	return id
}

// TestKilledByAnother has another session kill the query, or its connection, after random bytes of the result and
// before there are any.
func TestKilledByAnother(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s := d.shared(t)
			numbers(s)
			random := chance(t)
			p := newProxy(t, s.Port())
			w := newWorkspace(t, p.through(s.DSN(s.Database())))
			db := s.Open("")
			// Long enough that it is not all on its way already.
			const long = "SELECT n, filler, REPEAT(filler, 4) AS wide FROM numbers ORDER BY n"
			pipelines := []string{
				w.pipeline(settings{"query": long}, "ndjson"),
				w.pipeline(settings{"query": long, "protocol": "text"}, "ndjson"),
			}
			start := p.flowed.Load()
			want := w.must("run", pipelines[0])
			total := p.flowed.Load() - start
			for _, kill := range []string{"KILL QUERY ", "KILL CONNECTION "} {
				whole := 0
				const rounds = 6
				for i := range rounds {
					// Before the columns, nothing has been asked that could be killed.
					after := 4096 + random.Int64N(total/2)
					p.when(after, func() {
						var id int
						if db.QueryRow("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT n, filler, REPEAT%' AND id <> CONNECTION_ID()").Scan(&id) == nil {
							_, _ = db.Exec(fmt.Sprint(kill, id)) // it may have ended by now
						}
					})
					r := w.run("run", pipelines[i%2], "-o", "rows", "--isolation", isolations[random.IntN(3)], "--progress", "none")
					faults := []string{"mysql.killed"}
					if kill == "KILL CONNECTION " {
						faults = append(faults, "mysql.connection_lost")
					}
					if w.wholeOrFailed(r, fmt.Sprintf("%safter %d of %d bytes", kill, after, total), want, faults...) {
						whole++
					}
				}
				if whole == rounds {
					t.Errorf("%snever did anything", kill)
				}

				ended := w.begin(w.command("run", w.pipeline(settings{"query": thinking}, "ndjson"), "-o", "rows", "--progress", "none"))
				s.Exec(kill + ours(t, s, "info LIKE 'SELECT COUNT(*) AS thinking%'"))
				faults := []string{"mysql.killed"}
				if kill == "KILL CONNECTION " {
					faults = append(faults, "mysql.connection_lost")
				}
				if w.wholeOrFailed(<-ended, kill+"while it thinks", nil, faults...) {
					t.Errorf("%swhile it thinks: it ended well", kill)
				}
			}
			w.idle(s)
		})
	}
}

// TestDatabaseRestarted kills the server, or shuts it down, after random bytes of a run, and starts it again while
// the run may still be there. The run fails or is whole, and the next one gives the same bytes as ever.
func TestDatabaseRestarted(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s := d.private(t)
			numbers(s)
			random := chance(t)
			p := newProxy(t, s.Port())
			w := newWorkspace(t, p.through(s.DSN(s.Database())))
			pipeline := w.pipeline(settings{"query": counted}, "ndjson")
			start := p.flowed.Load()
			want := w.must("run", pipeline)
			total := p.flowed.Load() - start
			for _, how := range []string{"kill", "shutdown", "kill"} {
				after := random.Int64N(total)
				where := fmt.Sprintf("%s after %d of %d bytes", how, after, total)
				down := make(chan struct{})
				p.when(after, func() {
					defer close(down)
					if how == "shutdown" {
						s.Exec("SHUTDOWN")
					} else {
						s.Kill()
					}
				})
				ended := w.begin(w.command("run", pipeline, "-o", "rows", "--progress", "none"))
				<-down
				if how == "shutdown" {
					// Which waits for the connections; now nobody waits for it.
					w.wholeOrFailed(<-ended, where, want, broken...)
					s.Kill()
					s.Start()
				} else {
					s.Start()
					w.wholeOrFailed(<-ended, where, want, broken...)
				}
				r := w.run("run", pipeline, "-o", "rows", "--progress", "none")
				if !w.wholeOrFailed(r, where+", the run afterwards", want) {
					t.Errorf("%s: the run afterwards ended with %d:\n%s", where, r.code, r.stderr)
				}
			}
			s.Kill()
			w.fails(w.run("run", pipeline, "-o", "rows", "--progress", "none"), 3, "mysql.connect")
			s.Start()
		})
	}
}

// TestLockWait: a table that another session has locked. Released in time, the run is whole; otherwise the server's
// limit fails it; an interrupt ends the waiting, on the server too.
func TestLockWait(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s := d.shared(t)
			s.Exec(`CREATE TABLE numbers (n INT PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO numbers VALUES (1), (2), (3);
DELIMITER //
CREATE PROCEDURE patient(seconds INT) BEGIN
	SET SESSION lock_wait_timeout = seconds, SESSION innodb_lock_wait_timeout = seconds;
	SELECT n FROM numbers ORDER BY n FOR UPDATE;
END//
DELIMITER ;`)
			ctx := context.Background()
			another, err := s.Open(s.Database()).Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer another.Close()
			do := func(statement string) {
				t.Helper()
				if _, err := another.ExecContext(ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			w := newWorkspace(t, s.DSN(s.Database()))
			call := func(seconds int) string {
				return w.pipeline(settings{"call": "patient", "args": []any{seconds}, "read_only": false}, "csv") // it locks rows
			}
			want := []byte("n\r\n1\r\n2\r\n3\r\n")
			for _, lock := range []struct{ name, take, release string }{
				{"table", "LOCK TABLES numbers WRITE", "UNLOCK TABLES"},
				{"row", "UPDATE numbers SET n = 4 WHERE n = 3", "ROLLBACK"},
			} {
				do("SET autocommit = 0")
				do(lock.take)
				w.fails(w.run("run", call(1), "-o", "rows", "--progress", "none"), 1, "mysql.lock_wait")

				for _, signal := range []bool{true, false} {
					cmd := w.command("run", call(600), "-o", "rows", "--progress", "none")
					ended := w.begin(cmd)
					ours(t, s, "info LIKE '%FOR UPDATE%'")
					if signal {
						if err := cmd.Process.Signal(os.Interrupt); err != nil {
							t.Fatal(err)
						}
						w.fails(<-ended, 130, "cli.interrupted")
						eventually(t, "the end of the waiting", func() bool { return waiting(t, s) == "0\n" })
						continue
					}
					do(lock.release)
					if !w.wholeOrFailed(<-ended, lock.name+" released in time", want) {
						t.Errorf("%s: released in time, it did not end well", lock.name)
					}
				}
			}
		})
	}
}

// waiting is how many of our connections wait for a lock.
func waiting(t testing.TB, s *servers.Server) string {
	t.Helper()
	return s.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE '%FOR UPDATE%' AND id <> CONNECTION_ID()")
}

// TestStatementTimeout: the server's own limit fails a run before its first row, and in the middle of the rows.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s := d.shared(t)
			numbers(s)
			w := newWorkspace(t, s.DSN(s.Database()))
			for _, query := range []string{thinking, crossed} {
				for _, protocol := range []string{"binary", "text"} {
					r := w.run("run", w.pipeline(settings{"query": query, "timeout": "800ms", "protocol": protocol}, "ndjson"), "-o", "rows", "--progress", "none")
					w.fails(r, 1, "mysql.timeout")
				}
			}
			w.idle(s)
		})
	}
}

// TestNoFreeConnection: an account whose connections are all in use is refused with the exit code of a server that
// cannot be reached. A run with the last of them cannot kill its query when it is interrupted, and says so.
func TestNoFreeConnection(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			s := d.shared(t)
			numbers(s)
			user := "u_" + s.Database()
			s.Exec("CREATE USER '" + user + "'@'%' IDENTIFIED BY 'geheim' WITH MAX_USER_CONNECTIONS 1;\nGRANT ALL ON " + s.Database() + ".* TO '" + user + "'@'%'")
			defer s.Exec("DROP USER '" + user + "'@'%'")
			w := newWorkspace(t, s.UserDSN(user, "geheim", s.Database()))
			cmd := w.command("run", w.pipeline(settings{"query": crossed}, "ndjson"), "-o", w.output("rows"), "--progress", "none")
			ended := w.begin(cmd)
			w.flowing()
			second := newWorkspace(t, w.dsn)
			second.fails(second.run("run", second.pipeline(settings{"query": "SELECT 1"}, "ndjson"), "-o", second.output("rows"), "--progress", "none"), 3, "mysql.connect")
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			r := <-ended
			if r.code != 130 || !strings.Contains(r.stderr, "error[cli.interrupted]: ") || len(names(t, w.out)) > 0 ||
				!strings.HasPrefix(r.stderr, "warn[source]: the query could not be killed on the server") {
				t.Errorf("it ended with %d and left %v:\n%s", r.code, names(t, w.out), r.stderr)
			}
			noSecret(t, r, "geheim")
			w.idle(s)
		})
	}
}
