package mysqlsource

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestRole: what an account may do by a role alone it may ask for. MySQL hides a procedure that the role was granted by name,
// and its parameters: it is called where it needs none, and otherwise the account's owner is told what to grant.
func TestRole(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		mySQL := strings.Contains(t.Name(), "mysql")
		name := db.Database()
		user, role := name+"_u", name+"_r"
		db.Exec("DELIMITER //\nCREATE TABLE seen (a INT)//\nINSERT INTO seen VALUES (7)//\nCREATE PROCEDURE Bills(a INT) SELECT a//\n" +
			"CREATE PROCEDURE plain() SELECT 5 AS five//\nCREATE PROCEDURE closed() SELECT 6 AS six//\n" +
			"CREATE ROLE " + role + "//\nCREATE USER " + user + " IDENTIFIED BY 'pw'//\nGRANT SELECT ON " + name + ".seen TO " + role + "//\n" +
			"GRANT EXECUTE ON PROCEDURE " + name + ".Bills TO " + role + "//\nGRANT EXECUTE ON PROCEDURE " + name + ".plain TO " + role + "//\n" +
			"GRANT " + role + " TO " + user + "//\nSET DEFAULT ROLE " + role + map[bool]string{true: " TO ", false: " FOR "}[mySQL] + user + "//\n")
		t.Cleanup(func() { db.Exec("DROP USER " + user + "; DROP ROLE " + role) })
		ask := func(request settings) settings {
			request["allowed_tables"], request["allowed_procedures"] = "*", "*"
			return settings{"url": db.UserDSN(user, "pw", name), "request": request}
		}
		wantRows(t, mustRead(t, ask(settings{"table_name": "seen"})), []string{"7"})
		wantRows(t, mustRead(t, ask(settings{"procedure_name": "PLAIN"})), []string{"5"})
		_, err := read(t, ask(settings{"procedure_name": "closed"}))
		wantFault(t, err, "mysql.procedure_not_available")
		bills := settings{"procedure_name": "bills", "arguments": "[3]"}
		if !mySQL {
			wantRows(t, mustRead(t, ask(bills)), []string{"3"})
			return
		}
		_, err = read(t, ask(bills))
		if f := wantFault(t, err, "mysql.argument"); f.Details["parameter"] != "arguments" || !strings.Contains(f.Hint, "EXECUTE") {
			t.Errorf("%+v", f)
		}
		db.Exec("GRANT EXECUTE ON " + name + ".* TO " + role)
		wantRows(t, mustRead(t, ask(bills)), []string{"3"})
		db.Exec("REVOKE EXECUTE ON " + name + ".* FROM " + role + "; GRANT EXECUTE ON PROCEDURE " + name + ".Bills TO " + user)
		wantRows(t, mustRead(t, ask(bills)), []string{"3"})
	})
}
