package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// everyKindDefs has a column of every kind of decoder.
func everyKindDefs() []columnDef {
	return []columnDef{
		{name: "null", typ: typeNull}, {name: "i8", typ: typeTiny}, {name: "u8", typ: typeTiny, flags: flagUnsigned},
		{name: "i16", typ: typeShort}, {name: "u16", typ: typeShort, flags: flagUnsigned}, {name: "i24", typ: typeInt24},
		{name: "i32", typ: typeLong}, {name: "u32", typ: typeLong, flags: flagUnsigned}, {name: "i64", typ: typeLongLong},
		{name: "u64", typ: typeLongLong, flags: flagUnsigned}, {name: "f32", typ: typeFloat}, {name: "f64", typ: typeDouble},
		{name: "year", typ: typeYear}, {name: "bit", typ: typeBit, length: 64}, {name: "date", typ: typeDate},
		{name: "s", typ: typeDatetime}, {name: "ms", typ: typeDatetime, decimals: 2}, {name: "us", typ: typeTimestamp, decimals: 6},
		{name: "time", typ: typeTime, decimals: 3}, {name: "d128", typ: typeNewDecimal, length: 12, decimals: 2},
		{name: "d256", typ: typeNewDecimal, length: 67, decimals: 30}, {name: "text", typ: typeVarString, charset: 45},
		{name: "bytes", typ: typeBlob, charset: charsetBinary}, {name: "geometry", typ: typeGeometry, charset: charsetBinary},
		{name: "last", typ: typeTiny, flags: flagNotNull},
	}
}

// sampleRow makes a row of everyKindDefs from the bodies of its values.
func sampleRow(values ...string) []byte {
	row := make([]byte, 1+(len(everyKindDefs())+9)/8)
	row[1] |= 1 << 2 // the NULL column
	return append(row, strings.Join(values, "")...)
}

func seedRows() [][]byte {
	moment := "\xe8\x07\x02\x1d\x0a\x0b\x0c"
	return [][]byte{
		sampleRow("\xff", "\xff", "\x00\x80", "\xff\xff", "\x00\x00\x80\xff", "\x00\x00\x00\x80", "\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x80",
			"\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\xc0\x3f", "\x00\x00\x00\x00\x00\x00\xf8\x3f", "\xe8\x07", "\x02\x01\x00", "\x04\xe8\x07\x02\x1d",
			"\x07"+moment, "\x0b"+moment+"\x90\xd0\x03\x00", "\x0b"+moment+"\x01\x00\x00\x00", "\x08\x01\x01\x00\x00\x00\x02\x03\x04", "\x05-1.50", "\x031.5",
			"\x03abc", "\xfc\x03\x00abc", "\x0d\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00", "\x01"),
		make([]byte, 100), bytes.Repeat([]byte{0xff}, 100), {},
		[]byte("\xfb\x03127\x03255\x0532767\x0565535\x018\x02-1\x014\x019\x0218\x031.5\x04-1e3\x042024\x01\x01\x0a2024-02-29\x132024-02-29 01:02:03\x162024-02-29 01:02:03.45\x1a2024-02-29 01:02:03.456789\x0a-838:59:59\x041.50\x030.1\x01a\x01b\x0d\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x011"),
	}
}

// decodeFuzzed decodes a row three times in every policy: it must be taken as a
// whole or refused with a code, and what was taken must be a valid batch.
func decodeFuzzed(t *testing.T, row []byte, decode func(b *batch, p []byte) error) {
	for _, zero := range []zeroPolicy{zeroNull, zeroError, zeroText} {
		memory := memory.NewCheckedAllocator(memory.NewGoAllocator())
		pool := newPool(memory)
		schema, mappings, err := mapColumns(everyKindDefs(), zero)
		if err != nil {
			t.Fatal(err)
		}
		b := newBatch(pool, schema, mappings, zero, 4, 1<<20)
		b.begin()
		for range 3 {
			err := decode(b, row)
			var f *fault.Fault
			if err != nil && !errors.As(err, &f) {
				t.Fatalf("error without a code: %v", err)
			}
			if err != nil {
				break
			}
		}
		if b.rows > 0 {
			record := b.record()
			for i, column := range record.Columns() {
				field := schema.Field(i)
				if column.NullN() > 0 && !field.Nullable {
					t.Fatalf("NULL in column %s", field.Name)
				}
				for row := range column.Len() {
					cell(column, row, field)
				}
			}
			record.Release()
		}
		b.release()
		pool.close()
		memory.AssertSize(t, 0)
	}
}

func TestSeedRowsAreTaken(t *testing.T) {
	for i, decode := range map[int]func(*batch, []byte) error{0: (*batch).decodeBinary, 4: (*batch).decodeText} {
		schema, mappings, err := mapColumns(everyKindDefs(), zeroError)
		if err != nil {
			t.Fatal(err)
		}
		b := newBatch(newPool(memory.NewGoAllocator()), schema, mappings, zeroError, 4, 1<<20)
		b.begin()
		if err := decode(b, seedRows()[i]); err != nil {
			t.Errorf("seed %d: %v", i, err)
		}
		// Every cut of a good row is refused.
		for n := range seedRows()[i] {
			if err := decode(b, seedRows()[i][:n]); err == nil {
				t.Errorf("seed %d is taken when cut to %d bytes", i, n)
			}
		}
	}
}

func FuzzBinaryRow(f *testing.F) {
	for _, row := range seedRows() {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) { decodeFuzzed(t, row, (*batch).decodeBinary) })
}

func FuzzTextRow(f *testing.F) {
	for _, row := range seedRows() {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) { decodeFuzzed(t, row, (*batch).decodeText) })
}

// definitionPacket writes a column definition.
func definitionPacket(d columnDef) []byte {
	p := []byte("\x03def\x00\x00\x00")
	p = append(appendLengthEncoded(p, uint64(len(d.name))), d.name...)
	p = append(p, 0, 0x0c)
	p = binary.LittleEndian.AppendUint16(p, d.charset)
	p = binary.LittleEndian.AppendUint32(p, d.length)
	p = append(p, d.typ, byte(d.flags), byte(d.flags>>8), d.decimals, 0, 0)
	return p
}

func FuzzColumnDefinition(f *testing.F) {
	for _, d := range everyKindDefs() {
		f.Add(definitionPacket(d))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := parseColumnDef(p)
		if err != nil {
			return
		}
		for _, zero := range []zeroPolicy{zeroNull, zeroError, zeroText} {
			mapping, err := mapColumn(&d, zero)
			if err != nil {
				continue
			}
			if mapping.field.Type == nil || mapping.precision > 76 || mapping.scale > mapping.precision {
				t.Fatalf("%+v became %+v", d, mapping)
			}
			if dt, ok := mapping.field.Type.(*arrow.Decimal128Type); ok && dt.Precision > 38 {
				t.Fatalf("%+v became %v", d, dt)
			}
		}
	})
}

// FuzzDecimal compares with math/big.
func FuzzDecimal(f *testing.F) {
	for _, text := range []string{"0", "-1.50", "99999999.99", "-0.00", ".5", "5.", "", "-", "1.2.3", "1e5", "00012.30", "+7", strings.Repeat("9", 38), strings.Repeat("9", 65)} {
		f.Add(text, byte(38), byte(10))
		f.Add(text, byte(65), byte(30))
	}
	f.Fuzz(func(t *testing.T, text string, p, s byte) {
		precision := int(p)%65 + 1
		scale := int(s) % (precision + 1)
		want, fits := bigDecimal(text, precision, scale)
		check := func(size int, put func([]byte, []byte, int, int) decimalStatus) {
			dst := make([]byte, size)
			status := put(dst, []byte(text), precision, scale)
			if (status == decimalOK) != fits {
				t.Fatalf("%q as decimal(%d,%d): status %d, fits is %t", text, precision, scale, status, fits)
			}
			if !fits {
				return
			}
			got := new(big.Int)
			for i := size - 1; i >= 0; i-- {
				got.Lsh(got, 8).Or(got, big.NewInt(int64(dst[i])))
			}
			if dst[size-1]&0x80 != 0 {
				got.Sub(got, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
			}
			if got.Cmp(want) != 0 {
				t.Fatalf("%q as decimal(%d,%d) is %v, want %v", text, precision, scale, got, want)
			}
		}
		if precision <= 38 {
			check(16, putDecimal128)
		}
		check(32, putDecimal256)
	})
}

// bigDecimal is text × 10^scale, if that is a whole number of at most precision digits.
func bigDecimal(text string, precision, scale int) (*big.Int, bool) {
	if strings.Trim(text, "+-.0123456789") != "" {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	if !r.IsInt() || new(big.Int).Abs(r.Num()).Cmp(limit) >= 0 {
		return nil, false
	}
	return r.Num(), true
}

// scriptConn is a server that says what it was told to, whatever it is asked.
type scriptConn struct {
	net.Conn
	io.Reader
}

func (c scriptConn) Read(p []byte) (int, error)    { return c.Reader.Read(p) }
func (scriptConn) Write(p []byte) (int, error)     { return len(p), nil }
func (scriptConn) SetDeadline(time.Time) error     { return nil }
func (scriptConn) SetReadDeadline(time.Time) error { return nil }

// packets frames payloads, counting from 1 as answers do.
func packets(payloads ...[]byte) (stream []byte) {
	for i, p := range payloads {
		stream = append(stream, byte(len(p)), byte(len(p)>>8), byte(len(p)>>16), byte(i+1))
		stream = append(stream, p...)
	}
	return stream
}

// FuzzResults feeds the answer to a statement, in both protocols.
func FuzzResults(f *testing.F) {
	eof := []byte{headerEOF, 0, 0, 2, 0}
	one := definitionPacket(columnDef{name: "a", typ: typeLong})
	f.Add(packets([]byte{1}, one, eof, []byte("\x00\x00\x01\x00\x00\x00"), eof))
	f.Add(packets([]byte{1}, one, eof, []byte("\x0212"), []byte("\xff\x10\x04#HY000oops")))
	f.Add(packets([]byte{0, 0, 0, 2, 0, 0, 0}))
	f.Add(packets([]byte{headerLocalInfile}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, binary := range []bool{true, false} {
			if err := readScript(stream, binary); errors.Is(err, io.EOF) {
				t.Fatal("an error that looks like the end of the data")
			}
		}
	})
}

// readScript reads an answer the way Open and Next do.
func readScript(stream []byte, binary bool) error {
	c := newWire(scriptConn{Reader: bytes.NewReader(stream)}, bound{bytes: 1 << 20}, 0)
	c.seq = 1
	s := &source{settings: Settings{ZeroDates: "null"}, pool: newPool(memory.NewGoAllocator()), binary: binary, session: &session{c: c}, results: &results{c: c}}
	s.env.BatchRows, s.env.BatchBytes = 8, 1<<16
	defs, _, err := s.results.next()
	if defs == nil || err != nil {
		return err
	}
	if _, err := s.bind(defs); err != nil {
		return err
	}
	defer s.batch.release()
	for end := false; !end; {
		if end, err = s.fill(); err != nil {
			return err
		}
		if s.batch.rows > 0 {
			s.batch.record().Release()
		}
	}
	return s.drain()
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x0a5.5.5-10.11.19-MariaDB\x00\x05\x00\x00\x00abcdefgh\x00\xfe\xf7\x2d\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00"))
	f.Add([]byte("\xff\x10\x04Too many connections"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 { // readHandshake refuses empty packets
			return
		}
		if g, err := parseHandshake(p); (g == nil) == (err == nil) {
			t.Fatalf("%v, %v", g, err)
		}
	})
}
