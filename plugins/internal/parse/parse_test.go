package parse

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
)

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typeName, text string
		want           string // a status, or what the encoders write
	}{
		{"int8", "-128", "-128"}, {"int8", "128", "inexact"}, {"int8", "007", "7"}, {"int8", "", "malformed"},
		{"int8", "+1", "malformed"}, {"int8", "-", "malformed"}, {"int8", "1.0", "malformed"}, {"int8", " 1", "malformed"},
		{"int64", "-9223372036854775808", "-9223372036854775808"}, {"int64", "-9223372036854775809", "inexact"},
		{"int64", "9223372036854775808", "inexact"}, {"int64", "99999999999999999999x", "malformed"},
		{"uint64", "18446744073709551615", "18446744073709551615"}, {"uint64", "18446744073709551616", "inexact"},
		{"uint64", "99999999999999999999", "inexact"}, {"uint64", "-1", "malformed"}, {"uint8", "256", "inexact"},
		{"uint64", "00000000000000000000000000001", "1"},
		{"float64", "1e400", "inexact"}, {"float64", "0x10", "malformed"}, {"float64", "1_0", "malformed"}, {"float64", "inf", "malformed"},
		{"float64", "-Infinity", "-Infinity"}, {"float64", "NaN", "NaN"}, {"float64", "", "malformed"}, {"float64", "5e-324", "5e-324"},
		{"float32", "1e39", "inexact"}, {"float32", "0.1", "0.1"},
		{"boolean", "true", "true"}, {"boolean", "1", "malformed"}, {"boolean", "TRUE", "malformed"},
		{"decimal(5,2)", "-123.45", "-123.45"}, {"decimal(5,2)", "123.450000", "123.45"}, {"decimal(5,2)", "123.456", "inexact"},
		{"decimal(5,2)", "1234", "inexact"}, {"decimal(5,2)", ".5", "malformed"}, {"decimal(5,2)", "5.", "malformed"},
		{"decimal(5,2)", "1e2", "malformed"}, {"decimal(5,2)", "--1", "malformed"}, {"decimal(5,2)", "0001.5", "1.50"},
		{"decimal(5,2)", "1.2.3", "malformed"}, {"decimal(5,2)", "-", "malformed"}, {"decimal(5,2)", "-0", "0.00"},
		{"decimal(38,0)", strings.Repeat("9", 38), strings.Repeat("9", 38)}, {"decimal(38,0)", strings.Repeat("9", 39), "inexact"},
		{"decimal(76,30)", "-" + strings.Repeat("9", 46) + "." + strings.Repeat("9", 30), "-" + strings.Repeat("9", 46) + "." + strings.Repeat("9", 30)},
		{"date", "2024-02-29", "2024-02-29"}, {"date", "2023-02-29", "malformed"}, {"date", "2024-13-01", "malformed"},
		{"date", "2024-00-10", "malformed"}, {"date", "24-01-01", "malformed"}, {"date", "0000-01-01", "0000-01-01"},
		{"date", "-0001-12-31", "-0001-12-31"}, {"date", "12024-01-01", "12024-01-01"}, {"date", "02024-01-01", "malformed"},
		{"date", "9999999-01-01", "inexact"}, {"date", "99999999999999999999-01-01", "inexact"}, {"date", "--024-01-01", "malformed"}, {"date", "2024-1-01", "malformed"},
		{"timestamp", "2024-02-29 23:59:59", "2024-02-29 23:59:59"}, {"timestamp", "2024-02-29T23:59:59", "2024-02-29 23:59:59"},
		{"timestamp", "2024-02-29", "2024-02-29 00:00:00"}, {"timestamp", "2024-02-29 24:00:00", "malformed"},
		{"timestamp", "2024-02-29 23:59:60", "malformed"}, {"timestamp", "2024-02-29 23:59:59.5", "inexact"},
		{"timestamp", "2024-02-29 23:59:59.000", "2024-02-29 23:59:59"}, {"timestamp", "2024-02-29 23:59:59Z", "malformed"},
		{"timestamp", "2024-02-29 3:59:59", "malformed"}, {"timestamp", "2024-02-29 ", "malformed"}, {"timestamp", "2024-02-29 100:00:00", "malformed"},
		{"timestamp(3)", "1969-12-31 23:59:59.999", "1969-12-31 23:59:59.999"}, {"timestamp(1)", "1969-12-31 23:59:59.99", "inexact"},
		{"timestamp(9)", "2024-02-29 23:59:59.0000000010", "2024-02-29 23:59:59.000000001"},
		{"timestamp(9)", "2024-02-29 23:59:59.00000000101", "inexact"}, {"timestamp(9)", "2400-01-01 00:00:00", "inexact"},
		{"timestamp(6)", "2024-02-29 23:59:59.", "malformed"}, {"timestamp(6)", "2024-02-29 23:59:59.1x", "malformed"},
		{"time", "-838:59:59", "-838:59:59"}, {"time(6)", "00:00:00.000001", "00:00:00.000001"}, {"time(6)", "-00:00:00.5", "-00:00:00.500000"},
		{"time", "1:00:00", "malformed"}, {"time", "001:00:00", "malformed"}, {"time", "00:60:00", "malformed"},
		{"time", "99999999999999999999:00:00", "inexact"}, {"time", "2562047788015215:30:08", "inexact"},
		{"time", "-2562047788015215:30:08", "-2562047788015215:30:08"}, {"time", "-2562047788015215:30:09", "inexact"},
		{"binary", "AQI=", "AQI="}, {"binary", "AQI", "malformed"}, {"binary", "AR==", "malformed"}, {"binary", "AQ\nI=", "malformed"}, {"binary", "", ""},
		{"string", " as it is ", " as it is "},
	} {
		got := spell(t, c.typeName, c.text)
		if got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.typeName, c.text, got, c.want)
		}
	}
}

// spell reads a text, and writes the value with package format.
func spell(t *testing.T, typeName, text string) string {
	t.Helper()
	f, err := Retype(arrow.Field{Name: "x"}, typeName)
	if err != nil {
		t.Fatal(err)
	}
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	c, ok := NewColumn(allocator, f)
	if !ok {
		t.Fatalf("no column of type %s", typeName)
	}
	defer c.Release()
	switch c.Append([]byte(text)) {
	case Malformed:
		return "malformed"
	case Inexact:
		return "inexact"
	}
	a := c.NewArray()
	defer a.Release()
	if a.Len() != 1 {
		t.Errorf("%s %q: %d values", typeName, text, a.Len())
	}
	return written(t, f, a, 0)
}

func written(t *testing.T, f arrow.Field, a arrow.Array, row int) string {
	t.Helper()
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{f}, nil))
	if err != nil {
		t.Fatal(err)
	}
	p := columns[0]
	p.Load(a)
	switch p.Class {
	case format.Text:
		data, from, to := p.Span(row)
		return string(data[from:to])
	case format.Binary:
		data, from, to := p.Span(row)
		b := make([]byte, format.Base64Len(to-from)+format.Slack)
		return string(b[:format.PutBase64(b, 0, data[from:to])])
	}
	b := make([]byte, p.Max+format.Slack)
	n := p.PutFixed(b, 0, row)
	if n < 0 {
		return "inexact fraction"
	}
	return string(b[:n])
}

// TestEverything reads back what package format writes of every type's extremes.
func TestEverything(t *testing.T) {
	t.Parallel()
	record := sample.Everything()
	defer record.Release()
	for i, f := range record.Schema().Fields() {
		c, ok := NewColumn(memory.DefaultAllocator, f)
		if f.Type.ID() == arrow.FIXED_SIZE_BINARY {
			if ok {
				t.Errorf("%s: fixed-size binary is not to be read", f.Name)
			}
			continue
		}
		if !ok {
			t.Errorf("%s: cannot be read", f.Name)
			continue
		}
		for row := range 3 {
			if f.Type.ID() == arrow.NULL || record.Column(i).IsNull(row) {
				c.AppendNull()
				continue
			}
			if text := written(t, f, record.Column(i), row); c.Append([]byte(text)) != OK {
				t.Errorf("%s: %q cannot be read", f.Name, text)
				c.AppendNull()
			}
		}
		c.AppendNull()
		if a := c.NewArray(); !array.Equal(a, record.Column(i)) {
			t.Errorf("%s: got %v, want %v", f.Name, a, record.Column(i))
		}
	}
}

func TestTypeFaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"in64": `"int64"`, "decimal": "decimal(10,2)", "decimal(77,1)": "1 to 76", "decimal(5,6)": "up to it", "decimal(5)": "decimal(precision,scale)",
		"timestamp(10)": "0 to 9", "time(1,2)": "time(N)", "": "no column type", "int64 ": `"int64"`,
	} {
		if _, _, err := Type(name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, want something with %s", name, err, text)
		}
	}
	for _, name := range TypeNames {
		if _, _, err := Type(name); err != nil && name != "decimal" {
			t.Error(err)
		}
	}
}

// TestCalendar holds the calendar against package time's.
func TestCalendar(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		day := r.Int64N(8_000_000) - 4_000_000
		want := time.Unix(day*86400, 0).UTC()
		y, m, d := FromCivil(day)
		if y != int64(want.Year()) || m != int64(want.Month()) || d != int64(want.Day()) || Civil(y, m, d) != day {
			t.Fatalf("day %d: got %d-%d-%d, want %s", day, y, m, d, want)
		}
		if n := want.AddDate(0, 1, -want.Day()).Day(); int64(n) != DaysInMonth(y, m) && want.Day() == 1 {
			t.Fatalf("%d-%d has %d days, not %d", y, m, n, DaysInMonth(y, m))
		}
	}
}

func FuzzDecimal(f *testing.F) {
	f.Add("-12.50", uint8(10), uint8(2))
	f.Add("000123456789012345678901234567890.10", uint8(65), uint8(30))
	f.Fuzz(func(t *testing.T, text string, precision, scale uint8) {
		p := int(precision%MaxPrecision) + 1
		s := int(scale) % (p + 1)
		got, status := Decimal256([]byte(text), p, s)
		exact, ok := new(big.Rat).SetString(text)
		if strings.ContainsAny(text, "eE/_xXpPbBoO+") || strings.HasPrefix(strings.TrimPrefix(text, "-"), ".") || strings.HasSuffix(text, ".") || len(text) > 500 {
			if status == OK && len(text) <= 500 {
				t.Fatalf("%q was taken", text)
			}
			return
		}
		if !ok {
			if status != Malformed {
				t.Fatalf("%q: status %d, and it is no number", text, status)
			}
			return
		}
		scaled := exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s)), nil)))
		fits := scaled.IsInt() && new(big.Int).Abs(scaled.Num()).Cmp(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p)), nil)) < 0
		if (status == OK) != fits || fits && got != decimal256.FromBigInt(scaled.Num()) {
			t.Fatalf("%q as decimal(%d,%d): status %d, %v; want %s", text, p, s, status, got, scaled)
		}
		if p <= 38 {
			narrow, status128 := Decimal128([]byte(text), p, s)
			if status128 != status || fits && narrow != decimal128.FromBigInt(scaled.Num()) {
				t.Fatalf("%q as decimal(%d,%d) of 128 bits: status %d, %v", text, p, s, status128, narrow)
			}
		}
	})
}

// FuzzTimestamp holds the reader against package time's.
func FuzzTimestamp(f *testing.F) {
	f.Add("2024-02-29 23:59:59.123456789")
	f.Add("0000-01-01")
	f.Add("-838:59:59.5")
	f.Fuzz(func(t *testing.T, text string) {
		if v, status := Duration([]byte(text), 1e6); status == OK {
			f := arrow.Field{Type: &arrow.DurationType{Unit: arrow.Microsecond}}
			b := array.NewDurationBuilder(memory.DefaultAllocator, f.Type.(*arrow.DurationType))
			b.Append(arrow.Duration(v))
			back := written(t, f, b.NewArray(), 0)
			again, status := Duration([]byte(back), 1e6)
			if status != OK || again != v {
				t.Fatalf("%q became %s", text, back)
			}
		}
		seconds, nanos, status := Instant([]byte(text))
		want, err := time.Parse("2006-01-02 15:04:05", strings.Replace(text, "T", " ", 1))
		if err != nil {
			want, err = time.Parse("2006-01-02", text)
		}
		if len(text) > 29 || strings.Contains(text, ",") || err == nil && strings.IndexByte(text, ':') > 0 && (text[13] != ':' || text[11] == ' ') {
			return // package time takes more digits, a comma, one digit of hours, and a space before it
		}
		if err != nil {
			if status == OK && text[0] != '-' && text[4] == '-' {
				t.Fatalf("%q was taken: %v", text, err)
			}
			return
		}
		if status != OK || want.Unix() != seconds || int64(want.Nanosecond()) != nanos {
			t.Fatalf("%q: got %d.%09d (%d), want %s", text, seconds, nanos, status, want)
		}
	})
}

func TestCombine(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		factor := []int64{1, 1e3, 1e6, 1e9, 86400}[r.IntN(5)]
		a := int64(r.Uint64())
		if r.IntN(2) == 0 {
			a = math.MaxInt64/factor + r.Int64N(5) - 2
			if r.IntN(2) == 0 {
				a = -a
			}
		}
		b := r.Int64N(factor)
		want := new(big.Int).Add(new(big.Int).Mul(big.NewInt(a), big.NewInt(factor)), big.NewInt(b))
		got, ok := combine(a, factor, b)
		if ok != want.IsInt64() || ok && got != want.Int64() {
			t.Fatal(fmt.Sprint(a, "×", factor, "+", b, " = ", got, ok, ", want ", want))
		}
	}
}
