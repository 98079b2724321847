// Command acme is a third-party plugin with three stages: the filter sign, which adds
// a column with a keyed digest of another, the filter shout, which writes text in
// capitals, and the encoder pipes, which writes values with bars between them. It never
// reads or writes anything itself.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// mark is put behind every digest by a build that sets it.
var mark string

func main() {
	sdk.Serve(sdk.Bundle{Name: "acme", Version: "1.0.0", Stages: []sdk.Definition{
		sdk.DefineFilter(sdk.About{Name: "sign", Summary: "Adds a keyed digest of a column.", KeepsRows: true, Concurrent: true},
			func(s signSettings, _ sdk.Env) (sdk.Filter, error) { return &sign{settings: s}, nil }),
		sdk.DefineFilter(sdk.About{Name: "shout", Summary: "Writes text in capitals.", KeepsRows: true, Concurrent: true},
			func(struct{}, sdk.Env) (sdk.Filter, error) { return shout{}, nil }),
		sdk.DefineEncoder(sdk.About{Name: "pipes", Summary: "Writes values with bars between them.", Out: sdk.ShapeRecords, Concurrent: true},
			func(struct{}, sdk.Env) (sdk.Encoder, error) { return pipes{}, nil }),
	}})
}

type signSettings struct {
	Column string        `config:"column,required"`
	Key    config.Secret `config:"key,required"`
}

type sign struct {
	settings signSettings
	column   int
	schema   *arrow.Schema
}

func (s *sign) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	found := in.FieldIndices(s.settings.Column)
	if len(found) != 1 {
		return nil, fault.New("acme.column", fault.Usage, "there is no column %q, or several", s.settings.Column)
	}
	s.column = found[0]
	s.schema = arrow.NewSchema(append(in.Fields(), arrow.Field{Name: "signature", Type: arrow.BinaryTypes.String}), nil)
	return s.schema, nil
}

func (s *sign) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	for i := range int(in.NumRows()) {
		digest := hmac.New(sha256.New, []byte(s.settings.Key.Reveal()))
		digest.Write([]byte(in.Column(s.column).ValueStr(i)))
		b.Append(hex.EncodeToString(digest.Sum(nil)) + mark)
	}
	added := b.NewArray()
	defer added.Release()
	return array.NewRecord(s.schema, append(append([]arrow.Array{}, in.Columns()...), added), in.NumRows()), nil
}

type shout struct{}

func (shout) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }

func (shout) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	columns := make([]arrow.Array, in.NumCols())
	for i, c := range in.Columns() {
		text, ok := c.(*array.String)
		if !ok || in.ColumnName(i) == "signature" {
			c.Retain()
			columns[i] = c
			continue
		}
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for row := range text.Len() {
			if text.IsNull(row) {
				b.AppendNull()
				continue
			}
			b.Append(strings.ToUpper(text.Value(row)))
		}
		columns[i] = b.NewArray()
		b.Release()
	}
	out := array.NewRecord(in.Schema(), columns, in.NumRows())
	for _, c := range columns {
		c.Release()
	}
	return out, nil
}

type pipes struct{}

func (pipes) Bind(*arrow.Schema) (sdk.Media, error) {
	return sdk.Media{Type: "text/plain", Extension: ".txt"}, nil
}
func (pipes) Begin(*sdk.Output) error           { return nil }
func (pipes) End(sdk.Totals, *sdk.Output) error { return nil }

func (pipes) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	for i := range int(rows.NumRows()) {
		for c, column := range rows.Columns() {
			if c > 0 {
				out.Data = append(out.Data, '|')
			}
			out.Data = append(out.Data, column.ValueStr(i)...)
		}
		out.Data = append(out.Data, '\n')
		out.EndRecord()
	}
	return nil
}
