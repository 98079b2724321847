package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

const (
	// maxEntries is where a dictionary is full. A batch may bring it some way beyond, but
	// never to more than 16 bits count.
	maxEntries = 32 << 10
	// dictionariesBytes is what the dictionaries of all columns may hold together, and
	// minDictionaryBytes and maxDictionaryBytes bound the share of one.
	dictionariesBytes                      = 20 << 20
	minDictionaryBytes, maxDictionaryBytes = 32 << 10, 1 << 20
)

// dictionary numbers the distinct values of a column in a row group, in the order
// in which they come.
type dictionary struct {
	plain []byte // the values, as the dictionary page holds them
	// width is the bytes of a value, or 0 for byte arrays, which have their length in front.
	width  int
	ends   []uint32 // of byte arrays in plain
	count  int
	limit  int    // of bytes in memory
	slots  []slot // open addressing; a power of two of them, at most half full
	seed   maphash.Seed
	seeded bool
	last   uint64 // the last key and its index
	lastAt uint16
}

// slot holds a part of a value's hash, and the value's index; at 0 means that it is empty.
type slot struct {
	tag uint32
	at  uint32 // index + 1
}

func (d *dictionary) reset() {
	d.plain, d.ends, d.count = d.plain[:0], d.ends[:0], 0
	clear(d.slots)
}

// keptSlots is up to where the memory of a dictionary is kept that was of no use; the next
// row group likely has none for it either.
const keptSlots = 16 << 10

// drop empties a dictionary that was of no use.
func (d *dictionary) drop() {
	if d.reset(); len(d.slots) > keptSlots {
		d.plain, d.ends, d.slots = nil, nil, nil
	}
}

// full reports whether more values should not come in.
func (d *dictionary) full() bool {
	return d.count >= maxEntries || len(d.plain)+4*len(d.ends)+8*len(d.slots) > d.limit
}

// grow doubles the table when it is half full.
func (d *dictionary) grow() {
	if 2*(d.count+1) <= len(d.slots) {
		return
	}
	old := d.slots
	d.slots = make([]slot, max(2*len(old), 64))
	mask := uint32(len(d.slots) - 1)
	for _, s := range old {
		if s.at == 0 {
			continue
		}
		i := s.tag & mask
		for d.slots[i].at != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

// scatter spreads keys that differ in few bits (Fibonacci hashing).
func scatter(key uint64) uint32 { return uint32(key * 0x9E3779B97F4A7C15 >> 32) }

// add takes a new value's index into an empty slot.
func (d *dictionary) add(i, tag uint32) uint16 {
	d.lastAt = uint16(d.count)
	d.count++
	d.slots[i] = slot{tag, uint32(d.count)}
	return d.lastAt
}

// word32 and word64 return the index of a value of four or eight bytes.
func (d *dictionary) word32(key uint32) uint16 {
	if d.count > 0 && uint64(key) == d.last {
		return d.lastAt
	}
	d.last = uint64(key)
	d.grow()
	tag, mask := scatter(uint64(key)), uint32(len(d.slots)-1)
	i := tag & mask
	for ; d.slots[i].at != 0; i = (i + 1) & mask {
		if s := d.slots[i]; s.tag == tag && binary.LittleEndian.Uint32(d.plain[4*(s.at-1):]) == key {
			d.lastAt = uint16(s.at - 1)
			return d.lastAt
		}
	}
	d.plain = binary.LittleEndian.AppendUint32(d.plain, key)
	return d.add(i, tag)
}

func (d *dictionary) word64(key uint64) uint16 {
	if d.count > 0 && key == d.last {
		return d.lastAt
	}
	d.last = key
	d.grow()
	tag, mask := scatter(key), uint32(len(d.slots)-1)
	i := tag & mask
	for ; d.slots[i].at != 0; i = (i + 1) & mask {
		if s := d.slots[i]; s.tag == tag && binary.LittleEndian.Uint64(d.plain[8*(s.at-1):]) == key {
			d.lastAt = uint16(s.at - 1)
			return d.lastAt
		}
	}
	d.plain = binary.LittleEndian.AppendUint64(d.plain, key)
	return d.add(i, tag)
}

// bytes returns the index of a byte array, or of a value of the width.
func (d *dictionary) bytes(value []byte) uint16 {
	if d.count > 0 && bytes.Equal(value, d.entry(int(d.lastAt))) {
		return d.lastAt
	}
	if !d.seeded {
		// The seed decides about collisions only; indexes follow the order of the values.
		d.seed, d.seeded = maphash.MakeSeed(), true
	}
	d.grow()
	tag, mask := uint32(maphash.Bytes(d.seed, value)), uint32(len(d.slots)-1)
	i := tag & mask
	for ; d.slots[i].at != 0; i = (i + 1) & mask {
		if s := d.slots[i]; s.tag == tag && bytes.Equal(value, d.entry(int(s.at-1))) {
			d.lastAt = uint16(s.at - 1)
			return d.lastAt
		}
	}
	if d.width == 0 {
		d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(len(value)))
	}
	d.plain = append(d.plain, value...)
	if d.width == 0 {
		d.ends = append(d.ends, uint32(len(d.plain)))
	}
	return d.add(i, tag)
}

// entry returns a value by its index, without the length in front.
func (d *dictionary) entry(i int) []byte {
	if d.width > 0 {
		return d.plain[i*d.width : (i+1)*d.width]
	}
	start := uint32(4)
	if i > 0 {
		start += d.ends[i-1]
	}
	return d.plain[start:d.ends[i]]
}

// appendPlain appends the values of indexes.
func (d *dictionary) appendPlain(dst []byte, indexes []uint16) []byte {
	for _, i := range indexes {
		value := d.entry(int(i))
		if d.width == 0 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
		}
		dst = append(dst, value...)
	}
	return dst
}
