package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

var soak = flag.Duration("soak", 15*time.Second, "how long TestSoak keeps ten streams going; make soak does it for minutes")

// streams is how many runs go on at once.
const streams = 10

// TestSoak keeps ten runs going at once in one engine, as a service does, and holds that
// nothing is left of them: no goroutine, no open file or socket, no process, no memory.
func TestSoak(t *testing.T) {
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
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
	run := func(ctx context.Context, name, file string) error {
		p, diags := e.Plan(engine.Request{
			Pipeline: name,
			Secrets:  func(secret string) (string, bool) { return w.dsn, secret == "dsn" },
			Parameters: map[string]any{
				"from_date": "1990-01-01", "to_date": "2100-01-01", "compression": "gzip",
			},
			Run: map[string]any{"output": file}, Isolation: plan.IsolationGroup,
		})
		if err := diags.Err(); err != nil {
			return err
		}
		receipt, err := e.Run(ctx, p, engine.RunOptions{})
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
				for once := true; once || time.Now().Before(until); once = false {
					if err := run(t.Context(), name, filepath.Join(w.out, strconv.Itoa(i))); err != nil {
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
	const grows = 24 << 20
	if after.memory > before.memory+grows {
		t.Errorf("%d runs later %d bytes are resident, %d before", runs.Load(), after.memory, before.memory)
	}
}

// usage is what this process holds.
type usage struct {
	goroutines, files int
	memory            int64 // resident, in bytes
}

func inUse(t testing.TB) usage {
	t.Helper()
	runtime.GC()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	statm := strings.Fields(string(readFile(t, "/proc/self/statm")))
	pages, err := strconv.ParseInt(statm[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return usage{runtime.NumGoroutine(), len(files), pages * int64(os.Getpagesize())}
}
