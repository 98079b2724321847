package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

var rounds = flag.Int("rounds", 200, "how often TestKillRounds kills something; make soak does it ten times as often")

// TestKillRounds kills the program or one of its plugin processes, at a random moment of
// a short run, over and over. A run that was killed leaves no process behind and nothing
// under the final name but what is whole; after all of it the sweep finds what uploads
// were left, and a rerun gives the same bytes as ever.
func TestKillRounds(t *testing.T) {
	db := dbtest.MariaDB(t)
	random := chance(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.env = []string{"CIPHERSTREAM_KEYS=" + newKey()}
	source := settings{"query": "SELECT seq, REPEAT('x', seq % 50) AS filler FROM seq_1_to_40000"}
	pipeline := w.extending("output", source)
	target := map[string]string{"file": w.output("rows"), "object": filepath.Join(w.output("bucket"), "rows")}
	arguments := map[string][]string{
		"file":   {"-o", target["file"]},
		"object": {"--job", "--bucket", w.output("bucket"), "--object", "rows"},
	}
	if err := os.Mkdir(w.output("bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum := func(path string) string {
		digest := sha256.Sum256(readFile(t, path))
		return hex.EncodeToString(digest[:])
	}
	w.run("version") // builds it
	began := time.Now()
	w.must("run", pipeline, "-o", target["file"])
	usual := time.Since(began)
	want := sum(target["file"])
	remove := func(path string) {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	remove(target["file"])

	killed, whole := 0, 0
	for round := range *rounds {
		kind := []string{"file", "object"}[random.IntN(2)]
		isolation := []string{"group", "stage"}[random.IntN(2)]
		moment := time.Duration(random.Int64N(int64(usual + usual/2)))
		cmd := w.command(append([]string{"run", pipeline, "--isolation", isolation, "--progress", "none"}, arguments[kind]...)...)
		where := fmt.Sprintf("round %d, %s, isolation %s, after %s", round, kind, isolation, moment)
		done := w.begin(cmd)
		timer := time.NewTimer(moment)
		var r result
		ended := false
		select {
		case r = <-done:
			ended = true
		case <-timer.C:
			// The program itself, or any of its processes.
			victims := append([]int{cmd.Process.Pid}, w.processes()...)
			_ = syscall.Kill(victims[random.IntN(len(victims))], syscall.SIGKILL) // it may have ended by now
		}
		timer.Stop()
		if !ended {
			r = <-done
		}
		w.nothingRuns()
		w.idle(db)
		path := target[kind]
		switch {
		case exists(path) && sum(path) != want:
			t.Fatalf("%s: something else stands under the final name", where)
		case exists(path):
			whole++
		case r.code == 0:
			t.Fatalf("%s: it ended well, and nothing is there:\n%s", where, r.stderr)
		default:
			killed++
		}
		remove(path)
		remove(path + ".attrs")
	}
	t.Logf("%d runs were killed, %d were whole", killed, whole)
	if killed == 0 {
		t.Error("no run was killed")
	}

	// What is left over is hidden, and the sweep takes it.
	for _, name := range append(names(t, w.out), names(t, w.output("bucket"))...) {
		if name != "bucket" && !strings.HasPrefix(name, ".rows.") {
			t.Errorf("left behind: %s", name)
		}
	}
	eventually(t, "unfinished uploads old enough for the sweep", func() bool {
		var swept struct{ Uploads int }
		out := w.run("sweep", "--json", "--bucket", w.output("bucket"), "--abandoned", "1ns").stdout
		if err := json.Unmarshal(out, &swept); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return len(names(t, w.output("bucket"))) == 0
	})
	for _, kind := range []string{"file", "object"} {
		w.must(append([]string{"run", pipeline}, arguments[kind]...)...)
		if got := sum(target[kind]); got != want {
			t.Errorf("%s: a rerun gives %s, want %s", kind, got, want)
		}
	}
}
