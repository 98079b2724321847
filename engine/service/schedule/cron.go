package schedule

import (
	"math/bits"
	"regexp"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Cron is an expression of five fields (minute, hour, day of the month, month, day of the week) in a time zone. What
// the fields mean is gronx's: numbers, lists, ranges, steps, names of months and days, ? for any day, L (the last day
// of a month), 15W (the weekday nearest to a day) and 5L and 1#2 (the last Friday, the second Monday). As in cron, a
// day is one that either field of days takes where both are given, and one that both take where either begins with *.
//
// From which wall clock times ticks come is decided here, because it is what may not go wrong at a change of the clock:
//
//   - a time that the clock leaps over happens once, right after the gap, however many times of the expression are in it;
//   - a time that comes twice happens once, when it comes first. An expression that takes every hour does not mean a
//     time of the day but a distance: it goes on through both.
type Cron struct {
	expression string
	zone       *time.Location
	minutes    uint64
	hours      uint64
	months     uint64
	day        []string // day of the month, month, day of the week, as gronx has them
}

// everyHour has all hours.
const everyHour = 1<<24 - 1

// horizon is how far ahead a tick is looked for. The rarest day, a 29 February on one day of the week, comes again
// after at most forty years.
const horizon = 50

// part is one element of a list in a field, once names are numbers. What only days take is a field's last alternative.
var (
	part    = regexp.MustCompile(`^(\*|\?|[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2})(/[0-9]{1,2})?$`)
	partDay = []*regexp.Regexp{3: regexp.MustCompile(`^(L|[0-9]{1,2}W)$`), 5: regexp.MustCompile(`^[0-7](L|#[1-5])$`)}
)

// letters are what may stand in a field beside numbers and signs.
var letters = []*regexp.Regexp{
	1: regexp.MustCompile(`^[^A-Z]*$`), 2: regexp.MustCompile(`^[^A-Z]*$`), 3: regexp.MustCompile(`^[^A-KM-VX-Z]*$`),
	4: regexp.MustCompile(`^([^A-Z]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)*$`),
	5: regexp.MustCompile(`^([^A-Z]|L|SUN|MON|TUE|WED|THU|FRI|SAT)*$`),
}

var fieldNames = []string{1: "minute", 2: "hour", 3: "day of the month", 4: "month", 5: "day of the week"}

// ParseCron reads an expression. What never happens, such as a 30 February, is an error.
func ParseCron(expression, zone string) (*Cron, error) {
	location, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return nil, fault.New(CodeCron, fault.Usage, "a schedule has five fields, and %q has %d", expression, len(fields)).
			WithHint("minute hour day-of-month month day-of-week, such as 30 2 * * * for every day at half past two")
	}
	segments, err := gronx.Segments(strings.Join(fields, " "))
	if err != nil || len(segments) != 6 {
		return nil, fault.New(CodeCron, fault.Usage, "%q is no schedule of five fields", expression)
	}
	c := &Cron{expression: strings.Join(fields, " "), zone: location}
	for position := 1; position < len(segments); position++ {
		if err := checkField(fields[position-1], segments[position], position); err != nil {
			return nil, err
		}
	}
	c.minutes, c.hours, c.months = values(segments[1], 1), values(segments[2], 2), values(segments[4], 4)
	c.day = segments[3:]
	if c.wallAfter(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2000+horizon, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fault.New(CodeCron, fault.Usage, "the schedule %q never happens: no year has such a day", expression)
	}
	return c, nil
}

// loadZone is a zone by its IANA name: that of the machine is none, since it is another one elsewhere.
func loadZone(zone string) (*time.Location, error) {
	location, err := time.LoadLocation(zone)
	if zone == "" || zone == "Local" || err != nil {
		return nil, fault.New(CodeZone, fault.Usage, "there is no time zone %q", zone).
			WithHint("give an IANA name, such as Europe/Berlin or UTC")
	}
	return location, nil
}

// checkField tells what is wrong with a field. gronx looks at the elements of a list until one of them is due, and so
// tells of a mistake on some days only: each is looked at by itself here, at every value.
func checkField(given, field string, position int) error {
	wrong := func(why string) error {
		return fault.New(CodeCron, fault.Usage, "the %s %q is not one: %s", fieldNames[position], given, why)
	}
	// gronx makes numbers of the names of months and days in any field.
	if allowed := letters[position]; !allowed.MatchString(strings.ToUpper(given)) {
		return wrong("it has a name or a letter that does not stand there")
	}
	for _, p := range strings.Split(field, ",") {
		named := position < len(partDay) && partDay[position] != nil && partDay[position].MatchString(p)
		switch {
		case !named && !part.MatchString(p):
			return wrong("expected *, numbers, ranges such as 1-5, steps such as */15, or a list of them")
		case strings.HasPrefix(p, "?") && (p != "?" || position != 3 && position != 5):
			return wrong("? stands alone, for any day")
		case (p[0] == '*' || p == "?") && p != field:
			return wrong("what takes every value is no part of a list")
		case strings.Contains(p, "/") && !strings.ContainsAny(p, "*-"):
			return wrong("a step needs a range to step through, such as */15 or 5-59/15")
		}
		for _, at := range probes(position) {
			checker := &gronx.SegmentChecker{}
			checker.SetRef(at)
			if _, err := checker.CheckDue(p, position); err != nil {
				return wrong("a number is out of its bounds, or a range ends before it begins")
			}
		}
	}
	if due := values(field, position); position != 3 && position != 5 && due == 0 {
		return wrong("it takes no value")
	}
	return nil
}

// probes are times that have, one after the other, every value of a field.
func probes(position int) (all []time.Time) {
	first := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // a Monday, in a leap year
	for i := range 60 {
		switch {
		case position == 1:
			all = append(all, first.Add(time.Duration(i)*time.Minute))
		case position == 2 && i < 24:
			all = append(all, first.Add(time.Duration(i)*time.Hour))
		case (position == 3 || position == 5) && i < 31:
			all = append(all, first.AddDate(0, 0, i))
		case position == 4 && i < 12:
			all = append(all, first.AddDate(0, i, 0))
		}
	}
	return all
}

// values are the values that a field takes, as a set; of a field of days it means nothing.
func values(field string, position int) (set uint64) {
	for i, at := range probes(position) {
		checker := &gronx.SegmentChecker{}
		checker.SetRef(at)
		if due, err := checker.CheckDue(field, position); due && err == nil {
			if position == 4 {
				i++ // months begin with 1
			}
			set |= 1 << i
		}
	}
	return set
}

// String is the expression.
func (c *Cron) String() string { return c.expression }

// Zone is the time zone.
func (c *Cron) Zone() *time.Location { return c.zone }

// Next is the first tick after a time; zero where there is none within fifty years.
func (c *Cron) Next(after time.Time) time.Time {
	after = after.In(c.zone)
	for at, end := after, after.AddDate(horizon, 0, 0); at.Before(end); {
		start, stop := at.ZoneBounds()
		tick := c.within(start, stop, after, end)
		if !tick.IsZero() || stop.IsZero() {
			return tick
		}
		at = stop
	}
	return time.Time{}
}

// within is the first tick after a time in a period of the zone, in which its clock differs from UTC by one amount.
// Start and stop are zero where it has no such end.
func (c *Cron) within(start, stop, after, end time.Time) time.Time {
	inside := after
	if inside.Before(start) {
		inside = start
	}
	offset := offsetOf(inside)
	wall := func(t time.Time, offset time.Duration) time.Time { return t.UTC().Add(offset) }
	// The first wall clock time that may be one, and the first that may not.
	from, to := wall(after, offset).Truncate(time.Minute).Add(time.Minute), wall(end, offset)
	if !stop.IsZero() {
		to = wall(stop, offset)
	}
	if !start.IsZero() {
		begins, before := wall(start, offset), wall(start, offsetOf(start.Add(-1)))
		switch {
		case after.Before(start):
			// What the clock leapt over, and what it shows right after, is the moment of the leap.
			if before.Before(begins) && !c.wallAfter(before, begins.Add(1)).IsZero() {
				return start.In(c.zone)
			}
			from = begins
			fallthrough
		default:
			if begins.Before(before) && c.hours != everyHour && from.Before(before) {
				from = before // it has shown these already
			}
		}
	}
	found := c.wallAfter(from, to)
	if found.IsZero() {
		return time.Time{}
	}
	return found.Add(-offset).In(c.zone)
}

func offsetOf(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// wallAfter is the first wall clock time of the expression from one on, and before another, both written as UTC.
func (c *Cron) wallAfter(from, before time.Time) time.Time {
	if rest := from.Truncate(time.Minute); !rest.Equal(from) {
		from = rest.Add(time.Minute)
	}
	gron := gronx.New()
	for at := from; at.Before(before); {
		y, m, d := at.Date()
		if c.months&(1<<int(m)) == 0 {
			at = time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		gron.C.SetRef(day)
		due, err := gron.SegmentsDue([]string{"*", "*", "*", c.day[0], c.day[1], c.day[2]})
		if err == nil && due {
			for h := at.Hour(); h < 24; h++ {
				minutes := c.minutes
				if h == at.Hour() {
					minutes &^= 1<<at.Minute() - 1
				}
				if c.hours&(1<<h) == 0 || minutes == 0 {
					continue
				}
				found := day.Add(time.Duration(h)*time.Hour + time.Duration(bits.TrailingZeros64(minutes))*time.Minute)
				if !found.Before(before) {
					return time.Time{}
				}
				return found
			}
		}
		at = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}
