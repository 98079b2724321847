package sandbox

import "strconv"

// Kind says what a generated value is.
type Kind uint8

// The kinds of values.
const (
	Null     Kind = iota
	Int           // N is the number
	Text          // S is UTF-8 text
	Date          // N is days since 1970-01-01
	DateTime      // N is seconds since 1970-01-01 00:00:00, naive: in no zone
	Decimal       // N is the number without its point, which stands before the last Scale digits
)

// Value is one generated field.
type Value struct {
	Kind  Kind
	Scale uint8 // of a Decimal, at most 18
	N     int64
	S     string
}

func integer(n int64) Value        { return Value{Kind: Int, N: n} }
func text(s string) Value          { return Value{Kind: Text, S: s} }
func date(days int64) Value        { return Value{Kind: Date, N: days} }
func dateTime(seconds int64) Value { return Value{Kind: DateTime, N: seconds} }
func flag(b bool) Value {
	if b {
		return integer(1)
	}
	return integer(0)
}

// AppendText appends the value as MySQL writes it: integers in decimal, decimals
// with all Scale digits after the point, dates YYYY-MM-DD, datetimes YYYY-MM-DD
// HH:MM:SS, text unquoted and unescaped. NULL appends nothing.
func (v Value) AppendText(dst []byte) []byte {
	switch v.Kind {
	case Int:
		return strconv.AppendInt(dst, v.N, 10)
	case Text:
		return append(dst, v.S...)
	case Date:
		return appendDate(dst, v.N)
	case DateTime:
		return appendDateTime(dst, v.N)
	case Decimal:
		return appendDecimal(dst, v.N, int(v.Scale))
	}
	return dst
}

// appendDecimal appends n with a point before its last scale digits.
func appendDecimal(dst []byte, n int64, scale int) []byte {
	magnitude := uint64(n)
	if n < 0 {
		dst = append(dst, '-')
		magnitude = -magnitude
	}
	if scale == 0 {
		return strconv.AppendUint(dst, magnitude, 10)
	}
	var digits [24]byte
	at := len(digits)
	for places := 0; places <= scale || magnitude > 0; places++ {
		if places == scale {
			at--
			digits[at] = '.'
		}
		at--
		digits[at] = byte('0' + magnitude%10)
		magnitude /= 10
	}
	return append(dst, digits[at:]...)
}
