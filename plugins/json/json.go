// Package json is the encoder stage that writes one JSON document:
//
//	{"data":[{…},{…}],"metadata":{"execution_time":2.5,"record_count":2}}
//
// It owns the document around the rows; objects are package jsonrow's. It streams:
// the document is never held as a whole.
package json

import (
	"context"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/jsonrow"
	"github.com/cipherstream/cipherstream/sdk"
)

// Stage defines the encoder.
func Stage() sdk.Definition {
	return sdk.DefineEncoder(sdk.About{
		Name:    "json",
		Summary: "Writes one JSON document with a data array and metadata.",
		Doc: "The rows are the objects of the array \"data\" of one JSON document (RFC 8259). The object \"metadata\" " +
			"behind it holds \"record_count\", the number of rows, and \"execution_time\", the seconds from the start of the encoder " +
			"to its end, in milliseconds' precision.\n\n" + jsonrow.Doc,
		Out:        sdk.ShapeBytes,
		Concurrent: true,
	}, func(s jsonrow.Settings, env sdk.Env) (sdk.Encoder, error) {
		return &encoder{settings: s, count: env.Count, now: time.Now}, nil
	})
}

type encoder struct {
	settings jsonrow.Settings
	count    func(string, int64)
	rows     *jsonrow.Encoder
	now      func() time.Time
	began    time.Time
}

func (e *encoder) Bind(in *arrow.Schema) (sdk.Media, error) {
	rows, err := jsonrow.New(in, e.settings, e.count)
	e.rows = rows
	return sdk.Media{Type: "application/json", Extension: ".json"}, err
}

func (e *encoder) Begin(out *sdk.Output) error {
	e.began = e.now()
	out.Data = append(out.Data, `{"data":[`...)
	return nil
}

func (e *encoder) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	return e.rows.AppendElements(rows, out)
}

func (e *encoder) End(total sdk.Totals, out *sdk.Output) error {
	seconds := float64(e.now().Sub(e.began).Milliseconds()) / 1000
	out.Data = append(out.Data, `],"metadata":{"execution_time":`...)
	out.Data = strconv.AppendFloat(out.Data, seconds, 'f', -1, 64)
	out.Data = append(out.Data, `,"record_count":`...)
	out.Data = strconv.AppendInt(out.Data, total.Rows, 10)
	out.Data = append(out.Data, `}}`...)
	return nil
}
