package parquet

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// createdBy follows the form that readers parse: application, "version", version.
const createdBy = "cipherstream version 1.0.0"

// maxIndexBytes is what the page indexes of a file may take. Row groups that come later
// have none, so that a file of any length takes little memory.
const maxIndexBytes = 16 << 20

// groupList is the metadata of the row groups that are finished, in the form in which
// it goes into the footer: a long file has thousands of them.
type groupList struct {
	chunks []byte // ColumnChunk up to metadata, without its end
	ends   []int  // of every chunk in chunks
	groups []rowGroup

	// The page indexes of all chunks, which stand together in front of the footer.
	columnIndexes, offsetIndexes []byte
	indexed                      []indexSizes // by chunk
	indexLimit                   int          // maxIndexBytes
	rows                         int64
}

// rowGroup is a RowGroup without its columns.
type rowGroup struct {
	bytes, rows, offset, compressed int64
}

// indexSizes are the sizes of a chunk's indexes; 0 is one that it does not have.
type indexSizes struct{ columns, offsets int32 }

// chunkMetadata is format.ColumnMetaData with statistics that say whether they are exact.
type chunkMetadata struct {
	Type                  format.Type                `thrift:"1,required"`
	Encoding              []format.Encoding          `thrift:"2,required"`
	PathInSchema          []string                   `thrift:"3,required"`
	Codec                 format.CompressionCodec    `thrift:"4,required"`
	NumValues             int64                      `thrift:"5,required"`
	TotalUncompressedSize int64                      `thrift:"6,required"`
	TotalCompressedSize   int64                      `thrift:"7,required"`
	DataPageOffset        int64                      `thrift:"9,required"`
	DictionaryPageOffset  int64                      `thrift:"11,optional"`
	Statistics            statistics                 `thrift:"12,optional,writezero"`
	EncodingStats         []format.PageEncodingStats `thrift:"13,optional"`
}

type statistics struct {
	NullCount       int64             `thrift:"3,writezero"`
	MaxValue        []byte            `thrift:"5"`
	MinValue        []byte            `thrift:"6"`
	IsMaxValueExact thrift.Null[bool] `thrift:"7,optional"`
	IsMinValueExact thrift.Null[bool] `thrift:"8,optional"`
}

// chunkStart is the first fields of format.ColumnChunk.
type chunkStart struct {
	FileOffset int64         `thrift:"2,required"`
	MetaData   chunkMetadata `thrift:"3,required"`
}

// metadata describes the column chunk that starts at offset in the file.
func (c *column) metadata(offset int64, codec format.CompressionCodec) chunkMetadata {
	m := chunkMetadata{
		Type:                  c.physical,
		PathInSchema:          []string{c.name},
		Codec:                 codec,
		NumValues:             c.values,
		TotalUncompressedSize: c.uncompressed,
		TotalCompressedSize:   c.dictionaryPage.size + c.chunk.size,
		DataPageOffset:        offset + c.dictionaryPage.size,
		Statistics:            statistics{NullCount: c.chunkNulls},
	}
	if c.pages[format.RLEDictionary] > 0 {
		m.DictionaryPageOffset = offset
		m.Encoding = append(m.Encoding, format.Plain)
		m.EncodingStats = append(m.EncodingStats,
			format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
	}
	if c.optional {
		m.Encoding = append(m.Encoding, format.RLE)
	}
	for _, e := range pageEncodings {
		if n := c.pages[e]; n > 0 {
			if e != format.Plain || m.DictionaryPageOffset == 0 {
				m.Encoding = append(m.Encoding, e)
			}
			m.EncodingStats = append(m.EncodingStats,
				format.PageEncodingStats{PageType: format.DataPage, Encoding: e, Count: n})
		}
	}
	b := c.bounds.encoded()
	m.Statistics.MinValue, m.Statistics.MaxValue = b.lo, b.hi
	if b.lo != nil && c.order != orderFloat {
		m.Statistics.IsMinValueExact, m.Statistics.IsMaxValueExact = thrift.New(b.loExact), thrift.New(b.hiExact)
	}
	return m
}

// add takes a finished row group that starts at offset, and returns its size.
func (g *groupList) add(columns []*column, rows, offset int64, codec format.CompressionCodec) (int64, error) {
	at := offset
	group := rowGroup{rows: rows, offset: offset}
	withIndexes := len(g.columnIndexes)+len(g.offsetIndexes) < g.indexLimit
	for _, c := range columns {
		m := c.metadata(at, codec)
		var err error
		if g.chunks, err = encodeThrift(g.chunks, &chunkStart{FileOffset: offset, MetaData: m}); err != nil {
			return 0, err
		}
		g.chunks = g.chunks[:len(g.chunks)-1] // the end of the structure
		g.ends = append(g.ends, len(g.chunks))
		var sizes indexSizes
		if withIndexes {
			if sizes, err = g.index(c, m.DataPageOffset); err != nil {
				return 0, err
			}
		}
		g.indexed = append(g.indexed, sizes)
		at += m.TotalCompressedSize
		group.bytes += m.TotalUncompressedSize
	}
	group.compressed = at - offset
	g.groups = append(g.groups, group)
	g.rows += rows
	return at - offset, nil
}

// index takes the page index of a column chunk whose data pages start at start.
func (g *groupList) index(c *column, start int64) (sizes indexSizes, err error) {
	if bounds := c.index.bounds(&c.bounds); bounds != nil {
		before := len(g.columnIndexes)
		if g.columnIndexes, err = encodeThrift(g.columnIndexes, bounds); err != nil {
			return sizes, err
		}
		sizes.columns = int32(len(g.columnIndexes) - before)
	}
	before := len(g.offsetIndexes)
	g.offsetIndexes, err = encodeThrift(g.offsetIndexes, c.index.offsets(start))
	sizes.offsets = int32(len(g.offsetIndexes) - before)
	return sizes, err
}

// The types of Thrift's compact protocol that the structures need which are put together here
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
const (
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
	// nextField is the id of a field that follows its predecessor, in front of the type.
	nextField = 1 << 4
)

// appendInteger appends an integer field whose id is skip more than that of the one before.
func appendInteger(dst []byte, skip, typ byte, v int64) []byte {
	return binary.AppendVarint(append(dst, skip<<4|typ), v)
}

// footer returns what stands behind the last row group, which ends at offset in the file: the
// page indexes, FileMetaData, its length and the magic. The outer structures are put
// together here, because what they consist of is encoded already.
func (g *groupList) footer(arrowSchema string, columns []*column, offset int64) ([]byte, error) {
	var err error
	add := func(dst []byte, v any) []byte {
		if err == nil {
			dst, err = encodeThrift(dst, v)
		}
		return dst
	}
	b := append(g.columnIndexes, g.offsetIndexes...)
	start := len(b)
	b = append(b, nextField|thriftI32) // 1: version
	b = binary.AppendVarint(b, 2)
	b = appendList(append(b, nextField|thriftList), len(columns)+1) // 2: schema
	root := format.SchemaElement{Name: "schema", NumChildren: thrift.New(int32(len(columns)))}
	b = add(b, &root)
	for _, c := range columns {
		b = add(b, &c.element)
	}
	b = appendInteger(b, 1, thriftI64, g.rows)                            // 3: num_rows
	b = appendList(append(b, nextField|thriftList), len(g.groups))        // 4: row_groups
	b = g.appendGroups(b, offset, offset+int64(len(g.columnIndexes)))     //
	b = appendList(append(b, nextField|thriftList), 1)                    // 5: key_value_metadata
	b = add(b, &format.KeyValue{Key: "ARROW:schema", Value: arrowSchema}) //
	b = append(b, nextField|thriftBinary)                                 // 6: created_by
	b = binary.AppendUvarint(b, uint64(len(createdBy)))
	b = append(b, createdBy...)
	b = appendList(append(b, nextField|thriftList), len(columns)) // 7: column_orders
	for range columns {
		b = add(b, &format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	b = append(b, 0)
	if err != nil {
		return nil, err
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)-start))
	return append(b, magic...), nil
}

// appendGroups appends the row groups. The indexes of their columns start at the offsets in the file.
func (g *groupList) appendGroups(b []byte, columnIndexes, offsetIndexes int64) []byte {
	from, chunk := 0, 0
	for n, group := range g.groups {
		columns := len(g.ends) / len(g.groups)
		b = appendList(append(b, nextField|thriftList), columns) // 1: columns
		for range columns {
			b = append(b, g.chunks[from:g.ends[chunk]]...) // up to 3: meta_data
			skip := byte(1)
			if s := g.indexed[chunk]; s.offsets > 0 {
				b = appendInteger(b, 1, thriftI64, offsetIndexes)    // 4: offset_index_offset
				b = appendInteger(b, 1, thriftI32, int64(s.offsets)) // 5: offset_index_length
				offsetIndexes += int64(s.offsets)
			} else {
				skip = 3
			}
			if s := g.indexed[chunk]; s.columns > 0 {
				b = appendInteger(b, skip, thriftI64, columnIndexes) // 6: column_index_offset
				b = appendInteger(b, 1, thriftI32, int64(s.columns)) // 7: column_index_length
				columnIndexes += int64(s.columns)
			}
			b = append(b, 0)
			from, chunk = g.ends[chunk], chunk+1
		}
		b = appendInteger(b, 1, thriftI64, group.bytes)      // 2: total_byte_size
		b = appendInteger(b, 1, thriftI64, group.rows)       // 3: num_rows
		b = appendInteger(b, 2, thriftI64, group.offset)     // 5: file_offset
		b = appendInteger(b, 1, thriftI64, group.compressed) // 6: total_compressed_size
		b = appendInteger(b, 1, thriftI16, int64(n))         // 7: ordinal
		b = append(b, 0)
	}
	return b
}

// appendList appends the head of a list of n structures.
func appendList(dst []byte, n int) []byte {
	if n < 15 {
		return append(dst, byte(n<<4|thriftStruct))
	}
	return binary.AppendUvarint(append(dst, 15<<4|thriftStruct), uint64(n))
}

// storedSchema returns the schema as Arrow's own writers store it: an IPC message in
// base64.
func storedSchema(schema *arrow.Schema) (string, error) {
	var b bytes.Buffer
	if _, err := wire.NewWriter(&b, schema); err != nil {
		return "", fmt.Errorf("parquet: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
