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

// TestRestoredRunsAreOthers: a record that was made of a copy does not give its runs the numbers of runs that the other one
// has begun since, because the keys of their objects have them; the same file goes on counting where it was.
func TestRestoredRunsAreOthers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, restore := range map[string]func(t *testing.T, from, to string){
		"backup and restore": func(t *testing.T, from, to string) {
			copied := filepath.Join(t.TempDir(), "copy.db")
			if err := errors.Join(Copy(ctx, from, copied), Restore(ctx, copied, to, time.Now)); err != nil {
				t.Fatal(err)
			}
		},
		"backup put over the file": func(t *testing.T, from, to string) {
			if err := os.MkdirAll(to, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := Copy(ctx, from, filepath.Join(to, fileName)); err != nil {
				t.Fatal(err)
			}
		},
		"folder copied": func(t *testing.T, from, to string) {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(to, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
			claim := func(s *Store) int {
				t.Helper()
				j, l, ok, err := s.ClaimJob(ctx, "worker", nil)
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				if _, err := s.EndJob(ctx, l, store.Ending{Event: store.JobReturned}); err != nil {
					t.Fatal(err)
				}
				return j.Runs
			}
			with := func(dir string, do func(s *Store)) {
				t.Helper()
				s, err := Open(ctx, dir, time.Now)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				do(s)
			}
			with(dir, func(s *Store) {
				if _, _, _, err := s.CreateJob(ctx, store.NewJob{Job: store.Job{ID: "j", Customer: "c", Procedure: "p"}}); err != nil {
					t.Fatal(err)
				}
				if n := claim(s); n != 1 {
					t.Errorf("the first run has the number %d", n)
				}
			})
			restore(t, dir, other)
			last := 0
			with(dir, func(s *Store) { // the same file
				for range 5 {
					last = claim(s)
				}
				if last != 6 {
					t.Errorf("the run has the number %d", last)
				}
			})
			with(other, func(s *Store) {})
			with(other, func(s *Store) { // opened once before it takes jobs
				if n := claim(s); n < last+1_000_000 {
					t.Errorf("a run of the restored record has the number %d, as one of the other has or will soon", n)
				}
			})
		})
	}
}
