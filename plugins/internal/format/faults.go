package format

import (
	"slices"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The policies for text that is not valid UTF-8.
const (
	PolicyError   = "error"
	PolicyReplace = "replace"
)

// CounterInvalidUTF8 counts the values in which PolicyReplace replaced something.
const CounterInvalidUTF8 = "invalid_utf8"

// CounterDoubledHours counts the instants whose local time, as it is written, clocks showed twice.
const CounterDoubledHours = "doubled_hours"

// InvalidUTF8 is the fault for a text that is not UTF-8. Rows count from 0 in the stream.
func InvalidUTF8(column string, row int64) error {
	return fault.New("encoder.invalid_utf8", fault.Data,
		"column %q holds text that is not valid UTF-8, in row %d", column, row+1).
		WithHint("correct the value or its character set at the source, or set invalid_utf8: replace")
}

// NotANumber is the fault for a NaN or an infinity.
func NotANumber(column string, row int64) error {
	return fault.New("encoder.not_a_number", fault.Data,
		"column %q holds NaN or an infinity, in row %d; JSON has no such numbers", column, row+1).
		WithHint("turn the value into NULL at the source")
}

// InexactFraction is the fault for a time with more digits than its column declares.
func InexactFraction(column string, row int64) error {
	return fault.New("encoder.inexact_fraction", fault.Data,
		"column %q holds a time with more fractional digits than the column declares, in row %d", column, row+1)
}

// InvalidJSON is the fault for a text that should be a JSON document.
func InvalidJSON(column string, row int64) error {
	return fault.New("encoder.invalid_json", fault.Data,
		"column %q is to be embedded as JSON and holds something else, in row %d", column, row+1).
		WithHint("set json_columns: text")
}

// Reserve makes room for at least more bytes behind b[:n], and returns b with its
// whole capacity as its length.
func Reserve(b []byte, n, more int) []byte {
	if len(b)-n >= more {
		return b
	}
	b = slices.Grow(b[:n], more)
	return b[:cap(b)]
}

// firstStep is the most by which ReserveRows makes room for rows to come, unless a quarter of
// what is there is more.
const firstStep = 1 << 20

// ReserveRows is Reserve in row number row, from 0, of as many as rows, of which n bytes are
// written. Where b has to grow, it grows by what the rows to come take if they are like
// those so far, so that the output of a batch is not copied again and again and has no more
// memory than it needs. A large value among few rows does not make it guess far.
func ReserveRows(b []byte, n, more, row, rows int) []byte {
	if len(b)-n >= more {
		return b
	}
	if row > 0 {
		guess := n / row * (rows - row)
		more += min(guess+guess/16, max(n/4, min(3*n, firstStep)))
	}
	return Reserve(b, n, more)
}
