package preflight

import (
	"context"

	"github.com/cipherstream/cipherstream/plugins/mysql"
)

// holdSeconds is how long Hold waits for a table that is being changed.
const holdSeconds = "30"

// Hold has look read what the catalogue says of a table while no statement can change the table: information_schema leaves
// out, without a word, what another session truncates, renames or alters at that moment, so that one look would find it
// without a key, without columns or not at all. Look is called once in any case: a table that is not there, or that the
// account may not read, is what it has to find out.
func Hold(ctx context.Context, s *mysql.Session, database, table string, look func() error) error {
	for _, sql := range []string{"SET SESSION lock_wait_timeout = " + holdSeconds, "START TRANSACTION READ ONLY"} {
		if err := s.Exec(ctx, sql); err != nil {
			return err
		}
	}
	// The transaction keeps the lock on the table's definition that this takes, as every statement does. A session that broke is found by look.
	_ = s.Exec(ctx, "SELECT 1 FROM "+mysql.QuoteName(database)+"."+mysql.QuoteName(table)+" LIMIT 0")
	if err := look(); err != nil {
		_ = s.Exec(ctx, "ROLLBACK") // what look found is what is to be said
		return err
	}
	return s.Exec(ctx, "COMMIT")
}
