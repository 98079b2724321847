package runner_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// large is a source of batches of which each is many times what the workers have at hand.
type large struct {
	memory  memory.Allocator
	left    int
	failure error
	asked   chan struct{} // closed when the second batch is asked for
}

const largeRows = 64 << 10

var largeSchema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)

func (l *large) Open(context.Context) (*arrow.Schema, error) { return largeSchema, nil }
func (l *large) Close() error                                { return nil }

func (l *large) Next(context.Context) (arrow.Record, error) {
	if l.left--; l.left == 0 {
		close(l.asked)
	}
	if l.left < 0 && l.failure != nil {
		return nil, l.failure
	}
	if l.left < 0 {
		return nil, io.EOF
	}
	b := array.NewRecordBuilder(l.memory, largeSchema)
	defer b.Release()
	for n := range int64(largeRows) {
		b.Field(0).(*array.Int64Builder).Append(n)
	}
	return b.NewRecord(), nil
}

// patient is an encoder that waits in its first call until a channel is closed.
type patient struct{ asked <-chan struct{} }

func (p patient) Bind(*arrow.Schema) (stage.Media, error) {
	return stage.Media{Type: "text/plain"}, nil
}
func (p patient) Begin(*stage.Output) error             { return nil }
func (p patient) End(stage.Totals, *stage.Output) error { return nil }
func (p patient) Encode(ctx context.Context, rows stage.Rows, out *stage.Output) error {
	select {
	case <-p.asked:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for range rows.Record.NumRows() {
		out.Data = append(out.Data, '\n')
		out.EndRecord()
	}
	return nil
}

// counting is a sink that counts lines.
type counting struct{ lines *int }

func (c counting) Open(context.Context, stage.Object) error { return nil }
func (c counting) Write(_ context.Context, p []byte) error  { *c.lines += len(p); return nil }
func (c counting) Abort(context.Context) error              { return nil }
func (c counting) Commit(context.Context) (stage.Receipt, error) {
	return stage.Receipt{Bytes: int64(*c.lines)}, nil
}

// TestReadAhead: the next batch is read while no row of the one before is through the encoder. Its rows, or the failure in its
// place, come behind those, and a run that is cancelled meanwhile ends.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	refused := fault.New("source.refused", fault.Source, "no more")
	for _, c := range []struct {
		name    string
		failure error // of the third batch
		cancel  bool
		lines   int
		code    string
	}{
		{"to the end", nil, false, 2 * largeRows, ""},
		{"a failure behind", refused, false, 2 * largeRows, "source.refused"},
		{"cancelled", nil, true, 0, "run.over"},
	} {
		for _, workers := range []int{1, 3} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					checked := memory.NewCheckedAllocator(memory.NewGoAllocator())
					if c.code == "" { // what fails is not given back: its process ends
						defer checked.AssertSize(t, 0)
					}
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					asked, lines := make(chan struct{}), 0
					source := &large{memory: checked, left: 2, failure: c.failure, asked: asked}
					var waits <-chan struct{} = asked
					if c.cancel {
						waits = nil
						go func() {
							<-asked
							synctest.Wait()
							cancel(fault.New("run.over", fault.Cancelled, "enough"))
						}()
					}
					group, err := runner.Open(runner.Config{RunID: "run", Workers: workers, Stages: []runner.Stage{
						{ID: "source", Definition: stage.DefineSource(stage.About{Name: "large"},
							func(struct{}, stage.Env) (stage.Source, error) { return source, nil })},
						{ID: "encoder", Definition: stage.DefineEncoder(stage.About{Name: "patient", Out: stage.ShapeRecords, Concurrent: true},
							func(struct{}, stage.Env) (stage.Encoder, error) { return patient{waits}, nil })},
						{ID: "sink", Definition: stage.DefineSink(stage.About{Name: "counting"},
							func(struct{}, stage.Env) (stage.Sink, error) { return counting{&lines}, nil })},
					}})
					if err != nil {
						t.Fatal(err)
					}
					err = group.Run(ctx)
					if c.code == "" && err != nil || c.code != "" && !fault.Is(err, c.code) {
						t.Errorf("got %v, want %q", err, c.code)
					}
					if lines > c.lines || c.failure == nil && lines != c.lines {
						t.Errorf("%d lines came, want %d", lines, c.lines)
					}
					if result := group.Result(); c.failure == nil && !c.cancel && result.Rows != 2*largeRows {
						t.Errorf("it counts %d rows", result.Rows)
					}
					if err := group.Abort(t.Context()); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
