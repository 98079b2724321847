package changerow

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// Builder collects rows of the table of changes. It is for one goroutine.
type Builder struct {
	rows  *array.RecordBuilder
	bytes int64
	n     int
	text  []byte
}

// NewBuilder makes an empty one; Release lets its memory go.
func NewBuilder(mem memory.Allocator) *Builder {
	return &Builder{rows: array.NewRecordBuilder(mem, changes.Schema())}
}

// Rows is how many rows were collected, and Bytes about how much memory they take.
func (b *Builder) Rows() int    { return b.n }
func (b *Builder) Bytes() int64 { return b.bytes }

// Write adds a document that is as it stands in a row that was mapped with Map. A time that is zero is not known.
func (b *Builder) Write(r *Rows, row int, origin string, committed time.Time) {
	m := r.mapper
	b.text = append(b.text[:0], `{"id":"`...)
	b.text = format.AppendJSON(b.text, r.ID(row))
	b.text = append(b.text, m.kind...)
	if m.documents == nil {
		b.text = append(b.text, '}')
	} else {
		object := piece(&r.documents, row)
		b.text = append(b.text, ',')
		b.text = append(b.text, object[1:len(object)-1]...)
	}
	b.add(m, r.ID(row), changes.OpWrite, origin, b.text, committed)
}

// Delete adds that there is no document of an id any more.
func (b *Builder) Delete(m *Mapper, id []byte, origin string, committed time.Time) {
	b.add(m, id, changes.OpDelete, origin, nil, committed)
}

// Truncate adds that there is no document of the table any more.
func (b *Builder) Truncate(m *Mapper, origin string, committed time.Time) {
	b.add(m, nil, changes.OpTruncate, origin, nil, committed)
}

// Begin and End add that all documents of the table that there are come between the two.
func (b *Builder) Begin(m *Mapper, origin string) {
	b.add(m, nil, changes.OpBegin, origin, nil, time.Time{})
}

// End is the other end of Begin.
func (b *Builder) End(m *Mapper, origin string) {
	b.add(m, nil, changes.OpEnd, origin, nil, time.Time{})
}

func (b *Builder) add(m *Mapper, id []byte, operation, origin string, document []byte, committed time.Time) {
	text := func(column int, v string) { b.rows.Field(column).(*array.StringBuilder).Append(v) }
	text(changes.ColumnChannel, m.table.Channel)
	text(changes.ColumnType, m.table.Type)
	b.rows.Field(changes.ColumnID).(*array.StringBuilder).BinaryBuilder.Append(id)
	text(changes.ColumnOperation, operation)
	text(changes.ColumnOrigin, origin)
	if document == nil {
		b.rows.Field(changes.ColumnDocument).AppendNull()
	} else {
		b.rows.Field(changes.ColumnDocument).(*array.StringBuilder).BinaryBuilder.Append(document)
	}
	at := b.rows.Field(changes.ColumnCommittedAt).(*array.TimestampBuilder)
	if committed.IsZero() {
		at.AppendNull()
	} else {
		at.Append(arrow.Timestamp(committed.UnixMicro()))
	}
	b.n++
	b.bytes += int64(len(m.table.Channel)+len(m.table.Type)+len(id)+len(operation)+len(origin)+len(document)) + overhead
}

// overhead is what a row takes beside its texts: offsets, a time, bits.
const overhead = 6*4 + 8 + 2

// Record takes what was collected. The caller releases it.
func (b *Builder) Record() arrow.Record {
	b.n, b.bytes = 0, 0
	return b.rows.NewRecord()
}

// Release lets go of what was collected, and of the builder's memory.
func (b *Builder) Release() { b.rows.Release() }
