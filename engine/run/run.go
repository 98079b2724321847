// Package run executes a plan: it starts the plan's process groups, joins them
// by unix sockets, watches them, decides whether the output becomes visible, and
// writes the receipt. It owns the outcome of a run and its events; it never
// reads a document (engine/plan) and never looks at data, but for recordings, which
// are made to look at: a run that is recorded has a relay in this process between every
// two groups, and Replay gives what was recorded to a stage again.
//
// The output is committed only after every group has finished well and the sink
// holds everything. When anything fails, everything is cancelled, and the run's
// fault is the cause, not its echoes.
package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Options are what a plan does not say.
type Options struct {
	// ID identifies the run; see NewID. It is safe in a file name.
	ID string
	// Events receives the run's events, one at a time. It may be nil.
	Events func(Event)
	// Stall is passed to the runner where the plan says nothing; zero means its default.
	Stall time.Duration
	// Record is a folder, new or empty, in which what crosses every boundary between two
	// groups is kept; see Record. Empty keeps nothing.
	Record string
}

// NewID makes an identifier of a run: the pipeline's name, the time in
// milliseconds and 8 random hexadecimal digits.
func NewID(pipeline string, now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return fmt.Sprintf("%s_%d_%s", pipeline, now.UnixMilli(), hex.EncodeToString(random[:]))
}

// run is the state of one execution.
type run struct {
	plan   *plan.Plan
	opts   Options
	began  time.Time
	groups []*group
	record *recording // nil when nothing is recorded
	notary *notary    // nil when nothing is sealed
	// fresh is true when no process is to come from the pool.
	fresh bool
	// before and after are who is at the input and the output of each group.
	before, after []peer.Expected

	mu       sync.Mutex // guards what follows and serialises events
	progress Progress
	prepared chan struct{}
}

// group is one process group.
type group struct {
	process  host.Process
	stages   []string
	kinds    []stage.Kind
	finished *pb.Finished
	err      error
	// isolation is how a third-party process is kept apart.
	isolation host.Isolation
}

// Execute runs the plan to its end and returns the receipt, or the fault that
// ended it. Nothing is left behind in either case.
func Execute(ctx context.Context, h *host.Host, p *plan.Plan, opts Options) (*Receipt, error) {
	r := &run{plan: p, opts: opts, began: time.Now(), prepared: make(chan struct{})}
	receipt, err := r.execute(ctx, h)
	ended := Ended{Receipt: receipt}
	if err != nil {
		ended = Ended{Fault: fault.From(err)}
		err = ended.Fault
	}
	r.emit(ended)
	return receipt, err
}

func (r *run) execute(ctx context.Context, h *host.Host) (*Receipt, error) {
	if s := r.plan.Limits.TimeoutSeconds; s > 0 && !r.debugged() {
		limit := time.Duration(s * float64(time.Second))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fault.New("run.timeout", fault.Cancelled,
			"the run took longer than its time limit of %s", limit).WithHint("raise the limit (--timeout, or limits.timeout of the pipeline), or ask for less"))
		defer cancel()
	}
	var err error
	if r.notary, err = newNotary(r.plan); err != nil {
		return nil, err
	}
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer r.close()
	if r.opts.Record != "" {
		if r.record, err = newRecording(r.opts.Record, r.plan, r.opts.ID, r.began); err != nil {
			return nil, err
		}
		defer func() { r.record.end(err) }()
	}
	if err = r.start(ctx, h, dir); host.IsUnused(err) {
		err = r.startAgain(ctx, h, dir)
	}
	if err != nil {
		return nil, err
	}
	receipt, err := r.watch(ctx)
	return receipt, err
}

// start brings up a process for every group at once, then opens them from the
// sink to the source, so that every socket has its listener before its writer.
func (r *run) start(ctx context.Context, h *host.Host, dir string) error {
	r.groups = make([]*group, len(r.plan.Groups))
	if err := r.makeEdges(dir); err != nil {
		return err
	}
	starting, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	var wait sync.WaitGroup
	for i, planned := range r.plan.Groups {
		g := &group{}
		for _, s := range planned.Stages {
			g.stages = append(g.stages, r.plan.Stages[s].ID)
			g.kinds = append(g.kinds, r.plan.Stages[s].Kind)
		}
		r.groups[i] = g
		if planned.InHost {
			g.process = h.Local()
			continue
		}
		wait.Go(func() {
			process, err := r.bringUp(starting, h, planned, g.stages, r.reach(i, dir))
			if err != nil {
				// Nobody need wait for another process to be attached.
				failed(fault.InStage(err, g.stages[0]))
				return
			}
			g.process = process
		})
	}
	wait.Wait()
	if starting.Err() != nil {
		return context.Cause(starting)
	}
	if err := r.introduce(ctx); err != nil {
		return err
	}
	if r.record != nil {
		for i, relay := range r.record.relays {
			if err := relay.listen(relayed(dir, i+1), edge(dir, i+1)); err != nil {
				return err
			}
		}
	}
	started := Started{RunID: r.opts.ID}
	secrets := secretsOf(r.plan)
	for i := len(r.groups) - 1; i >= 0; i-- {
		if err := r.groups[i].process.Open(ctx, r.request(i, dir), secrets); err != nil {
			return fault.InStage(err, r.groups[i].stages[0])
		}
	}
	for _, g := range r.groups {
		started.Processes = append(started.Processes, ProcessInfo{Plugin: g.process.Plugin(), PID: g.process.PID(), Stages: g.stages})
	}
	r.emit(started)
	return nil
}

// request describes group i to its process.
func (r *run) request(i int, dir string) *pb.OpenRequest {
	req := &pb.OpenRequest{
		RunId: r.opts.ID,
		Dir:   dir,
		Limits: &pb.Limits{
			BudgetBytes:      shareOf(r.plan),
			Workers:          int32(runtime.GOMAXPROCS(0)),
			BatchRows:        int32(r.plan.Limits.BatchRows),
			BatchBytes:       r.plan.Limits.BatchBytes,
			StallNanoseconds: int64(stallLimit(r.plan, r.opts.Stall)),
		},
	}
	if r.plan.Groups[i].Attach {
		// Whoever debugs a stage stops in the midst of a call.
		req.Limits.StallNanoseconds = math.MaxInt64
	}
	req.Input, req.Output = r.sockets(i, dir)
	req.InputPeer, req.OutputPeer = control.PeerToProto(r.before[i]), control.PeerToProto(r.after[i])
	for _, s := range r.plan.Groups[i].Stages {
		planned := &r.plan.Stages[s]
		req.Stages = append(req.Stages, &pb.Stage{
			Id: planned.ID, Kind: string(planned.Kind), Name: planned.Name, Settings: planned.SettingsJSON(),
		})
	}
	return req
}

// watch runs all groups, commits when everything is good, and finds the cause
// when it is not.
func (r *run) watch(ctx context.Context) (*Receipt, error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	last := len(r.groups) - 1
	var wait, upstream sync.WaitGroup
	for i, g := range r.groups {
		if i < last {
			upstream.Add(1)
		}
		wait.Go(func() {
			if i < last {
				defer upstream.Done()
			}
			g.err = g.process.Start(running, func(e *pb.Event) { r.handle(i, e) })
			if g.err != nil {
				cancel(g.err)
			}
		})
	}
	if r.record != nil {
		for _, relay := range r.record.relays {
			upstream.Add(1)
			wait.Go(func() {
				defer upstream.Done()
				// What is no Arrow stream its reader refuses, and says so better.
				if err := relay.run(running); fault.Is(err, CodeRecordWrite) || fault.Is(err, runner.LinkStranger) {
					cancel(err)
				}
			})
		}
	}
	ended := make(chan struct{})
	committed := make(chan struct{})
	var delivered stage.Receipt
	var commitErr error
	go func() {
		defer close(committed)
		upstream.Wait()
		select {
		case <-r.prepared:
		case <-running.Done():
			return
		case <-ended:
			// Nothing was prepared, or nothing is left to commit to.
			if r.groups[last].err == nil {
				commitErr = fault.New("plugin.contract", fault.Plugin, "plugin %q finished without waiting for the commit",
					r.groups[last].process.Plugin())
			}
			return
		}
		for _, g := range r.groups[:last] {
			if g.err != nil {
				return
			}
		}
		if r.record != nil {
			if commitErr = r.record.finish(); commitErr != nil {
				cancel(commitErr)
				return
			}
		}
		if delivered, commitErr = r.groups[last].process.Commit(running); commitErr != nil {
			cancel(commitErr)
		}
	}()
	wait.Wait()
	close(ended)
	<-committed
	if err := r.cause(ctx, commitErr); err != nil {
		return nil, err
	}
	return r.receipt(delivered), nil
}

// cause picks the fault that explains the failure. A group that was cancelled,
// or whose neighbour went away, only echoes another group's fault.
func (r *run) cause(ctx context.Context, commitErr error) error {
	var best error
	rank := func(err error) int {
		f := fault.From(err)
		switch {
		case f == nil:
			return 0
		case f.Code == runner.UpstreamEnded || f.Code == runner.DownstreamEnded:
			return 2
		case f.Class == fault.Cancelled:
			return 1
		case f.Code == runner.LinkProtocol:
			return 3
		}
		return 4
	}
	for i, g := range r.groups {
		err := g.err
		if f := fault.From(err); f != nil && f.Stage == "" {
			// A broken process or link belongs to all of the group's stages.
			f = fault.InStage(err, joined(g.stages))
			if f.Code == runner.LinkProtocol && i > 0 {
				before := r.groups[i-1]
				f.Stage = joined(before.stages)
				f.Message = fmt.Sprintf("plugin %q broke the protocol of the data stream: %s", before.process.Plugin(), f.Message)
			}
			err = f
		}
		if rank(err) > rank(best) {
			best = err
		}
	}
	if rank(commitErr) > rank(best) {
		best = commitErr
	}
	if r.record != nil {
		for _, relay := range r.record.relays {
			if rank(relay.err) > rank(best) {
				best = relay.err
			}
		}
	}
	if best == nil {
		return nil
	}
	// The caller's own end is the cause unless something broke by itself.
	if ctx.Err() != nil && rank(best) < 3 {
		return context.Cause(ctx)
	}
	return best
}

func (r *run) handle(i int, e *pb.Event) {
	switch kind := e.Kind.(type) {
	case *pb.Event_Opened:
		opened := Opened{}
		for _, c := range kind.Opened.Columns {
			opened.Columns = append(opened.Columns, Column{Name: c.Name, Type: c.Type, Nullable: c.Nullable, SourceType: c.SourceType})
		}
		r.emit(opened)
	case *pb.Event_Progress:
		r.advance(i, kind.Progress.Rows, kind.Progress.Bytes)
	case *pb.Event_Log:
		r.emit(Log{
			Level: int(kind.Log.Level), Stage: kind.Log.Stage,
			Message: kind.Log.Message, Attributes: kind.Log.Attributes,
		})
	case *pb.Event_Prepared:
		if i == len(r.groups)-1 {
			r.mu.Lock()
			select {
			case <-r.prepared: // a plugin may say it twice
			default:
				close(r.prepared)
			}
			r.mu.Unlock()
		}
	case *pb.Event_Finished:
		r.groups[i].finished = kind.Finished
		r.advance(i, kind.Finished.Rows, kind.Finished.Bytes)
	}
}

// advance keeps the two numbers that a person wants to see: the rows of the
// first group and the bytes of the last.
func (r *run) advance(i int, rows, bytes int64) {
	r.mu.Lock()
	if i == 0 {
		r.progress.Rows = rows
	}
	if i == len(r.groups)-1 {
		r.progress.Bytes = bytes
	}
	r.progress.Elapsed = time.Since(r.began)
	p := r.progress
	r.mu.Unlock()
	r.emit(p)
}

func (r *run) emit(e Event) {
	if r.opts.Events == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts.Events(e)
}

func (r *run) close() {
	var wait sync.WaitGroup
	for _, g := range r.groups {
		if g != nil && g.process != nil {
			wait.Go(g.process.Close)
		}
	}
	wait.Wait()
}

func (r *run) receipt(delivered stage.Receipt) *Receipt {
	now := time.Now()
	receipt := &Receipt{
		RunID: r.opts.ID, Pipeline: r.plan.Name,
		StartedAt: r.began.UTC(), FinishedAt: now.UTC(), Seconds: now.Sub(r.began).Seconds(),
		Counters: map[string]int64{}, Facts: map[string]string{},
	}
	receipt.deliver(delivered)
	receipt.Link = host.NewRedaction(linkSecrets(r.plan)).Text(receipt.Link)
	encoded := false
	for i, g := range r.groups {
		f := g.finished
		if i == 0 {
			receipt.RowsRead = f.GetRows()
		}
		if f.EncodedRows != nil {
			receipt.Rows, encoded = f.GetEncodedRows(), true
		}
		for k, v := range f.GetCounters() {
			receipt.Counters[k] += v
		}
		maps.Copy(receipt.Facts, f.GetFacts())
		if m := f.GetMedia(); m.GetType() != "" {
			receipt.MediaType, receipt.ContentEncoding = m.GetType(), m.GetContentEncoding()
		}
		receipt.Processes = append(receipt.Processes, ProcessUse{
			Plugin: g.process.Plugin(), Stages: g.stages,
			CPUSeconds: float64(f.GetCpuNanoseconds()) / 1e9, PeakMemoryBytes: f.GetPeakMemoryBytes(), NotConfined: g.isolation.NotConfined(),
		})
	}
	if !encoded {
		receipt.Rows = receipt.RowsRead
	}
	receipt.Changes = r.changes(receipt.Counters)
	r.authenticate(receipt)
	return receipt
}

func joined(stages []string) string {
	if len(stages) == 1 {
		return stages[0]
	}
	return stages[0] + "…" + stages[len(stages)-1]
}

// secretsOf lists the secrets among the settings of a plan, which nobody is told of.
func secretsOf(p *plan.Plan) []string { return secretsBut(p, nil) }

// linkSecrets are those that must not be in a link either: all but the identities, which a
// signed link names.
func linkSecrets(p *plan.Plan) []string {
	identity := map[[2]string]bool{}
	for _, u := range p.Secrets {
		if u.Kind == config.SecretIdentity {
			identity[[2]string{u.Stage, u.Setting}] = true
		}
	}
	return secretsBut(p, identity)
}

// secretsBut lists the secrets of a plan without those at some places, which are a stage's
// ID and a JSON Pointer.
func secretsBut(p *plan.Plan, without map[[2]string]bool) []string {
	var list []string
	for i := range p.Stages {
		s := &p.Stages[i]
		var walk func(value any, path []string)
		walk = func(value any, path []string) {
			switch v := value.(type) {
			case map[string]any:
				for name, e := range v {
					walk(e, append(slices.Clone(path), name))
				}
			case []any:
				for i, e := range v {
					walk(e, append(slices.Clone(path), strconv.Itoa(i)))
				}
			case config.Secret:
				if !without[[2]string{s.ID, plan.Pointer(path)}] {
					list = append(list, v.Reveal())
				}
			}
		}
		walk(s.Config, nil)
	}
	return list
}
