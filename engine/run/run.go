// Package run executes a plan: it starts the plan's process groups, connects them by unix sockets, watches them,
// decides whether the output becomes visible, and makes the receipt. It owns the outcome of a run and its events. It
// never reads a document (engine/plan does), and never looks at data: a Tap, such as a recording (engine/record), gets
// the connections between the groups for that.
//
// The output is committed only after every group has finished well and the sink has received everything. When a part
// fails all others are cancelled. The run's fault is then the cause, and not what the others report because of it.
//
// # The end of a run
//
// The last stage is a sink with two phases (stage.Sink, or stage.TableSink, which takes rows): one of a plugin, or one
// that the caller hands over in Options.Sink and that lives in the caller's process. The caller's is a group like any
// other, of one stage, whose process is this one: it reads the data socket of the group before it, without copies, and
// is given the same order of calls, the same budget and the same recovery from panics as a plugin's. Where that group
// is in this process already (plan.IsolationNone), the sink joins it, and no socket is between them. A file or an
// object that needs no byte here stays a plugin's sink, and costs no hop.
//
// For both kinds Options.BeforeCommit, the caller's gate, stands before Commit: after it nothing but Commit
// happens, and when it refuses, the sink is aborted. A Commit that has begun is waited for, whatever ends the run
// meanwhile, because what it made visible is there: its receipt is then the run's, and not the cancellation.
// A sink that was opened hears Commit, Abort, or both (after a Commit that failed), and none that was not.
//
// # What is left behind
//
// A stage announces what it begins outside of its process (stage.Env.Announce) before it begins it. When a run fails
// and something announced was not released, because its process has died or could not end it, a fresh process of the
// same plugin is asked to undo it; so is what the runs of a host have announced that has died itself, by the next run
// to the same place. What cannot be undone the fault names.
package run

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/link"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Options are what a run needs beside its plan.
type Options struct {
	// ID identifies the run; see NewID. It is safe in a file name.
	ID string
	// Events receives the run's events, one at a time and in order, from a goroutine of its own: a function that is
	// slow holds nothing up, but Execute returns after the last event. Of progress that waits only the newest is kept.
	// It may be nil.
	Events func(Event)
	// Stall is how long one call of a stage may take, where the plan does not say it. Zero means the runner's default.
	Stall time.Duration
	// Sink is where the output goes when the plan ends at the caller, and nil when it does not: a stage.Sink, or a
	// stage.TableSink where the plan's last stage takes a table. It is not called any
	// more when Execute has returned, but for a call that did not heed the end of its context.
	Sink stage.Outcome
	// BeforeCommit, if set, is asked before the output is committed, whoever's the sink is. It is shown the
	// receipt so far, in which only what the sink alone knows is missing: digest, location and link. An error
	// leaves nothing; it is found with errors.Is in that of the run. It should return soon after its context has ended.
	BeforeCommit func(ctx context.Context, soFar *Receipt) error
	// Tap, if set, is connected between every two groups and passes the data on; default none.
	Tap Tap
}

// Host is where the processes of a run come from. *host.Host is one; package runtest has one without processes.
type Host interface {
	// Start starts a process of a plugin, which may see some folders besides its own.
	Start(ctx context.Context, plugin string, reach ...host.Reach) (host.Process, error)
	// StartOwn is Start, but never returns a process from the pool.
	StartOwn(ctx context.Context, plugin string, reach ...host.Reach) (host.Process, error)
	// Attach waits for a process of a plugin that the host does not start.
	Attach(ctx context.Context, plugin string, waiting func(host.Awaited)) (host.Process, error)
	// Local serves the stages of this program, and some more, in this process.
	Local(added ...stage.Definition) host.Process
	// Footprint is what a process takes, in bytes, that may have so many in flight.
	Footprint(inFlight int64) int64
	// NewDir makes a private directory, whose path is short enough for sockets.
	NewDir() (string, error)
	// Keep writes what a stage begins to a journal that outlives this process; forget removes it. Leftovers calls visit
	// with what is in the journals of hosts that have died, and removes what visit says is over.
	Keep(host.Leftover) (forget func(), err error)
	Leftovers(visit func([]host.Leftover) (over []bool))
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
	relays []*relay    // one for each boundary where there is a tap
	notary *notary     // nil when nothing is sealed
	sink   *callerSink // nil when the sink is a plugin's
	// fresh is true when no process may come from the pool.
	fresh bool
	// before and after are the processes that are expected at the input and the output of each group.
	before, after []peer.Expected

	events *queue
	ledger ledger

	mu       sync.Mutex // guards what follows
	progress Progress
	prepared chan struct{}
}

// group is one process group.
type group struct {
	process host.Process
	stages  []string
	kinds   []stage.Kind
	// prepared is the account of a sink's group that waits for Commit, and streams what it says of its sink;
	// finished is the account at the end, whether the group has done well or not.
	prepared, finished *pb.Finished
	streams            bool
	err                error
	// rows and bytes are what the group has said of its progress.
	rows, bytes int64
	// isolation is how a third-party process is kept apart.
	isolation host.Isolation
}

// Execute runs the plan to its end. It returns the receipt, and, if the run has failed, its fault: the receipt then
// says what was done until that. Nothing is left behind in either case, but for what the fault names.
func Execute(ctx context.Context, h Host, p *plan.Plan, opts Options) (*Receipt, error) {
	r := &run{plan: p, opts: opts, began: time.Now(), prepared: make(chan struct{}), events: newQueue(opts.Events)}
	defer r.events.close()
	r.undoLeftovers(ctx, h)
	receipt, err := r.execute(ctx, h)
	err = r.undo(ctx, h, coded(ctx, r.sink.restore(err)))
	ended := Ended{Receipt: receipt}
	if err != nil {
		receipt = r.account(true)
		ended = Ended{Receipt: receipt, Fault: fault.From(err)}
		err = ended.Fault
	}
	r.emit(ended)
	return receipt, err
}

func (r *run) execute(ctx context.Context, h Host) (*Receipt, error) {
	if s := r.plan.Limits.TimeoutSeconds; s > 0 && !r.debugged() {
		limit := time.Duration(s * float64(time.Second))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fault.New(codeTimeout, fault.Cancelled,
			"the run took longer than its time limit of %s", limit).WithHint("raise the limit (--timeout, or limits.timeout of the pipeline), or ask for less"))
		defer cancel()
	}
	err := r.checkSink()
	if err == nil {
		err = checkKept(h, r.plan)
	}
	if err != nil {
		return nil, err
	}
	if r.notary, err = newNotary(r.plan); err != nil {
		return nil, err
	}
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer r.close()
	if r.opts.Tap != nil {
		if err = r.opts.Tap.Begin(r.plan, r.opts.ID, r.began); err != nil {
			return nil, err
		}
		defer func() { r.opts.Tap.End(err) }()
		for n := 1; n < len(r.plan.Groups); n++ {
			r.relays = append(r.relays, &relay{tap: r.opts.Tap, boundary: n})
		}
	}
	if err = r.start(ctx, h, dir); host.IsUnused(err) {
		err = r.startAgain(ctx, h, dir)
	}
	if err != nil {
		return nil, err
	}
	receipt, err := r.watch(ctx, h, dir)
	return receipt, err
}

// start brings up a process for every group at once, then opens them from the
// sink to the source, so that every socket has its listener before its writer.
func (r *run) start(ctx context.Context, h Host, dir string) error {
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
			g.process = h.Local(r.callerStages(planned)...)
			continue
		}
		wait.Go(func() {
			process, err := r.startProcess(starting, h, planned, g.stages, r.reach(i, dir))
			if err != nil {
				// Otherwise the run would wait for another process to be attached, in vain.
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
	for _, relay := range r.relays {
		var err error
		if relay.listener, err = link.Listen(link.RelaySocket(dir, relay.boundary)); err != nil {
			return err
		}
	}
	started := Started{RunID: r.opts.ID}
	secrets := r.plan.SecretTexts()
	for i := len(r.groups) - 1; i >= 0; i-- {
		if err := r.groups[i].process.Open(ctx, r.request(i, dir), secrets); err != nil {
			return fault.InStage(err, r.groups[i].stages[0])
		}
	}
	for i, g := range r.groups {
		if r.plan.OnlyCaller(r.plan.Groups[i]) {
			continue
		}
		started.Processes = append(started.Processes,
			ProcessInfo{Plugin: g.process.Plugin(), PID: g.process.PID(), Stages: g.stages})
	}
	r.emit(started)
	return nil
}

// request describes group i to its process.
func (r *run) request(i int, dir string) *pb.OpenRequest {
	req := &pb.OpenRequest{
		RunId:       r.opts.ID,
		Traceparent: r.plan.Traceparent,
		Dir:         dir,
		Limits: &pb.Limits{
			BudgetBytes:      shareOf(r.plan, i),
			Workers:          int32(runtime.GOMAXPROCS(0)),
			BatchRows:        int32(r.plan.Limits.BatchRows),
			BatchBytes:       r.plan.Limits.BatchBytes,
			StallNanoseconds: int64(stallLimit(r.plan, r.opts.Stall)),
		},
	}
	if r.plan.Groups[i].Attach {
		// A debugger stops a stage within a call.
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

// watch runs all groups. When all are well it commits the output, and otherwise it finds the cause of the failure.
func (r *run) watch(ctx context.Context, h Host, dir string) (*Receipt, error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type news struct {
		what happening
		err  error
	}
	heard := make(chan news)
	last := len(r.groups) - 1
	for i, g := range r.groups {
		ended := upstreamEnded
		if i == last {
			ended = sinkEnded
		}
		go func() {
			g.err = g.process.Start(running, func(e *pb.Event) { r.handle(h, i, e) })
			heard <- news{ended, g.err}
		}()
	}
	for _, relay := range r.relays {
		go func() {
			relay.run(running, dir)
			heard <- news{upstreamEnded, relay.fatal()}
		}()
	}
	var delivered stage.Receipt
	var refused, commitErr error
	done := ctx.Done()
	o := outcome{state: flowing, upstream: last + len(r.relays)}
	for prepared := r.prepared; !o.over(); {
		var n news
		select {
		case n = <-heard:
		case <-prepared:
			n.what, prepared = sinkReady, nil
		case <-done:
			n.what, done = callerLeft, nil
		}
		if n.what == sinkEnded && n.err == nil && o.state == flowing {
			n.err = fault.New("plugin.contract", fault.Plugin, "plugin %q finished without waiting for the commit",
				r.groups[last].process.Plugin())
			commitErr = n.err
		}
		switch o.tell(n.what, n.err) {
		case cancelRest:
			cancel(n.err)
		case closeRun:
			go func() {
				delivered, refused, commitErr = r.closing(running)
				heard <- news{commitEnded, cmp.Or(refused, commitErr)}
			}()
		}
	}
	if refused != nil {
		return nil, refused
	}
	if err := r.cause(ctx, commitErr); err != nil {
		return nil, err
	}
	return r.receipt(delivered), nil
}

// closing is what stands between the last byte and the end of the run.
func (r *run) closing(ctx context.Context) (delivered stage.Receipt, refused, failed error) {
	if failed = r.rowsKept(); failed != nil {
		return delivered, nil, failed
	}
	if failed = r.completeTap(); failed != nil {
		return delivered, nil, failed
	}
	if refused = r.permit(ctx); refused != nil {
		return delivered, refused, nil
	}
	delivered, failed = r.groups[len(r.groups)-1].process.Commit(ctx)
	return delivered, nil, failed
}

// cause picks the fault that explains the failure; nil when there was none.
func (r *run) cause(ctx context.Context, commitErr error) error {
	var ended []error
	for i, g := range r.groups {
		err := g.err
		if f := fault.From(err); f != nil && f.Stage == "" {
			// A process or a link that broke names no stage, so all stages of the group are named.
			f = fault.InStage(err, joined(g.stages))
			var blamed *group // the neighbour that the fault tells of
			switch {
			case f.Code == runner.LinkProtocol && i > 0:
				blamed = r.groups[i-1]
			case f.Code == runner.LinkEarlyEnd && i+1 < len(r.groups):
				blamed = r.groups[i+1]
			}
			if blamed != nil {
				f.Stage = joined(blamed.stages)
				f.Message = fmt.Sprintf("plugin %q broke the protocol of the data stream: %s", blamed.process.Plugin(),
					f.Message)
			}
			err = f
		}
		ended = append(ended, err)
	}
	ended = append(ended, commitErr)
	for _, relay := range r.relays {
		ended = append(ended, relay.err)
	}
	return causeOf(ctx, ended)
}

func (r *run) handle(h Host, i int, e *pb.Event) {
	if e.Account != nil {
		r.conclude(i, e.Account)
	}
	switch kind := e.Kind.(type) {
	case *pb.Event_Announced:
		r.announced(h, i, kind.Announced)
	case *pb.Event_Released:
		r.ledger.release(i, kind.Released.GetId())
	case *pb.Event_Opened:
		opened := Opened{EstimatedRows: max(kind.Opened.GetEstimatedRows(), 0)}
		for _, c := range kind.Opened.Columns {
			opened.Columns = append(opened.Columns,
				Column{Name: c.Name, Type: c.Type, Nullable: c.Nullable, SourceType: c.SourceType})
		}
		r.emit(opened)
	case *pb.Event_Progress:
		r.advance(i, kind.Progress)
	case *pb.Event_Checkpoint:
		if i == 0 {
			r.emit(Checkpoint{Position: kind.Checkpoint.GetPosition(), Rows: kind.Checkpoint.GetRows()})
		}
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
				r.groups[i].prepared, r.groups[i].streams = kind.Prepared.GetAccount(), kind.Prepared.GetStreams()
				close(r.prepared)
			}
			r.mu.Unlock()
		}
	case *pb.Event_Finished:
		r.conclude(i, kind.Finished)
	}
}

// conclude notes the account that a group gives at its end.
func (r *run) conclude(i int, account *pb.Finished) {
	r.mu.Lock()
	first := r.groups[i].finished == nil // a plugin may say it twice
	r.groups[i].finished = account
	r.mu.Unlock()
	r.advance(i, account)
	if first {
		r.emit(StagesEnded{Stages: r.groups[i].stages, Rows: account.GetRows(), Bytes: account.GetBytes(),
			EncodedRows: account.GetEncodedRows(), EncodedBytes: account.GetEncodedBytes()})
	}
}

// totals are the counts that a group reports while it runs and at its end.
type totals interface {
	GetRows() int64
	GetBytes() int64
	GetEncodedRows() int64
	GetEncodedBytes() int64
}

// advance updates the progress of the run: the rows of the first group, the bytes of the last one, and the rows and
// bytes of the encoder.
func (r *run) advance(i int, t totals) {
	rows, bytes := t.GetRows(), t.GetBytes()
	r.mu.Lock()
	r.groups[i].rows, r.groups[i].bytes = rows, bytes
	if i == 0 {
		r.progress.Rows = rows
	}
	if i == len(r.groups)-1 {
		r.progress.Bytes = bytes
	}
	r.progress.EncodedRows = max(r.progress.EncodedRows, t.GetEncodedRows())
	r.progress.EncodedBytes = max(r.progress.EncodedBytes, t.GetEncodedBytes())
	r.progress.Elapsed = time.Since(r.began)
	r.emit(r.progress) // under the lock: totals never fall
	r.mu.Unlock()
}

func (r *run) emit(e Event) { r.events.put(e) }

func (r *run) close() {
	var wait sync.WaitGroup
	for _, g := range r.groups {
		if g != nil && g.process != nil {
			wait.Go(g.process.Close)
		}
	}
	for _, relay := range r.relays {
		relay.close()
	}
	wait.Wait()
}

// receipt makes the receipt of a run that has succeeded.
func (r *run) receipt(delivered stage.Receipt) *Receipt {
	receipt := r.account(false)
	receipt.deliver(delivered)
	receipt.Link = host.NewRedaction(linkSecrets(r.plan)).Text(receipt.Link)
	r.authenticate(receipt)
	return receipt
}

// account is what a group has reported last: its account at the end, or its progress if it died before that.
func (g *group) account() *pb.Finished {
	switch {
	case g.finished != nil:
		return g.finished
	case g.prepared != nil:
		return g.prepared
	}
	return &pb.Finished{Rows: g.rows, Bytes: g.bytes}
}

// account makes a receipt of what the groups have reported, at the end of a run or before. If the run has failed, some
// of it may be missing.
func (r *run) account(failed bool) *Receipt {
	now := time.Now()
	receipt := &Receipt{
		RunID: r.opts.ID, Pipeline: r.plan.Name,
		StartedAt: r.began.UTC(), FinishedAt: now.UTC(), Seconds: now.Sub(r.began).Seconds(),
		Counters: map[string]int64{}, Facts: map[string]string{},
	}
	// Without an encoder, the rows of the output are those that were read.
	encoded := failed && slices.ContainsFunc(r.plan.Stages,
		func(s plan.Stage) bool { return s.Kind == stage.KindEncoder })
	for i, g := range r.groups {
		if g == nil || g.process == nil {
			continue // it did not start
		}
		r.mu.Lock()
		f, streams := g.account(), g.streams
		r.mu.Unlock()
		if i == 0 {
			receipt.RowsRead = f.GetRows()
		}
		if i == len(r.groups)-1 {
			receipt.Bytes, receipt.Streamed = f.GetBytes(), streams
		}
		if f.EncodedRows != nil {
			receipt.Rows, encoded = f.GetEncodedRows(), true
		}
		receipt.EncodedBytes += f.GetEncodedBytes()
		for k, v := range f.GetCounters() {
			receipt.Counters[k] += v
		}
		maps.Copy(receipt.Facts, f.GetFacts())
		if m := f.GetMedia(); m.GetType() != "" {
			receipt.MediaType, receipt.ContentEncoding = m.GetType(), m.GetContentEncoding()
		}
		if r.plan.OnlyCaller(r.plan.Groups[i]) {
			continue
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
	return receipt
}

func joined(stages []string) string {
	if len(stages) == 1 {
		return stages[0]
	}
	return stages[0] + "…" + stages[len(stages)-1]
}

// linkSecrets are the secrets that must not be in a link either: all but the identities, which a
// signed link names.
func linkSecrets(p *plan.Plan) []string {
	identity := map[[2]string]bool{}
	for _, u := range p.Secrets {
		if u.Kind == config.SecretIdentity {
			identity[[2]string{u.Stage, u.Setting}] = true
		}
	}
	var list []string
	for i := range p.Stages {
		s := &p.Stages[i]
		for place, secret := range s.Secrets() {
			if !identity[[2]string{s.ID, place}] {
				list = append(list, secret.Reveal())
			}
		}
	}
	return list
}
