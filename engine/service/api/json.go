package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep lists and objects of a body may stand in each other.
const maxDepth = 32

// member is a member of the object that a body is.
type member struct {
	name  string
	value any // as encoding/json decodes it, with json.Number
}

// readObject reads a body strictly: UTF-8, one JSON object, nothing behind it, and no member of any object in it twice.
// Numbers keep their digits. The error is what keeps it from being read at all; what is only wrong with it is in details.
func readObject(raw []byte) (members []member, details []Detail, err *Error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil, fail(InvalidJSON).saying("The body is empty; expected a JSON object.")
	}
	if !utf8.Valid(raw) {
		return nil, nil, fail(InvalidJSON).saying("The body is not UTF-8.")
	}
	if err := syntax(raw); err != nil {
		return nil, nil, err
	}
	if halfPair(raw) {
		return nil, nil, fail(InvalidJSON).saying("The body has an escape that is half of a surrogate pair, which is no character.")
	}
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(raw))}
	r.dec.UseNumber()
	if first, _ := r.dec.Token(); first != json.Delim('{') {
		return nil, nil, fail(InvalidJSON).saying("The body is JSON, but not an object.")
	}
	members = r.members("", 1)
	if r.deep {
		return nil, nil, fail(InvalidJSON).saying(fmt.Sprintf("The body has more than %d levels.", maxDepth))
	}
	return members, r.details, nil
}

// halfPair reports whether a text that is JSON has a \\u escape of a surrogate without the other one. encoding/json puts U+FFFD in
// its place, and what was asked for would be something else.
func halfPair(raw []byte) bool {
	high := false // the escape before this one, and right before it, was a high surrogate
	for i := 0; i < len(raw); i++ {
		var unit uint64
		if raw[i] == '\\' {
			if i++; raw[i] == 'u' {
				unit, _ = strconv.ParseUint(string(raw[i+1:i+5]), 16, 16) // four digits: it is JSON
				i += 4
			}
		}
		switch low := unit >= 0xDC00 && unit <= 0xDFFF; {
		case low != high:
			return true
		default:
			high = unit >= 0xD800 && unit <= 0xDBFF
		}
	}
	return high
}

// syntax says where a text stops to be JSON.
func syntax(raw []byte) *Error {
	if json.Valid(raw) {
		return nil
	}
	var ignored any
	err := json.Unmarshal(raw, &ignored)
	e := fail(InvalidJSON)
	var wrong *json.SyntaxError
	if errors.As(err, &wrong) {
		before := raw[:min(max(int(wrong.Offset)-1, 0), len(raw))]
		line := bytes.Count(before, []byte("\n")) + 1
		column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
		e.Message = fmt.Sprintf("The body is not JSON from line %d, column %d on.", line, column)
	}
	return e
}

// jsonReader reads text that is known to be JSON.
type jsonReader struct {
	dec     *json.Decoder
	details []Detail
	deep    bool
}

func (r *jsonReader) token() json.Token {
	t, _ := r.dec.Token() // it cannot fail: the text is valid
	return t
}

// members reads an object behind its first brace.
func (r *jsonReader) members(pointer string, depth int) (out []member) {
	seen := map[string]bool{}
	for {
		name, more := r.token().(string)
		if !more {
			return out
		}
		at := pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		value := r.value(at, depth)
		if seen[name] {
			r.details = append(r.details, Detail{Code: string(DuplicateField), Field: fieldOf(at),
				Message: fmt.Sprintf("%s is given twice.", fieldOf(at))})
			continue
		}
		seen[name] = true
		out = append(out, member{name, value})
	}
}

// fieldOf is how a detail names a place: a field of the body by its name, anything deeper by its JSON Pointer.
func fieldOf(pointer string) string {
	if strings.Count(pointer, "/") == 1 {
		return strings.NewReplacer("~1", "/", "~0", "~").Replace(pointer[1:])
	}
	return pointer
}

func (r *jsonReader) value(pointer string, depth int) any {
	t := r.token()
	delim, ok := t.(json.Delim)
	if !ok {
		return t
	}
	if depth >= maxDepth {
		r.deep = true
	}
	if delim == '{' {
		out := map[string]any{}
		for _, m := range r.members(pointer, depth+1) {
			out[m.name] = m.value
		}
		return out
	}
	out := []any{}
	for r.dec.More() {
		out = append(out, r.value(pointer+"/"+strconv.Itoa(len(out)), depth+1))
	}
	r.token()
	return out
}
