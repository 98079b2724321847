package parquetfile

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// TestRowNumbers: a fault names the row in the whole file, from 1, whatever row group, page and
// nulls it lies behind.
func TestRowNumbers(t *testing.T) {
	for _, c := range []struct {
		name        string
		before, row int64
		valid       []byte
		at, n       int
		values      []int32
		want        string
	}{
		{"the first", 0, 0, nil, 0, 2, []int32{300, 1}, "in row 1"},
		{"the last of a page", 0, 0, nil, 0, 3, []int32{1, 2, 300}, "in row 3"},
		{"behind pages and row groups", 1000, 20, nil, 4, 2, []int32{1, 300}, "in row 1022"},
		{"behind nulls", 1000, 20, []byte{0b1011_0000}, 4, 4, []int32{1, 2, 300}, "in row 1024"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := make([]byte, 0, 4*len(c.values))
			for _, v := range c.values {
				data = binary.LittleEndian.AppendUint32(data, uint32(v))
			}
			col := &column{source: &source{before: c.before}, kind: kindInt8, width: 4, out: 1, typ: arrow.PrimitiveTypes.Int8, row: c.row}
			col.page = page{rows: c.n, valid: c.valid, at: c.at, values: values{data: data}}
			fixed := memory.NewResizableBuffer(memory.NewGoAllocator())
			defer fixed.Release()
			fixed.Resize(c.n)
			if err := col.takeFixed(&build{fixed: fixed}, c.n, len(c.values)); err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
