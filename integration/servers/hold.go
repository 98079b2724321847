package servers

import (
	"database/sql"
	"testing"
)

// SemiSync is the option with which a MySQL can hold commits. A MariaDB can without.
const SemiSync = "--plugin-load-add=semisync_source.so"

// HoldCommits makes commits wait between log and engine, for a replica that there is not, until the returned function is called. A MySQL has
// to be started with SemiSync.
func HoldCommits(tb testing.TB, db *sql.DB, mariaDB bool) (resume func()) {
	tb.Helper()
	prefix, replica := "rpl_semi_sync_source_", "replica"
	if mariaDB {
		prefix, replica = "rpl_semi_sync_master_", "slave"
	}
	set := func(what string) {
		if _, err := db.Exec("SET GLOBAL " + prefix + what); err != nil {
			tb.Error(err)
		}
	}
	for _, what := range []string{"timeout = 3600000", "wait_no_" + replica + " = 1", "wait_point = 'AFTER_SYNC'", "enabled = 1"} {
		set(what)
	}
	return func() { set("enabled = 0") }
}
