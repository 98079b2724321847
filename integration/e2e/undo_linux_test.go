package e2e

import (
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

var deathRounds = flag.Int("deaths", 1, "how often every kind of death is died at every place; make soak does it a hundred times")

// death is a way in which a run loses its processes while it is at work.
type death struct {
	name string
	args []string
	// kill is done to the run.
	kill func(s *started)
	// code is how the program ends: 128 and the signal where it is killed itself.
	code int
	// fault is the code of the run's fault, whose message has says in it; empty where nobody is left to tell it.
	fault, says string
}

func signalPlugins(signal syscall.Signal) func(*started) {
	return func(s *started) {
		for _, pid := range slices.Collect(maps.Values(s.plugins)) {
			_ = syscall.Kill(pid, signal) // it may have ended with another
		}
	}
}

var deaths = []death{
	{name: "plugins killed", kill: signalPlugins(syscall.SIGKILL), code: 1, fault: "plugin.exited"},
	{name: "plugins stopped", args: []string{"--stall", "1s"}, kill: signalPlugins(syscall.SIGSTOP), code: 1, fault: "plugin.exited"},
	{name: "program killed", kill: func(s *started) { _ = s.cmd.Process.Kill() }, code: 137},
	{name: "program killed, plugins stopped", kill: func(s *started) {
		signalPlugins(syscall.SIGSTOP)(s)
		_ = s.cmd.Process.Kill()
	}, code: 137},
}

// undone kills a run once begun says that it is at work, over and over, and holds what every death leaves: no process, no
// query, and nothing that left tells of. The first death comes at once, and the others at a random moment later.
func (w *workspace) undone(d death, db querier, args []string, begun func(), left func() []string) {
	w.Helper()
	for round := range *deathRounds {
		var later time.Duration
		if round > 0 {
			later = time.Duration(rand.Int64N(int64(laterDeaths)))
		}
		w.undoneAfter(later, d, db, args, begun, left)
		if w.Failed() {
			w.Fatalf("in round %d of %d, %s after it was seen at work", round, *deathRounds, later)
		}
	}
}

// laterDeaths is how long a run is at work at most before it is killed.
const laterDeaths = 200 * time.Millisecond

func (w *workspace) undoneAfter(later time.Duration, d death, db querier, args []string, begun func(), left func() []string) {
	w.Helper()
	s := w.start(append(slices.Concat([]string{"run"}, args), d.args...)...)
	begun()
	<-time.After(later)
	d.kill(s)
	r := <-s.ended
	if r.code != d.code {
		w.Errorf("it ended with %d, want %d:\n%s", r.code, d.code, r.stderr)
	}
	if d.fault != "" {
		if f := r.failure(w); f.Code != d.fault || !strings.Contains(f.Message, d.says) || strings.Contains(f.Message, "left behind") {
			w.Errorf("the fault is %+v, want %s: %s…, and nothing left", f, d.fault, d.says)
		}
	}
	w.nothingRuns()
	w.idle(db)
	if found := left(); len(found) > 0 {
		w.Errorf("left behind: %v", found)
	}
}

// working waits until a query of the workspace's database is under way.
func (w *workspace) working(db querier) {
	w.Helper()
	eventually(w, "a query on the server", func() bool {
		return db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info IS NOT NULL") != "0\n"
	})
}

// TestDeathEndsQuery: whatever dies while the server thinks, the query ends. It would go on for minutes, because the
// server looks at its client only when it has a row.
func TestDeathEndsQuery(t *testing.T) {
	t.Parallel()
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			t.Parallel()
			for _, d := range deaths {
				t.Run(d.name, func(t *testing.T) {
					t.Parallel()
					db := database.shared(t)
					numbers(db)
					w := newWorkspace(t, db.DSN(db.Database()))
					w.undone(d, db, []string{w.pipeline(settings{"query": thinking}, "ndjson"), "-o", w.output("rows")},
						func() { w.working(db) }, func() []string { return names(w, w.out) })
					// The next run to the same server finds nothing to do, and forgets what the dead one said.
					w.must("run", w.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson"), "-o", w.output("rows"))
				})
			}
		})
	}
}

// TestDeathLeavesNoFile: whatever dies while rows flow, no unfinished file or object is left, also when the sink is alone
// in its process.
func TestDeathLeavesNoFile(t *testing.T) {
	t.Parallel()
	for _, d := range deaths {
		for _, isolation := range []string{"group", "stage"} {
			t.Run(d.name+", isolation "+isolation, func(t *testing.T) {
				t.Parallel()
				db := dbtest.MariaDB(t)
				w := newWorkspace(t, db.DSN(db.Database()))
				if err := os.Mkdir(w.output("bucket"), 0o700); err != nil {
					t.Fatal(err)
				}
				left := func() []string {
					return slices.DeleteFunc(append(names(w, w.out), names(w, w.output("bucket"))...), func(name string) bool { return name == "bucket" })
				}
				w.undone(d, db, []string{w.endless(), "-o", w.output("rows"), "--isolation", isolation}, w.flowing, left)
				w.env = append(w.env, "CIPHERSTREAM_KEYS="+newKey())
				pipeline := w.extending("output", settings{"query": endless})
				w.undone(d, db, []string{pipeline, "--job", "--bucket", w.output("bucket"), "--isolation", isolation}, func() {
					eventually(w, "an unfinished object", func() bool { return len(names(w, w.output("bucket"))) > 0 })
				}, left)
				w.must("run", w.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson"))
			})
		}
	}
}

// TestDeathEndsUpload: whatever dies, no unfinished upload is left in the store.
func TestDeathEndsUpload(t *testing.T) {
	t.Parallel()
	for _, d := range deaths {
		for _, isolation := range []string{"group", "stage"} {
			t.Run(d.name+", isolation "+isolation, func(t *testing.T) {
				t.Parallel()
				db := dbtest.MariaDB(t)
				s3 := newDeliveries(t, servers.MinIO(t))
				s3.dsn = db.DSN(db.Database())
				const key = "jobs/rows"
				s3.undone(d, db, []string{s3.job(endless, nil), "--object", key, "--isolation", isolation}, func() { s3.uploading(key) },
					func() (left []string) {
						for _, u := range s3.store.Uploads(s3.store.Bucket(), key) {
							left = append(left, *u.Key)
						}
						return append(left, s3.store.Objects(s3.store.Bucket())...)
					})
				s3.must("run", s3.job("SELECT 1 AS a", nil), "--object", key)
			})
		}
	}
}

// TestMemoryLimitLeavesNothing: a process that is ended for its memory, once rows flow, leaves no query on either server,
// no unfinished file or object, and no upload.
func TestMemoryLimitLeavesNothing(t *testing.T) {
	t.Parallel()
	// The rows are small until something has arrived and could be seen, also where nobody looks for seconds because the machine is
	// busy, and then larger than the process may be.
	const swelling = "SELECT n, IF(n = 11000, SLEEP(5), 0) AS pause, REPEAT('x', IF(n < 12000, 5000, 12000000)) AS filler FROM numbers ORDER BY n"
	memory := func(limit string) death {
		return death{args: []string{"--plugin-memory", limit}, kill: func(*started) {}, code: 1, fault: "plugin.exited", says: "was ended: it used "}
	}
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			t.Parallel()
			db := database.shared(t)
			numbers(db)
			d := newDeliveries(t, servers.MinIO(t))
			d.dsn = db.DSN(db.Database())
			d.undone(memory("64MiB"), db, []string{d.pipeline(settings{"query": swelling}, "ndjson"), "-o", d.output("rows")}, d.flowing,
				func() []string { return names(t, d.out) })

			bucket := t.TempDir()
			d.undone(memory("64MiB"), db, []string{d.job(swelling, nil), "--bucket", bucket, "--object", "rows"},
				func() { eventually(t, "an unfinished object", func() bool { return len(names(t, bucket)) > 0 }) },
				func() []string { return names(t, bucket) })

			key := "memory/" + database.name
			// Parts of an upload take more, before the rows swell.
			d.undone(memory("128MiB"), db, []string{d.job(swelling, nil), "--object", key}, func() { d.uploading(key) }, func() (left []string) {
				for _, u := range d.store.Uploads(d.store.Bucket(), key) {
					left = append(left, *u.Key)
				}
				return append(left, d.store.Objects(d.store.Bucket())...)
			})
		})
	}
}

// TestNextRunClears: what nobody was left to undo, host and plugins having died at once, the next run to the same place
// ends, but nothing of a run that lives.
func TestNextRunClears(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	d := newDeliveries(t, servers.MinIO(t))
	d.dsn = db.DSN(db.Database())
	if err := os.Mkdir(d.output("bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "CIPHERSTREAM_KEYS="+newKey())
	const key = "jobs/rows"
	folder := d.extending("output", settings{"query": endless})
	inFolder := []string{"--job", "--bucket", d.output("bucket"), "--object", "rows"}
	hidden := func() (list []string) {
		for _, dir := range []string{d.out, d.output("bucket")} {
			for _, name := range names(t, dir) {
				if strings.HasPrefix(name, ".") {
					list = append(list, name)
				}
			}
		}
		return list
	}
	d.die([]string{d.endless(), "-o", d.output("rows")}, d.flowing)
	d.die(slices.Concat([]string{folder}, inFolder), func() {
		eventually(t, "an unfinished object", func() bool { return len(names(t, d.output("bucket"))) > 0 })
	})
	d.die([]string{d.job(endless, nil), "--object", key}, func() { d.uploading(key) })
	if left := hidden(); len(left) != 2 {
		t.Fatalf("left are %v, want a file and an object of the dead", left)
	}
	if left := d.store.Uploads(d.store.Bucket(), key); len(left) != 1 {
		t.Fatalf("%d uploads are left, want one of the dead", len(left))
	}

	// One that lives stays.
	alive := d.start("run", d.endless(), "-o", d.output("rows"))
	eventually(t, "the end of what the dead left, and the begin of another", func() bool { return len(hidden()) == 2 })
	d.must("run", d.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson"), "-o", d.output("rows"))
	d.must(slices.Concat([]string{"run", d.extending("output", settings{"query": "SELECT 1 AS a"})}, inFolder)...)
	d.must("run", d.job("SELECT 1 AS a", nil), "--object", key)
	if left := hidden(); len(left) != 1 || !strings.HasSuffix(left[0], ".partial") {
		t.Errorf("hidden files are %v, want the one of the run that lives", left)
	}
	if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
		t.Errorf("%d uploads are left", len(left))
	}
	if err := alive.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := <-alive.ended; r.code != 130 {
		t.Errorf("the run that lives ended with %d:\n%s", r.code, r.stderr)
	}
	if left := hidden(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// Only what the runs were to make is there.
	if got := names(t, filepath.Dir(d.output("rows"))); len(got) != 2 {
		t.Errorf("the folder has %v", got)
	}
	d.idle(db)
}

// die kills a run and all its processes at once, when begun says that it is at work.
func (w *workspace) die(args []string, begun func()) {
	w.Helper()
	s := w.start(append([]string{"run"}, args...)...)
	begun()
	w.killAll()
	if r := <-s.ended; r.code != 128+int(syscall.SIGKILL) {
		w.Fatalf("it ended with %d before it was killed:\n%s", r.code, r.stderr)
	}
	w.nothingRuns()
}

// TestSweepClears: the sweep ends what the dead have left, and nothing of a run that lives.
func TestSweepClears(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	d := newDeliveries(t, servers.MinIO(t))
	d.dsn = db.DSN(db.Database())
	const key = "jobs/rows"
	d.die([]string{d.endless(), "-o", d.output("dead")}, d.flowing)
	d.die([]string{d.job(endless, nil), "--object", key}, func() { d.uploading(key) })
	s := d.start("run", d.endless(), "-o", d.output("alive"))
	eventually(t, "a second file", func() bool { return len(names(t, d.out)) == 2 })
	if r := d.run("sweep", "--output", d.out); r.code != 0 || string(r.stdout) != "1 unfinished file removed\n" {
		t.Errorf("the sweep ended with %d and says %s%s", r.code, r.stdout, r.stderr)
	}
	if left := names(t, d.out); len(left) != 1 || !strings.HasPrefix(left[0], ".alive.") {
		t.Errorf("left are %v, want the file of the run that lives", left)
	}
	if swept := d.sweep("--prefix", key); swept.Undone != 1 {
		t.Errorf("the sweep says %+v", swept)
	}
	d.nothing(key)
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := <-s.ended; r.code != 130 {
		t.Errorf("the run that lives ended with %d:\n%s", r.code, r.stderr)
	}
	d.nothingLeft()
	d.must("run", d.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson"))
}

// TestLeftBehindIsNamed: an upload that cannot be ended is in the fault, with what ends it.
func TestLeftBehindIsNamed(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.PrivateMinIO(t))
	const key = "named"
	s := d.start("run", d.job(endless, settings{"timeout": "2s"}), "--object", key)
	d.uploading(key)
	d.store.Kill()
	signalPlugins(syscall.SIGKILL)(s)
	r := <-s.ended
	f := r.failure(t)
	if r.code != 1 || f.Code != "plugin.exited" || !strings.Contains(f.Message, "left behind: the unfinished upload of s3://"+d.store.Bucket()+"/"+key+", remove it by: cipherstream sweep --bucket ") {
		t.Errorf("it ended with %d: %+v", r.code, f)
	}
	if _, access, found := strings.Cut(r.stderr, d.store.SecretKey()); found {
		t.Errorf("a secret shows: …%s", access)
	}
	d.store.Start()
	// The next run to the same place ends it, although the host that knew of it is gone.
	d.must("run", d.job("SELECT 1 AS a", nil), "--object", key)
	if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
		t.Errorf("%d uploads are left", len(left))
	}
}

// TestUploadAbandoned kills everybody in the middle of an upload, and takes away what the host knew of it, as when the
// machine is gone: nothing is visible, and a sweep by age ends the upload.
func TestUploadAbandoned(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	const key = "jobs/abandoned.ndjson"
	_, ended := d.upload(key, nil)
	d.killAll()
	<-ended
	d.nothingRuns()
	for _, dir := range names(t, d.tmp) {
		os.RemoveAll(filepath.Join(d.tmp, dir))
	}
	if left := d.store.Objects(d.store.Bucket()); len(left) > 0 {
		t.Errorf("objects of a killed run: %v", left)
	}
	for _, args := range [][]string{{"--prefix", "jobs/", "--abandoned", "1h"}, {"--prefix", "job2", "--abandoned", "1ms"}} {
		if s := d.sweep(args...); s.Uploads != 0 {
			t.Errorf("%v ended an upload: %+v", args, s)
		}
	}
	if s := d.sweep("--prefix", "jobs/", "--abandoned", "1ms"); s.Uploads != 1 {
		t.Errorf("%+v, want one upload", s)
	}
	d.nothing(key)
}
