package record

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"os"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

const (
	streamPrefix = 8 // continuation marker and length of the metadata
	continuation = math.MaxUint32
	copyBuffer   = 256 << 10
)

// arrowFile makes an Arrow IPC file of the messages of an IPC stream, as they are.
type arrowFile struct {
	file    *os.File
	out     *bufio.Writer
	offset  int64
	index   wire.FileIndex
	batches int
	rows    int64
	bytes   int64
}

func newArrowFile(file *os.File) (*arrowFile, error) {
	f := &arrowFile{file: file, out: bufio.NewWriterSize(file, copyBuffer)}
	return f, f.write([]byte(wire.FileOpening))
}

func (f *arrowFile) write(p []byte) error {
	n, err := f.out.Write(p)
	f.offset += int64(n)
	return err
}

// message notes that a message with this metadata begins at offset.
func (f *arrowFile) message(offset int64, metadata []byte, m wire.Message) {
	f.index.Add(offset, metadata, m)
	if m.RecordBatch {
		f.batches++
		f.rows += m.Rows
		f.bytes += m.BodyBytes
	}
}

// finish writes the footer of a stream that has ended with its marker.
func (f *arrowFile) finish() error {
	footer, err := f.index.Footer()
	if err == nil {
		err = f.write(footer)
	}
	if err == nil {
		err = f.out.Flush()
	}
	return err
}

// ending is how a stream ended.
type ending int

const (
	endedWhole     ending = iota // with its end-of-stream marker
	endedTruncated               // without: its writer went away
	endedForeign                 // it is no Arrow stream
	endedRefused                 // its reader went away
)

// copyStream copies an Arrow IPC stream to a reader, byte by byte as it comes, and into
// the file. What is no Arrow stream is copied too, for its reader to refuse. The error
// is the file's own.
func copyStream(to io.Writer, f *arrowFile, from io.Reader) (ending, error) {
	var head []byte
	buffer := make([]byte, copyBuffer)
	both := func(p []byte) (refused bool, err error) {
		if len(p) == 0 {
			return false, nil
		}
		if _, err := to.Write(p); err != nil {
			return true, nil
		}
		return false, f.write(p)
	}
	for {
		offset := f.offset
		head = append(head[:0], make([]byte, streamPrefix)...)
		n, err := io.ReadFull(from, head)
		if err != nil {
			_, err := both(head[:n])
			return endedTruncated, err
		}
		length := int32(binary.LittleEndian.Uint32(head[4:]))
		marked := binary.LittleEndian.Uint32(head) == continuation
		if marked && length == 0 {
			refused, err := both(head)
			return endingOf(refused, endedWhole), err
		}
		var m wire.Message
		ok := marked && length > 0 && length <= wire.MaxMetadataBytes
		if ok {
			head = append(head, make([]byte, length)...)
			if n, err = io.ReadFull(from, head[streamPrefix:]); err != nil {
				_, err := both(head[:streamPrefix+n])
				return endedTruncated, err
			}
			m, err = wire.ParseMessage(head[streamPrefix:])
			ok = err == nil
		}
		if refused, err := both(head); refused || err != nil {
			return endingOf(refused, endedTruncated), err
		}
		left := m.BodyBytes
		if !ok {
			left = math.MaxInt64
		}
		for left > 0 {
			n, err := from.Read(buffer[:min(left, copyBuffer)])
			left -= int64(n)
			if refused, err := both(buffer[:n]); refused || err != nil {
				return endingOf(refused, endedTruncated), err
			}
			if err != nil {
				if !ok {
					return endedForeign, nil
				}
				return endedTruncated, nil
			}
		}
		f.message(offset, head[streamPrefix:], m)
	}
}

func endingOf(refused bool, otherwise ending) ending {
	if refused {
		return endedRefused
	}
	return otherwise
}
