package row

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"strconv"
)

// What only MariaDB has: columns that are COMPRESSED, and the types INET4, INET6 and UUID.

// The first byte of a compressed value: how many bytes the length of the plain one has, whether the zlib stream has no
// header, and the method (Field_longstr::compress). A first byte of 0 is followed by the plain value.
const (
	compressedLength = 0x07
	compressedRaw    = 0x08
	compressedMethod = 0xf0
	methodZlib       = 0x80
)

// plain gives the value of a column that may be COMPRESSED.
func (d *Decoder) plain(in *input, out *output, v []byte) ([]byte, error) {
	if in.code != typeVarcharCompressed && in.code != typeBlobCompressed || len(v) == 0 {
		return v, nil
	}
	head := v[0]
	if head == 0 {
		return v[1:], nil
	}
	size := int(head & compressedLength)
	if head&compressedMethod != methodZlib || size < 1 || size > 4 || len(v) < 1+size {
		return nil, d.malformed(out)
	}
	length := int64(bigEndian(v[1 : 1+size]))
	if length > int64(d.budget) {
		return nil, d.spend(out, d.budget+1)
	}
	var stream io.ReadCloser
	var err error
	if source := bytes.NewReader(v[1+size:]); head&compressedRaw != 0 {
		stream = flate.NewReader(source)
	} else if stream, err = zlib.NewReader(source); err != nil {
		return nil, d.malformed(out)
	}
	defer stream.Close()
	var plain bytes.Buffer
	if n, err := io.Copy(&plain, io.LimitReader(stream, length+1)); err != nil || n != length {
		return nil, d.malformed(out)
	}
	return plain.Bytes(), nil
}

// fixedBytes is a value of so many bytes, of which the log leaves zeros at the end out.
func (d *Decoder) fixedBytes(out *output, v []byte, size int) ([]byte, error) {
	if len(v) > size {
		return nil, d.malformed(out)
	}
	d.scratch = append(d.scratch[:0], v...)
	for len(d.scratch) < size {
		d.scratch = append(d.scratch, 0)
	}
	return d.scratch, nil
}

func decodeINET4(d *Decoder, _ *input, out *output, v []byte) error {
	v, err := d.fixedBytes(out, v, 4)
	if err != nil {
		return err
	}
	out.values = netip.AddrFrom4([4]byte(v)).AppendTo(out.values)
	out.end()
	return nil
}

func decodeINET6(d *Decoder, _ *input, out *output, v []byte) error {
	v, err := d.fixedBytes(out, v, 16)
	if err != nil {
		return err
	}
	out.values = appendINET6(out.values, [16]byte(v))
	out.end()
	return nil
}

// appendINET6 writes an address as the server does: the first of the longest runs of zeros is left out, be it one, and the
// end is that of an IPv4 address where nothing but such a run stands before it, or the ffff of a mapped one.
func appendINET6(out []byte, address [16]byte) []byte {
	const words = 8
	word := func(i int) uint64 { return uint64(binary.BigEndian.Uint16(address[2*i:])) }
	gap, length := -1, 0
	for i := 0; i < words; i++ {
		from := i
		for i < words && word(i) == 0 {
			i++
		}
		if i-from > length {
			gap, length = from, i-from
		}
	}
	for i := 0; i < words; i++ {
		switch {
		case i == gap:
			if i == 0 {
				out = append(out, ':')
			}
			out = append(out, ':')
			i += length - 1
		case i == 6 && gap == 0 && (length == 6 || length == 5 && word(5) == 0xffff):
			return netip.AddrFrom4([4]byte(address[12:])).AppendTo(out)
		default:
			out = strconv.AppendUint(out, word(i), 16)
			if i < words-1 {
				out = append(out, ':')
			}
		}
	}
	return out
}

// decodeUUID reads a UUID.
func decodeUUID(d *Decoder, _ *input, out *output, v []byte) error {
	v, err := d.fixedBytes(out, v, 16)
	if err != nil {
		return err
	}
	for i, part := range [][]byte{v[:4], v[4:6], v[6:8], v[8:10], v[10:]} {
		if i > 0 {
			out.values = append(out.values, '-')
		}
		out.values = hex.AppendEncode(out.values, part)
	}
	out.end()
	return nil
}
