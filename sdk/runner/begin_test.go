package runner_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// slowBegin is an encoder and a compressor whose Begin lets everything else run
// first. Both remember that it has returned in a plain field, so that the race
// detector sees an early call too.
type slowBegin struct{ begun bool }

func (s *slowBegin) Begin(*stage.Output) error {
	for range 1000 {
		runtime.Gosched()
	}
	s.begun = true
	return nil
}

func (s *slowBegin) called() error {
	if !s.begun {
		return errors.New("called before Begin had returned")
	}
	return nil
}

type slowEncoder struct{ slowBegin }

func (e *slowEncoder) Bind(*arrow.Schema) (stage.Media, error) {
	return stage.Media{Type: "text/plain"}, nil
}
func (e *slowEncoder) Encode(_ context.Context, _ stage.Rows, out *stage.Output) error {
	out.Data = append(out.Data, "rows\n"...)
	return e.called()
}
func (e *slowEncoder) End(stage.Totals, *stage.Output) error { return e.called() }

type slowCompressor struct{ slowBegin }

func (c *slowCompressor) Bind(in stage.Media) (stage.Media, error) { return in, nil }
func (c *slowCompressor) Compress(_ context.Context, piece []byte, out *stage.Output) error {
	out.Data = append(out.Data, piece...)
	return c.called()
}
func (c *slowCompressor) End(*stage.Output) error { return c.called() }

// TestBeginComesFirst: no stage is given anything before its Begin has returned,
// whether it shares a segment with its neighbours or not.
func TestBeginComesFirst(t *testing.T) {
	t.Parallel()
	source, _ := runnertest.Bundle("test").Find(stage.KindSource, "count")
	sink, _ := runnertest.Bundle("test").Find(stage.KindSink, "file")
	for _, concurrent := range []bool{false, true} {
		for range 20 {
			group, err := runner.Open(runner.Config{RunID: "run", Workers: 3, Stages: []runner.Stage{
				{ID: "source", Definition: source, Settings: []byte(`{"rows": 50}`)},
				{ID: "encoder", Definition: stage.DefineEncoder(stage.About{Name: "slow", Concurrent: concurrent},
					func(struct{}, stage.Env) (stage.Encoder, error) { return &slowEncoder{}, nil })},
				{ID: "compressor", Definition: stage.DefineCompressor(stage.About{Name: "slow", Concurrent: concurrent},
					func(struct{}, stage.Env) (stage.Compressor, error) { return &slowCompressor{}, nil })},
				{ID: "sink", Definition: sink, Settings: []byte(`{"path": "` + t.TempDir() + `/out"}`)},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := group.Run(t.Context()); err != nil {
				t.Fatalf("concurrent=%t: %v", concurrent, err)
			}
			if err := group.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
