package mysql

import "encoding/binary"

// Type codes of column definitions (MySQL protocol, enum_field_types).
const (
	typeDecimal    = 0x00
	typeTiny       = 0x01
	typeShort      = 0x02
	typeLong       = 0x03
	typeFloat      = 0x04
	typeDouble     = 0x05
	typeNull       = 0x06
	typeTimestamp  = 0x07
	typeLongLong   = 0x08
	typeInt24      = 0x09
	typeDate       = 0x0a
	typeTime       = 0x0b
	typeDatetime   = 0x0c
	typeYear       = 0x0d
	typeNewDate    = 0x0e
	typeVarchar    = 0x0f
	typeBit        = 0x10
	typeTimestamp2 = 0x11
	typeDatetime2  = 0x12
	typeTime2      = 0x13
	typeVector     = 0xf2
	typeJSON       = 0xf5
	typeNewDecimal = 0xf6
	typeEnum       = 0xf7
	typeSet        = 0xf8
	typeTinyBlob   = 0xf9
	typeMediumBlob = 0xfa
	typeLongBlob   = 0xfb
	typeBlob       = 0xfc
	typeVarString  = 0xfd
	typeString     = 0xfe
	typeGeometry   = 0xff
)

// Flags of column definitions.
const (
	flagNotNull  = 1 << 0
	flagUnsigned = 1 << 5
	flagZerofill = 1 << 6
	flagEnum     = 1 << 8
	flagSet      = 1 << 11
)

// charsetBinary is the collation number of columns that hold bytes, not text.
const charsetBinary = 63

// columnDef is a column definition (Protocol::ColumnDefinition41).
type columnDef struct {
	name     string
	charset  uint16
	length   uint32 // maximum length in bytes, as text
	typ      byte
	flags    uint16
	decimals byte
}

func (d *columnDef) has(flag uint16) bool { return d.flags&flag != 0 }

// parseColumnDef reads a column definition packet.
func parseColumnDef(p []byte) (columnDef, error) {
	var texts [6][]byte // catalog, schema, table, original table, name, original name
	pos := 0
	for i := range texts {
		var ok bool
		if texts[i], pos, ok = lengthEncodedBytes(p, pos); !ok {
			return columnDef{}, protocolFault("truncated column definition (%d bytes)", len(p))
		}
	}
	n, pos, ok := lengthEncoded(p, pos)
	if !ok || n < 10 || uint64(len(p)-pos) < n {
		return columnDef{}, protocolFault("truncated column definition of column %q", texts[4])
	}
	f := p[pos:]
	return columnDef{
		name:     string(texts[4]),
		charset:  binary.LittleEndian.Uint16(f),
		length:   binary.LittleEndian.Uint32(f[2:]),
		typ:      f[6],
		flags:    binary.LittleEndian.Uint16(f[7:]),
		decimals: f[9],
	}, nil
}
