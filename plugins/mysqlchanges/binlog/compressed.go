package binlog

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Fields and values of a compressed transaction's event (MySQL, binary_log::codecs::binary::Transaction_payload).
const (
	payloadEnd         = 0
	payloadSize        = 1
	payloadCompression = 2

	compressionZSTD = 0
	compressionNone = 255
)

// largestWindow bounds what the decompressor keeps, whatever the level that the server compresses with.
const largestWindow = 128 << 20

// payload is a transaction that MySQL has compressed, read as it comes.
type payload struct {
	event  io.Reader // what is left of the event, without its checksum
	packet io.Reader // the event as it comes
	sum    hash.Hash32
	check  bool
	plain  io.Reader
	zstd   *zstd.Decoder
}

// openPayload reads up to what is compressed. Head is the event's header, and size its size with it.
func openPayload(packet io.Reader, head []byte, size int64, checksum bool) (*payload, error) {
	size -= int64(len(head))
	if checksum {
		size -= checksumSize
	}
	if size < 0 {
		return nil, malformed("a compressed transaction of no length")
	}
	p := &payload{packet: packet, sum: crc32.NewIEEE(), check: checksum}
	p.sum.Write(head)
	p.event = io.TeeReader(io.LimitReader(packet, size), p.sum)
	length, compression := uint64(0), uint64(compressionNone)
	for {
		var field [2]byte
		if _, err := io.ReadFull(p.event, field[:1]); err != nil {
			return nil, short(err)
		}
		if field[0] == payloadEnd {
			break
		}
		if _, err := io.ReadFull(p.event, field[1:]); err != nil {
			return nil, short(err)
		}
		value := make([]byte, field[1])
		if _, err := io.ReadFull(p.event, value); err != nil {
			return nil, short(err)
		}
		n, ok := packed(value)
		if !ok {
			return nil, malformed("a field of a compressed transaction is no number")
		}
		switch field[0] {
		case payloadSize:
			length = n
		case payloadCompression:
			compression = n
		}
	}
	body := io.LimitReader(p.event, int64(min(length, 1<<62)))
	switch compression {
	case compressionNone:
		p.plain = body
	case compressionZSTD:
		var err error
		p.zstd, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(largestWindow))
		if err != nil {
			return nil, malformed("a compressed transaction: %w", err)
		}
		p.plain = p.zstd
	default:
		return nil, fault.New(CodeLog, fault.Source, "a transaction is compressed in a way that is not known: %d", compression).
			WithHint("set binlog_transaction_compression=OFF on the server, and reset the stream from 0")
	}
	return p, nil
}

// packed reads a length-encoded integer that is the whole value.
func packed(b []byte) (n uint64, ok bool) {
	switch {
	case len(b) == 1 && b[0] < 0xfb:
		return uint64(b[0]), true
	case len(b) == 3 && b[0] == 0xfc:
		return uint64(binary.LittleEndian.Uint16(b[1:])), true
	case len(b) == 4 && b[0] == 0xfd:
		return uint64(b[1]) | uint64(b[2])<<8 | uint64(b[3])<<16, true
	case len(b) == 9 && b[0] == 0xfe:
		return binary.LittleEndian.Uint64(b[1:]), true
	}
	return 0, false
}

// next appends the next event to what is empty. It is io.EOF behind the last one.
func (p *payload) next(to []byte, largest int) ([]byte, error) {
	var head [headerSize]byte
	if n, err := io.ReadFull(p.plain, head[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return to, io.EOF
		}
		return to, p.broken(err)
	}
	size := int64(binary.LittleEndian.Uint32(head[9:]))
	switch {
	case size < headerSize:
		return to, malformed("an event of %d bytes in a compressed transaction", size)
	case size > int64(largest):
		return to, fault.New(CodeEventSize, fault.Data, "an event of %d bytes in a compressed transaction; at most %d are taken", size, largest).
			WithHint("raise max_row_size, and --plugin-memory with it")
	}
	to, err := readBody(p.plain, append(to, head[:]...), int(size)-headerSize)
	if err != nil {
		return to, p.broken(err)
	}
	return to, nil
}

// broken codes what goes wrong in decompression; what goes wrong with the connection is coded already.
func (p *payload) broken(err error) error {
	var coded *fault.Fault
	if errors.As(err, &coded) {
		return coded
	}
	return malformed("a compressed transaction: %w", err)
}

// finish reads what is left of the event and checks its checksum.
func (p *payload) finish() error {
	p.close()
	if _, err := io.Copy(io.Discard, p.event); err != nil {
		return err
	}
	if !p.check {
		return nil
	}
	var came [checksumSize]byte
	if _, err := io.ReadFull(p.packet, came[:]); err != nil {
		return short(err)
	}
	if binary.LittleEndian.Uint32(came[:]) != p.sum.Sum32() {
		return malformed("the checksum of a compressed transaction is wrong")
	}
	return nil
}

func (p *payload) close() {
	if p.zstd != nil {
		p.zstd.Close()
		p.zstd = nil
	}
}

// inflate gives the bytes of what MariaDB compresses: a byte whose lower bits are the length of the length that follows.
func inflate(b []byte, largest int) ([]byte, error) {
	if len(b) == 0 || b[0]&0x07 == 0 || int(b[0]&0x07) > 4 || len(b) < 1+int(b[0]&0x07) || b[0]&0x70 != 0 {
		return nil, malformed("compressed rows have no length, or are compressed in a way that is not known")
	}
	size := 0
	n := int(b[0] & 0x07)
	for _, digit := range b[1 : 1+n] {
		size = size<<8 | int(digit)
	}
	if size > largest {
		return nil, fault.New(CodeEventSize, fault.Data, "compressed rows of %d bytes; at most %d are taken", size, largest).
			WithHint("raise max_row_size, and --plugin-memory with it")
	}
	r, err := zlib.NewReader(bytes.NewReader(b[1+n:]))
	if err != nil {
		return nil, malformed("compressed rows: %w", err)
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(r, int64(size)+1)); err != nil {
		return nil, malformed("compressed rows: %w", err)
	}
	if out.Len() != size {
		return nil, malformed("compressed rows have another length than they say")
	}
	return out.Bytes(), nil
}
