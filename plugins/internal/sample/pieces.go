package sample

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/sdk"
)

// Cut splits text into pieces of those sizes, over and over.
func Cut(text []byte, sizes ...int) (pieces [][]byte) {
	for i := 0; len(text) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(text))
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// NewCompressor makes a compressor with settings in JSON and binds it. The second
// result is what it says it makes.
func NewCompressor(t testing.TB, d sdk.Definition, settings string, in sdk.Media) (sdk.Compressor, sdk.Media) {
	t.Helper()
	made, err := d.Make([]byte(settings), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := made.(sdk.Compressor)
	media, err := c.Bind(in)
	if err != nil {
		t.Fatal(err)
	}
	return c, media
}

// Compress does with a bound compressor what the runner does. If it is a Merger,
// pieces are compressed at the same time and merged in order.
func Compress(t testing.TB, c sdk.Compressor, pieces ...[]byte) []byte {
	t.Helper()
	var result bytes.Buffer
	var edge sdk.Output
	if err := c.Begin(&edge); err != nil {
		t.Fatal(err)
	}
	result.Write(edge.Data)
	outs := make([]sdk.Output, len(pieces))
	merger, merges := c.(sdk.Merger)
	var group sync.WaitGroup
	for i := range pieces {
		one := func() {
			if err := c.Compress(context.Background(), pieces[i], &outs[i]); err != nil {
				t.Error(err)
			}
		}
		if merges {
			group.Go(one)
		} else {
			one()
		}
	}
	group.Wait()
	for i := range outs {
		if merges {
			if err := merger.Merge(&outs[i]); err != nil {
				t.Fatal(err)
			}
		}
		result.Write(outs[i].Data)
	}
	edge.Reset()
	if err := c.End(&edge); err != nil {
		t.Fatal(err)
	}
	result.Write(edge.Data)
	return result.Bytes()
}
