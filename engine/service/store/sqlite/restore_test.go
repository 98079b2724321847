package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestCopyAndRestore: a copy that was made beside the process that has the directory is the record of that moment, and one
// that is not sound, or has no empty place to go to, leaves nothing.
func TestCopyAndRestore(t *testing.T) {
	t.Parallel()
	ctx, dir, other := t.Context(), t.TempDir(), t.TempDir()
	s, err := Open(ctx, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add := func(id string) {
		t.Helper()
		k := store.Key{ID: id, Kind: store.Live, Customer: "c", CreatedAt: time.Now(), Hash: [32]byte{id[0]}}
		if err := s.CreateKey(ctx, k, 10, store.Audit{At: time.Now(), Who: "user:test", What: "key.create", Outcome: "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	add("a")
	copied := filepath.Join(other, "copy.db")
	if err := Copy(ctx, dir, copied); err != nil {
		t.Fatal(err)
	}
	add("b") // not in the copy
	if info, err := os.Stat(copied); err != nil || info.Mode() != privateMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := Copy(ctx, dir, copied); !fault.Is(err, store.CodeFailed) {
		t.Errorf("a copy that is there was replaced: %v", err)
	}
	if err := Copy(ctx, t.TempDir(), filepath.Join(other, "none.db")); !fault.Is(err, store.CodeDirectory) {
		t.Errorf("a directory without a record: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other, "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}

	restored := filepath.Join(other, "restored")
	if err := Restore(ctx, copied, restored, time.Now); err != nil {
		t.Fatal(err)
	}
	again, err := Open(ctx, restored, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if keys, err := again.Keys(ctx); err != nil || len(keys) != 1 || keys[0].ID != "a" {
		t.Errorf("%+v, %v", keys, err)
	}
	if err := Restore(ctx, copied, restored, time.Now); !fault.Is(err, store.CodeExists) {
		t.Errorf("a directory that is not empty: %v", err)
	}

	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"cut": text[:len(text)/2], "none": []byte("a record"), "altered": overwritten(text)} {
		path, to := filepath.Join(other, name), filepath.Join(other, name+".restored")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Restore(ctx, path, to, time.Now); !fault.Is(err, store.CodeDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left: %v", name, err)
		}
	}
}

// overwritten is a database with a page in its midst that is another.
func overwritten(text []byte) []byte {
	changed := append([]byte(nil), text...)
	const page = 4096
	at := len(changed) / page / 2 * page
	for i := range page {
		changed[at+i] = 0xa5
	}
	return changed
}
