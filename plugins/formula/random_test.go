package formula

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// generator makes batches and expressions at random, from few values, so that
// equal ones meet.
type generator struct{ *rand.Rand }

type randomColumn struct {
	name  string
	typ   arrow.DataType
	class class
}

var randomColumns = []randomColumn{
	{"i8", arrow.PrimitiveTypes.Int8, classNumber}, {"i16", arrow.PrimitiveTypes.Int16, classNumber}, {"i32", arrow.PrimitiveTypes.Int32, classNumber},
	{"i64", arrow.PrimitiveTypes.Int64, classNumber}, {"u8", arrow.PrimitiveTypes.Uint8, classNumber}, {"u16", arrow.PrimitiveTypes.Uint16, classNumber},
	{"u32", arrow.PrimitiveTypes.Uint32, classNumber}, {"u64", arrow.PrimitiveTypes.Uint64, classNumber}, {"v64", arrow.PrimitiveTypes.Uint64, classNumber},
	{"f32", arrow.PrimitiveTypes.Float32, classNumber}, {"f64", arrow.PrimitiveTypes.Float64, classNumber}, {"g64", arrow.PrimitiveTypes.Float64, classNumber},
	{"d1", &arrow.Decimal128Type{Precision: 10, Scale: 2}, classNumber}, {"d2", &arrow.Decimal128Type{Precision: 38, Scale: 4}, classNumber},
	{"d3", &arrow.Decimal256Type{Precision: 65, Scale: 30}, classNumber}, {"d4", &arrow.Decimal256Type{Precision: 65, Scale: 30}, classNumber},
	{"s", arrow.BinaryTypes.String, classText}, {"t", arrow.BinaryTypes.LargeString, classText},
	{"b", arrow.FixedWidthTypes.Boolean, classBool}, {"c", arrow.FixedWidthTypes.Boolean, classBool},
	{"x", arrow.BinaryTypes.Binary, classBytes}, {"y", &arrow.FixedSizeBinaryType{ByteWidth: 2}, classBytes},
	{"day", arrow.FixedWidthTypes.Date32, classTime}, {"day64", arrow.FixedWidthTypes.Date64, classTime}, {"ts", arrow.FixedWidthTypes.Timestamp_s, classTime},
	{"tms", arrow.FixedWidthTypes.Timestamp_ms, classTime}, {"tus", arrow.FixedWidthTypes.Timestamp_us, classTime}, {"tns", arrow.FixedWidthTypes.Timestamp_ns, classTime},
	{"o32", arrow.FixedWidthTypes.Time32s, classSpan}, {"o64", arrow.FixedWidthTypes.Time64us, classSpan}, {"dur", arrow.FixedWidthTypes.Duration_ms, classSpan},
	{"nothing", arrow.Null, classNull},
}

func (g generator) of(choices ...string) string { return choices[g.IntN(len(choices))] }

var instants = []int64{0, 1709164800, 1709164801, -86400, -1, 1709208000}

func (g generator) record(rows int) arrow.Record {
	var fields []arrow.Field
	var arrays []arrow.Array
	for _, c := range randomColumns {
		b := array.NewBuilder(memory.DefaultAllocator, c.typ)
		nulls := g.IntN(4) * 20
		for range rows {
			if g.IntN(100) < nulls || c.class == classNull {
				b.AppendNull()
				continue
			}
			small := []int64{0, 1, 2, 5, 100, 127}[g.IntN(6)]
			signed := small
			if g.IntN(3) == 0 {
				signed = -small
			}
			seconds := instants[g.IntN(len(instants))]
			switch b := b.(type) {
			case *array.Int8Builder:
				b.Append(int8(signed))
			case *array.Int16Builder:
				b.Append(int16(signed))
			case *array.Int32Builder:
				b.Append(int32([]int64{signed, math.MinInt32, math.MaxInt32}[g.IntN(3)]))
			case *array.Int64Builder:
				b.Append([]int64{signed, math.MinInt64, math.MaxInt64, 1<<53 + 1}[g.IntN(4)])
			case *array.Uint8Builder:
				b.Append(uint8(small))
			case *array.Uint16Builder:
				b.Append(uint16(small))
			case *array.Uint32Builder:
				b.Append(uint32(small))
			case *array.Uint64Builder:
				b.Append([]uint64{uint64(small), math.MaxUint64, 1 << 63, 1<<53 + 1}[g.IntN(4)])
			case *array.Float32Builder:
				b.Append([]float32{float32(signed), 0.1, 0.5, float32(math.NaN()), float32(math.Inf(-1))}[g.IntN(5)])
			case *array.Float64Builder:
				b.Append([]float64{float64(signed), 0.1, -0.5, math.NaN(), math.Inf(1), 1 << 53, math.MaxFloat64}[g.IntN(7)])
			case *array.Decimal128Builder:
				scale := c.typ.(*arrow.Decimal128Type).Scale
				b.Append(decimal128.FromBigInt(g.scaled(signed, int(scale))))
			case *array.Decimal256Builder:
				b.Append(decimal256.FromBigInt(g.scaled(signed, 30)))
			case *array.StringBuilder:
				b.Append(g.text())
			case *array.LargeStringBuilder:
				b.Append(g.text())
			case *array.BooleanBuilder:
				b.Append(g.IntN(2) == 0)
			case *array.BinaryBuilder:
				b.Append([]byte(g.of("", "ab", "a", "\xff\x00")))
			case *array.FixedSizeBinaryBuilder:
				b.Append([]byte(g.of("ab", "ac", "\xff\x00")))
			case *array.Date32Builder:
				b.Append(arrow.Date32(math.Floor(float64(seconds) / 86400)))
			case *array.Date64Builder:
				b.Append(arrow.Date64(math.Floor(float64(seconds)/86400) * 86400e3))
			case *array.TimestampBuilder:
				perSecond := int64(math.Pow(1000, float64(c.typ.(*arrow.TimestampType).Unit)))
				b.Append(arrow.Timestamp(seconds*perSecond + g.Int64N(2)*min(perSecond-1, 5)))
			case *array.Time32Builder:
				b.Append(arrow.Time32([]int32{0, 30600, 86399}[g.IntN(3)]))
			case *array.Time64Builder:
				b.Append(arrow.Time64([]int64{0, 30600e6, 30600e6 + 1}[g.IntN(3)]))
			case *array.DurationBuilder:
				b.Append(arrow.Duration([]int64{0, 30600e3, -30600e3, 30600e3 + 500}[g.IntN(4)]))
			}
		}
		fields = append(fields, arrow.Field{Name: c.name, Type: c.typ, Nullable: true})
		arrays = append(arrays, b.NewArray())
		b.Release()
	}
	record := array.NewRecord(arrow.NewSchema(fields, nil), arrays, int64(rows))
	for _, a := range arrays {
		a.Release()
	}
	return record
}

// scaled returns a number of few: whole, or the decimals nearest to literals below.
func (g generator) scaled(whole int64, scale int) *big.Int {
	n := new(big.Int).Mul(big.NewInt(whole), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	switch g.IntN(4) {
	case 0:
		return n.Add(n, big.NewInt(1))
	case 1: // .10
		return n.Add(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)-1), nil))
	}
	return n
}

func (g generator) text() string { return g.of("", "a", "ab", "b", "Ab\xff", "é", "2024-02-29") }

// literal makes a constant that compares with columns of a class.
func (g generator) literal(k class) string {
	switch k {
	case classNumber:
		return g.of("0", "1", "-1", "5", "100", "127", "128", "-129", "300", "2147483647", "2147483648", "9223372036854775807", "-9223372036854775808",
			"5u", "18446744073709551615u", "9007199254740993", "0.1", "0.5", "-0.5", "1.1", "1.0", "9007199254740993.0", "1e300", "-1e300", "0.01", "5.0000000000000000000000000000010",
			"0.1 + 0.2", "double('Infinity')", "double('NaN')", "double('0.1')", "2 + 3", "int('5')", "18446744073709551615.0", "9007199254740993.5", "123456789012345678901234567890.5")
	case classText:
		return g.of("''", "'a'", "'ab'", "'b'", "'é'", "'a' + 'b'")
	case classBool:
		return g.of("true", "false")
	case classBytes:
		return g.of("b''", "b'ab'", `b'\xff\x00'`)
	case classTime:
		return g.of("'2024-02-29'", "'1970-01-01'", "'1969-12-31 23:59:59'", "'2024-02-29 00:00:01'", "'2024-02-29 00:00:00.005'", "'2024-02-29 00:00:00.000000005'",
			"timestamp('2024-02-29T12:00:00Z')", "timestamp('2024-02-29T00:00:00.000000005Z')", "timestamp('2024-02-29T00:00:00Z') + duration('1s')")
	case classSpan:
		return g.of("'08:30:00'", "'-08:30:00'", "'00:00:00'", "'08:30:00.5'", "'08:30:00.000001'", "duration('510m')", "duration('1ns')", "'99:00:00'")
	}
	return "null"
}

func (g generator) column(k class) string {
	for {
		if c := randomColumns[g.IntN(len(randomColumns))]; c.class == k || k == classNumber && c.class == k {
			return c.name
		}
	}
}

func (g generator) condition(depth int) string {
	k := []class{classNumber, classNumber, classNumber, classText, classText, classBool, classBytes, classTime, classTime, classSpan}[g.IntN(10)]
	op := g.of("==", "!=", "<", "<=", ">", ">=")
	if depth > 0 {
		switch g.IntN(6) {
		case 0, 1:
			return "(" + g.condition(depth-1) + g.of(" && ", " || ") + g.condition(depth-1) + ")"
		case 2:
			return "!" + "(" + g.condition(depth-1) + ")"
		case 3:
			return "(" + g.condition(0) + " ? " + g.condition(depth-1) + " : " + g.condition(0) + ")"
		}
	}
	switch g.IntN(14) {
	case 0:
		return g.column(classBool)
	case 1:
		return g.column(k) + g.of(" == ", " != ") + "null"
	case 2:
		var list []string
		for range g.IntN(12) {
			if g.IntN(10) == 0 {
				list = append(list, "null")
			} else if g.IntN(10) == 0 && k != classTime && k != classSpan {
				list = append(list, g.column(k))
			} else {
				list = append(list, g.literal(k))
			}
		}
		return g.column(k) + " in [" + strings.Join(list, ", ") + "]"
	case 3:
		return g.column(classText) + "." + g.of("startsWith", "endsWith", "contains") + "(" + g.of("''", "'a'", "'b'", "'é'", "s") + ")"
	case 4:
		return g.column(classText) + ".matches(" + g.of("'^a'", "'b$'", "'^$'", "'.'", "'[^a]'") + ")"
	case 5, 6:
		return g.column(k) + " " + op + " " + g.column(k)
	case 7:
		return g.literal(k) + " " + op + " " + g.column(k)
	case 8: // only row by row, and mostly failing for NULL
		return g.of("size("+g.column(classText)+") > 1", "i8 + 1 "+op+" 5", "10 / i8 > 1", "i64 + 1 > i8", "s + t == 'ab'", "day.getFullYear() == 2024", "tms - ts "+op+" duration('0s')", "d1 * 2 "+op+" d2", "lower(s) == 'ab'", "{'a': 1, 'b': 2}[s] "+op+" i8", "coalesce(i8, 0) "+op+" 1", "b ? s == 'a' : c",
			"['a', 'b'].exists(v, s.startsWith(v))", "[1, 2, null].all(v, i8 "+op+" v || v == null)", "string(d1) == '1.00'", "f64 * 2.0 "+op+" g64", "nothing == null", "u64 + 1u "+op+" v64")
	case 9:
		return "nothing " + g.of("== null", "!= null", "== i8", "!= s", "== nothing")
	}
	return g.column(k) + " " + op + " " + g.literal(k)
}

// TestPathsAgree evaluates random expressions over random batches, over columns and
// row by row; the rows and the faults must be the same.
func TestPathsAgree(t *testing.T) {
	t.Parallel()
	g := generator{rand.New(rand.NewPCG(2024, 2))}
	tried, some, failing, refused := 0, 0, 0, 0
	for range 15 {
		whole := g.record(200)
		in := whole.NewSlice(int64(g.IntN(70)), 200-int64(g.IntN(65))) // offsets that no word starts at
		for range 50 {
			expression := g.condition(3)
			got, err := selected(t, expression, nil, in)
			tried++
			switch {
			case err != nil && fault.From(err).Class == fault.Usage:
				refused++
				if refused < 3 {
					t.Log(expression, err)
				}
			case err != nil:
				failing++
			case got != "" && strings.Count(got, " ")+1 < int(in.NumRows()):
				some++
			}
			if t.Failed() {
				t.Fatal("expression: ", expression)
			}
		}
		in.Release()
		whole.Release()
	}
	if some < tried/3 || failing < tried/50 || refused > tried/50 {
		t.Errorf("of %d expressions, %d select some rows, %d fail and %d are refused", tried, some, failing, refused)
	}
}

// FuzzExpression takes anything for an expression; it must not panic, and where it
// means something, both ways must agree.
func FuzzExpression(f *testing.F) {
	g := generator{rand.New(rand.NewPCG(7, 7))}
	in := g.record(70)
	for range 50 {
		f.Add(g.condition(2))
	}
	f.Add(`row["i8"] == 1.10e1 && [s].exists(x, x == 'a')`)
	f.Fuzz(func(t *testing.T, expression string) {
		if _, err := selected(t, expression, nil, in); err != nil && !strings.HasPrefix(err.Error(), "expression.") {
			t.Fatal(err)
		}
	})
}
