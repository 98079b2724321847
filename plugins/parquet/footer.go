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

// groupList is the metadata of the row groups that are finished, in the form in which
// it goes into the footer: a long file has thousands of them.
type groupList struct {
	encoded []byte
	count   int
	rows    int64
}

// add takes a finished row group that starts at offset, and returns its size.
func (g *groupList) add(columns []*column, rows, offset int64, codec format.CompressionCodec) (int64, error) {
	group := format.RowGroup{NumRows: rows, FileOffset: offset, Ordinal: int16(g.count)}
	at := offset
	for _, c := range columns {
		m := c.metadata(at, codec)
		at += m.TotalCompressedSize
		group.TotalByteSize += m.TotalUncompressedSize
		group.Columns = append(group.Columns, format.ColumnChunk{FileOffset: offset, MetaData: m})
	}
	group.TotalCompressedSize = at - offset
	encoded, err := encodeThrift(g.encoded, &group)
	if err != nil {
		return 0, err
	}
	g.encoded = encoded
	g.count++
	g.rows += rows
	return at - offset, nil
}

// The types of Thrift's compact protocol that the footer's outermost structure needs
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
const (
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
	// nextField is the id of a field that follows its predecessor, in front of the type.
	nextField = 1 << 4
)

// footer returns what stands behind the last row group: FileMetaData, its length
// and the magic. The outermost structure is put together here, because its row groups
// are encoded already.
func (g *groupList) footer(arrowSchema string, columns []*column) ([]byte, error) {
	var err error
	add := func(dst []byte, v any) []byte {
		if err == nil {
			dst, err = encodeThrift(dst, v)
		}
		return dst
	}
	b := []byte{nextField | thriftI32} // 1: version
	b = binary.AppendVarint(b, 2)
	b = appendList(append(b, nextField|thriftList), len(columns)+1) // 2: schema
	root := format.SchemaElement{Name: "schema", NumChildren: thrift.New(int32(len(columns)))}
	b = add(b, &root)
	for _, c := range columns {
		b = add(b, &c.element)
	}
	b = append(b, nextField|thriftI64) // 3: num_rows
	b = binary.AppendVarint(b, g.rows)
	b = appendList(append(b, nextField|thriftList), g.count) // 4: row_groups
	b = append(b, g.encoded...)
	b = appendList(append(b, nextField|thriftList), 1) // 5: key_value_metadata
	b = add(b, &format.KeyValue{Key: "ARROW:schema", Value: arrowSchema})
	b = append(b, nextField|thriftBinary) // 6: created_by
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
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return append(b, magic...), nil
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
