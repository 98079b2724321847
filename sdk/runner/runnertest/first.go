package runnertest

import (
	"context"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// FirstSettings are the settings of the filter "first".
type FirstSettings struct {
	Rows int64 `config:"rows"`
}

// first gives the first rows of the stream, and is finished then.
type first struct {
	left atomic.Int64
}

func newFirst(s FirstSettings, _ stage.Env) (stage.Filter, error) {
	f := &first{}
	f.left.Store(s.Rows)
	return f, nil
}

func (f *first) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }

func (f *first) Finished() bool { return f.left.Load() == 0 }

func (f *first) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	n := min(f.left.Load(), in.NumRows())
	f.left.Add(-n)
	return in.NewSlice(0, n), nil
}
