package sqlite

import (
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
)

// dialect is what is SQLite's own in the statements of the record. One process has the database, and one connection
// writes: nothing has to be locked, the clock is that process's, and the server has no other name than this.
func (s *Store) dialect() sqlrecord.Dialect {
	return sqlrecord.Dialect{
		Duplicate: isDuplicate,
		DeleteSome: func(table, key, where string) string {
			return fmt.Sprintf("DELETE FROM %s WHERE %s IN (SELECT %s FROM %s WHERE %s LIMIT ?)", table, key, key, table, where)
		},
		Clock: func(sqlrecord.Tx) (time.Time, string, error) { return s.now(), "sqlite", nil },
	}
}
