package breaking

import (
	"bytes"
	"context"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// breaks is the filter in Go, and testdata has the same in other languages. A comment names what breaks on a line.
type breaks struct {
	How   string `config:"how,required"`
	hoard [][]byte
}

func defineBreaks() sdk.Definition {
	return sdk.DefineFilter(sdk.About{Name: "breaks", Summary: "Breaks, once rows come."},
		func(b breaks, _ sdk.Env) (sdk.Filter, error) { return &b, nil })
}

func (b *breaks) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }

func (b *breaks) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) { // contract
	switch b.How {
	case "exception":
		panic("Jane") // exception
	case "hang":
		for begun := time.Now(); ; {
			b.hoard = [][]byte{{byte(time.Since(begun))}} // hang
		}
	case "memory":
		for {
			b.hoard = append(b.hoard, bytes.Repeat([]byte("x"), 2<<20)) // memory
			<-time.After(10 * time.Millisecond)                         // memory
		}
	}
	other := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "other", Type: arrow.BinaryTypes.String}}, nil))
	defer other.Release()
	other.Field(0).(*array.StringBuilder).Append("other")
	return other.NewRecord(), nil
}
