package values

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ReadNDJSON reads lines of JSON objects. A number is its text, so that no digit is lost.
func ReadNDJSON(file string) (Table, error) {
	rows := Table{}
	for line := range strings.Lines(file) {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			return nil, err
		}
		row := map[string]Cell{}
		for name, raw := range fields {
			row[name] = jsonCell(raw)
		}
		if err := rows.add(row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func jsonCell(raw json.RawMessage) Cell {
	var s string
	var marked struct{ Hex *string }
	switch {
	case string(raw) == "null":
		return Cell{Null: true}
	case json.Unmarshal(raw, &s) == nil:
		return Cell{Text: s}
	case strings.HasPrefix(string(raw), `{"hex"`) && json.Unmarshal(raw, &marked) == nil && marked.Hex != nil:
		if b, err := hex.DecodeString(*marked.Hex); err == nil {
			return Cell{Text: string(b)}
		}
	}
	return Cell{Text: string(raw)}
}

// add adds a row, which must have an id that no other has.
func (t Table) add(row map[string]Cell) error {
	id, err := strconv.ParseInt(row["id"].Text, 10, 64)
	if err != nil {
		return fmt.Errorf("a row has the id %.40q", row["id"].Text)
	}
	if _, doubled := t[id]; doubled {
		return fmt.Errorf("the row %d is there twice", id)
	}
	t[id] = row
	return nil
}

// ReadCSV reads CSV as RFC 4180 has it, with a header. An empty field without quotes is NULL, and an empty field in quotes is
// empty text, which encoding/csv does not tell apart.
func ReadCSV(file string) (Table, error) {
	rows, names := Table{}, []string(nil)
	for len(file) > 0 {
		record, rest, err := csvRecord(file)
		if err != nil {
			return nil, err
		}
		file = rest
		if names == nil {
			for _, c := range record {
				names = append(names, c.Text)
			}
			continue
		}
		if len(record) != len(names) {
			return nil, fmt.Errorf("row %d has %d fields, and the header %d", len(rows)+1, len(record), len(names))
		}
		row := map[string]Cell{}
		for i, c := range record {
			row[names[i]] = c
		}
		if err := rows.add(row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// csvRecord reads the first record of a file.
func csvRecord(file string) (record []Cell, rest string, err error) {
	for {
		var c Cell
		if strings.HasPrefix(file, `"`) {
			if c.Text, file, err = quoted(file[1:]); err != nil {
				return nil, "", err
			}
		} else {
			end := strings.IndexAny(file, ",\n")
			if end < 0 {
				end = len(file)
			}
			c.Text, file = file[:end], file[end:]
			if file == "" || file[0] == '\n' {
				c.Text = strings.TrimSuffix(c.Text, "\r")
			}
			c.Null = c.Text == ""
		}
		record = append(record, c)
		switch {
		case strings.HasPrefix(file, ","):
			file = file[1:]
		case file == "", file == "\r":
			return record, "", nil
		case strings.HasPrefix(file, "\n"):
			return record, file[1:], nil
		case strings.HasPrefix(file, "\r\n"):
			return record, file[2:], nil
		default:
			return nil, "", errors.New("there is text behind a field in quotes")
		}
	}
}

// quoted reads a field behind its first quote, to its last.
func quoted(s string) (text, rest string, err error) {
	var field strings.Builder
	for {
		before, after, found := strings.Cut(s, `"`)
		if !found {
			return "", "", errors.New("a field in quotes has no end")
		}
		field.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			return field.String(), after, nil
		}
		field.WriteByte('"')
		s = after[1:]
	}
}

// ReadTabs reads what SELECT … INTO OUTFILE writes by default, whose columns are id and those of Kinds: tabs between fields,
// a backslash before what would end one, \N for NULL.
func ReadTabs(file string) (Table, error) {
	rows := Table{}
	row, field, at, escaped, null := map[string]Cell{}, strings.Builder{}, 0, false, false
	end := func() error {
		name := "id"
		if at > len(Kinds) {
			return errors.New("a row has too many fields")
		}
		if at > 0 {
			name = Kinds[at-1].Column
		}
		row[name] = Cell{Null: null, Text: field.String()}
		field.Reset()
		at, null = at+1, false
		return nil
	}
	for i := range len(file) {
		c := file[i]
		switch {
		case escaped:
			escaped = false
			switch c {
			case 'N':
				null = field.Len() == 0
				if null {
					continue
				}
			case '0':
				c = 0
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'b':
				c = '\b'
			case 'Z':
				c = 26
			}
			field.WriteByte(c)
		case c == '\\':
			escaped = true
		case c == '\t', c == '\n':
			if err := end(); err != nil {
				return nil, err
			}
			if c == '\n' {
				if err := rows.add(row); err != nil {
					return nil, err
				}
				row, at = map[string]Cell{}, 0
			}
		default:
			field.WriteByte(c)
		}
	}
	if at > 0 || escaped || field.Len() > 0 {
		return nil, errors.New("the last row has no end")
	}
	return rows, nil
}
