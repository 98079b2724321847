package suite

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// cells writes a batch down, a line for each row, so that equal batches have equal texts, however they lie in memory.
// It keeps no reference to the batch.
func cells(rec arrow.Record) []string {
	lines := make([]string, rec.NumRows())
	var b strings.Builder
	for row := range lines {
		b.Reset()
		for _, column := range rec.Columns() {
			b.WriteString(cell(column, row))
			b.WriteByte('|')
		}
		lines[row] = b.String()
	}
	return lines
}

func cell(column arrow.Array, row int) string {
	if column.IsNull(row) {
		return "NULL"
	}
	switch c := column.(type) {
	case *array.String:
		return strconv.Quote(c.Value(row))
	case *array.LargeString:
		return strconv.Quote(c.Value(row))
	case *array.Binary:
		return strconv.Quote(string(c.Value(row)))
	case *array.LargeBinary:
		return strconv.Quote(string(c.Value(row)))
	case *array.Float32:
		return strconv.FormatUint(uint64(math.Float32bits(c.Value(row))), 16)
	case *array.Float64:
		return strconv.FormatUint(math.Float64bits(c.Value(row)), 16)
	// Arrow's own text of decimals goes through a float.
	case *array.Decimal128:
		v := c.Value(row)
		return fmt.Sprint(v.HighBits(), ":", v.LowBits())
	case *array.Decimal256:
		v := c.Value(row)
		return fmt.Sprint(v.Array())
	case *array.Timestamp:
		return strconv.FormatInt(int64(c.Value(row)), 10)
	}
	return strings.Clone(column.ValueStr(row))
}

// differs says where two streams of batches differ first; the batches' bounds count.
func differs(got, want [][]string) string {
	for i := range min(len(got), len(want)) {
		if len(got[i]) != len(want[i]) {
			return fmt.Sprintf("batch %d has %d rows in one run and %d in the other", i+1, len(got[i]), len(want[i]))
		}
		for row := range got[i] {
			if got[i][row] != want[i][row] {
				return fmt.Sprintf("batch %d, row %d: %s in one run and %s in the other", i+1, row+1,
					short(got[i][row]), short(want[i][row]))
			}
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d batches in one run and %d in the other", len(got), len(want))
	}
	return ""
}

// differsBytes says where two outputs differ first.
func differsBytes(got, want [][]byte) string {
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		at := 0
		for at < min(len(g), len(w)) && g[at] == w[at] {
			at++
		}
		if at < len(g) || at < len(w) {
			around := func(b []byte) string { return short(strconv.Quote(string(b[max(0, at-10):min(len(b), at+30)]))) }
			return fmt.Sprintf("piece %d differs at byte %d: %s in one run and %s in the other", i+1, at, around(g),
				around(w))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d pieces in one run and %d in the other", len(got), len(want))
	}
	return ""
}

func short(text string) string {
	if len(text) > 120 {
		return text[:120] + "…"
	}
	return text
}

// schemaBreach compares a delivered batch with the declared schema.
func schemaBreach(rec arrow.Record, declared *arrow.Schema) string {
	got := rec.Schema()
	if got.NumFields() != declared.NumFields() {
		return fmt.Sprintf("a batch has %d columns; %d were declared", got.NumFields(), declared.NumFields())
	}
	if int(rec.NumCols()) != declared.NumFields() {
		return fmt.Sprintf("a batch holds %d columns and its schema %d", rec.NumCols(), got.NumFields())
	}
	for i, want := range declared.Fields() {
		f, column := got.Field(i), rec.Column(i)
		switch {
		case f.Name != want.Name:
			return fmt.Sprintf("column %d is called %q; %q was declared", i+1, f.Name, want.Name)
		case !arrow.TypeEqual(f.Type, want.Type):
			return fmt.Sprintf("column %q is %s in a batch; %s was declared", f.Name, f.Type, want.Type)
		case !arrow.TypeEqual(column.DataType(), want.Type):
			return fmt.Sprintf("column %q holds %s; %s was declared", f.Name, column.DataType(), want.Type)
		case int64(column.Len()) != rec.NumRows():
			return fmt.Sprintf("column %q has %d values in a batch of %d rows", f.Name, column.Len(), rec.NumRows())
		case !want.Nullable && column.NullN() > 0:
			return fmt.Sprintf("column %q holds nulls, but is declared to have none", f.Name)
		}
	}
	return ""
}
