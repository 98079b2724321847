package mysqlsource

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/csv"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/parquet"
	"github.com/cipherstream/cipherstream/sdk"
)

// encoded is what an encoder makes of what the source delivers.
func encoded(t *testing.T, source settings, encoder sdk.Definition, with string) []byte {
	t.Helper()
	raw, err := json.Marshal(source)
	if err != nil {
		t.Fatal(err)
	}
	env := sdk.Env{Memory: memory.DefaultAllocator, Count: func(string, int64) {}, Fact: func(string, string) {}}
	read, err := mysql.Stage().Make(raw, env)
	if err != nil {
		t.Fatal(err)
	}
	from := read.(sdk.Source)
	defer from.Close()
	schema, err := from.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	made, err := encoder.Make([]byte(with), env)
	if err != nil {
		t.Fatal(err)
	}
	to := made.(sdk.Encoder)
	out, rows := &sdk.Output{}, int64(0)
	if _, err := to.Bind(schema); err != nil {
		t.Fatal(err)
	}
	err = to.Begin(out)
	for err == nil {
		rec, failed := from.Next(context.Background())
		if errors.Is(failed, io.EOF) {
			break
		}
		if failed != nil {
			t.Fatal(failed)
		}
		err = to.Encode(context.Background(), sdk.Rows{Record: rec, First: rows}, out)
		rows += rec.NumRows()
		rec.Release()
	}
	if err == nil {
		err = to.End(sdk.Totals{Rows: rows}, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Data
}

//go:embed testdata/instants.py
var instantsScript string

// TestClocks: in zones whose clocks change, by an hour and by half of one, and in one that is behind UTC by hours and a half,
// text shows what the official client shows there, and pyarrow and DuckDB find in Parquet the instants that were stored, and
// show them as that client does. The rows are those around the changes.
func TestClocks(t *testing.T) {
	type file struct {
		Path, Zone string
		Instants   []string // microseconds since 1970, as the server has them
		Shown      []string // as the client shows them
	}
	eachServer(t, func(t *testing.T, db *servers.Server) {
		var files []file
		zones := []string{"-03:30", "Australia/Sydney", "America/New_York", "Australia/Lord_Howe"}
		for _, zone := range zones[1:] {
			loadZone(t, db, zone, zone, 0)
		}
		db.Exec("SET time_zone = '+00:00'; CREATE TABLE moments (id INT PRIMARY KEY AUTO_INCREMENT, ts TIMESTAMP NULL, fine TIMESTAMP(6) NULL, dt DATETIME);" +
			"INSERT INTO moments (ts) VALUES ('1970-01-01 00:00:01'), ('2026-01-15 12:00:00'), ('2026-07-15 12:00:00'), (NULL), ('2038-01-19 03:14:07')," +
			"('2026-04-04 14:59:59'), ('2026-04-04 15:30:00'), ('2026-04-04 15:59:59'), ('2026-04-04 16:00:00'), ('2026-04-04 16:30:00')," + // Sydney's doubled hour
			"('2026-10-03 15:59:59'), ('2026-10-03 16:00:00')," + // and the one that it skips
			"('2026-11-01 05:30:00'), ('2026-11-01 06:30:00'), ('2026-03-08 06:59:59'), ('2026-03-08 07:00:00')," + // New York's
			"('2026-04-04 14:45:00'), ('2026-04-04 15:15:00'), ('2026-10-03 15:29:59'), ('2026-10-03 15:30:00');" + // and the half hours of Lord Howe
			"UPDATE moments SET fine = ts + INTERVAL 250001 MICROSECOND WHERE id <> 5; UPDATE moments SET dt = '2026-04-05 02:30:00'")
		instants := strings.Fields(db.Query("SELECT IFNULL(CAST(UNIX_TIMESTAMP(fine) * 1000000 AS SIGNED), 'NULL') FROM moments ORDER BY id"))
		url := db.DSN(db.Database())
		for _, zone := range zones {
			client := db.Query("SET time_zone = '" + zone + "'; SELECT * FROM moments ORDER BY id")
			table := settings{"url": url, "time_zone": zone, "request": settings{"table_name": "moments", "allowed_tables": "*"}}
			for _, protocol := range []string{"binary", "text"} {
				for name, source := range map[string]settings{
					"table": table,
					"query": {"url": url, "time_zone": zone, "query": "SELECT * FROM moments ORDER BY id"},
				} {
					source["protocol"] = protocol
					got := string(encoded(t, source, csv.Stage(), `{"header": false, "delimiter": "tab", "line_end": "lf"}`))
					if want := strings.ReplaceAll(client, "NULL", ""); got != want {
						t.Errorf("%s, %s, %s: the text is\n%s\nthe client shows\n%s", zone, name, protocol, got, want)
					}
				}
			}
			path := filepath.Join(t.TempDir(), "moments.parquet")
			if err := os.WriteFile(path, encoded(t, table, parquet.Stage(), `{}`), 0o600); err != nil {
				t.Fatal(err)
			}
			of := file{Path: path, Zone: zone, Instants: instants}
			for _, line := range strings.Split(strings.TrimSuffix(client, "\n"), "\n") {
				of.Shown = append(of.Shown, strings.Split(line, "\t")[2])
			}
			files = append(files, of)
		}
		text, err := json.Marshal(files)
		if err != nil {
			t.Fatal(err)
		}
		if problems := python.Run(t, instantsScript, string(text)); len(problems) > 0 {
			t.Errorf("%s", problems)
		}
	})
}
