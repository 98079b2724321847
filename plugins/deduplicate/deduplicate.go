// Package deduplicate is the filter stage that keeps the first row of every key. It owns which rows are the same, and the
// memory that knowing them takes, which is bounded; it never drops a row because memory ran out, and never reorders any.
package deduplicate

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/internal/gather"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/rowkey"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	By     []string    `config:"by,required" names:"columns" min:"1" doc:"The columns of the key."`
	Memory config.Size `config:"memory" default:"64MiB" min:"4096" keeps:"true" doc:"The most that the keys may take. When there are more, the run fails."`
	Sorted bool        `config:"sorted" doc:"The rows come in the order of the key, so that no more than the last one is kept. A row that is out of order fails the run."`
}

const doc = `Of the rows that have the same key the first one goes on, in its place. Every key is kept until the end of the run, at
some 64 bytes and the length of its values: the default of 64MiB is enough for half a million keys at least. When it is not enough, the
run fails with deduplicate.memory, and no row is dropped or doubled for it. What memory says counts in what the run needs,
beside limits.memory: a service that has not so much waits, and a run whose stages may keep more than a process of plugins may have
fails with run.memory before it begins. The counter duplicates in the receipt is how many rows were left out.

With sorted: true nothing but the last key is kept, whatever their number: ` + "`memory: 4KiB`" + ` is enough. The order is that of ` + "`by`" + `, rising: NULL first, numbers
and times by their value, false before true, and text by its UTF-8 bytes, which is not the order of most collations:
` + "`ORDER BY code COLLATE utf8mb4_bin`" + `.

What is the same: ` + rowkey.Doc

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:    "deduplicate",
		Summary: "Keeps the first row of every key.",
		Doc:     doc,
	}, func(s Settings, env sdk.Env) (sdk.Filter, error) {
		return &filter{settings: s, env: env, seen: map[string]struct{}{}}, nil
	})
}

type filter struct {
	settings Settings
	env      sdk.Env
	key      *rowkey.Reader
	scratch  []byte
	indexes  []int32

	seen map[string]struct{}
	used int64

	orders []func(a arrow.Array, i int, b arrow.Array, j int) int
	last   arrow.Record // of the batches before, one row; with sorted
}

// Before is what goes on, with the key.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema { return naming.With(out, f.settings.By...) }

// Bind finds the key's columns.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	in = naming.Assume(in, f.settings.By...)
	key, err := rowkey.New(in, f.settings.By, "deduplicate")
	if err != nil {
		return nil, err
	}
	f.key = key
	for i, index := range key.Indexes {
		order, ok := formula.Order(in.Field(index))
		if !ok && f.settings.Sorted {
			return nil, fault.New("deduplicate.no_order", fault.Usage, "column %q has no order", f.settings.By[i]).WithDetail(fault.DetailSetting, "/sorted")
		}
		f.orders = append(f.orders, order)
	}
	return in, nil
}

// Apply keeps rows of a batch. It is called in the order of the rows.
func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	f.indexes = f.indexes[:0]
	var err error
	if f.settings.Sorted {
		err = f.follow(in)
	} else {
		err = f.remember(in)
	}
	if err != nil {
		return nil, err
	}
	if dropped := in.NumRows() - int64(len(f.indexes)); dropped == 0 {
		in.Retain()
		return in, nil
	} else if f.env.Count != nil {
		f.env.Count("duplicates", dropped)
	}
	return gather.Rows(f.env.Memory, in, f.indexes)
}

// overhead is what a key takes beside its bytes: the map's entry at its emptiest, and the string's rounding.
const overhead = 64

func (f *filter) remember(in arrow.Record) error {
	f.key.Load(in)
	defer f.key.Unload()
	for i := range int(in.NumRows()) {
		var err error
		if f.scratch, err = f.key.Append(f.scratch[:0], i); err != nil {
			return err
		}
		if _, known := f.seen[string(f.scratch)]; known {
			continue
		}
		if f.used += int64(len(f.scratch)) + overhead; f.used > int64(f.settings.Memory) {
			return fault.New("deduplicate.memory", fault.Data, "the keys of %d rows do not fit in %s of memory", len(f.seen)+1, f.settings.Memory).InRow(i).
				WithHint("give it more, with memory; or have the source order the rows by the key, and write sorted: true, which takes no memory")
		}
		f.seen[string(f.scratch)] = struct{}{}
		f.indexes = append(f.indexes, int32(i))
	}
	return nil
}

// follow compares each row with the one before it.
func (f *filter) follow(in arrow.Record) error {
	rows := int(in.NumRows())
	if rows == 0 {
		return nil
	}
	for i := range rows {
		before, at := in, i-1
		if i == 0 {
			before, at = f.last, 0
		}
		order := 1 // the first row of all is new
		if before != nil {
			order = 0
			for k, index := range f.key.Indexes {
				if order = f.orders[k](in.Column(index), i, before.Column(index), at); order != 0 {
					break
				}
			}
		}
		if order < 0 {
			return fault.New("deduplicate.not_sorted", fault.Data, "the rows do not come in the order of the key").InRow(i).
				WithHint("order them in the query, text by its bytes (COLLATE utf8mb4_bin), or leave sorted out")
		}
		if order > 0 {
			f.indexes = append(f.indexes, int32(i))
		}
	}
	// A copy: a slice would hold the whole batch. It is of the heap, as nobody says when it is needed no more.
	last, err := gather.Rows(memory.NewGoAllocator(), in, []int32{int32(rows - 1)})
	f.last = last
	return err
}
