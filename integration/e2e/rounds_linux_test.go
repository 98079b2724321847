package e2e

import (
	"crypto/sha256"
	"encoding/hex"
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
	// left lists what is not under its final name.
	left func() []string
}

// querier is a server that is looked at.
type querier interface{ Query(string) string }

// killRounds kills the program or one of its plugin processes, at a random moment of a short run, over and over.
// A run that was killed leaves no process behind, no query on the server, nothing unfinished, and nothing under the final
// name but what is whole, which it reports as its digest.
func killRounds(w *workspace, db querier, random *rand.Rand, rounds int, pipeline string, to []destination) (want string) {
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
		if left := d.left(); len(left) > 0 {
			w.Fatalf("%s: left behind: %v\n%s", where, left, r.stderr)
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
		left: func() (list []string) {
			for _, name := range names(t, filepath.Dir(path)) {
				if strings.HasPrefix(name, ".") {
					list = append(list, name)
				}
			}
			if exists(path+".attrs") && !exists(path) {
				list = append(list, path+".attrs")
			}
			return list
		},
	}
}

// TestKillRounds kills runs that deliver to a file and to a folder. After all of it a rerun gives the same bytes as ever.
func TestKillRounds(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	killRoundsToFiles(t, db, db.DSN(db.Database()), "SELECT seq, REPEAT('x', seq % 50) AS filler FROM seq_1_to_40000", *rounds)
}

// TestKillRoundsOnServers does so with other servers.
func TestKillRoundsOnServers(t *testing.T) {
	t.Parallel()
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			db := database.shared(t)
			numbers(db)
			killRoundsToFiles(t, db, db.DSN(db.Database()), counted, max(1, *rounds/10))
		})
	}
}

func killRoundsToFiles(t *testing.T, db querier, dsn, query string, rounds int) {
	random := chance(t)
	w := newWorkspace(t, dsn)
	w.env = []string{"CIPHERSTREAM_KEYS=" + newKey()}
	pipeline := w.extending("output", settings{"query": query})
	if err := os.Mkdir(w.output("bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	to := []destination{
		inFile(t, "file", w.output("rows"), "-o", w.output("rows")),
		inFile(t, "object", filepath.Join(w.output("bucket"), "rows"), "--job", "--bucket", w.output("bucket"), "--object", "rows"),
	}
	want := killRounds(w, db, random, rounds, pipeline, to)
	for _, d := range to {
		w.must(append([]string{"run", pipeline}, d.arguments...)...)
		if got := d.visible(); got != want {
			t.Errorf("%s: a rerun gives %s, want %s", d.name, got, want)
		}
	}
}

// TestKillRoundsOnMinIO kills runs that deliver in several parts to MinIO. No object is visible but a whole one, and no
// upload is left.
func TestKillRoundsOnMinIO(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	random := chance(t)
	d := newDeliveries(t, servers.MinIO(t))
	d.dsn = db.DSN(db.Database())
	bucket := d.store.Bucket()
	// Every run has a name of its own, which holds its id.
	to := destination{name: "MinIO",
		visible: func() string {
			objects := d.store.Objects(bucket)
			switch len(objects) {
			case 0:
				return ""
			case 1:
				digest := sha256.Sum256(d.objectOf(objects[0]))
				return hex.EncodeToString(digest[:])
			}
			t.Fatalf("objects: %v", objects)
			return ""
		},
		remove: func() {
			for _, name := range d.store.Objects(bucket) {
				if _, err := d.store.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &name}); err != nil {
					t.Fatal(err)
				}
			}
		},
		left: func() (list []string) {
			for _, u := range d.store.Uploads(bucket, "") {
				list = append(list, *u.Key)
			}
			return list
		},
	}
	pipeline := d.job(delivered, nil)
	want := killRounds(d.workspace, db, random, max(1, *rounds/5), pipeline, []destination{to})

	d.must("run", pipeline)
	if got := to.visible(); got != want {
		t.Errorf("a rerun gives %s, want %s", got, want)
	}
}
