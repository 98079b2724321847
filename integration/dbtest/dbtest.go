// Package dbtest gives tests a real MariaDB server: a plain process on a
// temporary data directory, reachable on a loopback TCP port and a unix socket,
// with a random password that needs escaping in a URL.
//
// It owns the life of that process: it is started on first use, shared by all
// tests of a binary whose TestMain calls Main, and gone when the binary ends,
// even by a panic or a kill (on Linux). It never talks to a server that it did
// not start, and never reads the machine's MariaDB option files.
//
// A machine without MariaDB skips such tests with a message, unless CI or
// CIPHERSTREAM_REQUIRE_SERVERS is set: then they fail.
package dbtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/integration/required"
)

// Server is one test's handle on a running MariaDB server. Its methods fail the
// test they belong to.
type Server struct {
	tb       testing.TB
	proc     *process
	database string
}

var shared struct {
	sync.Mutex
	enabled bool
	proc    *process
	err     error
}

// Main is a TestMain: it runs the tests, stops the server they shared, calls the
// functions in cleanup, and exits the process. Without it every call of MariaDB
// starts a server of its own.
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
func Main(m *testing.M, cleanup ...func()) {
	shared.enabled = true
	code := m.Run()
	shared.Lock()
	if shared.proc != nil {
		shared.proc.stop()
	}
	shared.Unlock()
	for _, f := range cleanup {
		f()
	}
	os.Exit(code)
}

// MariaDB gives the test a fresh, empty database on the server shared by the
// test binary (see Main), starting it if need be. The database is dropped when
// the test ends.
func MariaDB(tb testing.TB) *Server {
	tb.Helper()
	if !shared.enabled {
		return Private(tb)
	}
	progs := requirePrograms(tb)
	shared.Lock()
	if shared.proc == nil && shared.err == nil {
		shared.proc, shared.err = start(progs, nil)
	}
	proc, err := shared.proc, shared.err
	shared.Unlock()
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	return newServer(tb, proc)
}

// Private gives the test a server of its own, stopped when the test ends, with
// a fresh database on it. args are appended to mariadbd's command line, so they
// override this package's settings, e.g. "--local-infile=0".
func Private(tb testing.TB, args ...string) *Server {
	tb.Helper()
	proc, err := start(requirePrograms(tb), args)
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	tb.Cleanup(proc.stop)
	return newServer(tb, proc)
}

func newServer(tb testing.TB, proc *process) *Server {
	tb.Helper()
	s := &Server{tb: tb, proc: proc}
	s.database = s.NewDatabase()
	return s
}

// Database is the name of the database made for this test.
func (s *Server) Database() string { return s.database }

// NewDatabase makes one more empty utf8mb4 database, dropped when the test ends.
func (s *Server) NewDatabase() string {
	s.tb.Helper()
	name := "t_" + randomHex(6)
	s.run("", "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	s.tb.Cleanup(func() { s.run("", "DROP DATABASE IF EXISTS "+name) })
	return name
}

// DSN is the URL of a database over loopback TCP, as root:
// mysql://root:password@127.0.0.1:port/database. An empty name gives the
// server without a database.
func (s *Server) DSN(database string) string {
	return s.dsn(database, nil)
}

// SocketDSN is DSN with ?socket=/path, which makes the connection go over the
// server's unix socket.
func (s *Server) SocketDSN(database string) string {
	return s.dsn(database, url.Values{"socket": {s.proc.socket}})
}

func (s *Server) dsn(database string, query url.Values) string {
	u := url.URL{
		Scheme:   "mysql",
		User:     url.UserPassword("root", s.proc.password),
		Host:     "127.0.0.1:" + strconv.Itoa(s.proc.port),
		Path:     "/" + database,
		RawQuery: query.Encode(),
	}
	return u.String()
}

// Socket is the path of the server's unix socket.
func (s *Server) Socket() string { return s.proc.socket }

// Port is the server's TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.proc.port }

// Password is root's password.
func (s *Server) Password() string { return s.proc.password }

// Client is a command of the official mariadb client, connected as root over
// the unix socket with utf8mb4, with args appended: options and, last, the name
// of a database. The password travels in the environment.
func (s *Server) Client(args ...string) *exec.Cmd {
	cmd := exec.Command(s.proc.progs.client, append([]string{
		"--no-defaults", "--user=root", "--socket=" + s.proc.socket,
		"--default-character-set=utf8mb4",
	}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+s.proc.password)
	return cmd
}

// Exec runs a script of statements in the test's database with the official
// client; its DELIMITER command works.
func (s *Server) Exec(sql string) {
	s.tb.Helper()
	s.run(s.database, sql)
}

// Query runs statements in the test's database and returns the rows as the
// official client prints them with --batch -N: columns separated by tabs, one
// row a line, NULL as the word, with tab, newline, NUL and backslash escaped.
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
		s.tb.Fatalf("dbtest: mariadb client: %v: %s\nstatements: %.500s", err, strings.TrimSpace(stderr.String()), sql)
	}
	return stdout.String()
}

// programs are the three executables of a MariaDB installation that are used.
type programs struct{ server, install, client string }

// requirePrograms finds MariaDB, or skips the test, or fails it where servers
// are required.
func requirePrograms(tb testing.TB) programs {
	tb.Helper()
	var p programs
	for _, want := range []struct {
		name string
		path *string
	}{{"mariadbd", &p.server}, {"mariadb-install-db", &p.install}, {"mariadb", &p.client}} {
		path, err := findProgram(want.name)
		if err != nil {
			required.Missing(tb, fmt.Sprintf("dbtest: this test needs a MariaDB server, and %v. Install it with `make deps` (Debian: apt-get install mariadb-server mariadb-client)", err))
		}
		*want.path = path
	}
	return p
}

// findProgram looks in PATH, then where Debian and Homebrew put server programs
// that an ordinary user's PATH lacks.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/opt/mariadb/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s was not found in PATH", name)
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
