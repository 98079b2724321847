package e2e

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// majorVersion is the first number of the server's version.
func majorVersion(t testing.TB, s *servers.Server) int {
	t.Helper()
	first, _, _ := strings.Cut(s.Version(), ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("the server's version is %q", s.Version())
	}
	return n
}

// nativeJSON are documents whose values have types that only MySQL's own JSON keeps.
var nativeJSON = typed{"c_native_json", "JSON", text, []string{
	`'{"b": 1, "a": {"z": [1, 2.50, "é\\n", true, null]}}'`,
	"CAST(18446744073709551615 AS JSON)", "CAST(-9223372036854775808 AS JSON)",
	"JSON_ARRAY(CAST(1.10 AS DECIMAL(10,2)), 1e300, 0.1, -0e0)",
	"JSON_OBJECT('t', CAST('2024-02-29 12:34:56.789' AS DATETIME(3)), 'd', DATE'2024-02-29', 'y', TIME'-01:02:03')",
	"JSON_ARRAY(x'00ff', b'101')", "JSON_QUOTE(REPEAT('🙂', 20000))", "'null'", "'\"\"'",
}}

// mysqlTypes are the types of MySQL: those that MariaDB has as well, and its own.
func mysqlTypes(t testing.TB, s *servers.Server) (types []typed) {
	t.Helper()
	for _, c := range everyType {
		switch c.name {
		case "c_inet6", "c_uuid": // of MariaDB
			continue
		case "c_decimal_38_38": // MySQL has up to 30 digits behind the point
			c.name, c.ddl = "c_decimal_30_30", "DECIMAL(30,30)"
			c.values = []string{"0." + strings.Repeat("9", 30), "-0." + strings.Repeat("0", 29) + "1"}
		case "c_time_2", "c_time_6": // MySQL's longest time has no fraction
			c.values = []string{"'838:59:59'", "'-838:59:59'", "'-00:00:00.01'", "'838:59:58.99'", "'-100:00:00.50'"}
		}
		if c.kind == geometry {
			// Without this the server swaps the coordinates of places on earth. What it stores and sends has
			// the longitude first.
			c.kind.oracle = "ST_AsWKB(%s, 'axis-order=long-lat')"
		}
		types = append(types, c)
	}
	types = append(types, nativeJSON, typed{"c_geomcollection", "GEOMETRYCOLLECTION", types[len(types)-1].kind,
		[]string{"ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')"}})
	if majorVersion(t, s) >= 9 {
		types = append(types, typed{"c_vector", "VECTOR(4)", binary, []string{
			"STRING_TO_VECTOR('[1,-2.5,3e38,0]')", "STRING_TO_VECTOR('[1e-37]')", "STRING_TO_VECTOR('[0.1,0.2]')"}})
	}
	return types
}

// TestMySQLEveryType is TestEveryType on MySQL.
func TestMySQLEveryType(t *testing.T) {
	s := servers.MySQL(t)
	readEveryType(t, s, mysqlTypes(t, s))
}

// TestMySQLCatalogue is TestCatalogue on MySQL.
func TestMySQLCatalogue(t *testing.T) {
	t.Parallel()
	readCatalogue(t, servers.MySQL(t))
}

// TestMariaDBOfAnotherRelease is TestEveryType on the MariaDB of package servers, which is
// newer than that of many machines.
func TestMariaDBOfAnotherRelease(t *testing.T) { readEveryType(t, servers.MariaDB(t), everyType) }

// TestMySQLAuthentication: caching_sha2_password lets in with TLS and without, when the server
// knows the password's digest already and when it does not, and a wrong password never.
func TestMySQLAuthentication(t *testing.T) {
	t.Parallel()
	s := servers.MySQL(t)
	database := s.Database()
	user := "u_" + database
	for name, password := range map[string]string{
		"usual": "p@ss:w/ö?rd#%41", "long": strings.Repeat("0123456789", 15), "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := s.For(t)
			s.Exec("CREATE USER '" + user + "'@'%' IDENTIFIED WITH caching_sha2_password BY '" + password + "';\n" +
				"GRANT ALL ON " + database + ".* TO '" + user + "'@'%'")
			defer s.Exec("DROP USER '" + user + "'@'%'")
			for _, tls := range []string{"disabled", "auto", "skip-verify"} {
				w := newWorkspace(t, s.UserDSN(user, password, database)+"?tls="+tls)
				pipeline := w.pipeline(settings{"query": "SELECT CURRENT_USER() AS u, (SELECT variable_value FROM performance_schema.session_status WHERE variable_name = 'Ssl_cipher') <> '' AS encrypted"}, "ndjson")
				want := `{"u":"` + user + `@%","encrypted":` + map[string]string{"disabled": "0", "auto": "1", "skip-verify": "1"}[tls] + "}\n"
				s.Exec("FLUSH PRIVILEGES") // forgets the digest, so that the whole password must travel
				for _, how := range []string{"full", "by the digest"} {
					if got := string(w.must("run", pipeline)); got != want {
						t.Errorf("tls=%s, %s: %s, want %s", tls, how, got, want)
					}
				}
				wrong := newWorkspace(t, s.UserDSN(user, password+"x", database)+"?tls="+tls)
				wrong.fails(wrong.run("run", wrong.pipeline(settings{"query": "SELECT 1"}, "ndjson"), "-o", wrong.output("rows")), 3, "mysql.auth")
			}
		})
	}
}

// TestMySQLTLS: a user who must use TLS is refused without it, and the server's certificate is checked
// when that is asked for.
func TestMySQLTLS(t *testing.T) {
	t.Parallel()
	s := servers.MySQL(t)
	user := "u_" + s.Database()
	s.Exec("CREATE USER '" + user + "'@'%' IDENTIFIED BY 'geheim' REQUIRE SSL; GRANT ALL ON " + s.Database() + ".* TO '" + user + "'@'%'")
	defer s.Exec("DROP USER '" + user + "'@'%'")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		parameters string
		fault      string // empty: it works
	}{
		{"tls=skip-verify", ""},
		{"tls=disabled", "mysql.auth"},
		{"tls=verify-ca&tls_ca=" + ca, ""},
		{"tls=verify-ca", "mysql.tls"},                    // the system does not know that authority
		{"tls=verify-identity&tls_ca=" + ca, "mysql.tls"}, // the certificate names no host
	} {
		w := newWorkspace(t, s.UserDSN(user, "geheim", s.Database())+"?"+c.parameters)
		r := w.run("run", w.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson"), "-o", w.output("rows"), "--progress", "none")
		if c.fault != "" {
			w.fails(r, 3, c.fault)
		} else if r.code != 0 {
			t.Errorf("%s: it ended with %d:\n%s", c.parameters, r.code, r.stderr)
		}
		noSecret(t, r, "geheim")
	}
}

// TestMySQLKilledAndStarted kills the server in the middle of a run, and starts it again: the
// first run fails and leaves nothing, and the second one gives what a run before gave.
func TestMySQLKilledAndStarted(t *testing.T) {
	t.Parallel()
	s := servers.PrivateMySQL(t)
	s.Exec(`SET SESSION cte_max_recursion_depth = 1000000;
CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200));
INSERT INTO numbers WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50000) SELECT n, REPEAT(n, 20) FROM s`)
	w := newWorkspace(t, s.DSN(s.Database()))
	pipeline := w.pipeline(settings{"query": "SELECT * FROM numbers ORDER BY n"}, "ndjson")
	want := w.must("run", pipeline)

	endless := w.pipeline(settings{"query": "SELECT a.n, b.n AS m, a.filler FROM numbers a, numbers b"}, "ndjson")
	ended := w.begin(w.command("run", endless, "-o", w.output("rows")))
	w.flowing()
	s.Kill()
	w.fails(<-ended, 1, "mysql.connection_lost")
	w.fails(w.run("run", pipeline, "-o", w.output("rows")), 3, "mysql.connect")
	s.Start()
	if got := w.must("run", pipeline); sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%d other bytes after the start, it was %d", len(got), len(want))
	}
}
