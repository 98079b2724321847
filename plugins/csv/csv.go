// Package csv is the encoder stage that writes comma-separated values (RFC 4180).
// It owns lines, separators, quotes, the header and the guard against formulas; it
// never spells a value itself (package format does) and never buffers rows.
package csv

import (
	"context"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/sdk"
)

// Settings are the settings of the stage.
type Settings struct {
	Header       bool   `config:"header" default:"true" doc:"Begin with a line of column names."`
	Delimiter    string `config:"delimiter" enum:"comma,semicolon,tab,pipe" default:"comma" doc:"What separates fields."`
	LineEnd      string `config:"line_end" enum:"crlf,lf" default:"crlf" doc:"What ends a line; RFC 4180 says crlf."`
	FormulaGuard bool   `config:"formula_guard" doc:"Put an apostrophe before text that a spreadsheet would run as a formula: text that begins with = + - @, a tab or a carriage return. The file then no longer holds the exact text."`
	InvalidUTF8  string `config:"invalid_utf8" enum:"error,replace" default:"error" doc:"What happens to text that is not valid UTF-8: the run fails, or each bad byte becomes U+FFFD and the value is counted."`
}

const doc = `Writes RFC 4180: a header line, CRLF line ends, quotes only where a field needs them (it holds
the delimiter, a quote or a line break, or begins or ends with a space). The header line is a
record of its own.

NULL is an empty field; the empty text is ` + "`\"\"`" + `. In a table of one column NULL is ` + "`\"\"`" + ` too, because
most readers skip an empty line.

Columns keep the order of the schema. Booleans are true and false; floats are the shortest
number that reads back the same, or NaN, Infinity, -Infinity. Decimals are in fixed-point notation with
exactly the column's scale. Dates are "YYYY-MM-DD", timestamps "YYYY-MM-DD HH:MM:SS" with as many fractional digits
as the column declares and no zone (instants in local time of the column's zone, see the counter doubled_hours), times and durations "[-]HH:MM:SS".
Binary is base64 with padding.`

// Stage defines the encoder.
func Stage() sdk.Definition {
	return sdk.DefineEncoder(sdk.About{
		Name:       "csv",
		Summary:    "Writes comma-separated values (RFC 4180).",
		Doc:        doc,
		Out:        sdk.ShapeRecords,
		Concurrent: true,
	}, newEncoder)
}

func newEncoder(s Settings, env sdk.Env) (sdk.Encoder, error) {
	e := &encoder{settings: s, count: env.Count, lineEnd: "\r\n"}
	e.separator = map[string]byte{"comma": ',', "semicolon": ';', "tab": '\t', "pipe": '|'}[s.Delimiter]
	e.plain = format.PlainWithout(e.separator)
	if s.LineEnd == "lf" {
		e.lineEnd = "\n"
	}
	return e, nil
}

type encoder struct {
	settings  Settings
	count     func(string, int64)
	separator byte
	plain     format.Plain
	lineEnd   string

	table *format.Table
	// needs is the room for a line's fixed values, separators and end, and for what
	// copying in whole words may touch behind it.
	needs int
}

func (e *encoder) Bind(in *arrow.Schema) (sdk.Media, error) {
	media := sdk.Media{Type: "text/csv", Extension: ".csv"}
	table, err := format.NewTable(in)
	if err != nil {
		return media, err
	}
	e.table, table.Count = table, e.count
	e.needs = len("\r\n") + format.Slack
	for _, c := range table.Columns() {
		e.needs += c.Max + len(`,""`)
	}
	return media, nil
}

func (e *encoder) Begin(out *sdk.Output) error {
	columns := e.table.Columns()
	if !e.settings.Header {
		return nil
	}
	for i, c := range columns {
		if i > 0 {
			out.Data = append(out.Data, e.separator)
		}
		name := []byte(c.Name)
		if !utf8.Valid(name) {
			name = format.AppendValid(nil, name)
		}
		out.Data = e.appendField(out.Data, name)
	}
	out.Data = append(out.Data, e.lineEnd...)
	out.EndRecord()
	return nil
}

func (e *encoder) Encode(_ context.Context, rows sdk.Rows, out *sdk.Output) error {
	l, err := e.table.Load(rows)
	if err != nil {
		return err
	}
	defer e.table.Unload(l)

	b, n := out.Data[:cap(out.Data)], len(out.Data)
	// Keep what was written even on failure: the output stays well formed.
	defer func() { out.Data = b[:n] }()
	single := len(l.Columns) == 1
	all := int(rows.NumRows())
	for row := range all {
		b = format.ReserveRows(b, n, e.needs, row, all)
		at := n
		for i := range l.Columns {
			c := &l.Columns[i]
			b[at] = e.separator
			if i > 0 {
				at++
			}
			if c.IsNull(row) {
				if single {
					at += copy(b[at:], `""`)
				}
				continue
			}
			switch c.Class {
			case format.Number, format.Float, format.Quoted:
				if at = c.PutFixed(b, at, row); at < 0 {
					return format.InexactFraction(c.Name, rows.First+int64(row))
				}
			case format.Text:
				data, from, to := c.Span(row)
				b = format.ReserveRows(b, at, to-from+e.needs, row, all)
				if e.isPlain(data, from, to) {
					var plain bool
					if at, plain = format.PutPlain(b, at, data, from, to, e.plain); plain {
						continue
					}
				}
				text := data[from:to]
				if !utf8.Valid(text) {
					if e.settings.InvalidUTF8 != format.PolicyReplace {
						return format.InvalidUTF8(c.Name, rows.First+int64(row))
					}
					e.count(format.CounterInvalidUTF8, 1)
					l.Scratch = format.AppendValid(l.Scratch[:0], text)
					text = l.Scratch
				}
				grown := e.appendField(b[:at], text)
				at = len(grown)
				b = format.ReserveRows(grown[:cap(grown)], at, e.needs, row, all)
			case format.Binary:
				data, from, to := c.Span(row)
				b = format.ReserveRows(b, at, format.Base64Len(to-from)+e.needs, row, all)
				if from == to {
					// Empty binary is no more NULL than empty text is.
					at += copy(b[at:], `""`)
					continue
				}
				at = format.PutBase64(b, at, data[from:to])
			}
		}
		at += copy(b[at:], e.lineEnd)
		n = at
		out.Ends = append(out.Ends, n)
	}
	return nil
}

func (e *encoder) End(sdk.Totals, *sdk.Output) error { return nil }

// isPlain reports whether the ends of a text allow it to stand without quotes; its
// bytes are for PutPlain to judge.
func (e *encoder) isPlain(data []byte, from, to int) bool {
	return from < to && data[from] != ' ' && data[to-1] != ' ' && !(e.settings.FormulaGuard && startsFormula(data[from]))
}

// startsFormula reports whether spreadsheets take a cell that begins with c for a
// formula (OWASP, "CSV Injection").
func startsFormula(c byte) bool {
	switch c {
	case '=', '+', '-', '@', '\t', '\r':
		return true
	}
	return false
}

// appendField appends a text, which is valid UTF-8, with quotes where it needs them.
func (e *encoder) appendField(dst, text []byte) []byte {
	guard := e.settings.FormulaGuard && len(text) > 0 && startsFormula(text[0])
	if !e.needsQuotes(text) {
		if guard {
			dst = append(dst, '\'')
		}
		return append(dst, text...)
	}
	dst = append(dst, '"')
	if guard {
		dst = append(dst, '\'')
	}
	start := 0
	for i, c := range text {
		if c == '"' {
			dst = append(dst, text[start:i+1]...)
			start = i
		}
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

func (e *encoder) needsQuotes(text []byte) bool {
	if len(text) == 0 || text[0] == ' ' || text[len(text)-1] == ' ' {
		return true
	}
	for _, c := range text {
		if c == e.separator || c == '"' || c == '\r' || c == '\n' {
			return true
		}
	}
	return false
}
