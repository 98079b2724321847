package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// TestFile: Arrow's own reader finds in a file, from its last batch to its first, what was written, pieces of a record
// above the limit too; without what is a file's own it is the stream that NewWriter writes.
func TestFile(t *testing.T) {
	meta := arrow.NewMetadata([]string{"a"}, []string{"ü"})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: meta},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
	}, &meta)
	for _, c := range []struct {
		name          string
		rows, batches int
		options       []Option
	}{
		{"nothing", 0, 0, nil},
		{"one batch", 100, 1, nil},
		{"a batch in pieces", 1000, 8, []Option{WithMaxBatchBytes(4 << 10)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(3)), schema, c.rows, 0.2)
			defer rec.Release()
			var file, stream bytes.Buffer
			for to, begin := range map[*bytes.Buffer]func(io.Writer, *arrow.Schema, ...Option) (*Writer, error){&file: NewFileWriter, &stream: NewWriter} {
				w, err := begin(to, schema, c.options...)
				if err == nil && c.rows > 0 {
					err = w.Write(rec)
				}
				if err == nil {
					err = w.Close()
				}
				if err == nil {
					err = w.Close() // which does nothing
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.HasPrefix(file.Bytes(), append([]byte(FileOpening), stream.Bytes()...)) {
				t.Error("the file does not hold the stream")
			}
			r, err := ipc.NewFileReader(bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if !r.Schema().Equal(schema) || !r.Schema().Metadata().Equal(meta) {
				t.Errorf("the schema is %v", r.Schema())
			}
			if n := r.NumRecords(); c.batches < 2 && n != c.batches || c.batches >= 2 && n < 2 {
				t.Errorf("%d batches, want %d", n, c.batches)
			}
			end := rec.NumRows()
			for i := r.NumRecords() - 1; i >= 0; i-- {
				got, err := r.RecordAt(i)
				if err != nil {
					t.Fatal(err)
				}
				want := rec.NewSlice(end-got.NumRows(), end)
				if !array.RecordEqual(got, want) {
					t.Errorf("batch %d is not what was written", i)
				}
				end -= got.NumRows()
				want.Release()
				got.Release()
			}
			if end != 0 {
				t.Errorf("%d rows are missing", end)
			}
		})
	}
}

// TestFileFails: a file whose writer failed gets no footer, and an index without a schema none.
func TestFileFails(t *testing.T) {
	if _, err := (&FileIndex{}).Footer(); !errors.Is(err, ErrNoSchema) {
		t.Errorf("%v", err)
	}
	schema := schemaOf([]arrow.DataType{arrow.PrimitiveTypes.Int64})
	rec := randomRecord(memory.DefaultAllocator, rand.New(rand.NewSource(3)), schema, 10, 0)
	defer rec.Release()
	for after := range 4 {
		to := &failingWriter{after: after}
		w, err := NewFileWriter(to, schema)
		if err == nil {
			err = errors.Join(w.Write(rec), w.Close())
		}
		if !errors.Is(err, io.ErrClosedPipe) || bytes.HasSuffix(to.Bytes(), []byte(fileMagic)) {
			t.Errorf("after %d writes: %v, %d bytes", after, err, to.Len())
		}
	}
}

// failingWriter takes so many writes.
type failingWriter struct {
	bytes.Buffer
	after int
}

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return f.Buffer.Write(p)
}
