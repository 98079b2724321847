package parquetfile

import (
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// What is needed of the structures of
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift:
// fields that are not named are passed over, so that a file makes nobody hold its statistics.

type fileMetaData struct {
	Schema    thrift.Slice[schemaElement] `thrift:"2,optional"`
	RowGroups thrift.Slice[rowGroup]      `thrift:"4,optional"`
	KeyValues thrift.Slice[keyValue]      `thrift:"5,optional"`
	Signed    thrift.Null[struct{}]       `thrift:"8,optional"` // for encryption
}

type schemaElement struct {
	Type        thrift.Null[format.Type]              `thrift:"1,optional"`
	Length      int32                                 `thrift:"2,optional"`
	Repetition  format.FieldRepetitionType            `thrift:"3,optional"`
	Name        string                                `thrift:"4,optional"`
	Children    int32                                 `thrift:"5,optional"`
	Converted   thrift.Null[deprecated.ConvertedType] `thrift:"6,optional"`
	Scale       int32                                 `thrift:"7,optional"`
	Precision   int32                                 `thrift:"8,optional"`
	LogicalType thrift.Null[format.LogicalType]       `thrift:"10,optional"`
}

type keyValue struct {
	Key   string `thrift:"1,optional"`
	Value string `thrift:"2,optional"`
}

type rowGroup struct {
	Columns thrift.Slice[columnChunk] `thrift:"1,optional"`
	Rows    int64                     `thrift:"3,optional"`
}

type columnChunk struct {
	FilePath  string                `thrift:"1,optional"`
	MetaData  columnMetaData        `thrift:"3,optional"`
	Encrypted thrift.Null[struct{}] `thrift:"8,optional"`
}

type columnMetaData struct {
	Type       format.Type             `thrift:"1,optional"`
	Codec      format.CompressionCodec `thrift:"4,optional"`
	Values     int64                   `thrift:"5,optional"`
	Compressed int64                   `thrift:"7,optional"`
	Data       int64                   `thrift:"9,optional"` // offset of the first data page
	Dictionary int64                   `thrift:"11,optional"`
}

type pageHeader struct {
	Type         format.PageType                          `thrift:"1,optional"`
	Uncompressed int32                                    `thrift:"2,optional"`
	Compressed   int32                                    `thrift:"3,optional"`
	CRC          thrift.Null[int32]                       `thrift:"4,optional"`
	DataPage     thrift.Null[dataPageHeader]              `thrift:"5,optional"`
	Dictionary   thrift.Null[format.DictionaryPageHeader] `thrift:"7,optional"`
	DataPageV2   thrift.Null[dataPageHeaderV2]            `thrift:"8,optional"`
}

type dataPageHeader struct {
	Values   int32           `thrift:"1,optional"`
	Encoding format.Encoding `thrift:"2,optional"`
	Levels   format.Encoding `thrift:"3,optional"` // of definition levels
}

type dataPageHeaderV2 struct {
	Values       int32             `thrift:"1,optional"`
	Encoding     format.Encoding   `thrift:"4,optional"`
	Definition   int32             `thrift:"5,optional"` // bytes of levels
	Repetition   int32             `thrift:"6,optional"`
	IsCompressed thrift.Null[bool] `thrift:"7,optional"`
}

// annotation is what a column's values mean, in whichever of the two generations of annotations
// its file says so.
type annotation struct {
	name             string // empty for none
	instant          bool   // a timestamp that is one: isAdjustedToUTC
	precision, scale int32
}

var units = map[string]string{"MILLIS": "ms", "MICROS": "us", "NANOS": "ns"}

func (e *schemaElement) annotation() annotation {
	if !e.LogicalType.Valid {
		return e.converted()
	}
	switch t := e.LogicalType.V.Value.(type) {
	case nil:
		return annotation{name: "of a later version of the format"}
	case *format.DecimalType:
		return annotation{name: "decimal", precision: t.Precision, scale: t.Scale}
	case *format.TimeType:
		return annotation{name: "time_" + units[t.Unit.String()]}
	case *format.TimestampType:
		return annotation{name: "timestamp_" + units[t.Unit.String()], instant: t.IsAdjustedToUTC}
	case *format.IntType:
		if !t.IsSigned {
			return annotation{name: fmt.Sprintf("uint%d", t.BitWidth)}
		}
		return annotation{name: fmt.Sprintf("int%d", t.BitWidth)}
	default:
		return annotation{name: strings.ToLower(t.String())}
	}
}

// converted is what the older annotation means.
func (e *schemaElement) converted() annotation {
	if !e.Converted.Valid {
		return annotation{}
	}
	names := map[deprecated.ConvertedType]annotation{
		deprecated.UTF8: {name: "string"}, deprecated.Enum: {name: "enum"}, deprecated.Date: {name: "date"},
		deprecated.Json: {name: "json"}, deprecated.Bson: {name: "bson"},
		deprecated.TimeMillis: {name: "time_ms"}, deprecated.TimeMicros: {name: "time_us"},
		deprecated.TimestampMillis: {name: "timestamp_ms", instant: true},
		deprecated.TimestampMicros: {name: "timestamp_us", instant: true},
		deprecated.Uint8:           {name: "uint8"}, deprecated.Uint16: {name: "uint16"},
		deprecated.Uint32: {name: "uint32"}, deprecated.Uint64: {name: "uint64"},
		deprecated.Int8: {name: "int8"}, deprecated.Int16: {name: "int16"},
		deprecated.Int32: {name: "int32"}, deprecated.Int64: {name: "int64"},
		deprecated.Decimal: {name: "decimal", precision: e.Precision, scale: e.Scale},
		deprecated.Map:     {name: "map"}, deprecated.MapKeyValue: {name: "map"}, deprecated.List: {name: "list"},
	}
	return names[e.Converted.V]
}
