// Package csvfile is the source stage that reads a file of comma-separated values
// (RFC 4180). It owns records, fields, quotes and the header; values are package
// parse's and files package textfile's. It never guesses a type, a delimiter or a
// character set.
package csvfile

import (
	"context"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"

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
	Columns     []textfile.Column `config:"columns" doc:"The columns and their types, in the order in which they are delivered. Without them every column is a nullable string, named by the header."`
	Header      bool              `config:"header" default:"true" doc:"The first record is names. With columns, they must be the same names, in any order."`
	Delimiter   string            `config:"delimiter" enum:"comma,semicolon,tab,pipe" default:"comma" doc:"What separates fields."`
	Compression string            `config:"compression" enum:"auto,none,gzip,zstd" default:"auto" doc:"How the file is compressed; auto goes by the ending of its name: .gz, .zst."`
	MaxRecord   config.Size       `config:"max_record" default:"16MiB" min:"1KiB" max:"1GiB" doc:"The longest record that is taken."`
}

const doc = `Reads what the encoder csv writes, and other files of RFC 4180. Records end with LF or CRLF; quotes
stand around a whole field or not at all; every record has as many fields as the first. A byte order
mark is skipped. Anything else fails the run and names the line.

A field that is empty is NULL; ` + "`\"\"`" + ` is the empty text. In a file of one column, whose NULL the encoder
writes as ` + "`\"\"`" + `, that is NULL unless the column is text, and a blank line is NULL.

Values are read exactly or refused, and spelled as the encoder spells them: decimals with a point and no
exponent, dates YYYY-MM-DD, timestamps YYYY-MM-DD HH:MM:SS with or without a fraction, booleans true and
false, binary as base64. Trailing zeros beyond a decimal's scale are fine, other digits are not.

` + parse.TypeDoc

// Stage defines the source.
func Stage() sdk.Definition {
	return sdk.DefineSource(sdk.About{
		Name:    "csv",
		Summary: "Reads a file of comma-separated values (RFC 4180).",
		Doc:     doc,
	}, newSource)
}

func newSource(s Settings, env sdk.Env) (sdk.Source, error) {
	if len(s.Columns) == 0 && !s.Header {
		return nil, fault.New("file.columns", fault.Usage, "neither columns nor a header name the columns").
			WithHint("list the columns in the setting columns")
	}
	fields, err := textfile.Fields(s.Columns)
	if err != nil {
		return nil, err
	}
	return &source{
		settings: s, env: env, fields: fields,
		separator: map[string]byte{"comma": ',', "semicolon": ';', "tab": '\t', "pipe": '|'}[s.Delimiter],
	}, nil
}

type source struct {
	settings  Settings
	env       sdk.Env
	fields    []arrow.Field
	separator byte

	textfile.Reader
	order []int // the column of each field of a record
	line  int64 // on which the next record begins, from 1
	spans []span
	text  []byte // a field without its quotes
}

// Open opens the file and reads the header.
func (s *source) Open(ctx context.Context) (*arrow.Schema, error) {
	if err := s.OpenFile(ctx, s.settings.Path, s.settings.Compression, s.settings.MaxRecord); err != nil {
		return nil, err
	}
	s.line = 1
	if s.settings.Header {
		if err := s.readHeader(ctx); err != nil {
			return nil, err
		}
	} else {
		for i := range s.fields {
			s.order = append(s.order, i)
		}
	}
	types := make([]string, len(s.fields))
	for i := range types {
		types[i] = "string"
		if len(s.settings.Columns) > 0 {
			types[i] = s.settings.Columns[i].Type
		}
	}
	return s.Begin(s.env, s.fields, types, s.row)
}

func (s *source) headerFault(message string, args ...any) *fault.Fault {
	f := fault.New("file.header", fault.Data, message, args...)
	f.Message = s.settings.Path + ": " + f.Message
	return f
}

// readHeader reads the names and finds the column of each.
func (s *source) readHeader(ctx context.Context) error {
	rec, err := s.scan(ctx)
	if err == io.EOF {
		return s.headerFault("the file is empty; expected a line of column names").
			WithHint("set header: false if it has none")
	}
	if err != nil {
		return err
	}
	if rec.problem != "" {
		return s.headerFault("line %d: %s", s.line+int64(rec.lines), rec.problem)
	}
	var names []string
	for _, f := range s.spans {
		name := string(s.field(rec.data, f))
		if !utf8.ValidString(name) {
			return s.headerFault("the name of column %d is not valid UTF-8", len(names)+1)
		}
		names = append(names, name)
	}
	s.advance(rec)
	if len(s.settings.Columns) == 0 {
		for i, name := range names {
			s.fields = append(s.fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true})
			s.order = append(s.order, i)
		}
		return nil
	}
	var declared []string
	for _, f := range s.fields {
		declared = append(declared, f.Name)
	}
	var problems []string
	for i, name := range names {
		column := slices.Index(declared, name)
		switch {
		case column < 0:
			problems = append(problems, "it has the column "+quote(name)+", which is not declared"+naming.DidYouMean(name, declared))
		case slices.Contains(names[:i], name):
			problems = append(problems, "it has two columns "+quote(name))
		}
		s.order = append(s.order, column)
	}
	for _, name := range declared {
		if !slices.Contains(names, name) {
			problems = append(problems, "it lacks the column "+quote(name)+naming.DidYouMean(name, names))
		}
	}
	if problems != nil {
		return s.headerFault("the header is not that of the declared columns: %s", strings.Join(problems, "; ")).
			WithHint("columns names every column of the file; the filter columns drops some of them afterwards")
	}
	return nil
}

func quote(name string) string {
	if r := []rune(name); len(r) > 100 {
		name = string(r[:100]) + "…"
	}
	return `"` + strings.ToValidUTF8(name, "\ufffd") + `"`
}

// row reads one record into the table.
func (s *source) row(ctx context.Context) error {
	rec, err := s.scan(ctx)
	if err != nil {
		return err
	}
	t := s.Table
	if rec.problem != "" {
		return t.Malformed(s.line+int64(rec.lines), "%s", rec.problem)
	}
	if len(s.spans) != len(s.order) {
		if f := s.spans[0]; len(s.spans) == 1 && f.from == f.to && !f.quoted {
			return t.Malformed(s.line, "the line is blank; expected %d fields", len(s.order))
		}
		return t.Malformed(s.line, "the record has %d fields; expected %d", len(s.spans), len(s.order))
	}
	single := len(s.order) == 1
	for i, f := range s.spans {
		index := s.order[i]
		c := t.Columns[index]
		if f.from == f.to && (!f.quoted || single && !c.Text) {
			if !c.Field.Nullable {
				return t.Null(s.line, index)
			}
			c.AppendNull()
			continue
		}
		text := s.field(rec.data, f)
		if c.Text && !utf8.Valid(text) {
			return t.InvalidUTF8(s.line, index)
		}
		if status := c.Append(text); status != parse.OK {
			return t.Value(s.line, index, status)
		}
	}
	t.EndRow(rec.size)
	s.advance(rec)
	return nil
}
