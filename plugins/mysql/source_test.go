package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// both runs a test in the binary and in the text protocol.
func both(t *testing.T, test func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range []string{"binary", "text"} {
		t.Run(protocol, func(t *testing.T) { test(t, protocol) })
	}
}

func wantRows(t *testing.T, got *table, want ...[]string) {
	t.Helper()
	if !slices.EqualFunc(got.rows, want, slices.Equal) {
		t.Fatalf("rows are %q, want %q", got.rows, want)
	}
}

func TestCallWithArguments(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec("DELIMITER //\nCREATE PROCEDURE `echo it`(s VARCHAR(100), i BIGINT, u BIGINT UNSIGNED, d DOUBLE, b BOOL, c DECIMAL(30,10), n INT, day DATE)\n" +
		"SELECT s, i, u, d, b, c, n, day //")
	both(t, func(t *testing.T, protocol string) {
		for _, name := range []string{"echo it", db.Database() + ".echo it"} {
			got := mustRead(t, settings{"url": db.DSN(db.Database()), "call": name, "protocol": protocol,
				"args": []any{"O'Hara \\ \"x\" \x00\n\r\x1a é🙂 ? --", int64(-1 << 63), uint64(1<<64 - 1), 0.1, true, jsonNumber("12345678901234567890.0123456789"), nil, "2024-02-29"}})
			wantRows(t, got, []string{"O'Hara \\ \"x\" \x00\n\r\x1a é🙂 ? --", "-9223372036854775808", "18446744073709551615", "0.1", "1", "12345678901234567890.0123456789", "NULL", "2024-02-29"})
		}
	})
}

func TestQueryWithArguments(t *testing.T) {
	db := dbtest.MariaDB(t)
	both(t, func(t *testing.T, protocol string) {
		got := mustRead(t, settings{"url": db.DSN(db.Database()), "protocol": protocol, "args": []any{"it's", 7, nil, 1e300},
			"query": "SELECT ? AS a, '?' AS q, ? + 1 AS b, `c?` AS c, /* ? */ ? AS n, ? AS d -- ?\n FROM (SELECT \"x\\\"?\" AS `c?`) AS t # ?"})
		wantRows(t, got, []string{"it's", "?", "8", `x"?`, "NULL", "1e+300"})

		_, err := readAll(t, settings{"url": db.DSN(db.Database()), "protocol": protocol, "args": []any{1}, "query": "SELECT ?, ?"})
		wantFault(t, err, codeArgumentCount)
	})
}

// Expressions are where servers announce other types than they send.
func TestExpressionsAgainstClient(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`CREATE TABLE v (i INT, d DECIMAL(12,4), s VARCHAR(20), da DATE, dt DATETIME(3), tm TIME, b BIGINT UNSIGNED);
		INSERT INTO v VALUES (1, 1.5, 'a', '2024-01-31', '2024-01-31 10:11:12.345', '10:11:12', 18446744073709551615),
			(-2, 12345678.9999, 'é', '2024-02-29', '2024-02-29 23:59:59.999', '-11:00:00', 0), (NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	expressions := []string{
		"NULL", "1", "-1", "1.50", "TRUE", "'text'", "1 = 1", "18446744073709551615", "0.000000000000000000000000000001",
		"i / 3", "i DIV 2", "-i", "d * d", "d / 7", "-d", "ROUND(d, 2)", "TRUNCATE(d, -2)", "CAST(d AS DECIMAL(65,30))", "CAST(i AS DECIMAL(40,2))", "b + 0", "CAST(i AS CHAR)",
		"da + INTERVAL 1 DAY", "dt + INTERVAL 1 MICROSECOND", "TIMESTAMP(da)", "DATE(dt)", "TIME(dt)", "YEAR(da)", "TIMEDIFF(dt, '2024-01-01 00:00:00')", "SEC_TO_TIME(i * 1000.5)", "ADDTIME(tm, '00:00:00.5')",
		"MAKETIME(1, 2, 3.25)", "STR_TO_DATE('2024-03-04', '%Y-%m-%d')", "STR_TO_DATE(s, '%Y')", "FROM_UNIXTIME(0)", "FROM_UNIXTIME(1.5)", "CAST('2024-01-01 01:02:03.5' AS DATETIME(2))",
		"DATE_FORMAT(dt, '%d.%m.%Y')", "CONCAT(s, i)", "COALESCE(s, i)", "IF(i > 0, i, d)", "IFNULL(da, dt)", "GREATEST(i, d)", "UPPER(s)", "LENGTH(s)", "MD5(s)", "CAST(s AS CHAR CHARACTER SET latin1)",
		"JSON_OBJECT('k', i)", "i IS NULL", "BIT_COUNT(i)", "i & 3", "i << 60", "CASE WHEN i = 1 THEN 'x' WHEN i = -2 THEN NULL ELSE 9 END", "INET_ATON('1.2.3.4')", "LAST_DAY(da)", "EXTRACT(DAY FROM da)",
		"(SELECT SUM(d) FROM v)", "(SELECT AVG(i) FROM v)", "(SELECT COUNT(*) FROM v)", "(SELECT GROUP_CONCAT(s) FROM v)", "(SELECT MAX(dt) FROM v)", "(SELECT MIN(tm) FROM v)", "(SELECT SUM(i) FROM v)", "(SELECT SUM(b) FROM v)",
		"ROW_NUMBER() OVER (ORDER BY i)", "SUM(d) OVER (ORDER BY i)", "@unset", "@@version_comment", "DATABASE()", "CAST('' AS CHAR)", "FORMAT(d, 2)", "CRC32(s)", "TO_DAYS(da)", "CAST(i AS UNSIGNED)", "CAST(i AS FLOAT)",
	}
	both(t, func(t *testing.T, protocol string) {
		for _, expression := range expressions {
			query := "SELECT " + expression + " AS v FROM v ORDER BY i"
			got, err := readAll(t, settings{"url": db.DSN(db.Database()), "query": query, "protocol": protocol, "zero_dates": "null"})
			if strings.Contains(expression, "AS FLOAT") && protocol == "text" {
				wantFault(t, err, codeFloat)
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", expression, err)
				continue
			}
			var lines []string
			for _, row := range got.rows {
				lines = append(lines, row[0])
			}
			want := strings.Split(strings.TrimSuffix(db.Query(query), "\n"), "\n")
			if !slices.EqualFunc(lines, want, func(a, b string) bool { return sameValue(got.schema.Field(0).Type, a, b) }) {
				t.Errorf("%s (%v): %q, the client says %q", expression, got.schema.Field(0).Type, lines, want)
			}
		}
	})
}

func TestResultSets(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`DELIMITER //
		CREATE PROCEDURE several() BEGIN SELECT 1 AS a; DO 1; SELECT 'x' AS b, 2 AS c UNION ALL SELECT 'y', 3; SELECT 9 AS d FROM seq_1_to_20000; END //
		CREATE PROCEDURE silent() BEGIN DO 1; END //
		CREATE PROCEDURE out_param(IN i INT, OUT o INT) BEGIN SELECT i AS a; SET o = i * 2; END //
		CREATE PROCEDURE empty() SELECT 1 AS a FROM DUAL WHERE FALSE //`)
	both(t, func(t *testing.T, protocol string) {
		read := func(with settings) (*table, error) {
			with["url"], with["protocol"] = db.DSN(db.Database()), protocol
			return readAll(t, with)
		}
		for set, want := range map[int]int{1: 1, 2: 2, 3: 20000} {
			got, err := read(settings{"call": "several", "result_set": set})
			if err != nil || len(got.rows) != want {
				t.Fatalf("result set %d: %v, want %d rows", set, err, want)
			}
		}
		_, err := read(settings{"call": "several", "result_set": 4})
		if f := wantFault(t, err, codeNoResultSet); !strings.Contains(f.Message, "gave 3") {
			t.Errorf("message %q does not tell the number", f.Message)
		}
		_, err = read(settings{"call": "silent"})
		wantFault(t, err, codeNoResultSet)

		got, err := read(settings{"call": "empty"})
		if err != nil || len(got.rows) != 0 || got.schema.Field(0).Name != "a" {
			t.Errorf("an empty result set: %v", err)
		}
		if protocol == "binary" {
			got, err := read(settings{"call": "out_param", "args": []any{4, nil}})
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, got, []string{"4"})
			_, err = read(settings{"call": "out_param", "args": []any{4, nil}, "result_set": 2})
			wantFault(t, err, codeNoResultSet)
		}
	})
}

func TestLateSignalFailsTheRun(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`DELIMITER //
		CREATE PROCEDURE late() BEGIN SELECT seq FROM seq_1_to_10000; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not so fast'; END //
		CREATE PROCEDURE late_custom() BEGIN SELECT 1; SIGNAL SQLSTATE '45123' SET MESSAGE_TEXT = 'own', MYSQL_ERRNO = 31001; END //`)
	both(t, func(t *testing.T, protocol string) {
		got, err := readAll(t, settings{"url": db.DSN(db.Database()), "call": "late", "protocol": protocol})
		f := wantFault(t, err, codeSignal)
		if len(got.rows) != 10000 {
			t.Errorf("%d rows before the signal, want 10000", len(got.rows))
		}
		if f.Details["errno"] != "1644" || f.Details["sqlstate"] != "45000" || f.Details["server_message"] != "not so fast" || f.Class != fault.Source || f.Retryable {
			t.Errorf("fault %+v", f)
		}
		if _, again := got.Next(context.Background()); !errors.Is(again, err) {
			t.Errorf("Next after the failure: %v", again)
		}
		_, err = readAll(t, settings{"url": db.DSN(db.Database()), "call": "late_custom", "protocol": protocol})
		wantFault(t, err, codeSignal)
	})
}

func TestServerErrorsAreCoded(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`DELIMITER //
		CREATE PROCEDURE one(i INT) SELECT i //
		CREATE PROCEDURE writes() BEGIN INSERT INTO t VALUES (1); SELECT 1; END //
		CREATE PROCEDURE mid_stream() BEGIN SELECT 1 AS a UNION ALL SELECT (SELECT seq FROM seq_1_to_2); END //
		CREATE TABLE t (i INT) //
		CREATE USER u1 IDENTIFIED BY 'pw-u1-secret' //`)
	t.Cleanup(func() { db.Exec("DROP USER u1") })
	stranger := strings.Replace(db.DSN(""), db.DSN("")[:strings.LastIndex(db.DSN(""), "@")], "mysql://u1:pw-u1-secret", 1)
	cases := []struct {
		name string
		with settings
		code string
	}{
		{"unknown procedure", settings{"call": "nothing"}, codeUnknownProcedure},
		{"argument count", settings{"call": "one", "args": []any{1, 2}}, codeArgumentCount},
		{"unknown table", settings{"query": "SELECT * FROM nothing"}, codeUnknownTable},
		{"unknown database", settings{"query": "SELECT 1", "url": db.DSN("nothing_here")}, codeUnknownDatabase},
		{"no database", settings{"query": "SELECT * FROM t", "url": db.DSN("")}, codeUnknownDatabase},
		{"syntax", settings{"query": "SELECT FROM t"}, codeSyntax},
		{"two statements", settings{"query": "SELECT 1; SELECT 2"}, codeSyntax},
		{"access denied", settings{"query": "SELECT * FROM mysql.global_priv", "url": stranger}, codeAccessDenied},
		{"procedure denied", settings{"call": db.Database() + ".one", "args": []any{1}, "url": stranger}, codeAccessDenied},
		{"snapshot of a writer", settings{"call": "writes", "snapshot": true}, codeReadOnly},
		{"timeout", settings{"query": "SELECT SLEEP(30), COUNT(*) FROM seq_1_to_1000000000", "timeout": "100ms"}, codeTimeout},
		{"other", settings{"query": "SELECT nothing FROM t"}, codeQuery},
		{"in mid-stream", settings{"call": "mid_stream"}, codeQuery},
	}
	both(t, func(t *testing.T, protocol string) {
		for _, c := range cases {
			with := settings{"url": db.DSN(db.Database()), "protocol": protocol}
			for key, value := range c.with {
				with[key] = value
			}
			_, err := readAll(t, with)
			var f *fault.Fault
			if !errors.As(err, &f) || f.Code != c.code {
				t.Errorf("%s: %v, want %s", c.name, err, c.code)
				continue
			}
			if f.Details["errno"] == "" || f.Hint == "" {
				t.Errorf("%s: fault without number or hint: %+v", c.name, f)
			}
			if text := fmt.Sprintf("%v %+v", err, f); strings.Contains(text, db.Password()) || strings.Contains(text, "pw-u1-secret") {
				t.Errorf("%s: the password is in %q", c.name, text)
			}
		}
	})
}

func TestZeroDates(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`SET sql_mode = 'ALLOW_INVALID_DATES';
		CREATE TABLE z (id INT, d DATE NOT NULL, dt DATETIME(3) NOT NULL, ts TIMESTAMP NOT NULL);
		INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'), (2, '2024-00-00', '2024-02-30 01:02:03.5', '2024-02-29 01:02:03'),
			(3, '2023-02-29', '2024-12-31 23:59:59.999', '2024-02-29 01:02:03'), (4, '2024-02-29', '2024-02-00 00:00:00', '2024-02-29 00:00:00')`)
	both(t, func(t *testing.T, protocol string) {
		with := func(policy string) settings {
			return settings{"url": db.DSN(db.Database()), "query": "SELECT d, dt, ts FROM z ORDER BY id", "protocol": protocol, "zero_dates": policy}
		}
		got := mustRead(t, with("null"))
		wantRows(t, got,
			[]string{"NULL", "NULL", "NULL"},
			[]string{"NULL", "NULL", "2024-02-29 01:02:03"},
			[]string{"NULL", "2024-12-31 23:59:59.999", "2024-02-29 01:02:03"},
			[]string{"2024-02-29", "NULL", "2024-02-29 00:00:00"})
		if !got.schema.Field(0).Nullable || !got.schema.Field(2).Nullable {
			t.Error("columns that can become NULL are not nullable")
		}
		if n := got.counters["zero_dates"]; n != 7 {
			t.Errorf("zero_dates = %d, want 7", n)
		}

		unquoted := with("")
		unquoted["zero_dates"] = nil // what YAML makes of zero_dates: null
		if got := mustRead(t, unquoted); got.counters["zero_dates"] != 7 {
			t.Errorf("null without quotes: %v", got.counters)
		}

		got = mustRead(t, with("text"))
		wantRows(t, got,
			[]string{"0000-00-00", "0000-00-00 00:00:00.000", "0000-00-00 00:00:00"},
			[]string{"2024-00-00", "2024-02-30 01:02:03.500", "2024-02-29 01:02:03"},
			[]string{"2023-02-29", "2024-12-31 23:59:59.999", "2024-02-29 01:02:03"},
			[]string{"2024-02-29", "2024-02-00 00:00:00.000", "2024-02-29 00:00:00"})
		for i, f := range got.schema.Fields() {
			if f.Type.ID() != arrow.STRING || f.Nullable {
				t.Errorf("column %d is %v, want text, not nullable", i, f)
			}
		}
		if n := got.counters["zero_dates"]; n != 7 {
			t.Errorf("zero_dates = %d, want 7", n)
		}

		_, err := readAll(t, with("error"))
		if f := wantFault(t, err, codeZeroDate); f.Class != fault.Data || !strings.Contains(f.Message, `"d", row 1`) {
			t.Errorf("fault %v", f)
		}
	})
}

func TestSession(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec("CREATE TABLE t (i INT); INSERT INTO t VALUES (1)")
	mode := strings.TrimSpace(db.Query("SELECT @@GLOBAL.sql_mode"))
	with := settings{"url": db.SocketDSN(db.Database()), "net_write_timeout": "1234s",
		"query": "SELECT @@time_zone, @@net_write_timeout, @@character_set_results, @@character_set_client, @@sql_mode, @@in_transaction, @@tx_isolation, i FROM t"}
	wantRows(t, mustRead(t, with), []string{"+00:00", "1234", "utf8mb4", "utf8mb4", mode, "1", "REPEATABLE-READ", "1"})

	with["snapshot"] = true
	p, err := newProbe(t, with)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	record, err := p.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer record.Release()
	if got := cell(record.Column(5), 0, record.Schema().Field(5)); got != "1" {
		t.Errorf("in_transaction = %s with snapshot", got)
	}
}

func TestProtocolFallback(t *testing.T) {
	db := dbtest.MariaDB(t)
	query := "EXECUTE IMMEDIATE 'SELECT 5 AS five'" // MariaDB cannot prepare this
	got := mustRead(t, settings{"url": db.DSN(db.Database()), "query": query, "read_only": false})
	wantRows(t, got, []string{"5"})
	if !strings.Contains(got.log.String(), "errno=1295") {
		t.Errorf("the fall-back is not in the log: %q", got.log.String())
	}
	_, err := readAll(t, settings{"url": db.DSN(db.Database()), "query": query, "read_only": false, "protocol": "binary"})
	if f := wantFault(t, err, codeQuery); f.Details["errno"] != "1295" {
		t.Errorf("fault %+v", f)
	}
}

func TestBatchSizes(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, c := range []struct {
		query string
		sizes []int64
	}{
		{"SELECT seq FROM seq_1_to_20000", []int64{8192, 8192, 3616}},
		{"SELECT seq FROM seq_1_to_16384", []int64{8192, 8192}},
		{"SELECT REPEAT('x', 1048576) FROM seq_1_to_9", []int64{4, 4, 1}},
		{"SELECT seq FROM seq_1_to_1 WHERE FALSE", nil},
	} {
		p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "query": c.query})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Open(context.Background()); err != nil {
			t.Fatal(err)
		}
		var sizes []int64
		for {
			record, err := p.Next(context.Background())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, record.NumRows())
			record.Release()
		}
		if !slices.Equal(sizes, c.sizes) {
			t.Errorf("%s: batches of %v rows, want %v", c.query, sizes, c.sizes)
		}
		if _, err := p.Next(context.Background()); err != io.EOF {
			t.Errorf("Next after the end: %v", err)
		}
	}
}

// running tells how many sessions execute a statement with a marker.
func running(db *dbtest.Server, marker string) string {
	return strings.TrimSpace(db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE '%" + marker + "%'"))
}

// await polls the server until ok; each poll is a client's run, which takes seconds on a busy machine. The queries that
// are waited for take minutes by themselves.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in a minute", what)
		}
	}
}

func TestCancelKillsTheQuery(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec("DELIMITER //\nCREATE PROCEDURE slow(marker VARCHAR(50)) BEGIN SELECT SLEEP(600), 'in_slow_procedure'; END //")
	ended := errors.New("somebody pressed a key")

	t.Run("while the server thinks", func(t *testing.T) {
		p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "call": "slow", "args": []any{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		opened := make(chan error, 1)
		go func() {
			_, err := p.Open(ctx)
			if err == nil {
				_, err = p.Next(ctx)
			}
			opened <- err
		}()
		await(t, "the query's start", func() bool { return running(db, "in_slow_procedure") == "1" })
		start := time.Now()
		cancel(ended)
		if err := <-opened; !errors.Is(err, ended) {
			t.Errorf("error is %v, want the context's cause", err)
		}
		if took := time.Since(start); took > 5*killTimeout { // the query would take ten minutes
			t.Errorf("cancellation took %s", took)
		}
		await(t, "the query's end", func() bool { return running(db, "in_slow_procedure") == "0" })
	})

	t.Run("in mid-stream", func(t *testing.T) {
		p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "query": "SELECT seq, 'mid_stream' FROM seq_1_to_1000000000"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		if _, err := p.Open(ctx); err != nil {
			t.Fatal(err)
		}
		record, err := p.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		record.Release()
		cancel(ended)
		for err == nil {
			if record, err = p.Next(ctx); err == nil {
				record.Release()
			}
		}
		if !errors.Is(err, ended) {
			t.Errorf("error is %v, want the context's cause", err)
		}
		await(t, "the query's end", func() bool { return running(db, "mid_stream") == "0" })
	})

	t.Run("by Close", func(t *testing.T) {
		p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "query": "SELECT seq, 'closed_early' FROM seq_1_to_1000000000"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Open(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		await(t, "the query's end", func() bool { return running(db, "closed_early") == "0" })
	})
}

func TestKilledByTheServer(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, c := range []struct{ how, code string }{{"QUERY", codeKilled}, {"CONNECTION", codeConnectionLost}} {
		p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "query": "SELECT seq, 'to_be_killed' FROM seq_1_to_1000000000"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Open(context.Background()); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(db.Query("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE '%to_be_killed%'"))
		db.Exec("KILL " + c.how + " " + id)
		for err == nil {
			var record arrow.Record
			if record, err = p.Next(context.Background()); err == nil {
				record.Release()
			}
		}
		f := wantFault(t, err, c.code)
		if errors.Is(err, io.EOF) {
			t.Error("a failure that looks like the end of the data")
		}
		if f.Retryable != (c.code == codeConnectionLost) {
			t.Errorf("retryable = %t", f.Retryable)
		}
	}
}

func TestReadTimeout(t *testing.T) {
	db := dbtest.MariaDB(t)
	_, err := readAll(t, settings{"url": db.DSN(db.Database()), "query": "SELECT SLEEP(600), 'idle_reader'", "read_timeout": "200ms"})
	if f := wantFault(t, err, codeConnectionLost); !f.Retryable || !strings.Contains(f.Message, "200ms") {
		t.Errorf("fault %v", f)
	}
	await(t, "the query's end", func() bool { return running(db, "idle_reader") == "0" })
}
