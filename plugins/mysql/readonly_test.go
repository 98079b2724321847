package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

func TestWritingGrants(t *testing.T) {
	for _, c := range []struct {
		grants []string
		want   []string
	}{
		{nil, nil},
		{[]string{"GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*ABC'", "GRANT SELECT, EXECUTE, SHOW VIEW ON `db`.* TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT (`a`, `insert, b`), EXECUTE ON `db`.`t` TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT, INSERT (`a`), UPDATE (`a`, `b`) ON `db`.`t` TO `u`@`%`", "GRANT DELETE ON `x`.* TO `u`@`%`", "GRANT DELETE ON `y`.* TO `u`@`%`"}, []string{"INSERT, UPDATE on db.t", "DELETE on x.*", "DELETE on y.*"}},
		{[]string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "GRANT PROXY ON ''@'%' TO 'root'@'%'"}, []string{"ALL PRIVILEGES on *.*"}},
		{[]string{"GRANT `writer`@`%` TO `u`@`%`"}, nil},
		{[]string{"GRANT SELECT, FILE ON *.* TO `u`@`%`", "GRANT APPLICATION_PASSWORD_ADMIN,AUDIT_ADMIN ON *.* TO `u`@`%`"}, []string{"FILE on *.*"}},
	} {
		var got []string
		for _, g := range writingGrants(c.grants) {
			got = append(got, g.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.grants, got, c.want)
		}
	}
}

// TestMayWriteSaysOnWhat: what may be written to, and not only by which privileges.
func TestMayWriteSaysOnWhat(t *testing.T) {
	f := mayWrite(writingGrants([]string{"GRANT SELECT, FILE ON *.* TO `u`@`%`", "GRANT INSERT ON `db`.* TO `u`@`%`"}))
	if want := "the account may write: FILE on *.*; INSERT on db.*; by FILE, INTO OUTFILE"; !strings.HasPrefix(f.Message, want) {
		t.Error(f.Message)
	}
	var many []string
	for i := range 9 {
		many = append(many, fmt.Sprintf("GRANT INSERT ON `db%d`.* TO `u`@`%%`", i))
	}
	if f := mayWrite(writingGrants(many)); !strings.HasSuffix(f.Message, "INSERT on db2.*; and 6 more grants") {
		t.Error(f.Message)
	}
}

// TestClockOfServer: a server whose clock is another is told of, by how much, whatever the answer took.
func TestClockOfServer(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ended := began.Add(5 * time.Minute)
	for _, c := range []struct {
		server time.Time
		want   string
	}{
		{began.Add(-50 * time.Second), ""}, {ended.Add(50 * time.Second), ""}, {began.Add(time.Minute), ""},
		{began.AddDate(0, 0, -1), "differ by -24h0m0s"}, {ended.AddDate(0, 0, 1), "differ by 24h0m0s"},
	} {
		f := clockFault(strconv.FormatInt(c.server.UnixMicro(), 10), began, ended)
		if (f == nil) != (c.want == "") || f != nil && (!strings.HasSuffix(f.Message, c.want) || f.Code != codeClock) {
			t.Errorf("%s: %v", c.server, f)
		}
	}
}
