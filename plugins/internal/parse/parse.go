// Package parse reads the texts that package format writes, back into Arrow
// values: integers, floats, decimals, dates, times and base64. File sources, the
// cast and the row filter share it. It owns which texts are values of a type and
// what a column type is called; it never guesses a type, and never rounds: a text
// is read exactly or refused.
package parse

import (
	"math"
	"strconv"
)

// Status says whether a text was read, and why not.
type Status uint8

// The statuses.
const (
	// OK: the value is exact.
	OK Status = iota
	// Malformed: the text is no value of that kind.
	Malformed
	// Inexact: the value exists, and the type cannot hold it exactly: it is out of
	// range, or has too many digits.
	Inexact
)

// Problem completes "column … " in a message; the type is the column's.
func (s Status) Problem(typeName string) string {
	if s == Inexact {
		return "holds a value that " + typeName + " cannot hold exactly"
	}
	return "holds something that is no " + typeName
}

// Int reads a whole number of 64 bits: an optional minus sign and digits.
func Int(b []byte) (int64, Status) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	u, status := Uint(b)
	switch {
	case status != OK:
		return 0, status
	case negative && u <= 1<<63:
		return -int64(u), OK
	case negative || u > math.MaxInt64:
		return 0, Inexact
	}
	return int64(u), OK
}

// Uint reads a whole number of 64 bits: digits alone.
func Uint(b []byte) (uint64, Status) {
	if len(b) == 0 {
		return 0, Malformed
	}
	var v uint64
	// Nineteen digits always fit.
	for i, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, Malformed
		}
		if i >= 19 && (v > math.MaxUint64/10 || v == math.MaxUint64/10 && d > math.MaxUint64%10) {
			return 0, rest(b[i:])
		}
		v = v*10 + uint64(d)
	}
	return v, OK
}

// rest decides about a number that is too large: what follows must be digits, too.
func rest(b []byte) Status {
	for _, c := range b {
		if c-'0' > 9 {
			return Malformed
		}
	}
	return Inexact
}

// Float reads a decimal number with or without an exponent, NaN, Infinity or
// -Infinity. The result is the nearest float of that many bits (32 or 64), which
// for a text that package format wrote is the same float.
func Float(b []byte, bits int) (float64, Status) {
	switch string(b) {
	case "NaN":
		return math.NaN(), OK
	case "Infinity":
		return math.Inf(1), OK
	case "-Infinity":
		return math.Inf(-1), OK
	}
	// ParseFloat takes more: hexadecimal, underscores, other names of infinity.
	for _, c := range b {
		if c-'0' > 9 && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, Malformed
		}
	}
	v, err := strconv.ParseFloat(string(b), bits)
	switch {
	case err == nil:
		return v, OK
	case math.IsInf(v, 0):
		return 0, Inexact
	}
	return 0, Malformed
}

// Bool reads true or false.
func Bool(b []byte) (bool, Status) {
	switch string(b) {
	case "true":
		return true, OK
	case "false":
		return false, OK
	}
	return false, Malformed
}
