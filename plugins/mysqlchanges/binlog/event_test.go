package binlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestComparePositions(t *testing.T) {
	t.Parallel()
	ascending := []Position{
		{File: "binlog.000001", Offset: 4}, {File: "binlog.000001", Offset: 1 << 33}, {File: "binlog.000002", Offset: 4},
		{File: "binlog.999999", Offset: 4}, {File: "binlog.1000000", Offset: 4},
	}
	for i, p := range ascending {
		for j, q := range ascending {
			if got := p.Compare(q); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s compare as %d", p, q, got)
			}
		}
	}
}

// TestOffsets: offsets go on beyond what headers hold.
func TestOffsets(t *testing.T) {
	t.Parallel()
	r := &Reader{file: "binlog.000001", offset: 1<<32 - 100}
	for _, c := range []struct {
		h    header
		want uint64
	}{
		{header{typ: typeWriteRows2, size: 50, next: 1<<32 - 50}, 1<<32 - 50},
		{header{typ: typeWriteRows2, size: 60, next: 10}, 1<<32 + 10},
		{header{typ: typeFormatDescription, size: 60, next: 0}, 1<<32 + 10},
		{header{typ: typeGTIDList, size: 60, next: 999, flags: flagArtificial}, 1<<32 + 10},
		{header{typ: typeXID, size: 30, next: 40}, 1<<32 + 40},
	} {
		if r.advance(c.h); r.offset != c.want {
			t.Errorf("is at %d, want %d", r.offset, c.want)
		}
	}
}

// event makes one with its checksum.
func event(typ eventType, body []byte, checksum bool) []byte {
	size := headerSize + len(body)
	if checksum {
		size += checksumSize
	}
	b := make([]byte, headerSize)
	b[4] = byte(typ)
	binary.LittleEndian.PutUint32(b[9:], uint32(size))
	b = append(b, body...)
	if checksum {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	return b
}

// TestPayload: a compressed transaction is read event by event, and one that is damaged anywhere fails.
func TestPayload(t *testing.T) {
	t.Parallel()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var plain []byte
	for i := range 1000 {
		plain = append(plain, event(typeXID, bytes.Repeat([]byte{byte(i)}, i), false)...)
	}
	packed := encoder.EncodeAll(plain, nil)
	body := append([]byte{payloadSize, 3, 0xfc, byte(len(packed)), byte(len(packed) >> 8), payloadCompression, 1, compressionZSTD, payloadEnd}, packed...)
	whole := event(typePayload, body, true)
	read := func(whole []byte) (n int, err error) {
		from := bytes.NewReader(whole[headerSize:])
		p, err := openPayload(from, whole[:headerSize], int64(binary.LittleEndian.Uint32(whole[9:])), true)
		if err != nil {
			return 0, err
		}
		defer p.close()
		for buffer := []byte(nil); ; n++ {
			if buffer, err = p.next(buffer[:0], 1<<20); err == io.EOF {
				return n, p.finish()
			}
			if err != nil {
				return n, err
			}
		}
	}
	if n, err := read(whole); n != 1000 || err != nil {
		t.Fatalf("%d events and %v", n, err)
	}
	for at := headerSize; at < len(whole); at++ {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 0x10
		if _, err := read(spoilt); err == nil {
			t.Errorf("byte %d is wrong, and nobody notices", at)
		}
		if _, err := read(whole[:at]); err == nil {
			t.Errorf("%d bytes are enough", at)
		}
	}
}

// FuzzEvents: no event makes a parser panic, or take more memory than it has bytes.
func FuzzEvents(f *testing.F) {
	f.Add(byte(typeQuery), bytes.Repeat([]byte{1}, 40))
	f.Add(byte(typeUpdateRows2), []byte{1, 2, 3, 4, 5, 6, 0, 0, 2, 0, 3, 7, 7, 1, 2, 3})
	f.Add(byte(typeTaggedGTID), []byte{2, 60, 20, 0, 0, 2, 1, 2, 3})
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		r := &Reader{config: Config{LargestEvent: 1 << 20}}
		for range 3 {
			r.event = Event{}
			if err := r.take(header{typ: eventType(typ), size: uint32(len(body) + headerSize)}, body); err == nil && r.event.Kind == Rows {
				if want := (r.event.Columns + 7) / 8; r.event.Operation != Insert && len(r.event.Before) != want || r.event.Operation != Delete && len(r.event.After) != want {
					t.Errorf("%d columns, and bits in %d and %d bytes", r.event.Columns, len(r.event.Before), len(r.event.After))
				}
			}
		}
		_, _ = inflate(body, 1<<16)
	})
}
