package document

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Type is the type of a parameter.
type Type string

// The types of parameters.
const (
	TypeString  Type = "string"
	TypeDate    Type = "date" // YYYY-MM-DD, a day that exists
	TypeInteger Type = "integer"
	TypeBoolean Type = "boolean"
	TypeDecimal Type = "decimal"
)

// Types lists the types of parameters.
var Types = []string{string(TypeString), string(TypeDate), string(TypeInteger), string(TypeBoolean),
	string(TypeDecimal)}

const (
	// MaxParameterBytes bounds the text of a parameter.
	MaxParameterBytes = 64 << 10
	// maxDecimalDigits is what the widest decimal column of any database holds.
	maxDecimalDigits = 76
)

var (
	datePattern    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	integerPattern = regexp.MustCompile(`^-?[0-9]{1,19}$`)
	decimalPattern = regexp.MustCompile(`^(-?)0*([0-9]+)(\.[0-9]+)?$`)
)

// ParseValue turns a given value into a parameter's value: string for a string
// or a date (YYYY-MM-DD), int64, bool, or json.Number for a decimal, which keeps
// every digit. The value may be text, as on a command line, or a decoded JSON
// value; text is accepted for every type. The error says what was expected.
func (t Type) ParseValue(value any) (any, error) {
	text, isText := "", true
	switch v := value.(type) {
	case string:
		if len(v) > MaxParameterBytes {
			return nil, fmt.Errorf("expected at most %d bytes, not %d", MaxParameterBytes, len(v))
		}
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("expected UTF-8 text")
		}
		text = v
	case bool:
		text, isText = strconv.FormatBool(v), t != TypeBoolean
	case json.Number:
		text, isText = v.String(), t != TypeInteger && t != TypeDecimal
	case int, int64, uint64:
		text, isText = fmt.Sprint(v), t != TypeInteger && t != TypeDecimal
	case float64:
		// A float64 is exact only while it is a whole number of at most 53 bits.
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return nil, fmt.Errorf("expected %s, not a floating point number; give it as text", t.expected())
		}
		text, isText = strconv.FormatInt(int64(v), 10), t != TypeInteger && t != TypeDecimal
	default:
		return nil, fmt.Errorf("expected %s, not %s", t.expected(), describe(value))
	}
	if _, given := value.(string); isText && !given {
		return nil, fmt.Errorf("expected %s, not %s", t.expected(), describe(value))
	}
	switch t {
	case TypeString:
		return text, nil
	case TypeDate:
		if !datePattern.MatchString(text) {
			return nil, fmt.Errorf("expected a date as YYYY-MM-DD, not %s", describe(text))
		}
		if _, err := time.Parse(time.DateOnly, text); err != nil || strings.HasPrefix(text, "0000") {
			return nil, fmt.Errorf("there is no day %s", text)
		}
		return text, nil
	case TypeInteger:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && integerPattern.MatchString(text) {
			return n, nil
		}
	case TypeBoolean:
		if text == "true" || text == "false" {
			return text == "true", nil
		}
	case TypeDecimal:
		if m := decimalPattern.FindStringSubmatch(text); m != nil && len(m[2])+len(m[3]) <= maxDecimalDigits+1 {
			return json.Number(m[1] + m[2] + m[3]), nil
		}
	}
	return nil, fmt.Errorf("expected %s, not %s", t.expected(), describe(value))
}

func (t Type) expected() string {
	switch t {
	case TypeDate:
		return "a date as YYYY-MM-DD"
	case TypeInteger:
		return "a whole number of at most 64 bits"
	case TypeBoolean:
		return "true or false"
	case TypeDecimal:
		return fmt.Sprintf("a decimal number such as -12.50, of at most %d digits", maxDecimalDigits)
	}
	return "text"
}

func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(short(v))
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return "the number " + short(fmt.Sprint(value))
}

// ColumnType is the type of a column in the contract: one of ColumnTypes,
// decimal(precision,scale), timestamp(digits) or time(digits).
type ColumnType struct {
	Name             string
	Precision, Scale int // of a decimal
	Fraction         int // digits of a second, of a timestamp or a time
}

// ColumnTypes lists the names of column types; "decimal" takes a precision and a
// scale, "timestamp" and "time" the number of fractional second digits, which is 0
// without. Timestamps have no zone; time is a signed duration; json is text that
// holds a JSON document.
var ColumnTypes = []string{"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
	"boolean", "string", "binary", "date", "time", "timestamp", "json", "decimal"}

var (
	columnDecimal  = regexp.MustCompile(`^decimal\(([0-9]{1,2}), ?([0-9]{1,2})\)$`)
	columnFraction = regexp.MustCompile(`^(timestamp|time)\(([0-9]{1,2})\)$`)
)

// maxFraction is the most fractional second digits, those of nanoseconds.
const maxFraction = 9

// ParseColumnType reads a column type.
func ParseColumnType(text string) (ColumnType, error) {
	if m := columnDecimal.FindStringSubmatch(text); m != nil {
		p, _ := strconv.Atoi(m[1])
		s, _ := strconv.Atoi(m[2])
		if p < 1 || p > maxDecimalDigits || s > p {
			return ColumnType{}, fmt.Errorf("expected decimal(precision,scale) with a precision from 1 to %d and a scale up to it, not %q", maxDecimalDigits, text)
		}
		return ColumnType{Name: "decimal", Precision: p, Scale: s}, nil
	}
	if m := columnFraction.FindStringSubmatch(text); m != nil {
		digits, _ := strconv.Atoi(m[2])
		if digits > maxFraction {
			return ColumnType{}, fmt.Errorf("expected %s(N) with 0 to %d fractional second digits, not %q", m[1], maxFraction, text)
		}
		return ColumnType{Name: m[1], Fraction: digits}, nil
	}
	for _, name := range ColumnTypes {
		if name == text && name != "decimal" {
			return ColumnType{Name: name}, nil
		}
	}
	if strings.HasPrefix(text, "decimal") {
		return ColumnType{}, fmt.Errorf("expected decimal(precision,scale), such as decimal(10,2), not %q", short(text))
	}
	return ColumnType{}, fmt.Errorf("no column type is called %q", short(text))
}

// String writes the type as in a pipeline.
func (t ColumnType) String() string {
	switch {
	case t.Name == "decimal":
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case t.Fraction > 0:
		return fmt.Sprintf("%s(%d)", t.Name, t.Fraction)
	}
	return t.Name
}

// MarshalText writes the type as in a pipeline.
func (t ColumnType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
