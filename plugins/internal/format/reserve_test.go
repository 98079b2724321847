package format_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
)

// TestReserveRows: rows of one size are made room for in a few steps and without much more
// than they take, and one large value is not taken for the size of all that follow.
func TestReserveRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		rows        int
		size        func(row int) int
		grows       int
		least, most int
	}{
		{"of one size", 1024, func(int) int { return 700 }, 7, 1024 * 700, 1024 * 700 * 5 / 4},
		{"few", 3, func(int) int { return 100 }, 3, 300, 1 << 10},
		{"one large value", 1024, func(row int) int {
			if row == 4 {
				return 64 << 20
			}
			return 10
		}, 5, 64<<20 + 10_230, 96 << 20},
	} {
		var b []byte
		n, grown := 0, 0
		for row := range c.rows {
			size := c.size(row)
			before := len(b)
			if b = format.ReserveRows(b, n, size, row, c.rows); len(b)-n < size {
				t.Fatalf("%s: no room in row %d", c.name, row)
			}
			if len(b) != before {
				grown++
			}
			n += size
		}
		if grown > c.grows || len(b) < c.least || len(b) > c.most {
			t.Errorf("%s: it grew %d times, to %d bytes; want at most %d times, and %d to %d bytes", c.name, grown, len(b), c.grows, c.least, c.most)
		}
	}
}
