package formula

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
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
	"ucase": "write upper(text)", "lcase": "write lower(text)", "date_trunc": "write truncate(d, 'month')", "trunc": "write truncate(d, 'month'), or round(x, 0, 'down')", "like": "write x.contains('a'), x.startsWith('a') or x.endsWith('a')",
	"now": "a run's time is no part of an expression: give it as a parameter, and write params.NAME", "today": "a run's time is no part of an expression: give it as a parameter, and write params.NAME",
	"float": "write double(x), or decimal(x, precision, scale), which is exact", "regexp_like": "write text.matches('^a.*b$')", "regexp": "write text.matches('^a.*b$')",
	"exists": "it is written ['a', 'b'].exists(x, name.startsWith(x))", "all": "it is written ['a', 'b'].all(x, name != x)",
	"map": "write the tests one by one, or with exists and all", "filter": "write the tests one by one, or with exists and all", "exists_one": "write the tests one by one, or with exists and all",
	"uint": "write decimal(x, 20, 0), which holds every uint64", "bool": "compare it, as in flag == 1 or text == 'true'", "bytes": "compare bytes with literals such as b'\\x01'",
	"lowerascii": "write lower(text)", "upperascii": "write upper(text)", "dayofweek": "write dayOfWeek(d), which counts from 0, Sunday", "dayofyear": "write dayOfYear(d)",
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
		if k == Null {
			continue
		}
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

// testOf declares a test of two texts. NULL passes none.
func testOf(name string, f func(s, part string) bool, over textTestKind) function {
	return function{name + "(text, part)", 2, 2, func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		out := &node{t: Type{Kind: Bool}}
		if !c.takes(args, made, name, []Kind{Text, Null}) || made[0].t.Kind == Unknown || made[1].t.Kind == Unknown {
			return out
		}
		if part := made[1].known; made[0].isColumn && made[0].t.Kind == Text && part != nil && !part.null {
			out.over = textTest{made[0].column, over, []byte(part.s)}
		}
		a, b := made[0].eval, made[1].eval
		isNull := c.noAnswer(e)
		out.eval = func(r *Row) (value, error) {
			x, err := a(r)
			if err != nil {
				return x, err
			}
			y, err := b(r)
			if err != nil {
				return y, err
			}
			if x.null || y.null {
				return value{}, isNull
			}
			return boolean(f(x.s, y.s)), nil
		}
		return out
	}}
}

// matches tests a text with a regular expression, which stands in the expression.
func matches(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	out := &node{t: Type{Kind: Bool}}
	if !c.takes(args, made, "matches", []Kind{Text, Null}) {
		return out
	}
	if _, _, ok := memberOf(args[1]); ok {
		c.problem(args[1], "a pattern stands in the expression; a parameter cannot be one")
		c.hint("contains, startsWith and endsWith take a parameter as the text to look for")
		return out
	}
	if args[1].Kind() != ast.LiteralKind || made[1].text == nil {
		return c.problem(args[1], "matches expects a regular expression in quotes")
	}
	pattern, err := regexp.Compile(*made[1].text)
	if err != nil {
		return c.problem(args[1], "%s", naming.Printable(err.Error()))
	}
	if made[0].t.Kind == Unknown {
		return out
	}
	if made[0].isColumn && made[0].t.Kind == Text {
		out.over = textMatch{made[0].column, pattern}
	}
	text, isNull, costly, times := made[0].eval, c.noAnswer(e), c.costly(e), c.timesOf(*made[1].text)
	out.eval = func(r *Row) (value, error) {
		v, err := text(r)
		switch {
		case err != nil:
			return v, err
		case v.null:
			return value{}, isNull
		case !r.handles(len(v.s) * times):
			return value{}, costly
		}
		return boolean(pattern.MatchString(v.s)), nil
	}
	return out
}

// doubleOf is the float nearest to a number.
func doubleOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Float}
	if !c.takes(args, made, "double", []Kind{Text, Int, Uint, Decimal, Float}) || made[0].t.Kind == Unknown {
		return &node{t: t}
	}
	bad := c.rowFault(e, CodeConversion, "a text is no number, or beyond what a float holds", "")
	s := made[0].t
	return c.strict(e, t, made, func(v []value) (value, error) {
		switch s.Kind {
		case Float:
			return v[0], nil
		case Text:
			f, status := parse.Float([]byte(v[0].s), 64)
			if status != parse.OK {
				return v[0], bad
			}
			return value{f: f}, nil
		}
		f, _ := exact(v[0], s).Float64()
		return value{f: f}, nil
	})
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

// known are all functions, by name.
var known = sync.OnceValue(functions)

// functions makes them.
func functions() map[string]function {
	return map[string]function{
		"lower":      ofText("lower(text)", 1, func(v []value) string { return strings.ToLower(v[0].s) }),
		"upper":      ofText("upper(text)", 1, func(v []value) string { return strings.ToUpper(v[0].s) }),
		"trim":       ofText("trim(text)", 1, func(v []value) string { return strings.TrimSpace(v[0].s) }),
		"replace":    {"replace(text, part, by)", 3, 3, replace},
		"contains":   testOf("contains", strings.Contains, testContains),
		"startsWith": testOf("startsWith", strings.HasPrefix, testStartsWith),
		"endsWith":   testOf("endsWith", strings.HasSuffix, testEndsWith),
		"matches":    {"matches(text, 'pattern')", 2, 2, matches},
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
		"double":     {"double(x)", 1, 1, doubleOf},

		"date":           {"date(x)", 1, 1, dateOf},
		"timestamp":      {"timestamp(x) or timestamp(text, digits)", 1, 2, timestampOf},
		"year":           partOf("year", "year", 0),
		"month":          partOf("month", "month", 0),
		"day":            partOf("day", "day", 0),
		"hour":           partOf("hour", "hour", 0),
		"minute":         partOf("minute", "minute", 0),
		"second":         partOf("second", "second", 0),
		"addDays":        {"addDays(d, n)", 2, 2, addUnits("addDays", secondsPerDay)},
		"addSeconds":     {"addSeconds(t, n)", 2, 2, addUnits("addSeconds", 1)},
		"addMonths":      {"addMonths(d, n)", 2, 2, addMonths("addMonths", 1)},
		"addYears":       {"addYears(d, n)", 2, 2, addMonths("addYears", 12)},
		"daysBetween":    {"daysBetween(from, to)", 2, 2, daysBetween},
		"secondsBetween": {"secondsBetween(from, to)", 2, 2, secondsBetween},
		"truncate":       {"truncate(d, 'month')", 2, 2, truncate},
		"duration":       {"duration('1h30m')", 1, 1, durationOf},

		"getFullYear":     partOf("getFullYear", "year", 0),
		"getMonth":        partOf("getMonth", "month", -1),
		"getDate":         partOf("getDate", "day", 0),
		"getDayOfMonth":   partOf("getDayOfMonth", "day", -1),
		"getHours":        partOf("getHours", "hour", 0),
		"getMinutes":      partOf("getMinutes", "minute", 0),
		"getSeconds":      partOf("getSeconds", "second", 0),
		"getMilliseconds": partOf("getMilliseconds", "millisecond", 0),
		"getDayOfYear":    partOf("getDayOfYear", "dayOfYear", -1),
		"getDayOfWeek":    partOf("getDayOfWeek", "dayOfWeek", 0),
		"dayOfWeek":       partOf("dayOfWeek", "dayOfWeek", 0),
		"dayOfYear":       partOf("dayOfYear", "dayOfYear", 0),
	}
}

// replace replaces nothing where the part is empty.
func replace(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "replace", texts) {
		return &node{}
	}
	costly := c.costly(e)
	return c.strict(e, Type{Kind: Text}, made, func(v []value) (value, error) {
		text, part, by := v[0].s, v[1].s, v[2].s
		if part == "" {
			return v[0], nil
		}
		// It is the one function that makes much of little.
		if costly != nil && len(text)+strings.Count(text, part)*(len(by)-len(part)) > maxText {
			return v[0], costly
		}
		return value{s: strings.ReplaceAll(text, part, by)}, nil
	})
}
