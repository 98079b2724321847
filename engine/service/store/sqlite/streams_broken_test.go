package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
)

// TestBrokenStream breaks each change of what is set up of streams at each of its statements, before the statement and after
// it: nothing of the transaction is there then, or at the commit all of it, and the record goes on.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type prepared struct {
		*Store
		lease store.StreamLease
	}
	audit := store.Audit{What: "x"}
	for name, change := range map[string]func(context.Context, prepared) error{
		"put": func(ctx context.Context, p prepared) error {
			_, err := p.PutStream(ctx, store.Stream{Customer: "new", URL: "https://a.test"}, audit)
			return err
		},
		"replace": func(ctx context.Context, p prepared) error {
			_, err := p.PutStream(ctx, store.Stream{Customer: "c", URL: "https://b.test"}, audit)
			return err
		},
		"disable": func(ctx context.Context, p prepared) error {
			_, err := p.SwitchStream(ctx, "c", false, audit)
			return err
		},
		"fail": func(ctx context.Context, p prepared) error {
			return p.FailStream(ctx, p.lease, store.StreamFault{Code: "x"}, audit)
		},
		"claim": func(ctx context.Context, p prepared) error {
			_, _, err := p.ClaimStream(ctx, "c", "a")
			return err
		},
		"claim what is disabled": func(ctx context.Context, p prepared) error {
			_, _, err := p.ClaimDisabled(ctx, "disabled", "a")
			return err
		},
		"renew":   func(ctx context.Context, p prepared) error { _, err := p.RenewStream(ctx, p.lease); return err },
		"release": func(ctx context.Context, p prepared) error { return p.ReleaseStream(ctx, p.lease) },
		"made":    func(ctx context.Context, p prepared) error { return p.LogMade(ctx, "c") },
	} {
		for _, runs := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", runs), func(t *testing.T) {
				t.Parallel()
				ctx, s := t.Context(), openHere(t)
				var later atomic.Int64
				s.now = func() time.Time { return noon.Add(time.Duration(later.Load()) * time.Second) }
				s.passed = func(now time.Time) time.Duration { return now.Sub(noon) }
				for _, customer := range []string{"c", "disabled"} {
					if _, err := s.PutStream(ctx, store.Stream{Customer: customer}, audit); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.SwitchStream(ctx, "c", true, audit); err != nil {
					t.Fatal(err)
				}
				lease, ok, err := s.ClaimStream(ctx, "c", "a")
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				later.Store(1)
				breakEach(t, s, runs, func(ctx context.Context) error { return change(ctx, prepared{s, lease}) })
			})
		}
	}
}

func written(id string) store.Change {
	return store.Change{Channel: "entities", Type: "t", ID: id, Sealed: []byte(id)}
}

// openLogHere is a stream with three documents, of which one was acknowledged.
func openLogHere(t *testing.T, s *Store) (*sqlrecord.StreamLog, *streamFile) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.PutStream(ctx, store.Stream{Customer: "c"}, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	log, err := s.streamLog(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := log.Append(ctx, 1, store.Append{Position: "p", Changes: []store.Change{written("a"), written("b"), written("c")}}); err != nil {
		t.Fatal(err)
	}
	if err := log.Acknowledge(ctx, 1, "entities", 1); err != nil {
		t.Fatal(err)
	}
	return log, s.streams.open["c"]
}

// TestBrokenStreamLog does the same in the database of a stream.
func TestBrokenStreamLog(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(context.Context, *sqlrecord.StreamLog) error{
		"append": func(ctx context.Context, l *sqlrecord.StreamLog) error {
			a := store.Append{Position: "q"}
			for i := range 300 {
				a.Changes = append(a.Changes, written(fmt.Sprint("new", i)), store.Change{Channel: "logs", Type: "t", ID: fmt.Sprint(i % 7)})
			}
			_, err := l.Append(ctx, 2, a)
			return err
		},
		"acknowledge": func(ctx context.Context, l *sqlrecord.StreamLog) error { return l.Acknowledge(ctx, 2, "entities", 2) },
		"reset": func(ctx context.Context, l *sqlrecord.StreamLog) error {
			_, err := l.Reset(ctx, 2, "entities", 1, false)
			return err
		},
		"reset anew": func(ctx context.Context, l *sqlrecord.StreamLog) error {
			_, err := l.Reset(ctx, 2, "entities", 0, true)
			return err
		},
	} {
		for _, runs := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", runs), func(t *testing.T) {
				t.Parallel()
				s := openHere(t)
				log, f := openLogHere(t, s)
				breakIn(t, s, f.writer, f.reading, runs, func(ctx context.Context) error { return change(ctx, log) })
			})
		}
	}
	t.Run("renumber", func(t *testing.T) {
		t.Parallel()
		s := openHere(t)
		log, f := openLogHere(t, s)
		if err := f.writer.write(t.Context(), change{do: func(tx sqlrecord.Tx) error {
			_, err := tx.Exec("UPDATE state SET origin = 'another file'")
			return err
		}}); err != nil {
			t.Fatal(err)
		}
		breakIn(t, s, f.writer, f.reading, false, func(ctx context.Context) error {
			_, err := log.Append(ctx, 1, store.Append{Changes: []store.Change{written("new")}})
			return err
		})
	})
}

// TestNoDocumentIsScanned: what is done with each piece, each request and each acknowledgement looks at none of the other
// documents, and sorts none.
func TestNoDocumentIsScanned(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	log, f := openLogHere(t, s)
	heard := &listening{Conn: f.writer.conn, said: map[string][]any{}}
	dialect := s.dialect()
	f.writer.tx = sqlrecord.NewTx(context.Background(), heard, &dialect)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := log.Append(ctx, 1, store.Append{Changes: []store.Change{written("a"), {Channel: "entities", Type: "t", ID: "b", Deleted: true}}})
	check(err)
	check(log.Acknowledge(ctx, 1, "entities", 2))
	_, err = log.Reset(ctx, 1, "entities", 1, false)
	check(err)
	// What is only read is asked elsewhere: the texts that it is asked with.
	heard.said["SELECT sequence, bytes FROM waiting WHERE channel = ? AND sequence > ? ORDER BY sequence LIMIT ?"] = []any{"entities", 1, 1}
	heard.said["SELECT coalesce(id, id_key) FROM documents WHERE channel = ? AND type = ? AND deleted = 0 ORDER BY sequence LIMIT ?"] = []any{"entities", "t", 1}
	heard.said[`SELECT d.type FROM documents d JOIN channels c ON c.channel = d.channel
		WHERE d.channel = ? AND d.sequence > c.reset_above AND d.sequence <= c.reset_until ORDER BY d.sequence LIMIT ?`] = []any{"entities", 1}
	explained := 0
	for statement, args := range heard.said {
		word, _, _ := strings.Cut(statement, " ")
		if word != "SELECT" && word != "UPDATE" && word != "DELETE" {
			continue
		}
		explained++
		rows, err := f.reading.Query("EXPLAIN QUERY PLAN "+statement, args...)
		check(err)
		check(sqlrecord.Each(rows, func(rows *sql.Rows) error {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			if strings.HasPrefix(step, "SCAN") && step != "SCAN channels" || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", step, statement)
			}
			return err
		}))
	}
	if explained < 10 {
		t.Errorf("%d statements were heard", explained)
	}
}
