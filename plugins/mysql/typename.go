package mysql

import (
	"slices"
	"strconv"
)

// sourceType writes a column's type the way it is declared in MySQL, as far as
// the definition tells: "decimal(10,2) unsigned", "varchar(30)", "datetime(6)".
// MariaDB's JSON is "longtext". Members of an ENUM or SET are not known here.
func sourceType(d *columnDef) string {
	name := sourceTypeName(d)
	if slices.Contains(integerCodes, d.typ) || slices.Contains([]byte{typeFloat, typeDouble, typeDecimal, typeNewDecimal}, d.typ) {
		if d.has(flagUnsigned) {
			name += " unsigned"
		}
		if d.has(flagZerofill) {
			name += " zerofill"
		}
	}
	return name
}

func sourceTypeName(d *columnDef) string {
	switch d.typ {
	case typeNull:
		return "null"
	case typeTiny:
		if d.length == 1 {
			return "tinyint(1)"
		}
		return "tinyint"
	case typeShort:
		return "smallint"
	case typeInt24:
		return "mediumint"
	case typeLong:
		return "int"
	case typeLongLong:
		return "bigint"
	case typeFloat:
		return "float"
	case typeDouble:
		return "double"
	case typeDecimal, typeNewDecimal:
		precision, scale := decimalShape(d)
		return "decimal(" + strconv.Itoa(precision) + "," + strconv.Itoa(scale) + ")"
	case typeDate, typeNewDate:
		return "date"
	case typeDatetime, typeDatetime2:
		return withDigits("datetime", d)
	case typeTimestamp, typeTimestamp2:
		return withDigits("timestamp", d)
	case typeTime, typeTime2:
		return withDigits("time", d)
	case typeYear:
		return "year"
	case typeBit:
		return "bit(" + strconv.FormatUint(uint64(d.length), 10) + ")"
	case typeJSON:
		return "json"
	case typeGeometry:
		return "geometry"
	case typeVector:
		return "vector(" + strconv.FormatUint(uint64(d.length/4), 10) + ")"
	case typeTinyBlob, typeBlob, typeMediumBlob, typeLongBlob:
		return blobName(d)
	}
	switch {
	case d.typ == typeEnum || d.has(flagEnum):
		return "enum"
	case d.typ == typeSet || d.has(flagSet):
		return "set"
	case d.charset == charsetBinary && d.typ == typeString:
		return withLength("binary", d.length)
	case d.charset == charsetBinary:
		return withLength("varbinary", d.length)
	case d.typ == typeString:
		return withLength("char", d.length/utf8mb4Bytes)
	}
	return withLength("varchar", d.length/utf8mb4Bytes)
}

// utf8mb4Bytes is the factor between characters and the announced length of text.
const utf8mb4Bytes = 4

func withDigits(name string, d *columnDef) string {
	if d.decimals == 0 {
		return name
	}
	return name + "(" + strconv.Itoa(min(int(d.decimals), 6)) + ")"
}

func withLength(name string, n uint32) string {
	return name + "(" + strconv.FormatUint(uint64(n), 10) + ")"
}

// blobName tells the four sizes apart by length. The length of a text column is
// announced in bytes of its own character set, or of utf8mb4, depending on the server.
func blobName(d *columnDef) string {
	kind, factor := "blob", uint64(1)
	if d.charset != charsetBinary {
		kind, factor = "text", utf8mb4Bytes
	}
	switch n := uint64(d.length); {
	case n <= 255*factor:
		return "tiny" + kind
	case n <= 65535*factor:
		return kind
	case n <= (1<<24-1)*factor:
		return "medium" + kind
	}
	return "long" + kind
}
