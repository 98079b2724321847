package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream writes records with Writer.
func stream(t testing.TB, schema *arrow.Schema, recs []arrow.Record, opts ...Option) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, schema, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// arrowStream writes records with arrow's own writer.
func arrowStream(t testing.TB, schema *arrow.Schema, recs []arrow.Record, opts ...ipc.Option) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, append(opts, ipc.WithSchema(schema))...)
	for _, rec := range recs {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// readAll reads a stream to its end with Reader and hands each record to visit before it is released.
func readAll(t testing.TB, b []byte, visit func(i int, rec arrow.Record)) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b), WithHolderTrace())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(i, rec)
		rec.Release()
	}
	if n := r.Outstanding(); n != 0 {
		t.Fatalf("%d buffers outstanding after every record was released:\n%+v", n, r.Holders())
	}
	return r
}

func TestRoundTripEveryType(t *testing.T) {
	registerCode(t)
	schema := schemaOf(everyType())
	for _, rows := range []int{0, 1, 7, 8, 9, 64, 257} {
		for _, nullRate := range []float64{0, 0.3, 1} {
			t.Run(fmt.Sprintf("rows=%d/nulls=%v", rows, nullRate), func(t *testing.T) {
				mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
				defer mem.AssertSize(t, 0)
				r := rand.New(rand.NewSource(int64(rows)*10 + int64(nullRate*10)))
				whole := randomRecord(mem, r, schema, rows, nullRate)
				defer whole.Release()
				recs := []arrow.Record{whole}
				for range 6 {
					lo := r.Intn(rows + 1)
					s := whole.NewSlice(int64(lo), int64(lo+r.Intn(rows-lo+1)))
					defer s.Release()
					recs = append(recs, s)
				}

				ours := stream(t, schema, recs)
				rd := readAll(t, ours, func(i int, rec arrow.Record) {
					sameRecord(t, fmt.Sprintf("ours to ours, record %d", i), rec, recs[i])
					again := stream(t, schema, []arrow.Record{rec})
					readAll(t, again, func(_ int, rec arrow.Record) { sameRecord(t, "forwarded", rec, recs[i]) })
				})
				if got := rd.Schema(); !got.Equal(schema) || !got.Metadata().Equal(schema.Metadata()) {
					t.Fatalf("schema\n%s\nwant\n%s", got, schema)
				}
				// Arrow's own writer panics on an empty slice of a binary column, also one inside of a list; slices of
				// flat columns have a test of their own.
				readAll(t, arrowStream(t, schema, recs[:1]), func(i int, rec arrow.Record) {
					sameRecord(t, "arrow to ours", rec, recs[i])
				})

				ar, err := ipc.NewReader(bytes.NewReader(ours), ipc.WithAllocator(mem))
				if err != nil {
					t.Fatal(err)
				}
				defer ar.Release()
				for i := range recs {
					if !ar.Next() {
						t.Fatalf("arrow's reader stopped at record %d: %v", i, ar.Err())
					}
					sameRecord(t, fmt.Sprintf("ours to arrow, record %d", i), ar.Record(), recs[i])
				}
				if ar.Next() || ar.Err() != nil {
					t.Fatalf("arrow's reader did not end: %v", ar.Err())
				}
			})
		}
	}
}

func TestReadsSlicesWrittenByArrow(t *testing.T) {
	schema := schemaOf(everyType()[:38])
	r := rand.New(rand.NewSource(11))
	whole := randomRecord(memory.DefaultAllocator, r, schema, 200, 0.3)
	defer whole.Release()
	var recs []arrow.Record
	for range 40 {
		lo := r.Int63n(200)
		s := whole.NewSlice(lo, lo+1+r.Int63n(200-lo))
		defer s.Release()
		recs = append(recs, s)
	}
	n := 0
	readAll(t, arrowStream(t, schema, recs), func(i int, rec arrow.Record) {
		sameRecord(t, fmt.Sprintf("record %d", i), rec, recs[i])
		n++
	})
	if n != len(recs) {
		t.Errorf("%d records, want %d", n, len(recs))
	}
}

func TestRoundTripZeroColumns(t *testing.T) {
	schema := arrow.NewSchema(nil, nil)
	rec := array.NewRecord(schema, nil, 12)
	defer rec.Release()
	for name, b := range map[string][]byte{"ours": stream(t, schema, []arrow.Record{rec}), "arrow": arrowStream(t, schema, []arrow.Record{rec})} {
		n := 0
		readAll(t, b, func(_ int, rec arrow.Record) { n += int(rec.NumRows()) })
		if n != 12 {
			t.Errorf("%s: %d rows, want 12", name, n)
		}
	}
}

func TestEmptyStreamEnds(t *testing.T) {
	schema := schemaOf(everyType()[:5])
	r, err := NewReader(bytes.NewReader(stream(t, schema, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if rec, err := r.Read(); rec != nil || err != io.EOF {
			t.Fatalf("%v, %v; want io.EOF", rec, err)
		}
	}
}

// Every message and every buffer starts at a multiple of 64 bytes of the stream.
func TestAlignment(t *testing.T) {
	schema := schemaOf(everyType()[:40])
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(1)), schema, 100, 0.2)
	defer rec.Release()
	if b := stream(t, schema, []arrow.Record{rec}); (len(b)-prefixBytes)%alignment != 0 {
		t.Errorf("stream of %d bytes: messages are not padded to %d", len(b), alignment)
	}
	readAll(t, stream(t, schema, []arrow.Record{rec}), func(_ int, rec arrow.Record) {
		for i, c := range rec.Columns() {
			for _, buf := range c.Data().Buffers() {
				if buf != nil && buf.Len() > 0 && misaligned(buf.Bytes()) {
					t.Errorf("column %d: a buffer is not aligned to %d", i, alignment)
				}
			}
		}
	})
}

// An unregistered extension type passes as its storage, with the metadata that names it.
func TestUnregisteredExtensionPassesThrough(t *testing.T) {
	schema := schemaOf([]arrow.DataType{newCodeType()})
	r, err := NewReader(bytes.NewReader(stream(t, schema, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f := r.Schema().Field(0)
	if name, _ := f.Metadata.GetValue(ipc.ExtensionTypeKeyName); f.Type.ID() != arrow.STRING || name != "wire.test.code" {
		t.Fatalf("%v", f)
	}
}

// Offsets need not start at zero in an array that is not sliced. (Arrow's own writer sends a batch here that its reader
// refuses.)
func TestOffsetsThatDoNotStartAtZero(t *testing.T) {
	text := memory.NewBufferBytes([]byte("xxxabcdef"))
	items := array.NewInt64Data(array.NewData(arrow.PrimitiveTypes.Int64, 9, []*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes([]int64{0, 1, 2, 3, 4, 5, 6, 7, 8}))}, nil, 0, 0))
	offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{3, 4, 6, 9}))
	schema := schemaOf([]arrow.DataType{arrow.BinaryTypes.String, arrow.ListOf(arrow.PrimitiveTypes.Int64)})
	str := array.NewStringData(array.NewData(schema.Field(0).Type, 3, []*memory.Buffer{nil, offsets, text}, nil, 0, 0))
	list := array.NewListData(array.NewData(schema.Field(1).Type, 3, []*memory.Buffer{nil, offsets}, []arrow.ArrayData{items.Data()}, 0, 0))
	rec := array.NewRecord(schema, []arrow.Array{str, list}, 3)
	readAll(t, stream(t, schema, []arrow.Record{rec}), func(_ int, got arrow.Record) {
		if s := fmt.Sprint(got.Columns()); s != `[["a" "bc" "def"] [[3] [4 5] [6 7 8]]]` {
			t.Error(s)
		}
	})
}

// The child of a nested array may itself be a slice.
func TestSlicedChildren(t *testing.T) {
	all, _, err := array.FromJSON(memory.DefaultAllocator, arrow.PrimitiveTypes.Int64, strings.NewReader(`[0, null, 2, 3, null, 5, 6, 7]`))
	if err != nil {
		t.Fatal(err)
	}
	items := array.NewSlice(all, 2, 8).Data()
	i64 := arrow.PrimitiveTypes.Int64
	schema := schemaOf([]arrow.DataType{arrow.ListOf(i64), arrow.FixedSizeListOf(2, i64), arrow.StructOf(arrow.Field{Name: "a", Type: i64, Nullable: true})})
	offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, 1, 3, 6}))
	none := []*memory.Buffer{nil}
	cols := []arrow.Array{
		array.MakeFromData(array.NewData(schema.Field(0).Type, 3, []*memory.Buffer{nil, offsets}, []arrow.ArrayData{items}, 0, 0)),
		array.MakeFromData(array.NewData(schema.Field(1).Type, 3, none, []arrow.ArrayData{items}, 0, 0)),
		array.MakeFromData(array.NewData(schema.Field(2).Type, 3, none, []arrow.ArrayData{items}, 0, 0)),
	}
	rec := array.NewRecord(schema, cols, 3)
	for lo, want := range []string{
		`[[[2] [3 (null)] [5 6 7]] [[2 3] [(null) 5] [6 7]] {[2 3 (null)]}]`,
		`[[[3 (null)] [5 6 7]] [[(null) 5] [6 7]] {[3 (null)]}]`,
		`[[[5 6 7]] [[6 7]] {[(null)]}]`,
	} {
		readAll(t, stream(t, schema, []arrow.Record{rec.NewSlice(int64(lo), 3)}), func(_ int, got arrow.Record) {
			if s := fmt.Sprint(got.Columns()); s != want {
				t.Errorf("from row %d: %s, want %s", lo, s, want)
			}
		})
	}
}

func TestSliceSendsOnlyItsRows(t *testing.T) {
	registerCode(t)
	schema := schemaOf(everyType())
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(5)), schema, 20_000, 0.1)
	defer rec.Release()
	s := rec.NewSlice(10_001, 10_003)
	defer s.Release()
	// Two rows: no buffer needs more than one or two units of padding.
	if n := len(stream(t, schema, []arrow.Record{s})); n > 40<<10 {
		t.Errorf("two rows took %d bytes", n)
	}
}

func TestSplit(t *testing.T) {
	registerCode(t)
	schema := schemaOf(everyType())
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(6)), schema, 3001, 0.2)
	defer rec.Release()
	const limit = 128 << 10
	var parts []arrow.Record
	b := stream(t, schema, []arrow.Record{rec}, WithMaxBatchBytes(limit))
	r, err := NewReader(bytes.NewReader(b), WithMaxMessageBytes(limit))
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		parts = append(parts, p)
	}
	if len(parts) < len(b)/limit || len(parts) > 4*len(b)/limit {
		t.Errorf("%d bytes went as %d batches of at most %d", len(b), len(parts), limit)
	}
	lo := int64(0)
	for i, p := range parts {
		want := rec.NewSlice(lo, lo+p.NumRows())
		sameRecord(t, fmt.Sprintf("part %d", i), p, want)
		want.Release()
		lo += p.NumRows()
	}
	if lo != rec.NumRows() {
		t.Errorf("%d rows, want %d", lo, rec.NumRows())
	}
}

func TestOneLongRow(t *testing.T) {
	schema := schemaOf([]arrow.DataType{arrow.BinaryTypes.Binary})
	b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	for i := range 1000 {
		b.Append(make([]byte, 10+i/700*(i%700/299)*100_000)) // row 999 alone is long
	}
	col := b.NewArray()
	rec := array.NewRecord(schema, []arrow.Array{col}, 1000)
	var sizes []int64
	readAll(t, stream(t, schema, []arrow.Record{rec}, WithMaxBatchBytes(32<<10)), func(_ int, p arrow.Record) { sizes = append(sizes, p.NumRows()) })
	if fmt.Sprint(sizes) != "[496 248 128 64 32 16 8 4 2 1 1]" {
		t.Errorf("batches of %v rows", sizes)
	}

	w, err := NewWriter(io.Discard, schema, WithMaxBatchBytes(32<<10), WithMaxMessageBytes(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v; want ErrTooLarge", err)
	}
	if err := w.Close(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Close after a failed Write: %v; want its error", err)
	}
}
