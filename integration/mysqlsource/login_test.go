package mysqlsource

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestMySQLLogin: the ways in which MySQL of today lets an account in, by the whole
// password the first time and by its cache afterwards.
func TestMySQLLogin(t *testing.T) {
	db := servers.MySQL(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, db.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := read(t, settings{"url": db.DSN("") + "?tls=verify-identity", "query": "SELECT 1"})
	f := fault.From(err)
	if f == nil || f.Code != "mysql.tls" || f.Details["tls_pin"] == "" {
		t.Fatalf("a certificate that nobody vouches for: %+v", f)
	}
	name := db.Database()
	for i, c := range []struct{ query, protection string }{
		{"tls=disabled", "plain text over loopback"},
		{"", "certificate not checked"},
		{"tls=skip-verify", "certificate not checked"},
		{"tls=verify-ca&tls_ca=" + url.QueryEscape(ca), "certificate of a trusted authority"},
		{"tls_pin=" + f.Details["tls_pin"], "certificate pinned"},
	} {
		user := name + "_" + string(rune('a'+i))
		for _, plugin := range []string{"caching_sha2_password", "sha256_password"} {
			db.Exec("CREATE USER " + user + " IDENTIFIED WITH " + plugin + " BY 'pw-é-secret'")
			for range 2 {
				got := mustRead(t, settings{"url": db.UserDSN(user, "pw-é-secret", "") + "?" + c.query, "query": "SELECT 1 AS one"})
				if wantRows(t, got, []string{"1"}); !strings.Contains(got.facts["connection"], c.protection) {
					t.Errorf("%s: %q", c.query, got.facts["connection"])
				}
			}
			_, err := read(t, settings{"url": db.UserDSN(user, "another", "") + "?" + c.query, "query": "SELECT 1"})
			wantFault(t, err, "mysql.auth")
			db.Exec("DROP USER " + user)
		}
	}
}
