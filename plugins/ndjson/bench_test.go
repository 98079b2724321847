package ndjson

import (
	"context"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

func BenchmarkEncode(b *testing.B) {
	record := sample.Appointments(2048, 1)
	defer record.Release()
	made, err := Stage().Make(nil, sdk.Env{})
	if err != nil {
		b.Fatal(err)
	}
	encoder := made.(sdk.Encoder)
	if _, err := encoder.Bind(record.Schema()); err != nil {
		b.Fatal(err)
	}
	var out sdk.Output
	meter := sample.NewMeter(b)
	for b.Loop() {
		out.Reset()
		if err := encoder.Encode(context.Background(), sdk.Rows{Record: record}, &out); err != nil {
			b.Fatal(err)
		}
		meter.Rows += record.NumRows()
		meter.Size += int64(len(out.Data))
	}
	meter.Report()
}
