package mysql

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
)

func TestMayExecute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		grant string
		want  bool
	}{
		{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", true},
		{"GRANT SELECT, EXECUTE ON `clinic_1`.* TO `u`@`%`", true},
		{"GRANT SELECT, EXECUTE ON `clinic\\_1`.* TO `u`@`%`", true},
		{"GRANT SELECT, EXECUTE ON `clinic\\_2`.* TO `u`@`%`", false},
		{"GRANT EXECUTE ON `clinic%`.* TO `u`@`%`", true},
		{"GRANT EXECUTE ON PROCEDURE `clinic_1`.`Bills` TO `u`@`%`", true},
		{"GRANT EXECUTE ON PROCEDURE \"clinic_1\".\"bills\" TO \"u\"@\"%\"", true},
		{"GRANT EXECUTE ON PROCEDURE `clinic_1`.`other` TO `u`@`%`", false},
		{"GRANT EXECUTE ON FUNCTION `clinic_1`.`bills` TO `u`@`%`", false},
		{"GRANT ALTER ROUTINE ON PROCEDURE `clinic_1`.`bills` TO `u`@`%`", false},
		{"GRANT SELECT ON *.* TO `u`@`%`", false},
		{"GRANT `reader`@`%` TO `u`@`%`", false},
	} {
		if got := mayExecute([]string{c.grant}, "clinic_1", "bills"); got != c.want {
			t.Errorf("%s: %v", c.grant, got)
		}
	}
}

// A check says what a run would fail with, and executes nothing.
func TestCheckOnServer(t *testing.T) {
	db := dbtest.MariaDB(t)
	name := db.Database()
	account := strings.ReplaceAll(name, "t_", "u_")
	db.Exec("DELIMITER //\n" + strings.Join([]string{
		"CREATE TABLE called (n INT)", "CREATE TABLE visits (id INT PRIMARY KEY, fee DECIMAL(10,2), note TEXT)", "CREATE TABLE closed (id INT)",
		"CREATE PROCEDURE bills(a INT, b DATE) BEGIN INSERT INTO called VALUES (1); SELECT 1 AS a; END",
		"CREATE FUNCTION counts() RETURNS INT BEGIN INSERT INTO called VALUES (1); RETURN 1; END",
		"CREATE USER " + account + "@'%' IDENTIFIED BY 'x'",
		"GRANT SELECT ON " + name + ".visits TO " + account + "@'%'",
		"GRANT EXECUTE ON PROCEDURE " + name + ".bills TO " + account + "@'%'",
		"GRANT EXECUTE ON FUNCTION " + name + ".counts TO " + account + "@'%'",
	}, "//\n") + "//\n")
	t.Cleanup(func() { db.Exec("DROP USER " + account + "@'%'") })
	root := db.DSN(name)
	reader := strings.Replace(root, root[len("mysql://"):strings.Index(root, "@")], account+":x", 1)
	const procedure = "unchecked check.unchecked"
	for _, c := range []struct {
		with    settings
		want    []string // level and code
		columns string   // name and type; empty when they are not known
	}{
		{settings{"url": reader, "query": "SELECT id, fee, note FROM visits WHERE id > ?", "args": []any{1}}, nil, "id int32, fee decimal(10, 2), note utf8"},
		{settings{"url": reader, "query": "SELECT counts() AS n"}, []string{"wrong mysql.read_only"}, ""},
		{settings{"url": reader, "query": "SELECT id FROM visits WHERE id > ?"}, []string{"wrong mysql.argument_count"}, ""},
		{settings{"url": reader, "query": "SELECT FROM visits"}, []string{"wrong mysql.syntax"}, ""},
		{settings{"url": reader, "query": "SELECT id FROM closed"}, []string{"wrong mysql.access_denied"}, ""},
		{settings{"url": root, "query": "SELECT id FROM missing"}, []string{"warning mysql.may_write", "wrong mysql.unknown_table"}, ""},
		{settings{"url": reader, "query": "SELECT CAST(1 AS FLOAT) AS f", "protocol": "text"}, []string{"wrong mysql.float"}, ""},
		{settings{"url": reader, "call": "bills", "args": []any{1, "2024-01-01"}}, []string{procedure}, ""},
		{settings{"url": reader, "call": name + ".BILLS", "args": []any{1, nil}}, []string{procedure}, ""},
		{settings{"url": reader, "call": "bills", "args": []any{1}}, []string{"wrong mysql.argument_count"}, ""},
		{settings{"url": reader, "call": "counts"}, []string{"wrong mysql.unknown_procedure"}, ""},
		{asked(reader, settings{"table_name": "visits", "columns": "fee,id"}), nil, "fee decimal(10, 2), id int32"},
		{asked(reader, settings{"table_name": "visit"}), []string{"wrong mysql.table_not_available"}, ""},
		{asked(reader, settings{"procedure_name": "bills", "arguments": `[1, "2024-01-01"]`}), []string{procedure}, ""},
		{asked(reader, settings{"procedure_name": "bills", "arguments": `[1]`}), []string{"wrong mysql.argument_count"}, ""},
		{settings{"url": strings.Replace(reader, ":x@", ":y@", 1), "query": "SELECT 1"}, []string{"wrong mysql.auth"}, ""},
	} {
		p, err := newProbe(t, c.with)
		if err != nil {
			t.Errorf("%v: %v", c.with, err)
			continue
		}
		var report sdk.Report
		schema := p.Source.(sdk.SourceChecker).CheckSource(context.Background(), &report)
		var got, columns []string
		for _, f := range report.Findings {
			if f.Level != "fine" {
				got = append(got, string(f.Level)+" "+f.Fault.Code)
			}
		}
		if schema != nil {
			for _, f := range schema.Fields() {
				columns = append(columns, f.Name+" "+f.Type.String())
			}
		}
		if !slices.Equal(got, c.want) || strings.Join(columns, ", ") != c.columns {
			t.Errorf("%v: found %q, columns %q\n%+v", c.with, got, columns, report.Findings)
		}
	}
	if n := db.Query("SELECT COUNT(*) FROM called"); strings.TrimSpace(n) != "0" {
		t.Errorf("a procedure or a function was called: %s rows", n)
	}
}
