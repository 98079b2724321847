package formula

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/parse/parsetest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// selected returns the indexes of the rows for which a condition holds, over columns and row by row, which must agree.
func selected(t testing.TB, expression string, params config.Parameters, in arrow.Record) (string, error) {
	t.Helper()
	condition, err := CompileCondition(expression, params, in.Schema())
	if err != nil {
		return "", err
	}
	c := newCompiler(expression, params, in.Schema())
	tree, err := c.tree()
	if err != nil {
		t.Fatal(err)
	}
	rows := &Condition{Schema: condition.Schema, root: rowByRow{c.condition(tree.e, tree).eval}}
	var results [2]string
	var errs [2]error
	for i, condition := range []*Condition{condition, rows} {
		s, err := condition.Select(t.Context(), in.Columns(), int(in.NumRows()))
		if errs[i] = err; err == nil {
			results[i] = strings.Trim(fmt.Sprint(s.Indexes()), "[]")
			s.Release()
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
		"d != null && d * 2 > 20.1": "0 3", "s != null && lower(s) == 'anna'": "0", "at != null && at - day > duration('-24h')": "0 1 3",
		"['x'].exists(v, [s].exists(w, w != null && w + v == 'Annax'))": "0", "at < timestamp('2024-02-29T10:00:00+10:00')": "3", "double('NaN') < f": "", "f < double('Infinity')": "0 3",
		"{'Anna': 1, 'Bob': 2, '': 3}[s == null ? '' : s] == 2": "1",
	} {
		got, err := selected(t, expression, nil, in)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got != want {
			t.Errorf("%s: got rows %s, want %s", expression, got, want)
		}
	}
	for expression, code := range map[string]string{
		"i / 0 == 1": "expression.division_by_zero", "i + 1 > 0": "expression.null", "size(s) > 1": "expression.null", "int(s == null ? '1' : s) == 1": "expression.conversion",
		"{'Anna': 1}[s == null ? 'Anna' : s] == 1": "expression.no_key", "j + 9223372036854775807 > 0": "expression.overflow", "b && i / 0 == 1": "expression.division_by_zero",
	} {
		_, err := selected(t, expression, nil, in)
		if !fault.Is(err, code) || strings.Contains(err.Error(), "Anna") || strings.Contains(err.Error(), "Bob") {
			t.Errorf("%s: got %v, want %s", expression, err, code)
		}
		if row, ok := fault.From(err).Row(); !ok || expression == "b && i / 0 == 1" && row != 0 || expression == "i + 1 > 0" && row != 2 {
			t.Errorf("%s: row %d, %t", expression, row, ok)
		}
	}
}

func TestConditionFaults(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"patient_id int64", "status string", "amount decimal(10,2)", "day date", "clock time", "is_deleted int8", "paid boolean", "big uint64"})
	fields := append(in.Schema().Fields(), arrow.Field{Name: "twice", Type: arrow.PrimitiveTypes.Int8}, arrow.Field{Name: "twice", Type: arrow.PrimitiveTypes.Int8},
		arrow.Field{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)})
	schema := arrow.NewSchema(fields, nil)
	for expression, texts := range map[string][]string{
		"patient_di == 1":            {"expression.unknown_column", "column 1 of", `did you mean "patient_id"`},
		"true && nothing":            {"expression.unknown_column", "column 9 of", `"nothing"`},
		"status == Cancelled":        {"expression.unknown_column", `"Cancelled"`},
		`row["x y"] == 1`:            {"expression.unknown_column", `"x y"`},
		`row[status] == 1`:           {"expression.invalid", "in quotes"},
		"twice == 1":                 {"expression.invalid", `row["twice#1"]`},
		"list == null":               {"expression.invalid", `"list"`},
		"patient_id":                 {"expression.invalid", "\"patient_id\" is int64; expected true or false"},
		"patient_id + 1":             {"expression.invalid", "this is int64; expected true or false"},
		"is_deleted && paid":         {"expression.invalid", `"is_deleted" is int64; expected true or false`},
		"status":                     {"expression.invalid", "expected true or false"},
		"patient_id == 'x'":          {"expression.invalid", "column 1 of", "int64 is compared with string"},
		"status > 5":                 {"expression.invalid", "string is compared with int64"},
		"paid == 1":                  {"expression.invalid", "boolean is compared with int64"},
		"amount + '1' > 5":           {"expression.invalid", "decimal(10,2) + string"},
		"big % 2 == 1":               {"expression.invalid", "% is for integers"},
		"amount == '1.5'":            {"expression.invalid", "decimal(10,2) is compared with string"},
		"amount > null":              {"expression.invalid", "null has no order"},
		"day > '2024-13-01'":         {"expression.invalid", "column 7 of", "YYYY-MM-DD", "2024-13-01"},
		"day > status":               {"expression.invalid", "literal"},
		"day == 5":                   {"expression.invalid", "date is compared with int64"},
		"day == clock":               {"expression.invalid", "is compared with"},
		"clock > '8:30'":             {"expression.invalid", "HH:MM:SS"},
		"patient_id in ['a']":        {"expression.invalid", "int64 is compared with string"},
		"patient_id in status":       {"expression.invalid", "in expects a list"},
		"day in ['2024-99-01']":      {"expression.invalid", "YYYY-MM-DD"},
		"status.matches('[')":        {"expression.invalid", "missing closing ]"},
		"status.matches(status)":     {"expression.invalid", "in quotes"},
		"patient_id.matches('1')":    {"expression.invalid", "matches expects text, not int64"},
		"status.startsWith(1)":       {"expression.invalid", "startsWith expects text, not int64"},
		"status ==":                  {"expression.invalid", "column"},
		"status == 'a' &&\n x":       {"expression.unknown_column", "line 2, column 2"},
		"dyn(status) == 1":           {"expression.invalid", "dyn"},
		"type(status) == int":        {"expression.", "int"},
		"status.size":                {"expression.invalid", "has no members"},
		"has(status.x)":              {"expression.invalid", "has no members"},
		"Foo{a: 1} == null":          {"expression.invalid", "no types"},
		"status.lowerAscii() == 'a'": {"expression.invalid", "lowerAscii"},
		"amount > 1e99999":           {"expression.invalid"},
		"[status] == ['a']":          {"expression.invalid", "a list stands behind in only"},
		strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): {"expression.invalid"},
		strings.Repeat("paid || ", 510) + "paid":                     {"expression.invalid"},
	} {
		_, err := CompileCondition(expression, nil, schema)
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
		_, err := CompileCondition(expression, nil, in.Schema())
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
	if _, err := selected(t, expression, nil, in); !fault.Is(err, CodeTooCostly) {
		t.Errorf("got %v", err)
	}
}

var given = config.Parameters{
	"who":    {Type: "string", Value: "x' || true || name == 'y"},
	"name":   {Type: "string", Value: "Anna"},
	"day":    {Type: "date", Value: "2024-02-29"},
	"count":  {Type: "integer", Value: int64(9007199254740993)},
	"live":   {Type: "boolean", Value: true},
	"fee":    {Type: "decimal", Value: json.Number("12345678901234567890.0001")},
	"whole":  {Type: "decimal", Value: json.Number("10")},
	"tenth":  {Type: "decimal", Value: json.Number("0.1")},
	"absent": {Type: "string"}, "no_day": {Type: "date"}, "no_fee": {Type: "decimal"}, "no_flag": {Type: "boolean"},
}

func TestParameters(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"name string", "day date", "at timestamp", "n int64", "fee decimal(30,4)", "f float64", "live boolean", "params string"},
		[]string{"Anna", "2024-02-29", "2024-02-29 00:00:00", "9007199254740992", "12345678901234567890.0001", "0.1", "true", "p"},
		[]string{"x' || true || name == 'y", "2024-03-01", "2024-03-01 10:00:00", "9007199254740993", "12345678901234567890.0002", "10", "false", "q"},
		[]string{"-", "-", "-", "-", "-", "-", "-", "-"},
	)
	for expression, want := range map[string]string{
		// What stands in a parameter is a value, never a part of the expression.
		"name == params.who": "1", "name == params.name": "0", "name != params.name": "1 2", "name.startsWith(params.name)": "0",
		"name in [params.name, 'z']": "0", "params.name == name": "0",
		"day == params.day": "0", "day > params.day": "1", "at >= params.day": "0 1", "at == params.day": "0",
		"n == params.count": "1", "n < params.count": "0", // no float64 tells these apart
		"fee == params.fee": "0", "fee > params.fee": "1", "fee >= params.whole": "0 1", "f == params.tenth": "0", "f == params.whole": "1",
		"string(params.fee) == '12345678901234567890.0001'": "0 1 2",
		"params.live": "0 1 2", "live == params.live": "0", "live && params.live": "0", "!params.live": "",
		// Null is a value of its own, as for columns.
		"params.absent == null || name == params.absent": "0 1 2", "name == params.absent": "2", "params.name == null || name == params.name": "0",
		"params.no_day == null || day > params.no_day": "0 1 2", "day > params.no_day": "", "fee <= params.no_fee": "", "name.contains(params.absent)": "",
		"has(params.absent)": "", "has(params.name) && name == params.name": "0", "!has(params.absent)": "0 1 2",
		"params.no_flag": "", "!params.no_flag": "0 1 2", "params.no_flag || n == 9007199254740993": "1",
		// A column of that name stays one.
		"params == 'p'": "0", `row["params"] == 'q' && params.live`: "1",
		"['p'].exists(params, params == 'p')": "0 1 2",
	} {
		got, err := selected(t, expression, given, in)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got != want {
			t.Errorf("%s: got rows %s, want %s", expression, got, want)
		}
	}
}

func TestParametersThatDoNotFit(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"name string", "day date", "n int64", "fee decimal(30,4)"})
	for _, c := range []struct{ expression, message, hint string }{
		{"name == params.names", `there is no parameter "names"; did you mean "name"`, ""},
		{"n == params.name", "int64 is compared with string", ""},
		{"day == params.name", `expected a date or timestamp as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS', not "Anna"`, ""},
		{"name.matches(params.name)", "a pattern stands in the expression; a parameter cannot be one", "contains"},
		{"fee > params.fee / 3.0", "has no exact result", "divide(a, b, 2, 'half_up')"},
		{"row[params.name] == 1", `expected the name of a column in quotes`, ""},
	} {
		_, err := selected(t, c.expression, given, in)
		if err == nil || !strings.Contains(err.Error(), c.message) || !strings.Contains(fault.From(err).Hint, c.hint) {
			t.Errorf("%s: %v, hint %q", c.expression, err, fault.From(err).Hint)
		}
	}
	// Where values are not known yet, types are.
	unknown := config.Parameters{"text": {Type: "string", Unknown: true}, "day": {Type: "date", Unknown: true}, "n": {Type: "integer", Unknown: true}, "fee": {Type: "decimal", Unknown: true}, "b": {Type: "boolean", Unknown: true}}
	if _, err := CompileCondition("day == params.text && name == params.text && day >= params.day && n < params.n && fee == params.fee && params.b", unknown, in.Schema()); err != nil {
		t.Error(err)
	}
	if _, err := CompileCondition("name == params.n", unknown, in.Schema()); err == nil {
		t.Error("text and a number compare")
	}
	for _, expression := range []string{"n == params.text", "n < params.day"} {
		if _, err := CompileCondition(expression, unknown, in.Schema()); err == nil {
			t.Error("a number and a text that is not known yet compare: ", expression)
		}
	}
}
