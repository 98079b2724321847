package mysql

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// zoneServer is the value of the setting time_zone that leaves the zone as the server has it.
const zoneServer = "server"

var zonePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_+:/-]{1,64}$`) })

// setZone sets the session's time zone, when one is asked for, and finds out which holds.
// What SQL computes (CURDATE, a range on a TIMESTAMP) and what the text of a TIMESTAMP
// shows is then what a client of the practice's own shows.
func (ses *session) setZone(name string) error {
	if name != zoneServer {
		_, err := ses.run("SET SESSION time_zone = '" + name + "'")
		if isErrno(err, 1298) && strings.EqualFold(name, zone.UTC) { // a server without tables of zones knows offsets only
			_, err = ses.run("SET SESSION time_zone = '+00:00'")
		}
		if isErrno(err, 1298) {
			return fault.New(codeTimeZone, fault.Source, "the server does not know the time zone %s", shown(name)).
				WithHint("write an offset such as +10:00, or load the server's time zone tables (mysql_tzinfo_to_sql)")
		}
		if err != nil {
			return err
		}
	}
	row, err := ses.run("SELECT @@SESSION.time_zone, @@system_time_zone")
	if err != nil {
		return err
	}
	if len(row) != 2 {
		return protocolFault("the server does not say its time zone")
	}
	ses.zoneName = row[0]
	name, system := row[0], strings.EqualFold(row[0], "SYSTEM")
	if system {
		name = row[1]
		ses.facts["time_zone"] = "SYSTEM (" + name + ")"
	} else {
		ses.facts["time_zone"] = name
	}
	// GMT is not UTC: as the name of a system's zone it is London's in winter.
	if z, known := zone.Load(name); known && (z.Name == zone.UTC || z.Fixed() && !system) {
		ses.zone = z
		return nil
	}
	if ses.zone, err = ses.recognise(name); err != nil && !isServerError(err) {
		return err
	}
	return nil
}

// The server's clocks are compared once a week of the years that a TIMESTAMP can be in.
const (
	week          = 7 * secondsPerDay
	lastTimestamp = math.MaxInt32
)

// ahead is SQL for the seconds by which the session's clocks are ahead of UTC at an instant.
const ahead = "TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', FROM_UNIXTIME(%[1]s)) - %[1]s"

// recognise finds the zone whose clocks always showed what the server's show, first of all the
// one of that name: a server has a table of its own, which need not be ours, and the name of its
// system's zone may be no more than AEST. It is nil when there is none.
func (ses *session) recognise(name string) (*zone.Zone, error) {
	seen, err := ses.sample(week)
	if seen == nil || err != nil {
		return nil, err
	}
	if first := seen[0]; !slices.ContainsFunc(seen, func(offset int64) bool { return offset != first }) && first%60 == 0 {
		sign, minutes := '+', first/60
		if first < 0 {
			sign, minutes = '-', -minutes
		}
		z, _ := zone.Load(fmt.Sprintf("%c%02d:%02d", sign, minutes/60, minutes%60))
		return z, nil
	}
	for _, candidate := range append([]string{name}, zone.Names...) {
		z, known := zone.Load(candidate)
		if !known || !sameWeeks(z, seen) {
			continue
		}
		if same, err := ses.sameChanges(z); same || err != nil {
			return z, err
		}
	}
	return nil, nil
}

// sample asks by how many seconds the session's clocks are ahead of UTC at the second 1 of 1970, and every so many
// seconds from then on. It is nil where the server does not say.
func (ses *session) sample(every int64) (seen []int64, err error) {
	digit := "(SELECT 0 AS d" // names are those of digits
	for i := 1; i < 10; i++ {
		digit += " UNION ALL SELECT " + strconv.Itoa(i)
	}
	digit += ")"
	row, err := ses.run(fmt.Sprintf("SELECT GROUP_CONCAT("+ahead+" ORDER BY v) FROM (SELECT (a.d + b.d * 10 + c.d * 100 + e.d * 1000 + f.d * 10000) * %d + 1 AS v FROM %[3]s AS a, %[3]s AS b, %[3]s AS c, %[3]s AS e, %[3]s AS f) AS moments WHERE v < %[4]d",
		"v", every, digit, lastTimestamp))
	if err != nil || len(row) != 1 {
		return nil, err
	}
	if seen = offsets(row[0]); len(seen) != int((lastTimestamp-2)/every)+1 {
		return nil, nil
	}
	return seen, nil
}

// offsets reads numbers of seconds with commas between; nil is what is none.
func offsets(text string) (list []int64) {
	for _, text := range strings.Split(text, ",") {
		offset, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil
		}
		list = append(list, offset)
	}
	return list
}

// learn finds out when the session's clocks change, where they are those of no zone that is known: between two days on
// which they show another time it goes half the way until the second is found. It is nil where the server does not say.
func (ses *session) learn() (*zone.Zone, error) {
	seen, err := ses.sample(secondsPerDay)
	if seen == nil || err != nil {
		return nil, err
	}
	// Clocks show low's time until low, and high's from high on.
	type between struct {
		low, high    int64
		offset, next int64
	}
	var open []between
	for i := 1; i < len(seen); i++ {
		if seen[i] != seen[i-1] {
			open = append(open, between{int64(i-1)*secondsPerDay + 1, int64(i)*secondsPerDay + 1, seen[i-1], seen[i]})
		}
	}
	for width := int64(secondsPerDay); len(open) > 0 && width > 1; width = (width + 1) / 2 {
		var asked []string
		for _, b := range open {
			asked = append(asked, fmt.Sprintf(ahead, strconv.FormatInt((b.low+b.high)/2, 10)))
		}
		row, err := ses.run("SELECT CONCAT_WS(',', " + strings.Join(asked, ", ") + ")")
		if err != nil {
			return nil, err
		}
		found := offsets(strings.Join(row, ""))
		if len(found) != len(open) {
			return nil, nil
		}
		for i := range open {
			switch b, middle := &open[i], (open[i].low+open[i].high)/2; found[i] {
			case b.offset:
				b.low = middle
			case b.next:
				b.high = middle
			default:
				return nil, nil // they changed twice within the day
			}
		}
	}
	var changes []zone.Change
	for _, b := range open {
		changes = append(changes, zone.Change{At: b.high, Offset: b.next})
	}
	z, _ := zone.Clocks(seen[0], changes)
	return z, nil
}

func sameWeeks(z *zone.Zone, seen []int64) bool {
	var span zone.Span
	for i, offset := range seen {
		second := int64(i)*week + 1
		if second >= span.Until {
			span = z.At(second)
		}
		if span.Offset != offset {
			return false
		}
	}
	return true
}

// sameChanges compares the seconds before and after each change of the clocks.
func (ses *session) sameChanges(z *zone.Zone) (bool, error) {
	var asked []string
	var want []string
	for _, change := range z.Changes(1, lastTimestamp) {
		for _, second := range []int64{change - 1, change} {
			asked = append(asked, fmt.Sprintf(ahead, strconv.FormatInt(second, 10)))
			want = append(want, strconv.FormatInt(z.At(second).Offset, 10))
		}
	}
	row, err := ses.run("SELECT CONCAT_WS(',', " + strings.Join(asked, ", ") + ")")
	return strings.Join(row, "") == strings.Join(want, ","), err
}

// checkZone fails when the statement has changed the session's zone, in which its local times
// would have been understood.
func (ses *session) checkZone() error {
	row, err := ses.run("SELECT @@SESSION.time_zone")
	if err == nil && strings.Join(row, "") != ses.zoneName {
		return fault.New(codeTimeZone, fault.Source, "the procedure changed the session's time zone from %s to %s, so that its timestamps cannot be told", shown(ses.zoneName), shown(strings.Join(row, ""))).
			WithHint("set time_zone to what the procedure wants, and take SET time_zone out of it")
	}
	return err
}

// unixTimes makes the statement of a table read its TIMESTAMP columns as UNIX times, which tell
// the instants of a doubled hour apart, and keeps what the server says about the columns as they
// are. The range stays one of the session's zone. Where clocks never change there is no need; where they are those of
// no zone that is known, their changes are learned, so that text shows what the practice's client shows.
func (s *source) unixTimes(authorised *statement) error {
	z := s.session.zone
	if z != nil && z.Fixed() || len(authorised.unix) == 0 || s.settings.ZeroDates == string(zeroText) {
		return nil
	}
	if z == nil {
		var err error
		if z, err = s.session.learn(); err != nil && !isServerError(err) {
			return err
		}
		if z == nil {
			return nil
		}
	}
	s.clocks = z
	s.doing = authorised.doing
	if err := s.session.c.command(commandQuery, []byte("SELECT "+quoteNames(authorised.columns)+" FROM "+quoteName(authorised.table)+" LIMIT 0")); err != nil {
		return err
	}
	s.results = &results{c: s.session.c}
	defs, _, err := s.results.next()
	if err != nil {
		return err
	}
	if len(defs) != len(authorised.columns) {
		return protocolFault("%d columns were asked for, and %d are described", len(authorised.columns), len(defs))
	}
	if err := s.results.skip(); err != nil {
		return err
	}
	if more, _, err := s.results.next(); err != nil || more != nil {
		return err
	}
	s.stored = defs
	list := make([]string, len(defs))
	for i, name := range authorised.columns {
		list[i] = quoteName(name)
		if t := defs[i].typ; t == typeTimestamp || t == typeTimestamp2 {
			list[i] = "UNIX_TIMESTAMP(" + list[i] + ")"
		}
	}
	authorised.query = "SELECT " + strings.Join(list, ", ") + strings.TrimPrefix(authorised.query,
		"SELECT "+quoteNames(authorised.columns))
	return nil
}

// unixKind says how a UNIX time comes: as an integer, or as a DECIMAL with a fraction.
func unixKind(d *columnDef) (kind, bool) {
	switch d.typ {
	case typeLongLong:
		return kindUnixSeconds, true
	case typeNewDecimal:
		return kindUnixDecimal, true
	}
	return 0, false
}

// setUnix stores a UNIX time in column i. 0 is a zero date: the first TIMESTAMP is later.
func (b *batch) setUnix(i int, seconds int64, micro uint32) error {
	if seconds == 0 && micro == 0 {
		return b.zeroDate(i)
	}
	return b.setTicks(i, seconds, micro)
}

// setUnixText stores a UNIX time that comes as digits, with a fraction or without.
func (b *batch) setUnixText(i int, v []byte) error {
	whole, fraction := v, []byte(nil)
	if point := slices.Index(v, '.'); point >= 0 {
		whole, fraction = v[:point], v[point:]
	}
	seconds, ok := parseUnsigned(whole)
	micro, fits := fractionOf(fraction)
	if !ok || !fits || seconds > 1<<40 {
		return b.malformed(i)
	}
	return b.setUnix(i, int64(seconds), micro)
}

// instant turns a local time of column i into seconds since 1970 of UTC.
func (b *batch) instant(i int, local int64) (int64, error) {
	c := &b.columns[i]
	if local < c.clocksFrom || local >= c.clocksUntil {
		span, ok := c.zone.Instant(local)
		if !ok {
			return 0, fault.New(codeValue, fault.Data, "column %q, %s: clocks skipped that time in %s", c.name, b.place(), c.zone.Name).
				WithHint("set time_zone to that of the values, or CAST the column to DATETIME in the query")
		}
		c.clocksFrom, c.clocksUntil, c.ahead = span.From, span.Until, span.Offset
		if span.From != math.MinInt64 {
			c.clocksFrom += span.Offset
		}
		if span.Until != math.MaxInt64 {
			c.clocksUntil += span.Offset
		}
	}
	second := local - c.ahead
	if !c.zone.Fixed() && second > lastTimestamp {
		return 0, b.outOfRange(i, "a TIMESTAMP later than 2038-01-19 in a zone whose clocks change")
	}
	return second, nil
}
