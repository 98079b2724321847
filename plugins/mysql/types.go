package mysql

import (
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// kind says how a column's values are decoded.
type kind uint8

const (
	kindNull kind = iota
	kindInt8
	kindUint8
	kindInt16
	kindUint16
	kindInt32
	kindUint32
	kindInt64
	kindUint64
	kindFloat32
	kindFloat64
	kindYear
	kindBit
	kindDate
	kindDatetime
	kindTimestamp
	kindLocal       // TIMESTAMP, in local time of another zone than UTC
	kindUnixSeconds // TIMESTAMP, as UNIX_TIMESTAMP gives it
	kindUnixDecimal // likewise, with a fraction
	kindTime
	kindDecimal128
	kindDecimal256
	kindText
	kindBytes
	kindGeometry
	kindEWKB         // GEOMETRY, for geometry: ewkb
	kindDateText     // DATE as text, for zero_dates: text
	kindDatetimeText // DATETIME and TIMESTAMP as text, for zero_dates: text
)

// TypeRow is a row of TypeTable.
type TypeRow struct {
	// MySQL is the type as declared, Column the type that it becomes, in the words of a
	// pipeline's columns.
	MySQL, Column string
	// Note says what is particular about it.
	Note string

	codes []byte
	when  func(d *columnDef) bool // nil means always
	kind  kind
}

func signed(d *columnDef) bool    { return !d.has(flagUnsigned) }
func binarySet(d *columnDef) bool { return d.charset == charsetBinary }
func shortDecimal(d *columnDef) bool {
	precision, _ := decimalShape(d)
	return precision <= 38
}

var integerCodes = []byte{typeTiny, typeShort, typeLong, typeInt24, typeLongLong}

// TypeTable maps the types of MySQL and MariaDB to those of columns. It is what the
// source does and the documentation of it: the first row that fits a column
// decides. Columns are nullable unless the server marks them NOT NULL, whatever
// their type is. Sub-second units follow the declared digits: 0 digits give
// seconds, 1 to 3 milliseconds, 4 to 6 microseconds.
var TypeTable = []TypeRow{
	{"NULL", "untyped NULL", "a column of an untyped NULL expression",
		[]byte{typeNull}, nil, kindNull},
	{"TINYINT, BOOL", "int8", "BOOL is TINYINT(1) and stays a number",
		[]byte{typeTiny}, signed, kindInt8},
	{"TINYINT UNSIGNED", "uint8", "ZEROFILL, here and below, keeps the number and not the zeros",
		[]byte{typeTiny}, nil, kindUint8},
	{"SMALLINT", "int16", "",
		[]byte{typeShort}, signed, kindInt16},
	{"SMALLINT UNSIGNED", "uint16", "",
		[]byte{typeShort}, nil, kindUint16},
	{"MEDIUMINT, INT", "int32", "",
		[]byte{typeInt24, typeLong}, signed, kindInt32},
	{"MEDIUMINT UNSIGNED, INT UNSIGNED", "uint32", "",
		[]byte{typeInt24, typeLong}, nil, kindUint32},
	{"BIGINT", "int64", "",
		[]byte{typeLongLong}, signed, kindInt64},
	{"BIGINT UNSIGNED, SERIAL", "uint64", "",
		[]byte{typeLongLong}, nil, kindUint64},
	{"FLOAT", "float32", "the exact value, which the text protocol cannot carry: there it is a fault",
		[]byte{typeFloat}, nil, kindFloat32},
	{"DOUBLE, REAL", "float64", "",
		[]byte{typeDouble}, nil, kindFloat64},
	{"DECIMAL(p,s), p ≤ 38", "decimal(p,s)", "a value with more digits than the declared type is a fault, never rounded",
		[]byte{typeDecimal, typeNewDecimal}, shortDecimal, kindDecimal128},
	{"DECIMAL(p,s), p > 38", "decimal(p,s)", "",
		[]byte{typeDecimal, typeNewDecimal}, nil, kindDecimal256},
	{"DATE", "date", "dates that no calendar has (0000-00-00, 2024-00-00, 2024-02-30) follow zero_dates; with zero_dates: text the column is string",
		[]byte{typeDate, typeNewDate}, nil, kindDate},
	{"DATETIME(fsp)", "timestamp(fsp)", "no zone: the wall clock time as stored; zero_dates as above",
		[]byte{typeDatetime, typeDatetime2}, nil, kindDatetime},
	{"TIMESTAMP(fsp)", "timestamp(fsp) in ZONE", "an instant in the session's time zone, which text shows as local time; where nobody knows the zone, a base table's is an instant in UTC, which text shows as local time too, and any other local time without a zone; zero_dates as above",
		[]byte{typeTimestamp, typeTimestamp2}, nil, kindTimestamp},
	{"TIME(fsp)", "time(fsp)", "from -838:59:59.999999 to 838:59:59.999999",
		[]byte{typeTime, typeTime2}, nil, kindTime},
	{"YEAR", "uint16", "0000 is 0",
		[]byte{typeYear}, nil, kindYear},
	{"BIT(1) to BIT(64)", "uint64", "the first bit is the most significant one",
		[]byte{typeBit}, nil, kindBit},
	{"ENUM", "string", "the label, not its number",
		[]byte{typeEnum, typeString, typeVarString, typeVarchar}, func(d *columnDef) bool { return d.typ == typeEnum || d.has(flagEnum) }, kindText},
	{"SET", "string", "the labels with commas between",
		[]byte{typeSet, typeString, typeVarString, typeVarchar}, func(d *columnDef) bool { return d.typ == typeSet || d.has(flagSet) }, kindText},
	{"JSON", "json", "MariaDB's JSON is LONGTEXT and says so",
		[]byte{typeJSON}, nil, kindText},
	{"BINARY, VARBINARY", "binary", "",
		[]byte{typeString, typeVarString, typeVarchar}, binarySet, kindBytes},
	{"CHAR, VARCHAR", "string", "any character set: the server converts to utf8mb4",
		[]byte{typeString, typeVarString, typeVarchar}, nil, kindText},
	{"TINYBLOB, BLOB, MEDIUMBLOB, LONGBLOB", "binary", "",
		[]byte{typeTinyBlob, typeBlob, typeMediumBlob, typeLongBlob}, binarySet, kindBytes},
	{"TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT", "string", "as CHAR",
		[]byte{typeTinyBlob, typeBlob, typeMediumBlob, typeLongBlob}, nil, kindText},
	{"GEOMETRY and its subtypes", "binary", "well-known binary (WKB), x before y as stored; with geometry: ewkb the SRID is in it, as PostGIS writes it",
		[]byte{typeGeometry}, nil, kindGeometry},
	{"VECTOR", "binary", "little-endian 32-bit floats, end to end",
		[]byte{typeVector}, nil, kindBytes},
}

// lookup finds the row of a column.
func lookup(d *columnDef) (TypeRow, bool) {
	for _, row := range TypeTable {
		if slices.Contains(row.codes, d.typ) && (row.when == nil || row.when(d)) {
			return row, true
		}
	}
	return TypeRow{}, false
}

// zeroPolicy is the setting zero_dates.
type zeroPolicy string

const (
	zeroNull  zeroPolicy = "null"
	zeroError zeroPolicy = "error"
	zeroText  zeroPolicy = "text"
)

// columnMapping is how one column of the result set is decoded, and what it becomes.
type columnMapping struct {
	field     arrow.Field
	kind      kind
	fraction  int // fractional second digits
	unit      arrow.TimeUnit
	precision int
	scale     int
	zone      *zone.Zone // of kindLocal
}

// mapColumns decides the Arrow schema of a result set.
func mapColumns(defs []columnDef, zero zeroPolicy) (*arrow.Schema, []columnMapping, error) {
	mappings := make([]columnMapping, len(defs))
	for i := range defs {
		mapping, err := mapColumn(&defs[i], zero)
		if err != nil {
			return nil, nil, err
		}
		mappings[i] = mapping
	}
	return schemaOf(mappings), mappings, nil
}

func schemaOf(mappings []columnMapping) *arrow.Schema {
	fields := make([]arrow.Field, len(mappings))
	for i := range mappings {
		fields[i] = mappings[i].field
	}
	return arrow.NewSchema(fields, nil)
}

func mapColumn(d *columnDef, zero zeroPolicy) (columnMapping, error) {
	row, ok := lookup(d)
	if !ok {
		return columnMapping{}, fault.New(codeType, fault.Source, "column %q has type code 0x%02x, which this program does not know", d.name, d.typ).
			WithHint("CAST the column to a known type in the query")
	}
	p := columnMapping{kind: row.kind, fraction: min(int(d.decimals), 6)}
	switch {
	case p.fraction == 0:
		p.unit = arrow.Second
	case p.fraction <= 3:
		p.unit = arrow.Millisecond
	default:
		p.unit = arrow.Microsecond
	}
	nullable := !d.has(flagNotNull)
	metadata := map[string]string{sdk.MetaSourceType: sourceType(d)}
	switch p.kind {
	case kindDate:
		if zero == zeroText {
			p.kind = kindDateText
		}
		nullable = nullable || zero == zeroNull
	case kindDatetime, kindTimestamp:
		if zero == zeroText {
			p.kind = kindDatetimeText
		}
		nullable = nullable || zero == zeroNull
		metadata[sdk.MetaFraction] = strconv.Itoa(p.fraction)
	case kindTime:
		metadata[sdk.MetaFraction] = strconv.Itoa(p.fraction)
	case kindDecimal128, kindDecimal256:
		p.precision, p.scale = decimalShape(d)
		if p.scale > p.precision {
			return columnMapping{}, fault.New(codeType, fault.Source, "column %q is declared with %d digits after the point, which no DECIMAL has", d.name, p.scale).
				WithHint("CAST the column to a DECIMAL in the query")
		}
	case kindNull:
		nullable = true
	}
	if d.typ == typeJSON {
		metadata[sdk.MetaJSON] = "true"
	}
	p.field = arrow.Field{Name: d.name, Type: p.arrowType(), Nullable: nullable, Metadata: arrow.MetadataFrom(metadata)}
	return p, nil
}

func (p *columnMapping) arrowType() arrow.DataType {
	switch p.kind {
	case kindInt8:
		return arrow.PrimitiveTypes.Int8
	case kindUint8:
		return arrow.PrimitiveTypes.Uint8
	case kindInt16:
		return arrow.PrimitiveTypes.Int16
	case kindUint16, kindYear:
		return arrow.PrimitiveTypes.Uint16
	case kindInt32:
		return arrow.PrimitiveTypes.Int32
	case kindUint32:
		return arrow.PrimitiveTypes.Uint32
	case kindInt64:
		return arrow.PrimitiveTypes.Int64
	case kindUint64, kindBit:
		return arrow.PrimitiveTypes.Uint64
	case kindFloat32:
		return arrow.PrimitiveTypes.Float32
	case kindFloat64:
		return arrow.PrimitiveTypes.Float64
	case kindDate:
		return arrow.FixedWidthTypes.Date32
	case kindDatetime:
		return &arrow.TimestampType{Unit: p.unit}
	case kindTimestamp:
		return &arrow.TimestampType{Unit: p.unit, TimeZone: "UTC"}
	case kindTime:
		return &arrow.DurationType{Unit: p.unit}
	case kindDecimal128:
		return &arrow.Decimal128Type{Precision: int32(p.precision), Scale: int32(p.scale)}
	case kindDecimal256:
		return &arrow.Decimal256Type{Precision: int32(p.precision), Scale: int32(p.scale)}
	case kindText, kindDateText, kindDatetimeText:
		return arrow.BinaryTypes.String
	case kindBytes, kindGeometry, kindEWKB:
		return arrow.BinaryTypes.Binary
	}
	return arrow.Null
}

// decimalShape derives precision and scale of a DECIMAL from its definition,
// whose length counts the sign (unless unsigned) and the point (unless the scale
// is 0). Expressions are known to announce too little, so the result is widened
// to something that a DECIMAL can be; the decoder refuses what still does not fit.
func decimalShape(d *columnDef) (precision, scale int) {
	const longest = 65 // of MySQL and MariaDB
	scale = int(d.decimals)
	if d.length == 0 {
		return longest, scale
	}
	length := int(min(d.length, 1000))
	if scale > 0 {
		length--
	}
	if !d.has(flagUnsigned) {
		length--
	}
	return min(max(length, min(scale, longest), 1), longest), scale
}
