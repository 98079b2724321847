package decrypt

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// A zip archive is read as a stream: the one entry, then its data descriptor, then the
// directory, which must stand behind it and say the same of the entry as it turned out to
// be. Section numbers are those of PKWARE's APPNOTE.TXT 6.3.10.
const (
	signLocal      = 0x04034b50 // 4.3.7
	signDescriptor = 0x08074b50 // 4.3.9
	signDirectory  = 0x02014b50 // 4.3.12
	signEnd64      = 0x06064b50 // 4.3.14
	signLocator64  = 0x07064b50 // 4.3.15
	signEnd        = 0x06054b50 // 4.3.16

	methodStore   = 0
	methodDeflate = 8

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3

	extraZip64 = 1
	elsewhere  = 0xffffffff
)

// zipEntry reads the one entry of an archive.
type zipEntry struct {
	in     *source
	flags  uint16
	method uint16
	name   []byte
	// data is what the entry holds; stored is set when it is there as it is.
	data   io.Reader
	stored *io.LimitedReader
	start  int64 // offset of the data

	// sum and the sizes are as the local header has them, or as they turned out.
	sum          uint32
	size, packed uint64

	gotSum  uint32
	gotSize uint64
	done    error
}

func zipFault(format string, args ...any) *fault.Fault {
	return fault.New(codeContainer, fault.Data, format, args...)
}

func openZip(in *source) (io.Reader, func(), error) {
	e := &zipEntry{in: in}
	if err := e.readLocal(); err != nil {
		return nil, nil, err
	}
	e.start = in.offset()
	switch {
	case e.flags&flagEncrypted != 0:
		return nil, nil, zipFault("the entry of the zip archive has a password").
			WithHint("extract it first, and open what comes out")
	case e.method == methodDeflate:
		e.data = flate.NewReader(in.Reader)
	case e.method == methodStore && e.flags&flagDescriptor == 0:
		if e.packed != e.size {
			return nil, nil, zipFault("the zip archive says of a stored entry that it has %d bytes, and %d", e.size, e.packed)
		}
		if e.packed > 1<<62 {
			return nil, nil, zipFault("the zip archive says of its entry that it has %d bytes", e.packed)
		}
		e.stored = &io.LimitedReader{R: in.Reader, N: int64(e.packed)}
		e.data = e.stored
	default:
		return nil, nil, zipFault("the entry of the zip archive has method %d with flags %#x, which cannot be read as a stream", e.method, e.flags).
			WithHint("extract it first, and open what comes out")
	}
	return e, func() {}, nil
}

// next reads n bytes. The end of the stream is never where something is to come.
func (e *zipEntry) next(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(e.in, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func (e *zipEntry) readLocal() error {
	b, err := e.next(30)
	if len(b) >= 4 && binary.LittleEndian.Uint32(b) == signEnd {
		return zipFault("the zip archive has no entry")
	}
	if err != nil {
		return err
	}
	e.flags, e.method = binary.LittleEndian.Uint16(b[6:]), binary.LittleEndian.Uint16(b[8:])
	e.sum = binary.LittleEndian.Uint32(b[14:])
	e.packed, e.size = uint64(binary.LittleEndian.Uint32(b[18:])), uint64(binary.LittleEndian.Uint32(b[22:]))
	if e.name, err = e.next(int(binary.LittleEndian.Uint16(b[26:]))); err != nil {
		return err
	}
	extra, err := e.next(int(binary.LittleEndian.Uint16(b[28:])))
	if err != nil {
		return err
	}
	return takeZip64(extra, &e.size, &e.packed)
}

// takeZip64 sets the values that stand in the extra field (section 4.5.3).
func takeZip64(extra []byte, values ...*uint64) error {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			break
		}
		field := extra[:n]
		extra = extra[n:]
		if id != extraZip64 {
			continue
		}
		for _, v := range values {
			if *v != elsewhere {
				continue
			}
			if len(field) < 8 {
				return zipFault("the zip archive lacks a size that is to be in its Zip64 field")
			}
			*v, field = binary.LittleEndian.Uint64(field), field[8:]
		}
	}
	return nil
}

func (e *zipEntry) Read(p []byte) (int, error) {
	if e.done != nil {
		return 0, e.done
	}
	n, err := e.data.Read(p)
	e.gotSum = crc32.Update(e.gotSum, crc32.IEEETable, p[:n])
	e.gotSize += uint64(n)
	if err == io.EOF {
		err = e.finish()
	}
	e.done = err
	return n, err
}

// finish checks everything behind the data; it returns io.EOF when all is well.
func (e *zipEntry) finish() error {
	if e.stored != nil && e.stored.N > 0 {
		return io.ErrUnexpectedEOF
	}
	packed := uint64(e.in.offset() - e.start)
	if e.flags&flagDescriptor == 0 {
		if e.sum != e.gotSum || e.size != e.gotSize || e.packed != packed {
			return zipFault("the entry of the zip archive has other sizes or another checksum than its header says")
		}
	} else if err := e.readDescriptor(packed); err != nil {
		return err
	}
	e.sum, e.size, e.packed = e.gotSum, e.gotSize, packed
	at := uint64(e.in.offset())
	if err := e.readDirectory(); err != nil {
		return err
	}
	if err := e.readEnd(at, uint64(e.in.offset())-at); err != nil {
		return err
	}
	return io.EOF
}

// readDescriptor finds the data descriptor in one of its forms: with a signature or
// without, with sizes of four bytes or of eight. What follows it is the directory.
func (e *zipEntry) readDescriptor(packed uint64) error {
	for _, signed := range []bool{true, false} {
		for _, long := range []bool{false, true} {
			var want []byte
			if signed {
				want = binary.LittleEndian.AppendUint32(want, signDescriptor)
			}
			want = binary.LittleEndian.AppendUint32(want, e.gotSum)
			if long {
				want = binary.LittleEndian.AppendUint64(want, packed)
				want = binary.LittleEndian.AppendUint64(want, e.gotSize)
			} else if packed > elsewhere || e.gotSize > elsewhere {
				continue
			} else {
				want = binary.LittleEndian.AppendUint32(want, uint32(packed))
				want = binary.LittleEndian.AppendUint32(want, uint32(e.gotSize))
			}
			n := len(want)
			want = binary.LittleEndian.AppendUint32(want, signDirectory)
			if got, _ := e.in.Peek(len(want)); bytes.Equal(got, want) {
				_, err := e.in.Discard(n)
				return err
			}
		}
	}
	// Is it cut, or wrong? The shortest form has 12 bytes, and the directory follows.
	got, err := e.in.Peek(24 + 4)
	if err != nil && err != io.EOF {
		return err
	}
	if len(got) < 16+4 {
		return io.ErrUnexpectedEOF
	}
	for at := range len(got) - 3 {
		if binary.LittleEndian.Uint32(got[at:]) == signLocal {
			return moreEntries()
		}
	}
	return zipFault("the entry of the zip archive has other sizes or another checksum than what follows it says")
}

func moreEntries() error {
	return zipFault("the zip archive has more than one entry").
		WithHint("a delivery has one; extract the archive, and open that file")
}

// readDirectory reads the directory, of one entry, which must be the one that was read.
func (e *zipEntry) readDirectory() error {
	b, err := e.next(4)
	if err != nil {
		return err
	}
	switch binary.LittleEndian.Uint32(b) {
	case signDirectory:
	case signLocal:
		return moreEntries()
	default:
		return zipFault("the zip archive has no directory behind its entry")
	}
	if b, err = e.next(42); err != nil {
		return err
	}
	flags, method := binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:])
	sum := binary.LittleEndian.Uint32(b[12:])
	packed, size := uint64(binary.LittleEndian.Uint32(b[16:])), uint64(binary.LittleEndian.Uint32(b[20:]))
	at := uint64(binary.LittleEndian.Uint32(b[38:]))
	name, err := e.next(int(binary.LittleEndian.Uint16(b[24:])))
	if err != nil {
		return err
	}
	extra, err := e.next(int(binary.LittleEndian.Uint16(b[26:])))
	if err != nil {
		return err
	}
	if _, err := e.next(int(binary.LittleEndian.Uint16(b[28:]))); err != nil {
		return err
	}
	if err := takeZip64(extra, &size, &packed, &at); err != nil {
		return err
	}
	if flags != e.flags || method != e.method || sum != e.sum || packed != e.packed || size != e.size || at != 0 || !bytes.Equal(name, e.name) {
		return zipFault("the directory of the zip archive says something else of the entry than the entry itself")
	}
	return nil
}

// readEnd reads the records behind a directory that stands at an offset and has a size.
func (e *zipEntry) readEnd(at, size uint64) error {
	b, err := e.next(4)
	if err != nil {
		return err
	}
	wrong := func() error { return zipFault("the end of the zip archive does not fit its directory") }
	if binary.LittleEndian.Uint32(b) == signEnd64 {
		if b, err = e.next(52); err != nil {
			return err
		}
		// Nothing may follow the fields: 44 bytes come after the one that says so.
		if binary.LittleEndian.Uint64(b) != 44 || binary.LittleEndian.Uint64(b[20:]) != 1 || binary.LittleEndian.Uint64(b[28:]) != 1 ||
			binary.LittleEndian.Uint64(b[36:]) != size || binary.LittleEndian.Uint64(b[44:]) != at {
			return wrong()
		}
		if b, err = e.next(20); err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(b) != signLocator64 || binary.LittleEndian.Uint64(b[8:]) != at+size {
			return wrong()
		}
		if b, err = e.next(4); err != nil {
			return err
		}
	}
	switch binary.LittleEndian.Uint32(b) {
	case signEnd:
	case signDirectory:
		return moreEntries()
	default:
		return wrong()
	}
	if b, err = e.next(18); err != nil {
		return err
	}
	fits := func(field uint32, value uint64) bool { return field == elsewhere || uint64(field) == value }
	if binary.LittleEndian.Uint32(b) != 0 || binary.LittleEndian.Uint16(b[4:]) != 1 || binary.LittleEndian.Uint16(b[6:]) != 1 ||
		!fits(binary.LittleEndian.Uint32(b[8:]), size) || !fits(binary.LittleEndian.Uint32(b[12:]), at) {
		return wrong()
	}
	_, err = e.next(int(binary.LittleEndian.Uint16(b[16:])))
	return err
}
