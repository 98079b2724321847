package run

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Codes of the end of a run.
const (
	// CodeSink is the code of a run whose plan needs another kind of sink than Options.Sink, or none.
	CodeSink = "run.sink"
	// CodeSinkFailed is the code of an error of the caller's sink that has none of its own.
	CodeSinkFailed = "sink.failed"
	// CodeRefused is the code of a commit that the caller's gate has refused with an error that has none.
	CodeRefused = "run.refused"
)

// checkSink checks that the caller has given the sink that the end of the plan needs.
func (r *run) checkSink() error {
	switch ends := r.plan.EndsAtCaller(); {
	case ends && r.opts.Sink == nil:
		return fault.New(CodeSink, fault.Internal, "the plan of pipeline %q ends at the caller, who has given no sink",
			r.plan.Name)
	case !ends && r.opts.Sink != nil:
		return fault.New(CodeSink, fault.Internal,
			"the plan of pipeline %q ends in a sink of its own, and the caller has given another", r.plan.Name).
			WithHint("plan it so that it ends at the caller")
	case !ends:
		return nil
	}
	r.sink = &callerSink{sink: r.opts.Sink}
	_, bytes := r.opts.Sink.(stage.Sink)
	_, table := r.opts.Sink.(stage.TableSink)
	takes := r.plan.Stages[len(r.plan.Stages)-1].In
	if takes == stage.ShapeTable && !table || takes != stage.ShapeTable && !bytes {
		return fault.New(CodeSink, fault.Internal, "the plan of pipeline %q ends at a caller's sink that takes %s, and a %T does not", r.plan.Name, takes, r.opts.Sink).
			WithHint("give a stage.Sink for bytes, and a stage.TableSink for a table")
	}
	return nil
}

// atCaller reports whether a stage is the caller's sink.
func (r *run) atCaller(i int) bool { return r.plan.Stages[i].Caller }

// callerStages are the stages that this run adds to those of the program: the caller's sink, in the group that has it.
func (r *run) callerStages(g plan.Group) []stage.Definition {
	if !slices.ContainsFunc(g.Stages, r.atCaller) {
		return nil
	}
	about := stage.About{Name: plan.CallerSink}
	if table, ok := r.opts.Sink.(stage.TableSink); ok {
		made := callerTable{r.sink, table}
		return []stage.Definition{stage.DefineTableSink(about, func(struct{}, stage.Env) (stage.TableSink, error) { return made, nil })}
	}
	made := callerBytes{r.sink, r.opts.Sink.(stage.Sink)}
	return []stage.Definition{stage.DefineSink(about, func(struct{}, stage.Env) (stage.Sink, error) { return made, nil })}
}

// callerBytes and callerTable are the caller's sink with coded errors.
type callerBytes struct {
	*callerSink
	sink stage.Sink
}

func (c callerBytes) Open(ctx context.Context, o stage.Object) error {
	return c.code("Open", c.sink.Open(ctx, o))
}

func (c callerBytes) Write(ctx context.Context, p []byte) error {
	return c.code("Write", c.sink.Write(ctx, p))
}

type callerTable struct {
	*callerSink
	sink stage.TableSink
}

func (c callerTable) Open(ctx context.Context, t stage.Table) error {
	return c.code("Open", c.sink.Open(ctx, t))
}

func (c callerTable) Write(ctx context.Context, rows stage.Rows) error {
	return c.code("Write", c.sink.Write(ctx, rows))
}

// callerSink is the common part of both. It remembers the first error of the caller's sink itself: the group reports a
// fault made of it, in which the caller would not find its own error again.
type callerSink struct {
	sink stage.Outcome

	mu    sync.Mutex
	first *fault.Fault
}

func (c *callerSink) Commit(ctx context.Context) (stage.Receipt, error) {
	receipt, err := c.sink.Commit(ctx)
	return receipt, c.code("Commit", err)
}

func (c *callerSink) Abort(ctx context.Context) error { return c.code("Abort", c.sink.Abort(ctx)) }

func (c *callerSink) Streams() bool {
	s, ok := c.sink.(stage.Streamer)
	return ok && s.Streams()
}

func (c *callerSink) code(method string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var f *fault.Fault
	if !errors.As(err, &f) {
		f = fault.New(CodeSinkFailed, fault.Sink, "%s of the caller's sink failed: %w", method, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = f
	}
	return f
}

// restore gives a fault of the caller's sink its cause again, so that the caller finds its own error in it.
func (c *callerSink) restore(err error) error {
	f := fault.From(err)
	if c == nil || f == nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil || c.first.Code != f.Code {
		return err
	}
	whole := *c.first
	whole.Message, whole.Hint, whole.Details, whole.Stage = f.Message, f.Hint, f.Details, f.Stage
	return &whole
}

// permit calls the caller's gate, Options.BeforeCommit.
func (r *run) permit(ctx context.Context) (err error) {
	if r.opts.BeforeCommit == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			r.emit(Log{Level: int(slog.LevelError), Message: "the gate before the commit panicked", Attributes: map[string]string{"stack": string(debug.Stack())}})
			err = fault.New(CodeRefused, fault.Internal, "the gate before the commit panicked with %T", v)
		}
	}()
	err = r.opts.BeforeCommit(ctx, r.account(false))
	var f *fault.Fault
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return context.Cause(ctx)
	}
	return fault.New(CodeRefused, fault.Cancelled, "the caller refused to commit the run: %w", err)
}
