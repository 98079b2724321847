package parquetfile

import (
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// logical is the annotation of a column, of whichever of the two generations.
type logical struct {
	id        int16 // of the member of the union LogicalType; 0 for none
	bits      int
	signed    bool
	instant   bool // isAdjustedToUTC
	unit      int16
	precision int32
	scale     int32
}

// The members of the unions LogicalType and TimeUnit.
const (
	logicalNone      = 0
	logicalString    = 1
	logicalMap       = 2
	logicalList      = 3
	logicalEnum      = 4
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalUnknown   = 11
	logicalJSON      = 12
	logicalBSON      = 13
	logicalUUID      = 14
	logicalFloat16   = 15

	unitMillis = 1
	unitMicros = 2
	unitNanos  = 3
)

// element is a node of the schema.
type element struct {
	physical   format.Type
	leaf       bool
	length     int32
	repetition format.FieldRepetitionType
	name       string
	children   int32
	logical    logical
}

// chunkMeta is where a column chunk lies.
type chunkMeta struct {
	physical   format.Type
	codec      format.CompressionCodec
	values     int64
	compressed int64
	data       int64 // offset of the first data page
	dictionary int64 // offset of the dictionary page, 0 if there is none
	elsewhere  bool  // in another file
	encrypted  bool
}

type groupMeta struct {
	rows   int64
	size   int64 // uncompressed
	chunks []chunkMeta
}

// maxColumns and maxChunks bound what the metadata of a file can make the source hold: a
// hostile entry takes one byte there and sixty here.
const (
	maxColumns = 1 << 15
	maxChunks  = 1 << 20
)

// fileMeta is what is needed of FileMetaData.
type fileMeta struct {
	schema    []element
	rows      int64
	groups    []groupMeta
	arrow     []byte // the value of ARROW:schema
	encrypted bool
}

func parseFooter(b []byte) (*fileMeta, error) {
	m := &fileMeta{}
	r := &compact{b: b}
	chunks := 0
	r.structure(func(id int16, typ byte) bool {
		switch {
		case id == 2 && typ == typeList:
			r.list(typeStruct, func() {
				if len(m.schema) == maxColumns {
					r.fail("the schema has more than %d columns", maxColumns)
				}
				m.schema = append(m.schema, parseElement(r))
			})
		case id == 3 && typ == typeI64:
			m.rows = r.varint()
		case id == 4 && typ == typeList:
			r.list(typeStruct, func() {
				m.groups = append(m.groups, parseGroup(r))
				if chunks += 1 + len(m.groups[len(m.groups)-1].chunks); chunks > maxChunks {
					r.fail("the file has more than %d column chunks", maxChunks)
				}
			})
		case id == 5 && typ == typeList:
			r.list(typeStruct, func() {
				var key, value []byte
				r.structure(func(id int16, typ byte) bool {
					switch {
					case id == 1 && typ == typeBinary:
						key = r.bytes()
					case id == 2 && typ == typeBinary:
						value = r.bytes()
					default:
						return false
					}
					return true
				})
				if string(key) == "ARROW:schema" {
					m.arrow = value
				}
			})
		case id == 8:
			m.encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	return m, r.err
}

func parseElement(r *compact) element {
	e := element{}
	converted := deprecated.ConvertedType(-1)
	var precision, scale int32
	r.structure(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == typeI32:
			e.physical, e.leaf = format.Type(r.int32()), true
		case id == 2 && typ == typeI32:
			e.length = r.int32()
		case id == 3 && typ == typeI32:
			e.repetition = format.FieldRepetitionType(r.int32())
		case id == 4 && typ == typeBinary:
			e.name = string(r.bytes())
		case id == 5 && typ == typeI32:
			e.children = r.int32()
		case id == 6 && typ == typeI32:
			converted = deprecated.ConvertedType(r.int32())
		case id == 7 && typ == typeI32:
			scale = r.int32()
		case id == 8 && typ == typeI32:
			precision = r.int32()
		case id == 10 && typ == typeStruct:
			e.logical = parseLogical(r)
		default:
			return false
		}
		return true
	})
	if e.logical.id == logicalNone {
		e.logical = fromConverted(converted, precision, scale)
	}
	return e
}

func parseLogical(r *compact) (l logical) {
	r.structure(func(id int16, typ byte) bool {
		if typ != typeStruct {
			return false
		}
		l = logical{id: id}
		r.structure(func(field int16, typ byte) bool {
			switch {
			case id == logicalDecimal && field == 1 && typ == typeI32:
				l.scale = r.int32()
			case id == logicalDecimal && field == 2 && typ == typeI32:
				l.precision = r.int32()
			case (id == logicalTime || id == logicalTimestamp) && field == 1:
				l.instant = typ == typeTrue
				return false
			case (id == logicalTime || id == logicalTimestamp) && field == 2 && typ == typeStruct:
				r.structure(func(unit int16, _ byte) bool {
					l.unit = unit
					return false
				})
			case id == logicalInteger && field == 1 && typ == typeByte:
				l.bits = int(int8(r.byte()))
			case id == logicalInteger && field == 2:
				l.signed = typ == typeTrue
				return false
			default:
				return false
			}
			return true
		})
		return true
	})
	return l
}

// fromConverted is what the older annotation means.
func fromConverted(c deprecated.ConvertedType, precision, scale int32) logical {
	switch c {
	case deprecated.UTF8:
		return logical{id: logicalString}
	case deprecated.Enum:
		return logical{id: logicalEnum}
	case deprecated.Decimal:
		return logical{id: logicalDecimal, precision: precision, scale: scale}
	case deprecated.Date:
		return logical{id: logicalDate}
	case deprecated.TimeMillis:
		return logical{id: logicalTime, instant: true, unit: unitMillis}
	case deprecated.TimeMicros:
		return logical{id: logicalTime, instant: true, unit: unitMicros}
	case deprecated.TimestampMillis:
		return logical{id: logicalTimestamp, instant: true, unit: unitMillis}
	case deprecated.TimestampMicros:
		return logical{id: logicalTimestamp, instant: true, unit: unitMicros}
	case deprecated.Json:
		return logical{id: logicalJSON}
	case deprecated.Bson:
		return logical{id: logicalBSON}
	case deprecated.Map, deprecated.MapKeyValue:
		return logical{id: logicalMap}
	case deprecated.List:
		return logical{id: logicalList}
	}
	for i, width := range []int{8, 16, 32, 64} {
		if c == deprecated.Uint8+deprecated.ConvertedType(i) {
			return logical{id: logicalInteger, bits: width}
		}
		if c == deprecated.Int8+deprecated.ConvertedType(i) {
			return logical{id: logicalInteger, bits: width, signed: true}
		}
	}
	return logical{}
}

func parseGroup(r *compact) groupMeta {
	var g groupMeta
	r.structure(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == typeList:
			r.list(typeStruct, func() {
				if len(g.chunks) == maxColumns {
					r.fail("a row group has more than %d columns", maxColumns)
				}
				g.chunks = append(g.chunks, parseChunk(r))
			})
		case id == 2 && typ == typeI64:
			g.size = r.varint()
		case id == 3 && typ == typeI64:
			g.rows = r.varint()
		default:
			return false
		}
		return true
	})
	return g
}

func parseChunk(r *compact) chunkMeta {
	var c chunkMeta
	r.structure(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == typeBinary:
			c.elsewhere = len(r.bytes()) > 0
		case id == 3 && typ == typeStruct:
			r.structure(func(id int16, typ byte) bool {
				switch {
				case id == 1 && typ == typeI32:
					c.physical = format.Type(r.int32())
				case id == 4 && typ == typeI32:
					c.codec = format.CompressionCodec(r.int32())
				case id == 5 && typ == typeI64:
					c.values = r.varint()
				case id == 7 && typ == typeI64:
					c.compressed = r.varint()
				case id == 9 && typ == typeI64:
					c.data = r.varint()
				case id == 11 && typ == typeI64:
					c.dictionary = r.varint()
				default:
					return false
				}
				return true
			})
		case id == 8:
			c.encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	return c
}

// pageHeader is what is needed of PageHeader.
type pageHeader struct {
	typ          format.PageType
	uncompressed int32
	compressed   int32
	crc          uint32
	hasCRC       bool
	values       int32
	encoding     format.Encoding
	levels       format.Encoding // of definition levels, version 1
	defBytes     int32           // version 2
	repBytes     int32
	isCompressed bool
}

// parsePageHeader returns the header and the bytes that it takes.
func parsePageHeader(b []byte) (pageHeader, int, error) {
	h := pageHeader{levels: format.RLE, isCompressed: true}
	r := &compact{b: b}
	r.structure(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == typeI32:
			h.typ = format.PageType(r.int32())
		case id == 2 && typ == typeI32:
			h.uncompressed = r.int32()
		case id == 3 && typ == typeI32:
			h.compressed = r.int32()
		case id == 4 && typ == typeI32:
			h.crc, h.hasCRC = uint32(r.int32()), true
		case (id == 5 || id == 7 || id == 8) && typ == typeStruct:
			kind := id
			r.structure(func(id int16, typ byte) bool {
				switch {
				case id == 1 && typ == typeI32:
					h.values = r.int32()
				case (kind != 8 && id == 2 || kind == 8 && id == 4) && typ == typeI32:
					h.encoding = format.Encoding(r.int32())
				case kind == 5 && id == 3 && typ == typeI32:
					h.levels = format.Encoding(r.int32())
				case kind == 8 && id == 5 && typ == typeI32:
					h.defBytes = r.int32()
				case kind == 8 && id == 6 && typ == typeI32:
					h.repBytes = r.int32()
				case kind == 8 && id == 7:
					h.isCompressed = typ == typeTrue
					return false
				default:
					return false
				}
				return true
			})
		default:
			return false
		}
		return true
	})
	return h, r.at, r.err
}
