package pipelinetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// rowsName is the file of a case's rows in its private folder.
const rowsName = "rows.ndjson"

// sourceOf names the stage that reads a file of rows.
func sourceOf(name string) (string, bool) {
	switch filepath.Ext(name) {
	case ".ndjson":
		return rowsSource, true
	case ".csv":
		return csvSource, true
	}
	return "", false
}

// source is the stage that delivers the rows of a case.
func (t *tester) source(c *document.Case, dir string) (engine.StandIn, error) {
	var columns []any
	for _, column := range t.columns(c) {
		columns = append(columns, map[string]any{"name": column.Name, "type": column.Type.String(), "nullable": column.Nullable})
	}
	path := filepath.Join(dir, rowsName)
	if c.RowsFile != nil {
		var err error
		if path, err = filepath.Abs(t.beside(c.RowsFile.Text)); err != nil {
			return engine.StandIn{}, err
		}
	} else if err := os.WriteFile(path, encodeRows(c.Rows), 0o600); err != nil {
		return engine.StandIn{}, err
	}
	use, _ := sourceOf(path)
	return engine.StandIn{Use: use, Config: map[string]any{"path": path, "columns": columns, "compression": "none"}}, nil
}

// takes says which values a column type takes in YAML.
func takes(t document.ColumnType) []document.Kind {
	switch t.Name {
	case "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64":
		return []document.Kind{document.Number}
	case "decimal":
		return []document.Kind{document.Number, document.Text}
	case "boolean":
		return []document.Kind{document.Boolean}
	}
	return []document.Kind{document.Text}
}

// checkRow finds columns that do not exist and values of the wrong kind. Whether a
// value is one of its type is for the source to say.
func checkRow(row *document.Node, columns []document.Column, diags *diag.List) {
	for _, e := range row.Entries {
		i := slices.IndexFunc(columns, func(c document.Column) bool { return c.Name == e.Key.Text })
		if i < 0 {
			var names []string
			for _, c := range columns {
				names = append(names, c.Name)
			}
			diags.Add(diag.At(e.Key.At, CodeUnknownColumn, "the rows have no column %q", diag.Printable(e.Key.Text)).WithSuggestion(e.Key.Text, names))
			continue
		}
		kinds := takes(columns[i].Type)
		if e.Value.Kind == document.Null || slices.Contains(kinds, e.Value.Kind) {
			continue
		}
		d := diag.At(e.Value.At, CodeWrongValue, "column %q is %s and takes %s, not %s", e.Key.Text, columns[i].Type,
			kinds[0], e.Value.Kind)
		if kinds[0] == document.Text {
			d = d.WithHint("put it in quotes")
		}
		diags.Add(d)
	}
}

// encodeRows writes rows as NDJSON. Numbers keep every digit: they go from text to
// text.
func encodeRows(rows []*document.Node) []byte {
	var b bytes.Buffer
	for _, row := range rows {
		b.WriteByte('{')
		for i, e := range row.Entries {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(encodeText(e.Key.Text))
			b.WriteByte(':')
			b.Write(encodeScalar(e.Value))
		}
		b.WriteString("}\n")
	}
	return b.Bytes()
}

func encodeScalar(n *document.Node) []byte {
	switch v := n.Value.(type) {
	case nil:
		return []byte("null")
	case string:
		return encodeText(v)
	default: // bool, int64, uint64, json.Number
		return fmt.Append(nil, v)
	}
}

func encodeText(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // text can always be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
