package decrypt

import (
	"bufio"
	"io"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// lines cuts what a container holds into lines.
type lines struct {
	from *container
	in   *bufio.Reader
	// limit is the longest line in bytes, with its end.
	limit   int
	maxUnit int
	// long holds a line that is longer than the reader's buffer.
	long []byte
}

func newLines(from *container, maxUnit int) *lines {
	return &lines{from: from, in: bufio.NewReaderSize(from, sourceBuffer), limit: envelope.LineSize(maxUnit), maxUnit: maxUnit}
}

// maxLongKept is the largest buffer for long lines that is kept for the next.
const maxLongKept = 4 << 20

// next returns the line of that index without its end, or io.EOF behind the last. It is
// valid until the next call.
func (l *lines) next(index int64) ([]byte, error) {
	if cap(l.long) > maxLongKept {
		l.long = nil
	}
	l.long = l.long[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if len(l.long) == 0 && !envelope.Begins(part) {
			// Nothing that follows is worth reading, however long it is.
			return nil, l.foreign(part, index)
		}
		if len(l.long)+len(part) > l.limit {
			return nil, fault.New(codeLine, fault.Data, "line %d (index %d) is longer than a row of %d bytes becomes", index+1, index, l.maxUnit).
				WithHint("if such long rows are to be expected, raise the limit")
		}
		switch err {
		case nil:
			if len(l.long) == 0 {
				return part[:len(part)-1], nil
			}
			l.long = append(l.long, part...)
			return l.long[:len(l.long)-1], nil
		case bufio.ErrBufferFull:
			l.long = append(l.long, part...)
		case io.EOF:
			if n := len(l.long) + len(part); n > 0 {
				return nil, fault.New(codeTruncated, fault.Data, "the delivery ends within line %d (index %d), after %d bytes of it", index+1, index, n).
					WithHint("fetch the delivery again")
			}
			return nil, io.EOF
		default:
			return nil, err
		}
	}
}

// foreign says what is wrong with a line that does not begin as it should.
func (l *lines) foreign(part []byte, index int64) error {
	f := fault.New(envelope.Malformed, fault.Data, "line %d (index %d) is not a sealed line", index+1, index)
	if index > 0 {
		return f.WithHint("something was put among the lines; fetch the delivery again").
			WithDetail("index", itoa(index)).WithDetail("line", itoa(index+1))
	}
	f = fault.New(envelope.Malformed, fault.Data, "this is not a sealed delivery: its first line (index 0) is not a sealed line").
		WithDetail("index", "0").WithDetail("line", "1").
		WithHint("is the file encrypted at all? A sealed line begins with {\"encrypted_data\":")
	if kind := detect(part); kind != nil {
		f.Message += "; it looks like " + kind.name
		if l.from.name != "" {
			f.Hint = "it was compressed again after it was delivered: take off the outer " + l.from.name + " first"
		}
	}
	return f
}
