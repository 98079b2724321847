package mysqlsource

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk"
)

// TestEstimate: of a whole table the server's statistics say about how many rows there are; of a part of it, of a view, a query
// and a call nothing is said.
func TestEstimate(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE few (id INT PRIMARY KEY, d DATE, INDEX (d)); INSERT INTO few VALUES (1, '2026-01-01'), (2, '2026-01-02'), (3, '2026-01-03');" +
			"ANALYZE TABLE few; CREATE VIEW of_few AS SELECT * FROM few;\nDELIMITER //\nCREATE PROCEDURE all_few() BEGIN SELECT * FROM few; END //\n")
		url := db.DSN(db.Database())
		for name, c := range map[string]struct {
			with settings
			want int64
		}{
			"a table":      {settings{"request": settings{"table_name": "few", "allowed_tables": "*"}}, 3},
			"some columns": {settings{"request": settings{"table_name": "few", "columns": "d", "allowed_tables": "*"}}, 3},
			"a range":      {settings{"request": settings{"table_name": "few", "date_column": "d", "from_date": "2026-01-02", "allowed_tables": "*"}}, 0},
			"a view":       {settings{"request": settings{"table_name": "of_few", "allowed_tables": "*"}}, 0},
			"a query":      {settings{"query": "SELECT * FROM few"}, 0},
			"a call":       {settings{"call": "all_few"}, 0},
		} {
			c.with["url"] = url
			raw, err := json.Marshal(c.with)
			if err != nil {
				t.Fatal(err)
			}
			made, err := mysql.Stage().Make(raw, sdk.Env{Count: func(string, int64) {}, Fact: func(string, string) {}})
			if err != nil {
				t.Fatal(err)
			}
			source := made.(sdk.Source)
			if _, err := source.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := made.(sdk.RowEstimator).EstimateRows(); got != c.want {
				t.Errorf("%s: about %d rows, want %d", name, got, c.want)
			}
			if err := source.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
