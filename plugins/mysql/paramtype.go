package mysql

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// paramType is the type of a procedure's parameter.
type paramType struct {
	name     string // "decimal"
	sizes    []int  // the numbers in brackets
	unsigned bool
	members  []string // of an ENUM or SET
}

var paramTypePattern = regexp.MustCompile(`^([a-z0-9_]+) *(?:\((.*)\))?(.*)$`)

// parseParamType reads a type as information_schema gives it in DTD_IDENTIFIER.
// Its name is empty when it cannot be read.
func parseParamType(text string) paramType {
	// The members of an ENUM keep their case.
	word := strings.IndexAny(text, " (")
	if word < 0 {
		word = len(text)
	}
	m := paramTypePattern.FindStringSubmatch(lower(text[:word]) + text[word:])
	if m == nil {
		return paramType{}
	}
	t := paramType{name: m[1], unsigned: strings.Contains(lower(m[3]), "unsigned")}
	if t.name == "enum" || t.name == "set" {
		t.members = members(m[2])
		return t
	}
	for _, size := range strings.Split(m[2], ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(size)); err == nil {
			t.sizes = append(t.sizes, n)
		}
	}
	return t
}

// members reads quoted texts with commas between, or gives nil.
func members(text string) (list []string) {
	for {
		if !strings.HasPrefix(text, "'") {
			return nil
		}
		var member strings.Builder
		text = text[1:]
		for {
			end := strings.IndexByte(text, '\'')
			if end < 0 {
				return nil
			}
			member.WriteString(text[:end])
			text = text[end+1:]
			if !strings.HasPrefix(text, "'") {
				break
			}
			member.WriteByte('\'')
			text = text[1:]
		}
		list = append(list, member.String())
		var more bool
		if text, more = strings.CutPrefix(text, ","); !more {
			return list
		}
	}
}

// size is a number in brackets, or otherwise when there is none.
func (t *paramType) size(i, otherwise int) int {
	if i < len(t.sizes) {
		return t.sizes[i]
	}
	return otherwise
}

// paramFamily is how the arguments for some types are checked.
type paramFamily struct {
	types []string
	// bind gives the value to bind, which the type holds exactly, or says what was
	// expected instead.
	bind func(t *paramType, value any) (any, string)
}

// paramFamilies are all types that a parameter can have and an argument can be
// given for.
var paramFamilies = []paramFamily{
	{[]string{"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year", "bit"}, bindInteger},
	{[]string{"decimal", "numeric", "dec"}, bindDecimal},
	{[]string{"float", "double", "real"}, bindFloat},
	{[]string{"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"}, bindText},
	{[]string{"enum", "set"}, bindMember},
	{[]string{"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}, bindBytes},
	{[]string{"date", "datetime", "timestamp"}, bindMoment},
	{[]string{"time"}, bindDuration},
	{[]string{"uuid", "inet4", "inet6"}, bindAddress},
}

// bind turns an argument into what is bound. The server would round, cut or
// replace what does not fit, depending on its mode; here it is a problem.
func (t *paramType) bind(value any) (bound any, problem string) {
	for _, family := range paramFamilies {
		if !slices.Contains(family.types, t.name) {
			continue
		}
		if value == nil {
			return nil, ""
		}
		return family.bind(t, value)
	}
	return nil, "no argument can be given for this type"
}

// expected says what was expected, and what kind of value came. The value itself
// may be somebody's data.
func expected(what string, value any) (any, string) {
	came := "a text"
	switch v := value.(type) {
	case bool:
		came = fmt.Sprint(v)
	case json.Number:
		came = "a number"
		if !wholeNumber.MatchString(v.String()) {
			came = "a number with a point or an exponent"
		}
	}
	return nil, "expected " + what + ", and " + came + " came"
}

var (
	wholeNumber   = regexp.MustCompile(`^-?[0-9]+$`)
	decimalNumber = regexp.MustCompile(`^(-?)0*([0-9]*?)(?:\.([0-9]*?)0*)?$`)
)

func bindInteger(t *paramType, value any) (any, string) {
	var lo int64
	var hi uint64
	switch bits := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}[t.name]; {
	case t.name == "bit":
		hi = math.MaxUint64 >> (64 - min(max(t.size(0, 1), 1), 64))
	case t.name == "year":
		hi = 2155
	case t.unsigned:
		hi = math.MaxUint64 >> (64 - bits)
	default:
		lo, hi = -1<<(bits-1), 1<<(bits-1)-1
	}
	what := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	number, isNumber := value.(json.Number)
	if isTrue, isBool := value.(bool); isBool && t.name != "year" {
		if isTrue {
			return int64(1), ""
		}
		return int64(0), ""
	} else if !isNumber || !wholeNumber.MatchString(number.String()) {
		return expected(what, value)
	}
	if n, err := strconv.ParseInt(number.String(), 10, 64); err == nil && n >= lo && (n < 0 || uint64(n) <= hi) {
		if t.name == "year" && n != 0 && n < 1901 {
			return expected("0 or a year from 1901 to 2155", value)
		}
		return n, ""
	}
	if n, err := strconv.ParseUint(number.String(), 10, 64); err == nil && n <= hi {
		return n, ""
	}
	return nil, "expected " + what + ", and another number came"
}

func bindDecimal(t *paramType, value any) (any, string) {
	precision, scale := t.size(0, 10), t.size(1, 0)
	what := fmt.Sprintf("a number of at most %d digits before the point and %d after it, without an exponent",
		precision-scale, scale)
	number, ok := value.(json.Number)
	if !ok {
		return expected(what, value)
	}
	m := decimalNumber.FindStringSubmatch(number.String())
	if m == nil || len(m[2]) > precision-scale || len(m[3]) > scale {
		return nil, "expected " + what
	}
	negative := m[1] != "" && m[2]+m[3] != ""
	if negative && t.unsigned {
		return nil, "expected a number that is not negative"
	}
	return decimalArg(number.String()), ""
}

func bindFloat(t *paramType, value any) (any, string) {
	number, ok := value.(json.Number)
	if !ok {
		return expected("a number", value)
	}
	f, err := number.Float64()
	switch {
	case err != nil || t.name == "float" && math.Abs(f) > math.MaxFloat32:
		return nil, "expected a number that is not so far from zero"
	case f < 0 && t.unsigned:
		return nil, "expected a number that is not negative"
	}
	return f, ""
}

// longestBlob are the sizes of the types that declare none, in bytes.
var longestBlob = map[string]int{"tinytext": 1<<8 - 1, "text": 1<<16 - 1, "mediumtext": 1<<24 - 1, "tinyblob": 1<<8 - 1,
	"blob": 1<<16 - 1, "mediumblob": 1<<24 - 1}

func bindText(t *paramType, value any) (any, string) {
	text, ok := value.(string)
	if !ok {
		return expected("a text, in double quotes", value)
	}
	if longest := longestBlob[t.name]; longest > 0 && len(text) > longest {
		return nil, fmt.Sprintf("expected a text of at most %d bytes, not %d", longest, len(text))
	}
	if n := utf8.RuneCountInString(text); (t.name == "char" || t.name == "varchar") && n > t.size(0, 1) {
		return nil, fmt.Sprintf("expected a text of at most %d characters, not %d", t.size(0, 1), n)
	}
	return text, ""
}

func bindMember(t *paramType, value any) (any, string) {
	text, ok := value.(string)
	if !ok {
		return expected("a text, in double quotes", value)
	}
	wanted := []string{text}
	if t.name == "set" {
		wanted = strings.Split(text, ",")
		if text == "" {
			wanted = nil
		}
	}
	for _, w := range wanted {
		if !slices.Contains(t.members, w) {
			return nil, "expected one of " + strings.Join(t.members, ", ")
		}
	}
	return text, ""
}

func bindBytes(t *paramType, value any) (any, string) {
	text, ok := value.(string)
	if !ok {
		return expected("bytes as base64, in double quotes", value)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "expected bytes as base64 (RFC 4648, section 4)"
	}
	longest := longestBlob[t.name]
	if t.name == "binary" || t.name == "varbinary" {
		longest = t.size(0, 1)
	}
	if longest > 0 && len(raw) > longest {
		return nil, fmt.Sprintf("expected at most %d bytes, not %d", longest, len(raw))
	}
	return bytesArg(raw), ""
}

// bindMoment leaves it to the server whether a TIMESTAMP can hold a time: that depends on the session's zone.
func bindMoment(t *paramType, value any) (any, string) {
	digits := t.size(0, 0)
	what := "a day as YYYY-MM-DD"
	if t.name != "date" {
		what += " or a time as YYYY-MM-DD HH:MM:SS" + fractionShown(digits)
	}
	text, ok := value.(string)
	if !ok {
		return expected(what+", in double quotes", value)
	}
	m, ok := textMoment([]byte(text))
	switch {
	case !ok || !m.onCalendar() || m.year == 0 || t.name == "date" && len(text) > len("2006-01-02"):
		return nil, "expected " + what + " that exists"
	case !fractionFits(text, digits):
		return nil, "expected " + what
	}
	return text, ""
}

func bindDuration(t *paramType, value any) (any, string) {
	what := "a time as HH:MM:SS" + fractionShown(t.size(0, 0)) + ", up to 838:59:59 and from -838:59:59"
	text, ok := value.(string)
	if !ok {
		return expected(what+", in double quotes", value)
	}
	d, ok := textDuration([]byte(text))
	if !ok || !fractionFits(text, t.size(0, 0)) || d.seconds > longestTime || d.seconds == longestTime && d.micro > 0 {
		return nil, "expected " + what
	}
	return text, ""
}

// fractionFits reports whether a time has at most so many digits after the point,
// zeros at the end not counted.
func fractionFits(text string, digits int) bool {
	_, fraction, _ := strings.Cut(text, ".")
	return len(strings.TrimRight(fraction, "0")) <= digits
}

func fractionShown(digits int) string {
	if digits == 0 {
		return ""
	}
	return "." + strings.Repeat("f", digits)
}

var uuidPattern = regexp.MustCompile(`^(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

func bindAddress(t *paramType, value any) (any, string) {
	text, ok := value.(string)
	if !ok {
		return expected("a text, in double quotes", value)
	}
	address, err := netip.ParseAddr(text)
	switch {
	case t.name == "uuid" && !uuidPattern.MatchString(text):
		return nil, "expected a UUID such as 123e4567-e89b-12d3-a456-426614174000"
	case t.name == "inet4" && (err != nil || !address.Is4()):
		return nil, "expected an IPv4 address"
	case t.name == "inet6" && (err != nil || !address.Is6() || address.Zone() != ""):
		return nil, "expected an IPv6 address"
	}
	return text, ""
}
