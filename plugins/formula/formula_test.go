package formula

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse/parsetest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// values are the results as the encoders write them, by row; NULL is "-". A fault is its code.
func values(t testing.TB, f *Formula, in arrow.Record) (list []string) {
	t.Helper()
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{f.Type.Field("x", true)}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range in.NumRows() {
		row := in.NewSlice(i, i+1)
		a, err := f.Column(memory.DefaultAllocator, row.Columns(), 1, func() error { return nil })
		row.Release()
		if err != nil {
			list = append(list, fault.From(err).Code)
			continue
		}
		c := columns[0]
		c.Load(a)
		switch {
		case c.IsNull(0):
			list = append(list, "-")
		case c.Class == format.Text || c.Class == format.Binary:
			data, from, to := c.Span(0)
			list = append(list, string(data[from:to]))
		default:
			b := make([]byte, c.Max+format.Slack)
			list = append(list, string(b[:c.PutFixed(b, 0, 0)]))
		}
		a.Release()
	}
	return list
}

var params = config.Parameters{
	"n": {Type: "integer", Value: int64(7)}, "s": {Type: "string", Value: "Anna"}, "none": {Type: "string"},
	"d": {Type: "decimal", Value: json.Number("1.50")}, "day": {Type: "date", Value: "2024-02-29"}, "later": {Type: "decimal", Unknown: true},
}

func TestValues(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"i int64", "u uint64", "f float64", "d decimal(10,2)", "w decimal(65,30)", "s string", "b boolean", "day date", "at timestamp(3)", "clock time", "j int32"},
		[]string{"7", "18446744073709551615", "1.5", "10.10", "0.000000000000000000000000000001", "Änne", "true", "2024-02-29", "2024-02-29 12:30:45.678", "08:30:00", "3"},
		[]string{"-9223372036854775808", "1", "-0.5", "-99999999.99", "99999999999999999999999999999999999.999999999999999999999999999999", " x ", "false", "1969-12-31", "1969-12-31 23:59:59.999", "-01:00:00", "-3"},
		[]string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
	)
	for expression, want := range map[string]string{
		"1 + 2": "int64: 3|3|3", "j + 1": "int64: 4|-2|expression.null", "i + 1": "int64: 8|-9223372036854775807|expression.null",
		"i - 1": "int64: 6|expression.overflow|expression.null", "-i": "int64: -7|expression.overflow|expression.null", "i * 2": "int64: 14|expression.overflow|expression.null",
		"i / -1": "int64: -7|expression.overflow|expression.null", "i / 2": "int64: 3|-4611686018427387904|expression.null", "i % 4": "int64: 3|0|expression.null",
		"j / 0": "int64: expression.division_by_zero|expression.division_by_zero|expression.null", "u + 1u": "uint64: expression.overflow|2|expression.null",
		"u - 2u": "uint64: 18446744073709551613|expression.overflow|expression.null", "u + i": "decimal(21,0): 18446744073709551622|-9223372036854775807|expression.null",
		"d + 1": "decimal(11,2): 11.10|-99999998.99|expression.null", "d + 0.005": "decimal(12,3): 10.105|-99999999.985|expression.null", "d * d": "decimal(20,4): 102.0100|9999999998000000.0001|expression.null",
		"d - d": "decimal(11,2): 0.00|0.00|expression.null", "-d": "decimal(10,2): -10.10|99999999.99|expression.null", "d * 3": "decimal(11,2): 30.30|-299999999.97|expression.null",
		"w * 10":  "decimal(67,30): 0.000000000000000000000000000010|999999999999999999999999999999999999.999999999999999999999999999990|expression.null",
		"w * w":   "decimal(76,60): 0.000000000000000000000000000000000000000000000000000000000001|expression.overflow|expression.null",
		"f + 0.5": "float64: 2|0|expression.null", "f * f": "float64: 2.25|0.25|expression.null",
		"divide(d, 3, 2, 'half_up')": "decimal(11,2): 3.37|-33333333.33|expression.null", "divide(1, 0, 2, 'down')": "decimal(4,2): expression.division_by_zero|expression.division_by_zero|expression.division_by_zero",
		"round(2.5, 0, 'half_even')": "decimal(2,0): 2|2|2", "round(2.5, 0, 'half_up')": "decimal(2,0): 3|3|3", "round(-2.5, 0, 'half_down')": "decimal(2,0): -2|-2|-2", "round(-2.1, 0, 'floor')": "decimal(2,0): -3|-3|-3",
		"round(d, 4, 'down')": "decimal(12,4): 10.1000|-99999999.9900|expression.null", "round(d, 1, 'up')": "decimal(10,1): 10.1|-100000000.0|expression.null", "abs(d)": "decimal(10,2): 10.10|99999999.99|expression.null",
		"abs(i)":         "int64: 7|expression.overflow|expression.null",
		"coalesce(d, 0)": "decimal(10,2): 10.10|-99999999.99|0.00", "coalesce(s, 'none')": "string: Änne| x |none", "coalesce(j, i, 5)": "int64: 3|-3|5", "d == null ? null : d + 1": "decimal(11,2): 11.10|-99999998.99|-",
		"j > 0 ? 'plus' : 'minus'": "string: plus|minus|minus", "b ? 1 : 0": "int64: 1|0|0", "!b": "boolean: false|true|true", "b": "boolean: true|false|-", "b == null": "boolean: false|false|true",
		"i == 7 && d / 1 == d": "", "j > 0 ? 1 : 1.5": "decimal(2,1): 1.0|1.5|1.5", "j > 0 ? at : null": "timestamp(3): 2024-02-29 12:30:45.678|-|-",
		"d == 10.1": "boolean: true|false|false", "d != 10.1": "boolean: false|true|true", "i > 1.5": "boolean: true|false|false", "u > i": "boolean: true|true|false", "d in [10.1, null]": "boolean: true|false|true",
		"day == '2024-02-29'": "boolean: true|false|false", "at > day": "boolean: true|true|false", "at < '2024-02-29 12:30:45.6785'": "boolean: true|true|false", "clock < '00:00:00'": "boolean: false|true|false",
		"lower(s)": "string: änne| x |expression.null", "s.upper()": "string: ÄNNE| X |expression.null", "trim(s)": "string: Änne|x|expression.null", "length(s)": "int64: 4|3|expression.null", "s + '!'": "string: Änne!| x !|expression.null",
		"substring(s, 1)": "string: nne|x |expression.null", "substring(s, 0, 1)": "string: Ä| |expression.null", "substring(s, 9, 12)": "string: ||expression.null", "substring(s, -1)": "string: expression.out_of_range|expression.out_of_range|expression.null",
		"replace(s, 'n', 'm')": "string: Ämme| x |expression.null", "concat(s, '-', string(j))": "string: Änne-3| x --3|expression.null", "s.contains('nn')": "boolean: true|false|false", "s.startsWith(' ')": "boolean: false|true|false",
		"string(d)": "string: 10.10|-99999999.99|expression.null", "string(at)": "string: 2024-02-29 12:30:45.678|1969-12-31 23:59:59.999|expression.null", "string(day)": "string: 2024-02-29|1969-12-31|expression.null", "string(b)": "string: true|false|expression.null",
		"int(d)": "int64: expression.inexact|expression.inexact|expression.null", "int('12')": "int64: 12|12|12", "int('1x')": "int64: expression.conversion|expression.conversion|expression.conversion", "int(u)": "int64: expression.overflow|1|expression.null",
		"decimal('1.20', 5, 2)": "decimal(5,2): 1.20|1.20|1.20", "decimal('1.234', 5, 2)": "decimal(5,2): expression.conversion|expression.conversion|expression.conversion", "decimal(d, 12, 4)": "decimal(12,4): 10.1000|-99999999.9900|expression.null",
		"decimal(d, 4, 1)": "decimal(4,1): 10.1|expression.inexact|expression.null", "decimal(i, 5, 0)": "decimal(5,0): 7|expression.overflow|expression.null",
		"year(day)": "int64: 2024|1969|expression.null", "month(at)": "int64: 2|12|expression.null", "day.day()": "int64: 29|31|expression.null", "hour(at)": "int64: 12|23|expression.null", "second(at)": "int64: 45|59|expression.null",
		"addDays(day, 1)": "date: 2024-03-01|1970-01-01|expression.null", "addMonths(day, 12)": "date: 2025-02-28|1970-12-31|expression.null", "addYears(day, -2024)": "date: 0000-02-29|expression.out_of_range|expression.null",
		"addDays(day, 9999999)": "date: expression.out_of_range|expression.out_of_range|expression.null", "addSeconds(at, 1)": "timestamp(3): 2024-02-29 12:30:46.678|1970-01-01 00:00:00.999|expression.null",
		"daysBetween(day, date(at))": "int64: 0|0|expression.null", "daysBetween(day, '2024-03-01')": "", "daysBetween(day, date('2024-03-01'))": "int64: 1|19784|expression.null", "secondsBetween(day, at)": "decimal(22,3): 45045.678|86399.999|expression.null",
		"truncate(day, 'month')": "date: 2024-02-01|1969-12-01|expression.null", "truncate(at, 'hour')": "timestamp(3): 2024-02-29 12:00:00.000|1969-12-31 23:00:00.000|expression.null", "truncate(day, 'quarter')": "date: 2024-01-01|1969-10-01|expression.null",
		"timestamp('2024-02-29 01:02:03.5', 1)": "timestamp(1): 2024-02-29 01:02:03.5|2024-02-29 01:02:03.5|2024-02-29 01:02:03.5", "timestamp(day)": "timestamp: 2024-02-29 00:00:00|1969-12-31 00:00:00|expression.null",
		"params.n + j": "int64: 10|4|expression.null", "params.d * 2": "decimal(4,2): 3.00|3.00|3.00", "params.none == null": "boolean: true|true|true", "has(params.none)": "boolean: false|false|false", "day >= params.day": "boolean: true|false|false",
		"s == params.s": "boolean: false|false|false", "params.later * 2": "unknown: ", "i > 100 || i / 0 == 1": "boolean: expression.division_by_zero|expression.division_by_zero|expression.null", "i / 0 == 1 || true": "boolean: true|true|true",
		"1e3 + 0.001":                "decimal(8,3): 1000.001|1000.001|1000.001",
		"{'Änne': 1, ' x ': 2.5}[s]": "decimal(2,1): 1.0|2.5|expression.no_key", "{7: 'seven', 8: null}[i]": "string: seven|expression.no_key|expression.no_key", "['Ä', ' '].exists(v, s.startsWith(v))": "boolean: true|true|false",
		"[1, 2, j].all(v, v > 0)": "boolean: true|false|false", "[].all(v, v > 0)": "boolean: true|true|true", "[[1][0]].exists(v, true)": "",
		"at - day": "time(3): 12:30:45.678|23:59:59.999|expression.null", "day - at": "time(3): -12:30:45.678|-23:59:59.999|expression.null", "day + clock": "timestamp: 2024-02-29 08:30:00|1969-12-30 23:00:00|expression.null",
		"clock + duration('1.5s')": "time(3): 08:30:01.500|-00:59:58.500|expression.null", "at - duration('24h')": "timestamp(3): 2024-02-28 12:30:45.678|1969-12-30 23:59:59.999|expression.null",
		"timestamp('9999-12-31 23:59:59') + duration('1s')": "timestamp: expression.out_of_range|expression.out_of_range|expression.out_of_range",
		"timestamp('2024-02-29T10:00:00.5+10:00')":          "timestamp(3) in UTC: ", "double(j) * 0.5": "float64: 1.5|-1.5|expression.null", "double('0.1')": "float64: 0.1|0.1|0.1", "double(s)": "float64: expression.conversion|expression.conversion|expression.null",
		"s.matches('^Ä.*e$')": "boolean: true|false|false", "dayOfWeek(day)": "int64: 4|3|expression.null", "dayOfYear(day)": "int64: 60|365|expression.null", "day.getMonth()": "int64: 1|11|expression.null", "at.getMilliseconds()": "int64: 678|999|expression.null",
		"getDayOfYear(at)": "int64: 59|364|expression.null", "f > 1e300": "boolean: false|false|false", "d < 1e300": "boolean: true|true|false",
	} {
		f, err := Compile(expression, params, in.Schema())
		if want == "" {
			if err == nil {
				t.Errorf("%s: compiled to %s", expression, f.Type)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got := f.Type.String() + ": "
		if f.Type.Kind != Unknown && !strings.HasSuffix(want, ": ") {
			got += strings.Join(values(t, f, in), "|")
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", expression, got, want)
		}
	}
}

// TestProblems: what is wrong with an expression, where, and what to do.
func TestProblems(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"amount decimal(10,2)", "status string", "f float64", "day date", "flag int8"})
	for _, c := range []struct{ expression, place, want, hint string }{
		{"amout * 2", "0-5", `column 1 of the expression: there is no column "amout"; did you mean "amount"?`, "the columns are"},
		{"amount / 3", "0-10", "decimal(10,2) / int64 has no exact result", "divide(a, b, 2, 'half_up')"},
		{"amount + f", "0-10", "a float is no exact number", "a float goes with floats only"},
		{"amount + status", "0-15", "decimal(10,2) + string is not computed", "decimal(x, precision, scale)"},
		{"status = 'open'", "7-8", "", "write == for ="},
		{"status <> 'open'", "", "", "write != for <>"},
		{"flag ? 1 : 2", "0-4", `column "flag" is int64; expected true or false`, "flag == 1"},
		{"ifnull(amount, 0)", "0-17", `there is no function "ifnull"`, "coalesce(x, y)"},
		{"1 + lower(amount)", "10-16", "lower expects text, not decimal(10,2)", "string(x)"},
		{"day + 1", "0-7", "date + int64 is not computed", "addDays(d, n)"},
		{"amount > 0 ? 'a' : 1", "0-20", "the two results are string and int64", "convert one of them"},
		{"day == 'soon'", "7-13", "expected a date or timestamp", ""},
		{"round(amount, 2, 'up_half')", "17-26", "expected the rule of rounding", ""},
		{"params.nope + 1", "0-11", `there is no parameter "nope"`, ""},
		{"[1, 2].map(x, x + 1)", "", `"map"`, "exists and all"}, {"status.exists(x, x == 'a')", "0-6", "exists is for a list that stands in the expression", ""},
		{"{'a': 1, 'b': 'x'}[status]", "", "have no common type", ""}, {"{status: 1}['x']", "1-7", "a key of a map is a literal", ""}, {"{}['x']", "", "the map is empty", ""},
		{"day - timestamp('2024-01-01T00:00:00Z')", "", "in some zone only", ""}, {"duration('1 day')", "9-16", "expected a duration such as '1h30m'", "its units are"},
		{"amount * 2\n+ amuont", "13-19", `line 2, column 3 of the expression: there is no column "amuont"`, ""},
	} {
		_, err := Compile(c.expression, params, in.Schema())
		f := fault.From(err)
		if f == nil {
			t.Errorf("%s: no fault", c.expression)
			continue
		}
		if !strings.Contains(f.Message, c.want) || !strings.Contains(f.Hint, c.hint) || c.place != "" && f.Details[fault.DetailPlace] != c.place {
			t.Errorf("%s: %s (hint: %s) at %s", c.expression, f.Message, f.Hint, f.Details[fault.DetailPlace])
		}
	}
}

// TestUnknownColumns: with columns of which only the names are known everything is checked that can be.
func TestUnknownColumns(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{naming.UnknownField("x"), {Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	for _, expression := range []string{"x", "x * 2 + 1", "x > 0 ? s : 'a'", "coalesce(x, 0)", "lower(x)", "addDays(x, 1)", "truncate(x, 'month')", "x in [1, 2]", "x == '2024-01-01'",
		"divide(x, 3, 2, 'down')", "round(x, 1, 'up')", "int(x) + 1", "decimal(x, 10, 2) * 2", "string(x) + 'a'", "date(x) > s.date()", "!x", "x && true", "secondsBetween(x, x)", "abs(-x)", "timestamp(x)", "daysBetween(x, x) + 1", "x.contains(s)", "hour(x)"} {
		if _, err := Compile(expression, nil, schema); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
	if _, err := Compile("lower(x) + 1", nil, schema); err == nil {
		t.Log("the type of what is unknown stays unknown")
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(Columns(`a + row["b c"] * params.n + f(d, [e]).g() + a`))
	if got != "[a b c d e]" {
		t.Error(got)
	}
}

// TestExplain: every part has its type, and where that comes from.
func TestExplain(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"price decimal(12,2)", "rate decimal(4,2)", "s string", "n int64"})
	for expression, want := range map[string]string{
		"price * rate": "price * rate: decimal(16,4) (decimal(12,2) * decimal(4,2): the digits of both, 12 + 4, 2 + 2 of them behind the point)|. price: decimal(12,2)? (a column)|. rate: decimal(4,2)? (a column)",
		"coalesce(n, 0) +\n 1 > 2": "coalesce(n, 0) + 1 > 2: boolean (does not hold where a side is NULL)|. coalesce(n, 0) + 1: int64 (64 bits; what does not fit fails the run)|" +
			". . coalesce(n, 0): int64 (coalesce(x, y, …): the first that is not NULL; holds every value of all, exactly)|. . . n: int64? (a column)|. . . 0: int64 (a literal)|. . 1: int64 (a literal)|. 2: int64 (a literal)",
		"s == null ? 'a' : s": "s == null ? 'a' : s: string? (holds every value of both results, exactly)|. s == null: boolean (NULL equals NULL, and nothing else)|. . s: string? (a column)|" +
			". . null: null? (null has no type of its own)|. 'a': string (a literal; next to a date or a time, that date or time)|. s: string? (a column)",
		"n + 0.5":  "n + 0.5: decimal(21,1) (decimal(19,0) + decimal(1,1): the larger scale, 1, the larger whole part, 19, and one digit more)|. n: int64? (a column)|. 0.5: decimal(1,1) (a literal: exactly the digits that it has; next to a float, the nearest float)",
		"params.n": "params.n: int64 (a parameter, which has one value in a run)",
	} {
		_, parts, err := Explain(expression, params, in.Schema())
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		var got []string
		for _, p := range parts {
			mark := ""
			if p.Nullable {
				mark = "?"
			}
			got = append(got, fmt.Sprintf("%s%s: %s%s (%s)", strings.Repeat(". ", p.Depth), p.Text, p.Type, mark, p.Why))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s:\ngot  %s\nwant %s", expression, strings.Join(got, "|"), want)
		}
	}
}

// TestFunctions: every function is listed, and no other.
func TestFunctions(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range Functions() {
		if f.Usage == "" || f.Doc == "" || f.Group == "" {
			t.Errorf("%+v", f)
		}
		names = append(names, f.Name)
	}
	slices.Sort(names)
	if want := functionNames(); !slices.Equal(names, want) {
		t.Errorf("listed are %v, and there are %v", names, want)
	}
}
