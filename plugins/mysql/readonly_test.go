package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestQueriesThatRead(t *testing.T) {
	for _, query := range []string{
		"SELECT 1", "  (select 1)", "-- DELETE\nSELECT 1", "/* DELETE */ SELECT 1", "# x\nWITH a AS (SELECT 1) SELECT * FROM a", "TABLE t", "VALUES ROW(1)",
		"SHOW TABLES", "describe t", "EXPLAIN SELECT 1", "CALL p(?)", "SELECT 'INTO OUTFILE'", "SELECT a INTO @v FROM t", "SELECT `into`, outfile FROM t",
	} {
		if err := checkReads(query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, query := range []string{
		"DELETE FROM t", "", " ", "/*! DELETE FROM t */", "/*M! DELETE FROM t */ SELECT 1", "(DELETE FROM t)", "-- SELECT\nDELETE FROM t", "SET GLOBAL x = 1", "SHUTDOWN",
		"BEGIN NOT ATOMIC COMMIT; DELETE FROM t; END", "EXECUTE IMMEDIATE 'DELETE FROM t'", "START TRANSACTION READ WRITE", "ANALYZE TABLE t", "SELECTION", "LOAD DATA INFILE 'x' INTO TABLE t",
		"SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 into /* */ DumpFile '/tmp/x'", "LOCK TABLES t WRITE", "HANDLER t OPEN", "FLUSH TABLES", "KILL 1", "DO RELEASE_ALL_LOCKS()",
	} {
		f := fault.From(checkReads(query))
		if f == nil || f.Code != codeReadOnly || f.Class != fault.Usage || !strings.Contains(f.Hint, "read_only: false") {
			t.Errorf("%s: %+v", query, f)
		}
	}
}

func TestWritingPrivileges(t *testing.T) {
	for _, c := range []struct {
		grants []string
		want   []string
	}{
		{nil, nil},
		{[]string{"GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*ABC'", "GRANT SELECT, EXECUTE, SHOW VIEW ON `db`.* TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT (`a`, `insert, b`), EXECUTE ON `db`.`t` TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT, INSERT (`a`), UPDATE (`a`, `b`) ON `db`.`t` TO `u`@`%`", "GRANT DELETE ON `x`.* TO `u`@`%`", "GRANT DELETE ON `y`.* TO `u`@`%`"}, []string{"DELETE", "INSERT", "UPDATE"}},
		{[]string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "GRANT PROXY ON ''@'%' TO 'root'@'%'"}, []string{"ALL PRIVILEGES"}},
		{[]string{"GRANT `writer`@`%` TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT, FILE ON *.* TO `u`@`%`", "GRANT APPLICATION_PASSWORD_ADMIN,AUDIT_ADMIN ON *.* TO `u`@`%`"}, []string{"FILE"}},
	} {
		if got := writingPrivileges(c.grants); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.grants, got, c.want)
		}
	}
}
