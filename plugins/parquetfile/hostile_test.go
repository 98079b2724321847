package parquetfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// fileOf is a file of one column and one page, of which the page's header and the metadata say that
// it has so many rows, whatever its body holds.
func fileOf(t testing.TB, typ format.Type, optional bool, encoding format.Encoding, rows int, body []byte) []byte {
	t.Helper()
	encode := func(v any) []byte {
		b, err := thrift.Marshal(&thrift.CompactProtocol{}, v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	page := encode(&format.PageHeader{Type: format.DataPage, UncompressedPageSize: int32(len(body)), CompressedPageSize: int32(len(body)),
		DataPageHeader: thrift.New(format.DataPageHeader{NumValues: int32(rows), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE})})
	repetition := format.Required
	if optional {
		repetition = format.Optional
	}
	return framed(append(page, body...), encode(&format.FileMetaData{
		Version: 1, NumRows: int64(rows),
		Schema: []format.SchemaElement{{Name: "root", NumChildren: thrift.New(int32(1))}, {Name: "a", Type: thrift.New(typ), RepetitionType: thrift.New(repetition)}},
		RowGroups: []format.RowGroup{{NumRows: int64(rows), Columns: []format.ColumnChunk{{MetaData: format.ColumnMetaData{Type: typ, Encoding: []format.Encoding{encoding},
			PathInSchema: []string{"a"}, NumValues: int64(rows), DataPageOffset: 4, TotalCompressedSize: int64(len(page) + len(body))}}}}},
	}))
}

// framed puts pages and metadata between what every file has.
func framed(pages, footer []byte) []byte {
	b := append([]byte(magic), pages...)
	b = append(b, footer...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(footer)))
	return append(b, magic...)
}

func run(count uint64, value byte) []byte { return append(binary.AppendUvarint(nil, count<<1), value) }

func prefixed(b ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// TestMeasured reads pages that hold less, or announce more, than they may: no value is made up,
// nothing is taken from behind a page, and little memory is used to find out.
func TestMeasured(t *testing.T) {
	eight := make([]byte, 64)
	delta := append(binary.AppendUvarint(nil, 128), 4, 10, 0, 2, 8, 0, 0, 0) // 10 values, 8 bits each
	bomb := bytes.Repeat(run(1<<30, 1), 3)
	huge := append(binary.AppendUvarint(nil, 1<<27<<1|1), 0) // packed groups of eight
	for _, c := range []struct {
		name string
		data []byte
		says string
	}{
		{"8 of 100 integers", fileOf(t, format.Int64, false, format.Plain, 100, eight), "announces 100 values and has 64 bytes"},
		{"3 of 100 booleans", fileOf(t, format.Boolean, false, format.Plain, 100, eight[:1]), "announces 100 values and has 1 bytes"},
		{"a text beyond its page", fileOf(t, format.ByteArray, false, format.Plain, 2, append(prefixed('a'), 4, 0, 0, 0, 'b')), "in the middle of a value"},
		{"1 of 2 texts", fileOf(t, format.ByteArray, false, format.Plain, 2, prefixed('a')), "in the middle of a value"},
		{"differences cut short", fileOf(t, format.Int64, false, format.DeltaBinaryPacked, 10, append(delta, 1, 1)), "ends early"},
		{"fewer differences", fileOf(t, format.Int64, false, format.DeltaBinaryPacked, 11, append(delta, eight...)), "announces 10 values; the page has 11"},
		{"differences of 65 bits", fileOf(t, format.Int64, false, format.DeltaBinaryPacked, 10,
			append(append(binary.AppendUvarint(nil, 128), 4, 10, 0, 2, 65, 0, 0, 0), make([]byte, 300)...)), "65 bits"},
		{"differences of 33 bits, cut short", fileOf(t, format.Int32, false, format.DeltaBinaryPacked, 10,
			append(append(binary.AppendUvarint(nil, 128), 4, 10, 0, 2, 33, 0, 0, 0), make([]byte, 30)...)), "33 bits ends early"},
		{"half of the bytes of split values", fileOf(t, format.Double, false, format.ByteStreamSplit, 16, eight), "announces 16 values and has 64 bytes"},
		{"levels without end", fileOf(t, format.Int32, true, format.Plain, 2, append(prefixed(bomb...), eight[:8]...)), "longer than its page"},
		{"packed levels without end", fileOf(t, format.Int32, true, format.Plain, 2, append(prefixed(huge...), eight[:8]...)), "longer than its page"},
		{"a level that is none", fileOf(t, format.Int32, true, format.Plain, 2, append(prefixed(run(2, 2)...), eight[:8]...)), "level is 2"},
		{"no dictionary", fileOf(t, format.Int32, false, format.RLEDictionary, 2, append([]byte{1}, run(2, 0)...)), "the dictionary has 0 values"},
		{"indexes of no bits without a dictionary", fileOf(t, format.Int32, false, format.RLEDictionary, 2, []byte{0}), "the dictionary has 0 values"},
		{"fewer booleans in runs", fileOf(t, format.Boolean, false, format.RLE, 9, prefixed(run(5, 1)...)), "no valid length"},
		{"a list of two billion row groups", framed(nil, append([]byte{4<<4 | byte(thrift.LIST), 0xf0 | byte(thrift.STRUCT)}, binary.AppendUvarint(nil, 1<<31-1)...)), "a list of 2147483647 elements"},
		{"a name of a gigabyte", framed(nil, append([]byte{6<<4 | byte(thrift.BINARY)}, binary.AppendUvarint(nil, 1<<30)...)), "announces 1073741824 bytes"},
		{"structures a million deep", framed(nil, bytes.Repeat([]byte{15<<4 | byte(thrift.STRUCT)}, 1<<20)), "nested more than 32 deep"},
		{"lists a million deep", framed(nil, append([]byte{15<<4 | byte(thrift.LIST)}, bytes.Repeat([]byte{1<<4 | byte(thrift.LIST)}, 1<<20)...)), "nested more than 32 deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			table, err := readAll(t, c.data, sdk.Env{})
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatalf("%d rows were read", table.NumRows())
			}
			if !fault.Is(err, codeCorrupt) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s with %q", err, codeCorrupt, c.says)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
				t.Errorf("%d MiB allocated for a file of %d bytes", used>>20, len(c.data))
			}
		})
	}
}

// TestRuns reads runs that begin and end within a byte, are filled up, or are cut where only zeros were.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"booleans", fileOf(t, format.Boolean, false, format.RLE, 6, prefixed(append(append(run(3, 1), run(2, 0)...), run(1, 1)...)...)), "[true true true false false true]"},
		{"booleans, all true", fileOf(t, format.Boolean, false, format.RLE, 3, prefixed(run(3, 1)...)), "[true true true]"},
		{"packed booleans, filled up", fileOf(t, format.Boolean, false, format.RLE, 3, prefixed(4<<1|1, 0b101, 0xff, 0xff, 0xff)), "[true false true]"},
		{"levels", fileOf(t, format.Int32, true, format.Plain, 4, append(prefixed(append(run(1, 0), run(3, 1)...)...), 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0)), "[(null) 7 8 9]"},
		// As DuckDB writes them: 4,294,967,295 more, and then as much less.
		{"differences of 33 bits", fileOf(t, format.Int32, false, format.DeltaBinaryPacked, 3, slices.Concat(
			binary.AppendUvarint(nil, 128), []byte{4, 3}, binary.AppendVarint(nil, math.MinInt32), binary.AppendVarint(nil, -math.MaxUint32),
			[]byte{33, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 1}, make([]byte, 33*4-5))), "[-2147483648 2147483647 -2147483648]"},
		{"differences", fileOf(t, format.Int32, false, format.DeltaBinaryPacked, 3,
			append(binary.AppendUvarint(nil, 128), 4, 3, 1, 0, 1, 0, 0, 0, 0b10, 0, 0, 0)), "[-1 -1 0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := readAll(t, c.data, sdk.Env{})
			if err != nil {
				t.Fatal(err)
			}
			defer table.Release()
			a := joined(t, table, 0)
			defer a.Release()
			if a.String() != c.want {
				t.Errorf("%s, want %s", a, c.want)
			}
		})
	}
}

// TestSettingWithoutValue reads a file that has a setting with a name alone, as the format allows.
func TestSettingWithoutValue(t *testing.T) {
	var m fileMetaData
	footer := []byte{5<<4 | byte(thrift.LIST), 1<<4 | byte(thrift.STRUCT), 1<<4 | byte(thrift.BINARY), 1, 'k', 0, 0}
	if n, err := decodeThrift(append(footer, "behind"...), &m); err != nil || n != len(footer) || len(m.KeyValues) != 1 || m.KeyValues[0] != (keyValue{Key: "k"}) {
		t.Errorf("%d bytes, %+v, %v", n, m, err)
	}
}

// panics is a file whose reader panics, as a decoder may.
type panics struct{ io.ReaderAt }

func (panics) ReadAt([]byte, int64) (int, error) { panic("index out of range") }

// TestPanic makes a fault of a panic, whenever it comes.
func TestPanic(t *testing.T) {
	data := fileOf(t, format.Int64, false, format.Plain, 8, make([]byte, 64))
	made, err := newSource(Settings{Path: "/panics.parquet", Memory: 8 << 20}, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*source)
	defer s.Close()
	if _, err := s.begin(panics{}, int64(len(data))); !fault.Is(err, codeCorrupt) || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("the footer: %v", err)
	}
	s.done = nil
	if _, err := s.begin(bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	s.input = panics{}
	if _, err := s.Next(context.Background()); !fault.Is(err, codeCorrupt) || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("a page: %v", err)
	}
}
