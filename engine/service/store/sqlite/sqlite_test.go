package sqlite_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/engine/service/store/storetest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// childVariable has this test binary be a service, with the data directory that it names.
const childVariable = "SQLITE_TEST_DIRECTORY"

func TestMain(m *testing.M) {
	for variable, child := range map[string]func(string){childVariable: child, jobsVariable: childOfJobs, streamsVariable: childOfStreams} {
		if dir := os.Getenv(variable); dir != "" {
			child(dir)
			return
		}
	}
	goleak.VerifyTestMain(m)
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	return openAt(t, dir, func() time.Time { return noon })
}

func openAt(t testing.TB, dir string, now func() time.Time) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir, now)
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

func dataDir(t testing.TB) string { return filepath.Join(t.TempDir(), "da?ta#1%20") }

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		clock := storetest.NewClock()
		return storetest.Opened{Store: openAt(t, dataDir(t), clock.Now), Advance: clock.Advance}
	})
}

// TestTwins does the same to both implementations and compares what they say.
func TestTwins(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			one, other := storetest.NewClock(), storetest.NewClock()
			storetest.Compare(t, rand.New(rand.NewPCG(seed, 1)),
				storetest.Opened{Store: openAt(t, dataDir(t), one.Now), Advance: one.Advance},
				storetest.Opened{Store: memory.NewAt(other.Now), Advance: other.Advance})
		})
	}
}

// TestStreamTwins does the same with streams.
func TestStreamTwins(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			one, other := storetest.NewClock(), storetest.NewClock()
			storetest.CompareStreams(t, rand.New(rand.NewPCG(seed, 1)),
				storetest.Opened{Store: openAt(t, dataDir(t), one.Now), Advance: one.Advance},
				storetest.Opened{Store: memory.NewAt(other.Now), Advance: other.Advance})
		})
	}
}

func key(id string) store.Key {
	return store.Key{ID: id, Hash: sha256.Sum256([]byte(id)), Kind: store.Live, Customer: "c", CreatedAt: noon}
}

func TestKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := open(t, dir)
	ctx := t.Context()
	for _, err := range []error{
		s.CreateKey(ctx, key("a"), 0, store.Audit{At: noon, What: "made"}),
		s.SetDisabled(ctx, "c", true, store.Audit{At: noon, What: "off"}),
		s.BeginRequest(ctx, store.Request{ID: "req_1", Customer: "c", StartedAt: noon}),
		s.BeginRequest(ctx, store.Request{ID: "req_2", Customer: "c", StartedAt: noon}),
		s.EndRequest(ctx, store.Request{ID: "req_2", Status: store.Completed, EndedAt: noon}),
		s.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	later := noon.Add(time.Hour)
	again, err := sqlite.Open(ctx, dir, func() time.Time { return later })
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if keys, err := again.Keys(ctx); err != nil || len(keys) != 1 || !reflect.DeepEqual(keys[0], key("a")) {
		t.Errorf("the key is not there as it was: %+v, %v", keys, err)
	}
	if off, err := again.Disabled(ctx); err != nil || len(off) != 1 {
		t.Errorf("the switch is not as it was: %v, %v", off, err)
	}
	rows, err := again.AuditOf(ctx, "", time.Time{}, 9)
	if err != nil || len(rows) != 3 {
		t.Fatalf("the audit is not as it was: %v, %v", rows, err)
	}
	want := store.Audit{At: later, Who: "service", What: "request.end", Customer: "c", From: "local", RequestID: "req_1", Outcome: "SERVICE_RESTARTED"}
	if !reflect.DeepEqual(rows[2], want) {
		t.Errorf("the audit says of the request that was running: %+v", rows[2])
	}
	// What was running when the process ended has failed.
	r, err := again.Request(ctx, "c", "req_1")
	if err != nil || r.Status != store.Failed || r.Code != "SERVICE_RESTARTED" || !r.EndedAt.Equal(later) || r.Message == "" {
		t.Errorf("a request that was running: %+v, %v", r, err)
	}
	if r, err := again.Request(ctx, "c", "req_2"); err != nil || r.Status != store.Completed || r.Code != "" {
		t.Errorf("a request that had ended: %+v, %v", r, err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if err := s.CreateKey(t.Context(), key("a"), 0, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) < 3 { // the lock, the database and its log
			t.Fatalf("%v, %v", entries, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s has the mode %v: %v", e.Name(), info.Mode(), err)
			}
		}
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s has the mode %v: %v", d, info.Mode(), err)
			}
		}
	}
	check()

	// Where somebody has opened it to others, it is closed again.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "record.db": 0o644, "lock": 0o666} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, dir)
	if err := again.CreateKey(t.Context(), key("b"), 0, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestDirectoryOfOthers(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, dir, want string) {
		t.Helper()
		s, err := sqlite.Open(t.Context(), dir, nil)
		if err == nil {
			s.Close()
		}
		if !fault.Is(err, store.CodeDirectory) || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %s with %q, got %v", store.CodeDirectory, want, err)
		}
	}
	t.Run("open, with other files in it", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "holds other files")
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("its mode was changed to %v: %v", info.Mode(), err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, file, "not a directory")
	})
	for _, name := range []string{"lock", "record.db"} {
		t.Run("a link as "+name, func(t *testing.T) {
			t.Parallel()
			dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
			if err := errors.Join(os.Chmod(dir, 0o700), os.WriteFile(elsewhere, []byte("theirs"), 0o644), os.Symlink(elsewhere, filepath.Join(dir, name))); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, "symbolic links")
			text, err := os.ReadFile(elsewhere)
			if err != nil || string(text) != "theirs" {
				t.Errorf("the link was followed: %q, %v", text, err)
			}
			if info, err := os.Stat(elsewhere); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("the link was followed: %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestSecondInProcess(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := open(t, dir)
	if _, err := sqlite.Open(t.Context(), dir, nil); !fault.Is(err, store.CodeLocked) {
		t.Fatalf("expected %s, got %v", store.CodeLocked, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// raw opens the database as another program does.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	name := url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(dir, "record.db")} // whatever is in the path
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestSchemaIsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, statement, code, says string }{
		{"newer", "PRAGMA user_version = 99", store.CodeNewer, "version 99"},
		{"another program's", "PRAGMA application_id = 7", store.CodeDamaged, "another program"},
		{"another program's without a mark", "PRAGMA application_id = 0", store.CodeDamaged, "another program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			if err := open(t, dir).Close(); err != nil {
				t.Fatal(err)
			}
			db := raw(t, dir)
			if _, err := db.Exec(c.statement); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the directory is not left locked
				if _, err := sqlite.Open(t.Context(), dir, nil); !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("expected %s with %q, got %v", c.code, c.says, err)
				}
			}
		})
	}
	t.Run("no database", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o700), os.WriteFile(filepath.Join(dir, "record.db"), []byte(strings.Repeat("no database ", 500)), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), dir, nil); !fault.Is(err, store.CodeDamaged) {
			t.Errorf("expected %s, got %v", store.CodeDamaged, err)
		}
	})
}

// TestAuditIsAppendOnly: nobody changes it by mistake, by whatever statement.
func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	if err := s.AppendAudit(t.Context(), store.Audit{At: noon, What: "x"}); err != nil {
		t.Fatal(err)
	}
	db := raw(t, dir)
	for _, statement := range []string{"UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "REPLACE INTO audit SELECT seq, 0, '', '', '', '', '', '', '', '' FROM audit"} {
		if _, err := db.Exec("PRAGMA recursive_triggers = 1; " + statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: expected a refusal, got %v", statement, err)
		}
	}
	// What is older than it is kept goes by one way, and nothing else does then either.
	if err := s.AppendAudit(t.Context(), store.Audit{At: noon.Add(time.Second), What: "kept"}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PruneAudit(t.Context(), noon.Add(time.Second)); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, err := db.Exec("DELETE FROM audit WHERE what = 'kept'"); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("expected a refusal, got %v", err)
	}
}

// child is a service that writes until it is killed. It says what was acknowledged, a line each.
func child(dir string) {
	s, err := sqlite.Open(context.Background(), dir, nil)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("open")
	var mu sync.Mutex
	say := func(line ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(line...)
	}
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				audit := store.Audit{At: noon, What: id}
				if err := errors.Join(
					s.CreateKey(context.Background(), key(id), 0, audit),
					s.BeginRequest(context.Background(), store.Request{ID: id, Customer: "c", StartedAt: noon}),
				); err != nil {
					say("error", err)
					return
				}
				say(id)
			}
		}()
	}
	select {}
}

// startChild starts one, and returns what it says after it has opened its data directory.
func startChild(t *testing.T, dir string) (cmd *exec.Cmd, says *bufio.Reader) {
	t.Helper()
	return startChildOf(t, childVariable, dir)
}

// startChildOf starts one of a kind, by a program that runs it where one is given.
func startChildOf(t *testing.T, kind, dir string, by ...string) (cmd *exec.Cmd, says *bufio.Reader) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := append(by, program)
	cmd = exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), kind+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	says = bufio.NewReader(out)
	if line, err := says.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the service says %q: %v", line, err)
	}
	return cmd, says
}

// TestKilled kills services in the midst of writing: what was acknowledged is there, nothing is half there, and the
// directory is free.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	acknowledged := map[string]bool{}
	for round := range 8 {
		cmd, says := startChild(t, dir)

		// While it lives the directory is its own.
		_, err := sqlite.Open(t.Context(), dir, nil)
		if !fault.Is(err, store.CodeLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
			t.Fatalf("expected %s with the number %d, got %v", store.CodeLocked, cmd.Process.Pid, err)
		}

		for range 1 + rand.IntN(60) {
			line, err := says.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "error") {
				t.Fatalf("the service says %q: %v", line, err)
			}
			acknowledged[strings.TrimSpace(line)] = true
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(says) // what it had said before the end; a last line may be cut
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(rest)) {
			if id, whole := strings.CutSuffix(line, "\n"); whole {
				acknowledged[id] = true
			}
		}
		_ = cmd.Wait() // it was killed

		checkRecord(t, dir, acknowledged, round)
	}
}

func checkRecord(t *testing.T, dir string, acknowledged map[string]bool, round int) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keys, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, k := range keys {
		there[k.ID] = true
	}
	rows, err := s.AuditOf(t.Context(), "", time.Time{}, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, a := range rows {
		switch {
		case there[a.What]:
			made++
		case a.What != "request.end":
			t.Fatalf("round %d: the audit has a key %s that is not there", round, a.What)
		}
	}
	if made != len(keys) {
		t.Fatalf("round %d: %d keys and %d audit rows of them", round, len(keys), made)
	}
	for id := range acknowledged {
		if !there[id] {
			t.Fatalf("round %d: the key %s was acknowledged, and is not there", round, id)
		}
		if r, err := s.Request(t.Context(), "c", id); err != nil || r.Status != store.Failed || r.Code != store.ServiceRestarted {
			t.Fatalf("round %d: the request %s is %+v, %v", round, id, r, err)
		}
	}
	var result string
	if err := raw(t, dir).QueryRow("PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
		t.Fatalf("round %d: the database is %q: %v", round, result, err)
	}
}

// BenchmarkWrite shows what sharing a commit is worth: requests that end at the same moment.
func BenchmarkWrite(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "data"))
	for _, together := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			var wg sync.WaitGroup
			for g := range together {
				wg.Go(func() {
					for range b.N/together + min(1, max(0, b.N%together-g)) {
						if err := s.AppendAudit(ctx, store.Audit{At: noon, What: "request.end", Customer: "c"}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
