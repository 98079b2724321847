package record

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/engine/service/store/storetest"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// refused opens a record that is refused, and returns why.
func refused(t *testing.T, url, code string, says ...string) {
	t.Helper()
	s, err := mysql.Open(t.Context(), config.NewSecret(url), mysql.Options{})
	if err == nil {
		s.Close()
	}
	if !fault.Is(err, code) {
		t.Fatalf("expected %s, got %v", code, err)
	}
	f := fault.From(err)
	for _, text := range says {
		if !strings.Contains(f.Message+" "+f.Hint, text) {
			t.Errorf("%v (%s) does not say %q", err, f.Hint, text)
		}
	}
	if f.Hint == "" || strings.Contains(f.Message+f.Hint, "hunter2") {
		t.Errorf("%v: the hint is %q", err, f.Hint)
	}
}

// TestWarnsOfWhatCanBeLost: the servers of these tests flush once a second.
func TestWarnsOfWhatCanBeLost(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		var log bytes.Buffer
		s := open(t, on.DSN(on.Database()), mysql.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		var settings []string
		for _, w := range s.Warnings() {
			settings = append(settings, w.Setting)
		}
		if !slices.Contains(settings, "innodb_flush_log_at_trx_commit") || !slices.Contains(settings, "innodb_doublewrite") {
			t.Errorf("warned of %v", settings)
		}
		if !strings.Contains(log.String(), "can lose the last second") {
			t.Errorf("the log says %s", &log)
		}
		if slices.Contains(settings, "clock") || slices.Contains(settings, "tls") || slices.Contains(settings, "replica") {
			t.Errorf("warned of %v, of which nothing is so", settings)
		}
	})
}

func TestRefusesAtTheStart(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		db := on.Open("")
		exec := func(statement string, args ...any) {
			t.Helper()
			if _, err := db.Exec(fmt.Sprintf(statement, args...)); err != nil {
				t.Fatal(err)
			}
		}
		user := "u_" + on.Database()
		exec("CREATE USER '%s'@'%%' IDENTIFIED BY 'hunter2'", user)
		defer exec("DROP USER '%s'@'%%'", user)
		refused(t, on.UserDSN(user, "nothunter2", on.Database()), store.CodeServer, "account", "password")
		refused(t, on.UserDSN(user, "hunter2", on.Database()), store.CodeServer, "account")
		// What is missing is told before it is needed.
		exec("GRANT SELECT, INSERT, UPDATE, CREATE, ALTER, INDEX ON %s.* TO '%s'@'%%'", on.Database(), user)
		refused(t, on.UserDSN(user, "hunter2", on.Database()), store.CodeServer, "DELETE", "GRANT")
		// Without TRIGGER the audit is not guarded by the server, and everything else works.
		exec("GRANT DELETE ON %s.* TO '%s'@'%%'", on.Database(), user)
		open(t, on.UserDSN(user, "hunter2", on.Database()), mysql.Options{})

		full := on.NewDatabase()
		exec("CREATE TABLE %s.patients (id INT PRIMARY KEY)", full)
		refused(t, on.DSN(full), store.CodeServer, "another program", "CREATE DATABASE")
		refused(t, on.DSN("nowhere"), store.CodeServer, "database")

		open(t, on.DSN(on.Database()), mysql.Options{})
		exec("INSERT INTO %s.record_schema (step, at) VALUES (900, 0)", on.Database())
		refused(t, on.DSN(on.Database()), store.CodeNewer, "900", "newer version")
	})
	refusedAddress := (&url.URL{Scheme: "mysql", User: url.UserPassword("u", "hunter2"), Host: "127.0.0.1:1", Path: "/record"}).String()
	refused(t, refusedAddress, store.CodeServer, "cannot be reached")
}

// TestStepsMayBeRepeated: a process that ends between a step of the schema and the note of it does no harm.
func TestStepsMayBeRepeated(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		url := on.DSN(on.Database())
		first := open(t, url, mysql.Options{})
		if _, _, _, err := first.CreateJob(t.Context(), ordered("j")); err != nil {
			t.Fatal(err)
		}
		schema := func() string {
			return on.Query(`SELECT table_name, column_name, column_type, collation_name, is_nullable, extra FROM information_schema.columns
				WHERE table_schema = database() ORDER BY 1, ordinal_position;
				SELECT table_name, index_name, seq_in_index, column_name, collation, non_unique FROM information_schema.statistics
				WHERE table_schema = database() ORDER BY 1, 2, 3`)
		}
		before := schema()
		on.Exec("DELETE FROM record_schema")
		again := open(t, url, mysql.Options{})
		if after := schema(); after != before {
			t.Errorf("the schema is another:\n%s\n%s", before, after)
		}
		if _, err := again.Job(t.Context(), "c", "j"); err != nil {
			t.Error(err)
		}
	})
}

// TestAuditIsAppendOnly where the account may make triggers.
func TestAuditIsAppendOnly(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		s := open(t, on.DSN(on.Database()), mysql.Options{})
		if err := s.AppendAudit(t.Context(), store.Audit{What: "x"}); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{"UPDATE audit SET what = 'y'", "DELETE FROM audit"} {
			if _, err := on.Open(on.Database()).Exec(statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
		// What is older than it is kept goes by one way, and nothing else does then either.
		kept := time.Now().Add(time.Hour)
		if err := s.AppendAudit(t.Context(), store.Audit{What: "kept", At: kept}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.PruneAudit(t.Context(), kept); err != nil || n != 1 {
			t.Errorf("%d rows went, %v", n, err)
		}
		if _, err := on.Open(on.Database()).Exec("DELETE FROM audit WHERE what = 'kept'"); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Error(err)
		}
	})
}

// TestVersionOverProcesses: a change of who is let in is seen by the other process.
func TestVersionOverProcesses(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		url := on.DSN(on.Database())
		one, other := open(t, url, mysql.Options{}), open(t, url, mysql.Options{})
		before := other.Version()
		if err := one.SetDisabled(t.Context(), "c", true, store.Audit{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for other.Version() == before {
			if ctx.Err() != nil {
				t.Fatal("the other process does not see the change")
			}
			if _, err := other.Disabled(ctx); err != nil { // keeps this loop from spinning
				t.Fatal(err)
			}
		}
	})
}

// TestEndsOfProcesses: requests of a process that is gone are ended by another one, and those of one that is there are not.
func TestEndsOfProcesses(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		ctx, url := t.Context(), on.DSN(on.Database())
		one := open(t, url, mysql.Options{})
		for _, id := range []string{"gone", "runs", "ended"} {
			if err := one.BeginRequest(ctx, store.Request{ID: id, Customer: "c"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := one.EndRequest(ctx, store.Request{ID: "ended", Status: store.Completed}); err != nil {
			t.Fatal(err)
		}
		// Of two processes more, one was last heard of a minute ago, and one just now.
		on.Exec(`INSERT INTO instances VALUES ('past', (unix_timestamp() - 60) * 1000000), ('there', (unix_timestamp() + 5) * 1000000);
			UPDATE requests SET instance = 'past' WHERE id IN ('gone', 'ended'); UPDATE requests SET instance = 'there' WHERE id = 'runs'`)
		other := open(t, url, mysql.Options{})
		for id, want := range map[string]store.Status{"gone": store.Failed, "runs": store.Running, "ended": store.Completed} {
			r, err := other.Request(ctx, "c", id)
			if err != nil || r.Status != want || (want == store.Failed) != (r.Code == store.ServiceRestarted) {
				t.Errorf("%s is %+v, %v; want %s", id, r, err, want)
			}
		}
		rows, err := other.AuditOf(ctx, "", time.Time{}, 9)
		if err != nil || len(rows) != 1 || rows[0].Outcome != store.ServiceRestarted || rows[0].RequestID != "gone" {
			t.Errorf("the audit is %+v, %v", rows, err)
		}
		// One that ends in good order has nothing left running.
		if err := other.BeginRequest(ctx, store.Request{ID: "left", Customer: "c"}); err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := one.Request(ctx, "c", "left"); err != nil || r.Status != store.Failed {
			t.Errorf("what was left running is %+v, %v", r, err)
		}
	})
}

// keepState makes a schedule whose job has kept a state, which is no text.
func keepState(t *testing.T, in *sqlite.Store) {
	t.Helper()
	ctx := t.Context()
	if _, err := in.PutSchedule(ctx, store.Schedule{ID: "sch", Customer: "c", Name: "changes", Procedure: "changes",
		Overlap: store.OverlapSkip, Missed: store.MissedOnce, State: store.ScheduleState{Epoch: "e"}}, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	n := ordered("of a schedule")
	n.Holder, n.Job.Schedule, n.Job.StateEpoch = "w", "sch", "e"
	_, lease, _, err := in.CreateJob(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: store.Result{Bucket: "b", ObjectKey: "k"},
		State: &store.NewState{Sealed: []byte{0xff, 0, 0xfe}}}); err != nil {
		t.Fatal(err)
	}
	of, err := in.Schedule(ctx, "c", "sch")
	if err != nil || of.State.Revision != 1 {
		t.Fatalf("%+v, %v", of, err)
	}
}

// TestMove: a record in a file becomes one on a server, whole, and only where that one is empty.
func TestMove(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		ctx := t.Context()
		dir := t.TempDir() + "/data"
		from, err := sqlite.Open(ctx, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		hostile := "'; \x00\"\\ Zoë \U0001f9ea"
		for i := range 250 {
			n := ordered(fmt.Sprint("j", i))
			n.Job.Request, n.Job.Modifier = []byte{0, 0xff, byte(i)}, hostile
			n.Idempotency = &store.Idempotency{Customer: "c", Route: "jobs", Key: n.Job.ID}
			if _, _, _, err := from.CreateJob(ctx, n); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_, lease, _, err := from.ClaimJob(ctx, "w", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := from.EndJob(ctx, lease, store.Ending{
					Event: store.JobCompleted, Result: store.Result{Bucket: "b", ObjectKey: "k", PeakMemory: 1.5e9, CPUSeconds: 0.1, Manifest: []byte("{}")},
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		keepState(t, from)
		for _, err := range []error{
			from.CreateKey(ctx, store.Key{ID: "k", Hash: [32]byte{0xfe, 0}, Kind: store.Live, Customer: "c", Label: hostile}, 0, store.Audit{What: hostile}),
			from.CreateSealingKey(ctx, store.SealingKey{ID: "s", Customer: "c", Sealed: []byte{0xfe, 0}}, store.Audit{}),
			from.ActivateSealingKey(ctx, "c", "s", time.Now(), store.Audit{}),
			from.SetDisabled(ctx, "d", true, store.Audit{}),
			from.BeginRequest(ctx, store.Request{ID: "r", Customer: "c", Receipt: []byte{0xff}}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := from.AddSealingUses(ctx, "c", "s", 7); err != nil {
			t.Fatal(err)
		}
		deliveries := map[string]store.Verdict{"delivered": store.Accepted, "dead": store.Final, "waiting": store.Again}
		for id := range deliveries {
			events, err := from.Outbox(ctx, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			one := store.Delivery{
				ID: id, Customer: "c", Channel: store.ByWebhook, Own: true, Event: events[0].Event, Job: events[0].Job, Data: []byte(`{"x":"` + "\U0001f9ea" + `"}`),
			}
			if n, err := from.Expand(ctx, []store.Expansion{{Event: events[0], Deliveries: []store.Delivery{one}}}); err != nil || n != 1 {
				t.Fatal(n, err)
			}
		}
		for _, err := range []error{
			from.PutWebhook(ctx, store.Webhook{
				Customer: "c", URL: "https://c.example/" + hostile, Events: []string{"job.completed"}, Enabled: true, Headers: []byte{0xff, 0},
				Retry: store.Retry{Durable: true, Multiplier: 1.25},
			}, store.Audit{}),
			from.CreateWebhookSecret(ctx, store.WebhookSecret{Customer: "c", ID: "w", Sealed: []byte{0xff}}, store.Audit{}),
			from.PutOutbox(ctx, []store.OutboxEvent{{Customer: "c", Event: store.EventMaintenance, Data: []byte{0xff, 0}}}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range deliveries {
			claimed, ok, err := from.ClaimDeliveries(ctx, "w")
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			outcome := store.Outcome{Verdict: deliveries[claimed.Deliveries[0].ID], Code: "webhook.status", Message: hostile}
			if _, err := from.EndAttempt(ctx, claimed.Lease, outcome, durably); err != nil {
				t.Fatal(err)
			}
		}
		to := open(t, on.DSN(on.Database()), mysql.Options{})
		before := to.Version()
		streamed(t, from)
		streams, done, err := from.StreamMoves(ctx, to.MakeStream)
		if err != nil {
			t.Fatal(err)
		}
		moved, err := sqlrecord.Move(ctx, from.Record, to.Record, streams...)
		if err := errors.Join(err, done()); err != nil {
			t.Fatal(err)
		}
		moved = streamsMoved(t, moved)
		rows := map[string]int64{}
		for _, m := range moved {
			rows[m.Table] = m.Rows
		}
		if rows["jobs"] != 251 || rows["keys"] != 1 || rows["outbox"] != 124 || rows["idempotency"] != 250 || rows["sealing_uses"] != 1 || rows["requests"] != 1 {
			t.Errorf("moved were %v", rows)
		}
		if rows["webhooks"] != 1 || rows["webhook_secrets"] != 1 || rows["deliveries"] != 3 || rows["delivery_attempts"] != 3 || rows["endpoints"] != 1 ||
			rows["delivery_shares"] != 1 {
			t.Errorf("moved were %v", rows)
		}
		// Every table that there is has moved.
		names := func(db *sql.DB, text string) (all []string) {
			t.Helper()
			found, err := db.Query(text)
			if err != nil {
				t.Fatal(err)
			}
			defer found.Close()
			for found.Next() {
				var name string
				if err := found.Scan(&name); err != nil {
					t.Fatal(err)
				}
				all = append(all, name)
			}
			return all
		}
		file, err := sql.Open("sqlite", "file:"+dir+"/record.db?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		want := slices.Sorted(maps.Keys(rows))
		for _, got := range [][]string{
			// job_counts are kept by triggers, from what moves; counters are a record's own.
			names(file, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT IN ('job_counts', 'counters') ORDER BY 1"),
			names(on.Open(on.Database()), `SELECT table_name FROM information_schema.tables WHERE table_schema = database()
				AND table_name NOT IN ('record', 'record_schema', 'counters', 'instances', 'stream_schema')
				AND table_name NOT LIKE 'stream!_%!_%' ESCAPE '!' ORDER BY binary table_name`),
		} {
			if !slices.Equal(got, want) {
				t.Errorf("the tables are %v, and moved were %v", got, want)
			}
		}
		if to.Version() == before {
			t.Error("nobody is told that there are keys now")
		}
		same := func(what string, ask func(s storetest.Store) (any, error)) {
			t.Helper()
			a, errA := ask(from)
			b, errB := ask(to)
			if errA != nil || errB != nil || fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
				t.Errorf("%s:\n%+v, %v\n%+v, %v", what, a, errA, b, errB)
			}
		}
		same("keys", func(s storetest.Store) (any, error) { return s.Keys(ctx) })
		same("sealing keys", func(s storetest.Store) (any, error) { return s.SealingKeys(ctx, "c") })
		same("jobs", func(s storetest.Store) (any, error) {
			all, _, err := s.Jobs(ctx, store.JobFilter{Customer: "c", Limit: 1000})
			return all, err
		})
		same("webhook", func(s storetest.Store) (any, error) { return s.Webhook(ctx, "c") })
		same("webhook secrets", func(s storetest.Store) (any, error) { return s.WebhookSecrets(ctx, "c") })
		same("deliveries", func(s storetest.Store) (any, error) {
			all, _, err := s.Deliveries(ctx, store.DeliveryFilter{Customer: "c", Limit: 1000})
			return all, err
		})
		same("attempts", func(s storetest.Store) (any, error) { return s.Attempts(ctx, "c", "dead") })
		same("endpoints", func(s storetest.Store) (any, error) { return s.Endpoints(ctx, "c") })
		same("outbox", func(s storetest.Store) (any, error) { return s.Outbox(ctx, 0, 1000) })
		same("audit", func(s storetest.Store) (any, error) { return s.AuditOf(ctx, "", time.Time{}, 10_000) })
		same("schedules", func(s storetest.Store) (any, error) { return s.Schedules(ctx, "") })
		same("streams", func(s storetest.Store) (any, error) { return s.Streams(ctx) })
		streamGoesOn(t, to)
		// It goes on where the other has ended.
		j, lease, ok, err := to.ClaimJob(ctx, "w", nil)
		if err != nil || !ok {
			t.Fatal(j, ok, err)
		}
		if _, err := to.EndJob(ctx, lease, store.Ending{Event: store.JobFailed}); err != nil {
			t.Fatal(err)
		}
		if events, err := to.Outbox(ctx, 127, 9); err != nil || len(events) != 1 || events[0].Seq != 128 {
			t.Errorf("the outbox goes on with %+v, %v", events, err)
		}
		if _, err := sqlrecord.Move(ctx, from.Record, to.Record); !fault.Is(err, store.CodeExists) {
			t.Errorf("a second move: %v", err)
		}
	})
}

// streamed gives a record a stream, of which one document was acknowledged and another is large.
func streamed(t *testing.T, s *sqlite.Store) {
	t.Helper()
	ctx := t.Context()
	for _, customer := range []string{"c", "unused"} {
		if _, err := s.PutStream(ctx, store.Stream{Customer: customer, Secret: []byte{0xff, 0}, Channels: []string{"logs"}}, store.Audit{}); err != nil {
			t.Fatal(err)
		}
	}
	log, err := s.Log(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	a := store.Append{Position: `{"file":"binlog.000001"}`}
	for _, id := range []string{"a", "ü", strings.Repeat("long", 100)} {
		a.Changes = append(a.Changes, store.Change{Channel: "logs", Type: "entry", ID: id, Sealed: bytes.Repeat([]byte{0, 0xff, '\''}, 300_000)})
	}
	_, err = log.Append(ctx, 7, a)
	if err := errors.Join(err, log.Acknowledge(ctx, 7, "logs", 1), log.Close()); err != nil {
		t.Fatal(err)
	}
}

// streamsMoved looks at what of streams was moved, and returns the rest.
func streamsMoved(t *testing.T, moved []sqlrecord.Moved) (rest []sqlrecord.Moved) {
	t.Helper()
	got := map[string]int64{}
	for _, m := range moved {
		if strings.HasPrefix(m.Table, "stream ") {
			got[m.Table] = m.Rows
		} else {
			rest = append(rest, m)
		}
	}
	want := map[string]int64{"stream c: state": 1, "stream c: channels": 1, "stream c: documents": 3, "stream c: waiting": 2}
	if !maps.Equal(got, want) {
		t.Errorf("moved were %v", got)
	}
	return rest
}

// streamGoesOn: the stream is as it was, and its numbers are above all that the other record may give yet.
func streamGoesOn(t *testing.T, s *mysql.Store) {
	t.Helper()
	ctx := t.Context()
	log, err := s.Log(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	state, err := log.State(ctx)
	c := state.Channels["logs"]
	if err != nil || state.Position != `{"file":"binlog.000001"}` || c.Acknowledged != 1 || c.Waiting != 2 || c.WaitingBytes != 1_800_000 || c.Sequence < 1e15 {
		t.Errorf("%+v, %v", state, err)
	}
	waiting, err := log.Waiting(ctx, "logs", 1, 9, 1<<30)
	if err != nil || len(waiting) != 2 || waiting[0].ID != "ü" || waiting[1].ID != strings.Repeat("long", 100) || waiting[1].Sequence != c.Sequence ||
		!bytes.Equal(waiting[1].Sealed, bytes.Repeat([]byte{0, 0xff, '\''}, 300_000)) {
		t.Errorf("%d wait, %v", len(waiting), err)
	}
	_, err = log.Append(ctx, 6, store.Append{})
	if !fault.Is(err, store.CodeStreamLost) {
		t.Errorf("expected %s, got %v", store.CodeStreamLost, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestTLS: a server whose certificate nobody vouches for is taken by its key alone, and by no other.
func TestTLS(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		url := on.DSN(on.Database())
		_, err := mysql.Open(t.Context(), config.NewSecret(url+"?tls=verify-ca"), mysql.Options{})
		if !fault.Is(err, store.CodeServer) || fault.From(err).Details["tls_pin"] == "" {
			t.Fatalf("expected %s with a pin, got %v", store.CodeServer, err)
		}
		open(t, url+"?tls_pin="+fault.From(err).Details["tls_pin"], mysql.Options{})
		refused(t, url+"?tls_pin=sha256:"+strings.Repeat("ab", 32), store.CodeServer, "another than tls_pin says")
	})
}
