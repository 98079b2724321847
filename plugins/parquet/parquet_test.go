package parquet

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"
	arrowparquet "github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
	"github.com/apache/arrow/go/v15/parquet/schema"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// without returns the record without some columns.
func without(t *testing.T, r arrow.Record, names ...string) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	var columns []arrow.Array
	for i, f := range r.Schema().Fields() {
		if !strings.Contains(","+strings.Join(names, ",")+",", ","+f.Name+",") {
			fields, columns = append(fields, f), append(columns, r.Column(i))
		}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, r.NumRows())
}

// everything is a batch of every type, without the values that no Parquet type holds.
func everything(t *testing.T) arrow.Record {
	all := sample.Everything()
	defer all.Release()
	return without(t, all, "timestamp_s", "duration_s")
}

// morsels cuts a record as the runner does.
func morsels(t *testing.T, r arrow.Record, rows int64) []sdk.Rows {
	var list []sdk.Rows
	for i := int64(0); i < r.NumRows(); i += rows {
		slice := r.NewSlice(i, min(i+rows, r.NumRows()))
		t.Cleanup(slice.Release)
		list = append(list, sdk.Rows{Record: slice, First: i})
	}
	return list
}

// arrowTable reads a file with Arrow's implementation.
func arrowTable(t *testing.T, data []byte) arrow.Table {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(data), file.WithReadProps(arrowparquet.NewReaderProperties(memory.DefaultAllocator)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := reader.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Release)
	return table
}

// perSecond is how many of a unit make a second.
var perSecond = map[arrow.TimeUnit]int64{arrow.Second: 1, arrow.Millisecond: 1e3, arrow.Microsecond: 1e6, arrow.Nanosecond: 1e9}

// spell writes a value such that it does not depend on the unit or the width of its type.
func spell(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "NULL"
	}
	scaled := func(v int64, u arrow.TimeUnit) string {
		return new(big.Rat).SetFrac64(v, perSecond[u]).RatString() + "s"
	}
	switch a := a.(type) {
	case *array.Timestamp:
		return scaled(int64(a.Value(i)), a.DataType().(*arrow.TimestampType).Unit)
	case *array.Time32:
		return scaled(int64(a.Value(i)), a.DataType().(*arrow.Time32Type).Unit)
	case *array.Time64:
		return scaled(int64(a.Value(i)), a.DataType().(*arrow.Time64Type).Unit)
	case *array.Duration:
		return scaled(int64(a.Value(i)), a.DataType().(*arrow.DurationType).Unit)
	case *array.Date64:
		return fmt.Sprint(int64(a.Value(i)) / 86400000)
	case *array.Date32:
		return fmt.Sprint(int32(a.Value(i)))
	case *array.Decimal128:
		return a.Value(i).BigInt().String()
	case *array.Decimal256:
		return a.Value(i).BigInt().String()
	case *array.Binary:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.LargeBinary:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.FixedSizeBinary:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.String:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.LargeString:
		return fmt.Sprintf("%q", a.Value(i))
	}
	return a.ValueStr(i)
}

// same reports whether an array is, to the type, what a column has from a row on. It is quick, and false of what spell
// knows to be the same in another type.
func same(a, column arrow.Array, row int) bool {
	if row+a.Len() > column.Len() || !arrow.TypeEqual(a.DataType(), column.DataType()) {
		return false
	}
	part := array.NewSlice(column, int64(row), int64(row+a.Len()))
	defer part.Release()
	return array.Equal(a, part)
}

// compare holds a table against the record that was written.
func compare(t *testing.T, got arrow.Table, want arrow.Record) {
	t.Helper()
	if got.NumRows() != want.NumRows() || got.NumCols() != want.NumCols() {
		t.Fatalf("%d rows of %d columns, want %d of %d", got.NumRows(), got.NumCols(), want.NumRows(), want.NumCols())
	}
	for c := range int(want.NumCols()) {
		column, name := want.Column(c), want.ColumnName(c)
		if g := got.Schema().Field(c); g.Name != name || g.Nullable != want.Schema().Field(c).Nullable {
			t.Errorf("column %s came back as %s", want.Schema().Field(c), g)
		}
		if column.DataType().ID() == arrow.DECIMAL256 {
			// Arrow's reader does not extend the sign rightly here; see TestDecimals.
			continue
		}
		row := 0
		for _, chunk := range got.Column(c).Data().Chunks() {
			if same(chunk, column, row) {
				row += chunk.Len()
				continue
			}
			for i := range chunk.Len() {
				g, w := spell(chunk, i), spell(column, row)
				if column.DataType().ID() == arrow.DURATION {
					// Arrow's reader may give durations as the integers that they are stored as.
					if n, ok := chunk.(*array.Int64); ok && !chunk.IsNull(i) {
						g = new(big.Rat).SetFrac64(n.Value(i), 1e6).RatString() + "s"
					}
				}
				if g != w {
					t.Fatalf("%s, row %d: %s, want %s", name, row, g, w)
				}
				row++
			}
		}
	}
}

func TestArrowReads(t *testing.T) {
	big := sample.Appointments(30_000, 7)
	defer big.Release()
	for _, c := range []struct {
		name, settings string
		record         arrow.Record
		morsel         int64
	}{
		{"every type", `{}`, everything(t), 4},
		{"every type, a row at a time", `{"compression":"snappy"}`, everything(t), 1},
		{"one row group", `{"compression":"none"}`, big, 2048},
		{"small row groups", `{"row_group":"64KiB","compression":"snappy"}`, big, 777},
		{"zstd", `{"row_group":"256KiB","compression":"zstd"}`, big, 2048},
		{"a whole batch", `{"row_group":"128KiB"}`, big, 1 << 20},
		{"no rows", `{}`, big.NewSlice(0, 0), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			batches := morsels(t, c.record, c.morsel)
			if len(batches) == 0 {
				batches = []sdk.Rows{{Record: c.record}}
			}
			out, err := sample.Encode(sample.NewEncoder(t, Stage(), c.settings, sdk.Env{}), batches...)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, arrowTable(t, out.Data), c.record)

			f, err := parquet.OpenFile(bytes.NewReader(out.Data), int64(len(out.Data)))
			if err != nil {
				t.Fatal(err)
			}
			if f.NumRows() != c.record.NumRows() {
				t.Errorf("parquet-go sees %d rows, want %d", f.NumRows(), c.record.NumRows())
			}
			rows := parquet.NewReader(f)
			buf := make([]parquet.Row, 100)
			var n int
			for {
				k, err := rows.ReadRows(buf)
				n += k
				if k == 0 && err != nil {
					break
				}
			}
			if n != int(f.NumRows()) {
				t.Errorf("parquet-go read %d rows", n)
			}
		})
	}
}

func TestSchema(t *testing.T) {
	record := everything(t)
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(out.Data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	schema.PrintSchema(r.MetaData().Schema.Root(), &b, 2)
	fmt.Fprintf(&b, "created_by %s\n", r.MetaData().GetCreatedBy())
	for i := range r.MetaData().Schema.NumColumns() {
		chunk, err := r.MetaData().RowGroup(0).ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		stats, err := chunk.Statistics()
		if err != nil {
			t.Fatal(err)
		}
		if stats == nil {
			fmt.Fprintf(&b, "%s: no statistics\n", chunk.PathInSchema())
			continue
		}
		fmt.Fprintf(&b, "%s: nulls %d, bounds %t", chunk.PathInSchema(), stats.NullCount(), stats.HasMinMax())
		if stats.HasMinMax() {
			fmt.Fprintf(&b, ", %q to %q", stats.EncodeMin(), stats.EncodeMax())
		}
		fmt.Fprintln(&b)
	}
	sample.Golden(t, "schema.txt", b.Bytes())

	// Arrow's readers find the metadata of the fields again.
	decoded, err := pqarrow.FromParquet(r.MetaData().Schema, &pqarrow.ArrowReadProperties{}, r.MetaData().KeyValueMetadata())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"datetime_3": "3", "duration": "6"} {
		f, _ := decoded.FieldsByName(name)
		if got, _ := f[0].Metadata.GetValue(sdk.MetaFraction); got != want {
			t.Errorf("%s has the fraction %q, want %s", name, got, want)
		}
	}
}

func TestSameBytes(t *testing.T) {
	record := sample.Appointments(20_000, 3)
	defer record.Release()
	var first []byte
	for _, workers := range []int{1, 2, 5} {
		e := sample.NewEncoder(t, Stage(), `{"row_group":"64KiB"}`, sdk.Env{}).(*encoder)
		e.workers = workers
		out, err := sample.Encode(e, morsels(t, record, 2048)...)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out.Data
		}
		if !bytes.Equal(out.Data, first) {
			t.Errorf("%d cores make another file than one", workers)
		}
	}
}

func TestDictionaries(t *testing.T) {
	record := sample.Appointments(50_000, 3)
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), morsels(t, record, 2048)...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(out.Data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, want := range map[string]bool{"status": true, "cancelled": true, "appointment_date": true, "duration": true,
		"appointment_id": false, "start_time": false, "amount": false} {
		chunk, err := r.MetaData().RowGroup(0).ColumnChunk(r.MetaData().Schema.ColumnIndexByName(name))
		if err != nil {
			t.Fatal(err)
		}
		if chunk.HasDictionaryPage() != want {
			t.Errorf("%s: dictionary %t, want %t", name, chunk.HasDictionaryPage(), want)
		}
	}
}

// TestDecimals reads decimals of every precision with parquet-go, as the bytes that they are.
func TestDecimals(t *testing.T) {
	for precision := int32(1); precision <= 76; precision++ {
		largest := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil), big.NewInt(1))
		values := []*big.Int{largest, new(big.Int).Neg(largest), big.NewInt(0), big.NewInt(-1), big.NewInt(9), new(big.Int).Rsh(largest, 3)}
		for _, wide := range []bool{false, true} {
			if !wide && precision > 38 {
				continue
			}
			f := arrow.Field{Name: "d", Type: &arrow.Decimal256Type{Precision: precision, Scale: precision / 3}}
			if !wide {
				f.Type = &arrow.Decimal128Type{Precision: precision, Scale: precision / 3}
			}
			record := one(f, func(b array.Builder) {
				for _, v := range values {
					if wide {
						b.(*array.Decimal256Builder).Append(decimal256.FromBigInt(v))
					} else {
						b.(*array.Decimal128Builder).Append(decimal128.FromBigInt(v))
					}
				}
			})
			out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
			record.Release()
			if err != nil {
				t.Fatal(err)
			}
			r := parquet.NewReader(bytes.NewReader(out.Data))
			rows := make([]parquet.Row, len(values))
			if n, _ := r.ReadRows(rows); n != len(values) {
				t.Fatalf("decimal(%d): %d rows", precision, n)
			}
			for i, row := range rows {
				var got *big.Int
				switch v := row[0]; v.Kind() {
				case parquet.Int32:
					got = big.NewInt(int64(v.Int32()))
				case parquet.Int64:
					got = big.NewInt(v.Int64())
				default:
					got = new(big.Int).SetBytes(v.ByteArray())
					if v.ByteArray()[0] >= 0x80 {
						got.Sub(got, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v.ByteArray()))))
					}
				}
				if got.Cmp(values[i]) != 0 {
					t.Errorf("decimal(%d), wide %t: %s, want %s", precision, wide, got, values[i])
				}
			}
		}
	}
}

// TestLateVariety has columns whose first rows show few values and the rest many, so that the
// dictionary fills up in the middle of a row group.
func TestLateVariety(t *testing.T) {
	const rows = 120_000
	texts, numbers := array.NewStringBuilder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
	nullable := array.NewInt32Builder(memory.DefaultAllocator)
	for i := range rows {
		v := i
		if i < 5000 {
			v = i % 7
		}
		texts.Append(fmt.Sprintf("value %d", v))
		numbers.Append(int64(v))
		if i%3 == 0 || i > 110_000 {
			nullable.AppendNull()
		} else {
			nullable.Append(int32(v % 1000))
		}
	}
	record := array.NewRecord(arrow.NewSchema([]arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.String}, {Name: "number", Type: arrow.PrimitiveTypes.Int64},
		{Name: "nullable", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	}, nil), []arrow.Array{texts.NewArray(), numbers.NewArray(), nullable.NewArray()}, rows)
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{"row_group":"1MiB"}`, sdk.Env{}), morsels(t, record, 2048)...)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, arrowTable(t, out.Data), record)
}

func TestLongValues(t *testing.T) {
	b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	for i := range 40 {
		b.Append(bytes.Repeat([]byte{byte(i)}, i*50_000))
		b.AppendNull()
	}
	column := b.NewArray()
	record := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "blob", Type: column.DataType(), Nullable: true}}, nil), []arrow.Array{column}, int64(column.Len()))
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{"row_group":"1MiB","compression":"none"}`, sdk.Env{})
	out, err := sample.Encode(e, morsels(t, record, 16)...)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, arrowTable(t, out.Data), record)
}

func one(f arrow.Field, build func(array.Builder)) arrow.Record {
	b := array.NewBuilder(memory.DefaultAllocator, f.Type)
	defer b.Release()
	build(b)
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(arrow.NewSchema([]arrow.Field{f}, nil), []arrow.Array{column}, int64(column.Len()))
}

func TestFaults(t *testing.T) {
	field := func(t arrow.DataType, nullable bool) arrow.Field {
		return arrow.Field{Name: "amount", Type: t, Nullable: nullable}
	}
	short := &arrow.Decimal128Type{Precision: 4, Scale: 2}
	long := &arrow.Decimal128Type{Precision: 20, Scale: 2}
	for _, c := range []struct {
		name   string
		record arrow.Record
		code   string
		says   []string
	}{
		{"negative scale", one(field(&arrow.Decimal128Type{Precision: 4, Scale: -2}, true), func(array.Builder) {}),
			"encoder.unsupported_type", []string{`"amount"`, "decimal(4,-2)"}},
		{"more scale than digits", one(field(&arrow.Decimal256Type{Precision: 4, Scale: 5}, true), func(array.Builder) {}),
			"encoder.unsupported_type", []string{`"amount"`}},
		{"nested", one(field(arrow.ListOf(arrow.PrimitiveTypes.Int8), true), func(array.Builder) {}),
			"encoder.unsupported_type", []string{`"amount"`, "list"}},
		{"more digits than declared", one(field(short, true), func(b array.Builder) {
			b.AppendNull()
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(9999))
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(-10000))
		}), "encoder.out_of_range", []string{`"amount"`, "row 3", "DECIMAL(4,2)"}},
		{"the least decimal", one(field(long, true), func(b array.Builder) {
			b.(*array.Decimal128Builder).Append(decimal128.New(-1<<63, 0))
		}), "encoder.out_of_range", []string{`"amount"`, "row 1"}},
		{"seconds beyond milliseconds", one(field(arrow.FixedWidthTypes.Timestamp_s, true), func(b array.Builder) {
			b.AppendNull()
			b.(*array.TimestampBuilder).Append(1 << 60)
		}), "encoder.out_of_range", []string{`"amount"`, "row 2", "TIMESTAMP"}},
		{"part of a day", one(field(arrow.FixedWidthTypes.Date64, true), func(b array.Builder) {
			b.(*array.Date64Builder).Append(1)
		}), "encoder.out_of_range", []string{`"amount"`, "row 1", "DATE"}},
		{"null", one(field(arrow.PrimitiveTypes.Int8, false), func(b array.Builder) {
			b.(*array.Int8Builder).Append(1)
			b.AppendNull()
		}), "encoder.null_in_required", []string{`"amount"`, "row 2"}},
		{"invalid text", one(field(arrow.BinaryTypes.String, false), func(b array.Builder) {
			b.(*array.StringBuilder).Append("fine")
			b.(*array.StringBuilder).Append("\xff")
		}), "encoder.invalid_utf8", []string{`"amount"`, "row 2"}},
		{"no columns", array.NewRecord(arrow.NewSchema(nil, nil), nil, 0), "encoder.no_columns", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: c.record})
			if !fault.Is(err, c.code) {
				t.Fatalf("%v, want %s", err, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %s", err, s)
				}
			}
		})
	}
}

func TestReplace(t *testing.T) {
	record := sample.Text("note", "a\xffb", "plain", "ü\xc3")
	defer record.Release()
	var counted int64
	env := sdk.Env{Count: func(name string, n int64) {
		if name == "invalid_utf8" {
			counted += n
		}
	}}
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{"invalid_utf8":"replace"}`, env), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	want := sample.Text("note", "a\ufffdb", "plain", "ü\ufffd")
	defer want.Release()
	compare(t, arrowTable(t, out.Data), want)
	if counted != 2 {
		t.Errorf("%d values counted, want 2", counted)
	}
}

// TestOutputs checks that a finished row group leaves in pieces.
func TestOutputs(t *testing.T) {
	record := sample.Appointments(300_000, 5)
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{"row_group":"4MiB","compression":"none"}`, sdk.Env{}).(*encoder)
	if _, err := e.Bind(record.Schema()); err != nil {
		t.Fatal(err)
	}
	var out sdk.Output
	var largest int
	var kept int64
	for _, m := range morsels(t, record, 2048) {
		out.Reset()
		if err := e.Encode(context.Background(), m, &out); err != nil {
			t.Fatal(err)
		}
		largest, kept = max(largest, len(out.Data)), max(kept, e.pending.size)
	}
	if len(e.groups.groups) < 2 || largest == 0 || largest > drainBytes+e.pool.size || kept > 5<<20 {
		t.Errorf("%d row groups; the largest output has %d bytes, %d were kept back", len(e.groups.groups), largest, kept)
	}
}

func TestStage(t *testing.T) {
	d := Stage()
	record := sample.Text("a", "x")
	defer record.Release()
	media, err := sample.NewEncoder(t, d, `{}`, sdk.Env{}).Bind(record.Schema())
	if err != nil || media.Extension != ".parquet" || media.Type != "application/vnd.apache.parquet" || d.Concurrent || d.Out != sdk.ShapeBytes {
		t.Errorf("%+v (%v), %+v", media, err, d.About)
	}
	if _, err := d.Make([]byte(`{"compression":"lzma"}`), sdk.Env{}); err == nil {
		t.Error("an unknown compression is taken")
	}
}
