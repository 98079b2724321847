package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// asked are the settings of a source that reads what a request asks for; everything
// is allowed.
func asked(dsn string, request settings) settings {
	all := settings{"allowed_tables": "*", "allowed_procedures": "*"}
	for key, value := range request {
		all[key] = value
	}
	return settings{"url": dsn, "request": all}
}

// The catalogue of a real server, where names are hard to tell apart.
func TestRequestOnServer(t *testing.T) {
	db := dbtest.MariaDB(t)
	other := db.NewDatabase()
	db.Exec("CREATE TABLE " + other + ".elsewhere (id INT); CREATE TABLE " + other + ".plain (foreign_column INT)")
	db.Exec("DELIMITER //\n" + strings.Join([]string{
		"CREATE TABLE plain (b INT, id INT PRIMARY KEY, hidden INT INVISIBLE DEFAULT 7)",
		"INSERT INTO plain (b, id) VALUES (1, 3), (2, 1), (3, 2)",
		"CREATE TABLE Plain (capital INT)", "INSERT INTO Plain VALUES (4)",
		"CREATE TABLE `pläin` (accent INT)", "INSERT INTO `pläin` VALUES (5)",
		"CREATE TABLE heap (id INT PRIMARY KEY, b INT) ENGINE = MyISAM", "INSERT INTO heap VALUES (2, 1), (1, 2)",
		"CREATE TABLE kept (id INT) WITH SYSTEM VERSIONING", "INSERT INTO kept VALUES (6)", "UPDATE kept SET id = 7",
		"CREATE TABLE two (b INT, a INT, v VARCHAR(9), PRIMARY KEY (b, a), KEY (v))", "INSERT INTO two VALUES (1, 2, 'x'), (2, 1, 'y'), (1, 1, 'z')",
		"CREATE VIEW seen AS SELECT id FROM plain WHERE id > 1", "CREATE VIEW blind AS SELECT id FROM heap",
		"CREATE SEQUENCE counter",
		"CREATE TABLE `a``b?'\"\\ -- /*;é` (`x``?` DATETIME(3), `c'\"é` INT)", "INSERT INTO `a``b?'\"\\ -- /*;é` VALUES ('2024-01-31 23:59:59.999', 8), ('2024-02-01', 9)",
		"CREATE PROCEDURE `Echo It`(s VARCHAR(100), n BIGINT UNSIGNED, d DECIMAL(30,10), day DATE, e ENUM('a','it''s'), raw VARBINARY(4), f DOUBLE, b BOOL) SELECT s, n, d, day, e, HEX(raw) AS h, f, b",
		"CREATE PROCEDURE writes() BEGIN DELETE FROM plain; SELECT 1 AS a; END",
		"CREATE PROCEDURE collects() BEGIN CREATE TEMPORARY TABLE c (a INT); INSERT INTO c VALUES (1); SELECT a FROM c; DROP TEMPORARY TABLE c; END",
		"CREATE PROCEDURE result(OUT n INT) SELECT 1 INTO n", "CREATE FUNCTION f() RETURNS INT RETURN 1",
		"CREATE TABLE gone (id INT)", "CREATE VIEW stale AS SELECT id FROM gone", "DROP TABLE gone",
	}, "//\n") + "//\n")
	dsn := db.DSN(db.Database())

	both(t, func(t *testing.T, protocol string) {
		for _, c := range []struct {
			request settings
			header  string
			rows    []string
		}{
			{settings{"table_name": "plain"}, "b id", []string{"2 1", "3 2", "1 3"}},
			{settings{"table_name": "plain", "columns": "HIDDEN,id"}, "hidden id", []string{"7 1", "7 2", "7 3"}},
			{settings{"table_name": "Plain"}, "capital", []string{"4"}},
			{settings{"table_name": "pläin"}, "accent", []string{"5"}},
			{settings{"table_name": "heap"}, "id b", []string{"2 1", "1 2"}},
			{settings{"table_name": "kept"}, "id", []string{"7"}},
			{settings{"table_name": "two", "columns": "v"}, "v", []string{"z", "x", "y"}},
			{settings{"table_name": "seen"}, "id", []string{"2", "3"}},
			{settings{"table_name": "a`b?'\"\\ -- /*;é", "date_column": "x`?", "to_date": "2024-01-31"}, "x`? c'\"é", []string{"2024-01-31 23:59:59.999 8"}},
			{settings{"procedure_name": "echo it", "arguments": `["O'H \"\\ \u0000🙂 ?", 18446744073709551615, -12345678901234567890.0123456789, "2024-02-29", "it's", "/wD+", 1e300, true]`},
				"s n d day e h f b", []string{"O'H \"\\ \x00🙂 ? 18446744073709551615 -12345678901234567890.0123456789 2024-02-29 it's FF00FE 1e+300 1"}},
			{settings{"procedure_name": "Echo It", "arguments": `[null, null, null, null, null, null, null, null]`}, "s n d day e h f b", []string{"NULL NULL NULL NULL NULL NULL NULL NULL"}},
			{settings{"procedure_name": "collects"}, "a", []string{"1"}},
		} {
			with := asked(dsn, c.request)
			with["protocol"] = protocol
			if c.request["procedure_name"] == "collects" {
				with["read_only"] = false // whoever asks cannot say so, but whoever writes the pipeline
			}
			got, err := readAll(t, with)
			if err != nil {
				t.Errorf("%v: %v", c.request, err)
				continue
			}
			var header, rows []string
			for _, field := range got.schema.Fields() {
				header = append(header, field.Name)
			}
			for _, row := range got.rows {
				rows = append(rows, strings.Join(row, " "))
			}
			if strings.Join(header, " ") != c.header || !slices.Equal(rows, c.rows) {
				t.Errorf("%v: %q %q", c.request, header, rows)
			}
		}
		for _, c := range []struct {
			request settings
			code    string
		}{
			{settings{"table_name": "PLAIN"}, codeTableNotAvailable},
			{settings{"table_name": "plàin"}, codeTableNotAvailable},
			{settings{"table_name": "plain "}, codeTableNotAvailable},
			{settings{"table_name": "counter"}, codeTableNotAvailable},
			{settings{"table_name": "elsewhere"}, codeTableNotAvailable},
			{settings{"table_name": other + ".elsewhere"}, codeTableNotAvailable},
			{settings{"table_name": "stale"}, codeBrokenView},
			{settings{"table_name": "plain", "columns": "foreign_column"}, codeUnknownColumn},
			{settings{"table_name": "plain", "allowed_tables": "heap,seen"}, codeTableNotAvailable},
			{settings{"procedure_name": "f"}, codeProcedureNotAvailable},
			{settings{"procedure_name": "échо it"}, codeProcedureNotAvailable},
			{settings{"procedure_name": "echo  it"}, codeProcedureNotAvailable},
			{settings{"procedure_name": "result", "arguments": "[null]"}, codeArgumentCount},
			{settings{"procedure_name": "writes", "allowed_procedures": "w?ites"}, codeProcedureNotAvailable},
		} {
			with := asked(dsn, c.request)
			with["protocol"] = protocol
			_, err := readAll(t, with)
			var f *fault.Fault
			if !errors.As(err, &f) || f.Code != c.code || f.Hint == "" || f.Class != fault.Usage {
				t.Errorf("%v: %v, want %s", c.request, err, c.code)
			}
		}
	})
	if got := db.Query("SELECT COUNT(*) FROM plain"); got != "3\n" {
		t.Errorf("%q rows are left", got)
	}
}

// What an account may not see does not exist.
func TestRequestOfRestrictedAccount(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(`DELIMITER //
CREATE TABLE partly (id INT PRIMARY KEY, name VARCHAR(9), salary INT)//
INSERT INTO partly VALUES (2, 'b', 9), (1, 'a', 9)//
CREATE TABLE private (id INT)//
CREATE PROCEDURE twice(n INT) SELECT n * 2 AS n//
CREATE PROCEDURE other() SELECT 1//
CREATE USER limited IDENTIFIED BY 'pw-limited'//
GRANT SELECT (id, name) ON partly TO limited//
GRANT EXECUTE ON PROCEDURE twice TO limited//`)
	t.Cleanup(func() { db.Exec("DROP USER limited") })
	dsn := fmt.Sprintf("mysql://limited:pw-limited@127.0.0.1:%d/%s", db.Port(), db.Database())
	wantRows(t, mustRead(t, asked(dsn, settings{"table_name": "partly", "columns": "id,name"})), []string{"1", "a"}, []string{"2", "b"})
	wantRows(t, mustRead(t, asked(dsn, settings{"procedure_name": "twice", "arguments": "[21]"})), []string{"42"})
	for _, c := range []struct {
		request settings
		code    string
	}{
		{settings{"table_name": "private"}, codeTableNotAvailable},
		{settings{"table_name": "partly"}, codeAccessDenied},
		{settings{"table_name": "partly", "columns": "salary"}, codeUnknownColumn},
		{settings{"procedure_name": "other"}, codeProcedureNotAvailable},
		{settings{"procedure_name": "twice"}, codeArgumentCount},
	} {
		_, err := readAll(t, asked(dsn, c.request))
		if f := wantFault(t, err, c.code); strings.Contains(f.Hint, "salary") || strings.Contains(f.Hint, `"private"`) || strings.Contains(f.Hint, `"other"`) {
			t.Errorf("%v: hint %q", c.request, f.Hint)
		}
	}
}

// With lower_case_table_names, the case of tables does not matter.
func TestRequestOnServerWithoutCase(t *testing.T) {
	db := dbtest.Private(t, "--lower-case-table-names=1")
	db.Exec("CREATE TABLE Invoice (Id INT PRIMARY KEY); INSERT INTO Invoice VALUES (1)")
	with := asked(db.DSN(strings.ToUpper(db.Database())), settings{"table_name": "INVOICE", "columns": "ID", "allowed_tables": "Inv*"})
	wantRows(t, mustRead(t, with), []string{"1"})
}

func TestRequestSettings(t *testing.T) {
	for _, c := range []struct {
		with settings
		code string
	}{
		{settings{"url": "mysql://a@b/c", "request": settings{"table_name": "x"}, "query": "SELECT 1"}, codeSettings},
		{settings{"url": "mysql://a@b/c", "request": settings{"table_name": "x"}, "args": []any{1}}, codeSettings},
		{settings{"url": "mysql://a@b/c", "request": settings{"procedure_name": "x"}, "call": "x"}, codeSettings},
		{settings{"url": "mysql://a@b", "request": settings{"table_name": "x"}}, codeSettings},
		{settings{"url": "mysql://a@b/c", "request": settings{"date_modifier": "All"}}, codeSettings},
		{settings{"url": "mysql://a@b/c", "request": settings{"table_name": nil, "procedure_name": nil, "allowed_tables": "*"}}, codeRequest},
		{settings{"url": "mysql://a@b/c", "request": settings{"table_name": 7}}, codeRequest},
	} {
		_, err := newProbe(t, c.with)
		if f := wantFault(t, err, c.code); f.Class != fault.Usage {
			t.Errorf("%v: %+v", c.with, f)
		}
	}
}

// A request that is cancelled while it is looked up leaves nothing on the server.
func TestRequestIsCancelled(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec("CREATE TABLE locked (id INT PRIMARY KEY)")
	p, err := newProbe(t, asked(db.DSN(db.Database()), settings{"procedure_name": "sleeper"}))
	if err != nil {
		t.Fatal(err)
	}
	db.Exec("CREATE PROCEDURE sleeper() SELECT SLEEP(600), 'request_sleeper'")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.Open(ctx)
		if err == nil {
			_, err = p.Next(ctx)
		}
		done <- err
	}()
	await(t, "the call's start", func() bool { return running(db, "request_sleeper") == "1" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	await(t, "the call's end", func() bool { return running(db, "request_sleeper") == "0" })
}

// textsOf must take any row, in either protocol, as a whole or not at all.
func FuzzCatalogueRow(f *testing.F) {
	f.Add([]byte("\x00\x00\x01a\x02bc\x00"), true)
	f.Add([]byte("\x01a\xfb\xfc\x01\x00c"), false)
	f.Add([]byte("\x00\xfc"), true)
	f.Fuzz(func(t *testing.T, p []byte, binary bool) {
		row := make([]string, 3)
		err := textsOf(row, p, binary)
		if n := len(strings.Join(row, "")); err == nil && n > len(p) {
			t.Fatalf("%d bytes from %d", n, len(p))
		}
		var coded *fault.Fault
		if err != nil && !errors.As(err, &coded) {
			t.Fatalf("error without a code: %v", err)
		}
	})
}
