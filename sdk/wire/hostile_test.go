package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/endian"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

func misaligned(b []byte) bool { return uintptr(unsafe.Pointer(&b[0]))%alignment != 0 }

// consume reads a stream to its first error, looking at every value.
func consume(b []byte, opts ...Option) (rows int64, err error) {
	r, err := NewReader(bytes.NewReader(b), opts...)
	if err != nil {
		return 0, err
	}
	for {
		rec, err := r.Read()
		if err != nil {
			if n := r.Outstanding(); n != 0 {
				panic("buffers outstanding after the last release")
			}
			return rows, err
		}
		rows += rec.NumRows()
		for _, c := range rec.Columns() {
			touch(c)
		}
		rec.Release()
	}
}

func coded(err error) bool {
	for _, e := range []error{ErrTruncated, ErrMalformed, ErrUnsupported, ErrTooLarge} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func smallStream(t testing.TB) []byte {
	types := []arrow.DataType{
		arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Boolean, &arrow.Decimal128Type{Precision: 10, Scale: 2},
		arrow.ListOf(arrow.BinaryTypes.LargeString), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int8),
		arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16), arrow.StructOf(arrow.Field{Name: "s", Type: arrow.Null}),
	}
	schema := schemaOf(types)
	r := rand.New(rand.NewSource(9))
	a, b := randomRecord(memory.DefaultAllocator, r, schema, 5, 0.4), randomRecord(memory.DefaultAllocator, r, schema, 3, 0)
	return stream(t, schema, []arrow.Record{a, b})
}

func TestTruncatedAtEveryByte(t *testing.T) {
	whole := smallStream(t)
	if rows, err := consume(whole); rows != 8 || err != io.EOF {
		t.Fatalf("whole stream: %d rows, %v", rows, err)
	}
	for n := range whole {
		_, err := consume(whole[:n])
		if !errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Fatalf("first %d of %d bytes: %v; want ErrTruncated", n, len(whole), err)
		}
	}
}

// A broken byte may go unnoticed (it may be in a value), but what comes out must be safe to read and end in a known
// way.
func TestCorruptEveryByte(t *testing.T) {
	whole := smallStream(t)
	b := make([]byte, len(whole))
	for i := range whole {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			copy(b, whole)
			b[i] ^= flip
			if _, err := consume(b, WithMaxMessageBytes(1<<20)); err != io.EOF && !coded(err) {
				t.Fatalf("byte %d ^ %02x: %v", i, flip, err)
			}
		}
	}
}

// crafted makes a stream of one batch whose metadata says what the test wants.
func crafted(t *testing.T, schema *arrow.Schema, rows int64, nodes []fieldNode, buffers []bufferRange,
	body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	e := encoder{nodes: nodes, buffers: buffers, body: int64(len(body))}
	if err := w.send(continuation, nil, e.metadata(rows, arrow.Metadata{}), [][]byte{body}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReaderRefusesLies(t *testing.T) {
	i64, str, list := arrow.DataType(arrow.PrimitiveTypes.Int64), arrow.DataType(arrow.BinaryTypes.String), arrow.DataType(arrow.ListOf(arrow.PrimitiveTypes.Int64))
	i32 := func(v ...int32) []byte { return append(arrow.Int32Traits.CastToBytes(v), make([]byte, 64)...) }
	none := bufferRange{}
	tests := map[string]struct {
		dt      arrow.DataType
		rows    int64
		nodes   []fieldNode
		buffers []bufferRange
		body    []byte
		want    string
	}{
		"accepted":                {i64, 2, []fieldNode{{2, 1}}, []bufferRange{{0, 1}, {8, 16}}, []byte{2, 32: 0}, ""},
		"8-byte aligned decimals": {&arrow.Decimal128Type{Precision: 3}, 1, []fieldNode{{1, 0}}, []bufferRange{none, {8, 16}}, make([]byte, 24), ""},
		"8-byte aligned wide":     {&arrow.Decimal256Type{Precision: 3}, 1, []fieldNode{{1, 0}}, []bufferRange{none, {24, 32}}, make([]byte, 56), ""},
		"offsets from 3":          {str, 1, []fieldNode{{1, 0}}, []bufferRange{none, {0, 8}, {8, 5}}, i32(3, 5), ""},
		"no offsets, no rows":     {str, 0, []fieldNode{{0, 0}}, []bufferRange{none, none, none}, nil, ""},
		"nulls not counted":       {arrow.Null, 3, []fieldNode{{3, -1}}, nil, nil, ""},
		"negative rows":           {i64, -1, []fieldNode{{-1, 0}}, []bufferRange{none, none}, nil, "-1 rows"},
		"endless rows":            {arrow.Null, math.MaxInt64, []fieldNode{{math.MaxInt64, 0}}, nil, nil, "rows"},
		"column longer":           {i64, 1, []fieldNode{{2, 0}}, []bufferRange{none, {0, 16}}, make([]byte, 16), `column "c0" has 2 values`},
		"negative nulls":          {i64, 1, []fieldNode{{1, -1}}, []bufferRange{none, {0, 8}}, make([]byte, 8), "-1 nulls"},
		"more nulls than rows":    {i64, 1, []fieldNode{{1, 2}}, []bufferRange{{0, 8}, {0, 8}}, make([]byte, 8), "2 nulls"},
		"nulls miscounted":        {i64, 2, []fieldNode{{2, 1}}, []bufferRange{{0, 1}, {0, 16}}, []byte{3, 15: 0}, "1 nulls by its count and 0"},
		"validity short":          {i64, 9, []fieldNode{{9, 9}}, []bufferRange{{0, 1}, {0, 72}}, make([]byte, 72), "1 bytes; 2 are needed"},
		"values short":            {i64, 2, []fieldNode{{2, 0}}, []bufferRange{none, {0, 15}}, make([]byte, 16), "15 bytes; 16 are needed"},
		"buffer after body":       {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none, {8, 8}}, make([]byte, 8), "at offset 8 of a body of 8"},
		"buffer overflows":        {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none, {8, math.MaxInt64}}, make([]byte, 16), "offset 8"},
		"buffer negative":         {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none, {-8, 8}}, make([]byte, 16), "offset -8"},
		"buffer unaligned":        {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none, {4, 8}}, make([]byte, 16), "multiple of 8"},
		"buffer missing":          {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none}, make([]byte, 16), "no buffer for the values"},
		"buffer too many":         {i64, 1, []fieldNode{{1, 0}}, []bufferRange{none, {0, 8}, none}, make([]byte, 8), "1 buffers more"},
		"node missing":            {i64, 1, nil, []bufferRange{none, {0, 8}}, make([]byte, 8), "no field node"},
		"offsets short":           {str, 2, []fieldNode{{2, 0}}, []bufferRange{none, {0, 8}, none}, i32(0, 0, 0), "12 are needed"},
		"offsets fall":            {str, 2, []fieldNode{{2, 0}}, []bufferRange{none, {0, 12}, {16, 5}}, i32(0, 5, 4), "not in order"},
		"offsets negative":        {str, 1, []fieldNode{{1, 0}}, []bufferRange{none, {0, 8}, {16, 5}}, i32(-1, 5), "negative"},
		"offsets wrap":            {str, 2, []fieldNode{{2, 0}}, []bufferRange{none, {0, 12}, {16, 5}}, i32(0, math.MaxInt32, math.MinInt32), "negative"},
		"offsets past data":       {str, 1, []fieldNode{{1, 0}}, []bufferRange{none, {0, 8}, {8, 5}}, i32(0, 6), "5 bytes; 6 are needed"},
		"list past child":         {list, 1, []fieldNode{{1, 0}, {2, 0}}, []bufferRange{none, {0, 8}, none, {8, 16}}, i32(0, 3), `column "c0"."item" has 2 values; expected 3`},
		"fixed list short":        {arrow.FixedSizeListOf(3, i64), 1, []fieldNode{{1, 0}, {2, 0}}, []bufferRange{none, none, {0, 16}}, make([]byte, 16), "expected 3"},
		"struct child short":      {arrow.StructOf(arrow.Field{Name: "a", Type: i64}), 2, []fieldNode{{2, 0}, {1, 0}}, []bufferRange{none, none, {0, 16}}, make([]byte, 16), "has 1 values; expected 2"},
		"null map key": {arrow.MapOf(i64, i64), 1, []fieldNode{{1, 0}, {1, 0}, {1, 1}, {1, 0}},
			[]bufferRange{none, {0, 8}, none, {16, 1}, {16, 8}, none, {16, 8}}, i32(0, 1), "cannot be null"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := consume(crafted(t, schemaOf([]arrow.DataType{tt.dt}), tt.rows, tt.nodes, tt.buffers, tt.body))
			if tt.want == "" {
				if err != io.EOF {
					t.Fatalf("%v; want it accepted", err)
				}
				return
			}
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v; want ErrMalformed with %q", err, tt.want)
			}
		})
	}
}

func TestReaderRefusesMessages(t *testing.T) {
	prefix := func(c, n uint32) []byte {
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, c), n)
	}
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	start := stream(t, schema, nil)
	start = start[:len(start)-prefixBytes]
	after := func(b []byte) []byte { return append(bytes.Clone(start), b...) }
	version := func(v int16, kind byte, body int64) []byte {
		b := flatbuffers.NewBuilder(64)
		b.StartObject(0)
		header := b.EndObject()
		b.StartObject(5)
		b.PrependInt64Slot(messageBodyLength, body, 0)
		b.PrependUOffsetTSlot(messageHeader, header, 0)
		b.PrependInt16Slot(messageVersion, v, 0)
		b.PrependByteSlot(messageHeaderType, kind, 0)
		b.Finish(b.EndObject())
		return append(prefix(continuation, uint32(len(b.FinishedBytes()))), b.FinishedBytes()...)
	}
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), schema, 100, 0)
	defer rec.Release()
	tests := map[string]struct {
		b    []byte
		want error
		text string
	}{
		"nothing":          {nil, ErrTruncated, ""},
		"no schema":        {prefix(continuation, 0), ErrMalformed, "before its schema"},
		"text":             {[]byte("HTTP/1.1 400 Bad Request"), ErrMalformed, "not an Arrow stream"},
		"old framing":      {prefix(16, 0), ErrMalformed, "before Arrow 0.15"},
		"zeros as the end": {after(make([]byte, 8)), ErrMalformed, "00000000"},
		"metadata too big": {prefix(continuation, MaxMetadataBytes+1), ErrTooLarge, "metadata"},
		"metadata < 0":     {prefix(continuation, 1<<31), ErrMalformed, "metadata"},
		"no metadata":      {append(prefix(continuation, 8), make([]byte, 8)...), ErrMalformed, "table outside"},
		"version 3":        {after(version(2, headerRecordBatch, 0)), ErrUnsupported, "V3"},
		"version 6":        {after(version(5, headerRecordBatch, 0)), ErrUnsupported, "V6"},
		"second schema":    {after(version(metadataV5, headerSchema, 0)), ErrMalformed, "kind 1"},
		"tensor":           {after(version(metadataV5, 4, 0)), ErrMalformed, "kind 4"},
		"dictionary":       {after(version(metadataV5, headerDictionaryBatch, 0)), ErrUnsupported, "dictionary"},
		"body too big":     {after(version(metadataV5, headerRecordBatch, math.MaxInt64)), ErrTooLarge, "body"},
		"body < 0":         {after(version(metadataV5, headerRecordBatch, -1)), ErrMalformed, "body"},
		"compressed":       {arrowStream(t, schema, []arrow.Record{rec}, ipc.WithZstd()), ErrUnsupported, "compressed"},
		"batch first":      {version(metadataV5, headerRecordBatch, 0), ErrMalformed, "expected a schema"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := consume(tt.b); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v; want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

func TestUnsupportedColumnsAreNamed(t *testing.T) {
	deep := arrow.DataType(arrow.PrimitiveTypes.Int64)
	for range maxDepth {
		deep = arrow.ListOf(deep)
	}
	// Arrow's own writer can say these, so Reader must refuse them; Writer refuses them before it writes.
	types := map[string]arrow.DataType{
		"dictionary":      &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String},
		"union":           arrow.SparseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int8}}, []arrow.UnionTypeCode{0}),
		"run-end":         arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String),
		"utf8 view":       arrow.BinaryTypes.StringView,
		"binary view":     arrow.BinaryTypes.BinaryView,
		"list view":       arrow.ListViewOf(arrow.PrimitiveTypes.Int8),
		"large list view": arrow.LargeListViewOf(arrow.PrimitiveTypes.Int8),
		"nested":          arrow.ListOf(arrow.BinaryTypes.StringView),
		"deep":            deep,
	}
	for name, dt := range types {
		t.Run(name, func(t *testing.T) {
			schema := arrow.NewSchema([]arrow.Field{{Name: "visit", Type: dt, Nullable: true}}, nil)
			var out bytes.Buffer
			_, err := NewWriter(&out, schema)
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `"visit"`) || out.Len() > 0 {
				t.Errorf("writer: %v, %d bytes written; want ErrUnsupported naming the column", err, out.Len())
			}
			_, err = NewReader(bytes.NewReader(arrowStream(t, schema, nil)))
			if !errors.Is(err, ErrUnsupported) || name != "nested" && name != "deep" && !strings.Contains(err.Error(), `"visit"`) {
				t.Errorf("reader: %v; want ErrUnsupported naming the column", err)
			}
		})
	}
}

func TestImpossibleParameters(t *testing.T) {
	for name, dt := range map[string]arrow.DataType{
		"precision 0":   &arrow.Decimal128Type{},
		"precision 39":  &arrow.Decimal128Type{Precision: 39},
		"precision 77":  &arrow.Decimal256Type{Precision: 77},
		"scale":         &arrow.Decimal128Type{Precision: 5, Scale: math.MaxInt32},
		"width":         &arrow.FixedSizeBinaryType{ByteWidth: -1},
		"extension":     &extensionOver{arrow.ExtensionBase{Storage: &arrow.Decimal128Type{}}},
		"nested scale":  arrow.ListOf(&arrow.Decimal256Type{Precision: 5, Scale: -77}),
		"width in list": arrow.FixedSizeListOf(2, &arrow.FixedSizeBinaryType{ByteWidth: -5}),
	} {
		schema := schemaOf([]arrow.DataType{dt})
		if _, err := NewWriter(io.Discard, schema); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: writer: %v", name, err)
		}
		if _, err := NewReader(bytes.NewReader(arrowStream(t, schema, nil))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: reader: %v", name, err)
		}
	}
}

type extensionOver struct{ arrow.ExtensionBase }

func (*extensionOver) ExtensionName() string                    { return "wire.test.over" }
func (*extensionOver) Serialize() string                        { return "" }
func (*extensionOver) ExtensionEquals(arrow.ExtensionType) bool { return true }
func (*extensionOver) ArrayType() reflect.Type                  { return reflect.TypeOf(array.Binary{}) }
func (*extensionOver) Deserialize(arrow.DataType, string) (arrow.ExtensionType, error) {
	panic("a parameter that nobody expected")
}

func TestPanicOfExtensionTypeIsAnError(t *testing.T) {
	if err := arrow.RegisterExtensionType(&extensionOver{arrow.ExtensionBase{Storage: arrow.BinaryTypes.String}}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = arrow.UnregisterExtensionType("wire.test.over") }()
	schema := schemaOf([]arrow.DataType{&extensionOver{arrow.ExtensionBase{Storage: arrow.BinaryTypes.String}}})
	if _, err := NewReader(bytes.NewReader(stream(t, schema, nil))); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

func TestBigEndianIsRefused(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64}).WithEndianness(endian.NonNativeEndian)
	if _, err := NewWriter(io.Discard, schema); !errors.Is(err, ErrUnsupported) {
		t.Errorf("writer: %v", err)
	}
	if _, err := NewReader(bytes.NewReader(arrowStream(t, schema, nil))); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "big-endian") {
		t.Errorf("reader: %v", err)
	}
}

// schemaBomb is a schema message of a few kilobytes, names of nameBytes included, in which every struct has 100
// children, all the same table.
func schemaBomb(nameBytes int) []byte {
	b := flatbuffers.NewBuilder(1024)
	name := b.CreateString(strings.Repeat("n", nameBytes))
	b.StartObject(0)
	typ := b.EndObject()
	field := func(kind byte, children flatbuffers.UOffsetT) flatbuffers.UOffsetT {
		b.StartObject(7)
		b.PrependUOffsetTSlot(fieldName, name, 0)
		b.PrependUOffsetTSlot(fieldType, typ, 0)
		b.PrependUOffsetTSlot(fieldChildren, children, 0)
		b.PrependByteSlot(fieldTypeType, kind, 0)
		return b.EndObject()
	}
	vector := func(f flatbuffers.UOffsetT) flatbuffers.UOffsetT {
		b.StartVector(4, 100, 4)
		for range 100 {
			b.PrependUOffsetT(f)
		}
		return b.EndVector(100)
	}
	f := field(typeNull, 0)
	for range 30 {
		f = field(typeStruct, vector(f))
	}
	fields := vector(f)
	b.StartObject(4)
	b.PrependUOffsetTSlot(schemaFields, fields, 0)
	schema := b.EndObject()
	b.StartObject(5)
	b.PrependUOffsetTSlot(messageHeader, schema, 0)
	b.PrependInt16Slot(messageVersion, metadataV5, 0)
	b.PrependByteSlot(messageHeaderType, headerSchema, 0)
	b.Finish(b.EndObject())
	out := binary.LittleEndian.AppendUint32(nil, continuation)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b.FinishedBytes())))
	return append(out, b.FinishedBytes()...)
}

func TestSchemaBombIsRefused(t *testing.T) {
	if n := allocated(func() {
		if _, err := NewReader(bytes.NewReader(schemaBomb(1000))); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v; want ErrTooLarge", err)
		}
	}); n > 256<<20 {
		t.Errorf("%d bytes allocated for it", n)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A peer that claims 2 GiB and sends a few bytes gets a few megabytes; one that sends them gets what it needs.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.BinaryTypes.Binary})
	e := encoder{nodes: []fieldNode{{1, 0}}, buffers: []bufferRange{{}, {0, 8}, {64, math.MaxInt32 - 100}}, body: math.MaxInt32}
	var out bytes.Buffer
	w, err := NewWriter(&out, schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.send(continuation, nil, e.metadata(1, arrow.Metadata{}), [][]byte{make([]byte, 16)}); err != nil {
		t.Fatal(err)
	}
	if n := allocated(func() {
		if _, err := consume(out.Bytes()); !errors.Is(err, ErrTruncated) {
			t.Errorf("%v; want ErrTruncated", err)
		}
	}); n > 2*defaultGrowBytes {
		t.Errorf("%d bytes allocated for 16 bytes of body", n)
	}
}

func TestBodyGrows(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String})
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(3)), schema, 5000, 0.1)
	defer rec.Release()
	grow := func(c *config) { c.growBytes = 1000 }
	r, err := NewReader(bytes.NewReader(stream(t, schema, []arrow.Record{rec})), grow)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	sameRecord(t, "grown", got, rec)
	got.Release()
	if n := r.Outstanding(); n != 0 {
		t.Errorf("%d outstanding", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(smallStream(f))
	f.Add(schemaBomb(3))
	schema := schemaOf(everyType()[:len(everyType())-2])
	r := rand.New(rand.NewSource(2))
	for _, rows := range []int{0, 1, 9} {
		rec := randomRecord(memory.DefaultAllocator, r, schema, rows, 0.3)
		f.Add(stream(f, schema, []arrow.Record{rec}))
		f.Add(arrowStream(f, schema, []arrow.Record{rec}))
	}
	dict := arrow.NewSchema([]arrow.Field{{Name: "d", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}}}, nil)
	f.Add(arrowStream(f, dict, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		rd, err := NewReader(bytes.NewReader(b), WithMaxMessageBytes(1<<20))
		if err != nil {
			if !coded(err) {
				t.Fatal(err)
			}
			return
		}
		// Whatever schema is accepted can be sent on.
		w, err := NewWriter(io.Discard, rd.Schema())
		if err != nil {
			t.Fatalf("a schema that was read cannot be written: %v", err)
		}
		for {
			rec, err := rd.Read()
			if err != nil {
				if err != io.EOF && !coded(err) {
					t.Fatal(err)
				}
				break
			}
			// Columns without bytes may have any number of rows: nothing to look at.
			if rec.NumRows() <= 1<<16 && !longArray(rec) {
				for _, c := range rec.Columns() {
					touch(c)
				}
			}
			if err := w.Write(rec); err != nil {
				t.Fatalf("a record that was read cannot be written: %v", err)
			}
			rec.Release()
		}
		if n := rd.Outstanding(); n != 0 {
			t.Fatalf("%d outstanding", n)
		}
	})
}

func longArray(rec arrow.Record) bool {
	var long func(d arrow.ArrayData) bool
	long = func(d arrow.ArrayData) bool {
		if d.Len() > 1<<16 {
			return true
		}
		for _, c := range d.Children() {
			if long(c) {
				return true
			}
		}
		return false
	}
	for _, c := range rec.Columns() {
		if long(c.Data()) {
			return true
		}
	}
	return false
}
