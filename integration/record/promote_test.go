package record

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestPromotedReplica: a replica that has not got the last changes takes the primary's place. What it had not got is lost,
// as was warned of; what was given by the lost server, leases and numbers of runs, is not taken for what this one gives.
func TestPromotedReplica(t *testing.T) {
	t.Parallel()
	primary := dbtest.Private(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
	replica := dbtest.Private(t, "--log-bin=binlog", "--server-id=2", "--binlog-format=ROW")
	const account = "CREATE USER 'rec'@'127.0.0.1' IDENTIFIED BY 'hunter2'; GRANT ALL ON *.* TO 'rec'@'127.0.0.1';"
	primary.Exec(account)
	replica.Exec(account + fmt.Sprintf(`CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %d, MASTER_USER = 'rec', MASTER_PASSWORD = 'hunter2',
		MASTER_LOG_FILE = '%s', MASTER_LOG_POS = %s; START SLAVE; SET GLOBAL read_only = 1`,
		primary.Port(), at(primary)[0], at(primary)[1]))
	primary.Exec("CREATE DATABASE record")
	between := startProxy(t, primary.Port())
	address := func(port int) string {
		u := url.URL{Scheme: "mysql", User: url.UserPassword("rec", "hunter2"), Host: fmt.Sprint("127.0.0.1:", port), Path: "/record", RawQuery: "tls=disabled"}
		return u.String()
	}
	ctx := t.Context()
	s := open(t, address(between.port()), mysql.Options{})
	warned := false
	for _, w := range s.Warnings() {
		warned = warned || w.Setting == "replication" && strings.Contains(w.Text, "are lost")
	}
	if !warned {
		t.Errorf("nobody is told what a fail-over can lose: %+v", s.Warnings())
	}
	for _, id := range []string{"j1", "j2"} {
		if _, _, _, err := s.CreateJob(ctx, ordered(id)); err != nil {
			t.Fatal(err)
		}
	}
	log := streamOfThree(t, s)
	here := at(primary)
	if got := strings.TrimSpace(replica.Query(fmt.Sprintf("SELECT MASTER_POS_WAIT('%s', %s, 60)", here[0], here[1]))); strings.HasPrefix(got, "-") || got == "NULL" {
		t.Fatalf("the replica does not follow: %s\n%s", got, replica.Query("SHOW SLAVE STATUS"))
	}
	refused(t, address(replica.Port()), store.CodeServer, "read-only", "primary")
	replica.Exec("STOP SLAVE")

	// What the replica does not get: two takings of the first job, a third job, and an end.
	_, first, _, err := s.ClaimJob(ctx, "lost", nil)
	if err != nil || first.Job != "j1" {
		t.Fatal(first, err)
	}
	if _, err := s.EndJob(ctx, first, store.Ending{Event: store.JobReturned}); err != nil {
		t.Fatal(err)
	}
	_, lost, _, err := s.ClaimJob(ctx, "lost", nil)
	if err != nil || lost.Job != "j1" {
		t.Fatal(lost, err)
	}
	if _, _, _, err := s.CreateJob(ctx, ordered("j3")); err != nil {
		t.Fatal(err)
	}
	if err := s.SetDisabled(ctx, "d", true, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	before := s.Version()
	fifth, ok, err := s.ClaimStream(ctx, "c", "lost")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if n, err := log.Append(ctx, fifth.Fence, store.Append{Position: "p4", Changes: []store.Change{document("d")}}); err != nil || n != 1 {
		t.Fatal(n, err)
	}

	replica.Exec("RESET SLAVE ALL; SET GLOBAL read_only = 0")
	between.lead(replica.Port())
	between.hangUp()

	// The numbers that the new primary knows nothing of are given to nothing else, and what was not acknowledged gets new ones.
	numberedAnew(t, s, log, fifth)
	// The worker whose lease the new primary knows nothing of is refused, before anybody else has the job and after.
	if _, err := s.RenewJob(ctx, lost, store.Progress{}); !fault.Is(err, store.CodeLeaseLost) {
		t.Errorf("a lease of the lost server is renewed: %v", err)
	}
	taken, lease, ok, err := s.ClaimJob(ctx, "lost", nil)
	if err != nil || !ok || lease.Job != "j1" {
		t.Fatal(lease, ok, err)
	}
	if lease.Server == lost.Server || lease.Fence == lost.Fence || lease.Fence == first.Fence {
		t.Errorf("the leases are %+v and %+v", lost, lease)
	}
	if taken.Runs <= int(lost.Fence) {
		t.Errorf("run %d writes to the object of run %d", taken.Runs, lost.Fence)
	}
	for _, l := range []store.Lease{first, lost} {
		l.Holder = "lost"
		if _, err := s.EndJob(ctx, l, store.Ending{Event: store.JobCompleted}); !fault.Is(err, store.CodeLeaseLost) {
			t.Errorf("a lease of the lost server ends the job: %v", err)
		}
	}
	if _, err := s.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: store.Result{ObjectKey: "k"}}); err != nil {
		t.Error(err)
	}
	if _, err := s.Job(ctx, "c", "j3"); !fault.Is(err, store.CodeUnknown) {
		t.Errorf("what was warned of: %v", err)
	}
	// Who is let in is read again, though the count of changes may be one that has been before.
	for deadline := time.Now().Add(20 * time.Second); s.Version() == before; {
		if time.Now().After(deadline) {
			t.Fatal("nobody reads again who is let in")
		}
		if _, err := s.Disabled(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// at is where the server's binary log ends.
func at(s *dbtest.Server) []string { return strings.Fields(s.Query("SHOW MASTER STATUS"))[:2] }

// TestReadOnlyForAWhile: while the server takes no changes none is made, and nothing has to be started again afterwards.
func TestReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	db := dbtest.Private(t)
	db.Exec("CREATE USER 'rec'@'127.0.0.1' IDENTIFIED BY 'hunter2'; GRANT ALL ON " + db.Database() + ".* TO 'rec'@'127.0.0.1'")
	u := url.URL{Scheme: "mysql", User: url.UserPassword("rec", "hunter2"), Host: fmt.Sprint("127.0.0.1:", db.Port()), Path: "/" + db.Database()}
	s := open(t, u.String(), mysql.Options{})
	if _, _, _, err := s.CreateJob(t.Context(), ordered("before")); err != nil {
		t.Fatal(err)
	}
	db.Exec("SET GLOBAL read_only = 1")
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, _, err := s.CreateJob(short, ordered("during")); err != context.DeadlineExceeded {
		t.Errorf("a change was made, or given up: %v", err)
	}
	if _, err := s.Job(t.Context(), "c", "before"); err != nil {
		t.Errorf("what can be read is not: %v", err)
	}
	db.Exec("SET GLOBAL read_only = 0")
	if _, _, _, err := s.CreateJob(t.Context(), ordered("during")); err != nil {
		t.Error(err)
	}
}

func document(id string) store.Change {
	return store.Change{Channel: "entities", Type: "patient", ID: id, Sealed: []byte(id)}
}

// streamOfThree is the database of a stream with three documents, of which the receiver has the first.
func streamOfThree(t *testing.T, s *mysql.Store) store.StreamLog {
	t.Helper()
	ctx := t.Context()
	if _, err := s.PutStream(ctx, store.Stream{Customer: "c"}, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SwitchStream(ctx, "c", true, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	lease, ok, err := s.ClaimStream(ctx, "c", "lost")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	log, err := s.Log(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	a := store.Append{Position: "p3", Changes: []store.Change{document("a"), document("b"), document("c")}}
	if _, err := log.Append(ctx, lease.Fence, a); err != nil {
		t.Fatal(err)
	}
	if err := log.Acknowledge(ctx, lease.Fence, "entities", 1); err != nil {
		t.Fatal(err)
	}
	return log
}

// numberedAnew: a server that has not got the fourth document of a stream gives its number to nothing else.
func numberedAnew(t *testing.T, s *mysql.Store, log store.StreamLog, lost store.StreamLease) {
	t.Helper()
	ctx := t.Context()
	waiting, err := log.Waiting(ctx, "entities", 1, 9, 1<<20)
	if err != nil || len(waiting) != 2 || waiting[0].ID != "b" || waiting[0].Sequence < 1e15 || waiting[1].Sequence != waiting[0].Sequence+1 {
		t.Fatalf("%+v waits, %v", waiting, err)
	}
	if _, err := s.RenewStream(ctx, lost); !fault.Is(err, store.CodeStreamLost) {
		t.Errorf("expected %s, got %v", store.CodeStreamLost, err)
	}
	if err := s.ReleaseStream(ctx, store.StreamLease{Customer: "c", Holder: "lost", Fence: lost.Fence - 1}); err != nil {
		t.Fatal(err)
	}
	lease, ok, err := s.ClaimStream(ctx, "c", "new")
	if err != nil || !ok || lease.Fence <= lost.Fence+1 {
		t.Fatal(lease, ok, err)
	}
	if _, err := log.Append(ctx, lease.Fence, store.Append{Position: "p4", Changes: []store.Change{document("d")}}); err != nil {
		t.Fatal(err)
	}
	state, err := log.State(ctx)
	if c := state.Channels["entities"]; err != nil || c.Sequence != waiting[1].Sequence+1 || c.Waiting != 3 || c.Acknowledged != 1 || state.Position != "p4" {
		t.Errorf("%+v, %v", state, err)
	}
	if _, err := log.Append(ctx, lost.Fence, store.Append{Position: "p9"}); !fault.Is(err, store.CodeStreamLost) {
		t.Errorf("expected %s, got %v", store.CodeStreamLost, err)
	}
}
