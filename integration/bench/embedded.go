package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// What a service does that embeds the engine: many streams at once, and bursts of short ones.
const (
	allStreams   = 10  // NDJSON streams of all appointments
	burst        = 8   // short runs
	burstPool    = 2   // processes that stand ready for them
	mostMemory   = 200 // MiB of the plugin processes of all streams
	streamsName  = "streams"
	burstName    = "burst"
	readyAgainIn = time.Second // after which a pool has refilled
)

// embeddedUse is what was measured of it, by round.
type embeddedUse struct {
	memory []float64 // bytes: the largest sum of the plugin processes' proportional set sizes
	pooled []float64 // seconds of a burst with a pool, and without one
	alone  []float64
}

// throwAway is a caller's sink that keeps nothing.
type throwAway struct{ bytes int64 }

func (*throwAway) Open(context.Context, engine.Object) error { return nil }
func (t *throwAway) Write(_ context.Context, p []byte) error { t.bytes += int64(len(p)); return nil }
func (t *throwAway) Commit(context.Context) (engine.Delivery, error) {
	return engine.Delivery{Bytes: t.bytes}, nil
}
func (*throwAway) Abort(context.Context) error { return nil }

// embedded is an engine as a service has one, with so many warm processes.
func (b *bench) embedded(ctx context.Context, warm int) (*engine.Engine, *engine.Prepared, error) {
	e, err := engine.New(ctx, engine.Config{
		FirstParty: bundle.Bundle("bench"), Executable: b.program, Args: []string{"plugin-serve"}, Catalogue: pipelines.FS(), Warm: warm,
	})
	if err != nil {
		return nil, nil, err
	}
	prepared, diags := e.Prepare("appointments")
	if err := diags.Err(); err != nil {
		e.Close()
		return nil, nil, err
	}
	return e, prepared, nil
}

// atOnce makes n runs at once, and returns when the last one has ended. Each must deliver so many rows.
func (b *bench) atOnce(ctx context.Context, e *engine.Engine, p *engine.Prepared, n int, parameters map[string]any, rows int64, events func(engine.Event)) error {
	dsn := b.server.SocketDSN(b.server.Database())
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			plan, diags := p.Bind(engine.Inputs{Parameters: parameters, End: engine.EndCaller,
				Secrets: func(name string) (string, bool) { return dsn, name == "dsn" }})
			if errs[i] = diags.Err(); errs[i] != nil {
				return
			}
			receipt, err := e.Run(ctx, plan, &throwAway{}, engine.RunOptions{Events: events})
			if err == nil && receipt.Rows != rows {
				err = fmt.Errorf("a stream has %s rows, and %s were loaded", grouped(receipt.Rows), grouped(rows))
			}
			errs[i] = err
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// streamAll runs all streams at once, and returns the most that their plugin processes had in memory together.
func (b *bench) streamAll(ctx context.Context) (most float64, err error) {
	e, prepared, err := b.embedded(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	var mu sync.Mutex
	var pids []int
	stop := sampling(func() {
		mu.Lock()
		now := slices.Clone(pids)
		mu.Unlock()
		var sum int64
		for _, pid := range now {
			sum += kilobytes(filepath.Join(procDir(pid), "smaps_rollup"), "Pss:")
		}
		most = max(most, float64(sum))
	})
	err = b.atOnce(ctx, e, prepared, allStreams, nil, b.rows, func(event engine.Event) {
		if started, is := event.(engine.Started); is {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range started.Processes {
				pids = append(pids, p.PID)
			}
		}
	})
	stop()
	return most, err
}

// measureEmbedded measures all rounds of both. A burst is of runs that have no rows, so that it is the starts that are measured.
func (b *bench) measureEmbedded(ctx context.Context) (use embeddedUse, err error) {
	for range b.rounds {
		if !b.subjectMatches(streamsName) {
			break
		}
		most, err := b.streamAll(ctx)
		if err != nil {
			return use, fmt.Errorf("%d streams: %w", allStreams, err)
		}
		use.memory = append(use.memory, most)
		say("%d streams at once: %s MiB", allStreams, mebibytes(int64(most)))
	}
	if !b.subjectMatches(burstName) {
		return use, nil
	}
	none := map[string]any{"from_date": "2999-01-01"}
	pooled, withPool, err := b.embedded(ctx, burstPool)
	if err != nil {
		return use, err
	}
	defer pooled.Close()
	plain, without, err := b.embedded(ctx, 0)
	if err != nil {
		return use, err
	}
	defer plain.Close()
	for round := range b.rounds + 1 {
		time.Sleep(readyAgainIn)
		var seconds [2]float64
		for k := range 2 {
			i := (k + round) % 2
			e, p := pooled, withPool
			if i == 1 {
				e, p = plain, without
			}
			began := time.Now()
			if err := b.atOnce(ctx, e, p, burst, none, 0, nil); err != nil {
				return use, fmt.Errorf("a burst of %d: %w", burst, err)
			}
			seconds[i] = time.Since(began).Seconds()
			time.Sleep(readyAgainIn) // the pool refills beside nobody
		}
		if round > 0 {
			use.pooled, use.alone = append(use.pooled, seconds[0]), append(use.alone, seconds[1])
			say("burst %d of %d: %.3f s with a pool of %d, %.3f s without", round, b.rounds, seconds[0], burstPool, seconds[1])
		}
	}
	return use, nil
}

func (b *bench) subjectMatches(name string) bool { return b.options.subjects.MatchString(name) }

// report prints what a service is promised.
func (u embeddedUse) report(out *strings.Builder, kept *figures) {
	if len(u.memory)+len(u.pooled) == 0 {
		return
	}
	fmt.Fprint(out, "\n| an engine of a service | at most | measured | lowest and highest round | |\n|---|--:|--:|--:|---|\n")
	if len(u.memory) > 0 {
		most := slices.Max(u.memory)
		kept.add(fmt.Sprintf("aim: memory of %d streams at once, MiB", allStreams), []float64{most / (1 << 20)}, mostMemory)
		fmt.Fprintf(out, "| %d NDJSON streams at once: memory of their plugin processes together, MiB (PSS, highest round) | %d | %s | %s–%s | %s |\n",
			allStreams, mostMemory, mebibytes(int64(most)), mebibytes(int64(slices.Min(u.memory))), mebibytes(int64(most)), verdict(most < mostMemory<<20))
	}
	if len(u.pooled) > 0 {
		var r []float64
		for i := range u.pooled {
			r = append(r, u.pooled[i]/u.alone[i])
		}
		kept.add(fmt.Sprintf("aim: burst of %d runs: wall with a pool ÷ without", burst), r, 1)
		fmt.Fprintf(out, "| burst of %d runs without rows: wall with a pool of %d ÷ without | 1.00 | %.2f | %.2f–%.2f | %s |\n",
			burst, burstPool, median(r), slices.Min(r), slices.Max(r), verdict(median(r) <= 1))
	}
}

// verdict says whether an aim is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}
