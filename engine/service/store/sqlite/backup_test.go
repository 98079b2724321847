package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestBackup: a copy that is made while others write opens as a record, has what was acknowledged before, and belongs to
// its owner alone.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := open(t, dataDir(t))
	ctx := t.Context()
	for i := range 50 {
		if err := s.CreateKey(ctx, key(fmt.Sprint(i)), 0, store.Audit{}); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.CreateKey(ctx, key(fmt.Sprint("during", i)), 0, store.Audit{}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	restored := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(restored, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(restored, "record.db")
	if err := s.Backup(ctx, copied); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-stopped
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has the mode %v, %v", info.Mode(), err)
	}
	if err := s.Backup(ctx, copied); !fault.Is(err, store.CodeFailed) {
		t.Errorf("a copy over another: %v", err)
	}
	again, err := sqlite.Open(ctx, restored, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	keys, err := again.Keys(ctx)
	if err != nil || len(keys) < 50 {
		t.Errorf("the copy has %d keys, %v", len(keys), err)
	}
	if rows, err := again.AuditOf(ctx, "", noon.AddDate(-100, 0, 0), 1<<20); err != nil || len(rows) < 50 {
		t.Errorf("the copy has %d rows of the audit, %v", len(rows), err)
	}
	nowhere := filepath.Join(restored, "none", "x.db")
	if err := s.Backup(ctx, nowhere); !fault.Is(err, store.CodeFailed) {
		t.Errorf("a copy in a folder that is not there: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, filepath.Join(restored, "late.db")); !fault.Is(err, store.CodeClosed) {
		t.Errorf("a copy of a closed record: %v", err)
	}
}
