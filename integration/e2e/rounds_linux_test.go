package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// destination is where a run that is killed delivers to.
type destination struct {
	name      string
	arguments []string
	// visible is the digest of what stands under the final name, or empty.
	visible func() string
	remove  func()
}

// killRounds kills the program or one of its plugin processes, at a random moment of a short run, over and over.
// A run that was killed leaves no process behind, no query on the server, and nothing under the final name but what
// is whole, which it reports as its digest.
func killRounds(w *workspace, db *dbtest.Server, random *rand.Rand, rounds int, pipeline string, to []destination) (want string) {
	w.Helper()
	w.run("version") // builds it
	began := time.Now()
	w.must(append([]string{"run", pipeline}, to[0].arguments...)...)
	usual := time.Since(began)
	want = to[0].visible()
	to[0].remove()

	killed, whole := 0, 0
	for round := range rounds {
		d := to[random.IntN(len(to))]
		isolation := []string{"group", "stage"}[random.IntN(2)]
		moment := time.Duration(random.Int64N(int64(usual + usual/2)))
		cmd := w.command(append([]string{"run", pipeline, "--isolation", isolation, "--progress", "none"}, d.arguments...)...)
		where := fmt.Sprintf("round %d, %s, isolation %s, after %s", round, d.name, isolation, moment)
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
		switch got := d.visible(); {
		case got == want:
			whole++
		case got != "":
			w.Fatalf("%s: something else stands under the final name", where)
		case r.code == 0:
			w.Fatalf("%s: it ended well, and nothing is there:\n%s", where, r.stderr)
		default:
			killed++
		}
		d.remove()
	}
	w.Logf("%d runs were killed, %d were whole", killed, whole)
	if killed == 0 {
		w.Error("no run was killed")
	}
	return want
}

// inFile is a file as a destination.
func inFile(t testing.TB, name, path string, arguments ...string) destination {
	remove := func(path string) {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return destination{name: name, arguments: arguments,
		visible: func() string {
			if !exists(path) {
				return ""
			}
			digest := sha256.Sum256(readFile(t, path))
			return hex.EncodeToString(digest[:])
		},
		remove: func() {
			remove(path)
			remove(path + ".attrs")
		},
	}
}

// TestKillRounds kills runs that deliver to a file and to a folder. After all of it the sweep
// finds what uploads were left, and a rerun gives the same bytes as ever.
func TestKillRounds(t *testing.T) {
	db := dbtest.MariaDB(t)
	random := chance(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.env = []string{"CIPHERSTREAM_KEYS=" + newKey()}
	source := settings{"query": "SELECT seq, REPEAT('x', seq % 50) AS filler FROM seq_1_to_40000"}
	pipeline := w.extending("output", source)
	if err := os.Mkdir(w.output("bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	to := []destination{
		inFile(t, "file", w.output("rows"), "-o", w.output("rows")),
		inFile(t, "object", filepath.Join(w.output("bucket"), "rows"), "--job", "--bucket", w.output("bucket"), "--object", "rows"),
	}
	want := killRounds(w, db, random, *rounds, pipeline, to)

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
	for _, d := range to {
		w.must(append([]string{"run", pipeline}, d.arguments...)...)
		if got := d.visible(); got != want {
			t.Errorf("%s: a rerun gives %s, want %s", d.name, got, want)
		}
	}
}

// TestKillRoundsOnMinIO kills runs that deliver in several parts to MinIO. No object is visible but a whole one, and
// the sweep ends every upload that was left.
func TestKillRoundsOnMinIO(t *testing.T) {
	db := dbtest.MariaDB(t)
	random := chance(t)
	d := newDeliveries(t, servers.MinIO(t))
	d.dsn = db.DSN(db.Database())
	const key = "jobs/rows"
	bucket := d.store.Bucket()
	to := destination{name: "MinIO", arguments: []string{"--object", key},
		visible: func() string {
			switch objects := d.store.Objects(bucket); {
			case len(objects) == 0:
				return ""
			case len(objects) > 1 || objects[0] != key:
				t.Fatalf("objects: %v", objects)
			}
			digest := sha256.Sum256(d.objectOf(key))
			return hex.EncodeToString(digest[:])
		},
		remove: func() {
			name := key
			if _, err := d.store.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &name}); err != nil {
				t.Fatal(err)
			}
		},
	}
	pipeline := d.job(delivered, nil)
	want := killRounds(d.workspace, db, random, max(1, *rounds/5), pipeline, []destination{to})

	stray := int64(len(d.store.Uploads(bucket, key)))
	t.Logf("%d uploads were left", stray)
	// MinIO knows the beginnings of names from its memory only, which an upload need not be in whose process was killed
	// while it was created. By its whole name it is found on the disk.
	ended := d.sweep("--prefix", "jobs/", "--abandoned", "1ns").Uploads
	if late := d.sweep("--prefix", key, "--abandoned", "1ns").Uploads; ended+late != stray || late > stray/2 {
		t.Errorf("the sweeps ended %d and %d uploads, want %d", ended, late, stray)
	}
	d.nothing(key)
	d.must("run", pipeline, "--object", key)
	if got := to.visible(); got != want {
		t.Errorf("a rerun gives %s, want %s", got, want)
	}
}
