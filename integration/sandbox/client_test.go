//go:build gms_pure_go

package sandbox_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
)

func TestOfficialClientReadsTheSandbox(t *testing.T) {
	u, err := url.Parse(startSandbox(t, sandbox.Options{Scale: 0.01}).DSN())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	cmd := dbtest.MariaDB(t).Client("--protocol=tcp", "--host="+u.Hostname(), "--port="+u.Port(), "--user="+u.User.Username(),
		"--batch", "-N", strings.TrimPrefix(u.Path, "/"), "-e", "CALL patients(NULL, NULL, 'All'); SELECT COUNT(*) FROM appointment")
	cmd.Env = append(cmd.Env, "MYSQL_PWD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); len(lines) != 21 || lines[20] != "200" {
		t.Errorf("got %d lines, the last %q; want 20 patients and a count of 200", len(lines), lines[len(lines)-1])
	}
}
