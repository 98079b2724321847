package service_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

// document writes a document with one customer, whose data directory is beside it.
func document(t *testing.T, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "service.yaml")
	text := "apiVersion: cipherstream/v1\nkind: Service\nmetadata: {name: a}\nspec:\n  customers: [{id: one, dsn: \"env:ONE_DSN\"}]\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ONE_DSN", "mysql://u:geheim@127.0.0.1:1/x")
	return path
}

// streamed numbers documents of the customer's stream in a data directory, and returns the last number.
func streamed(t *testing.T, dir string, documents int) int64 {
	t.Helper()
	ctx := t.Context()
	s, err := sqlite.Open(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.PutStream(ctx, store.Stream{Customer: "one"}, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	log, err := s.Log(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var a store.Append
	for i := range documents {
		a.Changes = append(a.Changes, store.Change{Channel: "logs", Type: "entry", ID: strconv.Itoa(i)})
	}
	if n, err := log.Append(ctx, 1, a); err != nil || n != documents {
		t.Fatal(n, err)
	}
	state, err := log.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return state.Channels["logs"].Sequence
}

// TestStateBackup: what was in the record is in the one that is made of its copy, keys that the service made open there, and
// nothing that is there is replaced.
func TestStateBackup(t *testing.T) {
	path := document(t, "")
	dir := filepath.Dir(path)
	run := func(code int, says string, args ...string) cmdtest.Result {
		t.Helper()
		r := cmdtest.Call(t, append(args, "--config", path)...)
		if r.Code != code || !strings.Contains(r.Stdout+r.Stderr, says) {
			t.Fatalf("%v: %+v", args, r)
		}
		return r
	}
	run(0, "cs_live_", "key", "create", "one", "--label", "kept")
	sealing := run(0, "", "customer", "key", "new", "one", "--json")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(sealing.Stdout), &made); err != nil {
		t.Fatal(err)
	}
	if n := streamed(t, filepath.Join(dir, "state"), 1); n != 1 {
		t.Fatalf("the stream begins with %d", n)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if r := run(0, "keep the two apart", "state", "backup", copied); !strings.Contains(r.Stdout+r.Stderr, copied+".streams") {
		t.Errorf("nothing is said of the streams: %+v", r)
	}
	run(0, "", "key", "create", "one", "--label", "later")
	run(terminal.ExitFailed, "does not exist", "state", "backup", copied)
	run(terminal.ExitUsage, "is not empty", "state", "restore", copied)
	if err := os.Rename(filepath.Join(dir, "state"), filepath.Join(dir, "lost")); err != nil {
		t.Fatal(err)
	}
	run(terminal.ExitUsage, "--key-file", "state", "restore", copied, "--key-file", filepath.Join(dir, "none"))
	if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a restore that was refused has left something: %v", err)
	}
	run(0, "has the record of", "state", "restore", copied)
	if r := run(0, "kept", "key", "list"); strings.Contains(r.Stdout, "later") {
		t.Errorf("%s", r.Stdout)
	}
	// It had one number when it was copied, and here it goes on above all that there were since.
	if n := streamed(t, filepath.Join(dir, "state"), 2); n < 1e15 {
		t.Errorf("the stream goes on with %d", n)
	}
	run(0, "is active", "customer", "key", "activate", "one", made.ID)
	for _, file := range []string{copied, copied + ".key", filepath.Join(dir, "state", "data.key"), filepath.Join(dir, "state", "record.db")} {
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if r := cmdtest.Call(t, "state", "backup", copied+"2", "--config", path, "--state", "env:X"); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "data_key") {
		t.Errorf("%+v", r)
	}
}
