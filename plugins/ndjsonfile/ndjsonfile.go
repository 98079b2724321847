// Package ndjsonfile is the source stage that reads a file of one JSON object a
// line. It owns lines, objects and the rules of JSON (RFC 8259), which it keeps to
// the letter; values are package parse's and files package textfile's. It never
// takes a number through a float, and never lets a key pass that nobody declared.
package ndjsonfile

import (
	"bytes"
	"context"
	"io"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/textfile"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Path        string            `config:"path,required" min:"1" doc:"The file, with its whole path."`
	Columns     []textfile.Column `config:"columns,required" min:"1" doc:"The columns and their types, in the order in which they are delivered. Keys that are not among them fail the run."`
	JSONColumns string            `config:"json_columns" enum:"text,embed" default:"text" doc:"How columns of type json are written in the file: as a string that holds the document, or embedded as any JSON value."`
	Compression string            `config:"compression" enum:"auto,none,gzip,zstd" default:"auto" doc:"How the file is compressed; auto goes by the ending of its name: .gz, .zst."`
	MaxRecord   config.Size       `config:"max_record" default:"16MiB" min:"1KiB" max:"1GiB" doc:"The longest line that is taken."`
}

const doc = `Reads what the encoder ndjson writes, and other files of one JSON object a line. Keys may come in any
order; a key that is missing is NULL, one that comes twice or is not declared fails the run.

Values are read exactly or refused, and spelled as the encoder spells them: integers are numbers
without point and exponent; decimals are strings, or numbers without an exponent, and never pass through a
float; dates, timestamps, times and binary (base64) are strings; booleans are true and false.

The schema is not inferred: a type guessed from the first rows would be wrong for a later one.

` + parse.TypeDoc

// Stage defines the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "ndjson",
		Summary: "Reads a file of one JSON object a line.",
		Doc:     doc,
	}, newSource)
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	fields, err := textfile.Fields(s.Columns)
	if err != nil {
		return nil, err
	}
	return &source{settings: s, env: env, fields: fields}, nil
}

type source struct {
	settings Settings
	env      sdk.Env
	fields   []arrow.Field

	textfile.Reader
	columns []column
	index   map[string]int
	lines   int64 // read so far
	seen    []int64
	text    []byte // a string without its escapes
}

// column is how the values of a column stand in JSON.
type column struct {
	// key is `"name":` as the encoder writes it, the usual case.
	key  []byte
	form form
}

// form says which JSON values a column takes.
type form uint8

const (
	formString  form = iota // "…"
	formNumber              // 12.5
	formDecimal             // "12.50" or 12.50
	formBoolean             // true
	formAny                 // an embedded document
)

func formOf(t arrow.DataType) form {
	switch t.ID() {
	case arrow.DECIMAL128, arrow.DECIMAL256:
		return formDecimal
	case arrow.BOOL:
		return formBoolean
	case arrow.STRING, arrow.BINARY, arrow.DATE32, arrow.TIMESTAMP, arrow.DURATION:
		return formString
	}
	return formNumber
}

// Open opens the file.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	types := make([]string, len(s.fields))
	s.index = map[string]int{}
	s.seen = make([]int64, len(s.fields))
	for i, f := range s.fields {
		types[i] = s.settings.Columns[i].Type
		c := column{form: formOf(f.Type)}
		if types[i] == "json" && s.settings.JSONColumns == "embed" {
			c.form = formAny
		}
		c.key = append(format.AppendJSON([]byte{'"'}, []byte(f.Name)), `":`...)
		s.columns = append(s.columns, c)
		s.index[f.Name] = i
	}
	if err := s.OpenFile(ctx, s.settings.Path, s.settings.Compression, s.settings.MaxRecord); err != nil {
		return nil, err
	}
	return s.Begin(s.env, s.fields, types, s.line)
}

// line reads one line into the table.
func (s *source) line(ctx context.Context) error {
	from := 0
	for {
		window := s.File.Window()
		if end := bytes.IndexByte(window[from:], '\n'); end >= 0 {
			return s.row(window[:from+end], from+end+1)
		}
		from = len(window)
		switch err := s.File.Fill(ctx); {
		case err == io.EOF:
			if window = s.File.Window(); len(window) > 0 {
				return s.row(window, len(window))
			}
			return io.EOF
		case err != nil:
			return err
		}
	}
}

// row reads an object into the table; size is that of the line with its end.
func (s *source) row(line []byte, size int) error {
	s.lines++
	t := s.Table
	p := parser{b: line}
	if !p.next('{') {
		if len(bytes.TrimSpace(line)) == 0 {
			return t.Malformed(s.lines, "the line is blank; expected a JSON object")
		}
		return s.malformed(&p, "expected a JSON object")
	}
	found, expected := 0, 0
	for first := true; ; first = false {
		if first && p.next('}') {
			break
		}
		index, err := s.key(&p, expected)
		if err != nil {
			return err
		}
		if s.seen[index] == s.lines {
			return t.Malformed(s.lines, "the key %q comes twice", s.fields[index].Name)
		}
		s.seen[index] = s.lines
		found++
		expected = index + 1
		if err := s.value(&p, index); err != nil {
			return err
		}
		if p.next(',') {
			continue
		}
		if p.next('}') {
			break
		}
		return s.malformed(&p, "expected a comma or the end of the object")
	}
	if !p.end() {
		return s.malformed(&p, "something follows the object")
	}
	if found < len(s.columns) {
		for i, c := range t.Columns {
			if s.seen[i] != s.lines {
				if !c.Field.Nullable {
					return t.Null(s.lines, i)
				}
				c.AppendNull()
			}
		}
	}
	t.EndRow(size)
	s.File.Discard(size)
	return nil
}

func (s *source) malformed(p *parser, what string) error {
	if p.problem != "" {
		what = p.problem
	}
	return s.Table.Malformed(s.lines, "at byte %d: %s", p.at+1, what)
}

// key reads a key and its colon, and finds the column. Keys mostly come in the
// order of the columns.
func (s *source) key(p *parser, expected int) (int, error) {
	p.space()
	if expected < len(s.columns) {
		if key := s.columns[expected].key; bytes.HasPrefix(p.b[p.at:], key) {
			p.at += len(key)
			return expected, nil
		}
	}
	at := p.at
	text, ok := p.text(&s.text)
	if !ok {
		return 0, s.malformed(p, "expected a key in quotes")
	}
	index, known := s.index[string(text)]
	if !known {
		name := string(text)
		if r := []rune(name); len(r) > 100 {
			name = string(r[:100]) + "…"
		}
		var names []string
		for _, f := range s.fields {
			names = append(names, f.Name)
		}
		f := fault.From(s.Table.Malformed(s.lines, "at byte %d: the key %q is not among the columns%s", at+1, name, naming.DidYouMean(name, names)))
		f.Code = "file.unknown_column"
		return 0, f.WithHint("columns names every key of the file; the filter columns drops some of them afterwards")
	}
	if !p.next(':') {
		return 0, s.malformed(p, "expected a colon after the key")
	}
	return index, nil
}

// value reads a value into its column.
func (s *source) value(p *parser, index int) error {
	c := s.Table.Columns[index]
	p.space()
	if bytes.HasPrefix(p.b[p.at:], null) {
		p.at += len(null)
		if !c.Field.Nullable {
			return s.Table.Null(s.lines, index)
		}
		c.AppendNull()
		return nil
	}
	var text []byte
	var ok bool
	form, what := s.columns[index].form, ""
	switch {
	case form == formAny:
		from := p.at
		ok, what = p.value(0), "a JSON value"
		text = p.b[from:p.at]
	case form == formString || form == formDecimal && p.at < len(p.b) && p.b[p.at] == '"':
		text, ok = p.text(&s.text)
		what = "a string"
	case form == formBoolean:
		from := p.at
		ok, what = p.literal("true") || p.literal("false"), "true or false"
		text = p.b[from:p.at]
	default:
		text, ok = p.number()
		what = "a number"
		if form == formDecimal {
			what = "a string or a number"
		}
	}
	if !ok {
		return s.malformed(p, "column \""+c.Field.Name+"\" takes "+what+" or null")
	}
	if status := c.Append(text); status != parse.OK {
		return s.Table.Value(s.lines, index, status)
	}
	return nil
}

var null = []byte("null")
