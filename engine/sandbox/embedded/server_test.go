//go:build gms_pure_go

package embedded

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var practiceSQL = os.DirFS("../../../pipelines/sql")

// clientConfig is how a client reaches a server.
func clientConfig(t testing.TB, s *Server) *mysql.Config {
	t.Helper()
	u, err := url.Parse(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, u.Path[1:]
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Logger = &mysql.NopLogger{}
	return config
}

func open(t testing.TB, config *mysql.Config) *sql.DB {
	t.Helper()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func startServer(t testing.TB, o sandbox.Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), Config{SQL: practiceSQL, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t testing.TB, s *Server) *sql.DB {
	t.Helper()
	return open(t, clientConfig(t, s))
}

func count(t testing.TB, rows *sql.Rows, err error) (n int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestServerAnswersPreparedCallWithNulls(t *testing.T) {
	db := connect(t, startServer(t, sandbox.Options{Patients: 30, Appointments: 200}))
	statement, err := db.Prepare("CALL appointments(?, ?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	defer statement.Close()
	for range 3 { // the same plan again
		rows, err := statement.Query(nil, nil, "All")
		if n := count(t, rows, err); n != 200 {
			t.Fatalf("%d rows, want 200", n)
		}
	}
	rows, err := statement.Query("2023-01-01", "2025-12-31", "All")
	if n := count(t, rows, err); n != 200 {
		t.Errorf("%d rows in the whole calendar, want 200", n)
	}
}

func TestServerPassesSignalOn(t *testing.T) {
	db := connect(t, startServer(t, sandbox.Options{Scale: 0.01}))
	for _, modifier := range []any{"Deleted", nil, ""} {
		_, err := db.Exec("CALL patients(NULL, NULL, ?)", modifier)
		var refused *mysql.MySQLError
		if !errors.As(err, &refused) || string(refused.SQLState[:]) != "45000" || !strings.Contains(refused.Message, "must be All, Created or Updated") {
			t.Errorf("modifier %v: error is %v, want SQLSTATE 45000", modifier, err)
		}
	}
}

func TestServerRefusesOthers(t *testing.T) {
	s := startServer(t, sandbox.Options{Scale: 0.01})
	for _, user := range []func(*mysql.Config){
		func(c *mysql.Config) { c.Passwd = "wrong" },
		func(c *mysql.Config) { c.Passwd = "" },
		func(c *mysql.Config) { c.User, c.Passwd = "root", "" },
	} {
		config := clientConfig(t, s)
		user(config)
		db := open(t, config)
		var refused *mysql.MySQLError
		if err := db.Ping(); !errors.As(err, &refused) || refused.Number != 1045 {
			t.Errorf("as %s: error is %v, want access denied", config.User, err)
		}
	}
}

func TestServerTablesAreReadOnlyOthersAreNot(t *testing.T) {
	db := connect(t, startServer(t, sandbox.Options{Scale: 0.01}))
	for _, q := range []string{"DELETE FROM patient", "UPDATE patient SET title = NULL", "INSERT INTO patient (patient_id) VALUES (9)"} {
		if _, err := db.Exec(q); err == nil {
			t.Errorf("%s succeeded", q)
		}
	}
	for _, q := range []string{"CREATE TABLE mine (i INT PRIMARY KEY)", "INSERT INTO mine VALUES (1), (2)"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query("SELECT i, surname FROM mine JOIN patient ON patient_id = i")
	if n := count(t, rows, err); n != 2 {
		t.Errorf("%d joined rows, want 2", n)
	}
}

// A server that reads 200,000 x 200,000 pairs is busy until it is told to stop.
const endless = "SELECT COUNT(*) FROM appointment a JOIN appointment b ON a.start_time < b.end_time AND a.patient_id <> b.patient_id"

// patience is how long the end of the endless query may take, which comes in milliseconds where nothing else runs.
const patience = time.Minute

// busy runs the endless query on a connection of db until admin sees it run. It
// returns the connection's id and a channel with the query's error.
func busy(t *testing.T, db, admin *sql.DB) (id int64, ended <-chan error) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		var n int
		result <- conn.QueryRowContext(context.Background(), endless).Scan(&n)
	}()
	for !runs(t, admin, id) {
		select {
		case err := <-result:
			t.Fatalf("the endless query ended: %v", err)
		default:
		}
	}
	return id, result
}

// runs tells whether a connection runs the endless query.
func runs(t *testing.T, db *sql.DB, id int64) bool {
	t.Helper()
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND command = 'Query' AND info LIKE '%start_time < b.end_time%'", id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func TestKillQueryEndsIt(t *testing.T) {
	db := connect(t, startServer(t, sandbox.Options{Scale: 10}))
	id, ended := busy(t, db, db)
	if _, err := db.Exec(fmt.Sprintf("KILL QUERY %d", id)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the killed query succeeded")
	}
	rows, err := db.Query("SELECT * FROM patient WHERE patient_id <= 5")
	if n := count(t, rows, err); n != 5 {
		t.Errorf("%d rows after the kill, want 5", n)
	}
}

func TestDisconnectEndsTheQuery(t *testing.T) {
	s := startServer(t, sandbox.Options{Scale: 10})
	config := clientConfig(t, s)
	var raw net.Conn
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		raw, err = new(net.Dialer).DialContext(ctx, network, addr)
		return raw, err
	}
	db := open(t, config)
	admin := connect(t, s)
	id, ended := busy(t, db, admin)
	raw.Close()
	if err := <-ended; err == nil {
		t.Error("the query succeeded on a closed connection")
	}
	for deadline := time.Now().Add(patience); runs(t, admin, id); {
		if time.Now().After(deadline) {
			t.Fatalf("the query still runs %s after its client went away", patience)
		}
	}
}

func TestCallsAtTheSameTimeDoNotMix(t *testing.T) {
	db := connect(t, startServer(t, sandbox.Options{Patients: 100, Appointments: 1_000}))
	years := []string{"2023", "2024", "2025"}
	want := map[string]int{}
	for _, y := range years {
		rows, err := db.Query("SELECT appointment_id FROM appointment WHERE YEAR(appointment_date) = ?", y)
		want[y] = count(t, rows, err)
	}
	var callers sync.WaitGroup
	for i := range 12 {
		callers.Go(func() {
			y := years[i%3]
			for range 5 {
				rows, err := db.Query("CALL appointments(?, ?, 'All')", y+"-01-01", y+"-12-31")
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for rows.Next() {
					n++
				}
				if err := rows.Err(); err != nil || n != want[y] {
					t.Errorf("%s: %d rows and %v, want %d", y, n, err, want[y])
				}
				rows.Close()
			}
		})
	}
	callers.Wait()
}

func TestCloseEndsRunningQueries(t *testing.T) {
	s := startServer(t, sandbox.Options{Scale: 10})
	db := connect(t, s)
	_, ended := busy(t, db, db)
	started := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > patience {
		t.Errorf("Close took %s", took)
	}
	if err := <-ended; err == nil {
		t.Error("the query succeeded on a closed server")
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("the port still accepts connections")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0", "127.0.0.1", "example.com:0", taken.Addr().String()} {
		if s, err := Start(t.Context(), Config{SQL: practiceSQL, Addr: addr}); !fault.Is(err, sandbox.CodeStart) {
			t.Errorf("%s: %v, want %s", addr, err, sandbox.CodeStart)
			if s != nil {
				s.Close()
			}
		}
	}
	if _, err := Start(t.Context(), Config{SQL: practiceSQL, Options: sandbox.Options{Scale: -1}}); !fault.Is(err, sandbox.CodeOptions) {
		t.Errorf("error is %v, want %s", err, sandbox.CodeOptions)
	}
	if _, err := Start(t.Context(), Config{}); !fault.Is(err, sandbox.CodeSQL) {
		t.Errorf("error is %v, want %s", err, sandbox.CodeSQL)
	}
}

func TestLibraryLogGoesWhereToldWithoutThePassword(t *testing.T) {
	var log bytes.Buffer
	s, err := Start(t.Context(), Config{SQL: practiceSQL, Options: sandbox.Options{Scale: 0.01}, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	db := connect(t, s)
	if _, err := db.Exec("SELECT no_such_column FROM patient"); err == nil {
		t.Error("an unknown column was found")
	}
	db.Close()
	s.Close()
	if !strings.Contains(log.String(), "no_such_column") {
		t.Errorf("the log lacks the failed query: %s", log.String())
	}
	if strings.Contains(log.String(), s.password) {
		t.Error("the log holds the password")
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := Start(b.Context(), Config{SQL: practiceSQL})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

func BenchmarkCallAppointments(b *testing.B) {
	db := connect(b, startServer(b, sandbox.Options{}))
	n := 0
	for b.Loop() {
		rows, err := db.Query("CALL appointments(?, ?, ?)", nil, nil, "All")
		n += count(b, rows, err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// TestRowsChange: with Changes a query by ts_4_update finds what has changed since it was asked before.
func TestRowsChange(t *testing.T) {
	s, err := Start(t.Context(), Config{SQL: practiceSQL, Options: sandbox.Options{Patients: 5, Appointments: 20}, Changes: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	db := connect(t, s)
	for _, table := range []string{"patient", "appointment", "log_entry"} {
		deadline := time.Now().Add(time.Minute)
		for found := 0; found == 0; {
			if err := db.QueryRow("SELECT COUNT(*) FROM " + table + " WHERE ts_4_update >= '2026-01-01'").Scan(&found); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("nothing of %s changes", table)
			}
		}
	}
	var rows int
	if err := db.QueryRow("SELECT COUNT(*) FROM log_entry").Scan(&rows); err != nil || rows <= 5 {
		t.Errorf("%d log entries, %v", rows, err)
	}
}
