package values

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Count is what became of the values of a kind.
type Count struct {
	Right, Changed, Refused, Dropped int
}

// Judge counts what became of a kind in an output.
func (k Kind) Judge(truth, got Table) (c Count) {
	for id := int64(1); id <= Rows; id++ {
		row, there := got[id]
		// A field that is not there is NULL in JSON, and a column that is not there is no value at all.
		cell, written := row[k.Column]
		if !written {
			cell = Cell{Null: true}
		}
		switch want := truth[id][k.Column]; {
		case !there:
			c.Dropped++
		case k.same(want, cell):
			c.Right++
		default:
			c.Changed++
		}
	}
	return c
}

// same says whether a value means what the client shows.
func (k Kind) same(want, got Cell) bool {
	if want.Null || got.Null {
		return want.Null == got.Null
	}
	if want.Text == got.Text {
		return true
	}
	switch k.class {
	case number:
		return sameNumber(want.Text, got.Text)
	case float:
		shown, stored, _ := strings.Cut(want.Text, " ")
		return sameNumber(shown, got.Text) || sameFloat(stored, got.Text, 32)
	case double:
		return sameFloat(want.Text, got.Text, 64)
	case date, datetime:
		w, ok := instant(want.Text)
		g, valid := instant(got.Text)
		return ok && valid && w == g
	case clock:
		w, g := duration(want.Text), duration(got.Text)
		return w != nil && g != nil && w.Cmp(g) == 0
	case bits:
		n, err := strconv.ParseUint(want.Text, 10, 64)
		return sameNumber(want.Text, got.Text) || err == nil && sameBytes(string(binary.BigEndian.AppendUint64(nil, n)), got.Text)
	case document:
		w, ok := parseJSON(want.Text)
		g, valid := parseJSON(got.Text)
		return ok && valid && sameJSON(w, g)
	case bytes:
		return sameBytes(want.Text, got.Text)
	}
	return false
}

var decimal = regexp.MustCompile(`^-?\d+(\.\d*)?([eE][+-]?\d{1,3})?$`)

func rational(s string) *big.Rat {
	switch s {
	case "true":
		s = "1"
	case "false":
		s = "0"
	}
	if !decimal.MatchString(s) {
		return nil
	}
	r, _ := new(big.Rat).SetString(s)
	return r
}

func sameNumber(a, b string) bool {
	x, y := rational(a), rational(b)
	return x != nil && y != nil && x.Cmp(y) == 0
}

// sameFloat says whether two texts are read as the same float of so many bits, which is all that a float's text has to do.
func sameFloat(a, b string, size int) bool {
	if !decimal.MatchString(b) {
		return false
	}
	x, err := strconv.ParseFloat(a, size)
	y, failed := strconv.ParseFloat(b, size)
	return err == nil && failed == nil && (x == y || math.IsNaN(x) && math.IsNaN(y))
}

// moment matches days and times as ISO 8601, RFC 3339, and MySQL write them.
var moment = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?)?(?: ?(?:Z|UTC|[+-]00:?00)(?: UTC)?)?$`)

// instant is a day and a time in one form; a day is its midnight.
func instant(s string) (string, bool) {
	m := moment.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	at, seconds := m[2], m[3]
	if at == "" {
		at = "00:00"
	}
	if seconds == "" {
		seconds = ":00"
	}
	return m[1] + " " + at + seconds + "." + strings.TrimRight(m[4], "0"), true
}

var (
	hours  = regexp.MustCompile(`^(-?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$`)
	period = regexp.MustCompile(`^(-?)P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?$`)
	python = regexp.MustCompile(`^(-?\d+) days?,? ([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$`)
)

// duration is an amount of time in seconds, as clocks of MySQL, ISO 8601 and Python write it.
func duration(s string) *big.Rat {
	sum := func(days, h, m, sec string) *big.Rat {
		total := new(big.Rat)
		for _, part := range []struct {
			text    string
			seconds int64
		}{{days, 86400}, {h, 3600}, {m, 60}, {sec, 1}} {
			if part.text == "" {
				continue
			}
			n, ok := new(big.Rat).SetString(part.text)
			if !ok {
				return nil
			}
			total.Add(total, n.Mul(n, big.NewRat(part.seconds, 1)))
		}
		return total
	}
	negative := func(sign string, r *big.Rat) *big.Rat {
		if r != nil && sign == "-" {
			r.Neg(r)
		}
		return r
	}
	if m := hours.FindStringSubmatch(s); m != nil {
		return negative(m[1], sum("", m[2], m[3], m[4]))
	}
	if m := period.FindStringSubmatch(s); m != nil && len(s) > len(m[1])+1 {
		return negative(m[1], sum(m[2], m[3], m[4], m[5]))
	}
	if m := python.FindStringSubmatch(s); m != nil {
		days, rest := sum(m[1], "", "", ""), negative(m[2], sum("", m[3], m[4], m[5]))
		return days.Add(days, rest)
	}
	return nil
}

// sameBytes says whether a text is bytes, or stands for them in a form that readers know: base64, hexadecimal digits, what
// DuckDB shows of a blob, or a list of numbers, as Node.js has it in a Buffer. A notation of one language's source is none.
func sameBytes(want, got string) bool {
	if want == got {
		return true
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
		if b, err := encoding.DecodeString(got); err == nil && string(b) == want {
			return true
		}
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(got), "0x"), `\x`)
	if b, err := hex.DecodeString(digits); err == nil && string(b) == want {
		return true
	}
	if b, ok := blob(got); ok && b == want {
		return true
	}
	var list []byteNumber
	var buffer struct {
		Type string
		Data []byteNumber
	}
	if json.Unmarshal([]byte(got), &list) != nil {
		if json.Unmarshal([]byte(got), &buffer) != nil || buffer.Type != "Buffer" {
			return false
		}
		list = buffer.Data
	}
	raw := make([]byte, len(list))
	for i, n := range list {
		raw[i] = byte(n)
	}
	return string(raw) == want
}

// byteNumber is a byte in a list of numbers: encoding/json takes a []byte as base64.
type byteNumber uint16

// blob decodes \xAB as DuckDB writes the bytes of a blob that are not ASCII.
func blob(s string) (string, bool) {
	var raw strings.Builder
	for len(s) > 0 {
		if s[0] != '\\' {
			raw.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) < 4 || s[1] != 'x' {
			return "", false
		}
		b, err := hex.DecodeString(s[2:4])
		if err != nil {
			return "", false
		}
		raw.Write(b)
		s = s[4:]
	}
	return raw.String(), true
}

func parseJSON(s string) (v any, ok bool) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	return v, d.Decode(&v) == nil && !d.More()
}

// sameJSON compares two documents, numbers as exact decimals.
func sameJSON(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(x.String(), y.String())
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameJSON(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key := range x {
			if there, ok := y[key]; !ok || !sameJSON(x[key], there) {
				return false
			}
		}
		return true
	}
	return a == b
}
