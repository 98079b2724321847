package runnertest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// LaterSettings are the settings of the filter "later".
type LaterSettings struct {
	// Every is which numbers are held back until the end: its multiples. They come in order, in batches of Batch.
	Every int64 `config:"every" default:"3"`
	Batch int   `config:"batch" default:"7"`
	// Fail makes End fail, and Foreign makes it give a batch of another schema, whose error it keeps to itself.
	Fail    bool `config:"fail"`
	Foreign bool `config:"foreign"`
}

type later struct {
	settings LaterSettings
	env      stage.Env
	schema   *arrow.Schema

	mu   sync.Mutex
	held []int64
}

func newLater(s LaterSettings, env stage.Env) (stage.Filter, error) {
	return &later{settings: s, env: env}, nil
}

func (l *later) Bind(in *arrow.Schema) (*arrow.Schema, error) { l.schema = in; return in, nil }

func (l *later) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	var now []int64
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range in.Column(0).(*array.Int64).Int64Values() {
		if v%l.settings.Every == 0 {
			l.held = append(l.held, v)
		} else {
			now = append(now, v)
		}
	}
	return l.batch(l.schema, now), nil
}

// End gives what was held back, and counts its calls.
func (l *later) End(_ context.Context, emit func(arrow.Record) error) error {
	l.env.Count("ends", 1)
	if l.settings.Fail {
		return fault.New("later.fail", fault.Data, "the end is not good")
	}
	if l.settings.Foreign {
		rec := l.batch(arrow.NewSchema([]arrow.Field{{Name: "other", Type: arrow.PrimitiveTypes.Int64}}, nil),
			[]int64{1})
		defer rec.Release()
		_ = emit(rec)
		return nil
	}
	slices.Sort(l.held)
	for batch := range slices.Chunk(l.held, l.settings.Batch) {
		rec := l.batch(l.schema, batch)
		err := emit(rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *later) batch(schema *arrow.Schema, values []int64) arrow.Record {
	b := array.NewInt64Builder(l.env.Memory)
	defer b.Release()
	b.AppendValues(values, nil)
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(schema, []arrow.Array{column}, int64(len(values)))
}

// RowsSettings are the settings of the sink "rows".
type RowsSettings struct {
	Path string `config:"path,required"`
	// At is the number at which Write fails; nowhere by default.
	At int64 `config:"at" default:"-1"`
}

// rows writes "TYPE", and then a line "VALUE@INDEX" for every row and "^POSITION" for every checkpoint, into a file
// that Commit shows.
type rows struct {
	file
	at int64
}

func newRows(s RowsSettings, _ stage.Env) (stage.TableSink, error) {
	return &rows{file{settings: FileSettings{Path: s.Path}}, s.At}, nil
}

func (r *rows) Open(ctx context.Context, table stage.Table) error {
	if err := r.file.Open(ctx, stage.Object{RunID: table.RunID}); err != nil {
		return err
	}
	return r.file.Write(ctx, []byte(table.Schema.Field(0).Type.String()+"\n"))
}

func (r *rows) Write(ctx context.Context, batch stage.Rows) error {
	for i, v := range batch.Column(0).(*array.Int64).Int64Values() {
		if v == r.at {
			return fault.New("rows.at", fault.Data, "there it is").InRow(i)
		}
		if err := r.file.Write(ctx, fmt.Appendf(nil, "%d@%d\n", v, batch.First+int64(i))); err != nil {
			return err
		}
	}
	if batch.Checkpoint != "" {
		return r.file.Write(ctx, fmt.Appendf(nil, "^%s\n", batch.Checkpoint))
	}
	return nil
}

// Commit gives no digest: it is of its own choice.
func (r *rows) Commit(ctx context.Context) (stage.Receipt, error) {
	receipt, err := r.file.Commit(ctx)
	receipt.Bytes, receipt.SHA256 = 0, ""
	return receipt, err
}
