// Package jsonrow encodes the rows of record batches as JSON objects (RFC 8259).
// It owns the object: keys, separators, quotes, null and the policies for what
// JSON cannot hold; the encoders ndjson and json own what stands between objects.
// It never spells a value itself (package format does) and never buffers rows.
package jsonrow

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of both JSON encoders.
type Settings struct {
	InvalidUTF8 string `config:"invalid_utf8" enum:"error,replace" default:"error" doc:"What happens to text that is not valid UTF-8: the run fails, or each bad byte becomes U+FFFD and the value is counted."`
	JSONColumns string `config:"json_columns" enum:"text,embed" default:"text" doc:"How columns of JSON documents are written: as a string that holds the document exactly, or embedded as JSON with insignificant white space removed."`
}

// Doc describes the values, for the documentation of a stage.
const Doc = `Columns keep the order of the schema. Integers are JSON numbers, 64-bit ones too; booleans are
true and false; floats are the shortest number that reads back the same, and NaN and the
infinities fail the run. Decimals are strings in fixed-point notation with exactly the
column's scale: "148.4000". Dates are "YYYY-MM-DD", timestamps "YYYY-MM-DD HH:MM:SS" with as many
fractional digits as the column declares and no zone (instants in local time of the column's zone, see the counter doubled_hours), times and durations
"[-]HH:MM:SS". Binary is base64 with padding. NULL is null.

Two columns of one name fail the run, because most readers would keep one of them.`

// keyWidth is how much of a key is copied at once, whatever its length.
const keyWidth = 32

// cell is what stands before and after the values of a column.
type cell struct {
	// key is `,"name":`, with the quote that opens a quoted value; without the comma
	// in the first column. null is the same followed by null.
	key, null literal
	// closes is 1 if the value ends in a quote.
	closes int
	// needs is the room for the widest fixed value with its key, and for what
	// copying in whole words may touch behind it.
	needs int
	embed bool
}

// literal is a constant text that is copied fast.
type literal struct {
	head  [keyWidth]byte
	width int
	all   string
}

func newLiteral(text string) literal {
	l := literal{width: len(text), all: text}
	copy(l.head[:], text)
	return l
}

func (l *literal) put(b []byte, n int) int {
	*(*[keyWidth]byte)(b[n:]) = l.head
	if l.width > keyWidth {
		copy(b[n:], l.all)
	}
	return n + l.width
}

// Encoder encodes batches of one schema. It is safe for concurrent use.
type Encoder struct {
	table   *format.Table
	cells   []cell
	needs   int
	replace bool
	count   func(name string, n int64)
}

// New prepares the encoding of batches with that schema. It fails with the fault
// "encoder.duplicate_column", "encoder.invalid_name" or one of format.ColumnsOf.
func New(schema *arrow.Schema, settings Settings, count func(name string, n int64)) (*Encoder, error) {
	table, err := format.NewTable(schema)
	if err != nil {
		return nil, err
	}
	table.Count = count
	e := &Encoder{table: table, replace: settings.InvalidUTF8 == format.PolicyReplace, count: count}
	e.needs = len("{}\n,") + format.Slack
	seen := map[string]int{}
	for i, c := range table.Columns() {
		if other, ok := seen[c.Name]; ok {
			return nil, fault.New("encoder.duplicate_column", fault.Usage,
				"columns %d and %d are both named %q; a JSON object needs distinct names", other+1, i+1, c.Name).
				WithHint("rename one of them with the columns filter: rename: {%q: NEW_NAME}", c.Name+"#2")
		}
		seen[c.Name] = i
		if !utf8.ValidString(c.Name) {
			return nil, fault.New("encoder.invalid_name", fault.Data, "the name of column %d is not valid UTF-8: %q", i+1, c.Name).
				WithHint("rename it in the query")
		}
		e.cells = append(e.cells, e.newCell(&c, i, settings))
		e.needs += e.cells[i].needs
	}
	return e, nil
}

func (e *Encoder) newCell(c *format.Column, index int, settings Settings) cell {
	key := `"` + string(format.AppendJSON(nil, []byte(c.Name))) + `":`
	if index > 0 {
		key = "," + key
	}
	var l cell
	l.embed = c.JSON && settings.JSONColumns == "embed"
	l.null = newLiteral(key + "null")
	switch c.Class {
	case format.Quoted, format.Text, format.Binary:
		if !l.embed {
			key += `"`
			l.closes = 1
		}
	}
	l.key = newLiteral(key)
	l.needs = max(l.null.width, keyWidth) + c.Max + 1 + format.Slack
	return l
}

// AppendLines appends every row as an object and a line feed, each a record of out.
func (e *Encoder) AppendLines(rows sdk.Rows, out *sdk.Output) error {
	return e.append(rows, out, true)
}

// AppendElements appends every row as an object, with a comma before each but the
// first of the stream.
func (e *Encoder) AppendElements(rows sdk.Rows, out *sdk.Output) error {
	return e.append(rows, out, false)
}

func (e *Encoder) append(rows sdk.Rows, out *sdk.Output, lines bool) error {
	l, err := e.table.Load(rows)
	if err != nil {
		return err
	}
	defer e.table.Unload(l)

	b, n := out.Data[:cap(out.Data)], len(out.Data)
	// Keep what was written even on failure: the output stays well formed.
	defer func() { out.Data = b[:n] }()
	columns := l.Columns
	cells := e.cells[:len(columns)]
	ending := 1
	if lines {
		ending = 2
	}
	all := int(rows.NumRows())
	for row := range all {
		b = format.ReserveRows(b, n, e.needs, row, all)
		at := n
		if !lines && rows.First+int64(row) > 0 {
			b[at] = ','
			at++
		}
		b[at] = '{'
		at++
		for i := range columns {
			c, cell := &columns[i], &cells[i]
			if c.IsNull(row) {
				at = cell.null.put(b, at)
				continue
			}
			at = cell.key.put(b, at)
			switch c.Class {
			case format.Float:
				if !c.Finite(row) {
					return format.NotANumber(c.Name, rows.First+int64(row))
				}
				at = c.PutFixed(b, at, row)
			case format.Number, format.Quoted:
				if at = c.PutFixed(b, at, row); at < 0 {
					return format.InexactFraction(c.Name, rows.First+int64(row))
				}
			case format.Text:
				data, from, to := c.Span(row)
				b = format.ReserveRows(b, at, to-from+e.needs, row, all)
				var plain bool
				if !cell.embed {
					at, plain = format.PutPlain(b, at, data, from, to, format.PlainJSON)
				}
				if !plain {
					grown, err := e.appendText(b[:at], data[from:to], l, cell, c, rows.First+int64(row))
					if err != nil {
						return err
					}
					at = len(grown)
					b = format.ReserveRows(grown[:cap(grown)], at, e.needs, row, all)
				}
			case format.Binary:
				data, from, to := c.Span(row)
				b = format.ReserveRows(b, at, format.Base64Len(to-from)+e.needs, row, all)
				at = format.PutBase64(b, at, data[from:to])
			}
			b[at] = '"'
			at += cell.closes
		}
		b[at], b[at+1] = '}', '\n'
		n = at + ending
		if lines {
			out.Ends = append(out.Ends, n)
		}
	}
	return nil
}

// appendText appends what PutPlain cannot: the inside of a string with escapes or
// characters beyond ASCII, or an embedded document.
func (e *Encoder) appendText(dst, text []byte, l *format.Loaded, cell *cell, c *format.Column,
	row int64) ([]byte, error) {
	if !utf8.Valid(text) {
		if !e.replace {
			return nil, format.InvalidUTF8(c.Name, row)
		}
		e.count(format.CounterInvalidUTF8, 1)
		l.Scratch = format.AppendValid(l.Scratch[:0], text)
		text = l.Scratch
	}
	if !cell.embed {
		return format.AppendJSON(dst, text), nil
	}
	// Compact checks that text is one JSON value. White space must go, or a line feed
	// in a document would end the line.
	buffer := bytes.NewBuffer(dst)
	if err := json.Compact(buffer, text); err != nil {
		// The decoder's own message quotes the document.
		return nil, format.InvalidJSON(c.Name, row)
	}
	return buffer.Bytes(), nil
}
