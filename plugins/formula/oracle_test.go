package formula

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/parse/parsetest"
)

// oracle computes the same expressions with Python's decimal and datetime; it evaluates the second part of every line.
const oracle = `
import sys, datetime, calendar
from decimal import *
getcontext().prec = 400
rules = dict(half_up=ROUND_HALF_UP, half_even=ROUND_HALF_EVEN, half_down=ROUND_HALF_DOWN, up=ROUND_UP, down=ROUND_DOWN, floor=ROUND_FLOOR, ceiling=ROUND_CEILING)
D, day = Decimal, datetime.date.fromisoformat
def rnd(x, scale, rule): return x.quantize(D(1).scaleb(-scale), rules[rule])
def div(x, y, scale, rule): return rnd(x / y, scale, rule)
def addm(d, n):
    m = d.month - 1 + n
    y, m = d.year + m // 12, m % 12 + 1
    return datetime.date(y, m, min(d.day, calendar.monthrange(y, m)[1]))
def show(v): return "%s" % v if not isinstance(v, Decimal) else format(v, "f")
for line in sys.stdin:
    print(show(eval(line)))
`

var rules = []string{"half_up", "half_even", "half_down", "up", "down", "floor", "ceiling"}

// number makes an expression of decimals, for us and for Python.
func number(r *rand.Rand, depth int) (ours, theirs string) {
	if depth == 0 {
		text := fmt.Sprintf("%d.%0*d", r.IntN(2000)-1000, 1+r.IntN(4), r.IntN(10))
		return "decimal('" + text + "', 12, 5)", "D('" + text + "').quantize(D('0.00001'))"
	}
	a, x := number(r, depth-1)
	b, y := number(r, depth-1)
	rule := rules[r.IntN(len(rules))]
	scale := r.IntN(6)
	switch r.IntN(5) {
	case 0:
		return fmt.Sprintf("round(%s, %d, '%s')", a, scale, rule), fmt.Sprintf("rnd(%s, %d, '%s')", x, scale, rule)
	case 1:
		return fmt.Sprintf("divide(%s, %d, %d, '%s')", a, 7, scale, rule), fmt.Sprintf("div(%s, D(%d), %d, '%s')", x, 7, scale, rule)
	}
	op := []string{"+", "-", "*"}[r.IntN(3)]
	return "(" + a + " " + op + " " + b + ")", "(" + x + " " + op + " " + y + ")"
}

func TestOracle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 29))
	in := parsetest.Table(t, []string{"x int64"}, []string{"1"})
	var ours, theirs []string
	for range 800 {
		a, b := number(r, 1+r.IntN(2))
		ours, theirs = append(ours, a), append(theirs, b)
	}
	for range 400 {
		y, m, d := parse.FromCivil(int64(r.IntN(60000)) - 20000)
		u, v, w := parse.FromCivil(int64(r.IntN(60000)) - 20000)
		from, to, n := fmt.Sprintf("%04d-%02d-%02d", y, m, d), fmt.Sprintf("%04d-%02d-%02d", u, v, w), r.IntN(400)-200
		ours = append(ours, fmt.Sprintf("daysBetween(date('%s'), date('%s'))", from, to), fmt.Sprintf("addDays(date('%s'), %d)", from, n), fmt.Sprintf("addMonths(date('%s'), %d)", from, n))
		theirs = append(theirs, fmt.Sprintf("(day('%s') - day('%s')).days", to, from), fmt.Sprintf("day('%s') + datetime.timedelta(%d)", from, n), fmt.Sprintf("addm(day('%s'), %d)", from, n))
	}
	command := exec.CommandContext(t.Context(), "python3", "-c", oracle)
	command.Stdin = strings.NewReader(strings.Join(theirs, "\n") + "\n")
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(want) != len(ours) {
		t.Fatalf("the oracle has %d results of %d", len(want), len(ours))
	}
	for i, expression := range ours {
		f, err := Compile(expression, nil, in.Schema())
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		got := values(t, f, in)[0]
		if theirs := strings.TrimPrefix(want[i], "-"); strings.Trim(theirs, "0.") == "" {
			want[i] = theirs // a decimal has no negative zero
		}
		if got != want[i] {
			t.Errorf("%s: got %s, want %s", expression, got, want[i])
		}
	}
}

// FuzzCompile takes anything for an expression; it must not panic.
func FuzzCompile(f *testing.F) {
	in := parsetest.Table(f, []string{"d decimal(10,2)", "s string", "day date", "i int64"}, []string{"1.50", "é", "2024-02-29", "-5"}, []string{"-", "-", "-", "-"})
	for _, text := range []string{"d * 2 + i", "substring(s, 1, 2)", "day > '2024-01-01' ? d : null", "row[\"d\"] in [1, 2.5]", "divide(d, i, 3, 'floor')"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if compiled, err := Compile(text, params, in.Schema()); err == nil && compiled.Type.Kind != Unknown && compiled.Type.Kind != Float && compiled.Type.Kind != Null {
			values(t, compiled, in)
		}
		Columns(text)
	})
}
