package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestTimeLimit: a run that reaches --timeout ends with a code of its own, kills its query,
// and leaves nothing.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	db.Exec("CREATE PROCEDURE slow() SELECT SLEEP(100) AS s;\nCREATE TABLE `odd` (id INT PRIMARY KEY, `a,b` INT, day DATE NULL);\n" +
		"SET sql_mode = '';\nINSERT INTO `odd` VALUES (1, 7, '0000-00-00');")
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, args := range [][]string{
		{w.endless()},
		{"custom_table", "-p", "procedure_name=slow"},
		{w.pipeline(settings{"query": "SELECT SLEEP(100) AS s"}, "ndjson"), "--isolation", "stage"},
		{"custom_table", "-p", "procedure_name=slow", "--isolation", "none"},
	} {
		r := w.run(append(append([]string{"run"}, args...), "--timeout", "700ms", "-o", "rows", "--progress", "none")...)
		w.fails(r, 1, "run.timeout")
		if !strings.Contains(r.stderr, "time limit of 700ms") || !strings.Contains(r.stderr, "--timeout") {
			t.Errorf("%v: %s", args, r.stderr)
		}
		w.nothingRuns()
		w.idle(db)
	}
	// Within it, everything is as ever; the values that the help names are taken as it names them.
	header, rows := w.ask("custom_table", "table_name=odd", `columns=["a,b","day"]`, "zero_dates=null")
	if strings.Join(header, "|") != "a,b|day" || len(rows) != 1 || rows[0][0] != "7" || rows[0][1] != "" {
		t.Errorf("%q %q", header, rows)
	}
}

// TestHostStopped: a program that was stopped by Ctrl-Z for longer than a stage may hang, and
// continued, ends well.
func TestHostStopped(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	for _, isolation := range []string{"group", "stage"} {
		t.Run(isolation, func(t *testing.T) {
			w := newWorkspace(t, db.DSN(db.Database()))
			slow := w.pipeline(settings{"query": "SELECT seq, SLEEP(0.002) AS s FROM seq_1_to_2000"}, "ndjson")
			s := w.start("run", slow, "--stall", "2s", "-o", "rows", "--isolation", isolation)
			if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-s.ended:
				t.Fatalf("it ended while it was stopped: %+v", r)
			case <-time.After(5 * time.Second): // stopped for longer than a stage may hang
			}
			if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if r := <-s.ended; r.code != 0 {
				t.Fatalf("it ended with %d:\n%s", r.code, r.stderr)
			}
			if got := readFile(t, w.output("rows")); strings.Count(string(got), "\n") != 2000 {
				t.Errorf("%d rows", strings.Count(string(got), "\n"))
			}
		})
	}
}
