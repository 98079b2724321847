package terminal

import (
	"io"
	"strings"

	"golang.org/x/text/width"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// WriteTable writes rows in columns. What comes from files is made safe for a
// terminal. The last column is as wide as it likes.
func WriteTable(w io.Writer, indent string, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = diag.Printable(row[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cells(row[i]))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-cells(cell)+2))
			}
		}
		if _, err := io.WriteString(w, strings.TrimRight(indent+b.String(), " ")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// cells is how many terminal columns text takes.
func cells(text string) int {
	n := 0
	for _, c := range text {
		n++
		if k := width.LookupRune(c).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}
