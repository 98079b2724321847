package format

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// put runs a Put function with exactly the room that it asks for.
func put(room int, f func(b []byte, n int) int) string {
	b := make([]byte, 3+room)
	return string(b[3:f(b, 3)])
}

func TestIntegers(t *testing.T) {
	values := []uint64{0, math.MaxUint64, math.MaxInt64, 1 << 63}
	for p := uint64(1); ; p *= 10 {
		values = append(values, p-1, p, p+1, p*9+p/2)
		if p > math.MaxUint64/10 {
			break
		}
	}
	for v := range uint64(1_010_000) {
		values = append(values, v)
	}
	for _, v := range values {
		if got, want := put(MaxInt, func(b []byte, n int) int { return PutUint(b, n, v) }), strconv.FormatUint(v, 10); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if got, want := put(MaxInt, func(b []byte, n int) int { return PutInt(b, n, int64(v)) }), strconv.FormatInt(int64(v), 10); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// referenceDecimal writes a decimal with math/big alone.
func referenceDecimal(v *big.Int, scale int) string {
	digits := new(big.Int).Abs(v).String()
	if scale <= 0 {
		if digits != "0" {
			digits += strings.Repeat("0", -scale)
		}
	} else {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale+1-len(digits)) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}

func FuzzDecimal(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint64(0), uint64(0), int8(0))
	f.Add(uint64(5), uint64(0), uint64(0), uint64(0), int8(2))
	f.Add(^uint64(4), ^uint64(0), ^uint64(0), ^uint64(0), int8(2))
	f.Add(uint64(0), uint64(1)<<63, uint64(0), uint64(0), int8(38))
	f.Add(uint64(0), uint64(0), uint64(0), uint64(1)<<63, int8(76))
	f.Add(uint64(10000000000000000000), uint64(0), uint64(0), uint64(0), int8(19))
	f.Add(uint64(0), uint64(1), uint64(0), uint64(0), int8(-76))
	f.Add(uint64(0), uint64(0), uint64(0), uint64(0), int8(-8))
	f.Fuzz(func(t *testing.T, a, b, c, d uint64, scale int8) {
		s := int(scale) % (MaxScale + 1)
		small := decimal128.New(int64(b), a)
		if got, want := put(MaxDecimal, func(out []byte, n int) int { return PutDecimal128(out, n, small, s) }),
			referenceDecimal(small.BigInt(), s); got != want {
			t.Errorf("decimal128 scale %d: got %s, want %s", s, got, want)
		}
		large := decimal256.New(d, c, b, a)
		if got, want := put(MaxDecimal, func(out []byte, n int) int { return PutDecimal256(out, n, large, s) }),
			referenceDecimal(large.BigInt(), s); got != want {
			t.Errorf("decimal256 scale %d: got %s, want %s", s, got, want)
		}
	})
}

func TestDays(t *testing.T) {
	f := newTimeFormat(0, 0)
	// Every day of the years -1 to 10001, against package time.
	for day := int64(-719528 - 800); day < 2932896+800; day++ {
		got := put(MaxTime, func(b []byte, n int) int { return f.putDate(b, n, day) })
		y, m, d := time.Unix(day*secondsPerDay, 0).UTC().Date()
		if y >= 0 && y <= 9999 {
			if want := time.Unix(day*secondsPerDay, 0).UTC().Format("2006-01-02"); got != want {
				t.Fatalf("day %d: got %s, want %s", day, got, want)
			}
			continue
		}
		sign := ""
		if y < 0 {
			sign, y = "-", -y
		}
		want := strconv.Itoa(y)
		want = sign + strings.Repeat("0", max(0, 4-len(want))) + want + time.Date(2000, m, d, 0, 0, 0, 0, time.UTC).Format("-01-02")
		if got != want {
			t.Fatalf("day %d: got %s, want %s", day, got, want)
		}
	}
}

func FuzzTimestamp(f *testing.F) {
	f.Add(int64(0), int64(-1), uint8(0))
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), uint8(3))
	f.Add(int64(1709210096000007), int64(1709210096000006), uint8(2))
	f.Fuzz(func(t *testing.T, first, second int64, unit uint8) {
		held := int(unit) % 4 * 3
		format := newTimeFormat(held, held)
		// One after the other, so that the remembered day is used or must not be.
		for _, v := range []int64{first, second, first} {
			got := put(MaxTime, func(b []byte, n int) int { return format.putTimestamp(b, n, v) })
			per := int64(math.Pow10(held))
			seconds, rest := v/per, v%per
			if rest < 0 {
				seconds--
				rest += per
			}
			when := time.Unix(seconds, rest*int64(math.Pow10(9-held))).UTC()
			if y := when.Year(); seconds < -1<<55 || seconds > 1<<55 || y < 0 || y > 9999 {
				// Beyond package time's layout; the clock must still agree.
				clock := ((v % (86400 * per)) + 86400*per) % (86400 * per)
				want := put(MaxTime, func(b []byte, n int) int { return format.putDuration(b, n, clock) })
				if !strings.HasSuffix(got, " "+want) {
					t.Errorf("%d at 10^-%d s: got %s, want the time of day %s", v, held, got, want)
				}
				continue
			}
			layout := "2006-01-02 15:04:05"
			if held > 0 {
				layout += "." + strings.Repeat("0", held)
			}
			if want := when.Format(layout); got != want {
				t.Errorf("%d at 10^-%d s: got %s, want %s", v, held, got, want)
			}
		}
	})
}

func TestFractions(t *testing.T) {
	for _, c := range []struct {
		held, written int
		v             int64
		want          string
	}{
		{6, 0, 1_000_000, "00:00:01"},
		{6, 0, 1_000_001, ""},
		{6, 2, 1_230_000, "00:00:01.23"},
		{6, 2, 1_234_000, ""},
		{6, 6, -1, "-00:00:00.000001"},
		{3, 6, 1_002, "00:00:01.002000"},
		{0, 3, 3_020_399, "838:59:59.000"},
		{9, 9, math.MinInt64, "-2562047:47:16.854775808"},
	} {
		f := newTimeFormat(c.held, c.written)
		b := make([]byte, MaxTime)
		n := f.putDuration(b, 0, c.v)
		if c.want == "" {
			if n != -1 {
				t.Errorf("%+v: a digit was lost: %s", c, b[:n])
			}
			continue
		}
		if n < 0 || string(b[:n]) != c.want {
			t.Errorf("%+v: got %q", c, b[:max(n, 0)])
		}
	}
}

func FuzzFloat(f *testing.F) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1e21, 1e-6, 9.9e-7, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(-1)} {
		f.Add(math.Float64bits(v))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		v := math.Float64frombits(bits)
		got := put(MaxFloat, func(b []byte, n int) int { return putFloat(b, n, v, 64) })
		back, err := strconv.ParseFloat(got, 64)
		if err != nil || back != v && !(back != back && v != v) || math.Signbit(back) != math.Signbit(v) && v == v {
			t.Errorf("%x: %s reads back as %v (%v)", bits, got, back, err)
		}
		if v-v == 0 && !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON number", got)
		}
		single := math.Float32frombits(uint32(bits))
		got = put(MaxFloat, func(b []byte, n int) int { return putFloat(b, n, float64(single), 32) })
		if back, err := strconv.ParseFloat(got, 32); err != nil || float32(back) != single && single == single {
			t.Errorf("%x: %s reads back as %v (%v)", uint32(bits), got, back, err)
		}
	})
}

func FuzzJSONText(f *testing.F) {
	f.Add("plain text of more than eight bytes", 0, uint8(','))
	f.Add("\x00\x1f \"\\\x7f\x80ü漢😀\u2028<>&", 3, uint8(';'))
	f.Add("12345678\xff", 8, uint8('\t'))
	f.Fuzz(func(t *testing.T, text string, cut int, without uint8) {
		without &= 0x7f
		if without == ' ' {
			return
		}
		data := []byte(text)
		from := 0
		if len(data) > 0 {
			from = int(uint(cut) % uint(len(data)+1))
		}
		part := data[from:]
		// With and without bytes behind the text, and in the exact room.
		for _, to := range []int{len(data), from + len(part)/2} {
			p := PlainWithout(without)
			want := true
			for _, c := range data[from:to] {
				if c < ' ' || c == '"' || c >= 0x80 || c == without {
					want = false
				}
			}
			b := make([]byte, to-from+Slack)
			n, plain := PutPlain(b, 0, data, from, to, p)
			if plain != want || plain && string(b[:n]) != string(data[from:to]) {
				t.Errorf("PutPlain(%q) = %q, %t; want %t", data[from:to], b[:n], plain, want)
			}
		}
		valid := AppendValid(nil, part)
		if !utf8.Valid(valid) || string(valid) != string([]rune(string(part))) {
			t.Errorf("AppendValid(%q) = %q", part, valid)
		}
		quoted := append(AppendJSON([]byte{'"'}, valid), '"')
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != string(valid) {
			t.Errorf("%q reads back as %q (%v)", quoted, back, err)
		}
		if strings.ContainsAny(string(quoted), "\n\r") {
			t.Errorf("%q spans lines", quoted)
		}
	})
}

func TestPlanRefuses(t *testing.T) {
	field := func(name string, t arrow.DataType) arrow.Field { return arrow.Field{Name: name, Type: t} }
	bad := field("when", arrow.FixedWidthTypes.Timestamp_us)
	bad.Metadata = arrow.NewMetadata([]string{sdk.MetaFraction}, []string{"10"})
	for _, c := range []struct {
		field arrow.Field
		code  string
	}{
		{field("tags", arrow.ListOf(arrow.BinaryTypes.String)), "encoder.unsupported_type"},
		{field("address", arrow.StructOf(field("street", arrow.BinaryTypes.String))), "encoder.unsupported_type"},
		{field("code", &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}), "encoder.unsupported_type"},
		{field("span", arrow.FixedWidthTypes.MonthDayNanoInterval), "encoder.unsupported_type"},
		{field("half", arrow.FixedWidthTypes.Float16), "encoder.unsupported_type"},
		{field("tiny", &arrow.Decimal128Type{Precision: 38, Scale: 77}), "encoder.unsupported_type"},
		{bad, "encoder.invalid_metadata"},
	} {
		other := field("other", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String))
		_, err := ColumnsOf(arrow.NewSchema([]arrow.Field{field("ok", arrow.PrimitiveTypes.Int8), c.field, other}, nil))
		if !fault.Is(err, c.code) {
			t.Errorf("%s: %v; want %s", c.field, err, c.code)
		} else if text := err.Error(); !strings.Contains(text, strconv.Quote(c.field.Name)) || !strings.Contains(text, `"other"`) {
			t.Errorf("not all columns are named: %s", text)
		}
	}
}

// BenchmarkTimestampDaysApart has no two neighbours on one day.
func BenchmarkTimestampDaysApart(b *testing.B) {
	f := newTimeFormat(6, 0)
	var out [MaxTime]byte
	var v int64
	for b.Loop() {
		v = (v*7 + 31*secondsPerDay) % 1_800_000_000
		f.putTimestamp(out[:], 0, v*1e6)
	}
}
