package formula

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// decisionTypes are the parameters of the tests below.
var decisionTypes = config.Parameters{
	"a": {Type: "decimal"}, "b": {Type: "decimal"}, "n": {Type: "integer"}, "m": {Type: "integer"}, "day": {Type: "date"}, "end": {Type: "date"},
	"word": {Type: "string"}, "flag": {Type: "boolean"}, "broken": {},
}

// decided is true, false, or the code of the fault.
func decided(t testing.TB, text string, params map[string]any) string {
	t.Helper()
	d, problems := CompileDecision(text, decisionTypes)
	if len(problems) > 0 {
		return problems[0].Code
	}
	holds, err := d.Decide(&Values{Params: params, Other: func(space, name string) (any, bool) {
		v, ok := map[string]any{"run.id": "r1", "customer.level": int64(3), "customer.plan": "gold", "customer.nothing": nil,
			"customer.rate": json.Number("0.30000000000000000000000000000000000001")}[space+"."+name]
		return v, ok
	}})
	if err != nil {
		return fault.From(err).Code
	}
	return fmt.Sprint(holds)
}

// TestDecisionsAreExact: no number goes through a float on its way, and dates are those of the calendar.
func TestDecisionsAreExact(t *testing.T) {
	t.Parallel()
	number := func(text string) json.Number { return json.Number(text) }
	for _, c := range []struct {
		text   string
		params map[string]any
		want   string
	}{
		{"0.1 + 0.2 == 0.3", nil, "true"},
		{"params.a + params.b == 0.3", map[string]any{"a": number("0.1"), "b": number("0.2")}, "true"},
		{"params.a + params.b == 0.3", map[string]any{"a": number("0.10"), "b": number("0.20")}, "true"},
		{"params.a == params.b", map[string]any{"a": number("12345678901234567890.1"), "b": number("12345678901234567890.10")}, "true"},
		{"params.a < params.b", map[string]any{"a": number("12345678901234567890.1"), "b": number("12345678901234567890.2")}, "true"},
		{"params.a == 12345678901234567890.10", map[string]any{"a": number("12345678901234567890.1")}, "true"},
		{"params.a == 12345678901234567890.11", map[string]any{"a": number("12345678901234567890.1")}, "false"},
		{"params.a > 99999999999999999999", map[string]any{"a": number("99999999999999999999.00000000000000000001")}, "expression.invalid"},
		{"params.a > 99999999999999999999.0", map[string]any{"a": number("99999999999999999999.00000000000000000001")}, "true"},
		{"params.a * params.b == 1.21", map[string]any{"a": number("1.1"), "b": number("1.1")}, "true"},
		{"round(params.a, 1, 'half_up') == 2.7", map[string]any{"a": number("2.65")}, "true"},
		{"divide(params.a, 3, 2, 'half_even') == 3.33", map[string]any{"a": number("10")}, "true"},
		{"params.a == 1e3", map[string]any{"a": number("1E3")}, "true"},
		{"params.a == params.n", map[string]any{"a": number("9007199254740993"), "n": int64(9007199254740993)}, "true"},
		{"params.a == params.n", map[string]any{"a": number("9007199254740993"), "n": int64(9007199254740992)}, "false"},
		{"params.n == 9007199254740992", map[string]any{"n": int64(9007199254740993)}, "false"},
		{"params.n > 9007199254740992.5", map[string]any{"n": int64(9007199254740993)}, "true"},
		{"params.n > params.m", map[string]any{"n": int64(9223372036854775807), "m": int64(9223372036854775806)}, "true"},
		{"params.n + 1 > 0", map[string]any{"n": int64(9223372036854775807)}, "expression.overflow"},
		{"params.n * params.n > 0", map[string]any{"n": int64(4294967296)}, "expression.overflow"},
		{"params.n / params.m == 2", map[string]any{"n": int64(5), "m": int64(2)}, "true"},
		{"params.n % params.m == 1", map[string]any{"n": int64(5), "m": int64(0)}, "expression.division_by_zero"},
		{"customer.rate > 0.3 && customer.rate < 0.30000000000000000000000000000000000002", nil, "true"},
		{"customer.rate + 0.1 == 0.40000000000000000000000000000000000001", nil, "true"},

		{"params.day <= params.end", map[string]any{"day": "2024-02-29", "end": "2024-03-01"}, "true"},
		{"params.day == '2024-02-29'", map[string]any{"day": "2024-02-29"}, "true"},
		{"addMonths(date(params.day), 12) == date('2025-02-28')", map[string]any{"day": "2024-02-29"}, "true"},
		{"addDays(date(params.day), 1) == params.end", map[string]any{"day": "2024-02-29", "end": "2024-03-01"}, "true"},
		{"addDays(date(params.day), 1) < params.end", map[string]any{"day": "2024-02-29", "end": "2024-03-01"}, "false"},
		{"daysBetween(date(params.day), date(params.end)) <= 366", map[string]any{"day": "2024-01-01", "end": "2024-12-31"}, "true"},
		{"year(date(params.day)) == 2024 && params.day.endsWith('29')", map[string]any{"day": "2024-02-29"}, "true"},
		{"date(params.word) == date(params.day)", map[string]any{"day": "2024-02-29", "word": "2024-02-30"}, "expression.conversion"},
		{"date(params.day) > params.word", map[string]any{"day": "2024-02-29", "word": "soon"}, "expression.invalid"},
		{"params.word == 'x' || date(params.day) > params.word", map[string]any{"day": "2024-02-29", "word": "soon"}, "expression.invalid"},
		{"params.word == 'soon' || date(params.day) > params.word", map[string]any{"day": "2024-02-29", "word": "soon"}, "true"},

		{"params.a == null || params.a + coalesce(params.b, 0.00) <= 1000.00", map[string]any{"a": number("999.999")}, "true"},
		{"params.a == null || params.a + coalesce(params.b, 0.00) <= 1000.00", map[string]any{"a": number("999.999"), "b": number("0.002")}, "false"},
		{"params.day == null || params.end == null || daysBetween(date(params.day), date(params.end)) <= 366", map[string]any{"day": "2024-01-01", "end": "2025-01-02"}, "false"},

		{"upper(params.word) in ['A', 'B'] && length(params.word) == 1", map[string]any{"word": "b"}, "true"},
		{"{'a': 1, 'b': 2}[params.word] == 2", map[string]any{"word": "b"}, "true"},
		{"{'a': 1, 'b': 2}[params.word] == 2", map[string]any{"word": "c"}, "expression.no_key"},
		{"coalesce(params.word, 'none') == 'none'", nil, "true"},
		{"params['n'] == 5 && params.n == 5", map[string]any{"n": int64(5)}, "true"},
	} {
		if got := decided(t, c.text, c.params); got != c.want {
			t.Errorf("%s with %v: got %s, want %s", c.text, c.params, got, c.want)
		}
	}
}

// TestDecisionsAboutNull: null equals null and nothing else; whatever else depends on it has no answer, unless the other
// side of && or || decides. Nor has what a run does not know.
func TestDecisionsAboutNull(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"params.a == null": "true", "params.n == null": "true", "params.word != null": "false", "params.word == 'x'": "false", "params.n != 1": "true",
		"params.a == params.b": "true", "params.a != 1.5": "true", "params.word in ['x']": "false", "params.word in ['x', null]": "true", "has(params.word)": "false",
		"params.a > 1.0": CodeNull, "params.a <= params.b": CodeNull, "params.n < 1": CodeNull, "params.day <= params.end": CodeNull, "params.flag": CodeNull, "!params.flag": CodeNull,
		"params.flag ? true : false": CodeNull, "true ? params.flag : false": CodeNull, "params.word.startsWith('x')": CodeNull, "params.word.matches('x')": CodeNull,
		"params.n + 1 == 2": CodeNull, "params.a + 1 == 2": CodeNull, "params.word + 'x' == 'x'": CodeNull, "length(params.word) == 0": CodeNull, "date(params.day) == date('2024-01-01')": CodeNull,
		"params.flag && params.n == 5": "false", "params.n == 5 && params.flag": "false", "params.flag || params.n == null": "true", "params.a > 1.0 || params.a == null": "true",
		"params.a == null || params.a + 1 > params.b": "true", "params.a + params.b > 1 || params.n == null": "true", "params.flag && params.n == null": CodeNull,
		"params.a == null ? params.n == null : params.a > 1.0": "true", "[1, 2].exists(x, params.n > x)": CodeNull, "[1, 2].all(x, params.n != x)": "true",
		"customer.nothing == null": "true", "customer.nothing > 1": CodeNull, "customer.nothing": CodeNull, "customer.missing == null": CodeInvalid, "has(customer.missing)": "false",
		"has(customer.missing) && customer.missing > 1": "false", "customer.missing > 1 || customer.level == 3": "true", "customer.plan > 3 || customer.level == 3": "true",
		"customer.plan == 3": "false", "customer.plan != 3": "true", "customer.plan > 3": CodeInvalid, "customer.plan": CodeInvalid, "customer.level + 1 == 4": "true",
		"customer.plan == 'gold' ? customer.level > 2 : customer.missing": "true", "run.id in ['r1', 'r2']": "true", "[run.id, 'x'].exists(v, v == params.word)": "false",
	} {
		if got := decided(t, text, map[string]any{"word": nil}); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestDecisionProblems: everything that is wrong with a condition is said at once, with its place and what to do.
func TestDecisionProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"params.n > 'x' && params.flag > 1", "0-14 int64 is compared with string; 18-33 boolean is compared with int64"},
		{"params.n > 'x' ? params.flag > 1 : params.word > 5", "0-14 int64 is compared with string; 17-32 boolean is compared with int64; 35-50 string is compared with int64"},
		{"day == '2024-01-01'", `0-3 nothing is called "day" here`},
		{`row["day"] == '2024-01-01'`, `0-10 nothing is called "day" here`},
		{"params == null", `0-6 nothing is called "params" here`},
		{"params.day.year > 1", "0-15 only params, run and customer have members"},
		{"params[params.word] == 1", `0-19 expected a name in quotes: params["name"]`},
		{"params.n ==", "11-12 something is missing at the end"},
		{"params.n = 4", `9-10 "=" is nothing that expressions have`},
		{"params.n > null", "0-15 null has no order; expected == null or != null"},
		{"startWith(params.word, 'x')", `0-27 there is no function "startWith"; did you mean "startsWith"?`},
		{"params.word.matches(params.word)", "20-31 a pattern stands in the expression; a parameter cannot be one"},
		{"params.a > 1.5 && params.n.startsWith('x')", "18-26 startsWith expects text, not int64"},
		{"params.nothing > 1 || params.broken == 'x'", ""},
	} {
		_, problems := CompileDecision(c.text, decisionTypes)
		var got []string
		for _, f := range problems {
			got = append(got, f.Details[fault.DetailPlace]+" "+f.Message)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.text, text, c.want)
		}
	}
	for text, want := range map[string]string{"params.n + 1": "int64", "params.word": "string", "null": "null", "params.a": "unknown", "customer.plan": "unknown", "params.flag": "boolean"} {
		if d, problems := CompileDecision(text, decisionTypes); len(problems) > 0 || d.Type.String() != want {
			t.Errorf("%s: %v, %v", text, d, problems)
		}
	}
	if _, problems := CompileDecision("params.n = 4 AND x", decisionTypes); !strings.Contains(problems[0].Hint, "write && for AND") {
		t.Errorf("hint %q", problems[0].Hint)
	}
}

// TestDecisionLimits: neither a condition nor the texts that it is about keep busy who decides it.
func TestDecisionLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64<<10)
	nested := "params.n > 0"
	for i := range 5 {
		nested = fmt.Sprintf("[1,2,3,4,5,6,7,8,9].all(x%d, %s)", i, nested)
	}
	for _, c := range []struct{ name, text, want string }{
		{"length", "true" + strings.Repeat(" || true", 600), CodeInvalid},
		{"depth", strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), CodeInvalid},
		{"steps", nested, CodeTooCostly},
		{"text once", "params.word.contains('b') || params.word.matches('a$')", "true"},
		{"text again and again", "params.word == ''" + strings.Repeat(" || params.word.endsWith('b')", 20), CodeTooCostly},
		{"text that grows", "params.word" + strings.Repeat(" + params.word", 20) + " == ''", CodeTooCostly},
		{"a pattern", "params.word.matches('" + strings.Repeat("(a|b|ab)*", 40) + "c')", CodeTooCostly},
		{"a pattern that is longer than it looks", "params.word.matches('(a{1,30}){1,30}$')", CodeTooCostly},
		{"much of little", "replace(params.word, 'a', params.word) == ''", CodeTooCostly},
		{"much of nothing", "replace(replace(replace('" + strings.Repeat("a", 500) + "', 'a', '" + strings.Repeat("a", 500) + "'), 'a', '" + strings.Repeat("a", 500) +
			"'), 'a', '" + strings.Repeat("a", 500) + "') == ''", CodeTooCostly},
		{"a late pattern", "params.a > 0.0 || " + strings.Repeat("params.word.matches('a*b') || ", 30) + "false", CodeTooCostly},
	} {
		if got := decided(t, c.text, map[string]any{"word": long, "n": int64(1), "a": json.Number("0")}); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDecisionsAtOnce: a decision is shared by all requests.
func TestDecisionsAtOnce(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"params.n > 3 && params.word.startsWith('a')", "params.a > 3.5 && customer.level == params.n"} {
		d, problems := CompileDecision(text, decisionTypes)
		if len(problems) > 0 {
			t.Fatal(problems[0])
		}
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for range 50 {
					values := &Values{Params: map[string]any{"n": int64(i), "word": "ab", "a": json.Number(fmt.Sprint(i))},
						Other: func(string, string) (any, bool) { return int64(i), true }}
					if holds, err := d.Decide(values); err != nil || holds != (i > 3) {
						t.Errorf("%s with %d: %v, %v", text, i, holds, err)
					}
				}
			})
		}
		group.Wait()
	}
}

func TestMentions(t *testing.T) {
	t.Parallel()
	const text = `params.n > z && params["word"] in ['x', run.id] && ['y'].exists(v, v == customer.plan) && has(params.day)`
	want := []Mention{{"params", "n", 7, 8}, {"", "z", 11, 12}, {"params", "word", 23, 29}, {"run", "id", 44, 46}, {"customer", "plan", 81, 85}, {"params", "day", 101, 104}}
	if got := Mentions(text); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	var foreign []string
	for _, m := range Mentions("params.day.x + [1].map(x, x + params.m) + Foo{a: params.n}.b == optional(params['a'])" + strings.Repeat(" ", 5000)) {
		if m.Space == spaceParams {
			foreign = append(foreign, m.Name)
		}
	}
	if got := strings.Join(foreign, " "); got != "day m n a" {
		t.Errorf("of another language: %s", got)
	}
	if got := Mentions("params.n >"); got != nil {
		t.Errorf("of what cannot be read: %v", got)
	}
}

// FuzzDecision: whatever is written, it is compiled or refused, and decided or not, by a fault with a code.
func FuzzDecision(f *testing.F) {
	for _, text := range []string{"params.n > 3 && params.word.startsWith('a')", "params.a + params.b > 1.5 || customer.level == 3", "[1, params.n].exists(x, x in [params.m, 2])",
		"{'a': params.n}[params.word] == 1", "has(run.id) ? params.flag : date(params.day) < params.end", "coalesce(params.a, params.n, 1.5) > run.id",
		"round(params.a, 2, 'half_up') == divide(params.b, 3, 2, 'down')", "params.word == 'x' || [customer.plan].all(v, v > params.n)", "timestamp(params.word) - date(params.day) > duration('1h')"} {
		f.Add(text, "word", int64(3), "1.50")
	}
	f.Fuzz(func(t *testing.T, text, word string, n int64, number string) {
		d, problems := CompileDecision(text, decisionTypes)
		for _, problem := range problems {
			if problem.Code == "" || problem.Message == "" {
				t.Errorf("%q: %+v", text, problem)
			}
		}
		if len(problems) > 0 {
			return
		}
		for _, params := range []map[string]any{{}, {"word": word, "n": n, "m": int64(2), "day": "2024-02-29", "end": word, "flag": n > 0, "b": json.Number("0.1")}} {
			if strings.Trim(number, "0123456789.-") == "" {
				params["a"] = json.Number(number)
			}
			holds, err := d.Decide(&Values{Params: params, Other: func(space, name string) (any, bool) {
				return map[string]any{"level": n, "plan": word, "none": nil}[name], space == "customer"
			}})
			if err != nil && (holds || fault.From(err).Code == "") {
				t.Errorf("%q: %v, %v", text, holds, err)
			}
		}
	})
}
