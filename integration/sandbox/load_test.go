//go:build gms_pure_go

package sandbox_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

var small = sandbox.Options{Patients: 20, Appointments: 300}

func TestLoadOverwritesOnlyWhenTold(t *testing.T) {
	s := dbtest.MariaDB(t)
	s.Exec("CREATE TABLE theirs (i INT); INSERT INTO theirs VALUES (42); CREATE TABLE Patient (i INT)")
	config := sandbox.LoadConfig{DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: small}
	if _, err := sandbox.Load(t.Context(), config); !fault.Is(err, sandbox.CodeExists) || !strings.Contains(err.Error(), "table patient") {
		t.Errorf("error is %v, want %s naming the table", err, sandbox.CodeExists)
	}
	if got := s.Query("SHOW TABLES"); got != "Patient\ntheirs\n" {
		t.Errorf("a refused load left tables %q", got)
	}
	s.Exec("DROP TABLE Patient")
	for range 2 {
		if _, err := sandbox.Load(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		config.Replace = true
	}
	if got := s.Query("SELECT * FROM theirs; SELECT COUNT(*) FROM patient; SELECT COUNT(*) FROM appointment"); got != "42\n20\n300\n" {
		t.Errorf("tables hold %q", got)
	}
	config.Replace = false
	if _, err := sandbox.Load(t.Context(), config); !fault.Is(err, sandbox.CodeExists) || !strings.Contains(err.Error(), "procedure appointments") {
		t.Errorf("error is %v, want %s naming the procedures too", err, sandbox.CodeExists)
	}
}

func TestLoadCreatesTheDatabase(t *testing.T) {
	s := dbtest.MariaDB(t)
	name := s.Database() + "_new `odd"
	t.Cleanup(func() { s.Exec("DROP DATABASE IF EXISTS `" + strings.ReplaceAll(name, "`", "``") + "`") })
	r, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: s.DSN(name), SQL: practiceSQL, Options: small})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := sandbox.Tables(small)
	if err != nil {
		t.Fatal(err)
	}
	var want []sandbox.LoadProgress
	for _, table := range tables {
		want = append(want, sandbox.LoadProgress{Table: table.Name, Rows: table.Rows, Total: table.Rows})
	}
	if !slices.Equal(r.Tables, want) || r.Elapsed <= 0 {
		t.Errorf("result is %+v, want %v", r, want)
	}
}

// TestLoadSomeTables: the others are there with their keys, and empty.
func TestLoadSomeTables(t *testing.T) {
	s := dbtest.MariaDB(t)
	config := sandbox.LoadConfig{DSN: s.DSN(s.Database()), SQL: practiceSQL, Options: small, Tables: []string{"no_such"}}
	if _, err := sandbox.Load(t.Context(), config); !fault.Is(err, sandbox.CodeOptions) {
		t.Errorf("unknown table: %v", err)
	}
	config.Tables = []string{"patient"}
	r, err := sandbox.Load(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != 1 || r.Tables[0].Table != "patient" || r.Tables[0].Rows == 0 {
		t.Errorf("loaded %+v", r.Tables)
	}
	const keys = "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'invoice' AND INDEX_NAME <> 'PRIMARY'"
	if got := strings.Fields(s.Query("SELECT COUNT(*) FROM invoice; " + keys)); len(got) != 2 || got[0] != "0" || got[1] == "0" {
		t.Errorf("rows and keys of invoice: %v", got)
	}
}

// TestLoadFewRows: a practice so small that some of its tables are empty has their keys all the same, once.
func TestLoadFewRows(t *testing.T) {
	s := dbtest.MariaDB(t)
	config := sandbox.LoadConfig{DSN: s.DSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Seed: 4, Patients: 2, Appointments: 1}}
	r, err := sandbox.Load(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	empty := 0
	for _, table := range r.Tables {
		if table.Total == 0 {
			empty++
		}
	}
	const keys = "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'appointment_cancellation'" +
		" AND INDEX_NAME = 'appointment_cancellation_reason'"
	if got := strings.TrimSpace(s.Query(keys)); empty == 0 || got != "1" {
		t.Errorf("%d empty tables; the key is there %s times", empty, got)
	}
}

func TestLoadReportsProgress(t *testing.T) {
	s := dbtest.MariaDB(t)
	const appointments = 51_000 // more than one piece
	totals := map[string]int64{}
	_, err := sandbox.Load(t.Context(), sandbox.LoadConfig{
		DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Patients: 20, Appointments: appointments},
		Progress: func(p sandbox.LoadProgress) {
			if before, ok := totals[p.Table]; ok && p.Rows <= before || p.Rows > p.Total {
				t.Errorf("progress %+v after %d", p, before)
			}
			totals[p.Table] = p.Rows
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if totals["patient"] != 20 || totals["appointment"] != appointments || len(totals) < 38 {
		t.Errorf("progress ended at %v", totals)
	}
	if got := s.Query("SELECT COUNT(*), COUNT(DISTINCT patient_id), MIN(appointment_id), MAX(appointment_id) FROM appointment"); got != "51000\t20\t1\t51000\n" {
		t.Errorf("the table holds %q", got)
	}
}

func TestCancelledLoadLeavesNothing(t *testing.T) {
	for _, method := range []sandbox.Method{sandbox.Infile, sandbox.Inserts} {
		t.Run(string(method), func(t *testing.T) {
			s := dbtest.MariaDB(t)
			if method == sandbox.Inserts {
				s = dbtest.Private(t, "--local-infile=0")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := sandbox.Load(ctx, sandbox.LoadConfig{
				DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Patients: 20, Appointments: 1_000_000},
				Progress: func(p sandbox.LoadProgress) {
					if p.Table == "appointment" {
						cancel()
					}
				},
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want it to be %v", err, context.Canceled)
			}
			if got := s.Query("SHOW TABLES; SHOW PROCEDURE STATUS WHERE Db = DATABASE()"); got != "" {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

// TestEveryServerHoldsTheGeneratedRows reads every table back, from the embedded
// server and from MariaDB, loaded by LOAD DATA and by INSERT, and holds each value
// against the generator's.
func TestEveryServerHoldsTheGeneratedRows(t *testing.T) {
	options := sandbox.Options{Seed: 6, Patients: 120, Appointments: 1_200}
	tables, err := sandbox.Tables(options)
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]*sql.DB{"sandbox": open(t, startSandbox(t, options).DSN())}
	for _, method := range []sandbox.Method{sandbox.Infile, sandbox.Inserts} {
		s := dbtest.MariaDB(t)
		if method == sandbox.Inserts {
			s.Exec("SET GLOBAL local_infile = 0")
			defer s.Exec("SET GLOBAL local_infile = 1")
		}
		r, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: s.DSN(s.Database()), SQL: practiceSQL, Options: options})
		if err != nil {
			t.Fatal(err)
		}
		if r.Method != method {
			t.Fatalf("loaded by %s, want %s", r.Method, method)
		}
		servers[string(method)] = open(t, s.DSN(s.Database()))
	}
	for name, db := range servers {
		for i := range tables {
			table := &tables[i]
			got, err := answer(db, "SELECT "+strings.Join(table.Columns, ", ")+" FROM "+table.Name+" ORDER BY 1")
			if err != nil {
				t.Fatalf("%s: %s: %v", name, table.Name, err)
			}
			if int64(len(got.rows)) != table.Rows {
				t.Errorf("%s: %s has %d rows, want %d", name, table.Name, len(got.rows), table.Rows)
				continue
			}
			values := make([]sandbox.Value, len(table.Columns))
			for n := range table.Rows {
				table.Row(n, values)
				for c, v := range values {
					want := null
					if v.Kind != sandbox.Null {
						want = string(v.AppendText(nil))
					}
					if got.rows[n][c] != want {
						t.Fatalf("%s: %s row %d: %s is %q, want %q", name, table.Name, n, table.Columns[c], got.rows[n][c], want)
					}
				}
			}
		}
		for _, c := range ledgerChecks {
			got, err := answer(db, c.query)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, c.what, err)
			}
			if len(got.rows) != 0 {
				t.Errorf("%s: %s: %d rows break it, the first is %q", name, c.what, len(got.rows), got.rows[0])
			}
		}
	}
}

// ledgerChecks are what the head of schema.sql promises; each selects the rows that
// break it. Sums are cast, because the embedded server calls them doubles.
var ledgerChecks = []struct{ what, query string }{
	{"an invoice is the sum of its treatments", `
		SELECT i.invoice_id, i.amount, t.total FROM invoice i
		LEFT JOIN (SELECT invoice_id, CAST(SUM(item_qty * item_fee) AS DECIMAL(20,4)) AS total FROM treatment WHERE is_deleted = 0 GROUP BY invoice_id) t
		ON t.invoice_id = i.invoice_id WHERE i.reversal = 0 AND (t.total IS NULL OR t.total <> i.amount)`},
	{"an invoice is the sum of its instalments", `
		SELECT i.invoice_id, i.amount, t.total FROM invoice i
		LEFT JOIN (SELECT invoice_id, CAST(SUM(amount) AS DECIMAL(20,4)) AS total FROM invoice_instalment GROUP BY invoice_id) t
		ON t.invoice_id = i.invoice_id WHERE i.reversal = 0 AND (t.total IS NULL OR t.total <> i.amount)`},
	{"shares come to 100", `
		SELECT invoice_id, CAST(SUM(involvement) AS DECIMAL(20,4)) FROM invoice_practitioner GROUP BY invoice_id HAVING CAST(SUM(involvement) AS DECIMAL(20,4)) <> 100`},
	{"a receipt is the sum of its allocations", `
		SELECT r.receipt_id, r.amount, t.total FROM receipt r
		LEFT JOIN (SELECT receipt_id, CAST(SUM(amount) AS DECIMAL(20,4)) AS total FROM payment_allocation GROUP BY receipt_id) t
		ON t.receipt_id = r.receipt_id WHERE r.deposit = 0 AND r.deposit_refund = 0 AND (t.total IS NULL OR t.total <> r.amount)`},
	{"what is owed is 0 for the invoices that are settled, and more for the others", `
		SELECT i.invoice_id, i.date_settled, m.owed FROM invoice i
		JOIN (SELECT invoice_id, CAST(SUM(amount) AS DECIMAL(20,4)) AS owed FROM ` + movements + ` u GROUP BY invoice_id) m
		ON m.invoice_id = i.invoice_id
		WHERE i.reversal = 0 AND (m.owed < 0 OR (i.date_settled IS NOT NULL) <> (m.owed = 0))`},
	{"the lines' discounts are the invoice's", `
		SELECT t.invoice_id, t.total, d.total FROM
		(SELECT invoice_id, CAST(SUM(fee_discount) AS DECIMAL(20,4)) AS total FROM treatment GROUP BY invoice_id) t
		LEFT JOIN (SELECT invoice_id, CAST(SUM(amount) AS DECIMAL(20,4)) AS total FROM discount WHERE reversal = 0 GROUP BY invoice_id) d ON d.invoice_id = t.invoice_id
		WHERE t.total <> COALESCE(d.total, CAST(0 AS DECIMAL(20,4)))`},
	{"reversals take back what they reverse", `
		SELECT r.invoice_id, r.amount, i.amount FROM invoice r LEFT JOIN invoice i ON i.invoice_id = r.reverses_invoice_id
		WHERE r.reversal = 1 AND (i.amount IS NULL OR r.amount + i.amount <> 0)`},
	{"the ledger as a whole: invoices less payments less discounts are what open invoices owe", `
		SELECT a.owed, b.owed FROM
		(SELECT CAST(SUM(amount) AS DECIMAL(20,4)) AS owed FROM ` + movements + ` u) a,
		(SELECT CAST(SUM(u.amount) AS DECIMAL(20,4)) AS owed FROM ` + movements + ` u
			JOIN invoice i ON i.invoice_id = u.invoice_id WHERE i.date_settled IS NULL) b
		WHERE a.owed <> b.owed OR a.owed <= 0`},
}

// movements are what changes the money owed on an invoice.
const movements = `(SELECT invoice_id, amount FROM invoice WHERE reversal = 0
	UNION ALL SELECT reverses_invoice_id, amount FROM invoice WHERE reversal = 1
	UNION ALL SELECT invoice_id, -amount FROM payment_allocation
	UNION ALL SELECT invoice_id, -amount FROM discount)`

func TestLoadFailures(t *testing.T) {
	s := dbtest.MariaDB(t)
	s.Exec("CREATE OR REPLACE USER weak@'127.0.0.1' IDENTIFIED BY 'hunter2'")
	defer s.Exec("DROP USER weak@'127.0.0.1'")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	address := strings.Split(strings.Split(s.DSN(""), "@")[1], "/")[0]
	for name, c := range map[string]struct{ dsn, code, says string }{
		"wrong password": {"mysql://root:hunter2@" + address + "/x", sandbox.CodeConnect, "Access denied"},
		"nobody there":   {"mysql://root:hunter2@" + closed.Addr().String() + "/x", sandbox.CodeConnect, "connection refused"},
		"no socket":      {"mysql://root:hunter2@h/x?socket=/does/not/exist", sandbox.CodeConnect, "no such file"},
		"no privileges":  {"mysql://weak:hunter2@" + address + "/x", sandbox.CodeLoad, "creating database"},
		"no TLS":         {s.DSN("x") + "?tls=skip-verify", sandbox.CodeConnect, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: c.dsn, SQL: practiceSQL, Options: small})
			if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %s saying %q", err, c.code, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), s.Password())) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, mode := range []struct {
		name string
		args []string
	}{{"infile", nil}, {"insert", []string{"--local-infile=0"}}} {
		b.Run(mode.name, func(b *testing.B) {
			s := dbtest.Private(b, append(mode.args, "--innodb-buffer-pool-size=512M", "--innodb-log-file-size=512M")...)
			var rows int64
			for b.Loop() {
				r, err := sandbox.Load(b.Context(), sandbox.LoadConfig{
					DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Scale: 5}, Replace: true,
				})
				if err != nil {
					b.Fatal(err)
				}
				rows += r.Rows()
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
