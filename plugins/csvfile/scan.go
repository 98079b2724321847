package csvfile

import (
	"bytes"
	"context"
	"io"
)

// span is a field: data[from:to] without the quotes around it. With escapes, it
// holds doubled quotes.
type span struct {
	from, to        int
	quoted, escapes bool
}

// record is what scan found; its fields are in source.spans.
type record struct {
	data  []byte // the window
	size  int    // bytes of the record with its line end
	lines int    // line ends in the record; where there is a problem, those before it
	// problem says what is wrong with the record, if anything is.
	problem string
}

// outcome is how far a scan came.
type outcome uint8

const (
	complete outcome = iota
	partial          // the window ends within the record
	broken
)

// scan finds the next record. It returns io.EOF after the last one.
func (s *source) scan(ctx context.Context) (record, error) {
	ended := false
	for {
		data := s.File.Window()
		if len(data) == 0 && ended {
			return record{}, io.EOF
		}
		if len(data) > 0 {
			rec, result := s.split(data, ended)
			if result != partial {
				rec.data = data
				return rec, nil
			}
		}
		switch err := s.File.Fill(ctx); {
		case err == io.EOF:
			ended = true
		case err != nil:
			return record{}, err
		}
	}
}

// advance goes to the next record.
func (s *source) advance(rec record) {
	s.File.Discard(rec.size)
	s.line += int64(rec.lines)
}

var lineFeed = []byte("\n")

// split finds the fields of the record at the start of data. With ended, nothing
// comes after data.
func (s *source) split(data []byte, ended bool) (record, outcome) {
	s.spans = s.spans[:0]
	var rec record
	separator := s.separator
	at := 0
	for {
		var f span
		if at < len(data) && data[at] == '"' {
			f.quoted = true
			at++
			f.from = at
			for {
				inside := bytes.IndexByte(data[at:], '"')
				if inside < 0 {
					at = len(data)
				} else {
					rec.lines += bytes.Count(data[at:at+inside], lineFeed)
					at += inside
				}
				if at+1 < len(data) && data[at+1] == '"' {
					f.escapes = true
					at += 2
					continue
				}
				break
			}
			if at >= len(data) || at+1 == len(data) && !ended {
				if !ended {
					return rec, partial
				}
				// Tell about the quote, not about the end of the file.
				rec.lines = 0
				rec.problem = "a quote is opened and never closed"
				return rec, broken
			}
			f.to = at
			at++
		} else {
			f.from = at
			for at < len(data) && data[at] != separator && data[at] != '\n' && data[at] != '\r' && data[at] != '"' {
				at++
			}
			f.to = at
			if at < len(data) && data[at] == '"' {
				rec.problem = "a quote stands within a field that does not begin with one"
				return rec, broken
			}
		}
		s.spans = append(s.spans, f)
		if at == len(data) {
			if !ended {
				return rec, partial
			}
			rec.size = at
			return rec, complete
		}
		switch c := data[at]; {
		case c == separator:
			at++
			continue
		case c == '\n':
			rec.size = at + 1
			rec.lines++
			return rec, complete
		case c == '\r' && at+1 < len(data) && data[at+1] == '\n':
			rec.size = at + 2
			rec.lines++
			return rec, complete
		case c == '\r' && at+1 == len(data) && !ended:
			return rec, partial
		case c == '\r':
			rec.problem = "a carriage return stands alone, outside quotes"
		default:
			rec.problem = "something follows the quote that closes a field"
		}
		return rec, broken
	}
}

// field returns the text of a field, valid until the next call.
func (s *source) field(data []byte, f span) []byte {
	text := data[f.from:f.to]
	if !f.escapes {
		return text
	}
	s.text = s.text[:0]
	start := 0
	for i := 0; i < len(text); i++ {
		if text[i] == '"' {
			// Its double follows.
			s.text = append(s.text, text[start:i+1]...)
			i++
			start = i + 1
		}
	}
	s.text = append(s.text, text[start:]...)
	return s.text
}
