package snapshot

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeID is the code of ids that cannot be those of a table's rows.
const CodeID = "changes.id"

// labelled says that a column is in the order of the numbers of its labels, and not of their texts.
func labelled(c *row.Column) bool { return c.DataType == "enum" || c.DataType == "set" }

// operand is the left side of a comparison that follows the key's order, and place what stands for a value there.
func operand(c *row.Column) string {
	if labelled(c) {
		return "CAST(" + mysql.QuoteName(c.Name) + " AS UNSIGNED)"
	}
	return mysql.QuoteName(c.Name)
}

// place is a question mark for a value of the column, in its character set and collation: otherwise the server may compare
// in those of the session, in another order than that of the key.
func place(c *row.Column, number bool) string {
	if c.Collation == "" || c.Charset == "" || number {
		return "?"
	}
	return "CONVERT(? USING " + c.Charset + ") COLLATE " + c.Collation
}

// behind is the condition of rows behind a key, and how often it takes each part of the key, in order.
func behind(key []row.Column) (condition string, parts []int) {
	var either []string
	for last := range key {
		var all []string
		for i := range last + 1 {
			sign := " = "
			if i == last {
				sign = " > "
			}
			all = append(all, operand(&key[i])+sign+place(&key[i], labelled(&key[i])))
			parts = append(parts, i)
		}
		either = append(either, "("+strings.Join(all, " AND ")+")")
	}
	if len(key) == 1 {
		return either[0], parts
	}
	// The first part alone is a range that both servers find.
	return operand(&key[0]) + " >= " + place(&key[0], labelled(&key[0])) + " AND (" + strings.Join(either, " OR ") + ")", slices.Insert(parts, 0, 0)
}

// split reads an id (changes.AppendID) of so many parts; false is what is none.
func split(id string, n int) (parts []string, ok bool) {
	var part []byte
	for i := 0; i < len(id); i++ {
		switch id[i] {
		case '\\':
			if i++; i == len(id) || id[i] != '\\' && id[i] != ':' {
				return nil, false
			}
			part = append(part, id[i])
		case ':':
			parts, part = append(parts, string(part)), nil
		default:
			part = append(part, id[i])
		}
	}
	parts = append(parts, string(part))
	return parts, len(parts) == n
}

// The types whose values are bytes, and those that are numbers without a point.
var (
	bytesTypes = []string{"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
	wholeTypes = []string{"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"}
)

// argument is the value that a part of an id stands for. Number says that a label is given by its number.
func argument(c *row.Column, part string, number bool) (arg any, ok bool) {
	switch {
	case number && labelled(c), slices.Contains(wholeTypes, c.DataType):
		return json.Number(part), isWhole(part)
	case c.DataType == "decimal":
		return json.Number(part), isWhole(strings.Replace(part, ".", "", 1))
	case c.DataType == "float":
		v, err := strconv.ParseFloat(part, 32)
		return v, err == nil
	case c.DataType == "double":
		v, err := strconv.ParseFloat(part, 64)
		return v, err == nil
	case slices.Contains(bytesTypes, c.DataType):
		b, err := base64.StdEncoding.DecodeString(part)
		return b, err == nil
	}
	return part, true
}

func isWhole(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	return digits != "" && len(digits) <= 80 && strings.Trim(digits, "0123456789") == ""
}

// arguments are the values of an id's parts.
func (t *Table) arguments(id string, number bool) ([]any, error) {
	parts, ok := split(id, len(t.Key))
	args := make([]any, len(t.Key))
	for i := range t.Key {
		if ok {
			args[i], ok = argument(&t.Key[i], parts[i], number)
		}
	}
	if !ok {
		// The id itself is of a row, which a message is not told.
		return nil, fault.New(CodeID, fault.Usage, "an id of %d bytes is none of the table %s.%s, whose key has %d columns",
			len(id), t.Database, t.Name, len(t.Key)).
			WithHint("the table's key is another one than when the id was given: reset the stream from 0")
	}
	return args, nil
}
