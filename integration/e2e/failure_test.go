package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestExitCodes: what a script meets when the server or the procedure says no.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	db.Exec(`CREATE TABLE one (id INT);
CREATE PROCEDURE two_arguments(IN a INT, IN b INT) SELECT a, b;
CREATE PROCEDURE no_rows() DO 1;
DELIMITER //
CREATE PROCEDURE late(IN n INT) BEGIN SELECT seq, REPEAT('x', 50) FROM seq_1_to_100000 WHERE seq <= n; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too late'; END//
CREATE PROCEDURE later() BEGIN SELECT 1 AS a; SELECT 2 AS b; SIGNAL SQLSTATE '45001' SET MESSAGE_TEXT = 'even later'; END//
DELIMITER ;`)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	good := db.DSN(db.Database())
	dsn := func(change func(*url.URL)) string {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	for _, c := range []struct {
		name   string
		dsn    string
		source settings
		code   int
		fault  string
		says   string
	}{
		{name: "nobody listens", dsn: dsn(func(u *url.URL) { u.Host = closed.Addr().String() }), code: 3, fault: "mysql.connect", says: "connection refused"},
		{name: "no such host", dsn: dsn(func(u *url.URL) { u.Host = "nobody.invalid:3306" }), code: 3, fault: "mysql.connect"},
		{name: "no such socket", dsn: dsn(func(u *url.URL) { u.RawQuery = "socket=/does/not/exist" }), code: 3, fault: "mysql.connect"},
		{name: "wrong password", dsn: dsn(func(u *url.URL) { u.User = url.UserPassword("root", "hunter2:@/?#%&") }), code: 3, fault: "mysql.auth"},
		{name: "wrong user", dsn: dsn(func(u *url.URL) { u.User = url.UserPassword("nobody", db.Password()) }), code: 3, fault: "mysql.auth"},
		{name: "not a URL", dsn: "root:" + db.Password() + "@tcp(127.0.0.1)/x", code: 2},
		{name: "unknown database", dsn: dsn(func(u *url.URL) { u.Path = "/nothing_here" }), code: 3, fault: "mysql.unknown_database"},
		{name: "unknown procedure", source: settings{"call": "nothing_here"}, code: 1, fault: "mysql.unknown_procedure"},
		{name: "too few arguments", source: settings{"call": "two_arguments", "args": []any{1}}, code: 1, fault: "mysql.argument_count"},
		{name: "too many arguments", source: settings{"call": "two_arguments", "args": []any{1, 2, 3}}, code: 1, fault: "mysql.argument_count"},
		{name: "too few values", source: settings{"query": "SELECT ?, ?", "args": []any{1}}, code: 1, fault: "mysql.argument_count"},
		{name: "no rows at all", source: settings{"call": "no_rows"}, code: 1, fault: "mysql.no_result_set"},
		{name: "syntax", source: settings{"query": "SELECT FROM WHERE"}, code: 1, fault: "mysql.syntax"},
		{name: "two statements", source: settings{"query": "SELECT 1; DROP TABLE one"}, code: 1, fault: "mysql.syntax"},
		{name: "unknown table", source: settings{"query": "SELECT * FROM nothing_here"}, code: 1, fault: "mysql.unknown_table"},
		{name: "signal after no row", source: settings{"call": "late", "args": []any{0}}, code: 1, fault: "mysql.signal", says: "too late"},
		{name: "signal after a row", source: settings{"call": "late", "args": []any{1}}, code: 1, fault: "mysql.signal", says: "too late"},
		{name: "signal after many rows", source: settings{"call": "late", "args": []any{100000}}, code: 1, fault: "mysql.signal", says: "too late"},
		{name: "signal after another result", source: settings{"call": "later"}, code: 1, fault: "mysql.signal", says: "even later"},
		{name: "error in the middle", source: settings{"query": "SELECT seq, IF(seq = 60000, (SELECT 1 UNION SELECT 2), 0) FROM seq_1_to_100000"}, code: 1, fault: "mysql.query", says: "more than 1 row"},
		{name: "server's time limit", source: settings{"query": "SELECT SLEEP(100)", "timeout": "200ms"}, code: 1, fault: "mysql.timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.dsn == "" {
				c.dsn = good
			}
			if c.source == nil {
				c.source = settings{"query": "SELECT 1"}
			}
			w := newWorkspace(t, c.dsn)
			for _, isolation := range []string{"group", "stage"} {
				r := w.run("run", w.pipeline(c.source, "ndjson"), "-o", w.output("rows"), "--isolation", isolation)
				if c.fault != "" {
					w.fails(r, c.code, c.fault)
				} else if r.code != c.code {
					t.Errorf("it ended with %d, want %d:\n%s", r.code, c.code, r.stderr)
				}
				if !strings.Contains(r.stderr, c.says) {
					t.Errorf("it does not say %q:\n%s", c.says, r.stderr)
				}
				noSecret(t, r, db.Password(), "hunter2")
			}
			// The same for machines, and to standard output.
			r := w.run("run", w.pipeline(c.source, "ndjson"), "--json", "--progress", "none")
			if f := r.failure(t); r.code != c.code || f.ExitCode != c.code || c.fault != "" && f.Code != c.fault || !strings.Contains(f.Message, c.says) {
				t.Errorf("it ended with %d: %s", r.code, r.stderr)
			}
			noSecret(t, r, db.Password(), "hunter2")
		})
	}
}

// noSecret holds that no password is in any output, however it is spelled.
func noSecret(t testing.TB, r result, passwords ...string) {
	t.Helper()
	for _, password := range passwords {
		for _, spelled := range spellings(password) {
			if strings.Contains(r.stderr, spelled) || bytes.Contains(r.stdout, []byte(spelled)) {
				t.Errorf("the password is in the output:\n%s", r.stderr)
			}
		}
	}
}

// spellings are the forms that a password takes in a URL and in JSON.
func spellings(password string) []string {
	quoted, _ := json.Marshal(password)
	_, inURL, _ := strings.Cut(url.UserPassword("", password).String(), ":")
	return []string{password, inURL, url.QueryEscape(password), url.PathEscape(password), strings.Trim(string(quoted), `"`)}
}

// TestUsage: what can be known beforehand is, and nothing is started for it.
func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, "")
	for name, args := range map[string][]string{
		"no connection URL": {"run", "appointments"},
		"unknown pipeline":  {"run", "apointments"},
		"a bad date":        {"run", "appointments", "-p", "from_date=2024-02-30"},
		"from after to":     {"run", "appointments", "-p", "from_date=2024-02-02", "-p", "to_date=2024-02-01"},
		"unknown parameter": {"run", "appointments", "-p", "form_date=2024-02-01"},
		"no such folder":    {"run", "/does/not/exist.yaml"},
	} {
		if r := w.run(append(args, "-o", w.output("rows"))...); r.code != 2 || !strings.Contains(r.stderr, "error: ") || len(names(t, w.out)) > 0 {
			t.Errorf("%s: it ended with %d, and left %v:\n%s", name, r.code, names(t, w.out), r.stderr)
		}
	}
}

// TestClosedPipe: "… | head -1" ends the run at once, as SIGPIPE would, and leaves no query on the server.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	pipeline := w.endless()
	for _, isolation := range isolations {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := w.command("run", pipeline, "--isolation", isolation)
		cmd.Stdout = write
		line := make(chan string, 1)
		go func() {
			text, _ := bufio.NewReaderSize(read, 256).ReadString('\n')
			read.Close()
			line <- text
		}()
		r := w.finish(cmd)
		write.Close()
		if got, want := <-line, `{"seq":1,"filler":"`+strings.Repeat("x", 100)+`","more":7}`+"\n"; got != want {
			t.Errorf("%s: the first line is %q", isolation, got)
		}
		if r.code != 128+int(syscall.SIGPIPE) || r.stderr != "" {
			t.Errorf("%s: it ended with %d:\n%s", isolation, r.code, r.stderr)
		}
		w.idle(db)
	}
	shell := exec.Command("bash", "-c", `"$0" run "$1" | head -n 1 | wc -l; exit "${PIPESTATUS[0]}"`, program(t), pipeline)
	w.surround(shell)
	if r := w.finish(shell); r.code != 141 || strings.TrimSpace(string(r.stdout)) != "1" || r.stderr != "" {
		t.Errorf("in a shell: it ended with %d, %q:\n%s", r.code, r.stdout, r.stderr)
	}
}

// TestSizeLimit: a file that may not grow is a fault of the sink, not a crash.
func TestSizeLimit(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, isolation := range isolations {
		shell := exec.Command("bash", "-c", `ulimit -f 64; exec "$0" "$@"`, program(t), "run", w.endless(), "-o", w.output("rows"), "--isolation", isolation)
		w.surround(shell)
		w.fails(w.finish(shell), 1, "sink.too_large")
	}
}

// TestInterrupt: the first signal ends the run, the server's part of it too.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, isolation := range isolations {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			cmd := w.command("run", w.endless(), "-o", w.output("rows"), "--isolation", isolation)
			done := w.begin(cmd)
			w.flowing()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			w.fails(<-done, 130, "cli.interrupted")
			w.idle(db)
		}
	}
}

// idle waits until the server works on nothing of ours.
func (w *workspace) idle(db interface{ Query(string) string }) {
	w.Helper()
	eventually(w, "the end of the query on the server", func() bool {
		return db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()") == "0\n"
	})
}

// TestKilledOnTheServer: somebody ends our connection while rows flow.
func TestKilledOnTheServer(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, kill := range []string{"KILL QUERY", "KILL CONNECTION"} {
		cmd := w.command("run", w.endless(), "-o", w.output("rows"))
		done := w.begin(cmd)
		w.flowing()
		id := strings.TrimSpace(db.Query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"))
		db.Exec(kill + " " + id)
		r := <-done
		fault := "mysql.killed"
		if strings.HasPrefix(r.stderr, "error[mysql.connection_lost]") && kill == "KILL CONNECTION" {
			fault = "mysql.connection_lost"
		}
		w.fails(r, 1, fault)
	}
}

// TestReplacedFile: a run that fails leaves the file of an earlier one as it was.
func TestReplacedFile(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	db.Exec("DELIMITER //\nCREATE PROCEDURE late() BEGIN SELECT 1 AS a; SIGNAL SQLSTATE '45000'; END//")
	w.must("run", w.pipeline(settings{"query": "SELECT 'before' AS a"}, "csv"), "-o", "rows")
	if r := w.run("run", w.pipeline(settings{"call": "late"}, "csv"), "-o", "rows"); r.code != 1 {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	if got := readFile(t, w.output("rows")); string(got) != "a\r\nbefore\r\n" {
		t.Errorf("the file holds %q", got)
	}
	w.must("run", w.pipeline(settings{"query": "SELECT 'after' AS a"}, "csv"), "-o", "rows")
	if got := readFile(t, w.output("rows")); string(got) != "a\r\nafter\r\n" {
		t.Errorf("the file holds %q", got)
	}
	if left := names(t, w.out); fmt.Sprint(left) != "[rows]" {
		t.Errorf("files: %v", left)
	}
}
