package servers

import (
	"database/sql"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Server is one test's handle on a database server. Its methods fail the test they
// belong to.
type Server struct {
	tb       testing.TB
	on       *running
	database string
}

// MySQL gives the test an empty database on the MySQL server that the test binary
// shares (see Main), starting it if need be. The database is dropped when the test ends.
func MySQL(tb testing.TB) *Server {
	tb.Helper()
	return newServer(tb, shared(tb, mysqlRecipe))
}

// MariaDB is MySQL with a MariaDB server.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	return newServer(tb, shared(tb, mariadbRecipe))
}

// PrivateMySQL gives the test a MySQL server of its own. args are appended to its
// command line, and so override the package's settings.
func PrivateMySQL(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return newServer(tb, private(tb, mysqlRecipe, args))
}

// PrivateMariaDB is PrivateMySQL with a MariaDB server.
func PrivateMariaDB(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return newServer(tb, private(tb, mariadbRecipe, args))
}

// PrivateIn gives the test a server of each sort, whose system has that time zone (the variable TZ, see tzset(3)), and
// whose sessions have the system's.
func PrivateIn(tb testing.TB, zone string) map[string]*Server {
	tb.Helper()
	list := map[string]*Server{}
	for _, of := range []recipe{mysqlRecipe, mariadbRecipe} {
		of.env = func(at place, password string) map[string]string {
			env := databaseEnv(at, password)
			env["TZ"] = zone
			return env
		}
		list[of.name] = newServer(tb, private(tb, of, []string{"--default-time-zone=SYSTEM"}))
	}
	return list
}

func newServer(tb testing.TB, on *running) *Server {
	tb.Helper()
	if _, err := exec.LookPath("mariadb"); err != nil {
		refuse(tb, missing{"there is no program mariadb, the client that the tests use; `make deps` installs it"})
	}
	s := &Server{tb: tb, on: on}
	s.database = s.NewDatabase()
	return s
}

// For is the same server and database for a subtest.
func (s *Server) For(tb testing.TB) *Server { return &Server{tb: tb, on: s.on, database: s.database} }

// Database is the name of the database made for this test.
func (s *Server) Database() string { return s.database }

// NewDatabase makes one more empty utf8mb4 database, dropped when the test ends.
func (s *Server) NewDatabase() string {
	s.tb.Helper()
	name := "t_" + randomHex(6)
	s.run("", "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	s.tb.Cleanup(func() {
		if !s.on.ended() { // it may have been killed by the test
			s.run("", "DROP DATABASE IF EXISTS "+name)
		}
	})
	return name
}

// DSN is the URL of a database over loopback TCP, as root:
// mysql://root:password@127.0.0.1:port/database.
func (s *Server) DSN(database string) string { return s.UserDSN("root", s.on.password, database) }

// UserDSN is DSN for another user.
func (s *Server) UserDSN(user, password, database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: s.on.address(), Path: "/" + database}
	return u.String()
}

// Port is the server's TCP port on 127.0.0.1. It stays the same when the server is killed and started.
func (s *Server) Port() int { return s.on.port }

// Password is root's password.
func (s *Server) Password() string { return s.on.password }

// Version is the server's version and vendor, as VERSION() says it.
func (s *Server) Version() string {
	s.tb.Helper()
	return strings.TrimSpace(s.run("", "SELECT VERSION()"))
}

// IsMariaDB says which sort it is.
func (s *Server) IsMariaDB() bool { return strings.Contains(s.Version(), "MariaDB") }

// Open connects to a database as root with go-sql-driver, a reader that is not ours.
// It is closed when the test ends.
func (s *Server) Open(database string) *sql.DB {
	s.tb.Helper()
	db, err := connect(s.on, database, "")
	if err != nil {
		s.tb.Fatalf("servers: %v", err)
	}
	s.tb.Cleanup(func() { db.Close() })
	return db
}

// Client is a command of MariaDB's client, connected as root over TCP with utf8mb4,
// with args appended: options and, last, the name of a database. It speaks to MySQL as
// well. The password travels in the environment.
func (s *Server) Client(args ...string) *exec.Cmd {
	cmd := exec.Command("mariadb", append([]string{
		"--no-defaults", "--user=root", "--protocol=tcp", "--host=127.0.0.1", "--port=" + strconv.Itoa(s.on.port),
		"--default-character-set=utf8mb4", "--ssl", "--skip-ssl-verify-server-cert",
	}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+s.on.password)
	return cmd
}

// Exec runs a script of statements in the test's database with the client; its
// DELIMITER command works.
func (s *Server) Exec(sql string) {
	s.tb.Helper()
	s.run(s.database, sql)
}

// Query runs statements in the test's database and returns the rows as the client
// prints them with --batch -N: columns separated by tabs, one row a line, NULL as the
// word, with tab, newline, NUL and backslash escaped.
func (s *Server) Query(sql string) string {
	s.tb.Helper()
	return s.run(s.database, sql)
}

func (s *Server) run(database, sql string) string {
	s.tb.Helper()
	args := []string{"--batch", "-N"}
	if database != "" {
		args = append(args, database)
	}
	cmd := s.Client(args...)
	cmd.Stdin = strings.NewReader(sql)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.tb.Fatalf("servers: mariadb client: %v: %s\nstatements: %.500s", err, strings.TrimSpace(stderr.String()), sql)
	}
	return stdout.String()
}

// CA is the certificate of the authority that MySQL made for itself, as PEM.
func (s *Server) CA() []byte {
	s.tb.Helper()
	var pem []byte
	if err := s.Open("").QueryRow("SELECT LOAD_FILE(CONCAT(@@datadir, 'ca.pem'))").Scan(&pem); err != nil || len(pem) == 0 {
		s.tb.Fatalf("servers: the server has no ca.pem: %v", err)
	}
	return pem
}

// Kill ends the server at once, as a failure of its machine would. What was committed
// is there when Start has started it again. A test that does so to the shared server must not run beside others.
func (s *Server) Kill() {
	s.tb.Helper()
	s.on.end(s.tb)
}

// Start starts the server after Kill, on the same port, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	s.on.again(s.tb)
}

// String says what server it is, and how it runs.
func (s *Server) String() string { return s.on.String() }
