package arrowipc

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// read reads what was written with Arrow's own implementation.
func read(t *testing.T, layout string, data []byte) (*arrow.Schema, []arrow.Record) {
	t.Helper()
	var records []arrow.Record
	t.Cleanup(func() {
		for _, r := range records {
			r.Release()
		}
	})
	if layout == "stream" {
		r, err := ipc.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		for r.Next() {
			r.Record().Retain()
			records = append(records, r.Record())
		}
		if err := r.Err(); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		return r.Schema(), records
	}
	r, err := ipc.NewFileReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// From the last to the first: a file is not read in order.
	records = make([]arrow.Record, r.NumRecords())
	for i := r.NumRecords() - 1; i >= 0; i-- {
		rec, err := r.RecordAt(i)
		if err != nil {
			t.Fatal(err)
		}
		records[i] = rec
	}
	return r.Schema(), records
}

func TestRoundTrip(t *testing.T) {
	everything := sample.Everything()
	defer everything.Release()
	big := sample.Appointments(5000, 4)
	defer big.Release()
	for _, layout := range []string{"stream", "file"} {
		for _, c := range []struct {
			name    string
			record  arrow.Record
			morsel  int64
			batches int
		}{
			{"every type", everything, 4, 1},
			{"slices that start anywhere", everything, 1, 4},
			{"rows", big, 777, 7},
			{"no rows", big.NewSlice(3, 3), 1, 0},
		} {
			t.Run(layout+"/"+c.name, func(t *testing.T) {
				var batches []sdk.Rows
				for i := int64(0); i < c.record.NumRows() || i == 0; i += c.morsel {
					slice := c.record.NewSlice(i, min(i+c.morsel, c.record.NumRows()))
					defer slice.Release()
					batches = append(batches, sdk.Rows{Record: slice})
				}
				out, err := sample.Encode(sample.NewEncoder(t, Stage(), fmt.Sprintf(`{"layout":%q}`, layout), sdk.Env{}), batches...)
				if err != nil {
					t.Fatal(err)
				}
				schema, records := read(t, layout, out.Data)
				if !schema.Equal(c.record.Schema()) {
					t.Errorf("schema\n%s\nwant\n%s", schema, c.record.Schema())
				}
				for i, f := range schema.Fields() {
					if want := c.record.Schema().Field(i); !f.Metadata.Equal(want.Metadata) || f.Nullable != want.Nullable {
						t.Errorf("%s came back as %s", want, f)
					}
				}
				if len(records) != c.batches {
					t.Errorf("%d batches, want %d", len(records), c.batches)
				}
				var first int64
				for _, r := range records {
					want := c.record.NewSlice(first, first+r.NumRows())
					if !array.RecordEqual(r, want) {
						t.Errorf("rows from %d:\n%s\nwant\n%s", first, r, want)
					}
					want.Release()
					first += r.NumRows()
				}
				if first != c.record.NumRows() {
					t.Errorf("%d rows, want %d", first, c.record.NumRows())
				}
			})
		}
	}
}

// TestFooter reads the footer as File.fbs lays it down, with Python.
func TestFooter(t *testing.T) {
	record := sample.Text("name", "a", "b", "c")
	defer record.Release()
	rows := func(from, to int64) sdk.Rows { return sdk.Rows{Record: record.NewSlice(from, to)} }
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), rows(0, 1), rows(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	got := sample.Oracle(t, `
import struct, sys
d = sys.stdin.buffer.read()
assert d[:8] == b"ARROW1\0\0" and d[-6:] == b"ARROW1"
n, = struct.unpack("<i", d[-10:-6])
f = d[-10-n:-10]
assert (len(d) - 10 - n) % 8 == 0
u32 = lambda at: struct.unpack_from("<I", f, at)[0]
table = u32(0)
vt = table - struct.unpack_from("<i", f, table)[0]
slot = lambda i: table + struct.unpack_from("<H", f, vt + 4 + 2*i)[0]
version, = struct.unpack_from("<h", f, slot(0))
vector = slot(3) + u32(slot(3))
assert table % 4 == 0 and (vector + 4) % 8 == 0
for i in range(u32(vector)):
    offset, meta, body = struct.unpack_from("<qi4xq", f, vector + 4 + 24*i)
    assert d[offset:offset+4] == b"\xff\xff\xff\xff" and offset % 8 == 0 and meta % 8 == 0 and body % 8 == 0
    assert struct.unpack_from("<i", d, offset + 4)[0] == meta - 8
    print("batch", i)
print("version", version)
`, out.Data)
	if want := "batch 0\nbatch 1\nversion 4\n"; string(got) != want {
		t.Errorf("Python read %q, want %q", got, want)
	}
}

func TestFaults(t *testing.T) {
	dictionary := arrow.NewSchema([]arrow.Field{{Name: "code", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}}}, nil)
	_, err := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}).Bind(dictionary)
	if !fault.Is(err, "encoder.unsupported_type") || !strings.Contains(err.Error(), "code") {
		t.Errorf("dictionary: %v", err)
	}

	e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{})
	a, b := sample.Text("a", "x"), sample.Text("b", "x")
	defer a.Release()
	defer b.Release()
	if _, err := sample.Encode(e, sdk.Rows{Record: a}, sdk.Rows{Record: b}); !fault.Is(err, "encoder.schema_changed") {
		t.Errorf("another schema: %v", err)
	}
}

func TestStage(t *testing.T) {
	record := sample.Text("a", "x")
	defer record.Release()
	for settings, want := range map[string]sdk.Media{
		`{}`:                  {Type: "application/vnd.apache.arrow.file", Extension: ".arrow"},
		`{"layout":"stream"}`: {Type: "application/vnd.apache.arrow.stream", Extension: ".arrows"},
	} {
		if media, err := sample.NewEncoder(t, Stage(), settings, sdk.Env{}).Bind(record.Schema()); err != nil || media != want {
			t.Errorf("%s: %+v (%v)", settings, media, err)
		}
	}
	if d := Stage(); d.Concurrent || d.Out != sdk.ShapeBytes {
		t.Errorf("%+v", d.About)
	}
}

func BenchmarkEncode(b *testing.B) {
	record := sample.Appointments(2048, 1)
	defer record.Release()
	made, err := Stage().Make(nil, sdk.Env{Memory: memory.DefaultAllocator})
	if err != nil {
		b.Fatal(err)
	}
	e := made.(sdk.Encoder)
	if _, err := e.Bind(record.Schema()); err != nil {
		b.Fatal(err)
	}
	var out sdk.Output
	if err := e.Begin(&out); err != nil {
		b.Fatal(err)
	}
	meter := sample.NewMeter(b)
	for b.Loop() {
		out.Reset()
		if err := e.Encode(b.Context(), sdk.Rows{Record: record}, &out); err != nil {
			b.Fatal(err)
		}
		meter.Rows += record.NumRows()
		meter.Size += int64(len(out.Data))
	}
	meter.Report()
}
