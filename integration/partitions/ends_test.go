package partitions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// sessions counts those of a user.
func sessions(db *servers.Server, user string) string {
	return strings.TrimSpace(db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '" + user + "'"))
}

// account makes a user that reads, and gives its name and URL.
func account(t *testing.T, db *servers.Server, options string) (user, url string) {
	t.Helper()
	user = db.Database() + "r"
	db.Exec(fmt.Sprintf("CREATE USER %[1]s@'%%' IDENTIFIED BY 'Secret-1' %[3]s; GRANT SELECT, LOCK TABLES, EXECUTE ON `%[2]s`.* TO %[1]s@'%%'", user, db.Database(), options))
	t.Cleanup(func() { db.Exec("DROP USER " + user + "@'%'") })
	return user, db.UserDSN(user, "Secret-1", db.Database())
}

// gone waits until no session of a user is left.
func gone(t *testing.T, db *servers.Server, user string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); sessions(db, user) != "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s sessions are left", sessions(db, user))
		}
	}
}

// wide makes a table that the buffers between a server and a source do not hold.
func wide(db *servers.Server) {
	numbers(db, 2000)
	db.Exec("CREATE TABLE wide (id INT PRIMARY KEY, t LONGTEXT); INSERT INTO wide SELECT n, REPEAT('x', 50000) FROM numbers; ANALYZE TABLE wide")
}

// begun is an extract whose source is open.
func begun(t *testing.T, ctx context.Context, with settings) *extract {
	t.Helper()
	e, err := newExtract(t, with)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestCancelled: a run that is cancelled, and one whose source is closed, in the middle of several results leave no session.
func TestCancelled(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		wide(db)
		user, url := account(t, db, "")
		with := table(url, "wide").with(settings{"partitions": 4, "partition_buffer": "1MiB"})
		for _, end := range []string{"cancel", "close"} {
			ctx, cancel := context.WithCancelCause(context.Background())
			e := begun(t, ctx, with)
			record, err := e.source.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			record.Release()
			if sessions(db, user) != "4" {
				t.Errorf("%s: %s sessions read", end, sessions(db, user))
			}
			why := errors.New("enough")
			if end == "cancel" {
				cancel(why)
				for err == nil {
					if record, err = e.source.Next(ctx); err == nil {
						record.Release()
					}
				}
				if !errors.Is(err, why) {
					t.Errorf("the run ended with %v", err)
				}
			} else if err := e.close(); err != nil {
				t.Error(err)
			}
			gone(t, db, user)
			cancel(nil)
		}
	})
}

// TestKilledSession: a session that somebody kills ends the run, with its code, and the others.
func TestKilledSession(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		wide(db)
		user, url := account(t, db, "")
		e := begun(t, t.Context(), table(url, "wide").with(settings{"partitions": 3, "partition_buffer": "1MiB"}))
		id := strings.TrimSpace(db.Query("SELECT MAX(id) FROM information_schema.processlist WHERE user = '" + user + "'"))
		db.Exec("KILL " + id)
		var err error
		for err == nil {
			record, failed := e.source.Next(t.Context())
			if err = failed; err == nil {
				record.Release()
			}
		}
		if f := fault.From(err); f.Code != "mysql.connection_lost" && f.Code != "mysql.killed" {
			t.Errorf("the run ended with %v", err)
		}
		gone(t, db, user)
	})
}

// TestUndone: what a process that dies leaves, the host ends by what was announced.
func TestUndone(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		wide(db)
		user, url := account(t, db, "")
		e := begun(t, t.Context(), table(url, "wide").with(settings{"partitions": 3, "partition_buffer": "1MiB"}))
		if len(e.resources) != 3 {
			t.Errorf("%d sessions are announced", len(e.resources))
		}
		for _, r := range e.resources {
			if err := mysql.Undo(t.Context(), mysql.Settings{URL: config.NewSecret(url)}, r); err != nil {
				t.Error(err)
			}
		}
		gone(t, db, user)
	})
}

// TestTooManySessions: where the account may not have so many, the run fails as any other that gets no connection.
func TestTooManySessions(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 100)
		user, url := account(t, db, "WITH MAX_USER_CONNECTIONS 2")
		e, err := newExtract(t, table(url, "numbers").with(settings{"partitions": 4}))
		if err != nil {
			t.Fatal(err)
		}
		if f := fault.From(e.run(t.Context())); f.Code != "mysql.connect" {
			t.Errorf("the run ended with %v", f)
		}
		gone(t, db, user)
	})
}

// TestValue: a value that cannot be delivered is named by the part that it is in, and ends the run.
func TestValue(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 1000)
		db.Exec("SET sql_mode = ''; CREATE TABLE dated (id INT PRIMARY KEY, d DATE); INSERT INTO dated SELECT n, IF(n = 900, '2026-00-00', '2026-01-01') FROM numbers; ANALYZE TABLE dated")
		e, err := newExtract(t, table(db.DSN(db.Database()), "dated").with(settings{"partitions": 3}))
		if err != nil {
			t.Fatal(err)
		}
		f := fault.From(e.run(t.Context()))
		if f.Code != "mysql.zero_date" || !strings.Contains(f.Message, " of part ") {
			t.Errorf("the run ended with %v", f)
		}
		got := read(t, table(db.DSN(db.Database()), "dated").with(settings{"partitions": 3, "zero_dates": "null"}))
		if len(got.rows) != 1000 || got.counters["zero_dates"] != 1 {
			t.Errorf("%d rows, %v", len(got.rows), got.counters)
		}
	})
}
