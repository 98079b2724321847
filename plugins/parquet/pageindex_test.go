package parquet

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

// TestPageIndex reads every page with parquet-go, and holds its values against what the index
// says of it.
func TestPageIndex(t *testing.T) {
	record := variety(60_000)
	defer record.Release()
	for _, rowGroup := range []string{"256KiB", "8MiB"} {
		settings := fmt.Sprintf(`{"row_group":%q}`, rowGroup)
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), settings, sdk.Env{}), morsels(t, record, 2048)...)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parquet.OpenFile(bytes.NewReader(out.Data), int64(len(out.Data)))
		if err != nil {
			t.Fatal(err)
		}
		var pages int
		for _, group := range f.RowGroups() {
			for n, chunk := range group.ColumnChunks() {
				pages += checkPageIndex(t, f.Schema().Columns()[n][0], group, chunk)
			}
		}
		if groups := len(f.RowGroups()); rowGroup == "256KiB" && groups < 5 || pages < groups*int(record.NumCols()) {
			t.Errorf("%s: %d pages in %d row groups", rowGroup, pages, groups)
		}
	}
}

func checkPageIndex(t *testing.T, name string, group parquet.RowGroup, chunk parquet.ColumnChunk) (n int) {
	t.Helper()
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	bounds, err := chunk.ColumnIndex()
	// Of values that end in 0xFF, and of wide ones, there is no short bound.
	without := strings.HasPrefix(name, "wide") || strings.HasPrefix(name, "bytes") || strings.HasPrefix(name, "last")
	if (err != nil || bounds == nil) != without && !strings.HasPrefix(name, "last") {
		t.Fatalf("%s: bounds %v, %v", name, bounds, err)
	}
	pages := chunk.Pages()
	defer pages.Close()
	var row int64
	for ; ; n++ {
		page, err := pages.ReadPage()
		if err != nil {
			break
		}
		if first := offsets.FirstRowIndex(n); first != row {
			t.Errorf("%s, page %d: starts with row %d, and the index says %d", name, n, row, first)
		}
		row += page.NumRows()
		values := make([]parquet.Value, page.NumValues())
		if k, _ := page.Values().ReadValues(values); k != len(values) {
			t.Fatalf("%s, page %d: %d values of %d", name, n, k, len(values))
		}
		if bounds == nil || err != nil {
			continue
		}
		var nulls int64
		typ := chunk.Type()
		order := typ.Compare
		if name := strings.TrimSuffix(name, "_null"); name == "decimal" || name == "sum" {
			order = compareSigned // parquet-go's does not know the sign
		}
		for _, v := range values {
			switch {
			case v.IsNull():
				nulls++
			case order(v, bounds.MinValue(n)) < 0 || order(v, bounds.MaxValue(n)) > 0:
				t.Fatalf("%s, page %d: %v is not within %v and %v", name, n, v, bounds.MinValue(n), bounds.MaxValue(n))
			}
		}
		if bounds.NullCount(n) != nulls || bounds.NullPage(n) != (nulls == int64(len(values))) {
			t.Errorf("%s, page %d: %d nulls of %d, and the index says %d, %t",
				name, n, nulls, len(values), bounds.NullCount(n), bounds.NullPage(n))
		}
		if min := bounds.MinValue(n); min.Kind() == parquet.ByteArray && typ.LogicalType() != nil {
			lo, hi := min.ByteArray(), bounds.MaxValue(n).ByteArray()
			if !utf8.Valid(lo) || !utf8.Valid(hi) || len(lo) > 64 || len(hi) > 64+utf8.UTFMax {
				t.Errorf("%s, page %d: %q to %q", name, n, lo, hi)
			}
		}
	}
	if row != group.NumRows() || offsets.NumPages() != n {
		t.Errorf("%s: %d pages with %d rows; the row group has %d, and the index %d pages",
			name, n, row, group.NumRows(), offsets.NumPages())
	}
	if bounds != nil && strings.HasPrefix(name, "ascending") && !bounds.IsAscending() ||
		n > 1 && name == "descending" && !bounds.IsDescending() {
		t.Errorf("%s: the bounds are not said to be in order", name)
	}
	return n
}

// compareSigned compares numbers in two's complement.
func compareSigned(x, y parquet.Value) int {
	a, b := x.ByteArray(), y.ByteArray()
	if c := cmp.Compare(int8(a[0]), int8(b[0])); c != 0 {
		return c
	}
	return bytes.Compare(a, b)
}

// noise is a number without a pattern.
func noise(i int) uint64 { return rand.New(rand.NewPCG(uint64(i), 7)).Uint64() }

// TestIndexLimit has row groups with and without page indexes in one file.
func TestIndexLimit(t *testing.T) {
	record := variety(60_000)
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{"row_group":"256KiB"}`, sdk.Env{}).(*encoder)
	if _, err := e.Bind(record.Schema()); err != nil {
		t.Fatal(err)
	}
	e.groups.indexLimit = 20_000
	var out sdk.Output
	if err := e.Begin(&out); err != nil {
		t.Fatal(err)
	}
	for _, rows := range morsels(t, record, 2048) {
		if err := e.Encode(t.Context(), rows, &out); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.End(sdk.Totals{}, &out); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Data), int64(len(out.Data)))
	if err != nil {
		t.Fatal(err)
	}
	var with, without int
	for _, group := range f.Metadata().RowGroups {
		for _, c := range group.Columns {
			if with++; c.OffsetIndexOffset == 0 {
				with, without = with-1, without+1
			}
		}
	}
	columns := int(record.NumCols())
	if with == 0 || without == 0 || with%columns != 0 || len(e.groups.columnIndexes)+len(e.groups.offsetIndexes) > 40_000 {
		t.Errorf("%d chunks with a page index, %d without, of %d columns", with, without, columns)
	}
	compare(t, arrowTable(t, out.Data), record)
}

// TestNoBounds has a page of nothing but NaN, which has no bounds; a column index that
// invented some would hide rows.
func TestNoBounds(t *testing.T) {
	record := one(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, func(b array.Builder) {
		for i := range 2 * maxPageRows {
			v := math.NaN()
			if i > maxPageRows {
				v = float64(i)
			}
			b.(*array.Float64Builder).Append(v)
		}
	})
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), morsels(t, record, 2048)...)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Data), int64(len(out.Data)))
	if err != nil {
		t.Fatal(err)
	}
	chunk := f.Metadata().RowGroups[0].Columns[0]
	if chunk.ColumnIndexLength != 0 || chunk.OffsetIndexLength == 0 {
		t.Errorf("%+v", chunk)
	}
}

// TestLongBounds checks bounds that are cut: the lower one is a prefix, the upper one greater than all
// values, and neither is said to be exact.
func TestLongBounds(t *testing.T) {
	a, z := strings.Repeat("a", 62)+"ü and more", strings.Repeat("z", 70)
	for _, c := range []struct {
		values           []string
		lo, hi           string
		loExact, hiExact bool
		none             bool
	}{
		{[]string{"b", "a"}, "a", "b", true, true, false},
		{[]string{a, z}, strings.Repeat("a", 62) + "ü", strings.Repeat("z", 63) + "{", false, false, false},
		{[]string{a[:61] + "üxyz", "b"}, a[:61] + "üx", "b", false, true, false},
		{[]string{a[:61] + "漢", "b"}, strings.Repeat("a", 61) + "漢", "b", true, true, false},
		{[]string{"b", strings.Repeat("c", 63) + "漢x"}, "b", strings.Repeat("c", 62) + "d", true, false, false},
		{[]string{"b", "c\uD7FF" + strings.Repeat("\U0010FFFF", 20)}, "b", "c\uE000", true, false, false},
		{[]string{strings.Repeat("\U0010FFFF", 20)}, "", "", false, false, true},
		{[]string{z[:64], z}, z[:64], strings.Repeat("z", 63) + "{", true, false, false},
		{[]string{""}, "", "", true, true, false},
	} {
		b := bounds{order: orderBytes, text: true}
		half := bounds{order: orderBytes, text: true}
		for i, v := range c.values {
			b.addBytes([]byte(v), false)
			if i%2 == 1 {
				half.addBytes([]byte(v), false)
			}
		}
		b.merge(&half)
		e := b.encoded()
		if c.none {
			if e.lo != nil || e.hi != nil {
				t.Errorf("%q: %q to %q", c.values, e.lo, e.hi)
			}
			continue
		}
		if string(e.lo) != c.lo || string(e.hi) != c.hi || e.loExact != c.loExact || e.hiExact != c.hiExact {
			t.Errorf("%q: %q (%t) to %q (%t), want %q (%t) to %q (%t)",
				c.values, e.lo, e.loExact, e.hi, e.hiExact, c.lo, c.loExact, c.hi, c.hiExact)
		}
	}
}

// encodings returns how the data pages of a column are encoded, by row group.
func encodings(t *testing.T, data []byte, name string) (all [][]format.Encoding) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range f.Metadata().RowGroups {
		for _, c := range group.Columns {
			if c.MetaData.PathInSchema[0] != name {
				continue
			}
			var list []format.Encoding
			for _, s := range c.MetaData.EncodingStats {
				if s.PageType == format.DataPage {
					list = append(list, s.Encoding)
				}
			}
			all = append(all, list)
		}
	}
	return all
}

// TestEncodings says which encoding is chosen, in every row group by itself.
func TestEncodings(t *testing.T) {
	const rows = 40_000
	numbers := func(value func(i int) int64) arrow.Record {
		return one(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64}, func(b array.Builder) {
			for i := range rows {
				b.(*array.Int64Builder).Append(value(i))
			}
		})
	}
	texts := func(value func(i int) string) arrow.Record {
		return one(arrow.Field{Name: "x", Type: arrow.BinaryTypes.String}, func(b array.Builder) {
			for i := range rows {
				b.(*array.StringBuilder).Append(value(i))
			}
		})
	}
	for _, c := range []struct {
		name   string
		record arrow.Record
		want   format.Encoding
	}{
		{"keys", numbers(func(i int) int64 { return int64(1000 + i) }), format.DeltaBinaryPacked},
		{"times", numbers(func(i int) int64 {
			return 1_700_000_000_000_000 + int64(i)*1_000_000 + int64(noise(i)>>48)
		}), format.DeltaBinaryPacked},
		// More than a fourth of the first 1,024 rows are distinct, and of all rows few.
		{"few of many", numbers(func(i int) int64 { return int64(noise(i % 2000)) }), format.RLEDictionary},
		{"noise", numbers(func(i int) int64 { return int64(noise(i)) }), format.Plain},
		{"few texts", texts(func(i int) string { return fmt.Sprintf("%x", noise(int(noise(i)>>52))) }), format.RLEDictionary},
	} {
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), morsels(t, c.record, 2048)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := encodings(t, out.Data, "x"); len(got) != 1 || len(got[0]) != 1 || got[0][0] != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		compare(t, arrowTable(t, out.Data), c.record)
	}
}

// TestChoiceIsMadeAnew has noise first, and few values in the row groups behind it.
func TestChoiceIsMadeAnew(t *testing.T) {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range 200_000 {
		v := noise(i)
		if i > 100_000 {
			v = noise(int(v >> 60))
		}
		b.Append(int64(v))
	}
	column := b.NewArray()
	record := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "x", Type: column.DataType()}}, nil), []arrow.Array{column}, int64(column.Len()))
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{"row_group":"256KiB"}`, sdk.Env{}), morsels(t, record, 2048)...)
	if err != nil {
		t.Fatal(err)
	}
	got := encodings(t, out.Data, "x")
	if last := got[len(got)-1]; len(got) < 3 || got[0][0] != format.Plain || len(last) != 1 || last[0] != format.RLEDictionary {
		t.Errorf("%v", got)
	}
	compare(t, arrowTable(t, out.Data), record)
}
