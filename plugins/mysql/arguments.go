package mysql

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseArguments reads a JSON array of single values: nil, bool, string or
// json.Number.
func parseArguments(text string) ([]any, error) {
	bad := func(format string, args ...any) ([]any, error) {
		return nil, requestFault(codeArgument, "arguments", format, args...).
			WithHint(`write a JSON array of texts, numbers, booleans and nulls, such as ["2024-01-31", 12.50, null]`)
	}
	if !utf8.ValidString(text) {
		return bad("the text is not UTF-8")
	}
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[") {
		return bad("expected a JSON array")
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var raw []json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		return bad("expected a JSON array, and this is none")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return bad("something follows the JSON array")
	}
	values := make([]any, len(raw))
	for i, r := range raw {
		if r[0] == '[' || r[0] == '{' {
			return bad("argument %d is no single value", i+1)
		}
		if r[0] == '"' && halfCharacter(r) {
			return bad("argument %d holds half of a surrogate pair, which is no character", i+1)
		}
		element := json.NewDecoder(bytes.NewReader(r))
		element.UseNumber()
		if err := element.Decode(&values[i]); err != nil {
			return bad("argument %d is no JSON value", i+1)
		}
	}
	return values, nil
}

// halfCharacter reports whether a JSON text has an escape of one half of a
// surrogate pair without the other (RFC 8259, section 7), which the decoder would
// replace.
func halfCharacter(text []byte) bool {
	unit := func(i int) uint64 {
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		return n
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch n := unit(i); {
		case n >= 0xdc00 && n <= 0xdfff:
			return true
		case n >= 0xd800 && n <= 0xdbff:
			if low := unit(i + 6); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		default:
			i++
		}
	}
	return false
}
