package nodeplugin

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine/host"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// everyType is all that the wire carries.
func everyType() []arrow.Field {
	types := []arrow.DataType{
		arrow.Null, arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		&arrow.Decimal128Type{Precision: 38, Scale: 10}, &arrow.Decimal256Type{Precision: 65, Scale: 30},
		arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
		arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
		&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Australia/Sydney"},
		&arrow.DurationType{Unit: arrow.Microsecond},
		arrow.FixedWidthTypes.MonthInterval, arrow.FixedWidthTypes.DayTimeInterval, arrow.FixedWidthTypes.MonthDayNanoInterval,
		arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary, &arrow.FixedSizeBinaryType{ByteWidth: 5},
		// A text that is not UTF-8 is nobody's business unless it is to be redacted.
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString,
		arrow.ListOf(arrow.BinaryTypes.String), arrow.LargeListOf(arrow.PrimitiveTypes.Int16), arrow.FixedSizeListOf(3, arrow.FixedWidthTypes.Boolean),
		arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "y", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64)}),
		arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64),
	}
	fields := []arrow.Field{{Name: "note", Type: arrow.BinaryTypes.String}}
	for i, dt := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprint(i, " ", dt), Type: dt, Nullable: true,
			Metadata: arrow.NewMetadata([]string{"cipherstream.source_type"}, []string{dt.Name()})})
	}
	return fields
}

// randomData makes an array of n values whose bytes are random, starting at row off of its buffers.
func randomData(random *rand.Rand, dt arrow.DataType, n, off int, nulls float64) arrow.ArrayData {
	total := n + off
	fill := func(size int) *memory.Buffer {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return memory.NewBufferBytes(b)
	}
	if dt.ID() == arrow.NULL {
		return array.NewData(dt, n, []*memory.Buffer{nil}, nil, n, off)
	}
	var validity *memory.Buffer
	if nulls > 0 {
		bits := make([]byte, total/8+1)
		for i := range total {
			if random.Float64() >= nulls {
				bits[i/8] |= 1 << (i % 8)
			}
		}
		validity = memory.NewBufferBytes(bits)
	}
	buffers := []*memory.Buffer{validity}
	var children []arrow.ArrayData
	offsets := func(width int) (last int) {
		b := make([]byte, (total+1)*width)
		for i := range total + 1 {
			if width == 4 {
				binary.LittleEndian.PutUint32(b[4*i:], uint32(last))
			} else {
				binary.LittleEndian.PutUint64(b[8*i:], uint64(last))
			}
			if i < total {
				last += random.IntN(4)
			}
		}
		buffers = append(buffers, memory.NewBufferBytes(b))
		return last
	}
	switch t := dt.(type) {
	case *arrow.BinaryType, *arrow.StringType:
		size := offsets(4)
		buffers = append(buffers, fill(size))
	case *arrow.LargeBinaryType, *arrow.LargeStringType:
		size := offsets(8)
		buffers = append(buffers, fill(size))
	case *arrow.ListType:
		children = append(children, randomData(random, t.Elem(), offsets(4), 0, nulls))
	case *arrow.LargeListType:
		children = append(children, randomData(random, t.Elem(), offsets(8), 0, nulls))
	case *arrow.FixedSizeListType:
		children = append(children, randomData(random, t.Elem(), total*int(t.Len()), 0, nulls))
	case *arrow.MapType:
		length := offsets(4)
		children = append(children, array.NewData(t.Elem(), length, []*memory.Buffer{nil}, []arrow.ArrayData{
			randomData(random, t.KeyType(), length, 0, 0), randomData(random, t.ItemType(), length, 0, nulls)}, 0, 0))
	case *arrow.StructType:
		for _, f := range t.Fields() {
			children = append(children, randomData(random, f.Type, total, 0, nulls))
		}
	case *arrow.BooleanType:
		buffers = append(buffers, fill(total/8+1))
	case arrow.FixedWidthDataType:
		buffers = append(buffers, fill(total*t.BitWidth()/8))
	default:
		panic("no values of type " + dt.String())
	}
	count := array.UnknownNullCount
	if validity == nil {
		count = 0
	}
	return array.NewData(dt, n, buffers, children, count, off)
}

func randomRecord(random *rand.Rand, schema *arrow.Schema, rows, off int, nulls float64) arrow.Record {
	var columns []arrow.Array
	for i, f := range schema.Fields() {
		if i > 0 {
			columns = append(columns, array.MakeFromData(randomData(random, f.Type, rows, off, nulls)))
			continue
		}
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for row := range rows {
			b.Append(fmt.Sprintf("%d: jo@example.org", row))
		}
		columns = append(columns, b.NewArray())
	}
	return array.NewRecord(schema, columns, int64(rows))
}

// TestEveryType sends random values of every type that the wire carries through the plugin, that is through the reader
// and the writer of another Arrow library, and compares what comes out.
func TestEveryType(t *testing.T) {
	meta := arrow.NewMetadata([]string{"a key", "of the schema"}, []string{"a value", ""})
	schema := arrow.NewSchema(everyType(), &meta)
	random := rand.New(rand.NewPCG(6, 5))
	var given []arrow.Record
	for _, shape := range []struct {
		rows, off int
		nulls     float64
	}{{1, 0, 0}, {1000, 0, 0.3}, {17, 5, 0.3}, {64, 8, 1}, {8, 3, 0}, {5000, 1, 0.01}} {
		given = append(given, randomRecord(random, schema, shape.rows, shape.off, shape.nulls))
	}
	got, outSchema, err := through(t, `{"columns":["note"]}`, schema, given)
	if err != nil {
		t.Fatal(err)
	}
	if !outSchema.Equal(schema) {
		t.Errorf("the schema became\n%s\nfrom\n%s", outSchema, schema)
	}
	if len(got) != len(given) {
		t.Fatalf("%d batches came, want %d", len(got), len(given))
	}
	for i, rec := range got {
		notes := rec.Column(0).(*array.String)
		for row := range notes.Len() {
			if notes.Value(row) != fmt.Sprintf("%d: [email]", row) {
				t.Fatalf("batch %d: note %d is %q", i, row, notes.Value(row))
			}
		}
		for c := 1; c < int(rec.NumCols()); c++ {
			if !array.ApproxEqual(rec.Column(c), given[i].Column(c), array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
				t.Errorf("batch %d: column %q changed: %.300s, was %.300s", i, rec.ColumnName(c), rec.Column(c), given[i].Column(c))
			}
		}
	}
}

// TestNotUTF8: what cannot be read as text is refused, and not replaced by question marks.
func TestNotUTF8(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "note", Type: arrow.BinaryTypes.LargeString}}, nil)
	b := array.NewLargeStringBuilder(memory.DefaultAllocator)
	b.Append("good")
	b.Append("b\xe4d")
	rec := array.NewRecord(schema, []arrow.Array{b.NewArray()}, 2)
	got, _, err := through(t, `{}`, schema, []arrow.Record{rec})
	if f := fault.From(err); f == nil || f.Code != "data.not_utf8" || f.Class != fault.Data || f.Stage != "stage" || strings.Contains(f.Message, "good") {
		t.Errorf("%v and %d batches", err, len(got))
	}
}

// through runs the plugin on a stream, in a process that the host starts from its lock file.
func through(t *testing.T, settings string, schema *arrow.Schema, records []arrow.Record) (out []arrow.Record, outSchema *arrow.Schema, err error) {
	t.Helper()
	w := newWorkspace(t)
	h, err := host.New(host.Config{PluginDir: w.plugins})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir, err := h.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p, err := h.Start(ctx, "redact", host.Reach{Path: dir, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	listener, err := net.Listen("unix", filepath.Join(dir, "o"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	stages := []*pb.Stage{{Id: "stage", Kind: "filter", Name: "text", Settings: []byte(settings)}}
	if err := p.Open(ctx, &pb.OpenRequest{RunId: "test", Stages: stages, Input: filepath.Join(dir, "i"), Output: filepath.Join(dir, "o")}, nil); err != nil {
		return nil, nil, err
	}
	sent := make(chan error, 1)
	go func() { sent <- send(filepath.Join(dir, "i"), schema, records) }()
	read := make(chan error, 1)
	go func() {
		var err error
		out, outSchema, err = receive(listener)
		read <- err
	}()
	err = p.Start(ctx, func(*pb.Event) {})
	if err == nil {
		if err := <-sent; err != nil {
			t.Errorf("sending: %v", err)
		}
	}
	if readErr := <-read; (readErr == nil) != (err == nil) {
		t.Errorf("the run ended with %v, and its output with %v", err, readErr)
	}
	return out, outSchema, err
}

func send(path string, schema *arrow.Schema, records []arrow.Record) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	writer, err := wire.NewWriter(conn, schema)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if err := writer.Write(rec); err != nil {
			return err
		}
	}
	return writer.Close()
}

func receive(listener net.Listener) (records []arrow.Record, _ *arrow.Schema, _ error) {
	conn, err := listener.Accept()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	reader, err := wire.NewReader(conn)
	if err != nil {
		return nil, nil, err
	}
	for {
		rec, err := reader.Read()
		if err == io.EOF {
			return records, reader.Schema(), nil
		}
		if err != nil {
			return nil, nil, err
		}
		records = append(records, rec)
	}
}
