package wire

import "encoding/binary"

// Arrow metadata is a flatbuffer (https://flatbuffers.dev/internals/). The code that flatc generates for Go trusts
// every offset in it, so a hostile message makes it panic or loop. The accessors here check each offset against the
// message before it is followed. They keep the first problem in flatbuf.err and answer zero values from then on, so
// that a walk can be written straight and checked once at its end.

// Enumerations of Message.fbs and Schema.fbs.
const (
	metadataV4 = 3
	metadataV5 = 4

	headerSchema          = 1
	headerDictionaryBatch = 2
	headerRecordBatch     = 3
)

// Slots of the tables Message and RecordBatch, counted from zero in the order of Message.fbs.
const (
	messageVersion    = 0
	messageHeaderType = 1
	messageHeader     = 2
	messageBodyLength = 3
	messageMetadata   = 4

	batchLength      = 0
	batchNodes       = 1
	batchBuffers     = 2
	batchCompression = 3
)

type flatbuf struct {
	b   []byte
	err error
}

func (f *flatbuf) fail(what string, at int) {
	if f.err == nil {
		f.err = malformed("metadata: %s at byte %d of %d", what, at, len(f.b))
	}
}

// table is a checked table: its vtable and its inline part lie inside the message.
type table struct {
	f     *flatbuf
	pos   int // start of the inline part
	size  int // length of the inline part
	vt    int // start of the vtable
	vsize int // length of the vtable
}

func (f *flatbuf) root() table {
	if len(f.b) < 4 {
		f.fail("too short for a root offset", 0)
		return table{f: f}
	}
	return f.tableAt(int(binary.LittleEndian.Uint32(f.b)))
}

func (f *flatbuf) tableAt(pos int) table {
	none := table{f: f}
	if f.err != nil {
		return none
	}
	if pos < 4 || pos > len(f.b)-4 {
		f.fail("table outside the message", pos)
		return none
	}
	vt := pos - int(int32(binary.LittleEndian.Uint32(f.b[pos:])))
	if vt < 0 || vt > len(f.b)-4 {
		f.fail("vtable outside the message", pos)
		return none
	}
	t := table{
		f: f, pos: pos, vt: vt,
		vsize: int(binary.LittleEndian.Uint16(f.b[vt:])),
		size:  int(binary.LittleEndian.Uint16(f.b[vt+2:])),
	}
	if t.vsize < 4 || t.vsize%2 != 0 || t.vsize > len(f.b)-vt {
		f.fail("vtable length out of range", vt)
		return none
	}
	if t.size < 4 || t.size > len(f.b)-pos {
		f.fail("table length out of range", pos)
		return none
	}
	return t
}

// at gives the position of the n bytes of a slot; false when the slot is absent or the walk has failed.
func (t table) at(slot, n int) (int, bool) {
	v := 4 + 2*slot
	if t.f.err != nil || v+2 > t.vsize {
		return 0, false
	}
	o := int(binary.LittleEndian.Uint16(t.f.b[t.vt+v:]))
	if o == 0 {
		return 0, false
	}
	if o < 4 || o+n > t.size {
		t.f.fail("field outside its table", t.pos)
		return 0, false
	}
	return t.pos + o, true
}

func (t table) uint8(slot int, absent uint8) uint8 {
	if p, ok := t.at(slot, 1); ok {
		return t.f.b[p]
	}
	return absent
}

func (t table) bool(slot int) bool { return t.uint8(slot, 0) != 0 }

func (t table) int16(slot int, absent int16) int16 {
	if p, ok := t.at(slot, 2); ok {
		return int16(binary.LittleEndian.Uint16(t.f.b[p:]))
	}
	return absent
}

func (t table) int32(slot int, absent int32) int32 {
	if p, ok := t.at(slot, 4); ok {
		return int32(binary.LittleEndian.Uint32(t.f.b[p:]))
	}
	return absent
}

func (t table) int64(slot int, absent int64) int64 {
	if p, ok := t.at(slot, 8); ok {
		return int64(binary.LittleEndian.Uint64(t.f.b[p:]))
	}
	return absent
}

// table follows a slot to another table; false when it is absent.
func (t table) table(slot int) (table, bool) {
	p, ok := t.at(slot, 4)
	if !ok {
		return table{f: t.f}, false
	}
	sub := t.f.tableAt(p + int(binary.LittleEndian.Uint32(t.f.b[p:])))
	return sub, t.f.err == nil
}

// vector gives the bytes of a vector of elements of the given width, and where they start; nil when it is absent.
func (t table) vector(slot, width int) (elems []byte, start int) {
	p, ok := t.at(slot, 4)
	if !ok {
		return nil, 0
	}
	start = p + int(binary.LittleEndian.Uint32(t.f.b[p:]))
	if start > len(t.f.b)-4 {
		t.f.fail("vector outside the message", p)
		return nil, 0
	}
	n := int(binary.LittleEndian.Uint32(t.f.b[start:]))
	start += 4
	if n > (len(t.f.b)-start)/width {
		t.f.fail("vector longer than the message", start)
		return nil, 0
	}
	return t.f.b[start : start+n*width], start
}

// tables calls visit for each table of a vector of tables, and stops at the first failure.
func (t table) tables(slot int, visit func(table)) {
	elems, start := t.vector(slot, 4)
	for i := 0; i < len(elems) && t.f.err == nil; i += 4 {
		sub := t.f.tableAt(start + i + int(binary.LittleEndian.Uint32(elems[i:])))
		if t.f.err == nil {
			visit(sub)
		}
	}
}

func (t table) bytes(slot int) []byte {
	b, _ := t.vector(slot, 1)
	return b
}
