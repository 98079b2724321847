package formula

import (
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// The days of the years 0 to 9999, which are those that a date's text has.
var firstDay, lastDay = parse.Civil(0, 1, 1), parse.Civil(9999, 12, 31)

func inCalendar(day int64) bool { return day >= firstDay && day <= lastDay }

// split is a date's or a timestamp's day, and the units behind its midnight.
func split(v value, t Type) (day, rest int64) {
	if t.Kind == Date {
		return v.n, 0
	}
	perDay := t.perSecond() * secondsPerDay
	day = floorDiv(v.n, perDay)
	return day, v.n - day*perDay
}

// join is the inverse of split; false where the type does not hold it.
func join(day, rest int64, t Type) (value, bool) {
	if !inCalendar(day) {
		return value{}, false
	}
	if t.Kind == Date {
		return value{n: day}, true
	}
	n, ok := multiply64(day, t.perSecond()*secondsPerDay)
	sum, fits := add64(n, rest)
	return value{n: sum}, ok && (fits || rest == 0)
}

// spell writes a value as the encoders do; false for a date that has no text.
func spell(v value, t Type) (string, bool) {
	switch t.Kind {
	case Text:
		return v.s, true
	case Bool:
		return strconv.FormatBool(v.n == 1), true
	case Int:
		return strconv.FormatInt(v.n, 10), true
	case Uint:
		return strconv.FormatUint(uint64(v.n), 10), true
	case Decimal:
		return v.decimalText(t.Scale), true
	}
	day, rest := split(v, t)
	if !inCalendar(day) {
		return "", false
	}
	y, m, d := parse.FromCivil(day)
	text := fmt.Sprintf("%04d-%02d-%02d", y, m, d)
	if t.Kind == Date {
		return text, true
	}
	per := t.perSecond()
	s, nanos := rest/per, rest%per*(1e9/per)
	text += fmt.Sprintf(" %02d:%02d:%02d", s/3600, s/60%60, s%60)
	if t.Fraction > 0 {
		fraction := fmt.Sprintf("%09d", nanos)
		for _, r := range fraction[t.Fraction:] {
			if r != '0' {
				return "", false
			}
		}
		text += "." + fraction[:t.Fraction]
	}
	return text, true
}

func (c *compiler) far(e ast.Expr, t Type) error {
	return c.rowFault(e, CodeRange, "the result is outside the years 0 to 9999, or of what "+t.String()+" holds", "")
}

// dateOf is the date of a text, or of a timestamp, whose time of day is left out.
func dateOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Date}
	if !c.takes(args, made, "date", []Kind{Date, Timestamp, Text}) || made[0].t.Kind == Unknown {
		return &node{t: t}
	}
	s := made[0].t
	if s.Kind == Text {
		if made[0].text != nil {
			if _, status := parse.Day([]byte(*made[0].text)); status != parse.OK {
				return c.problem(args[0], "expected a date as 'YYYY-MM-DD', not %q", naming.Printable(*made[0].text))
			}
		}
		bad := c.rowFault(e, CodeConversion, "a text is no date as YYYY-MM-DD", "")
		return c.strict(e, t, made, func(v []value) (value, error) {
			day, status := parse.Day([]byte(v[0].s))
			if status != parse.OK || !inCalendar(day) {
				return v[0], bad
			}
			return value{n: day}, nil
		})
	}
	far := c.far(e, t)
	return c.strict(e, t, made, func(v []value) (value, error) {
		day, _ := split(v[0], s)
		if !inCalendar(day) {
			return v[0], far
		}
		return value{n: day}, nil
	})
}

// timestampOf is the midnight of a date, or the timestamp of a text.
func timestampOf(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Timestamp}
	if !c.takes(args[:1], made[:1], "timestamp", []Kind{Date, Timestamp, Text}) {
		return &node{t: t}
	}
	s := made[0].t
	if made[0].text != nil && args[0].Kind() == ast.LiteralKind && len(args) == 1 {
		if at, err := time.Parse(time.RFC3339Nano, *made[0].text); err == nil {
			return c.instant(args[0], at)
		}
	}
	if len(args) == 2 {
		n, ok := c.fixedInt(args[1], "the number of fractional digits", 0, 9)
		if !ok || s.Kind != Text && s.Kind != Unknown {
			if ok {
				return c.problem(e, "timestamp takes the number of digits with a text only")
			}
			return &node{t: t}
		}
		t.Fraction = n
	}
	switch s.Kind {
	case Timestamp:
		return &node{t: s, nullable: made[0].nullable, eval: made[0].eval}
	case Unknown:
		return &node{t: t}
	case Date:
		far := c.far(e, t)
		return c.strict(e, t, made[:1], func(v []value) (value, error) {
			out, ok := join(v[0].n, 0, t)
			if !ok {
				return out, far
			}
			return out, nil
		})
	}
	bad := c.rowFault(e, CodeConversion, "a text is no timestamp as YYYY-MM-DD HH:MM:SS with at most "+strconv.Itoa(t.Fraction)+" fractional digits",
		"timestamp(text, 6) takes six fractional digits")
	per, step := t.perSecond(), int64(1)
	for i := t.Fraction; i < 3*int(t.unit()); i++ {
		step *= 10
	}
	return c.strict(e, t, made[:1], func(v []value) (value, error) {
		n, status := parse.Timestamp([]byte(v[0].s), per)
		if status != parse.OK || n%step != 0 {
			return v[0], bad
		}
		return value{n: n}, nil
	})
}

// clockParts are the parts of a time of day, with how many nanoseconds one has, and how many there are.
var clockParts = map[string]struct{ nanos, most int64 }{
	"hour": {3600e9, 24}, "minute": {60e9, 60}, "second": {1e9, 60}, "millisecond": {1e6, 1000},
}

// instant is an instant as it stands in the expression, with the digits that it needs.
func (c *compiler) instant(e ast.Expr, at time.Time) *node {
	t := Type{Kind: Timestamp, Zone: "UTC"}
	for int64(at.Nanosecond())%(1e9/t.perSecond()) != 0 {
		t.Fraction += 3
	}
	n, ok := multiply64(at.Unix(), t.perSecond())
	sum, fits := add64(n, int64(at.Nanosecond())/(1e9/t.perSecond()))
	if !ok || !fits && at.Nanosecond() != 0 {
		return c.problem(e, "the time is too far away for its fractional digits")
	}
	if at.Nanosecond() == 0 {
		sum = n
	}
	return constant(t, value{n: sum})
}

// durationOf is a duration that stands in the expression: 1h30m, 90m, 1.5s.
func durationOf(c *compiler, _ ast.Expr, args []ast.Expr, made []*node) *node {
	t := Type{Kind: Span}
	if made[0].text == nil || args[0].Kind() != ast.LiteralKind {
		return c.problem(args[0], "duration expects a text as it stands: duration('1h30m')")
	}
	d, err := time.ParseDuration(*made[0].text)
	if err != nil {
		n := c.problem(args[0], "expected a duration such as '1h30m' or '90s', not %q", naming.Printable(*made[0].text))
		c.hint("its units are h, m, s, ms, us and ns")
		return n
	}
	for int64(d)%(1e9/t.perSecond()) != 0 {
		t.Fraction += 3
	}
	return constant(t, value{n: int64(d) / (1e9 / t.perSecond())})
}

// times computes with moments and durations: moment - moment, moment + duration, moment - duration, duration + duration
// and duration - duration; nil for anything else.
func (c *compiler) times(e ast.Expr, op string, a, b *node) *node {
	s, u := a.t, b.t
	adds, moments := op == operators.Add, s.class() == classTime && u.class() == classTime
	if adds && s.class() == classSpan && u.class() == classTime {
		a, b, s, u = b, a, u, s
	}
	t := s
	switch {
	case !adds && op != operators.Subtract, moments && adds:
		return nil
	case moments && (s.Zone == "") != (u.Zone == ""):
		return c.problem(e, "an instant and a local time are so far apart in some zone only")
	case moments:
		t = Type{Kind: Span}
	case u.class() != classSpan || s.class() != classTime && s.class() != classSpan:
		return nil
	case s.Kind == Date:
		t = Type{Kind: Timestamp}
	}
	t.Fraction = max(s.Fraction, u.Fraction)
	per := t.perSecond()
	far := c.rowFault(e, CodeRange, "the result is outside of what "+t.String()+" holds", "")
	return c.binary(e, t, a, b, func(x, y value) (value, error) {
		whole, nanos := seconds(x, s)
		more, moreNanos := seconds(y, u)
		if !adds {
			more, moreNanos = -more, -moreNanos
		}
		sum, ok := add64(whole, more)
		ok = ok || more == 0
		nanos += moreNanos
		carry := floorDiv(nanos, 1e9)
		sum, nanos = sum+carry, nanos-carry*1e9
		n, fits := multiply64(sum, per)
		rest := nanos / (1e9 / per)
		total, holds := add64(n, rest)
		if !ok || !fits || !holds && rest != 0 {
			return x, far
		}
		if rest == 0 {
			total = n
		}
		if t.Kind == Timestamp && !inCalendar(floorDiv(total, per*secondsPerDay)) {
			return x, far
		}
		return value{n: total}, nil
	})
}

// partOf is a number of a date or a timestamp, in the local time that it is or else in UTC, and what is added to it.
func partOf(name, part string, added int64) function {
	return function{name + "(d)", 1, 1, func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		kinds := days
		clock, ofClock := clockParts[part]
		if ofClock {
			kinds = []Kind{Timestamp}
		}
		if !c.takes(args, made, name, kinds) {
			return &node{}
		}
		s := made[0].t
		return c.strict(e, Type{Kind: Int}, made, func(v []value) (value, error) {
			day, rest := split(v[0], s)
			if ofClock {
				return value{n: rest*(1e9/s.perSecond())/clock.nanos%clock.most + added}, nil
			}
			return value{n: calendarPart(part, day) + added}, nil
		})
	}}
}

func calendarPart(part string, day int64) int64 {
	y, m, d := parse.FromCivil(day)
	switch part {
	case "year":
		return y
	case "month":
		return m
	case "dayOfYear":
		return day - parse.Civil(y, 1, 1) + 1
	case "dayOfWeek": // from 0, Sunday; 1970 began on a Thursday
		return day + 4 - floorDiv(day+4, 7)*7
	}
	return d
}

// mostUnits is more days, and months, than the calendar has, so that nothing overflows on the way to that.
const mostUnits = 4_000_000_000_000

func addUnits(name string, units int64) func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	return func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		kinds := days
		if units == 1 {
			kinds = []Kind{Timestamp}
		}
		if !c.takes(args, made, name, kinds, ints) {
			return &node{}
		}
		t := made[0].t
		far := c.far(e, t)
		return c.binary(e, t, made[0], made[1], func(d, n value) (value, error) {
			if n.n > mostUnits || n.n < -mostUnits {
				return d, far
			}
			day, rest := split(d, t)
			if units == secondsPerDay {
				day += n.n
			} else {
				per := t.perSecond()
				// Whole days first: seconds times units of a nanosecond might not fit.
				day += n.n / secondsPerDay
				rest += n.n % secondsPerDay * per
				perDay := secondsPerDay * per
				day += floorDiv(rest, perDay)
				rest -= floorDiv(rest, perDay) * perDay
			}
			v, ok := join(day, rest, t)
			if !ok {
				return v, far
			}
			return v, nil
		})
	}
}

// addMonths keeps the day of the month, or takes the month's last one where it has fewer.
func addMonths(name string, months int64) func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	return func(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
		if !c.takes(args, made, name, days, ints) {
			return &node{}
		}
		t := made[0].t
		far := c.far(e, t)
		return c.binary(e, t, made[0], made[1], func(d, n value) (value, error) {
			if n.n > 200_000 || n.n < -200_000 {
				return d, far
			}
			day, rest := split(d, t)
			year, month, date := parse.FromCivil(day)
			month += n.n*months - 1
			year += floorDiv(month, 12)
			month = month - floorDiv(month, 12)*12 + 1
			if year < 0 || year > 9999 {
				return d, far
			}
			v, ok := join(parse.Civil(year, month, min(date, parse.DaysInMonth(year, month))), rest, t)
			if !ok {
				return v, far
			}
			return v, nil
		})
	}
}

// daysBetween counts midnights: of timestamps only the dates count.
func daysBetween(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "daysBetween", days) {
		return &node{}
	}
	s, t := made[0].t, made[1].t
	return c.binary(e, Type{Kind: Int}, made[0], made[1], func(a, b value) (value, error) {
		from, _ := split(a, s)
		to, _ := split(b, t)
		return value{n: to - from}, nil
	})
}

// secondsBetween is exact: it has the fractional digits of the timestamps.
func secondsBetween(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args, made, "secondsBetween", days) {
		return &node{}
	}
	s, u := made[0].t, made[1].t
	if s.Kind == Unknown || u.Kind == Unknown {
		return &node{}
	}
	if (s.Zone == "") != (u.Zone == "") {
		return c.problem(e, "an instant and a local time are so many seconds apart in some zone only")
	}
	scale := 3 * ((max(s.Fraction, u.Fraction) + 2) / 3)
	t := Type{Kind: Decimal, Precision: 19 + scale, Scale: scale}
	return c.binary(e, t, made[0], made[1], func(a, b value) (value, error) {
		from, fromNanos := seconds(a, s)
		to, toNanos := seconds(b, u)
		whole := addWhole(value{n: to}, negateWhole(value{n: from})).upscale(scale)
		return addWhole(whole, value{n: (toNanos - fromNanos) / int64(scaled.Pow10[9-scale])}), nil
	})
}

var truncations = []string{"year", "quarter", "month", "day", "hour", "minute", "second"}

// truncate is the beginning of the year, quarter, month, day, hour, minute or second.
func truncate(c *compiler, e ast.Expr, args []ast.Expr, made []*node) *node {
	if !c.takes(args[:1], made[:1], "truncate", days) {
		return &node{}
	}
	unit, ok := c.fixedText(args[1], "what is kept", truncations)
	t := made[0].t
	if !ok || t.Kind == Unknown {
		return &node{t: t}
	}
	clock := map[string]int64{"hour": 3600, "minute": 60, "second": 1}[unit]
	if clock > 0 && t.Kind == Date {
		return c.problem(args[1], "a date has no %s", unit)
	}
	far := c.far(e, t)
	return c.strict(e, t, made[:1], func(v []value) (value, error) {
		day, rest := split(v[0], t)
		if clock > 0 {
			rest -= rest % (clock * t.perSecond())
		} else {
			rest = 0
		}
		year, month, _ := parse.FromCivil(day)
		switch unit {
		case "year":
			day = parse.Civil(year, 1, 1)
		case "quarter":
			day = parse.Civil(year, (month-1)/3*3+1, 1)
		case "month":
			day = parse.Civil(year, month, 1)
		}
		out, ok := join(day, rest, t)
		if !ok {
			return v[0], far
		}
		return out, nil
	})
}
