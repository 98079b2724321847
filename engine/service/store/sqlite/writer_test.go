package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func openHere(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// together has changes made in one commit: the writer is busy with a first one while they come.
func together(t *testing.T, s *Store, changes ...change) []error {
	t.Helper()
	busy, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.Background(), sqlrecord.Change{Do: func(sqlrecord.Tx) error {
			close(busy)
			<-goOn
			return nil
		}})
	}()
	<-busy
	var all []*waiting
	for _, c := range changes {
		one := &waiting{change: c, ctx: t.Context(), result: make(chan error, 1)}
		if err := s.writer.enqueue(one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var results []error
	for _, one := range all {
		results = append(results, coded(<-one.result))
	}
	return results
}

func audit(tx sqlrecord.Tx, what string) error {
	_, err := tx.Exec("INSERT INTO audit (at, who, what, customer, address, request_id, run_id, outcome, details) VALUES (0, '', ?, '', '', '', '', '', 'null')", what)
	return err
}

func audits(t *testing.T, s *Store) (whats []string) {
	t.Helper()
	rows, err := s.AuditOf(t.Context(), "", time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range rows {
		whats = append(whats, a.What)
	}
	return whats
}

// TestSharedCommit: a change that is refused, or that breaks, takes no other with it.
func TestSharedCommit(t *testing.T) {
	t.Parallel()
	says := func(what string) change {
		return change{do: func(tx sqlrecord.Tx) error { return audit(tx, what) }}
	}
	refused := change{do: func(tx sqlrecord.Tx) error {
		return errors.Join(audit(tx, "refused"), fault.New(store.CodeUnknown, fault.Usage, "there is no such thing"))
	}}
	broken := change{do: func(tx sqlrecord.Tx) error {
		if err := audit(tx, "broken"); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM audit")
		return err
	}}
	for name, bad := range map[string]change{store.CodeUnknown: refused, store.CodeFailed: broken} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openHere(t)
			results := together(t, s, says("before"), bad, says("after"))
			if results[0] != nil || !fault.Is(results[1], name) || results[2] != nil {
				t.Errorf("the results are %v", results)
			}
			if got := audits(t, s); !slices.Equal(got, []string{"before", "after"}) {
				t.Errorf("written was %v", got)
			}
		})
	}
}

// TestCancelledWhileWaiting: what has not begun is not made.
func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	one := &waiting{ctx: ctx, result: make(chan error, 1), change: change{
		do:   func(sqlrecord.Tx) error { t.Error("it was made"); return nil },
		made: func() { t.Error("it was counted") },
	}}
	s.writer.make([]*waiting{one})
	if err := <-one.result; err != context.Canceled {
		t.Errorf("expected the context's end, got %v", err)
	}
}

// TestBroken: after a commit that broke, who is let in is read again, for the change may be on disk.
func TestBroken(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	before := s.Version()
	err := s.write(t.Context(), sqlrecord.Change{Access: true, Do: func(tx sqlrecord.Tx) error { _, err := tx.Exec("no SQL"); return err }})
	if !fault.Is(err, store.CodeFailed) || s.Version() == before {
		t.Errorf("expected %s and another version, got %v", store.CodeFailed, err)
	}
}

// TestUnlock: the directory is free after Close, though a process that is being started has the lock's file open still.
func TestUnlock(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	started, err := syscall.Dup(int(s.dir.lock.Fd())) // as fork(2) does
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(started)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), s.dir.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestConnections: what durability and order stand on, of each connection.
func TestConnections(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "trusted_schema": "0"} {
		var written, read string
		if err := s.write(t.Context(), sqlrecord.Change{Do: func(tx sqlrecord.Tx) error { return tx.Row("PRAGMA " + pragma).Scan(&written) }}); err != nil {
			t.Fatal(err)
		}
		if err := s.reading.QueryRow("PRAGMA " + pragma).Scan(&read); err != nil {
			t.Fatal(err)
		}
		if written != want || read != want {
			t.Errorf("%s is %s where it is written, and %s where it is read; want %s", pragma, written, read, want)
		}
	}
	if _, err := s.reading.Exec("DELETE FROM keys"); err == nil {
		t.Error("a connection that reads can write")
	}
}

// TestDiskFull: a change that finds no room is refused, whole; what was there stays, and with room it goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	ctx := t.Context()
	pages := func(statement string) {
		t.Helper()
		// The writer's own connection, between two changes.
		if err := s.write(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) error { var n int; return tx.Row(statement).Scan(&n) }}); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(id string) error {
		return s.BeginRequest(ctx, store.Request{ID: id, Customer: "c", Receipt: bytes.Repeat([]byte{1}, 40_000)}, store.Audit{What: id})
	}
	if err := begin("a"); err != nil {
		t.Fatal(err)
	}
	var used int
	if err := s.reading.QueryRow("PRAGMA page_count").Scan(&used); err != nil {
		t.Fatal(err)
	}
	pages(fmt.Sprintf("PRAGMA max_page_count = %d", used+1))
	for range 2 {
		err := begin("b")
		if f := fault.From(err); !fault.Is(err, store.CodeDiskFull) || !f.Retryable {
			t.Fatalf("expected %s, got %v", store.CodeDiskFull, err)
		}
	}
	// One that finds room is made, though it shared a commit with one that did not.
	results := together(t, s, change{do: func(tx sqlrecord.Tx) error {
		_, err := tx.Exec("INSERT INTO sealing_keys VALUES (1, 'x', 'c', zeroblob(40000), 'new', 0, 0, 0)")
		return err
	}}, change{do: func(tx sqlrecord.Tx) error { return audit(tx, "small") }})
	if !fault.Is(results[0], store.CodeDiskFull) || results[1] != nil {
		t.Errorf("the results are %v", results)
	}
	pages("PRAGMA max_page_count = 1000000")
	if err := begin("b"); err != nil {
		t.Fatal(err)
	}
	if got := audits(t, s); !slices.Equal(got, []string{"a", "small", "b"}) {
		t.Errorf("the audit is %v", got)
	}
}

// TestMigration: a record of an earlier version is brought to the next, whole or not at all.
func TestMigration(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	ctx := t.Context()
	if err := s.AppendAudit(ctx, store.Audit{What: "kept"}); err != nil {
		t.Fatal(err)
	}
	conn, err := s.reading.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only = 0"); err != nil {
		t.Fatal(err)
	}
	next := "ALTER TABLE audit ADD COLUMN more TEXT NOT NULL DEFAULT 'x'"
	columns := func() (n, version int) {
		t.Helper()
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info('audit')").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			t.Fatal(err)
		}
		return n, version
	}
	to := func(migrations []string) error {
		return schema{application: applicationID, migrations: migrations}.migrate(ctx, conn, fileName)
	}
	before, _ := columns()
	if err := to(append(slices.Clone(migrations), next, "no SQL")); !fault.Is(err, store.CodeFailed) {
		t.Fatalf("expected %s, got %v", store.CodeFailed, err)
	}
	if n, version := columns(); n != before || version != len(migrations) {
		t.Errorf("a migration that failed has left %d columns and version %d", n, version)
	}
	if err := to(append(slices.Clone(migrations), next)); err != nil {
		t.Fatal(err)
	}
	if n, version := columns(); n != before+1 || version != len(migrations)+1 {
		t.Errorf("there are %d columns and version %d", n, version)
	}
	if got := audits(t, s); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("the audit is %v", got)
	}
}
