package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func openOn(t *testing.T, db *dbtest.Server) *Store {
	t.Helper()
	s, err := Open(t.Context(), config.NewSecret(db.DSN(db.Database())), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestMigrations: a process that ends after any step, noted or not, is followed by one that finishes its work; a step that
// fails stays undone, and those before it stay done.
func TestMigrations(t *testing.T) {
	db := dbtest.MariaDB(t)
	ctx := t.Context()
	whole := db.NewDatabase()
	schema := func(database string) string {
		return db.Query(`SELECT table_name, column_name, column_type, collation_name FROM information_schema.columns
			WHERE table_schema = '` + database + `' ORDER BY 1, ordinal_position`)
	}
	connection := func(database string) (*sql.Conn, server) {
		t.Helper()
		target, err := parseURL(config.NewSecret(db.DSN(database)))
		if err != nil {
			t.Fatal(err)
		}
		target.Params["sql_mode"] = sound().session()["sql_mode"]
		conn, done, err := connect(ctx, target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		on, err := look(ctx, conn, true)
		if err != nil {
			t.Fatal(err)
		}
		return conn, on
	}
	conn, on := connection(whole)
	if err := migrate(ctx, conn, on, migrations); err != nil {
		t.Fatal(err)
	}
	want := schema(whole)
	conn, on = connection(db.Database())
	for step := range migrations {
		if err := migrate(ctx, conn, on, migrations[:step+1]); err != nil {
			t.Fatalf("step %d: %v", step+1, err)
		}
		// It ended before the step was noted.
		if _, err := conn.ExecContext(ctx, "DELETE FROM record_schema WHERE step = ?", step+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := migrate(ctx, conn, on, migrations); err != nil {
		t.Fatal(err)
	}
	if got := schema(db.Database()); got != want {
		t.Errorf("the schema is\n%s\nwant\n%s", got, want)
	}
	more := append(migrations[:len(migrations):len(migrations)], `ALTER TABLE shares ADD COLUMN more INT`, "no SQL", "never")
	if err := migrate(ctx, conn, on, more); !fault.Is(err, store.CodeFailed) {
		t.Fatalf("expected %s, got %v", store.CodeFailed, err)
	}
	var version int
	if err := conn.QueryRowContext(ctx, "SELECT max(step) FROM record_schema").Scan(&version); err != nil || version != len(migrations)+1 {
		t.Errorf("the version is %d: %v", version, err)
	}
	if err := migrate(ctx, conn, on, migrations); !fault.Is(err, store.CodeNewer) {
		t.Errorf("expected %s, got %v", store.CodeNewer, err)
	}
}

// TestDeadlock: of two changes that wait for one another, one is made again, and both are made.
func TestDeadlock(t *testing.T) {
	db := dbtest.MariaDB(t)
	s := openOn(t, db)
	ctx := t.Context()
	for _, customer := range []string{"a", "b"} {
		if _, err := s.AddSealingUses(ctx, customer, "k", 1); err != nil {
			t.Fatal(err)
		}
	}
	var both, wg sync.WaitGroup
	both.Add(2)
	tries := [2]int{}
	for i, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			err := s.write(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) error {
				tries[i]++
				for n, customer := range order {
					if _, err := tx.Exec("UPDATE sealing_uses SET uses = uses + 10 WHERE customer = ?", customer); err != nil {
						return err
					}
					if n == 0 && tries[i] == 1 {
						both.Done()
						both.Wait()
					}
				}
				return nil
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if tries[0]+tries[1] < 3 {
		t.Errorf("nothing was made again: %v", tries)
	}
	for _, customer := range []string{"a", "b"} {
		if uses, err := s.AddSealingUses(ctx, customer, "k", 0); err != nil || uses != 21 {
			t.Errorf("%s has %d uses: %v", customer, uses, err)
		}
	}
}

// TestCancelledInTheMiddle: a change whose caller goes before COMMIT is not made.
func TestCancelledInTheMiddle(t *testing.T) {
	s := openOn(t, dbtest.MariaDB(t))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.write(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) error {
		_, err := tx.Exec("INSERT INTO disabled (customer) VALUES ('c')")
		cancel()
		return err
	}})
	if err != context.Canceled {
		t.Errorf("expected the context's end, got %v", err)
	}
	if all, err := s.Disabled(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("there is %v, %v", all, err)
	}
}

// TestSecretsStayInStatements: what a statement held is in no error.
func TestSecretsStayInStatements(t *testing.T) {
	s := openOn(t, dbtest.MariaDB(t))
	for _, statement := range []string{
		"INSERT INTO counters (name, value) VALUES (?, 'patient')", "INSERT INTO disabled (customer) VALUES (?) patient",
		"SELECT patient FROM counters WHERE name = ? AND patient", "INSERT INTO counters (name, value) VALUES (concat(?, repeat('patient', 99)), 1)",
	} {
		err := s.write(t.Context(), sqlrecord.Change{Do: func(tx sqlrecord.Tx) error {
			_, err := tx.Exec(statement, "Ann Smith")
			return err
		}})
		if !fault.Is(err, store.CodeFailed) || strings.Contains(err.Error(), "Smith") || strings.Contains(fmt.Sprint(err), "patientp") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestSessions: every connection has the settings that the record stands on.
func TestSessions(t *testing.T) {
	s := openOn(t, dbtest.MariaDB(t))
	var isolation, zone, mode string
	var commits int
	if err := s.db.QueryRow("SELECT @@tx_isolation, @@time_zone, @@sql_mode, @@autocommit").Scan(&isolation, &zone, &mode, &commits); err != nil {
		t.Fatal(err)
	}
	if isolation != "READ-COMMITTED" || zone != "+00:00" || commits != 1 || !strings.Contains(mode, "STRICT_ALL_TABLES") || !strings.Contains(mode, "ANSI_QUOTES") {
		t.Error(isolation, zone, mode, commits)
	}
}

// TestClose leaves no goroutine and no connection, and may be called twice.
func TestClose(t *testing.T) {
	db := dbtest.MariaDB(t)
	ignore := goleak.IgnoreCurrent()
	s := openOn(t, db)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, ignore)
	if n := strings.TrimSpace(db.Query("SELECT count(*) FROM instances")); n != "0" {
		t.Errorf("%s processes are said to be there", n)
	}
}
