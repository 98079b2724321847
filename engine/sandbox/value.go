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
)

// Value is one generated field.
type Value struct {
	Kind Kind
	N    int64
	S    string
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

// AppendText appends the value as MySQL writes it: integers in decimal, dates
// YYYY-MM-DD, datetimes YYYY-MM-DD HH:MM:SS, text unquoted and unescaped. NULL
// appends nothing.
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
	}
	return dst
}
