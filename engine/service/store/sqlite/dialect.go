package sqlite

import (
	"fmt"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
)

// dialect is what is SQLite's own in the statements of the record. One process has the database, and one connection
// writes: nothing has to be locked, and the clock is that process's.
func (s *Store) dialect() sqlrecord.Dialect {
	return sqlrecord.Dialect{
		Duplicate: isDuplicate,
		Counted:   true,
		DeleteSome: func(table, key, where string) string {
			return fmt.Sprintf("DELETE FROM %s WHERE %s IN (SELECT %s FROM %s WHERE %s LIMIT ?)", table, key, key, table, where)
		},
		Clock: func(sqlrecord.Tx) (store.Moment, error) { return s.moment(), nil },
	}
}

// moment is the time. What is steady goes by the monotonic clock of the process. The server is this use of the file and
// no other: a copy that is restored gives other numbers to runs than the file that it was made of, see numberRuns, and may
// be one that does not know that it is.
func (s *Store) moment() store.Moment {
	now := s.now()
	return store.Moment{Now: now, Steady: s.opened.Add(s.passed(now)), Server: s.server, FirstRun: s.first}
}
