package decrypt

import (
	"bufio"
	"bytes"
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

// otherWords is how much longer a line may be than the sealer makes it: spaces, escapes, members of others.
const otherWords = 64 << 10

func newLines(from *container, maxUnit int) *lines {
	return &lines{from: from, in: bufio.NewReaderSize(from, sourceBuffer),
		limit: envelope.LineSize(maxUnit) + otherWords, maxUnit: maxUnit}
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
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return nil, err
		}
		if len(l.long) == 0 && len(part) > 0 && !envelope.Begins(part) && !isObject(part) {
			// Nothing that follows is worth reading, however long it is.
			return nil, l.foreign(part, index)
		}
		if len(l.long)+len(part) > l.limit {
			return nil, l.tooLong(index)
		}
		if err == nil && len(l.long) == 0 {
			return part[:len(part)-1], nil
		}
		l.long = append(l.long, part...)
		switch {
		case err == nil:
			return l.long[:len(l.long)-1], nil
		case err == io.EOF && len(l.long) == 0:
			return nil, io.EOF
		case err == io.EOF && bytes.HasSuffix(bytes.TrimRight(l.long, spaces), []byte("}")):
			// All but its end is there: something on the way took that off.
			return l.long, nil
		case err == io.EOF:
			return nil, fault.New(codeTruncated, fault.Data, "the delivery ends within line %d (index %d), after %d bytes of it", index+1, index, len(l.long)).
				WithHint("fetch the delivery again")
		}
	}
}

// spaces are those of JSON.
const spaces = " \t\r\n"

// isObject reports whether text may be the beginning of a JSON object.
func isObject(text []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(text, spaces), []byte("{")) }

func (l *lines) tooLong(index int64) error {
	return fault.New(codeLine, fault.Data, "line %d (index %d) is longer than a row of %d bytes becomes", index+1,
		index, l.maxUnit).
		WithHint("if such long rows are to be expected, raise the limit")
}

// foreign says what is wrong with a line that is no envelope at all.
func (l *lines) foreign(part []byte, index int64) error {
	f := fault.New(envelope.Malformed, fault.Data, "line %d (index %d) is not a sealed line", index+1, index)
	if index > 0 {
		return f.WithHint("something was put among the lines; fetch the delivery again").
			WithDetail("index", itoa(index)).WithDetail("line", itoa(index+1))
	}
	f = fault.New(envelope.Malformed, fault.Data,
		"this is not a sealed delivery: its first line (index 0) is not a sealed line").
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
