package runnertest

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Pad is an encoder, "pad", whose lines have exactly the width that is wanted, for a bundle beside the stages of Bundle.
func Pad() stage.Definition {
	return stage.DefineEncoder(stage.About{Name: "pad", Summary: "A line of a width a row.", Out: stage.ShapeRecords, Concurrent: true},
		func(s PadSettings, _ stage.Env) (stage.Encoder, error) { return pad{s}, nil })
}

// PadSettings are the settings of the encoder "pad".
type PadSettings struct {
	// Width is how many bytes a line has, and More how many the whole has beside.
	Width int `config:"width" default:"20"`
	More  int `config:"more"`
}

type pad struct{ PadSettings }

func (pad) Bind(*arrow.Schema) (stage.Media, error) {
	return stage.Media{Type: "text/plain", Extension: ".txt"}, nil
}

func (pad) Begin(*stage.Output) error { return nil }

func (p pad) Encode(_ context.Context, rows stage.Rows, out *stage.Output) error {
	for _, v := range rows.Column(0).(*array.Int64).Int64Values() {
		start := len(out.Data)
		out.Data = strconv.AppendInt(out.Data, v, 10)
		for len(out.Data) < start+p.Width-1 {
			out.Data = append(out.Data, '.')
		}
		out.Data = append(out.Data, '\n')
		out.EndRecord()
	}
	return nil
}

func (p pad) End(_ stage.Totals, out *stage.Output) error {
	if p.More > 0 {
		out.Data = append(out.Data, strings.Repeat("+", p.More)...)
		out.EndRecord()
	}
	return nil
}

// Padded is what "pad" gives of so many rows of "count", without More.
func Padded(rows, width int) []byte {
	var b bytes.Buffer
	for i := range rows {
		line := strconv.Itoa(i)
		b.WriteString(line + strings.Repeat(".", width-1-len(line)) + "\n")
	}
	return b.Bytes()
}
