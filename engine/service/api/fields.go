package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields reads the fields of a body that is no procedure's, and collects every mistake in them. Null is not given.
type fields struct {
	values  map[string]any
	details []Detail
	// pointer leads to the object whose fields they are; empty is the body.
	pointer string
}

// readFields reads the body of the request, which may have these fields.
func (x *exchange) readFields(known ...string) (*fields, *Error) {
	q, e := x.readParameters()
	if e != nil {
		return nil, e
	}
	for i := range q.details {
		q.details[i].Suggestion = "Fields stand in the body; the address takes no parameters."
	}
	raw, e := x.body()
	if e != nil {
		return nil, e
	}
	members, details, e := readObject(raw)
	if e != nil {
		return nil, e
	}
	f := &fields{details: append(q.details, details...), values: map[string]any{}}
	for _, m := range members {
		f.take(m.name, m.value, known)
	}
	return f, nil
}

// readOptional is readFields of a body that may be missing.
func (x *exchange) readOptional(known ...string) (*fields, *Error) {
	if x.r.ContentLength != 0 {
		return x.readFields(known...)
	}
	q, e := x.readParameters()
	if e != nil {
		return nil, e
	}
	return &fields{details: q.details, values: map[string]any{}}, nil
}

func (f *fields) take(name string, value any, known []string) {
	if known != nil && !slices.Contains(known, name) {
		shown := name
		if r := []rune(shown); len(r) > 64 {
			shown = string(r[:64]) + "…"
		}
		f.details = append(f.details, Detail{Code: string(UnknownField), Field: f.at(shown),
			Message: "There is no field " + strconv.Quote(shown) + " here.", Suggestion: nearest(name, known)})
		return
	}
	if value != nil {
		f.values[name] = value
	}
}

// pointerOf is the JSON Pointer of a member of a field.
func pointerOf(field, member string) string {
	return "/" + field + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(member)
}

// at is how a detail names a field.
func (f *fields) at(name string) string {
	if f.pointer == "" {
		return name
	}
	return pointerOf(f.pointer, name)
}

func (f *fields) names() []string { return slices.Sorted(maps.Keys(f.values)) }

func (f *fields) add(code Code, at, message string) {
	f.details = append(f.details, Detail{Code: string(code), Field: at, Message: message})
}

func (f *fields) wrong(at, format string, args ...any) {
	f.add(InvalidParameter, at, at+": "+fmt.Sprintf(format, args...))
}

// mistakes is the error of all of them; nil when there are none.
func (f *fields) mistakes() *Error {
	if len(f.details) == 0 {
		return nil
	}
	return mistakes(f.details)
}

// text is a text; given is false where there is none.
func (f *fields) text(name string) (text string, given bool) {
	value, there := f.values[name]
	if !there {
		return "", false
	}
	text, ok := value.(string)
	if !ok {
		f.wrong(f.at(name), "expected a text.")
	}
	return text, ok
}

// oneOf is one of some texts.
func (f *fields) oneOf(name, otherwise string, allowed []string) string {
	text, given := f.text(name)
	switch {
	case !given:
		return otherwise
	case !slices.Contains(allowed, text):
		f.wrong(f.at(name), "expected %s.", oneOfText(allowed))
		f.details[len(f.details)-1].Suggestion = nearest(text, allowed)
		return otherwise
	}
	return text
}

func oneOfText(allowed []string) string {
	if len(allowed) == 1 {
		return allowed[0]
	}
	return "one of " + strings.Join(allowed, ", ")
}

// someOf is a list of some texts, each at most once.
func (f *fields) someOf(name string, allowed, otherwise []string) []string {
	value, given := f.values[name]
	if !given {
		return slices.Clone(otherwise)
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		f.wrong(f.at(name), "expected a list of at least one of %s.", strings.Join(allowed, ", "))
		return nil
	}
	var out []string
	for i, one := range list {
		text, _ := one.(string)
		at := pointerOf(name, strconv.Itoa(i))
		switch {
		case !slices.Contains(allowed, text):
			f.wrong(at, "expected one of %s.", strings.Join(allowed, ", "))
			f.details[len(f.details)-1].Suggestion = nearest(text, allowed)
		case slices.Contains(out, text):
			f.add(DuplicateField, at, text+" is given twice.")
		default:
			out = append(out, text)
		}
	}
	return out
}

// flag is a boolean.
func (f *fields) flag(name string, otherwise bool) bool {
	value, given := f.values[name]
	if !given {
		return otherwise
	}
	b, ok := value.(bool)
	if !ok {
		f.wrong(f.at(name), "expected true or false.")
	}
	return b
}

// whole is a whole number in a range.
func (f *fields) whole(name string, otherwise, least, most int64) int64 {
	value, given := f.values[name]
	if !given {
		return otherwise
	}
	number, _ := value.(json.Number)
	n, err := number.Int64()
	if err != nil || n < least || n > most {
		f.wrong(f.at(name), "expected a whole number from %d to %d.", least, most)
		return otherwise
	}
	return n
}

// number is a number in a range.
func (f *fields) number(name string, otherwise, least, most float64) float64 {
	value, given := f.values[name]
	if !given {
		return otherwise
	}
	number, _ := value.(json.Number)
	n, err := number.Float64()
	if err != nil || !(n >= least && n <= most) {
		f.wrong(f.at(name), "expected a number from %v to %v.", least, most)
		return otherwise
	}
	return n
}

// instant is a time with its zone; zero when it is not given.
func (f *fields) instant(name string) time.Time {
	text, given := f.text(name)
	if !given {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1 {
		f.wrong(f.at(name), "expected a time with its zone, such as 2024-02-01T00:00:00Z.")
		return time.Time{}
	}
	return t.UTC()
}

// object is an object that may have these fields, or any when none are named; nil when it is not given. What is wrong in it
// is in its own details, but for what is wrong with the object.
func (f *fields) object(name string, known ...string) *fields {
	value, given := f.values[name]
	if !given {
		return nil
	}
	members, ok := value.(map[string]any)
	if !ok {
		f.wrong(f.at(name), "expected an object.")
		return nil
	}
	within := &fields{values: map[string]any{}, pointer: name}
	for _, member := range slices.Sorted(maps.Keys(members)) {
		within.take(member, members[member], known)
	}
	return within
}
