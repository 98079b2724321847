package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/engine"
)

const (
	gateName = "gate"
	// mostOfGate is the aim for what a caller's gate may cost a run to a file.
	mostOfGate = 1.02
)

// gated is the CPU of runs to a file of a plugin's sink with a gate before the commit, and without one, by round, in seconds.
type gated struct{ with, without []float64 }

// measureGate runs all appointments to a file as NDJSON, by the plugin's sink, as `run -o FILE` does: with a gate of the caller's
// that is shown the receipt so far, and without one.
func (b *bench) measureGate(ctx context.Context) (g gated, err error) {
	if !b.subjectMatches(gateName) {
		return g, nil
	}
	e, prepared, err := b.embedded(ctx, 0)
	if err != nil {
		return g, err
	}
	defer e.Close()
	asked := 0
	gate := func(_ context.Context, soFar *engine.Receipt) error {
		asked++
		return b.checkRows("the gate was shown", soFar.Rows)
	}
	for round := range b.rounds + 1 {
		var seconds [2]float64
		for k := range 2 {
			options := engine.RunOptions{BeforeCommit: gate}
			i := (k + round) % 2
			if i == 1 {
				options.BeforeCommit = nil
			}
			if seconds[i], err = b.toFile(ctx, e, prepared, options); err != nil {
				return g, fmt.Errorf("a run to a file: %w", err)
			}
		}
		if round > 0 {
			g.with, g.without = append(g.with, seconds[0]), append(g.without, seconds[1])
			say("gate %d of %d: CPU %.2f s with it, %.2f s without", round, b.rounds, seconds[0], seconds[1])
		}
	}
	if asked != b.rounds+1 {
		return g, fmt.Errorf("the gate was asked %d times in %d runs", asked, b.rounds+1)
	}
	return g, nil
}

// toFile makes one run to a file, and returns the CPU seconds of this process and of the plugin's.
func (b *bench) toFile(ctx context.Context, e *engine.Engine, p *engine.Prepared, options engine.RunOptions) (float64, error) {
	file := filepath.Join(b.dir, "gated")
	dsn := b.server.SocketDSN(b.server.Database())
	plan, diags := p.Bind(engine.Inputs{Destination: engine.Destination{Output: file},
		Secrets: func(name string) (string, bool) { return dsn, name == "dsn" }})
	if err := diags.Err(); err != nil {
		return 0, err
	}
	before := ownAndChildren()
	receipt, err := e.Run(ctx, plan, nil, options)
	used := ownAndChildren() - before
	if err != nil {
		return 0, err
	}
	return used.Seconds(), os.Remove(receipt.Location)
}

// ownAndChildren is the CPU time of this process, and of those that it has waited for.
func ownAndChildren() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil { // fails for no other reason than its arguments
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// report prints what the gate costs.
func (g gated) report(out *strings.Builder, kept *figures) {
	if len(g.with) == 0 {
		return
	}
	var r []float64
	for i := range g.with {
		r = append(r, g.with[i]/g.without[i])
	}
	kept.add("aim: a gate before the commit: CPU ÷ without", r, mostOfGate)
	fmt.Fprintf(out, "\n| the end of a run | at most | measured | lowest and highest round | |\n|---|--:|--:|--:|---|\n"+
		"| ndjson to a file (`-o`) with a gate before the commit: CPU ÷ without | %.2f | %.2f | %.2f–%.2f | %s |\n",
		mostOfGate, median(r), slices.Min(r), slices.Max(r), verdict(median(r) <= mostOfGate))
}
