package formula

import (
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// function is one that expressions call, as f(x, y) or x.f(y).
type function struct {
	usage       string
	least, most int // arguments; a most of 0 is any number
	compile     func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node
}

// otherNames are what people write, and what to write instead.
var otherNames = map[string]string{
	"ifnull": "write coalesce(x, y)", "nvl": "write coalesce(x, y)", "isnull": "write x == null", "case": "write condition ? value : other",
	"cast": "write string(x), int(x), decimal(x, precision, scale), date(x) or timestamp(x)", "convert": "write string(x), int(x), decimal(x, precision, scale), date(x) or timestamp(x)",
	"datediff": "write daysBetween(from, to)", "date_add": "write addDays(d, n), addMonths(d, n) or addYears(d, n)", "date_sub": "write addDays(d, -n), addMonths(d, -n) or addYears(d, -n)",
	"substr": "write substring(text, from, to), counted from 0", "mid": "write substring(text, from, to), counted from 0", "len": "write length(text)", "char_length": "write length(text)",
	"ucase": "write upper(text)", "lcase": "write lower(text)", "loweracii": "write lower(text)", "getfullyear": "write year(d)", "getmonth": "write month(d), which counts from 1",
	"getdate": "write day(d)", "date_trunc": "write truncate(d, 'month')", "trunc": "write truncate(d, 'month'), or round(x, 0, 'down')", "like": "write x.contains('a'), x.startsWith('a') or x.endsWith('a')",
	"now": "a run's time is no part of an expression: give it as a parameter, and write params.NAME", "today": "a run's time is no part of an expression: give it as a parameter, and write params.NAME",
	"double": "a float is no exact number: write decimal(x, precision, scale)", "matches": "write x.contains('a'), x.startsWith('a') or x.endsWith('a')",
	"exists": "nothing loops here: write the tests one by one, with ||", "all": "nothing loops here: write the tests one by one, with &&",
}

// takes refuses arguments of other kinds.
func (c *compiler) takes(args []ast.Expr, made []*node, name string, kinds ...[]Kind) bool {
	for i, n := range made {
		wanted := kinds[min(i, len(kinds)-1)]
		if n.t.Kind == Unknown || slices.Contains(wanted, n.t.Kind) {
			continue
		}
		c.problem(args[i], "%s expects %s, not %s", name, kindNames(wanted), n.t)
		if n.t.Kind == Null {
			c.hint("say what becomes of NULL: coalesce(x, 'a'), or x == null ? null : …")
		} else if wanted[0] == Text {
			c.hint("string(x) makes a text of it")
		} else if wanted[0] == Date && n.t.Kind == Text {
			c.hint("date(x) or timestamp(x) makes a date of a text")
		}
		return false
	}
	return true
}

func kindNames(kinds []Kind) string {
	var names []string
	for _, k := range kinds {
		name := Type{Kind: k}.String()
		switch k {
		case Decimal:
			name = "a decimal"
		case Text:
			name = "text"
		case Date:
			name = "a date"
		case Timestamp:
			name = "a timestamp"
		case Int:
			name = "an integer"
		}
		names = append(names, name)
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return names[0]
}

// fixedInt is an argument that has to stand in the expression as a number.
func (c *compiler) fixedInt(e ast.Expr, what string, least, most int64) (int, bool) {
	if e.Kind() == ast.LiteralKind {
		if n, ok := e.AsLiteral().(types.Int); ok && int64(n) >= least && int64(n) <= most {
			return int(n), true
		}
	}
	c.problem(e, "expected %s, a number from %d to %d, as it stands", what, least, most)
	return 0, false
}

// fixedText is an argument that has to stand in the expression as one of some texts.
func (c *compiler) fixedText(e ast.Expr, what string, of []string) (string, bool) {
	if e.Kind() == ast.LiteralKind {
		if s, ok := e.AsLiteral().(types.String); ok && slices.Contains(of, string(s)) {
			return string(s), true
		}
	}
	c.problem(e, "expected %s: '%s'", what, strings.Join(of, "', '"))
	return "", false
}

var ruleNames = []string{"half_up", "half_even", "half_down", "up", "down", "floor", "ceiling"}

var (
	texts   = []Kind{Text}
	ints    = []Kind{Int}
	days    = []Kind{Date, Timestamp}
	numbers = []Kind{Decimal, Int, Uint}
)

// ofText declares a function of texts that gives a text.
func ofText(usage string, count int, f func(v []value) string) function {
	return function{usage, count, count, func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		if !c.takes(args, made, strings.SplitN(usage, "(", 2)[0], texts) {
			return &node{}
		}
		return c.strict(e, Type{Kind: Text}, made, func(v []value) (value, error) { return value{s: f(v)}, nil })
	}}
}

// testOf declares a test of two texts. NULL passes none, as in the filter where.
func testOf(name string, f func(s, part string) bool) function {
	return function{name + "(text, part)", 2, 2, func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		out := &node{t: Type{Kind: Bool}}
		if !c.takes(args, made, name, []Kind{Text, Null}) || made[0].t.Kind == Unknown || made[1].t.Kind == Unknown {
			return out
		}
		a, b := made[0].eval, made[1].eval
		out.eval = func(r *Row) (value, error) {
			x, err := a(r)
			if err != nil {
				return x, err
			}
			y, err := b(r)
			if err != nil || x.null || y.null {
				return value{}, err
			}
			return boolean(f(x.s, y.s)), nil
		}
		return out
	}}
}

func length(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "length", texts) {
		return &node{}
	}
	return c.strict(e, Type{Kind: Int}, made, func(v []value) (value, error) {
		return value{n: int64(utf8.RuneCountInString(v[0].s))}, nil
	})
}

// substring counts characters from 0; the end is the first that is left out, and what lies beyond the text is empty.
func substring(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "substring", texts, ints) {
		return &node{}
	}
	wrong := c.rowFault(e, CodeRange, "a place in a text is below 0, or the end stands before the beginning", "substring(text, from, to) counts characters from 0, and to is the first that is left out")
	return c.strict(e, Type{Kind: Text}, made, func(v []value) (value, error) {
		from, to := v[1].n, int64(len(v[0].s))
		if len(v) == 3 {
			to = v[2].n
		}
		if from < 0 || len(v) == 3 && to < from {
			return v[0], wrong
		}
		s, start := v[0].s, -1
		count := int64(0)
		for i := range s {
			if count == from {
				start = i
			}
			if count == to {
				if start < 0 {
					return value{}, nil
				}
				return value{s: s[start:i]}, nil
			}
			count++
		}
		if start < 0 {
			return value{}, nil
		}
		return value{s: s[start:]}, nil
	})
}

func concat(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "concat", texts) {
		return &node{}
	}
	return c.strict(e, Type{Kind: Text}, made, func(v []value) (value, error) {
		var b strings.Builder
		for _, x := range v {
			b.WriteString(x.s)
		}
		return value{s: b.String()}, nil
	})
}

// coalesce is the first value that is not NULL.
func coalesce(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	all := &node{t: made[0].t, literal: made[0].literal, number: made[0].number}
	for i, n := range made[1:] {
		t, ok := c.common(all, n)
		if !ok {
			return c.problem(args[i+1], "this is %s, and those before are %s: they have no common type", n.t, all.t)
		}
		all = &node{t: t}
	}
	nullable := true
	evals := make([]eval, len(made))
	for i, n := range made {
		n = c.convert(n, all.t)
		nullable = nullable && (n.nullable || n.t.Kind == Null)
		evals[i] = n.eval
	}
	return &node{t: all.t, nullable: nullable, eval: func(r *Row) (v value, err error) {
		for _, f := range evals {
			if v, err = f(r); err != nil || !v.null {
				return v, err
			}
		}
		return v, nil
	}}
}

func divide(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args[:2], made[:2], "divide", numbers) {
		return &node{}
	}
	scale, ok := c.fixedInt(args[2], "the scale", 0, 38)
	rule, known := c.fixedText(args[3], "the rule of rounding", ruleNames)
	if !ok || !known {
		return &node{}
	}
	return c.quotient(e, made[0], made[1], scale, rule)
}

func round(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args[:1], made[:1], "round", numbers) {
		return &node{}
	}
	scale, ok := c.fixedInt(args[1], "the scale", 0, 38)
	rule, known := c.fixedText(args[2], "the rule of rounding", ruleNames)
	if !ok || !known || made[0].t.Kind == Unknown {
		return &node{}
	}
	s := asDecimal(made[0])
	a := c.convert(made[0], s)
	if scale >= s.Scale {
		return c.toDecimal(e, a, s, Type{Kind: Decimal, Precision: min(s.Precision-s.Scale+scale, parse.MaxPrecision), Scale: scale})
	}
	t := Type{Kind: Decimal, Precision: max(s.Precision-s.Scale+scale+1, 1), Scale: scale}
	divisor := powers()[s.Scale-scale]
	return c.strict(e, t, []*node{a}, func(v []value) (value, error) { return divideWhole(v[0].whole(), divisor, rule), nil })
}

func absolute(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "abs", []Kind{Int, Decimal}) {
		return &node{}
	}
	t := made[0].t
	far := c.overflow(e, t)
	return c.strict(e, t, made, func(v []value) (value, error) {
		x := v[0]
		if x.whole().Sign() < 0 {
			x = negateWhole(x)
		}
		if t.Kind == Int && x.big != nil {
			return x, far
		}
		return x, nil
	})
}

// toDecimal makes a decimal of another precision and scale, exactly.
func (c *compiler) toDecimal(e ast.Expr, a *node, s, t Type) *node {
	far := c.overflow(e, t)
	lost := c.rowFault(e, CodeInexact, "the number has more digits behind the point than "+t.String(), "round it first: round(x, 2, 'half_up')")
	k := t.Scale - s.Scale
	return c.strict(e, t, []*node{a}, func(v []value) (value, error) {
		x := v[0]
		if k >= 0 {
			x = x.upscale(k)
		} else {
			q, r := new(big.Int).QuoRem(x.whole(), powers()[-k], new(big.Int))
			if r.Sign() != 0 {
				return x, lost
			}
			x = wholeValue(q)
		}
		if !x.fits(t.Precision) {
			return x, far
		}
		return x, nil
	})
}

func decimalOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args[:1], made[:1], "decimal", []Kind{Text, Int, Uint, Decimal}) {
		if c.failed != nil && made[0].t.Kind == Float {
			c.hint("few floats are a decimal: take the number as text or decimal from the source")
		}
		return &node{}
	}
	p, ok := c.fixedInt(args[1], "the precision", 1, parse.MaxPrecision)
	if !ok {
		return &node{}
	}
	scale, ok := c.fixedInt(args[2], "the scale", 0, int64(p))
	if !ok {
		return &node{}
	}
	t := Type{Kind: Decimal, Precision: p, Scale: scale}
	if made[0].t.Kind != Text {
		if made[0].t.Kind == Unknown {
			return &node{t: t}
		}
		s := asDecimal(made[0])
		return c.toDecimal(e, c.convert(made[0], s), s, t)
	}
	bad := c.rowFault(e, CodeConversion, "a text is no number, or has more digits than "+t.String(), "")
	return c.strict(e, t, made[:1], func(v []value) (value, error) {
		n, status := parse.Decimal256([]byte(v[0].s), p, scale)
		if status != parse.OK {
			return v[0], bad
		}
		return wholeValue(n.BigInt()), nil
	})
}

func intOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Int}
	if !c.takes(args, made, "int", []Kind{Text, Int, Uint, Decimal, Bool}) || made[0].t.Kind == Unknown {
		return &node{t: t}
	}
	far := c.overflow(e, t)
	switch s := made[0].t; s.Kind {
	case Text:
		bad := c.rowFault(e, CodeConversion, "a text is no whole number of 64 bits", "")
		return c.strict(e, t, made, func(v []value) (value, error) {
			n, status := parse.Int([]byte(v[0].s))
			if status != parse.OK {
				return v[0], bad
			}
			return value{n: n}, nil
		})
	case Uint:
		return c.strict(e, t, made, func(v []value) (value, error) {
			if v[0].n < 0 {
				return v[0], far
			}
			return v[0], nil
		})
	case Decimal:
		whole := c.toDecimal(e, made[0], s, Type{Kind: Decimal, Precision: parse.MaxPrecision})
		return c.strict(e, t, []*node{whole}, func(v []value) (value, error) {
			if v[0].big != nil {
				return v[0], far
			}
			return v[0], nil
		})
	}
	return c.strict(e, t, made, func(v []value) (value, error) { return v[0], nil })
}

func stringOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Text}
	if !c.takes(args, made, "string", []Kind{Text, Int, Uint, Decimal, Bool, Date, Timestamp}) || made[0].t.Kind == Unknown {
		return &node{t: t}
	}
	s := made[0].t
	if s.Zone != "" {
		return c.problem(e, "an instant has a text in some zone only: string(x) is for timestamps without one")
	}
	far := c.rowFault(e, CodeRange, "the date is outside the years 0 to 9999", "")
	return c.strict(e, t, made, func(v []value) (value, error) {
		text, ok := spell(v[0], s)
		if !ok {
			return v[0], far
		}
		return value{s: text}, nil
	})
}

// functions are all of them, by name.
func functions() map[string]function {
	return map[string]function{
		"lower":      ofText("lower(text)", 1, func(v []value) string { return strings.ToLower(v[0].s) }),
		"upper":      ofText("upper(text)", 1, func(v []value) string { return strings.ToUpper(v[0].s) }),
		"trim":       ofText("trim(text)", 1, func(v []value) string { return strings.TrimSpace(v[0].s) }),
		"replace":    ofText("replace(text, part, by)", 3, replaced),
		"contains":   testOf("contains", strings.Contains),
		"startsWith": testOf("startsWith", strings.HasPrefix),
		"endsWith":   testOf("endsWith", strings.HasSuffix),
		"length":     {"length(text)", 1, 1, length},
		"size":       {"size(text)", 1, 1, length},
		"substring":  {"substring(text, from) or substring(text, from, to)", 2, 3, substring},
		"concat":     {"concat(text, text, …)", 1, 0, concat},
		"coalesce":   {"coalesce(x, y, …)", 1, 0, coalesce},
		"divide":     {"divide(x, y, scale, 'half_up')", 4, 4, divide},
		"round":      {"round(x, scale, 'half_up')", 3, 3, round},
		"abs":        {"abs(x)", 1, 1, absolute},
		"decimal":    {"decimal(x, precision, scale)", 3, 3, decimalOf},
		"int":        {"int(x)", 1, 1, intOf},
		"string":     {"string(x)", 1, 1, stringOf},

		"date":           {"date(x)", 1, 1, dateOf},
		"timestamp":      {"timestamp(x) or timestamp(text, digits)", 1, 2, timestampOf},
		"year":           partOf("year"),
		"month":          partOf("month"),
		"day":            partOf("day"),
		"hour":           partOf("hour"),
		"minute":         partOf("minute"),
		"second":         partOf("second"),
		"addDays":        {"addDays(d, n)", 2, 2, addUnits("addDays", secondsPerDay)},
		"addSeconds":     {"addSeconds(t, n)", 2, 2, addUnits("addSeconds", 1)},
		"addMonths":      {"addMonths(d, n)", 2, 2, addMonths("addMonths", 1)},
		"addYears":       {"addYears(d, n)", 2, 2, addMonths("addYears", 12)},
		"daysBetween":    {"daysBetween(from, to)", 2, 2, daysBetween},
		"secondsBetween": {"secondsBetween(from, to)", 2, 2, secondsBetween},
		"truncate":       {"truncate(d, 'month')", 2, 2, truncate},
	}
}

// replaced replaces nothing where the part is empty.
func replaced(v []value) string {
	if v[1].s == "" {
		return v[0].s
	}
	return strings.ReplaceAll(v[0].s, v[1].s, v[2].s)
}
