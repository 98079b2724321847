// Package runner executes a group of neighbouring stages in one process: it
// feeds batches from the group's source or input socket through its stages on
// all cores, puts the results back in order, and hands them to the group's sink
// or output socket. It owns concurrency, ordering, the byte budget and
// cancellation inside a process; it never starts processes (engine/host) and
// never decides whether a run's result becomes visible (engine/run).
//
// The life of a group is Open, Run, then Commit or Abort.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Defaults of Config.
const (
	DefaultBatchRows  = 8192
	DefaultBatchBytes = 4 << 20
	DefaultBudget     = 32 << 20
	DefaultStall      = 10 * time.Second
)

// batchOfLines is DefaultBatchRows where the source's batches become lines in the same
// process: nobody gains from larger ones, and three or four are in flight. Twice the rows
// take a MiB more, and as much CPU. It is a multiple of morselLines, so that the lines are
// worked on in the same portions wherever their source is.
const batchOfLines = DefaultBatchRows / 4

// Stage is one stage of a group.
type Stage struct {
	// ID names the stage in messages: "source", "filter-2".
	ID string
	// Definition is how to make it.
	Definition stage.Definition
	// Settings is a JSON object.
	Settings []byte
}

// Config describes a group.
type Config struct {
	RunID  string
	Stages []Stage
	// Traceparent is the trace context that stages are given; empty when there is none.
	Traceparent string
	// Input is the path of the unix socket to listen on; empty when the first
	// stage is a source. Output is the path of the one to connect to; empty when
	// the last stage is a sink.
	Input, Output string
	// InputPeer is who connects to Input, and OutputPeer who listens at Output.
	InputPeer, OutputPeer peer.Expected
	// BudgetBytes bounds the data in flight. One batch is always let through,
	// whatever its size.
	BudgetBytes int64
	// Workers is how many batches are worked on at once; default all cores.
	Workers int
	// BatchRows and BatchBytes are what sources aim at.
	BatchRows, BatchBytes int
	// Stall is the longest that one call of a stage that neither reads nor writes
	// may take before the group fails with "plugin.stalled"; a batch of more than 16 MiB
	// has longer, by its size. Only time counts in which this process runs.
	Stall time.Duration
	// Dir is a private directory.
	Dir string
	// Log receives what stages log.
	Log *slog.Logger
	// Opened, if set, is called with the source's schema, and about how many rows it has; 0 is unknown.
	Opened func(schema *arrow.Schema, estimatedRows int64)
	// Announce, if set, is what stages announce to; see stage.Env.
	Announce func(ctx context.Context, stage string, r stage.Resource) (release func(), err error)
}

// Result is the account of a group that has run.
type Result struct {
	// Rows is the number of rows that entered the group; for a group after the
	// encoder it counts what its input counts: records, or pieces.
	Rows int64
	// Encodes is true when the group has an encoder or a sink of rows, and EncodedRows is
	// how many rows that was given.
	Encodes     bool
	EncodedRows int64
	// EncodedBytes is what the group's encoder made, before it was compressed or sealed.
	EncodedBytes int64
	// Bytes is what left the last stage; none leaves a sink of rows.
	Bytes int64
	// Counters are the stages' own, by "STAGE.NAME".
	Counters map[string]int64
	// Facts are the stages' own, by "STAGE.NAME".
	Facts map[string]string
	// Media is what the last byte-producing stage of the group makes.
	Media stage.Media
	// Streams is true when what the group's sink writes is seen as it comes.
	Streams bool
}

// Group is a group of stages in this process.
type Group struct {
	cfg      Config
	built    []built
	listener *net.UnixListener

	rows, bytes  atomic.Int64
	encodedBytes atomic.Int64
	checkpoint   atomic.Pointer[Checkpoint]
	watch        *watchdog

	mu       sync.Mutex
	counters map[string]int64
	facts    map[string]string
	media    stage.Media
	encodes  bool
	encoded  int64
	sink     stage.Outcome
	sinkOpen bool
	streams  bool
	ended    bool
}

// built is a stage that was made.
type built struct {
	Stage
	instance any
}

// Open makes the stages and, when the group has an input, listens for it. It
// reads and writes nothing yet.
func Open(cfg Config) (*Group, error) {
	if cfg.BudgetBytes <= 0 {
		cfg.BudgetBytes = DefaultBudget
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.BatchRows <= 0 {
		cfg.BatchRows = DefaultBatchRows
		for _, s := range cfg.Stages {
			if s.Definition.Kind == stage.KindEncoder && s.Definition.Out == stage.ShapeRecords {
				cfg.BatchRows = batchOfLines
			}
		}
	}
	if cfg.BatchBytes <= 0 {
		cfg.BatchBytes = DefaultBatchBytes
	}
	if cfg.Stall <= 0 {
		cfg.Stall = DefaultStall
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Group{cfg: cfg, counters: map[string]int64{}, facts: map[string]string{}}
	for _, s := range cfg.Stages {
		instance, err := g.build(s)
		if err != nil {
			return nil, fault.InStage(err, s.ID)
		}
		g.built = append(g.built, built{s, instance})
	}
	if err := g.checkEnds(); err != nil {
		return nil, err
	}
	g.watch = newWatchdog(g.built, cfg.Workers, cfg.Stall)
	if cfg.Input != "" {
		l, err := listen(cfg.Input)
		if err != nil {
			return nil, err
		}
		g.listener = l
	}
	return g, nil
}

func (g *Group) build(s Stage) (instance any, err error) {
	defer recoverPanic(&err, g.cfg.Log)
	instance, err = s.Definition.Make(s.Settings, stage.Env{
		Log:        g.cfg.Log.With("stage", s.ID),
		Memory:     memory.DefaultAllocator,
		BatchRows:  g.cfg.BatchRows,
		BatchBytes: g.cfg.BatchBytes,
		Count: func(name string, n int64) {
			g.mu.Lock()
			g.counters[s.ID+"."+name] += n
			g.mu.Unlock()
		},
		Fact: func(name, value string) {
			g.mu.Lock()
			g.facts[s.ID+"."+name] = strings.ToValidUTF8(value[:min(len(value), longestFact)], "")
			g.mu.Unlock()
		},
		Announce: func(ctx context.Context, r stage.Resource) (func(), error) {
			if g.cfg.Announce == nil {
				return func() {}, nil
			}
			return g.cfg.Announce(ctx, s.ID, r)
		},
		Dir:         g.cfg.Dir,
		Traceparent: g.cfg.Traceparent,
	})
	var f *fault.Fault
	if err != nil && !errors.As(err, &f) {
		err = fault.New("config.invalid", fault.Usage, "%w", err)
	}
	return instance, err
}

func (g *Group) checkEnds() error {
	if len(g.built) == 0 {
		return fault.New("internal", fault.Internal, "a group needs at least one stage")
	}
	first, last := g.built[0].Definition.Kind, g.built[len(g.built)-1].Definition.Kind
	if (first == stage.KindSource) != (g.cfg.Input == "") || (last == stage.KindSink) != (g.cfg.Output == "") {
		return fault.New("internal", fault.Internal,
			"a group from %s to %s does not fit input %q and output %q", first, last, g.cfg.Input, g.cfg.Output)
	}
	for i, b := range g.built {
		if b.Definition.Kind == stage.KindSource && i > 0 || b.Definition.Kind == stage.KindSink && i < len(g.built)-1 {
			return fault.New("internal", fault.Internal, "stage %q (%s) stands in the middle of a group", b.ID,
				b.Definition.Kind)
		}
	}
	return nil
}

// Run moves all data. When it returns nil, every byte has reached the next
// group, with its end-of-stream, or the sink, which then waits for Commit. On an
// error the output carries no end-of-stream, and the caller calls Abort. A stage
// that ignores the end of its context is left behind after two seconds.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &flow{
		group:  g,
		budget: newBudget(g.cfg.BudgetBytes),
		free:   make(chan *stage.Output, 8*g.cfg.Workers),
		cancel: cancel,
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		g.watch.run(ctx, f.fail)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.fail(f.run(ctx))
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		f.fail(context.Cause(ctx))
		select {
		case <-ended:
		case <-time.After(stopGrace):
			// A stage does not come back. Its goroutine is lost; the process that it
			// is in ends soon.
		}
	}
	cancel(nil)
	<-watched
	return f.cause()
}

// longestFact bounds the text of a fact, in bytes.
const longestFact = 1000

// stopGrace is how long a group that has failed waits for calls of its stages.
const stopGrace = 2 * time.Second

// Commit makes the sink's output visible and returns its receipt.
func (g *Group) Commit(ctx context.Context) (receipt stage.Receipt, err error) {
	if g.sink == nil || !g.sinkOpen || g.ended {
		return receipt, fault.New("internal", fault.Internal, "there is nothing to commit in this group")
	}
	defer g.inSink(&err)
	defer recoverPanic(&err, g.cfg.Log)
	receipt, err = g.sink.Commit(ctx)
	g.ended = err == nil
	return receipt, err
}

// Abort ends a group that did not commit: the sink removes its traces, the
// listener is closed. It may be called at any time after Run has returned, and
// more than once.
func (g *Group) Abort(ctx context.Context) (err error) {
	if g.listener != nil {
		g.listener.Close()
	}
	if g.sinkOpen && !g.ended {
		g.ended = true
		defer g.inSink(&err)
		defer recoverPanic(&err, g.cfg.Log)
		return g.sink.Abort(ctx)
	}
	return nil
}

// inSink names the group's last stage in what went wrong.
func (g *Group) inSink(err *error) {
	if *err != nil {
		*err = fault.InStage(*err, g.built[len(g.built)-1].ID)
	}
}

// Checkpoint is how far a source has come; see stage.Checkpointer.
type Checkpoint struct {
	Position string
	// Rows is how many rows it had delivered by then.
	Rows int64
}

// TakeCheckpoint returns the newest checkpoint of the group's source that was not taken yet.
func (g *Group) TakeCheckpoint() (c Checkpoint, is bool) {
	if newest := g.checkpoint.Swap(nil); newest != nil {
		return *newest, true
	}
	return c, false
}

// Result returns the group's account, so far or at its end.
func (g *Group) Result() Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	counters := make(map[string]int64, len(g.counters))
	for k, v := range g.counters {
		counters[k] = v
	}
	return Result{
		Rows: g.rows.Load(), Bytes: g.bytes.Load(), Counters: counters, Facts: maps.Clone(g.facts), Media: g.media,
		Encodes: g.encodes, EncodedRows: g.encoded, EncodedBytes: g.encodedBytes.Load(), Streams: g.streams,
	}
}

// recoverPanic turns a stage's panic into a fault. A panic's value may hold row
// data, so only runtime errors are quoted; the stack goes to the log.
func recoverPanic(err *error, log *slog.Logger) {
	v := recover()
	if v == nil {
		return
	}
	what := fmt.Sprintf("a value of type %T", v)
	if re, ok := v.(runtime.Error); ok {
		what = re.Error()
	}
	stack := make([]byte, 16<<10)
	stack = stack[:runtime.Stack(stack, false)]
	log.Error("panic", "what", what, "stack", string(stack))
	*err = fault.New("plugin.panic", fault.Plugin, "the stage panicked: %s%s", what, at(placeOfPanic(stack))).
		WithHint("this is a defect of the stage; its log holds the stack")
}
