package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk"
)

// words is a source that costs little: the same batch of short texts over and over.
type words struct {
	Rows  int64 `config:"rows,required" min:"1"`
	env   sdk.Env
	batch arrow.Record
}

var wordsSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)

const wordsBatch = 8192

func (w *words) Open(context.Context) (*arrow.Schema, error) {
	b := array.NewRecordBuilder(w.env.Memory, wordsSchema)
	defer b.Release()
	for i := range wordsBatch {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("O'Brien-%d", i))
	}
	w.batch = b.NewRecord()
	return wordsSchema, nil
}

func (w *words) Next(context.Context) (arrow.Record, error) {
	if w.Rows == 0 {
		return nil, io.EOF
	}
	n := min(w.Rows, wordsBatch)
	w.Rows -= n
	return w.batch.NewSlice(0, n), nil
}

func (w *words) Close() error {
	w.batch.Release()
	return nil
}

// upper is in Go what the other languages' filters are.
type upper struct {
	Column string `config:"column,required"`
	env    sdk.Env
	index  int
}

func (u *upper) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	u.index = in.FieldIndices(u.Column)[0] // of the source above
	return in, nil
}

func (u *upper) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	texts, b := in.Column(u.index).(*array.String), array.NewStringBuilder(u.env.Memory)
	defer b.Release()
	for row := range texts.Len() {
		b.Append(strings.ToUpper(texts.Value(row)))
	}
	column := b.NewArray()
	defer column.Release()
	return in.SetColumn(u.index, column)
}
