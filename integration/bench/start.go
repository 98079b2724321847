package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// startsEach is how often a round measures each start by itself.
const startsEach = 10

// referenceLists are the pipelines of the extracts that follow one another, each of a whole small list.
var referenceLists = []string{
	"practitioners", "locations", "users", "user_roles", "appointment_types",
	"appointment_statuses", "items", "fee_levels", "health_funds", "payment_types",
}

// The starts that are measured.
const (
	processStart = "a process of the first-party stages, until it answers"
	listCommand  = "`cipherstream list`"
	listExtract  = "a reference list through the warm pool, ten one after another"
)

// startAims are what the starts should take at most, in milliseconds.
var startAims = []struct {
	what string
	most float64
}{{processStart, 15}, {listCommand, 30}, {listExtract, 10}}

// startBench measures what it takes until something runs.
type startBench struct {
	*bench
	engine *engine.Engine
	host   *host.Host
	took   map[string][]float64 // milliseconds of each start
	own    int                  // extracts that found no process ready
}

// runStart measures starts: of a plugin process, of a command, and of short runs through a warm pool.
func (b *bench) runStart(ctx context.Context) (err error) {
	s := &startBench{bench: b, took: map[string][]float64{}}
	first, arguments := bundle.Bundle("bench"), []string{"plugin-serve"}
	// It prepares, and the host beside it runs: what becomes of the pool is the host's to say.
	if s.engine, err = engine.New(ctx, engine.Config{FirstParty: first, Executable: b.program, Args: arguments, Catalogue: pipelines.FS()}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.engine.Close()) }()
	if s.host, err = host.New(host.Config{FirstParty: first, Executable: b.program, Args: arguments, Warm: len(referenceLists)}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.host.Close()) }()
	for round := range b.rounds + 1 {
		if round == 1 {
			clear(s.took)
			s.own = 0
		}
		for _, one := range []struct {
			what  string
			times int
			start func(context.Context) error
		}{{processStart, startsEach, s.process}, {listCommand, startsEach, s.list}, {listExtract, 1, s.extracts}} {
			if err := s.full(ctx); err != nil {
				return err
			}
			for range one.times {
				if err := one.start(ctx); err != nil {
					return fmt.Errorf("%s: %w", one.what, err)
				}
			}
		}
		say("round %d of %d (0 is the warm-up)", round, b.rounds)
	}
	return s.report(os.Stdout)
}

// note keeps how long a start took that began at a time.
func (s *startBench) note(what string, began time.Time) {
	s.took[what] = append(s.took[what], float64(time.Since(began).Microseconds())/1000)
}

// full waits until the pool is full, and fills no more beside what is measured.
func (s *startBench) full(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if s.host.PoolStats().Ready == len(referenceLists) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
}

// process starts a process of the first-party stages.
func (s *startBench) process(ctx context.Context) error {
	began := time.Now()
	p, err := s.host.StartOwn(ctx, bundle.Name)
	if err != nil {
		return err
	}
	s.note(processStart, began)
	p.Close()
	return nil
}

// list runs the command.
func (s *startBench) list(ctx context.Context) error {
	began := time.Now()
	err := exec.CommandContext(ctx, s.program, "list").Run()
	s.note(listCommand, began)
	return err
}

// extracts runs the reference lists, one after another, each to a sink of the caller's.
func (s *startBench) extracts(ctx context.Context) error {
	before := s.host.PoolStats()
	for _, name := range referenceLists {
		prepared, diags := s.engine.Prepare(name)
		if err := diags.Err(); err != nil {
			return err
		}
		began := time.Now()
		dsn := s.server.SocketDSN(s.server.Database())
		plan, diags := prepared.Bind(engine.Inputs{End: engine.EndCaller,
			Secrets: func(name string) (string, bool) { return dsn, name == "dsn" }})
		if err := diags.Err(); err != nil {
			return err
		}
		receipt, err := run.Execute(ctx, s.host, plan, run.Options{ID: plan.RunID, Sink: &throwAway{}})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if receipt.Rows == 0 {
			return fmt.Errorf("%s has no rows", name)
		}
		s.note(listExtract, began)
	}
	s.own += s.host.PoolStats().Own - before.Own
	return nil
}

func (s *startBench) report(w io.Writer) error {
	var out strings.Builder
	out.WriteByte('\n')
	s.machine(&out)
	fmt.Fprintf(&out, "%d rounds of %d starts each, one at a time; %d of %d extracts found a process ready.\n",
		s.rounds, startsEach, len(s.took[listExtract])-s.own, len(s.took[listExtract]))
	fmt.Fprint(&out, "\n| start | at most, ms | median | lowest and highest | |\n|---|--:|--:|--:|---|\n")
	for _, a := range startAims {
		of := s.took[a.what]
		fmt.Fprintf(&out, "| %s | %.0f | %.1f | %.1f–%.1f | %s |\n",
			a.what, a.most, median(of), slices.Min(of), slices.Max(of), verdict(median(of) <= a.most))
		s.measured.add("aim: "+a.what+", ms", of, a.most)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
