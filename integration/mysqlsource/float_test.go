package mysqlsource

import (
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestFloatThatCannotBePrepared: what the text protocol rounds is a fault, and DOUBLE
// carries it.
func TestFloatThatCannotBePrepared(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE f (f FLOAT); INSERT INTO f VALUES (16777217), (16777216)")
		url := db.DSN(db.Database())
		wantRows(t, mustRead(t, settings{"url": url, "query": "SELECT f FROM f"}), []string{"1.6777216e+07"}, []string{"1.6777216e+07"})
		db.Exec("SET GLOBAL max_prepared_stmt_count = 0")
		t.Cleanup(func() { db.Exec("SET GLOBAL max_prepared_stmt_count = 16382") })
		_, err := read(t, settings{"url": url, "query": "SELECT f FROM f"})
		wantFault(t, err, "mysql.float")
		_, err = read(t, settings{"url": url, "request": settings{"table_name": "f", "allowed_tables": "f"}})
		wantFault(t, err, "mysql.float")
		wantRows(t, mustRead(t, settings{"url": url, "query": "SELECT CAST(f AS DOUBLE) FROM f"}), []string{"1.6777216e+07"}, []string{"1.6777216e+07"})
	})
}
