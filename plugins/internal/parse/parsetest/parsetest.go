// Package parsetest makes batches of the texts that a test is written in. It owns no type and no spelling: what a text is
// as a value, package parse says.
package parsetest

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// Table makes a batch of columns "name type" from rows of texts; "-" is NULL.
func Table(t testing.TB, columns []string, rows ...[]string) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	var arrays []arrow.Array
	for i, c := range columns {
		name, typeName, _ := strings.Cut(c, " ")
		f, err := parse.Retype(arrow.Field{Name: name, Nullable: true}, typeName)
		if err != nil {
			t.Fatal(err)
		}
		column, _ := parse.NewColumn(memory.DefaultAllocator, f)
		for _, row := range rows {
			if row[i] == "-" {
				column.AppendNull()
			} else if column.Append([]byte(row[i])) != parse.OK {
				t.Fatalf("%q is no %s", row[i], typeName)
			}
		}
		fields = append(fields, f)
		arrays = append(arrays, column.NewArray())
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), arrays, int64(len(rows)))
}
