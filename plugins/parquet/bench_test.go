package parquet

import (
	"context"
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

func BenchmarkEncode(b *testing.B) {
	const morsel = 2048
	record := sample.Appointments(64*morsel, 1)
	defer record.Release()
	var morsels []sdk.Rows
	for i := int64(0); i < record.NumRows(); i += morsel {
		slice := record.NewSlice(i, i+morsel)
		defer slice.Release()
		morsels = append(morsels, sdk.Rows{Record: slice, First: i})
	}
	for _, compression := range []string{"none", "snappy", "zstd"} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/cores=%d", compression, workers), func(b *testing.B) {
				made, err := Stage().Make([]byte(`{"compression":"`+compression+`"}`), sdk.Env{})
				if err != nil {
					b.Fatal(err)
				}
				e := made.(*encoder)
				e.workers = workers
				if _, err := e.Bind(record.Schema()); err != nil {
					b.Fatal(err)
				}
				var out sdk.Output
				meter := sample.NewMeter(b)
				if err := e.Begin(&out); err != nil {
					b.Fatal(err)
				}
				for i := 0; b.Loop(); i++ {
					out.Reset()
					if err := e.Encode(context.Background(), morsels[i%len(morsels)], &out); err != nil {
						b.Fatal(err)
					}
					meter.Rows += morsel
					meter.Size += int64(len(out.Data))
				}
				out.Reset()
				if err := e.End(sdk.Totals{}, &out); err != nil {
					b.Fatal(err)
				}
				meter.Size += int64(len(out.Data))
				meter.Report()
			})
		}
	}
}
