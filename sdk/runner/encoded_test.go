package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestEncodedBytes: a group accounts for what its encoder makes, beginning and end included, whatever comes behind it
// in the same process or another.
func TestEncodedBytes(t *testing.T) {
	t.Parallel()
	const rows = 3000
	var want strings.Builder
	want.WriteString("begin\n")
	for i := range rows {
		fmt.Fprintf(&want, "%d%d@%d\n", i, i, i)
	}
	fmt.Fprintf(&want, "end %d\n", rows)
	links := []link{
		{stage.KindSource, "count", map[string]any{"rows": rows, "batch": 700}},
		{stage.KindEncoder, "lines", map[string]any{"width": 2, "edges": true}},
		{stage.KindEncryptor, "index", nil},
		{stage.KindCompressor, "bracket", nil},
	}
	for _, cuts := range [][]int{nil, {1}, {2}, {3}, {1, 2, 3}} {
		_, results, err := runGroups(t, context.Background(), runner.Config{Workers: 3}, links, cuts...)
		if err != nil {
			t.Fatal(err)
		}
		var encoded, said int64
		for _, r := range results {
			if encoded += r.EncodedBytes; r.EncodedBytes > 0 {
				said++
			}
		}
		if encoded != int64(want.Len()) || said != 1 {
			t.Errorf("cut at %v: %d bytes by %d groups, want %d", cuts, encoded, said, want.Len())
		}
	}
}
