// Package ndjson is the encoder stage that writes one JSON object a line. It owns
// the line; objects are package jsonrow's, and it never holds a row back.
package ndjson

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/jsonrow"
	"github.com/cipherstream/cipherstream/sdk"
)

// Stage defines the encoder.
func Stage() sdk.Definition {
	return sdk.DefineEncoder(sdk.About{
		Name:       "ndjson",
		Summary:    "Writes one JSON object a line.",
		Doc:        "Every row becomes a JSON object (RFC 8259) on a line of its own, ended by a line feed.\n\n" + jsonrow.Doc,
		Out:        sdk.ShapeRecords,
		Concurrent: true,
	}, func(s jsonrow.Settings, env sdk.Env) (sdk.Encoder, error) {
		return &encoder{settings: s, count: env.Count}, nil
	})
}

type encoder struct {
	settings jsonrow.Settings
	count    func(string, int64)
	rows     *jsonrow.Encoder
}

func (e *encoder) Bind(in *arrow.Schema) (sdk.Media, error) {
	rows, err := jsonrow.New(in, e.settings, e.count)
	e.rows = rows
	return sdk.Media{Type: "application/x-ndjson", Extension: ".ndjson"}, err
}

func (e *encoder) Begin(*sdk.Output) error { return nil }

func (e *encoder) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	return e.rows.AppendLines(rows, out)
}

func (e *encoder) End(sdk.Totals, *sdk.Output) error { return nil }
