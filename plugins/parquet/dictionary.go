package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

const (
	// sampleRows is how many rows of a column are seen before its dictionary is
	// judged, and fewDistinct how many rows a distinct value must stand for then.
	sampleRows  = 1024
	fewDistinct = 4
	// maxEntries and maxDictionaryBytes are where a dictionary ends: what follows in
	// the row group is written plainly.
	maxEntries         = 32 << 10
	maxDictionaryBytes = 256 << 10
)

// dictionary numbers the distinct values of a column in a row group, in the order
// in which they come. The zero value is empty.
type dictionary struct {
	plain   []byte   // the values, as the dictionary page holds them
	ends    []uint32 // of byte arrays in plain
	count   int
	slots   []slot // open addressing; a power of two of them, at most half full
	seed    maphash.Seed
	hasSeed bool
	last    uint64 // the last key and its index
	lastAt  uint16
}

// slot holds a key and the index of its value; at 0 means that it is empty.
type slot struct {
	key uint64
	at  uint32 // index + 1
}

func (d *dictionary) reset() {
	d.plain, d.ends, d.count = d.plain[:0], d.ends[:0], 0
	clear(d.slots)
}

// full reports whether more values should not come in.
func (d *dictionary) full() bool { return d.count >= maxEntries || len(d.plain) >= maxDictionaryBytes }

// grow doubles the table when it is half full.
func (d *dictionary) grow() {
	if 2*(d.count+1) <= len(d.slots) {
		return
	}
	old := d.slots
	d.slots = make([]slot, max(2*len(old), 64))
	mask := uint64(len(d.slots) - 1)
	for _, s := range old {
		if s.at == 0 {
			continue
		}
		i := scatter(s.key) & mask
		for d.slots[i].at != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

// scatter spreads keys that differ in few bits (Fibonacci hashing).
func scatter(key uint64) uint64 {
	key *= 0x9E3779B97F4A7C15
	return key ^ key>>32
}

// fixed returns the index of a value of size bytes, 4 or 8, whose bits are key.
// fresh says that it is a new one.
func (d *dictionary) fixed(key uint64, size int) (at uint16, fresh bool) {
	if d.count > 0 && key == d.last {
		return d.lastAt, false
	}
	d.grow()
	mask := uint64(len(d.slots) - 1)
	i := scatter(key) & mask
	for ; d.slots[i].at != 0; i = (i + 1) & mask {
		if d.slots[i].key == key {
			d.last, d.lastAt = key, uint16(d.slots[i].at-1)
			return d.lastAt, false
		}
	}
	d.last, d.lastAt = key, uint16(d.count)
	d.count++
	d.slots[i] = slot{key, uint32(d.count)}
	if size == 4 {
		d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(key))
	} else {
		d.plain = binary.LittleEndian.AppendUint64(d.plain, key)
	}
	return d.lastAt, true
}

// variable returns the index of a byte array.
func (d *dictionary) variable(value []byte) (at uint16, fresh bool) {
	if d.count > 0 && bytes.Equal(value, d.entry(int(d.lastAt))) {
		return d.lastAt, false
	}
	if !d.hasSeed {
		// The seed decides about collisions only; indexes follow the order of the values.
		d.seed, d.hasSeed = maphash.MakeSeed(), true
	}
	d.grow()
	key := maphash.Bytes(d.seed, value)
	mask := uint64(len(d.slots) - 1)
	i := scatter(key) & mask
	for ; d.slots[i].at != 0; i = (i + 1) & mask {
		if d.slots[i].key == key && bytes.Equal(value, d.entry(int(d.slots[i].at-1))) {
			d.lastAt = uint16(d.slots[i].at - 1)
			return d.lastAt, false
		}
	}
	d.lastAt = uint16(d.count)
	d.count++
	d.slots[i] = slot{key, uint32(d.count)}
	d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(len(value)))
	d.plain = append(d.plain, value...)
	d.ends = append(d.ends, uint32(len(d.plain)))
	return d.lastAt, true
}

// entry returns a byte array by its index.
func (d *dictionary) entry(i int) []byte {
	start := uint32(4)
	if i > 0 {
		start += d.ends[i-1]
	}
	return d.plain[start:d.ends[i]]
}

// appendPlain appends the values of indexes. size is 4 or 8, or 0 for byte arrays.
func (d *dictionary) appendPlain(dst []byte, indexes []uint16, size int) []byte {
	for _, i := range indexes {
		if size > 0 {
			dst = append(dst, d.plain[int(i)*size:(int(i)+1)*size]...)
			continue
		}
		value := d.entry(int(i))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
		dst = append(dst, value...)
	}
	return dst
}
