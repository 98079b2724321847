package sqlite_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// streamsVariable has this test binary append to a stream until it is killed.
const streamsVariable = "SQLITE_TEST_STREAMS"

func document(id string) store.Change {
	return store.Change{Channel: "entities", Type: "patient", ID: id, Digest: sha256.Sum256([]byte(id)), Sealed: []byte("sealed " + id)}
}

// childOfStreams appends pieces, and says of each that it is written.
func childOfStreams(dir string) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := s.Log(ctx, "c")
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := log.State(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open")
	end, _ := strconv.ParseInt(os.Getenv(endVariable), 10, 64) // 0 is never
	for n := state.Channels["entities"].Sequence / streamPiece; end == 0 || n < end; n++ {
		all := make([]store.Change, streamPiece)
		for i := range all {
			all[i] = document(fmt.Sprint(n, " ", i))
		}
		if _, err := log.Append(ctx, 1, store.Append{Position: fmt.Sprint(n + 1), Changes: all}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n + 1)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

const streamPiece = 400

func putStream(t *testing.T, s *sqlite.Store, customer string) {
	t.Helper()
	if _, err := s.PutStream(t.Context(), store.Stream{Customer: customer, URL: "https://receiver.test/"}, store.Audit{}); err != nil {
		t.Fatal(err)
	}
}

func openLog(t *testing.T, s *sqlite.Store, customer string) store.StreamLog {
	t.Helper()
	log, err := s.Log(t.Context(), customer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func stateOf(t *testing.T, log store.StreamLog) store.StreamState {
	t.Helper()
	state, err := log.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func appendTo(t *testing.T, log store.StreamLog, position string, ids ...string) {
	t.Helper()
	a := store.Append{Position: position}
	for _, id := range ids {
		a.Changes = append(a.Changes, document(id))
	}
	if _, err := log.Append(t.Context(), 1, a); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWhileAppending: a process that is killed in the middle of a piece leaves all of it or nothing, and all that it
// said to have written.
func TestKilledWhileAppending(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := open(t, dir)
	putStream(t, s, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	said := int64(0)
	for round := range 6 {
		cmd, says := startChildOf(t, streamsVariable, dir)
		lines := bufio.NewScanner(says)
		var one int64
		for n := 0; n < 2+round && lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &one); err != nil {
				t.Fatal(lines.Text())
			}
			said = max(said, one)
		}
		time.AfterFunc(time.Duration(round)*3*time.Millisecond, func() { _ = cmd.Process.Kill() }) // in the middle of the next
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &one); err == nil {
				said = max(said, one)
			}
		}
		_, _ = io.Copy(io.Discard, says)
		_ = cmd.Wait() // it was killed
		s, err := sqlite.Open(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		log, err := s.Log(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		state := stateOf(t, log)
		c := state.Channels["entities"]
		if c.Sequence < said*streamPiece || state.Position != fmt.Sprint(c.Sequence/streamPiece) || c.Sequence%streamPiece != 0 || c.Waiting != c.Sequence {
			t.Fatalf("%d pieces were written, as it said, and there is %+v", said, state)
		}
		waiting, err := log.Waiting(t.Context(), "entities", 0, int(c.Sequence)+1, 1<<40)
		if err != nil || int64(len(waiting)) != c.Sequence || waiting[0].Sequence != 1 || waiting[len(waiting)-1].Sequence != c.Sequence {
			t.Fatalf("%d documents wait: %v", len(waiting), err)
		}
		if n, err := log.Above(t.Context(), "entities", 0); err != nil || n != c.Sequence {
			t.Fatalf("the index has %d documents: %v", n, err)
		}
		if err := errors.Join(log.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if said < 6 {
		t.Errorf("there were %d pieces", said)
	}
}

// TestStreamPowerLoss takes the power away at places in what a process writes that appends to a stream: each piece that it said
// to have written is there, and none in part.
func TestStreamPowerLoss(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		required.Missing(t, "strace was not found; install it with `make deps`")
	}
	dir, written := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "trace")
	s := open(t, dir)
	putStream(t, s, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(dir, "record.db"))
	if err != nil {
		t.Fatal(err)
	}
	cmd, says := startChildOf(t, streamsVariable, dir, "env", endVariable+"=12", strace, "-f", "-xx", "-y", "-s", "1000000", "-o", written,
		"-e", "trace=write,pwrite64,lseek,fsync,fdatasync,ftruncate,unlink,unlinkat")
	if _, err := io.Copy(io.Discard, says); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it has killed itself
	calls := trace(t, written)
	opened, end := 0, 0
	for _, c := range calls {
		if c.name == "said" && string(c.data) == "open\n" {
			opened = c.from
		}
		end = max(end, c.from)
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	// after are the pieces that are found when the power went at a place, and syncs counted up to another; and those that were
	// said to be written.
	after := func(power, kept int) (there, said int64, err error) {
		lost := filepath.Join(t.TempDir(), "data")
		if err := os.MkdirAll(filepath.Join(lost, "streams"), 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(lost)
		if err := os.WriteFile(filepath.Join(lost, "record.db"), record, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"c.db", "c.db-wal"} {
			content := disk(calls, filepath.Join(dir, "streams", name), power, kept, random)
			if err := os.WriteFile(filepath.Join(lost, "streams", name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range calls {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(c.data)), 10, 64); err == nil && c.name == "said" && c.from < power {
				said = n
			}
		}
		r, err := sqlite.Open(t.Context(), lost, nil)
		if err != nil {
			return 0, said, err
		}
		defer r.Close()
		log, err := r.Log(t.Context(), "c")
		if err != nil {
			return 0, said, err
		}
		state, err := log.State(t.Context())
		if err = errors.Join(err, log.Close()); err != nil || state.Position == "" {
			return 0, said, err
		}
		c := state.Channels["entities"]
		if there, err = strconv.ParseInt(state.Position, 10, 64); err == nil && c.Waiting != there*streamPiece {
			err = fmt.Errorf("%+v", state)
		}
		return there, said, err
	}
	for range 25 {
		power := opened + 1 + random.IntN(end-opened)
		if there, said, err := after(power, power); err != nil || there < said || there > said+1 {
			t.Fatalf("the power went at line %d of the trace: %d pieces were written, and %d are there: %v", power, said, there, err)
		}
	}
	// Were nothing synced after the beginning, pieces would be lost, and this test would see it.
	if there, said, err := after(end+1, opened); err == nil && there >= said {
		t.Fatal("a disk that syncs nothing has lost nothing")
	}
}

// TestStreamFiles: each stream has a file of its own, which only its user may read, and which is let go when nobody has it.
func TestStreamFiles(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := open(t, dir)
	for _, customer := range []string{"c", "other_1"} {
		putStream(t, s, customer)
		log := openLog(t, s, customer)
		appendTo(t, log, "p", "a")
		path := filepath.Join(dir, "streams", customer+".db")
		for _, name := range []string{path, path + "-wal"} {
			info, err := os.Stat(name)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is in use after it was closed: %v", err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "streams")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestStreamLost: a database that is gone is told of, and an empty file in its place begins anew, above all numbers that
// were ever given.
func TestStreamLost(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := open(t, dir)
	putStream(t, s, "c")
	log := openLog(t, s, "c")
	appendTo(t, log, "p", "a", "b")
	path := filepath.Join(dir, "streams", "c.db")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), 1, store.Append{Position: "q"}); !fault.Is(err, store.CodeAway) {
		t.Fatalf("expected %s, got %v", store.CodeAway, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Log(t.Context(), "c"); !fault.Is(err, store.CodeAway) || !strings.Contains(err.Error(), path) {
		t.Fatalf("expected %s, got %v", store.CodeAway, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, s, "c")
	if state := stateOf(t, log); state.Position != "" || len(state.Channels) != 0 {
		t.Errorf("it begins with %+v", state)
	}
	appendTo(t, log, "p", "a")
	if c := stateOf(t, log).Channels["entities"]; c.Sequence != noon.UnixMicro()+1 || c.Waiting != 1 {
		t.Errorf("the numbers begin with %+v", c)
	}
	// Not at every opening.
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, s, "c")
	appendTo(t, log, "p", "b")
	if c := stateOf(t, log).Channels["entities"]; c.Sequence != noon.UnixMicro()+2 {
		t.Errorf("the numbers go on with %+v", c)
	}
}

// TestStreamRestored: a record that was restored, with its streams, is behind the one that it is a copy of. What that one has
// numbered since is numbered again, and so is what was not acknowledged, above all that it can have come to; whoever held
// a stream there writes here no more.
func TestStreamRestored(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir, copied, restored := dataDir(t), filepath.Join(t.TempDir(), "copy.db"), filepath.Join(t.TempDir(), "restored")
	s := open(t, dir)
	putStream(t, s, "c")
	putStream(t, s, "unused")
	log := openLog(t, s, "c")
	appendTo(t, log, "p3", "a", "b", "c")
	if err := log.Acknowledge(ctx, 1, "entities", 1); err != nil {
		t.Fatal(err)
	}
	// What is there would be taken for its streams.
	if err := os.Mkdir(copied+".streams", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Copy(ctx, dir, copied); !fault.Is(err, store.CodeFailed) {
		t.Fatalf("expected %s, got %v", store.CodeFailed, err)
	}
	if err := os.Remove(copied + ".streams"); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Copy(ctx, dir, copied); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "p5", "d", "a")
	if _, err := s.SwitchStream(ctx, "c", true, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return noon.Add(time.Hour) }
	if err := sqlite.Restore(ctx, copied, restored, later); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, restored, later)
	log = openLog(t, r, "c")
	first := later().UnixMicro()
	state := stateOf(t, log)
	c := state.Channels["entities"]
	if state.Position != "p3" || c.Acknowledged != 1 || c.Sequence != first+2 || c.Waiting != 2 {
		t.Errorf("%+v", state)
	}
	appendTo(t, log, "p4", "d")
	waiting, err := log.Waiting(ctx, "entities", 1, 9, 1<<20)
	got := ""
	for _, w := range waiting {
		got += fmt.Sprint(w.Sequence-first, w.ID, " ")
	}
	if err != nil || got != "1b 2c 3d " {
		t.Errorf("%q waits, %v", got, err)
	}
	if n, err := log.Above(ctx, "entities", 1); err != nil || n != 3 {
		t.Errorf("%d are above, %v", n, err)
	}
	if err := log.Acknowledge(ctx, 1, "entities", first+3); err != nil {
		t.Error(err)
	}
	// The fence is one that no holder of the other record can have had.
	if _, err := r.SwitchStream(ctx, "c", true, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	if l, ok, err := r.ClaimStream(ctx, "c", "h"); err != nil || !ok || l.Fence < later().Unix() {
		t.Errorf("%+v, %t, %v", l, ok, err)
	}
	openLog(t, r, "unused")
}

// TestRestoredWithoutStreams: a copy whose streams are not beside it is not restored.
func TestRestoredWithoutStreams(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir, copied, restored := dataDir(t), filepath.Join(t.TempDir(), "copy.db"), filepath.Join(t.TempDir(), "restored")
	s := open(t, dir)
	putStream(t, s, "c")
	appendTo(t, openLog(t, s, "c"), "p", "a")
	if err := sqlite.Copy(ctx, dir, copied); err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(copied+".streams", "c.db")
	damaged, err := os.ReadFile(beside)
	if err != nil {
		t.Fatal(err)
	}
	damaged = damaged[:len(damaged)/2]
	for _, content := range [][]byte{damaged, nil} {
		if err := os.Remove(beside); err != nil {
			t.Fatal(err)
		}
		if content != nil {
			if err := os.WriteFile(beside, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := sqlite.Restore(ctx, copied, restored, nil); !fault.Is(err, store.CodeDamaged) || !strings.Contains(err.Error(), beside) {
			t.Errorf("expected %s, got %v", store.CodeDamaged, err)
		}
		if _, err := os.ReadDir(restored); !errors.Is(err, fs.ErrNotExist) {
			entries, _ := os.ReadDir(restored)
			if len(entries) > 0 {
				t.Errorf("something was left: %v", entries)
			}
		}
	}
}
