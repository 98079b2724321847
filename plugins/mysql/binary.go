package mysql

import (
	"encoding/binary"
)

// decodeBinary appends a row of the binary protocol (ProtocolBinary::ResultsetRow):
// a zero byte, a bitmap of NULLs shifted by two bits, and the values end to end.
// It does not count the row when it fails.
func (b *batch) decodeBinary(p []byte) error {
	columns := b.columns
	pos := 1 + (len(columns)+9)/8
	if len(p) < pos || p[0] != 0 {
		return protocolFault("%s is not a row of the binary protocol", b.place())
	}
	nulls := p[1:pos]
	row := b.rows
	for i := range columns {
		c := &columns[i]
		if nulls[(i+2)>>3]&(1<<((i+2)&7)) != 0 {
			if err := b.setNull(i); err != nil {
				return err
			}
			continue
		}
		rest := p[pos:]
		switch c.kind {
		case kindInt8, kindUint8:
			if len(rest) < 1 {
				return b.malformed(i)
			}
			c.data[row] = rest[0]
			pos++
		case kindInt16, kindUint16, kindYear:
			if len(rest) < 2 {
				return b.malformed(i)
			}
			binary.LittleEndian.PutUint16(c.data[row*2:], binary.LittleEndian.Uint16(rest))
			pos += 2
		case kindInt32, kindUint32, kindFloat32:
			if len(rest) < 4 {
				return b.malformed(i)
			}
			binary.LittleEndian.PutUint32(c.data[row*4:], binary.LittleEndian.Uint32(rest))
			pos += 4
		case kindInt64, kindUint64, kindFloat64:
			if len(rest) < 8 {
				return b.malformed(i)
			}
			binary.LittleEndian.PutUint64(c.data[row*8:], binary.LittleEndian.Uint64(rest))
			pos += 8
		case kindDate, kindDatetime, kindTimestamp:
			// All but dates with a fraction, zero dates and nonsense. The date of
			// the row before, which is the usual case in tables that are sorted by
			// one, costs a comparison.
			if len(rest) > 4 && rest[0] == 4 {
				key := binary.LittleEndian.Uint32(rest[1:])
				if key == c.lastDate || c.learnDate(key) {
					if c.kind == kindDate {
						binary.LittleEndian.PutUint32(c.data[row*4:], uint32(c.lastDays))
					} else {
						binary.LittleEndian.PutUint64(c.data[row*8:], uint64(c.lastDays*secondsPerDay*c.perSecond))
					}
					pos += 5
					continue
				}
			} else if len(rest) > 7 && rest[0] == 7 && c.kind != kindDate {
				key := binary.LittleEndian.Uint32(rest[1:])
				hour, minute, second := rest[5], rest[6], rest[7]
				if hour < 24 && minute < 60 && second < 60 && (key == c.lastDate || c.learnDate(key)) {
					seconds := c.lastDays*secondsPerDay + int64(hour)*3600 + int64(minute)*60 + int64(second)
					binary.LittleEndian.PutUint64(c.data[row*8:], uint64(seconds*c.perSecond))
					pos += 8
					continue
				}
			}
			n, err := b.readMoment(i, rest)
			if err != nil {
				return err
			}
			pos += n
		case kindUnixSeconds:
			if len(rest) < 8 || rest[7] > 0x7f {
				return b.malformed(i)
			}
			if err := b.setUnix(i, int64(binary.LittleEndian.Uint64(rest)), 0); err != nil {
				return err
			}
			pos += 8
		case kindLocal, kindDateText, kindDatetimeText:
			n, err := b.readMoment(i, rest)
			if err != nil {
				return err
			}
			pos += n
		case kindTime:
			body, ok := shortBody(rest)
			if !ok {
				return b.malformed(i)
			}
			d, ok := binaryDuration(body)
			if !ok {
				return b.malformed(i)
			}
			if err := b.setDuration(i, d); err != nil {
				return err
			}
			pos += 1 + len(body)
		case kindText, kindBytes:
			// A length of one byte is by far the most common.
			if len(rest) > 0 && rest[0] < 0xfb && int(rest[0]) < len(rest) {
				n := int(rest[0])
				b.appendBytes(c, rest[1:1+n])
				pos += 1 + n
				continue
			}
			v, next, ok := lengthEncodedBytes(p, pos)
			if !ok {
				return b.malformed(i)
			}
			b.appendBytes(c, v)
			pos = next
		default:
			v, next, ok := lengthEncodedBytes(p, pos)
			if !ok {
				return b.malformed(i)
			}
			if err := b.setLengthEncoded(i, v); err != nil {
				return err
			}
			pos = next
		}
	}
	if pos != len(p) {
		return protocolFault("%s has %d bytes after its last column", b.place(), len(p)-pos)
	}
	b.rows++
	return nil
}

// readMoment stores the date, with or without a time, that rest begins with, by the kind of
// column i. It returns how many bytes that took.
func (b *batch) readMoment(i int, rest []byte) (int, error) {
	body, ok := shortBody(rest)
	if !ok {
		return 0, b.malformed(i)
	}
	m, ok := binaryMoment(body)
	if !ok {
		return 0, b.malformed(i)
	}
	return 1 + len(body), b.setMoment(i, m)
}

// shortBody returns the body of a value with a length byte in front.
func shortBody(rest []byte) ([]byte, bool) {
	if len(rest) == 0 || int(rest[0]) > len(rest)-1 {
		return nil, false
	}
	return rest[1 : 1+int(rest[0])], true
}

// setLengthEncoded stores the types that look the same in both protocols.
func (b *batch) setLengthEncoded(i int, v []byte) error {
	c := &b.columns[i]
	switch c.kind {
	case kindText, kindBytes:
		b.appendBytes(c, v)
		return nil
	case kindDecimal128:
		return b.decimalResult(i, putDecimal128(c.data[b.rows*16:], v, c.precision, c.scale))
	case kindDecimal256:
		return b.decimalResult(i, putDecimal256(c.data[b.rows*32:], v, c.precision, c.scale))
	case kindUnixSeconds, kindUnixDecimal:
		return b.setUnixText(i, v)
	case kindBit:
		if len(v) == 0 || len(v) > 8 {
			return b.malformed(i)
		}
		var bits uint64
		for _, octet := range v {
			bits = bits<<8 | uint64(octet)
		}
		b.put64(c, int64(bits))
		return nil
	case kindEWKB:
		const srid, head, hasSRID = 4, 5, 0x20000000
		if len(v) < srid+head || v[srid] != 1 { // little-endian, as servers store it
			return b.malformed(i)
		}
		if binary.LittleEndian.Uint32(v) == 0 {
			b.appendBytes(c, v[srid:])
			return nil
		}
		b.scratch = append(b.scratch[:0], 1)
		b.scratch = binary.LittleEndian.AppendUint32(b.scratch, binary.LittleEndian.Uint32(v[srid+1:])|hasSRID)
		b.scratch = append(b.scratch, v[:srid]...)
		b.scratch = append(b.scratch, v[srid+head:]...)
		b.appendBytes(c, b.scratch)
		return nil
	case kindGeometry:
		const srid, smallestWKB = 4, 5
		if len(v) < srid+smallestWKB {
			return b.malformed(i)
		}
		b.appendBytes(c, v[srid:])
		return nil
	}
	return b.malformed(i)
}

func (b *batch) decimalResult(i int, status decimalStatus) error {
	switch status {
	case decimalOK:
		return nil
	case decimalTooLong:
		return b.outOfRange(i, "a DECIMAL")
	}
	return b.malformed(i)
}
