package draft

import (
	"fmt"
	"strconv"
	"strings"
)

// value is a value of a column as a test has it: its text, and whether it stands in quotes. A nil one is NULL.
type value struct {
	text   string
	number bool
}

// yaml writes a value.
func (v *value) yaml() string {
	switch {
	case v == nil:
		return "null"
	case v.number:
		return v.text
	}
	return scalar(v.text)
}

// fractions are the digits of invented fractions of a second.
const fractions = "123456789"

// invent makes up the value of a column in the row with that number, from 1: one that is spelled in a test as it is
// in NDJSON, and has nothing to do with what a database holds.
func invent(c *Column, row int) *value {
	base, digits := typeOf(c.Type)
	n := strconv.Itoa(row)
	fraction := ""
	if len(digits) > 0 && digits[0] > 0 && base != "decimal" {
		fraction = "." + fractions[:min(digits[0], len(fractions))]
	}
	switch base {
	case "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64":
		return &value{n, true}
	case "float32", "float64":
		return &value{n + ".5", true}
	case "decimal":
		return &value{decimal(digits[0], digits[1], row), false}
	case "boolean":
		return &value{strconv.FormatBool(row%2 == 1), true}
	case "date":
		return &value{fmt.Sprintf("2024-0%d-29", row+1), false}
	case "timestamp":
		return &value{fmt.Sprintf("2024-0%d-29 08:30:00%s", row+1, fraction), false}
	case "time":
		return &value{fmt.Sprintf("08:3%d:00%s", row, fraction), false}
	case "json":
		return &value{`{"example":` + n + "}", false}
	case "binary":
		return &value{[]string{"AQI=", "AwQ="}[(row-1)%2], false} // base64
	}
	if p := c.Personal; p != nil && p.kind.sample != "" {
		return &value{p.kind.sample, false}
	}
	if len(c.Members) > 0 {
		return &value{c.Members[(row-1)%len(c.Members)], false}
	}
	return &value{"example " + n, false}
}

// decimal is a DECIMAL of that many digits in all and behind the point.
func decimal(precision, scale, row int) string {
	whole := "0"
	if precision > scale {
		whole = strconv.Itoa(row)
	}
	if scale == 0 {
		return whole
	}
	return whole + "." + strings.Repeat("5", min(scale, 1)) + strings.Repeat("0", scale-1)
}

// typeOf takes a column type apart: decimal(10,2) is decimal, 10 and 2.
func typeOf(text string) (base string, numbers []int) {
	base, list, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	for number := range strings.SplitSeq(list, ",") {
		if n, err := strconv.Atoi(number); err == nil {
			numbers = append(numbers, n)
		}
	}
	return base, numbers
}

// nothing is the value of a type that says least, with which the values of a column are replaced that may not be NULL.
func nothing(columnType string) value {
	base, digits := typeOf(columnType)
	fraction := ""
	if len(digits) > 0 && digits[0] > 0 && base != "decimal" {
		fraction = "." + strings.Repeat("0", digits[0])
	}
	switch base {
	case "string":
		return value{"***", false}
	case "json":
		return value{"{}", false}
	case "binary":
		return value{"", false}
	case "date":
		return value{"1970-01-01", false}
	case "timestamp":
		return value{"1970-01-01 00:00:00" + fraction, false}
	case "time":
		return value{"00:00:00" + fraction, false}
	case "decimal":
		zero := "0"
		if digits[1] > 0 {
			zero += "." + strings.Repeat("0", digits[1])
		}
		return value{zero, false}
	case "float32", "float64":
		return value{"0", true}
	}
	return value{"0", true}
}
