package row

import (
	"encoding/binary"

	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/internal/octets"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TableMap is a TABLE_MAP event.
type TableMap struct {
	ID              uint64
	Database, Table string
	Types           []byte   // codes of the columns' types; those of ENUM and SET are told apart from CHAR
	Meta            []uint16 // what a value of the type needs to be found and read, by column
	Nullable        []byte   // a bit a column, the first one in the lowest bit
	Optional        Optional
}

// Optional is what a server logs besides, by its binlog_row_metadata (MySQL 8.0.1, MariaDB 10.5); what it did not is nil.
type Optional struct {
	// Signedness has a bit for each column of numbers, the first one in the highest bit of the first byte; set is UNSIGNED.
	Signedness []byte
	// Names of the columns: with FULL.
	Names []string
	// EnumLabels and SetLabels are those of each ENUM and SET column, in its character set: with FULL.
	EnumLabels, SetLabels [][][]byte
	// Collations and LabelCollations are the numbers of the collations of columns of text, and of ENUM and SET.
	Collations, LabelCollations *Collations
}

// Collations are those of the columns of some sort, which are counted from 0 among themselves.
type Collations struct {
	all     []uint64
	usual   uint64
	special map[uint64]uint64
}

// of gives the collation of the nth column of the sort; 0 is unknown.
func (c *Collations) of(n int) uint64 {
	switch {
	case c == nil:
		return 0
	case c.all != nil:
		if n < len(c.all) {
			return c.all[n]
		}
		return 0
	}
	if special, ok := c.special[uint64(n)]; ok {
		return special
	}
	return c.usual
}

// The codes of types as they are in the log (enum_field_types).
const (
	typeDecimal           = 0x00
	typeTiny              = 0x01
	typeShort             = 0x02
	typeLong              = 0x03
	typeFloat             = 0x04
	typeDouble            = 0x05
	typeNull              = 0x06
	typeTimestamp         = 0x07
	typeLongLong          = 0x08
	typeInt24             = 0x09
	typeDate              = 0x0a
	typeTime              = 0x0b
	typeDatetime          = 0x0c
	typeYear              = 0x0d
	typeNewDate           = 0x0e
	typeVarchar           = 0x0f
	typeBit               = 0x10
	typeTimestamp2        = 0x11
	typeDatetime2         = 0x12
	typeTime2             = 0x13
	typeBlobCompressed    = 0x8c // MariaDB
	typeVarcharCompressed = 0x8d // MariaDB
	typeVector            = 0xf2
	typeJSON              = 0xf5
	typeNewDecimal        = 0xf6
	typeEnum              = 0xf7
	typeSet               = 0xf8
	typeBlob              = 0xfc
	typeVarString         = 0xfd
	typeString            = 0xfe
	typeGeometry          = 0xff
)

// metaSize is how many bytes of metadata a type has, by its code.
var metaSize = map[byte]int{
	typeTiny: 0, typeShort: 0, typeInt24: 0, typeLong: 0, typeLongLong: 0, typeNull: 0, typeYear: 0,
	typeDate: 0, typeNewDate: 0, typeTime: 0, typeDatetime: 0, typeTimestamp: 0,
	typeFloat: 1, typeDouble: 1, typeTime2: 1, typeDatetime2: 1, typeTimestamp2: 1,
	typeBlob: 1, typeBlobCompressed: 1, typeJSON: 1, typeGeometry: 1, typeVector: 1,
	typeVarchar: 2, typeVarString: 2, typeVarcharCompressed: 2, typeString: 2, typeEnum: 2, typeSet: 2, typeBit: 2, typeNewDecimal: 2,
}

// mostColumns is the most that a table of MySQL or MariaDB has.
const mostColumns = 4096

// ReadTableMap reads the body of a TABLE_MAP event: what is behind its header of 19 bytes, without the checksum.
func ReadTableMap(body []byte) (m TableMap, err error) {
	r := octets.Reader{Rest: body}
	m.ID = r.Integer(6)
	r.Take(2) // flags
	m.Database = string(r.Take(r.Byte()))
	r.Take(1)
	m.Table = string(r.Take(r.Byte()))
	r.Take(1)
	columns := r.Packed()
	if r.Short || columns > mostColumns {
		return TableMap{}, malformedTable()
	}
	m.Types = append([]byte(nil), r.Take(int(columns))...)
	meta := octets.Reader{Rest: r.Text()}
	m.Nullable = append([]byte(nil), r.Take((int(columns)+7)/8)...)
	if r.Short {
		return TableMap{}, malformedTable()
	}
	m.Meta = make([]uint16, columns)
	for i, code := range m.Types {
		size, known := metaSize[code]
		if !known {
			return TableMap{}, fault.New(CodeColumn, fault.Source, "column %d of %s has type code 0x%02x in the log, which this program does not know",
				i+1, m.name(), code).
				WithHint("leave the table out of the stream, or change the column's type")
		}
		taken := meta.Take(size)
		switch {
		case meta.Short:
			return TableMap{}, malformedTable()
		case size == 1:
			m.Meta[i] = uint16(taken[0])
		case size == 2 && code == typeNewDecimal:
			m.Meta[i] = binary.BigEndian.Uint16(taken)
		case size == 2 && (code == typeString || code == typeEnum || code == typeSet):
			m.Types[i], m.Meta[i] = stringMeta(taken[0], taken[1])
		case size == 2:
			m.Meta[i] = binary.LittleEndian.Uint16(taken)
		}
	}
	if len(meta.Rest) > 0 || !m.Optional.read(r.Rest) {
		return TableMap{}, malformedTable()
	}
	return m, nil
}

// stringMeta reads the metadata of MYSQL_TYPE_STRING: the real type, and the length in bytes, two bits of which may stand
// in the type's byte.
func stringMeta(high, low byte) (code byte, length uint16) {
	if high&0x30 != 0x30 {
		return high | 0x30, uint16(low) | uint16(high&0x30^0x30)<<4
	}
	return high, uint16(low)
}

func (m *TableMap) name() string { return m.Database + "." + m.Table }

func malformedTable() error {
	return fault.New(CodeTable, fault.Source, "the log's description of a table cannot be read").
		WithHint("check the server's log with mysqlbinlog")
}

// The types of optional metadata (Table_map_event::Optional_metadata_field_type).
const (
	optionalSignedness        = 1
	optionalDefaultCharset    = 2
	optionalColumnCharset     = 3
	optionalColumnName        = 4
	optionalSetLabels         = 5
	optionalEnumLabels        = 6
	optionalEnumSetDefault    = 10
	optionalEnumSetCollations = 11
)

func (o *Optional) read(data []byte) bool {
	r := octets.Reader{Rest: data}
	for len(r.Rest) > 0 && !r.Short {
		kind := r.Byte()
		field := octets.Reader{Rest: r.Text()}
		switch kind {
		case optionalSignedness:
			o.Signedness = append([]byte(nil), field.Rest...)
			field.Rest = nil
		case optionalDefaultCharset:
			o.Collations = readCollations(&field, true)
		case optionalColumnCharset:
			o.Collations = readCollations(&field, false)
		case optionalEnumSetDefault:
			o.LabelCollations = readCollations(&field, true)
		case optionalEnumSetCollations:
			o.LabelCollations = readCollations(&field, false)
		case optionalColumnName:
			for len(field.Rest) > 0 && !field.Short {
				o.Names = append(o.Names, string(field.Text()))
			}
		case optionalSetLabels:
			o.SetLabels = readLabels(&field)
		case optionalEnumLabels:
			o.EnumLabels = readLabels(&field)
		}
		if field.Short {
			return false
		}
	}
	return !r.Short
}

// readCollations reads the numbers of collations: one for each column, or the usual one and the others as pairs of a column's
// number and its collation.
func readCollations(r *octets.Reader, pairs bool) *Collations {
	c := &Collations{special: map[uint64]uint64{}}
	if pairs {
		c.usual = r.Packed()
	}
	for len(r.Rest) > 0 && !r.Short {
		n := r.Packed()
		if pairs {
			c.special[n] = r.Packed()
		} else {
			c.all = append(c.all, n)
		}
	}
	return c
}

func readLabels(r *octets.Reader) (list [][][]byte) {
	for len(r.Rest) > 0 && !r.Short {
		var labels [][]byte
		for n := r.Packed(); n > 0 && !r.Short; n-- {
			labels = append(labels, append([]byte{}, r.Text()...))
		}
		list = append(list, labels)
	}
	return list
}
