// Package config turns one Go struct into everything that a stage's settings
// need: strict parsing, defaults, validation, a JSON Schema and documentation.
// It owns the specification and its checks; it never reads YAML, resolves
// references or knows positions in a file (engine/document and engine/plan do).
//
// A setting is an exported field with a `config` tag:
//
//	type Settings struct {
//		URL       config.Secret `config:"url,required" doc:"Connection URL."`
//		ZeroDates string        `config:"zero_dates" enum:"null,error,text" default:"error" doc:"What a zero date becomes."`
//		Timeout   time.Duration `config:"timeout" default:"10s" min:"1ms" doc:"Longest wait for a connection."`
//	}
//
// Field types: string, bool, int, int64, float64, time.Duration ("1m30s"), Size
// ("4MiB"), Secret, Value (any scalar), a slice or a string-keyed map of these,
// and structs of settings.
//
// A setting that is code, a statement or an expression, says in which language, with the
// tag code:"sql" or code:"cel". No reference of a pipeline is ever put into it: what it
// computes with comes as values, through settings of their own or as Parameters. A Secret
// says with the tag kind:"…" which kind of secret it takes; see SecretKind. Texts, or the keys
// of a map, that are names of columns have the tag names:"columns".
//
// A Size that is how much memory the stage keeps, beside the batches that are under way, has the tag keeps:"true": it
// counts in what a run needs.
package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a setting.
type Type string

// The types.
const (
	TypeString   Type = "string"
	TypeBoolean  Type = "boolean"
	TypeInteger  Type = "integer"
	TypeNumber   Type = "number"
	TypeDuration Type = "duration" // Go syntax: "250ms", "1m30s"
	TypeSize     Type = "size"     // bytes: an integer, or "64KiB", "4MiB", "1GiB"
	TypeSecret   Type = "secret"   // text that is never printed
	TypeScalar   Type = "scalar"   // null, text, boolean or number
	TypeList     Type = "list"
	TypeMap      Type = "map" // text keys
	TypeObject   Type = "object"
	// TypeParameters is filled in by the host, and never written in a pipeline: the
	// parameters that the code among the settings names. See Parameters.
	TypeParameters Type = "parameters"
	// TypeCursor is filled in by the host, and never written in a pipeline: from where a
	// source reads in a pipeline that keeps state. See Cursor.
	TypeCursor Type = "cursor"
)

// The languages of code that the host can read. Others are allowed.
const (
	CodeSQL = "sql"
	CodeCEL = "cel" // cel.dev; parameters are params.NAME
)

// NamesColumns is Field.Names of settings that name columns of the rows, so that an editor can offer them.
const NamesColumns = "columns"

// SecretKind says what a secret is, and with it where it may go: a secret of one kind
// never stands in a setting of another.
type SecretKind string

// The kinds of secrets.
const (
	// SecretConnection is a URL with credentials in it.
	SecretConnection SecretKind = "connection"
	// SecretPassword is a password. It may stand alone, or as the password inside the URL of
	// a connection.
	SecretPassword SecretKind = "password"
	// SecretToken is what a service is shown, or proved to have: a bearer token, a secret
	// access key. It is the kind of a setting that names none.
	SecretToken SecretKind = "token"
	// SecretIdentity says who asks, and is part of what is signed for others: an access key
	// ID, a session token. It may appear in a link, and nowhere else.
	SecretIdentity SecretKind = "identity"
	// SecretKeys are keys that encrypt. They never leave the process.
	SecretKeys SecretKind = "keys"
	// SecretSigning is a key that signs or makes pseudonyms (HMAC). It never leaves the process.
	SecretSigning SecretKind = "signing"
)

// SecretKinds lists the kinds of secrets.
var SecretKinds = []SecretKind{SecretConnection, SecretPassword, SecretToken, SecretIdentity, SecretKeys, SecretSigning}

// Spec describes the settings of a stage. It is plain data and survives JSON.
type Spec struct {
	Fields []Field `json:"fields"`
}

// Field describes one setting.
type Field struct {
	Name     string   `json:"name"`
	Type     Type     `json:"type"`
	Items    *Field   `json:"items,omitempty"`  // element of a list or map
	Fields   []Field  `json:"fields,omitempty"` // members of an object
	Required bool     `json:"required,omitempty"`
	Default  string   `json:"default,omitempty"` // as written in YAML; empty means the zero value
	Enum     []string `json:"enum,omitempty"`
	Min      string   `json:"min,omitempty"` // inclusive; numbers, durations, sizes, list and text lengths
	Max      string   `json:"max,omitempty"`
	Doc      string   `json:"doc,omitempty"`
	// Code is the language of a text that is code; empty for any other.
	Code string `json:"code,omitempty"`
	// Names says what texts name, or the keys of a map: NamesColumns, or nothing that the host knows.
	Names string `json:"names,omitempty"`
	// Keeps says that a size is how much memory the stage may keep, beside the batches that are under way.
	Keeps bool `json:"keeps,omitempty"`
	// Secret is the kind of a secret; empty means SecretToken.
	Secret SecretKind `json:"secret,omitempty"`

	index int
}

// Size is a number of bytes.
type Size int64

// Value is any scalar: nil, string, bool or json.Number.
type Value any

// Parameters are the pipeline's parameters that the code of a stage names, by their
// names. A setting of this type stands at the top of the settings.
type Parameters map[string]Parameter

// Parameter is the value of one.
type Parameter struct {
	// Type is string, date, integer, boolean or decimal.
	Type string
	// Value is nil when the parameter was not given and has no default, a string (also for
	// a date, YYYY-MM-DD), an int64, a bool, or a json.Number that keeps every digit of a decimal.
	Value any
	// Unknown is true when settings are only checked, and no value is there yet.
	Unknown bool
}

// Secret is text that is never printed, logged or encoded; Reveal gives it.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// String never returns the text.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "[secret]"
}

// GoString never returns the text.
func (s Secret) GoString() string { return s.String() }

// MarshalText never returns the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Of returns the specification of struct S. It panics when a tag cannot be
// understood, as regexp.MustCompile does: that is a mistake in the program.
func Of[S any]() *Spec {
	t := reflect.TypeFor[S]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: settings must be a struct, not %s", t))
	}
	spec := &Spec{Fields: fieldsOf(t)}
	for _, f := range spec.Fields {
		for _, filled := range []Type{TypeParameters, TypeCursor} {
			if f.holds(filled) && f.Type != filled {
				panic(fmt.Sprintf("config: %s.%s: %s stands at the top of the settings", t, f.Name, filled))
			}
		}
	}
	return spec
}

// holds reports whether a setting of that type is in f, or is f.
func (f *Field) holds(t Type) bool {
	for i := range f.Fields {
		if f.Fields[i].holds(t) {
			return true
		}
	}
	return f.Type == t || f.Items != nil && f.Items.holds(t)
}

// FilledIn reports whether the host fills the setting in, so that nobody writes it.
func (f *Field) FilledIn() bool { return f.Type == TypeParameters || f.Type == TypeCursor }

// leaf is what the elements of lists and maps are in the end.
func (f *Field) leaf() *Field {
	for f.Items != nil {
		f = f.Items
	}
	return f
}

// SecretKind is the kind of secret that a secret setting takes.
func (f *Field) SecretKind() SecretKind {
	if f.Secret == "" {
		return SecretToken
	}
	return f.Secret
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
	valueType    = reflect.TypeFor[Value]()

	parametersType = reflect.TypeFor[Parameters]()
	cursorType     = reflect.TypeFor[Cursor]()
)

func fieldsOf(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("config")
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		f := typeOf(sf.Type)
		f.index = i
		f.Name = name
		f.Doc = sf.Tag.Get("doc")
		f.Default = sf.Tag.Get("default")
		f.Min, f.Max = sf.Tag.Get("min"), sf.Tag.Get("max")
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.Enum = strings.Split(enum, ",")
		}
		if code := sf.Tag.Get("code"); code != "" {
			if f.leaf().Type != TypeString {
				panic(fmt.Sprintf("config: field %s.%s: only text is code", t, sf.Name))
			}
			f.leaf().Code = code
		}
		if f.Names = sf.Tag.Get("names"); f.Names != "" && (f.Names != NamesColumns || f.Type != TypeMap && f.leaf().Type != TypeString) {
			panic(fmt.Sprintf("config: field %s.%s: expected text or a map that names columns", t, sf.Name))
		}
		if f.Keeps = sf.Tag.Get("keeps") == "true"; f.Keeps && f.Type != TypeSize {
			panic(fmt.Sprintf("config: field %s.%s: only a size is memory that is kept", t, sf.Name))
		}
		if kind := SecretKind(sf.Tag.Get("kind")); kind != "" {
			if f.leaf().Type != TypeSecret || !slices.Contains(SecretKinds, kind) {
				panic(fmt.Sprintf("config: field %s.%s: %q is no kind of secret", t, sf.Name, kind))
			}
			f.leaf().Secret = kind
		}
		switch {
		case name == "" || !sf.IsExported():
			panic(fmt.Sprintf("config: field %s.%s needs a name and must be exported", t, sf.Name))
		case options == "required":
			f.Required = true
		case options != "":
			panic(fmt.Sprintf("config: field %s.%s: unknown option %q", t, sf.Name, options))
		}
		for _, text := range []string{f.Default, f.Min, f.Max} {
			if text == "" || (f.Type == TypeList || f.Type == TypeMap || f.Type == TypeString && text != f.Default) {
				continue
			}
			if _, problem := f.scalar(text, true); problem != "" {
				panic(fmt.Sprintf("config: field %s.%s: %q: %s", t, sf.Name, text, problem))
			}
		}
		fields = append(fields, f)
	}
	return fields
}

func typeOf(t reflect.Type) Field {
	switch t {
	case durationType:
		return Field{Type: TypeDuration}
	case sizeType:
		return Field{Type: TypeSize}
	case secretType:
		return Field{Type: TypeSecret}
	case valueType:
		return Field{Type: TypeScalar}
	case parametersType:
		return Field{Type: TypeParameters}
	case cursorType:
		return Field{Type: TypeCursor}
	}
	switch t.Kind() {
	case reflect.String:
		return Field{Type: TypeString}
	case reflect.Bool:
		return Field{Type: TypeBoolean}
	case reflect.Int, reflect.Int64:
		return Field{Type: TypeInteger}
	case reflect.Float64:
		return Field{Type: TypeNumber}
	case reflect.Slice:
		items := typeOf(t.Elem())
		return Field{Type: TypeList, Items: &items}
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			break
		}
		items := typeOf(t.Elem())
		return Field{Type: TypeMap, Items: &items}
	case reflect.Struct:
		return Field{Type: TypeObject, Fields: fieldsOf(t)}
	}
	panic(fmt.Sprintf("config: settings cannot hold a %s", t))
}

// ParseSize reads a number of bytes: "512", "64KiB", "4MiB", "1GiB", also kB, MB
// and GB for powers of ten. It fails on anything else and on overflow.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "kKMGTiB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size: write bytes (65536) or a unit (64KiB, 4MiB, 1GiB)", text)
	}
	unit, ok := map[string]int64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}[strings.TrimSpace(text[len(digits):])]
	if !ok || n > (1<<63-1)/unit {
		return 0, fmt.Errorf("%q is not a size: write bytes (65536) or a unit (64KiB, 4MiB, 1GiB)", text)
	}
	return Size(n * unit), nil
}

// String writes the size with the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		n    Size
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if s != 0 && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
