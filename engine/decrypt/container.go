package decrypt

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// kind is a kind of container.
type kind struct {
	name string
	is   func(beginning []byte) bool
	open func(in *source) (io.Reader, func(), error)
}

// kinds is told by the first bytes: RFC 1952, section 2.3.1; APPNOTE.TXT, sections 4.3.7
// and 4.3.16; RFC 8878, sections 3.1.1 and 3.1.2.
var kinds = []kind{
	{"gzip", prefix("\x1f\x8b"), openGzip},
	{"zip", func(b []byte) bool { return prefix("PK\x03\x04")(b) || prefix("PK\x05\x06")(b) }, openZip},
	{"zstd", func(b []byte) bool {
		return prefix("\x28\xb5\x2f\xfd")(b) || len(b) >= 4 && b[0]&0xf0 == 0x50 && prefix("\x2a\x4d\x18")(b[1:])
	}, openZstd},
}

const longestMagic = 4

func prefix(magic string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }
}

// detect returns the kind of container that begins so, or nil.
func detect(beginning []byte) *kind {
	for i := range kinds {
		if kinds[i].is(beginning) {
			return &kinds[i]
		}
	}
	return nil
}

// container is what a stream holds: its content, or the stream itself. It ends with
// io.EOF when the container ended as it should and nothing follows.
type container struct {
	name  string
	in    *source
	from  io.Reader
	close func()
}

func open(in *source) (*container, error) {
	beginning, err := in.Peek(longestMagic)
	if err != nil && err != io.EOF {
		return nil, err
	}
	k := detect(beginning)
	if k == nil {
		return &container{in: in, from: in, close: func() {}}, nil
	}
	c := &container{name: k.name, in: in}
	if c.from, c.close, err = k.open(in); err != nil {
		return nil, c.broken(err)
	}
	return c, nil
}

func (c *container) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if err == nil || c.name == "" {
		return n, err
	}
	if err == io.EOF {
		err = c.in.atEnd(c.name)
	}
	if err == io.EOF {
		return n, err
	}
	return n, c.broken(err)
}

// broken makes a fault of what a decompressor says.
func (c *container) broken(err error) error {
	var coded *fault.Fault
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.New(codeTruncated, fault.Data, "the %s data ends before its end, after %d bytes", c.name,
			c.in.offset()).
			WithHint("fetch the delivery again")
	}
	return fault.New(codeContainer, fault.Data, "the %s data is broken near byte %d: %w", c.name, c.in.offset(), err).
		WithHint("fetch the delivery again")
}

// openGzip reads one member: a delivery has no more.
func openGzip(in *source) (io.Reader, func(), error) {
	z, err := gzip.NewReader(in.Reader)
	if err != nil {
		return nil, nil, err
	}
	z.Multistream(false)
	return z, func() {}, nil
}

// maxWindow bounds the memory of a zstd frame; it is what the zstd program allows.
const maxWindow = 128 << 20

// openZstd reads frames to the end of the stream, as every reader does.
func openZstd(in *source) (io.Reader, func(), error) {
	z, err := zstd.NewReader(in.Reader, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
