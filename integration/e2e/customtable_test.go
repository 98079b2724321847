package e2e

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// custom writes a pipeline that is custom_table with lists of its own of what may be
// asked for.
func (w *workspace) custom(tables, procedures string) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), "custom.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: custom, title: Custom table}
spec:
  extends: custom_table
  stages:
    source: {with: {request: {allowed_tables: %q, allowed_procedures: %q}}}
`, tables, procedures), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// ask runs a pipeline with parameters, CSV being the output.
func (w *workspace) ask(pipeline string, parameters ...string) (header []string, rows [][]string) {
	w.Helper()
	args := []string{"run", pipeline, "-f", "csv"}
	for _, p := range parameters {
		args = append(args, "-p", p)
	}
	records, err := csv.NewReader(strings.NewReader(string(w.must(args...)))).ReadAll()
	if err != nil || len(records) == 0 {
		w.Fatalf("%v: %d records, %v", parameters, len(records), err)
	}
	return records[0], records[1:]
}

// ids are the first fields of rows.
func ids(rows [][]string) (list []string) {
	for _, row := range rows {
		list = append(list, row[0])
	}
	return list
}

// visits is a table whose rows lie on the edges of 2024-02-28 to 2024-02-29, on one
// date each, the others being far away: the first instant of the range, the one
// before, the last second, the last instant, and the first of the day after.
const visits = "CREATE TABLE visits (id INT PRIMARY KEY, day DATE NULL, at DATETIME(3) NULL, seen TIMESTAMP(6) NULL, note VARCHAR(60), ts_4_insert DATETIME NOT NULL, ts_4_update TIMESTAMP NOT NULL, KEY (ts_4_insert));\n" +
	"SET time_zone = '+00:00';\n"

func fillVisits(db *dbtest.Server) {
	script := visits
	moments := []string{"2024-02-28 00:00:00", "2024-02-27 23:59:59.999999", "2024-02-29 23:59:59", "2024-02-29 23:59:59.999999", "2024-03-01 00:00:00"}
	for i, length := range []int{19, 23, 26, 19, 19} { // of what each date column holds
		for j, moment := range moments {
			values := []string{"NULL", "NULL", "NULL", "'1999-01-01'", "'1999-01-01'"}
			values[i] = "'" + moment[:min(len(moment), length)] + "'"
			script += fmt.Sprintf("INSERT INTO visits VALUES (%d, %s, 'it''s \"%d\"', %s);\n", 10*i+j, strings.Join(values[:3], ", "), j, strings.Join(values[3:], ", "))
		}
	}
	db.Exec(script)
}

// TestCustomTableDates: the range on every kind of column and with every modifier.
func TestCustomTableDates(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	fillVisits(db)
	w := newWorkspace(t, db.DSN(db.Database()))
	pipeline := w.custom("visits", "")
	from, to := "from_date=2024-02-28", "to_date=2024-02-29"
	for _, c := range []struct {
		name       string
		parameters []string
		want       string
	}{
		// A DATE has no time of day: the rows before the edges are on their days.
		{"All on a DATE", []string{"date_column=day", from, to}, "0 2 3"},
		{"All on a DATETIME(3)", []string{"date_column=AT", from, to}, "10 12 13"},
		{"All on a TIMESTAMP(6)", []string{"date_column=seen", from, to}, "20 22 23"},
		{"Created", []string{"date_modifier=Created", from, to}, "30 32 33"},
		{"Updated", []string{"date_modifier=Updated", from, to}, "40 42 43"},
		{"Created, whatever date_column says", []string{"date_modifier=Created", "date_column=day", from, to}, "30 32 33"},
		{"a beginning only", []string{"date_column=at", from}, "10 12 13 14"},
		{"an end only", []string{"date_column=at", to}, "10 11 12 13"},
		{"one day", []string{"date_column=at", "from_date=2024-02-29", to}, "12 13"},
		{"the last day of all", []string{"date_column=at", from, "to_date=9999-12-31"}, "10 12 13 14"},
		{"the whole table", nil, "0 1 2 3 4 10 11 12 13 14 20 21 22 23 24 30 31 32 33 34 40 41 42 43 44"},
	} {
		_, rows := w.ask(pipeline, append([]string{"table_name=visits"}, c.parameters...)...)
		got := ids(rows)
		if slices.Contains(c.parameters, "date_modifier=Created") {
			slices.Sort(got) // an index on the date makes the order the server's
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestCustomTableRows: whole tables, chosen columns, views and calls, value for value.
func TestCustomTableRows(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	fillVisits(db)
	db.Exec(`DELIMITER //
CREATE VIEW recent AS SELECT id, note FROM visits WHERE id < 2//
CREATE TABLE unordered (b INT, a INT, note TEXT, PRIMARY KEY (b, a))//
INSERT INTO unordered VALUES (2, 1, 'x'), (1, 2, NULL), (1, 1, 'line\nline')//
CREATE PROCEDURE echo(s VARCHAR(100), n DECIMAL(20,4), d DATE, b BOOL) SELECT s, n, d, b//
CREATE PROCEDURE ready() SELECT 1 AS one//`)
	w := newWorkspace(t, db.DSN(db.Database()))
	pipeline := w.custom("vis*, recent, unordered", "e*,ready")
	expressions := []string{text.expression("id"), text.expression("day"), text.expression("at"), text.expression("seen"), text.expression("note"), text.expression("ts_4_insert"), text.expression("ts_4_update")}
	compareNDJSON(t, w.must("run", pipeline, "-p", "table_name=visits"), []string{"id", "day", "at", "seen", "note", "ts_4_insert", "ts_4_update"},
		[]kind{integer, text, text, text, text, text, text}, fromClient(t, db, expressions, "visits ORDER BY id"))
	for _, c := range []struct {
		parameters []string
		header     string
		rows       string
	}{
		{[]string{"table_name=unordered"}, "b a note", "[[1 1 line\nline] [1 2 ] [2 1 x]]"},
		{[]string{"table_name=unordered", "columns=NOTE, b"}, "note b", "[[line\nline 1] [ 1] [x 2]]"},
		{[]string{"table_name=recent", "columns=note"}, "note", `[[it's "0"] [it's "1"]]`},
		{[]string{"procedure_name=ECHO", `arguments=["O'H \"\\ ?; -- é🙂", -1234567890123456.7890, "2024-02-29", true]`}, "s n d b", `[[O'H "\ ?; -- é🙂 -1234567890123456.7890 2024-02-29 1]]`},
		{[]string{"procedure_name=echo", "arguments=[null, null, null, null]"}, "s n d b", "[[   ]]"},
		{[]string{"procedure_name=ready"}, "one", "[[1]]"},
	} {
		header, rows := w.ask(pipeline, c.parameters...)
		if strings.Join(header, " ") != c.header || fmt.Sprint(rows) != c.rows {
			t.Errorf("%v: %v %v", c.parameters, header, rows)
		}
	}
}

// refused holds that a run was refused before anything was written, with a code or
// with the rule's message, and that it blames a parameter.
func (w *workspace) refused(args []string, code, parameter, says string) {
	w.Helper()
	r := w.run(append(args, "-o", w.output("rows"))...)
	if r.code != 2 || !strings.Contains(r.stderr, "["+code+"]") || !strings.Contains(r.stderr, parameter) || !strings.Contains(r.stderr, says) {
		w.Errorf("it ended with %d, want 2 with %s, %s and %q:\n%s", r.code, code, parameter, says, r.stderr)
	}
	if left := names(w, w.out); len(left) > 0 {
		w.Errorf("files left behind: %v", left)
	}
	if len(r.stdout) > 0 || strings.Contains(r.stderr, "payroll") && !strings.Contains(strings.Join(args, " "), "payroll") {
		w.Errorf("it says too much: %s %s", r.stdout, r.stderr)
	}
}

// TestCustomTableRefuses: every kind of bad request.
func TestCustomTableRefuses(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	fillVisits(db)
	db.Exec(`DELIMITER //
CREATE TABLE payroll (salary INT)//
CREATE TABLE plain (id INT PRIMARY KEY, ts_4_insert VARCHAR(20))//
CREATE SEQUENCE visits_seq//
CREATE PROCEDURE pay(a INT, b VARCHAR(3)) SELECT a, b//
CREATE PROCEDURE payroll_run() SELECT 1//
CREATE PROCEDURE gives(OUT n INT) SELECT 1 INTO n//
CREATE PROCEDURE changes(INOUT n INT) SELECT n//`)
	w := newWorkspace(t, db.DSN(db.Database()))
	pipeline := w.custom("visits*,plain", "pay,gives,changes")
	w.refused([]string{"run", pipeline, "-p", "table_name=nothing"}, "mysql.table_not_available", "table_name", "no table")
	const (
		noTable     = "mysql.table_not_available"
		noProcedure = "mysql.procedure_not_available"
		conflict    = "CONFLICTING_PARAMETERS"
	)
	for _, c := range []struct {
		name       string
		parameters []string
		code       string
		parameter  string
		says       string
	}{
		{"not allowed", []string{"table_name=payroll"}, noTable, "table_name", "no table"},
		{"does not exist", []string{"table_name=visit"}, noTable, "table_name", `did you mean "visits"?`},
		{"a sequence", []string{"table_name=visits_seq"}, noTable, "table_name", "no table"},
		{"another case", []string{"table_name=VISITS"}, noTable, "table_name", `did you mean "visits"?`},
		{"of another database", []string{"table_name=information_schema.tables"}, noTable, "table_name", "no table"},
		{"two statements", []string{"table_name=visits; DROP TABLE visits"}, noTable, "table_name", "no table"},
		{"a backtick", []string{"table_name=visits` WHERE 1=1 -- "}, noTable, "table_name", "no table"},
		{"a comment", []string{"table_name=visits/**/"}, noTable, "table_name", "no table"},
		{"a version comment", []string{"table_name=/*!visits*/"}, noTable, "table_name", "no table"},
		{"a subquery", []string{"table_name=(SELECT * FROM visits)"}, noTable, "table_name", "no table"},
		{"a look-alike", []string{"table_name=vіsits"}, noTable, "table_name", "no table"},
		{"a wide look-alike", []string{"table_name=ｖisits"}, noTable, "table_name", "no table"},
		{"a long s", []string{"table_name=viſits"}, noTable, "table_name", "no table"},
		{"an accent", []string{"table_name=vísits"}, noTable, "table_name", "no table"},
		{"a space at the end", []string{"table_name=visits "}, noTable, "table_name", "no table"},
		{"a line end", []string{"table_name=visits\n"}, noTable, "table_name", `visits\n`},
		{"a right-to-left mark", []string{"table_name=visits\u202e"}, noTable, "table_name", `\u202e`},
		{"very long", []string{"table_name=" + strings.Repeat("v", 60_000)}, noTable, "table_name", "no table"},
		{"empty", []string{"table_name="}, noTable, "table_name", "empty"},
		{"no timestamps: Updated", []string{"table_name=plain", "date_modifier=Updated"}, "mysql.date_column", "date_modifier", "ts_4_update"},
		{"no timestamps: Created on text", []string{"table_name=plain", "date_modifier=Created", "from_date=2024-01-01"}, "mysql.date_column", "date_modifier", "ts_4_insert"},
		{"no date column", []string{"table_name=visits", "from_date=2024-01-01"}, "MISSING_PARAMETER", "date_column", "Created"},
		{"an unknown date column", []string{"table_name=visits", "date_column=dya", "to_date=2024-01-01"}, "mysql.date_column", "date_column", `did you mean "day"`},
		{"a date column of text", []string{"table_name=visits", "date_column=note", "to_date=2024-01-01"}, "mysql.date_column", "date_column", "varchar"},
		{"a date column that is SQL", []string{"table_name=visits", "date_column=day OR 1=1", "to_date=2024-01-01"}, "mysql.date_column", "date_column", "no column"},
		{"an unknown column", []string{"table_name=visits", "columns=id,nota"}, "mysql.unknown_column", "columns", `did you mean "note"`},
		{"a column that is SQL", []string{"table_name=visits", "columns=id,(SELECT salary FROM x)"}, "mysql.unknown_column", "columns", "no column"},
		{"a column twice", []string{"table_name=visits", "columns=id,note,ID"}, "mysql.unknown_column", "columns", "twice"},
		{"OUT parameters of a table", []string{"table_name=visits", "out_parameters=true"}, conflict, "out_parameters", "of a procedure"},
		{"OUT parameters and a result set", []string{"procedure_name=gives", "out_parameters=true", "result_set=1"}, conflict, "out_parameters", "something else"},
		{"no column", []string{"table_name=visits", "columns=,"}, "mysql.unknown_column", "columns", "missing"},
		{"upside down", []string{"table_name=visits", "date_column=day", "from_date=2024-01-02", "to_date=2024-01-01"}, "INVALID_DATE_RANGE", "to_date", "before"},
		{"no such day", []string{"table_name=visits", "date_column=day", "from_date=2024-02-30"}, "parameter.invalid", "from_date", "2024-02-30"},
		{"no such modifier", []string{"table_name=visits", "date_modifier=Deleted"}, "parameter.not_allowed", "date_modifier", "Updated"},
		{"neither", nil, "MISSING_PARAMETER", "table_name", "neither"},
		{"both", []string{"table_name=visits", "procedure_name=pay"}, conflict, "procedure_name", "both"},
		{"arguments for a table", []string{"table_name=visits", "arguments=[]"}, conflict, "arguments", "procedure"},
		{"arguments alone", []string{"arguments=[]"}, "MISSING_PARAMETER", "table_name", "neither"},
		{"columns of a call", []string{"procedure_name=pay", "columns=a"}, conflict, "columns", "procedure"},
		{"a range of a call", []string{"procedure_name=pay", "from_date=2024-01-01"}, conflict, "from_date", "procedure"},
		{"a procedure that is not allowed", []string{"procedure_name=payroll_run"}, noProcedure, "procedure_name", "no procedure"},
		{"a procedure that does not exist", []string{"procedure_name=pai"}, noProcedure, "procedure_name", `did you mean "pay"`},
		{"a procedure that is SQL", []string{"procedure_name=pay(1, 'x'); DROP TABLE visits; -- "}, noProcedure, "procedure_name", "no procedure"},
		{"an argument for an OUT parameter", []string{"procedure_name=gives", "arguments=[null]"}, "mysql.argument_count", "arguments", "takes 0 arguments"},
		{"none for an INOUT parameter", []string{"procedure_name=changes"}, "mysql.argument_count", "arguments", "n int(11)"},
		{"no arguments", []string{"procedure_name=pay"}, "mysql.argument_count", "arguments", "a int(11), b varchar(3)"},
		{"too many arguments", []string{"procedure_name=pay", `arguments=[1,"x",2]`}, "mysql.argument_count", "arguments", "takes 2 arguments"},
		{"text for a number", []string{"procedure_name=pay", `arguments=["1 OR 1=1","x"]`}, "mysql.argument", "arguments", "argument 1 (a int(11))"},
		{"a number that is too large", []string{"procedure_name=pay", `arguments=[2147483648,"x"]`}, "mysql.argument", "arguments", "2147483647"},
		{"a text that is too long", []string{"procedure_name=pay", `arguments=[1,"long"]`}, "mysql.argument", "arguments", "at most 3 characters"},
		{"arguments that are no JSON", []string{"procedure_name=pay", `arguments=1, 'x'`}, "mysql.argument", "arguments", "JSON array"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"run", pipeline, "--isolation", "none"}
			for _, p := range c.parameters {
				args = append(args, "-p", p)
			}
			w.with(t).refused(args, c.code, c.parameter, c.says)
		})
	}
	if n := db.Query("SELECT COUNT(*) FROM visits"); n != "25\n" {
		t.Errorf("%s rows are left", n)
	}

	// Nothing tells a name that is not allowed from one that does not exist.
	answers := map[string]string{}
	for _, name := range []string{"payroll", "pay_poll"} {
		r := w.run("run", pipeline, "-p", "table_name="+name, "--json", "--progress", "none")
		answers[name] = strings.ReplaceAll(r.stderr[strings.Index(r.stderr, "table_name: "):], name, "NAME")
	}
	if answers["payroll"] != answers["pay_poll"] {
		t.Errorf("%q\n%q", answers["payroll"], answers["pay_poll"])
	}
}

// TestCustomTableOfSandbox: the embedded server's catalogue is good enough.
func TestCustomTableOfSandbox(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, "")
	pipeline := w.custom("patient,appoint*", "appointments")
	sandboxed := []string{"run", pipeline, "--sandbox", "--sandbox-scale", "0.01", "--progress", "none", "-f", "csv"}
	read := func(parameters ...string) [][]string {
		t.Helper()
		args := slices.Clone(sandboxed)
		for _, p := range parameters {
			args = append(args, "-p", p)
		}
		records, err := csv.NewReader(strings.NewReader(string(w.must(args...)))).ReadAll()
		if err != nil || len(records) < 2 {
			t.Fatalf("%v: %d records, %v", parameters, len(records), err)
		}
		return records
	}
	all := read("table_name=appointment", "columns=appointment_id,appointment_date,ts_4_insert")
	if strings.Join(all[0], " ") != "appointment_id appointment_date ts_4_insert" || len(all) < 110 {
		t.Fatalf("%v, %d records", all[0], len(all))
	}
	// A day of some row, and what is expected of it, come from the whole table.
	day, created := all[100][1], all[100][2][:len("2006-01-02")]
	for i, parameters := range [][]string{{"date_column=appointment_date", "from_date=" + day, "to_date=" + day}, {"date_modifier=Created", "from_date=" + created, "to_date=" + created}} {
		var want []string
		for _, row := range all[1:] {
			if strings.HasPrefix(row[1+i], []string{day, created}[i]) {
				want = append(want, row[0])
			}
		}
		got := ids(read(append([]string{"table_name=appointment"}, parameters...)...)[1:])
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", parameters, got, want)
		}
	}
	called := read("procedure_name=appointments", fmt.Sprintf(`arguments=[%q, %q, "All"]`, day, day))
	if header := called[0]; len(header) < 20 || header[0] != "appointment_id" {
		t.Errorf("%v", header)
	}
	for _, c := range []struct {
		parameters []string
		code       string
		parameter  string
	}{
		{[]string{"table_name=invoice"}, "mysql.table_not_available", "table_name"},
		{[]string{"table_name=patients"}, "mysql.table_not_available", "table_name"},
		{[]string{"table_name=patient", "columns=nothing"}, "mysql.unknown_column", "columns"},
		{[]string{"table_name=patient", "date_column=surname", "from_date=2024-01-01"}, "mysql.date_column", "date_column"},
		{[]string{"procedure_name=patients"}, "mysql.procedure_not_available", "procedure_name"},
		{[]string{"procedure_name=appointments"}, "mysql.argument_count", "arguments"},
		{[]string{"procedure_name=appointments", `arguments=["2024-02-30", null, "All"]`}, "mysql.argument", "arguments"},
		{[]string{"procedure_name=appointments", `arguments=[null, null, "Everything at all"]`}, "mysql.argument", "arguments"},
	} {
		args := slices.Clone(sandboxed)
		for _, p := range c.parameters {
			args = append(args, "-p", p)
		}
		w.refused(args, c.code, c.parameter, "")
	}
}
