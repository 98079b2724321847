package where

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse/parsetest"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func newTestFilter(t testing.TB, mem memory.Allocator, expression string, rowByRow bool) *filter {
	t.Helper()
	made, err := newFilter(Settings{Expression: expression}, sdk.Env{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	f := made.(*filter)
	f.rowByRow = rowByRow
	return f
}

// selected returns the indexes of the rows that go on, on both paths, which must agree.
func selected(t testing.TB, expression string, in arrow.Record) (string, error) {
	t.Helper()
	var results [2]string
	var errs [2]error
	for i, rowByRow := range []bool{false, true} {
		f := newTestFilter(t, memory.DefaultAllocator, expression, rowByRow)
		if _, err := f.Bind(in.Schema()); err != nil {
			return "", err
		}
		b := &batch{}
		b.begin(context.Background(), in)
		set, err := b.run(f.root)
		errs[i] = err
		if err == nil {
			results[i] = strings.Trim(fmt.Sprint(appendIndexes(nil, set)), "[]")
		}
	}
	if results[0] != results[1] || (errs[0] == nil) != (errs[1] == nil) || errs[0] != nil && errs[0].Error() != errs[1].Error() {
		t.Errorf("%s: over columns %s (%v), row by row %s (%v)", expression, results[0], errs[0], results[1], errs[1])
	}
	return results[0], errs[0]
}

func TestConditions(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"i int32", "u uint64", "f float64", "d decimal(20,4)", "e decimal(65,10)", "s string", "b boolean", "day date", "at timestamp(3)", "clock time", "raw binary", "type string", "j int64", "g float32"},
		[]string{"1", "18446744073709551615", "1.5", "10.1000", "10.1", "Anna", "true", "2024-02-29", "2024-02-29 00:00:00", "08:30:00", "AQI=", "x", "9007199254740993", "0.5"},
		[]string{"-5", "0", "NaN", "-0.0001", "10.1000000001", "Bob", "false", "2023-12-31", "2024-02-29 12:00:00.5", "-01:00:00", "", "y", "-1", "0.1"},
		[]string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
		[]string{"100", "5", "-Infinity", "9999999999999999.9999", "9999999999999999999999999999999999999999999999999999999.9999999999", "", "true", "1969-12-31", "1969-12-31 23:59:59.999", "23:59:59", "/w==", "", "0", "NaN"},
	)
	for expression, want := range map[string]string{
		"true": "0 1 2 3", "false": "", "1 < 2": "0 1 2 3", "b": "0 3", "!b": "1 2", "b == false": "1", "b != false": "0 2 3", "b == null || b": "0 2 3", "b && i > 1": "3",
		"i == 1": "0", "i != 1": "1 2 3", "!(i == 1)": "1 2 3", "i < 2": "0 1", "!(i < 2)": "2 3", "2 > i": "0 1", "i >= 1 && i <= 100": "0 3",
		"i > 0.5": "0 3", "i >= 1.0": "0 3", "i == 1.5": "", "i != 1.5": "0 1 2 3", "i < 99999999999": "0 1 3", "i > 99999999999": "", "i == 99999999999": "",
		"i != 99999999999": "0 1 2 3", "i > -1e300": "0 1 3", "i < 0u": "1", "i == 1u": "0", "i <= 0.0 - 5.0": "1",
		"u == 18446744073709551615u": "0", "u > 9223372036854775807": "0", "u >= 5": "0 3", "u > -1": "0 1 3", "u == 18446744073709551615.0": "0", "u == i": "2", "u > i": "0 1",
		"f == 1.5": "0", "f != 1.5": "1 2 3", "f < 0": "3", "f <= 1.5": "0 3", "f > 1": "0", "f == f": "0 2 3", "f != f": "1", "f < i": "3", "f > 1e308": "", "g == 0.1": "", "g == 0.5": "0", "g < f": "0", "g > 0": "0 1",
		"d == 10.1": "0", "d == 10.10000": "0", "d == 10.10001": "", "d < 10.10001": "0 1", "d >= 10.09999": "0 3", "d < 0": "1", "d == 9999999999999999.9999": "3", "d <= 1e15": "0 1",
		"d > 1e300": "", "e == 10.1": "0", "d == e": "0 2", "d < e": "1 3", "d != e": "1 3", "e > d": "1 3", "e < 10.10000000015": "0 1", "e == 9999999999999999999999999999999999999999999999999999999.9999999999": "3",
		"d > i": "0 1 3", "d == f": "2", "d > f": "0 3", "d != null && (string(d) == '10.1000' || i == 100)": "0 3", "i != null && d != null && string(d).endsWith('.1000')": "0",
		"s == 'Anna'": "0", "s != 'Anna'": "1 2 3", "s < 'B'": "0 3", "s >= 'B'": "1", "s == ''": "3", "s == null": "2", "s != null": "0 1 3", "null == s": "2", "s > type": "", "s < type": "0 1",
		"s.startsWith('An')": "0", "s.endsWith('b')": "1", "s.contains('n')": "0", "s.startsWith('')": "0 1 3", "!s.contains('n')": "1 2 3", "s.matches('^[AB]')": "0 1", "s.matches('^$')": "3",
		"s.startsWith(type)": "3", "type == 'x'": "0", `row["type"] == 'y'`: "1", "s != null && size(s) > 3": "0", "s == null || size(s) == 0": "2 3",
		"s in ['Anna', 'Bob']": "0 1", "s in ['Anna', null]": "0 2", "s in []": "", "!(s in ['Anna'])": "1 2 3", "i in [1, 100, 7]": "0 3", "i in [1.0, 2.5]": "0", "d in [10.1, 5]": "0",
		"i in [1,2,3,4,5,6,7,8,9,100,null,99999999999,1.5]": "0 2 3", "s in ['1','2','3','4','5','6','7','8','9','Bob',null]": "1 2", "i in [i, 5]": "0 1 2 3", "u in [0,1,2,3,4,5,6,7,8,9,10]": "1 3",
		"day == '2024-02-29'": "0", "day > '2023-12-31'": "0", "day >= '2023-12-31'": "0 1", "day < '1970-01-01'": "3", "'2024-01-01' < day": "0", "day == '2024-02-29 12:00:00'": "", "day < '2024-02-29 12:00:00'": "0 1 3",
		"day != '2024-02-29'": "1 2 3", "at == '2024-02-29'": "0", "at >= '2024-02-29' && at < '2024-03-01'": "0 1", "at == '2024-02-29 12:00:00.500'": "1", "at == '2024-02-29 12:00:00.5001'": "", "at < '1970-01-01'": "3",
		"at == day": "0 2", "at > day": "1 3", "day in ['2024-02-29', '1969-12-31']": "0 3", "at < timestamp('2024-01-01T00:00:00Z')": "3", "day != null && day.getFullYear() == 2024": "0",
		"at != null && day != null && at - day == duration('12h')": "", "clock >= '08:30:00'": "0 3", "clock < '00:00:00'": "1", "clock == duration('510m')": "0", "clock == '08:30:00'": "0", "clock < duration('0s')": "1",
		"raw == b'\\x01\\x02'": "0", "raw == b''": "1", "raw > b'\\x01'": "0 3", "raw != null": "0 1 3",
		"['An', 'Bo'].exists(p, s.startsWith(p))": "0 1", "[1, 2].all(status, i != status)": "1 2 3", "i > 0 ? b : s == 'Bob'": "0 1 3", "j == 9007199254740993": "0", "j == 9007199254740992.0": "", "j > 9007199254740992.0": "0",
		"i == 1 || i / 0 == 5 || true": "0 1 2 3", "i != null && (i == 0 || 10 / i > 0)": "0", "i == null || i + 1 > 0": "0 2 3", "i == null || -i == 5": "1 2", "i != null && double(i) > 0.5": "0 3",
		"{'Anna': 1, 'Bob': 2, '': 3}[s == null ? '' : s] == 2": "1",
	} {
		got, err := selected(t, expression, in)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got != want {
			t.Errorf("%s: got rows %s, want %s", expression, got, want)
		}
	}
	for expression, text := range map[string]string{
		"i / 0 == 1": "division by zero", "i + 1 > 0": "NULL", "size(s) > 1": "NULL", "int(s == null ? '1' : s) == 1": "cannot take the values", "{'Anna': 1}[s == null ? 'Anna' : s] == 1": "cannot take the values",
		"j + 9223372036854775807 > 0": "integer overflow", "b && i / 0 == 1": "division",
	} {
		_, err := selected(t, expression, in)
		if !fault.Is(err, "where.undecided") || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "Anna") || strings.Contains(err.Error(), "Bob") {
			t.Errorf("%s: got %v, want something with %q", expression, err, text)
		}
		if row, ok := fault.From(err).Row(); !ok || expression == "b && i / 0 == 1" && row != 0 || expression == "i + 1 > 0" && row != 2 {
			t.Errorf("%s: row %d, %t", expression, row, ok)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"patient_id int64", "status string", "amount decimal(10,2)", "day date", "clock time", "is_deleted int8", "paid boolean", "big uint64"})
	fields := append(in.Schema().Fields(), arrow.Field{Name: "twice", Type: arrow.PrimitiveTypes.Int8}, arrow.Field{Name: "twice", Type: arrow.PrimitiveTypes.Int8},
		arrow.Field{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)})
	schema := arrow.NewSchema(fields, nil)
	for expression, texts := range map[string][]string{
		"patient_di == 1":         {"where.unknown_column", "column 1 of", `did you mean "patient_id"`},
		"true && nothing":         {"where.unknown_column", "column 9 of", `"nothing"`},
		"status == Cancelled":     {"where.unknown_column", `"Cancelled"`},
		`row["x y"] == 1`:         {"where.unknown_column", `"x y"`},
		`row[status] == 1`:        {"where.expression", "in quotes"},
		"twice == 1":              {"where.expression", `row["twice#1"]`},
		"list == null":            {"where.unsupported_type", `"list"`},
		"patient_id":              {"where.expression", "\"patient_id\" is int64; expected true or false"},
		"patient_id + 1":          {"where.expression", "gives int; expected true or false"},
		"is_deleted && paid":      {"where.expression", `"is_deleted" is int8; expected true or false`},
		"status":                  {"where.expression", "expected true or false"},
		"patient_id == 'x'":       {"where.expression", "column 12 of", "int is compared with text"},
		"status > 5":              {"where.expression", "text is compared with int"},
		"paid == 1":               {"where.expression", "bool is compared with int"},
		"amount + 1 > 5":          {"where.expression", "'+'", "decimal"},
		"big + 1 > 5":             {"where.expression", "'+'", "uint"},
		"amount == '1.5'":         {"where.expression", "decimal is compared with text"},
		"amount > null":           {"where.expression", "null has no order"},
		"day > '2024-13-01'":      {"where.expression", "column 7 of", "YYYY-MM-DD", "2024-13-01"},
		"day > status":            {"where.expression", "literal"},
		"day == 5":                {"where.expression", "date or timestamp is compared with int"},
		"day == clock":            {"where.expression", "is compared with"},
		"clock > '8:30'":          {"where.expression", "HH:MM:SS"},
		"patient_id in ['a']":     {"where.expression", "int is compared with text"},
		"patient_id in status":    {"where.expression", "in expects a list"},
		"day in ['2024-99-01']":   {"where.expression", "YYYY-MM-DD"},
		"status.matches('[')":     {"where.expression", "missing closing ]"},
		"status.matches(status)":  {"where.expression", "in quotes"},
		"patient_id.matches('1')": {"where.expression", "matches expects text, not int"},
		"status.startsWith(1)":    {"where.expression", "startsWith expects text, not int"},
		"status ==":               {"where.expression", "column"},
		"status == 'a' &&\n x":    {"where.unknown_column", "line 2, column 2"},
		"dyn(status) == 1":        {"where.expression", "dyn"},
		"type(status) == int":     {"where.", "int"},
		"status.size":             {"where.expression", "field selection"},
		"has(status.x)":           {"where.expression", "field selection"},
		"Foo{a: 1} == null":       {"where.expression", "no types"},
		"status.lower() == 'a'":   {"where.expression", "lower"},
		"amount > 1e99999":        {"where.expression"},
		"[status] == ['a']":       {"where.expression", "is compared with"},
		strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): {"where.expression"},
		strings.Repeat("paid || ", 510) + "paid":                     {"where.expression"},
	} {
		f := newTestFilter(t, memory.DefaultAllocator, expression, false)
		_, err := f.Bind(schema)
		var coded *fault.Fault
		if !errors.As(err, &coded) || coded.Class != fault.Usage || !strings.HasPrefix(coded.Code, texts[0]) {
			t.Errorf("%.60s: got %v, want %s", expression, err, texts[0])
			continue
		}
		for _, text := range texts[1:] {
			if !strings.Contains(coded.Message, text) {
				t.Errorf("%.60s: %q is not in %q", expression, text, coded.Message)
			}
		}
		if strings.Contains(coded.Message, "@") {
			t.Errorf("%.60s: the message shows how it works inside: %s", expression, coded.Message)
		}
	}
}

// TestComparisonHints: what does not go together is said with how to write it.
func TestComparisonHints(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"id int64", "status string", "amount decimal(10,2)", "day date", "clock time", "paid boolean"})
	const number, text, boolean = "a number stands without quotes", "text stands in quotes", "true or false, without quotes"
	for expression, want := range map[string]string{
		"id == 'x'": number, "'5' < id": number, "amount == '1.5'": number, "id in [1, '2']": number,
		"status > 5": text, "5.0 == status": text,
		"paid == 1": boolean, "paid == 'true'": boolean,
		"day == 20241231": "as in day >= '2024-12-31'", "clock > 830": "as in begins >= '08:30:00'",
		"id == status": "", "day == clock": "",
		"id == 'x' && day == 5": number, // that of the first
	} {
		_, err := newTestFilter(t, memory.DefaultAllocator, expression, false).Bind(in.Schema())
		f := fault.From(err)
		if f == nil || !strings.Contains(f.Message, "is compared with") || want == "" && f.Hint != "" || !strings.Contains(f.Hint, want) {
			t.Errorf("%s: %v, hint %q; want %q", expression, err, f.Hint, want)
		}
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"i int64"}, []string{"1"})
	list := "[" + strings.Repeat("1,", 59) + "1]"
	expression := list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c > i)))"
	if _, err := selected(t, expression, in); !fault.Is(err, "where.too_costly") {
		t.Errorf("got %v", err)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(1000, 1)
	defer in.Release()
	f := newTestFilter(t, memory.DefaultAllocator, "size(status) > 3", false)
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := f.Apply(ctx, in); err != why {
		t.Errorf("got %v", err)
	}
}

func encode(t testing.TB, records ...arrow.Record) string {
	t.Helper()
	var rows []sdk.Rows
	for _, r := range records {
		rows = append(rows, sdk.Rows{Record: r})
	}
	out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), rows...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Data)
}

// TestApply compares batches, whole and in slices, with the lines of the rows that
// are to go on.
func TestApply(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]arrow.Record{"appointments": sample.Appointments(1000, 4), "everything": sample.Everything()} {
		lines := strings.SplitAfter(encode(t, in), "\n")
		column := map[string]string{"appointments": "room_id", "everything": "int32"}[name]
		for _, expression := range []string{"%s > 300", "%s == null", "%s != null", "%s == 123456789", "%s != 123456789", "%s < 300 || %[1]s == null", "%s == 99", "%s in [15, 30, 99]"} {
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			f := newTestFilter(t, allocator, strings.ReplaceAll(fmt.Sprintf(expression, column), "%!(EXTRA string="+column+")", ""), false)
			if _, err := f.Bind(in.Schema()); err != nil {
				t.Fatal(err)
			}
			for _, step := range []int64{in.NumRows(), 1, 3, 101, 640} {
				var got, want strings.Builder
				for from := int64(0); from < in.NumRows(); from += step {
					part := in.NewSlice(from, min(from+step, in.NumRows()))
					b := &batch{}
					b.begin(context.Background(), part)
					set, err := b.run(f.root)
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range appendIndexes(nil, set) {
						want.WriteString(lines[from+int64(i)])
					}
					out, err := f.Apply(context.Background(), part)
					if err != nil {
						t.Fatal(err)
					}
					// The result must outlive what it was made of.
					part.Release()
					if !out.Schema().Equal(in.Schema()) {
						t.Error("the schema changed")
					}
					got.WriteString(encode(t, out))
					out.Release()
				}
				if got.String() != want.String() {
					t.Errorf("%s, %s in steps of %d: got\n%s\nwant\n%s", name, f.settings.Expression, step, got.String(), want.String())
				}
			}
			allocator.AssertSize(t, 0)
		}
		in.Release()
	}
}

// TestApplyNested gathers types that expressions cannot read.
func TestApplyNested(t *testing.T) {
	t.Parallel()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}}, nil)
	b := array.NewRecordBuilder(allocator, schema)
	defer b.Release()
	list := b.Field(1).(*array.ListBuilder)
	for i := range 10 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		list.Append(i%3 != 0)
		if i%3 != 0 {
			list.ValueBuilder().(*array.Int32Builder).AppendValues([]int32{int32(i), int32(-i)}, nil)
		}
	}
	in := b.NewRecord()
	defer in.Release()
	f := newTestFilter(t, allocator, "n == 1 || n == 2 || n == 6 || n == 8", false)
	if _, err := f.Bind(schema); err != nil {
		t.Fatal(err)
	}
	out, err := f.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := fmt.Sprint(out.Column(1)); got != "[[1 -1] [2 -2] (null) [8 -8]]" {
		t.Errorf("got %s", got)
	}
}

// TestNothingIsCopied wants the batch itself when all rows go on, and a slice when
// most of them do.
func TestNothingIsCopied(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(1000, 4)
	defer in.Release()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	for expression, rows := range map[string]int64{"true": 1000, "false": 0, "appointment_date >= '2023-12-18'": 640} {
		f := newTestFilter(t, allocator, expression, false)
		if _, err := f.Bind(in.Schema()); err != nil {
			t.Fatal(err)
		}
		out, err := f.Apply(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if out.NumRows() != rows || allocator.CurrentAlloc() != 0 {
			t.Errorf("%s: %d rows, %d bytes", expression, out.NumRows(), allocator.CurrentAlloc())
		}
		out.Release()
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(700, 2)
	defer in.Release()
	f := newTestFilter(t, memory.DefaultAllocator, "amount > 300.50 && status.matches('^[AB]') && size(status) > 3 || (room_id + 1 > 5 || size(status) > 9) && size(status) == 20", false)
	if _, err := f.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	want, err := f.Apply(context.Background(), in)
	if err != nil || want.NumRows() == 0 || want.NumRows() == 700 {
		t.Fatal(want, err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10 {
				got, err := f.Apply(context.Background(), in)
				if err != nil || !array.RecordEqual(got, want) {
					t.Errorf("another result than alone (%v)", err)
					return
				}
				got.Release()
			}
		})
	}
	group.Wait()
}

func BenchmarkApply(b *testing.B) {
	in := sample.Appointments(8192, 1)
	defer in.Release()
	for _, c := range []struct{ name, expression string }{
		{"integer", "patient_id > 0"}, {"half of the rows", "cancelled == 1"}, {"a tenth of the rows", "duration == 15 || duration == 30 || duration == 45 || duration == 60"},
		{"decimal", "amount < 0"}, {"text", "status == 'nothing like it'"}, {"contains", "status.contains('xyz')"}, {"matches", "status.matches('^x')"},
		{"date and flags", "appointment_date >= '2030-01-01' && is_deleted == 0 && status != 'Cancelled by patient'"}, {"in", "status in ['A', 'B', 'C']"}, {"row by row", "size(status) > 100"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newTestFilter(b, memory.DefaultAllocator, c.expression, false)
			if _, err := f.Bind(in.Schema()); err != nil {
				b.Fatal(err)
			}
			meter := sample.NewMeter(b)
			for b.Loop() {
				out, err := f.Apply(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
				meter.Rows += in.NumRows()
				meter.Size += in.NumRows() * 185
			}
			meter.Report()
		})
	}
}
