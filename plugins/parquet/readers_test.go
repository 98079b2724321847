package parquet

import (
	_ "embed"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

//go:embed testdata/readers.py
var readersScript string

// TestOtherReadersAgree has pyarrow, DuckDB and DataFusion read every kind of file, and holds what they find
// against the rows. With conditions, too, which they answer with the help of bounds and page indexes.
func TestOtherReadersAgree(t *testing.T) {
	dir := t.TempDir()
	var arguments []string
	check := func(name, settings string, record arrow.Record, morsel int64) {
		t.Helper()
		batches := morsels(t, record, morsel)
		if len(batches) == 0 {
			batches = []sdk.Rows{{Record: record}}
		}
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), settings, sdk.Env{}), batches...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		reference, path := filepath.Join(dir, name+".arrow"), filepath.Join(dir, name+".parquet")
		if err := os.WriteFile(path, out.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(reference)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := ipc.NewFileWriter(f, ipc.WithSchema(record.Schema()))
		if err != nil {
			t.Fatal(err)
		}
		if record.NumRows() > 0 { // Arrow's writer panics on a slice of nothing
			err = w.Write(record)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, reference, path)
	}
	all := everything(t)
	many := sample.Appointments(50_000, 3)
	defer many.Release()
	varied := variety(60_000)
	defer varied.Release()
	for _, compression := range []string{"zstd", "snappy", "none"} {
		with := func(more string) string { return fmt.Sprintf(`{"compression":%q%s}`, compression, more) }
		check("everything-"+compression, with(""), all, 1)
		check("empty-"+compression, with(""), all.NewSlice(0, 0), 1)
		check("nulls-"+compression, with(""), all.NewSlice(3, 4), 1)
		check("varied-"+compression, with(""), varied, 2048)
	}
	check("many-groups", `{"row_group":"64KiB"}`, many, 777)
	check("varied-groups", `{"row_group":"256KiB","compression":"snappy"}`, varied, 5000)
	long := longDecimals()
	defer long.Release()
	check("long-decimals", `{}`, long, 100)
	times := one(arrow.Field{Name: "time", Type: arrow.FixedWidthTypes.Duration_us, Nullable: true}, func(b array.Builder) {
		b.(*array.DurationBuilder).AppendValues([]arrow.Duration{0, 1, 86399999999}, nil)
		b.AppendNull()
	})
	defer times.Release()
	check("times", `{"durations":"time"}`, times, 1)
	if problems := python.Run(t, readersScript, arguments...); len(problems) > 0 {
		t.Errorf("%s", strings.ReplaceAll(string(problems), dir+"/", ""))
	}
}

// variety is a table whose columns call for every encoding.
func variety(rows int) arrow.Record {
	r := rand.New(rand.NewPCG(1, 2))
	var fields []arrow.Field
	var columns []arrow.Array
	add := func(name string, t arrow.DataType, value func(b array.Builder, i int)) {
		b := array.NewBuilder(memory.DefaultAllocator, t)
		defer b.Release()
		nullable := strings.HasSuffix(name, "_null")
		for i := range rows {
			switch {
			case nullable && (i%7 == 0 || i/10_000 == 2):
				b.AppendNull() // with pages of nothing else
			default:
				value(b, i)
			}
		}
		fields = append(fields, arrow.Field{Name: name, Type: t, Nullable: nullable})
		columns = append(columns, b.NewArray())
	}
	twice := func(name string, t arrow.DataType, value func(b array.Builder, i int)) {
		add(name, t, value)
		add(name+"_null", t, value)
	}
	int64s, int32s, text := arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String
	twice("ascending", int64s, func(b array.Builder, i int) { b.(*array.Int64Builder).Append(int64(3*i - 1000)) })
	twice("descending", int32s, func(b array.Builder, i int) { b.(*array.Int32Builder).Append(int32(-i)) })
	twice("extremes", int64s, func(b array.Builder, i int) {
		b.(*array.Int64Builder).Append([]int64{math.MinInt64, int64(i), math.MaxInt64, -1}[i%4])
	})
	twice("extremes32", int32s, func(b array.Builder, i int) {
		b.(*array.Int32Builder).Append([]int32{math.MaxInt32, math.MinInt32, int32(i)}[i%3])
	})
	twice("unsigned", arrow.PrimitiveTypes.Uint64, func(b array.Builder, i int) {
		b.(*array.Uint64Builder).Append(math.MaxUint64 - uint64(i)*uint64(i)*uint64(i%2*1_000_000_000))
	})
	twice("anything", int64s, func(b array.Builder, _ int) { b.(*array.Int64Builder).Append(int64(r.Uint64())) })
	twice("few", text, func(b array.Builder, i int) { b.(*array.StringBuilder).Append("value " + fmt.Sprint(i*i%50)) })
	twice("later", text, func(b array.Builder, i int) { b.(*array.StringBuilder).Append(fmt.Sprint("v", max(i-30_000, i%3))) })
	twice("once", text, func(b array.Builder, i int) { b.(*array.StringBuilder).Append(fmt.Sprintf("%x", r.Uint64())) })
	twice("code", text, func(b array.Builder, i int) { b.(*array.StringBuilder).Append(fmt.Sprintf("INV-%07d", i)) })
	twice("long", text, func(b array.Builder, i int) {
		b.(*array.StringBuilder).Append(strings.Repeat("ü漢😀", 5+i%12) + fmt.Sprint(r.Uint64()))
	})
	twice("last", text, func(b array.Builder, i int) {
		b.(*array.StringBuilder).Append(strings.Repeat("\U0010FFFF", 14+i%4) + fmt.Sprint(i%1000))
	})
	twice("huge", text, func(b array.Builder, i int) {
		b.(*array.StringBuilder).Append(strings.Repeat("x", i%1000/999*20_000) + fmt.Sprint(i))
	})
	twice("bytes", arrow.BinaryTypes.Binary, func(b array.Builder, i int) {
		v := make([]byte, i%90)
		for j := range v {
			v[j] = 0xFF
		}
		b.(*array.BinaryBuilder).Append(v)
	})
	twice("fixed", &arrow.FixedSizeBinaryType{ByteWidth: 16}, func(b array.Builder, i int) {
		b.(*array.FixedSizeBinaryBuilder).Append([]byte(fmt.Sprintf("%016d", i%500)))
	})
	twice("wide", &arrow.FixedSizeBinaryType{ByteWidth: 70}, func(b array.Builder, i int) {
		b.(*array.FixedSizeBinaryBuilder).Append([]byte(fmt.Sprintf("%070d", i%500)))
	})
	twice("flag", arrow.FixedWidthTypes.Boolean, func(b array.Builder, i int) {
		b.(*array.BooleanBuilder).Append(i/20_000 == 1 || i > 50_000 && i%2 == 0)
	})
	twice("float", arrow.PrimitiveTypes.Float64, func(b array.Builder, i int) {
		b.(*array.Float64Builder).Append([]float64{float64(i) / 7, math.Copysign(0, -1), 0, math.Inf(1), -1.5}[i%5])
	})
	twice("float32", arrow.PrimitiveTypes.Float32, func(b array.Builder, i int) { b.(*array.Float32Builder).Append(float32(i%100) / 3) })
	twice("date", arrow.FixedWidthTypes.Date32, func(b array.Builder, i int) { b.(*array.Date32Builder).Append(arrow.Date32(i/100 - 200)) })
	twice("instant", arrow.FixedWidthTypes.Timestamp_us, func(b array.Builder, i int) {
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000 + int64(i)*1_000_003))
	})
	twice("money", &arrow.Decimal128Type{Precision: 12, Scale: 2}, func(b array.Builder, i int) {
		b.(*array.Decimal128Builder).Append(decimal128.FromI64(r.Int64N(10_000_000) - 5_000_000))
	})
	twice("decimal", &arrow.Decimal128Type{Precision: 30, Scale: 6}, func(b array.Builder, i int) {
		b.(*array.Decimal128Builder).Append(decimal128.New(int64(i%300)-150, uint64(i%300)))
	})
	twice("sum", &arrow.Decimal256Type{Precision: 41}, func(b array.Builder, i int) {
		b.(*array.Decimal256Builder).Append(decimal256.FromI64(int64(i*i) - 100_000))
	})
	add("nothing_null", int64s, func(b array.Builder, _ int) { b.AppendNull() })
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, int64(rows))
}

// longDecimals has decimals of all lengths that do not fit 128 bits.
func longDecimals() arrow.Record {
	var fields []arrow.Field
	var columns []arrow.Array
	ten := big.NewInt(10)
	for precision := int64(39); precision <= 76; precision++ {
		b := array.NewDecimal256Builder(memory.DefaultAllocator, &arrow.Decimal256Type{Precision: int32(precision), Scale: int32(precision) / 4})
		for digits := range int64(76) {
			// 8, -8, 71, -71 and so on, with more and more digits.
			v := new(big.Int).Exp(ten, big.NewInt(digits%precision), nil)
			v.Add(v.Mul(v, big.NewInt(7)), big.NewInt(1))
			b.Append(decimal256.FromBigInt(v))
			b.Append(decimal256.FromBigInt(v.Neg(v)))
		}
		column := b.NewArray()
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("d%d", precision), Type: column.DataType()})
		columns = append(columns, column)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, int64(columns[0].Len()))
}
