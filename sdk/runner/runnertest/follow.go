package runnertest

import (
	"context"
	"io"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// FollowSettings are the settings of the source "follow".
type FollowSettings struct {
	Rows   int           `config:"rows" default:"10"`
	Cursor config.Cursor `config:"cursor"`
}

// FollowOrigin is where the rows of "follow" come from.
const FollowOrigin = "numbers"

// follow counts, and goes on where an earlier run has ended.
type follow struct {
	settings FollowSettings
	env      stage.Env
	schema   *arrow.Schema
	done     bool
}

// Follow is a source of the numbers below Rows that pipelines with state can have: in one batch, from the cursor on.
func Follow() stage.Definition {
	return stage.DefineSource(stage.About{Name: "follow", Summary: "Counts on."},
		func(s FollowSettings, env stage.Env) (stage.Source, error) {
			return &follow{settings: s, env: env,
				schema: arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)}, nil
		})
}

func (f *follow) Open(context.Context) (*arrow.Schema, error) { return f.schema, nil }

func (f *follow) Next(context.Context) (arrow.Record, error) {
	first := 0
	if from := f.settings.Cursor.From; from != "" {
		n, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		first = max(first, n)
	}
	if f.done || first >= f.settings.Rows {
		return nil, io.EOF
	}
	f.done = true
	b := array.NewInt64Builder(f.env.Memory)
	defer b.Release()
	for n := first; n < f.settings.Rows; n++ {
		b.Append(int64(n))
	}
	if f.settings.Cursor.Column != "" {
		f.env.Fact(stage.FactCursor, strconv.Itoa(f.settings.Rows-1))
		f.env.Fact(stage.FactCursorOrigin, FollowOrigin)
	}
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(f.schema, []arrow.Array{column}, int64(f.settings.Rows-first)), nil
}

func (f *follow) Close() error { return nil }
