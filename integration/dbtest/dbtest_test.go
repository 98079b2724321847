package dbtest

import (
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedServerFreshDatabases(t *testing.T) {
	a, b := MariaDB(t), MariaDB(t)
	if a.Port() != b.Port() || a.Socket() != b.Socket() {
		t.Fatalf("two servers were started: ports %d and %d", a.Port(), b.Port())
	}
	if a.Database() == b.Database() {
		t.Fatalf("both handles got database %s", a.Database())
	}
	a.Exec("CREATE TABLE x (i INT, s VARCHAR(20)); INSERT INTO x VALUES (1,'é 漢 😀'), (2,NULL)")
	if got, want := a.Query("SELECT * FROM x ORDER BY i"), "1\té 漢 😀\n2\tNULL\n"; got != want {
		t.Errorf("rows are %q, want %q", got, want)
	}
	if got := b.Query("SHOW TABLES"); got != "" {
		t.Errorf("the second database holds %q", got)
	}
}

func TestDSNNamesServerUserAndDatabase(t *testing.T) {
	s := MariaDB(t)
	for _, dsn := range []string{s.DSN("clinic"), s.SocketDSN("clinic")} {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if password, _ := u.User.Password(); u.Scheme != "mysql" || u.User.Username() != "root" || password != s.Password() ||
			u.Port() != strconv.Itoa(s.Port()) || u.Path != "/clinic" {
			t.Errorf("DSN does not name the server: %s", u.Redacted())
		}
	}
	u, _ := url.Parse(s.SocketDSN(""))
	if got := u.Query().Get("socket"); got != s.Socket() {
		t.Errorf("socket is %q, want %q", got, s.Socket())
	}
}

func TestPasswordIsNeededOnTCPAndSocket(t *testing.T) {
	s := MariaDB(t)
	for _, how := range [][]string{
		{"--socket=" + s.Socket()},
		{"--protocol=tcp", "--host=127.0.0.1", "--port=" + strconv.Itoa(s.Port())},
	} {
		args := append([]string{"--no-defaults", "--user=root", "-e", "SELECT 1"}, how...)
		wrong := exec.Command(s.proc.progs.client, args...)
		wrong.Env = append(os.Environ(), "MYSQL_PWD=no")
		if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "Access denied") {
			t.Errorf("%v with a wrong password: %v, %s", how, err, out)
		}
		right := exec.Command(s.proc.progs.client, args...)
		right.Env = append(os.Environ(), "MYSQL_PWD="+s.Password())
		if out, err := right.CombinedOutput(); err != nil {
			t.Errorf("%v with the right password: %v, %s", how, err, out)
		}
	}
}

func TestPrivateServerTakesOptionsAndStops(t *testing.T) {
	var socket, dir string
	t.Run("running", func(t *testing.T) {
		s := Private(t, "--local-infile=0")
		if got := s.Query("SELECT @@local_infile"); got != "0\n" {
			t.Errorf("local_infile is %q", got)
		}
		socket, dir = s.Socket(), s.proc.dir
	})
	for _, path := range []string{socket, dir} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there after the test: %v", path, err)
		}
	}
}

func TestFailedStartTellsTheServersReason(t *testing.T) {
	_, err := start(requirePrograms(t), []string{"--no-such-option"})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error is %v, want the server's complaint", err)
	}
}
