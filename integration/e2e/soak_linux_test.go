package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

var soak = flag.Duration("soak", 6*time.Second, "how long TestSoak keeps ten streams going; make soak does it for minutes")

// streams is how many runs go on at once.
const streams = 10

// TestSoak keeps ten runs going at once in one engine, as a service does: streams, and jobs that
// deliver to MinIO. It holds that every run gives the same bytes, and that nothing is left of them: no goroutine, no
// open file or socket, no process, no memory, no session in the database and no upload in the store.
func TestSoak(t *testing.T) {
	db := dbtest.MariaDB(t)
	d := newDeliveries(t, servers.MinIO(t))
	d.dsn = db.DSN(db.Database())
	w := d.workspace
	w.must("sandbox", "load", "--patients", "500", "--appointments", "5000", "--table", "patient", "--table", "appointment")
	// Plugin processes find the workspace by it, and the test finds them.
	t.Setenv("TMPDIR", w.tmp)
	e, err := engine.New(t.Context(), engine.Config{
		FirstParty: bundle.Bundle("0.0.0"), Executable: program(t), Args: []string{"plugin-serve"}, Catalogue: pipelines.FS(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()

	var sums sync.Map // by pipeline, of its output
	var runs atomic.Int64
	secrets := map[string]string{
		"dsn": w.dsn, "s3_access_key_id": d.store.AccessKey(), "s3_secret_access_key": d.store.SecretKey(),
		"s3_session_token": "", "link_secret": "",
	}
	run := func(ctx context.Context, name, mode, target string) error {
		prepared, diags := e.Prepare(name)
		if err := diags.Err(); err != nil {
			return err
		}
		p, diags := prepared.Bind(engine.Inputs{
			Secrets: func(secret string) (string, bool) {
				value, known := secrets[secret]
				return value, known
			},
			Parameters: map[string]any{
				"from_date": "1990-01-01", "to_date": "2100-01-01", "compression": "gzip", "mode": mode,
			},
			Destination: engine.Destination{
				Output: filepath.Join(w.out, target),
				Object: &engine.ObjectDestination{Bucket: d.store.URL(d.store.Bucket()), Name: target, LinkTTL: time.Hour},
			},
			Isolation: plan.IsolationGroup,
		})
		if err := diags.Err(); err != nil {
			return err
		}
		receipt, err := e.Run(ctx, p, nil, engine.RunOptions{})
		if err != nil {
			return err
		}
		if first, loaded := sums.LoadOrStore(name, receipt.SHA256); loaded && first != receipt.SHA256 {
			return fmt.Errorf("%s: sha256 %s, and %s before", name, receipt.SHA256, first)
		}
		runs.Add(1)
		return nil
	}
	wave := func(until time.Time) {
		var group sync.WaitGroup
		for i := range streams {
			group.Go(func() {
				name := []string{"appointments", "patients"}[i%2]
				mode := []string{"stream", "stream", "job"}[i%3]
				for once := true; once || time.Now().Before(until); once = false {
					if err := run(t.Context(), name, mode, strconv.Itoa(i)); err != nil {
						t.Errorf("stream %d: %v", i, err)
						return
					}
				}
			})
		}
		group.Wait()
	}

	// What is set up once is there after the first wave.
	wave(time.Now())
	w.nothingRuns()
	before := inUse(t)
	wave(time.Now().Add(*soak))
	w.nothingRuns()
	var after usage
	eventually(t, "the end of what the runs used", func() bool {
		after = inUse(t)
		return after.goroutines <= before.goroutines && after.files <= before.files
	})
	t.Logf("%d runs; before %+v, after %+v", runs.Load(), before, after)
	w.idle(db)
	for _, key := range d.store.Objects(d.store.Bucket()) {
		if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
			t.Errorf("%d uploads of %s are left", len(left), key)
		}
	}
	const grows = 8 << 20
	if after.memory > before.memory+grows {
		t.Errorf("%d runs later %d bytes are in use, %d before", runs.Load(), after.memory, before.memory)
	}
}

// usage is what this process holds.
type usage struct {
	goroutines, files int
	memory            int64 // that the runtime has from the system, in bytes; what the race detector adds is not in it
}

func inUse(t testing.TB) usage {
	t.Helper()
	debug.FreeOSMemory() // what tests before this one left would hide what grows here
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(files), int64(m.Sys - m.HeapReleased)}
}
