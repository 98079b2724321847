package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Problem is one thing that is wrong with settings.
type Problem struct {
	// Path leads to the place: keys, and indexes in decimal.
	Path []string
	// Code is one of the Problem codes.
	Code string
	// Message says what was expected and what came. It never quotes a secret.
	Message string
	// Hint says what to do. It may be empty.
	Hint string
	// Candidates are the names that would have been accepted, for "did you mean".
	Candidates []string
	// Found is the unknown name that Candidates are for.
	Found string
	// Missing is the key, of a MissingKey.
	Missing string
}

// The codes of problems.
const (
	UnknownKey   = "config.unknown_key"
	MissingKey   = "config.missing_key"
	WrongType    = "config.wrong_type"
	NotAllowed   = "config.not_allowed"
	OutOfRange   = "config.out_of_range"
	InvalidValue = "config.invalid_value"
)

// Error makes a Problem an error.
func (p Problem) Error() string {
	if len(p.Path) == 0 {
		return p.Message
	}
	return strings.Join(p.Path, ".") + ": " + p.Message
}

// Check holds a decoded tree (map[string]any, []any, string, bool, int64, uint64,
// float64, json.Number, nil) against the specification and returns every
// problem, in the specification's order.
func (s *Spec) Check(settings map[string]any) []Problem {
	return checkObject(s.Fields, settings, nil)
}

func checkObject(fields []Field, value map[string]any, path []string) []Problem {
	var problems []Problem
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		known = append(known, f.Name)
		v, ok := value[f.Name]
		if !ok {
			if f.Required {
				problems = append(problems, Problem{Path: path, Code: MissingKey, Missing: f.Name,
					Message: fmt.Sprintf("%q is required", f.Name), Hint: f.Doc})
			}
			continue
		}
		problems = append(problems, f.check(v, append(slices.Clone(path), f.Name))...)
	}
	var unknown []string
	for key := range value {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		problems = append(problems, Problem{Path: append(slices.Clone(path), key), Code: UnknownKey,
			Message: fmt.Sprintf("unknown key %q", key), Candidates: known, Found: key})
	}
	return problems
}

func (f *Field) check(value any, path []string) []Problem {
	wrong := func(code, message, hint string) []Problem {
		return []Problem{{Path: path, Code: code, Message: message, Hint: hint}}
	}
	switch f.Type {
	case TypeObject:
		m, ok := value.(map[string]any)
		if !ok {
			names := make([]string, len(f.Fields))
			for i, known := range f.Fields {
				names[i] = known.Name
			}
			return wrong(WrongType, "expected a mapping, not "+describe(value), "its keys are: "+strings.Join(names, ", "))
		}
		return checkObject(f.Fields, m, path)
	case TypeMap:
		m, ok := value.(map[string]any)
		if !ok {
			return wrong(WrongType, "expected a mapping, not "+describe(value), "write one NAME: VALUE a line below it, without dashes")
		}
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		problems := f.checkLength(len(m), "entries", path)
		for _, k := range keys {
			problems = append(problems, f.Items.check(m[k], append(slices.Clone(path), k))...)
		}
		return problems
	case TypeParameters:
		if _, problem := parameters(value); problem != "" {
			return wrong(WrongType, problem, "")
		}
		return nil
	case TypeCursor:
		if _, problem := cursor(value); problem != "" {
			return wrong(WrongType, problem, "")
		}
		return nil
	case TypeList:
		l, ok := value.([]any)
		if !ok {
			return wrong(WrongType, "expected a list, not "+describe(value), "write [first, second], or one item a line below it, each after a dash")
		}
		problems := f.checkLength(len(l), "elements", path)
		for i, v := range l {
			problems = append(problems, f.Items.check(v, append(slices.Clone(path), strconv.Itoa(i)))...)
		}
		return problems
	}
	parsed, problem := f.scalar(value, false)
	if problem != "" {
		return wrong(WrongType, problem, "")
	}
	text, isText := parsed.(string)
	if len(f.Enum) > 0 && isText && !slices.Contains(f.Enum, text) {
		return []Problem{{Path: path, Code: NotAllowed, Found: text, Candidates: f.Enum,
			Message: fmt.Sprintf("%q is not allowed here; allowed: %s", text, strings.Join(f.Enum, ", "))}}
	}
	if f.Type == TypeString && isText {
		return f.checkLength(utf8.RuneCountInString(text), "characters", path)
	}
	if n, ok := parsed.(int64); ok && !f.inRange(n) {
		return wrong(OutOfRange, fmt.Sprintf("%v is out of range: %s", value, f.rangeText()), "")
	}
	return nil
}

func (f *Field) checkLength(n int, unit string, path []string) []Problem {
	lo, _ := strconv.Atoi(f.Min)
	hi, err := strconv.Atoi(f.Max)
	if n >= lo && (f.Max == "" || err != nil || n <= hi) {
		return nil
	}
	return []Problem{{Path: path, Code: OutOfRange, Message: fmt.Sprintf("%d %s: %s", n, unit, f.rangeText())}}
}

func (f *Field) inRange(n int64) bool {
	bound := func(text string) (int64, bool) {
		if text == "" {
			return 0, false
		}
		v, _ := f.scalar(text, true)
		b, ok := v.(int64)
		return b, ok
	}
	if lo, ok := bound(f.Min); ok && n < lo {
		return false
	}
	hi, ok := bound(f.Max)
	return !ok || n <= hi
}

func (f *Field) rangeText() string {
	switch {
	case f.Max == "":
		return "at least " + f.Min
	case f.Min == "":
		return "at most " + f.Max
	}
	return "from " + f.Min + " to " + f.Max
}

// scalar converts a value of the tree to the Go value of the field's type:
// string, bool, int64 (integers, durations in nanoseconds, sizes) or float64.
// With text, the value is written text (a default or a bound), so that "5" is an
// integer; without it, "5" is text. The second result says what is wrong.
func (f *Field) scalar(value any, text bool) (any, string) {
	if value == nil && slices.Contains(f.Enum, "null") {
		value = "null" // what YAML takes the word for
	}
	s, isString := value.(string)
	expected := func(what string) (any, string) {
		return nil, "expected " + what + ", not " + describe(value)
	}
	switch f.Type {
	case TypeString, TypeSecret:
		if !isString {
			what := "text"
			if f.Type == TypeSecret {
				return nil, "expected text"
			}
			if _, composite := composite(value); !composite && value != nil {
				what = "text (put it in quotes)"
			}
			return expected(what)
		}
		return s, ""
	case TypeScalar:
		if _, composite := composite(value); composite {
			return expected("a single value")
		}
		return value, ""
	case TypeBoolean:
		if b, ok := value.(bool); ok {
			return b, ""
		}
		if text && (s == "true" || s == "false") {
			return s == "true", ""
		}
		return expected("true or false")
	case TypeInteger:
		if n, ok := integer(value, text); ok {
			return n, ""
		}
		return expected("a whole number")
	case TypeNumber:
		if n, ok := number(value, text); ok {
			return n, ""
		}
		return expected("a number")
	case TypeDuration:
		if isString {
			if d, err := time.ParseDuration(s); err == nil {
				return int64(d), ""
			}
		}
		return expected(`a duration such as "30s" or "1m30s"`)
	case TypeSize:
		if n, ok := integer(value, true); ok && n >= 0 {
			return n, ""
		}
		if isString {
			if n, err := ParseSize(s); err == nil {
				return int64(n), ""
			}
		}
		return expected(`a size such as 65536 or "4MiB"`)
	}
	return expected(string(f.Type))
}

func integer(value any, text bool) (int64, bool) {
	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= 1<<63-1
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		return n, err == nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, text && err == nil
	}
	return 0, false
}

func number(value any, text bool) (float64, bool) {
	if n, ok := integer(value, text); ok {
		return float64(n), true
	}
	switch v := value.(type) {
	case float64:
		return v, true
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, text && err == nil
	}
	return 0, false
}

func composite(value any) (string, bool) {
	switch value.(type) {
	case map[string]any:
		return "a mapping", true
	case []any:
		return "a list", true
	}
	return "", false
}

// describe names a value for a message. Text is quoted only when it is short: a
// long one may well be something that was pasted by mistake.
func describe(value any) string {
	if what, ok := composite(value); ok {
		return what
	}
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		if len(v) <= 40 {
			return fmt.Sprintf("the text %q", v)
		}
		return fmt.Sprintf("a text of %d bytes", len(v))
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	}
	return fmt.Sprintf("the number %v", value)
}

// Kept is how much memory, in bytes, a stage with these settings says that it may keep, beside the batches that are under
// way. What is no size counts as nothing: checking says so.
func (s *Spec) Kept(settings map[string]any) (sum int64) {
	for i := range s.Fields {
		f := &s.Fields[i]
		if !f.Keeps {
			continue
		}
		value, given := settings[f.Name]
		if !given {
			value = f.Default
		}
		if size, problem := f.scalar(value, true); problem == "" {
			sum += size.(int64)
		}
	}
	return sum
}
