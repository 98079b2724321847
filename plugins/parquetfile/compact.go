package parquetfile

import (
	"encoding/binary"
)

// compact reads Thrift's compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
// from bytes that nobody vouches for. The first problem ends it: err is set, and
// every further read gives zero. Nothing is allocated ahead of the bytes that ask for it.
type compact struct {
	b     []byte
	at    int
	depth int
	err   error
}

// The types of fields and list elements.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI16    = 4
	typeI32    = 5
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
)

// maxDepth bounds nested structures; the format's own go six deep.
const maxDepth = 32

func (r *compact) fail(format string, args ...any) {
	if r.err == nil {
		r.err = corrupt(format, args...)
	}
	r.at = len(r.b)
}

func (r *compact) byte() byte {
	if r.at >= len(r.b) {
		r.fail("the metadata ends early")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *compact) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail("the metadata holds a number that does not end")
		return 0
	}
	r.at += n
	return v
}

func (r *compact) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *compact) int32() int32 {
	v := r.varint()
	if v != int64(int32(v)) {
		r.fail("the metadata holds the number %d where one of 32 bits belongs", v)
		return 0
	}
	return int32(v)
}

// bytes returns a part of the input.
func (r *compact) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.at) {
		r.fail("the metadata announces a text of %d bytes and holds %d more", n, len(r.b)-r.at)
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at : r.at]
}

// structure calls field for every field of a structure, which reads the value or returns false.
func (r *compact) structure(field func(id int16, typ byte) bool) {
	if r.depth++; r.depth > maxDepth {
		r.fail("the metadata is nested more than %d deep", maxDepth)
	}
	defer func() { r.depth-- }()
	var id int16
	for r.err == nil {
		head := r.byte()
		if head == 0 {
			return
		}
		if delta := head >> 4; delta != 0 {
			id += int16(delta)
		} else {
			id = int16(r.varint())
		}
		if typ := head & 15; r.err == nil && !field(id, typ) {
			r.skip(typ, false)
		}
	}
}

// list calls element for every element of a list of that type. A list of another
// type fails.
func (r *compact) list(typ byte, element func()) {
	n, got := r.listHead()
	if r.err == nil && n > 0 && got != typ {
		r.fail("the metadata holds a list of type %d where one of type %d belongs", got, typ)
	}
	for i := 0; i < n && r.err == nil; i++ {
		element()
	}
}

func (r *compact) listHead() (n int, typ byte) {
	head := r.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = r.uvarint()
	}
	// Every element takes at least a byte.
	if size > uint64(len(r.b)-r.at) {
		r.fail("the metadata announces a list of %d elements in %d bytes", size, len(r.b)-r.at)
		return 0, 0
	}
	return int(size), head & 15
}

// skip passes over a value. Booleans have a byte of their own in lists alone.
func (r *compact) skip(typ byte, inList bool) {
	switch typ {
	case typeTrue, typeFalse:
		if inList {
			r.byte()
		}
	case typeByte:
		r.byte()
	case typeI16, typeI32, typeI64:
		r.uvarint()
	case typeDouble:
		if r.at += 8; r.at > len(r.b) {
			r.fail("the metadata ends early")
		}
	case typeBinary:
		r.bytes()
	case typeList, typeSet:
		r.nested(func() {
			n, typ := r.listHead()
			for i := 0; i < n && r.err == nil; i++ {
				r.skip(typ, true)
			}
		})
	case typeMap:
		r.nested(func() {
			n := r.uvarint()
			if n == 0 {
				return
			}
			types := r.byte()
			for i := uint64(0); i < n && r.err == nil; i++ {
				r.skip(types>>4, true)
				r.skip(types&15, true)
			}
		})
	case typeStruct:
		r.structure(func(int16, byte) bool { return false })
	default:
		r.fail("the metadata holds a value of the unknown type %d", typ)
	}
}

// nested runs f one level deeper.
func (r *compact) nested(f func()) {
	if r.depth++; r.depth > maxDepth {
		r.fail("the metadata is nested more than %d deep", maxDepth)
		return
	}
	f()
	r.depth--
}
