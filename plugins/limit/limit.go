// Package limit is the filter stage that ends a stream after a number of rows. It owns which rows go on, by their place
// in the stream; the runner ends what stands before it. It never reorders rows, and looks at no value.
package limit

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// Settings are the settings of the stage.
type Settings struct {
	Rows   int64 `config:"rows,required" min:"0" doc:"How many rows go on at most."`
	Offset int64 `config:"offset" min:"0" doc:"How many rows before them are left out."`
}

const doc = `The first rows go on, in their order, and the run ends well behind them: the source is closed at once, which ends
its query, also where it is in another process; a few batches may be under way by then. A source of a plugin that does not listen for
that, and any source while a run is recorded, is read to its end. What a source would have said behind the last row, an
error too, is then not known. The receipt has what was read, what was delivered, and the fact cut where there were, or may
have been, more rows.

Which rows are the first is the source's order: without an order in the query it is the server's.`

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:    "limit",
		Summary: "Ends the stream after a number of rows.",
		Doc:     doc,
	}, func(s Settings, env sdk.Env) (sdk.Filter, error) { return &filter{settings: s, env: env}, nil })
}

type filter struct {
	settings Settings
	env      sdk.Env
	seen     int64
	done     atomic.Bool
}

// Before is what goes on: the stage keeps all columns.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema { return out }

// Bind takes any columns.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }

// Finished reports whether no further row goes on.
func (f *filter) Finished() bool { return f.done.Load() }

// Apply cuts a batch. It is called in the order of the rows.
func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	rows := in.NumRows()
	end := f.settings.Offset + f.settings.Rows
	if end < 0 {
		end = 1<<63 - 1
	}
	from := min(max(f.settings.Offset-f.seen, 0), rows)
	to := max(min(end-f.seen, rows), from)
	f.seen += rows
	if f.seen >= end && !f.done.Swap(true) {
		f.env.Fact("cut", "the stream was ended after "+strconv.FormatInt(f.settings.Rows, 10)+" rows behind the first "+
			strconv.FormatInt(f.settings.Offset, 10)+", with "+strconv.FormatInt(f.seen, 10)+" read by then")
	}
	if from == 0 && to == rows {
		in.Retain()
		return in, nil
	}
	return in.NewSlice(from, to), nil
}
