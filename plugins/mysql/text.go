package mysql

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"
)

// decodeText appends a row of the text protocol (ProtocolText::ResultsetRow):
// every value as a length-encoded string, NULL as 0xFB. It does not count the row
// when it fails.
func (b *batch) decodeText(p []byte) error {
	pos := 0
	for i := range b.columns {
		if pos < len(p) && p[pos] == 0xfb {
			pos++
			if err := b.setNull(i); err != nil {
				return err
			}
			continue
		}
		var v []byte
		// A length of one byte is by far the most common.
		if pos < len(p) && p[pos] < 0xfb && int(p[pos]) < len(p)-pos {
			start := pos + 1
			pos = start + int(p[pos])
			v = p[start:pos:pos]
		} else {
			var ok bool
			if v, pos, ok = lengthEncodedBytes(p, pos); !ok {
				return b.malformed(i)
			}
		}
		if err := b.setText(i, v); err != nil {
			return err
		}
	}
	if pos != len(p) {
		return protocolFault("%s has %d bytes after its last column", b.place(), len(p)-pos)
	}
	b.rows++
	return nil
}

// setText stores a value of the text protocol in column i.
func (b *batch) setText(i int, v []byte) error {
	c := &b.columns[i]
	row := b.rows
	switch c.kind {
	case kindText, kindBytes:
		b.appendBytes(c, v)
		return nil
	case kindInt8, kindInt16, kindInt32, kindInt64:
		n, ok := parseSigned(v)
		if !ok {
			return b.malformed(i)
		}
		return b.setInteger(i, uint64(n), n == signExtend(n, c.width))
	case kindUint8, kindUint16, kindYear, kindUint32, kindUint64:
		n, ok := parseUnsigned(v)
		if !ok {
			return b.malformed(i)
		}
		return b.setInteger(i, n, c.width == 8 || n < 1<<(8*c.width))
	case kindFloat32:
		f, ok := parseFloat(v, 32)
		if !ok {
			return b.malformed(i)
		}
		binary.LittleEndian.PutUint32(c.data[row*4:], math.Float32bits(float32(f)))
		return nil
	case kindFloat64:
		f, ok := parseFloat(v, 64)
		if !ok {
			return b.malformed(i)
		}
		b.put64(c, int64(math.Float64bits(f)))
		return nil
	case kindDate, kindDatetime, kindTimestamp, kindLocal, kindDateText, kindDatetimeText:
		m, ok := textMoment(v)
		if !ok {
			return b.malformed(i)
		}
		return b.setMoment(i, m)
	case kindTime:
		d, ok := textDuration(v)
		if !ok {
			return b.malformed(i)
		}
		return b.setDuration(i, d)
	}
	return b.setLengthEncoded(i, v)
}

// setInteger stores the low bytes of n.
func (b *batch) setInteger(i int, n uint64, fits bool) error {
	if !fits {
		return b.outOfRange(i, "an integer")
	}
	c := &b.columns[i]
	row := b.rows
	switch c.width {
	case 1:
		c.data[row] = byte(n)
	case 2:
		binary.LittleEndian.PutUint16(c.data[row*2:], uint16(n))
	case 4:
		binary.LittleEndian.PutUint32(c.data[row*4:], uint32(n))
	default:
		binary.LittleEndian.PutUint64(c.data[row*8:], n)
	}
	return nil
}

// signExtend takes n as an integer of width bytes.
func signExtend(n int64, width int) int64 {
	unused := 64 - 8*width
	return n << unused >> unused
}

func parseSigned(v []byte) (int64, bool) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	n, ok := parseUnsigned(v)
	if negative {
		return -int64(n), ok && n <= 1<<63
	}
	return int64(n), ok && n < 1<<63
}

func parseUnsigned(v []byte) (n uint64, ok bool) {
	for i, c := range v {
		digit := uint64(c - '0')
		if digit > 9 || i >= 19 && n > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, len(v) > 0
}

// parseFloat takes only what a server prints: no infinities, no hexadecimal.
func parseFloat(v []byte, bits int) (float64, bool) {
	for _, c := range v {
		if c-'0' > 9 && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(v), len(v)), bits)
	return f, err == nil
}
