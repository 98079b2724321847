//go:build gms_pure_go

package sandbox_test

import (
	"context"
	"errors"
	"net"
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
	if len(r.Tables) != 2 || r.Rows() != 320 || r.Elapsed <= 0 {
		t.Errorf("result is %+v", r)
	}
}

func TestLoadReportsProgress(t *testing.T) {
	s := dbtest.MariaDB(t)
	var last sandbox.LoadProgress
	totals := map[string]int64{}
	_, err := sandbox.Load(t.Context(), sandbox.LoadConfig{
		DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Patients: 20, Appointments: 120_000},
		Progress: func(p sandbox.LoadProgress) {
			if p.Table == last.Table && p.Rows <= last.Rows || p.Rows > p.Total {
				t.Errorf("progress %+v after %+v", p, last)
			}
			last, totals[p.Table] = p, p.Rows
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if totals["patient"] != 20 || totals["appointment"] != 120_000 {
		t.Errorf("progress ended at %v", totals)
	}
	if got := s.Query("SELECT COUNT(*), COUNT(DISTINCT patient_id), MIN(appointment_id), MAX(appointment_id) FROM appointment"); got != "120000\t20\t1\t120000\n" {
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
				DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Patients: 20, Appointments: 5_000_000},
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
		"no TLS":         {s.DSN("x") + "?tls=required", sandbox.CodeConnect, "TLS"},
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
					DSN: s.SocketDSN(s.Database()), SQL: practiceSQL, Options: sandbox.Options{Scale: 20}, Replace: true,
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
