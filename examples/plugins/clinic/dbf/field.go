package dbf

import (
	"bytes"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"golang.org/x/text/encoding/charmap"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// field is a field of the table: where it stands in a row, and how its values are read.
type field struct {
	column   arrow.Field
	at, size int
	// append reads a value, or says what is wrong with it.
	append func(to array.Builder, raw []byte) (problem string)
}

// int64Digits is how many digits always fit into an int64.
const int64Digits = 18

// fieldOf reads a descriptor.
func fieldOf(descriptor []byte, at int, charset *charmap.Charmap) (field, error) {
	name, kind, size, scale := nameOf(descriptor[:11]), descriptor[11], int(descriptor[16]), int(descriptor[17])
	f := field{column: arrow.Field{Name: name, Nullable: true}, at: at, size: size}
	switch {
	case name == "" || !utf8.ValidString(name) || size == 0:
		return f, fault.New("dbf.damaged", fault.Data, "field %q has %d bytes", name, size)
	case kind == 'C':
		f.column.Type, f.column.Nullable = arrow.BinaryTypes.String, false
		f.append = text(charset)
	case kind == 'D' && size == 8:
		f.column.Type, f.append = arrow.FixedWidthTypes.Date32, date
	case kind == 'L' && size == 1:
		f.column.Type, f.append = arrow.FixedWidthTypes.Boolean, logical
	case (kind == 'N' || kind == 'F') && scale == 0 && size <= int64Digits:
		f.column.Type, f.append = arrow.PrimitiveTypes.Int64, integer
	case (kind == 'N' || kind == 'F') && scale < size && size <= 38:
		f.column.Type, f.append = &arrow.Decimal128Type{Precision: int32(size), Scale: int32(scale)}, decimal(scale)
	default:
		return f, fault.New("dbf.type", fault.Data, "field %s of type %q with %d bytes cannot be read", name, kind, size).
			WithHint("only C, N, F, D and L are read; memo fields stand in a file of their own")
	}
	return f, nil
}

func text(charset *charmap.Charmap) func(array.Builder, []byte) string {
	return func(to array.Builder, raw []byte) string {
		raw = bytes.TrimRight(raw, " \x00")
		if charset == nil {
			if !utf8.Valid(raw) {
				return "it is not UTF-8; set charset"
			}
			to.(*array.StringBuilder).BinaryBuilder.Append(raw)
			return ""
		}
		decoded, err := charset.NewDecoder().Bytes(raw)
		if err != nil || bytes.ContainsRune(decoded, utf8.RuneError) {
			return "a byte of it is no character of the charset"
		}
		to.(*array.StringBuilder).BinaryBuilder.Append(decoded)
		return ""
	}
}

func date(to array.Builder, raw []byte) string {
	if blank(raw) {
		to.AppendNull()
		return ""
	}
	day, err := time.Parse("20060102", string(raw))
	if err != nil {
		return "it is no date YYYYMMDD"
	}
	to.(*array.Date32Builder).Append(arrow.Date32FromTime(day))
	return ""
}

func logical(to array.Builder, raw []byte) string {
	switch raw[0] {
	case 'T', 't', 'Y', 'y':
		to.(*array.BooleanBuilder).Append(true)
	case 'F', 'f', 'N', 'n':
		to.(*array.BooleanBuilder).Append(false)
	case '?', ' ', 0:
		to.AppendNull()
	default:
		return "it is none of T, F, Y, N"
	}
	return ""
}

func integer(to array.Builder, raw []byte) string {
	if blank(raw) {
		to.AppendNull()
		return ""
	}
	n, err := strconv.ParseInt(string(bytes.Trim(raw, " ")), 10, 64)
	if err != nil {
		return "it is no whole number"
	}
	to.(*array.Int64Builder).Append(n)
	return ""
}

// decimal reads digits as they stand: no float is in between.
func decimal(scale int) func(array.Builder, []byte) string {
	return func(to array.Builder, raw []byte) string {
		if blank(raw) {
			to.AppendNull()
			return ""
		}
		whole, fraction, _ := bytes.Cut(bytes.Trim(raw, " "), []byte("."))
		if len(fraction) > scale {
			return "it has more decimals than its field"
		}
		digits := append(bytes.Clone(whole), fraction...)
		for range scale - len(fraction) {
			digits = append(digits, '0')
		}
		for i, c := range digits {
			if (c < '0' || c > '9') && !(i == 0 && (c == '-' || c == '+') && len(whole) > 0) {
				return "it is no number"
			}
		}
		n, ok := new(big.Int).SetString(string(digits), 10)
		if !ok {
			return "it is no number"
		}
		to.(*array.Decimal128Builder).Append(decimal128.FromBigInt(n))
		return ""
	}
}

func blank(raw []byte) bool { return len(bytes.Trim(raw, " \x00")) == 0 }
