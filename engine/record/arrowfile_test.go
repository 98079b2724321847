package record

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// streamOf writes records as a stream: with package wire, or with Arrow's own writer.
func streamOf(t testing.TB, own bool, schema *arrow.Schema, records ...arrow.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	var writer interface {
		Write(arrow.Record) error
		Close() error
	}
	if own {
		writer = ipc.NewWriter(&b, ipc.WithSchema(schema))
	} else {
		w, err := wire.NewWriter(&b, schema)
		if err != nil {
			t.Fatal(err)
		}
		writer = w
	}
	for _, rec := range records {
		if err := writer.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sample is a schema with metadata and nesting, and records of it.
func sample(t testing.TB) (*arrow.Schema, []arrow.Record) {
	t.Helper()
	meta := arrow.NewMetadata([]string{"a", "b"}, []string{"1", "ü"})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta},
		{Name: "money", Type: &arrow.Decimal128Type{Precision: 20, Scale: 3}, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
	}, &meta)
	var records []arrow.Record
	for _, text := range []string{
		`[{"n":1,"text":"one","money":"1.500","list":[1,2]},{"n":2}]`, `[]`, `[{"n":-3,"text":"","list":[]}]`,
	} {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	return schema, records
}

// fileOf makes a file of a stream.
func fileOf(t testing.TB, stream []byte) (path string, f *arrowFile, passed []byte, ended ending) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "f.arrow")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if f, err = newArrowFile(file); err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	// One byte at a time is how a socket may give them.
	ended, err = copyStream(&to, f, iotestOneByte{bytes.NewReader(stream)})
	if err == nil && ended == endedWhole {
		err = f.finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, f, to.Bytes(), ended
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

// TestArrowFile: Arrow's own reader finds in the file what was in the stream.
func TestArrowFile(t *testing.T) {
	schema, records := sample(t)
	for name, own := range map[string]bool{"wire": false, "arrow": true} {
		stream := streamOf(t, own, schema, records...)
		path, f, passed, ended := fileOf(t, stream)
		if ended != endedWhole || !bytes.Equal(passed, stream) || f.rows != 3 {
			t.Errorf("%s: ending %d, %d of %d bytes, %d rows", name, ended, len(passed), len(stream), f.rows)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		reader, err := ipc.NewFileReader(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reader.Schema().Equal(schema) || !reader.Schema().Metadata().Equal(schema.Metadata()) || reader.NumRecords() != len(records) {
			t.Errorf("%s: %d records of %v", name, reader.NumRecords(), reader.Schema())
		}
		for i, want := range records {
			got, err := reader.Record(i)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !array.RecordEqual(got, want) {
				t.Errorf("%s: record %d: %v", name, i, got)
			}
		}
	}
}

// TestCopyStreamHandsOn: whatever comes is handed on as it is, and how it ends is known.
func TestCopyStreamHandsOn(t *testing.T) {
	schema, records := sample(t)
	stream := streamOf(t, false, schema, records...)
	long := append([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, make([]byte, 300)...)
	for _, c := range []struct {
		name  string
		bytes []byte
		ended ending
		rows  int64
	}{
		{"nothing", nil, endedTruncated, 0},
		{"no marker", stream[:len(stream)-8], endedTruncated, 3},
		{"cut in a body", stream[:len(stream)-20], endedTruncated, 2},
		{"cut in the schema", stream[:50], endedTruncated, 0},
		{"garbage", bytes.Repeat([]byte("garbage "), 100), endedForeign, 0},
		{"metadata that is too long", long, endedForeign, 0},
		{"metadata that is none", append([]byte{0xFF, 0xFF, 0xFF, 0xFF, 8, 0, 0, 0}, bytes.Repeat([]byte{0xA5}, 100)...), endedForeign, 0},
	} {
		_, f, passed, ended := fileOf(t, c.bytes)
		if ended != c.ended || !bytes.Equal(passed, c.bytes) || f.rows != c.rows {
			t.Errorf("%s: ending %d, %d of %d bytes, %d rows", c.name, ended, len(passed), len(c.bytes), f.rows)
		}
	}
	// What follows the marker is not read.
	if _, _, passed, ended := fileOf(t, append(append([]byte{}, stream...), "more"...)); ended != endedWhole || !bytes.Equal(passed, stream) {
		t.Errorf("ending %d, %d bytes", ended, len(passed))
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestCopyStreamFails(t *testing.T) {
	schema, records := sample(t)
	stream := streamOf(t, false, schema, records...)
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, err := newArrowFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := copyStream(failing{io.ErrClosedPipe}, f, bytes.NewReader(stream)); ended != endedRefused || err != nil {
		t.Errorf("ending %d, %v", ended, err)
	}
	// A file that takes nothing, once the buffer is full.
	file.Close()
	var b bytes.Buffer
	if _, err := copyStream(&b, f, bytes.NewReader(bytes.Repeat([]byte("garbage "), copyBuffer))); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// FuzzCopyStream: no stream breaks the relay, and every byte of it is handed on.
func FuzzCopyStream(f *testing.F) {
	schema, records := sample(f)
	stream := streamOf(f, false, schema, records...)
	f.Add(stream)
	f.Add(streamOf(f, true, schema, records...))
	f.Add(stream[:len(stream)/2])
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		out, err := newArrowFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var to bytes.Buffer
		ended, err := copyStream(&to, out, bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(stream, to.Bytes()) || ended != endedWhole && to.Len() != len(stream) {
			t.Fatalf("ending %d, %d of %d bytes", ended, to.Len(), len(stream))
		}
		if ended == endedWhole {
			if err := out.finish(); err != nil && err != errNoSchema {
				t.Fatal(err)
			}
		}
	})
}
