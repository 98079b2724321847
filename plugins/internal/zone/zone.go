// Package zone knows what clocks showed in a time zone: fixed offsets, and the zones of the IANA
// database, which is part of the program. The source turns local times into instants with it, and
// the encoders turn them back. It never guesses which of two instants a local time means.
package zone

import (
	"math"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // a machine need not have a database of its own
)

// UTC is the name of the zone in which instants are stored.
const UTC = "UTC"

// Zone is a time zone. It does not change and is safe for concurrent use.
type Zone struct {
	// Name is the zone's, as Arrow takes it: UTC, an offset such as +10:00, or a name such as Australia/Sydney.
	Name string

	location *time.Location
	fixed    bool
	offset   int64  // of a fixed zone
	clocks   string // of one without a name, see Clocks
}

var offsetPattern = regexp.MustCompile(`^[+-](\d\d):([0-5]\d)$`)

// Load finds a zone by its name.
func Load(name string) (*Zone, bool) {
	switch strings.ToUpper(name) {
	case "UTC", "Z", "ETC/UTC", "+00:00", "-00:00":
		return &Zone{Name: UTC, fixed: true}, true
	case "", "LOCAL":
		return nil, false
	}
	if m := offsetPattern.FindStringSubmatch(name); m != nil {
		minutes := (int64(m[1][0]-'0')*10+int64(m[1][1]-'0'))*60 + int64(m[2][0]-'0')*10 + int64(m[2][1]-'0')
		if name[0] == '-' {
			minutes = -minutes
		}
		return &Zone{Name: name, fixed: true, offset: minutes * 60}, true
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	return &Zone{Name: name, location: location}, true
}

// Fixed reports whether clocks never change, so that every local time is one instant.
func (z *Zone) Fixed() bool { return z.fixed }

// Span is a time in which a zone's clocks stay as they are, in seconds since 1970 of UTC: From is
// in it, Until is not.
type Span struct {
	From, Until int64
	// Offset is how many seconds local time is ahead of UTC.
	Offset int64
	// Doubled is true where every local time comes at another instant as well.
	Doubled bool
}

// At gives the span that an instant lies in.
func (z *Zone) At(second int64) Span {
	if z.fixed {
		return Span{From: math.MinInt64, Until: math.MaxInt64, Offset: z.offset}
	}
	s := z.bounds(second)
	// What the clocks show after they are put back, they have shown before.
	begin, end := s.From, s.Until
	if s.From != math.MinInt64 {
		begin += max(0, z.bounds(s.From-1).Offset-s.Offset)
	}
	if s.Until != math.MaxInt64 {
		end -= max(0, s.Offset-z.bounds(s.Until).Offset)
	}
	switch {
	case second < begin:
		s.Until, s.Doubled = min(begin, s.Until), true
	case second >= end:
		s.From, s.Doubled = max(end, s.From), true
	default:
		s.From, s.Until = begin, end
	}
	return s
}

// bounds gives the time between two changes.
func (z *Zone) bounds(second int64) Span {
	t := time.Unix(second, 0).In(z.location)
	s := Span{From: math.MinInt64, Until: math.MaxInt64}
	_, offset := t.Zone()
	s.Offset = int64(offset)
	from, until := t.ZoneBounds()
	if !from.IsZero() {
		s.From = from.Unix()
	}
	if !until.IsZero() {
		s.Until = until.Unix()
	}
	return s
}

// Changes are the instants from one to another at which clocks change.
func (z *Zone) Changes(from, until int64) (list []int64) {
	if z.fixed {
		return nil
	}
	for next := z.bounds(from).Until; next < until; next = z.bounds(next).Until {
		list = append(list, next)
	}
	return list
}

const day = 86400

// Instant finds the instant of a local time, in seconds since 1970 of that clock: the earlier one
// of a time that comes twice, in a span that is Doubled. It is false for a time that clocks skip.
// For all local times of the span that it gives, the offset and the answer are the same.
func (z *Zone) Instant(local int64) (Span, bool) {
	if z.fixed {
		return z.At(local), true
	}
	for at := local - day; at <= local+day; {
		b := z.bounds(at)
		if u := local - b.Offset; u >= b.From && u < b.Until {
			return z.At(u), true
		}
		if b.Until == math.MaxInt64 {
			break
		}
		at = b.Until
	}
	return Span{}, false
}
