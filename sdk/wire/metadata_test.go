package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// TestBatchMetadata: the custom metadata of a batch arrives with it and with no other, on the last piece of one that is
// cut, and Arrow's own reader takes the stream.
func TestBatchMetadata(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 100 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	rec := b.NewRecord()
	defer rec.Release()
	none := rec.NewSlice(0, 0)
	defer none.Release()
	var stream bytes.Buffer
	w, err := NewWriter(&stream, schema, WithMaxBatchBytes(256))
	if err != nil {
		t.Fatal(err)
	}
	marked := arrow.NewMetadata([]string{"a", "b"}, []string{"1", strings.Repeat("ü", 5000)})
	for _, err := range []error{w.Write(rec), w.WriteWithMetadata(rec, marked), w.WriteWithMetadata(none, marked), w.Write(rec), w.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := stream.Bytes()
	r, err := NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	var at []int64
	for {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows += rec.NumRows()
		rec.Release()
		if md := r.Metadata(); md.Len() > 0 {
			if !md.Equal(marked) {
				t.Errorf("%d entries", md.Len())
			}
			at = append(at, rows)
		}
	}
	if rows != 300 || len(at) != 2 || at[0] != 200 || at[1] != 200 {
		t.Errorf("%d rows, metadata behind %v", rows, at)
	}
	if md := r.Metadata(); md.Len() != 0 {
		t.Error("metadata behind the end")
	}
	theirs, err := ipc.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Release()
	rows = 0
	for theirs.Next() {
		rows += theirs.Record().NumRows()
	}
	if theirs.Err() != nil || rows != 300 {
		t.Errorf("arrow reads %d rows: %v", rows, theirs.Err())
	}
	large := arrow.NewMetadata([]string{"a"}, []string{strings.Repeat("x", MaxMetadataBytes)})
	if w, err = NewWriter(io.Discard, schema); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteWithMetadata(rec, large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// TestDamagedMetadata: whatever byte of a message with metadata is another one, reading ends with an error or with a
// batch.
func TestDamagedMetadata(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).Append(1)
	rec := b.NewRecord()
	defer rec.Release()
	var stream bytes.Buffer
	w, err := NewWriter(&stream, schema)
	if err != nil {
		t.Fatal(err)
	}
	head := stream.Len()
	if err := w.WriteWithMetadata(rec, arrow.NewMetadata([]string{"a", "bc"}, []string{"1", "23"})); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := head; i < stream.Len(); i++ {
		for _, value := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			damaged := bytes.Clone(stream.Bytes())
			damaged[i] = value
			r, err := NewReader(bytes.NewReader(damaged))
			if err != nil {
				t.Fatal(err)
			}
			rec, err := r.Read()
			if err != nil {
				refused++
				continue
			}
			rec.Release()
			if n := r.Metadata().Len(); n > 2 {
				t.Errorf("byte %d: %d entries", i, n)
			}
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}
