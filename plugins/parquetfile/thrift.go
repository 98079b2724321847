package parquetfile

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// decodeThrift decodes a structure of Thrift's compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
// from the front of b, and says how many bytes it takes. The decoder is parquet-go's; it
// allocates what a list announces and descends as deep as the bytes do, so they are
// walked first. Texts in v lie in b.
func decodeThrift(b []byte, v any) (int, error) {
	w := walker{b: b}
	w.structure()
	if w.err != nil {
		return 0, w.err
	}
	r := (&thrift.CompactProtocol{}).NewReaderFromBytes(b[:w.at:w.at])
	if err := thrift.NewDecoder(r).Decode(v); err != nil {
		return 0, corrupt("the metadata is not valid: %w", err)
	}
	return w.at, nil
}

// walker passes over a structure from bytes that nobody vouches for. The first problem ends
// it: err is set, and every further step does nothing.
type walker struct {
	b        []byte
	at       int
	depth    int
	elements int // of lists of structures
	err      error
}

const (
	// maxDepth bounds nested structures; the format's own go six deep.
	maxDepth = 32
	// maxElements bounds the column chunks, columns and settings of a file: a hostile one takes a
	// byte of the file and about a hundred once it is decoded.
	maxElements = 1 << 20
)

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = corrupt(format, args...)
	}
	w.at = len(w.b)
}

func (w *walker) byte() byte {
	if w.at >= len(w.b) {
		w.fail("the metadata ends early")
		return 0
	}
	w.at++
	return w.b[w.at-1]
}

func (w *walker) uvarint() uint64 {
	v, n := binary.Uvarint(w.b[w.at:])
	if n <= 0 {
		w.fail("the metadata holds a number that does not end")
		return 0
	}
	w.at += n
	return v
}

// pass passes over n bytes.
func (w *walker) pass(n uint64) {
	if n > uint64(len(w.b)-w.at) {
		w.fail("the metadata announces %d bytes and holds %d more", n, len(w.b)-w.at)
		return
	}
	w.at += int(n)
}

func (w *walker) structure() {
	if w.depth++; w.depth > maxDepth {
		w.fail("the metadata is nested more than %d deep", maxDepth)
	}
	for w.err == nil {
		head := w.byte()
		if head == 0 {
			break
		}
		if head>>4 == 0 {
			w.uvarint() // the field's number, where it is not a small step from the last one
		}
		// Booleans have a byte of their own in lists alone.
		if typ := thrift.Type(head & 15); typ != thrift.TRUE && typ != thrift.FALSE {
			w.value(typ)
		}
	}
	w.depth--
}

func (w *walker) value(typ thrift.Type) {
	switch typ {
	case thrift.TRUE, thrift.FALSE, thrift.I8:
		w.byte()
	case thrift.I16, thrift.I32, thrift.I64:
		w.uvarint()
	case thrift.DOUBLE:
		w.pass(8)
	case thrift.BINARY:
		w.pass(w.uvarint())
	case thrift.LIST, thrift.SET:
		head := w.byte()
		n := uint64(head >> 4)
		if n == 15 {
			n = w.uvarint()
		}
		w.list(n, thrift.Type(head&15))
	case thrift.MAP:
		if n := w.uvarint(); n > 0 {
			types := w.byte()
			w.list(n, thrift.Type(types>>4), thrift.Type(types&15))
		}
	case thrift.STRUCT:
		w.structure()
	default:
		w.fail("the metadata holds a value of the unknown type %d", typ)
	}
}

// list passes over n elements, each of a value of every type.
func (w *walker) list(n uint64, types ...thrift.Type) {
	// Every element takes at least a byte.
	if n > uint64(len(w.b)-w.at) {
		w.fail("the metadata announces a list of %d elements in %d bytes", n, len(w.b)-w.at)
	}
	if types[0] == thrift.STRUCT {
		if w.elements += int(n); w.elements > maxElements {
			w.fail("the metadata has more than %d columns, column chunks and settings", maxElements)
		}
	}
	if w.depth++; w.depth > maxDepth {
		w.fail("the metadata is nested more than %d deep", maxDepth)
	}
	for i := uint64(0); i < n && w.err == nil; i++ {
		for _, typ := range types {
			w.value(typ)
		}
	}
	w.depth--
}
