package format

import (
	"encoding/binary"
	"math"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
	"github.com/cipherstream/cipherstream/plugins/internal/zone"
)

// MaxTime is the most bytes that a date, a timestamp, a time of day or a
// duration takes: a year of 13 characters and a fraction of nine digits.
const MaxTime = 48

// timeFormat is how one column writes days and seconds. It remembers the text of
// the last day, because neighbouring rows tend to fall on the same one.
type timeFormat struct {
	perSecond uint64 // units in a second: 1, 1e3, 1e6 or 1e9
	digits    int    // fractional digits to write
	dropped   uint64 // what a fraction must divide by to have that many digits, or 1
	added     uint64 // what it must be multiplied by instead, or 1

	from int64  // first instant of the remembered day, in units
	span uint64 // units in a day; 0 while no day is remembered
	day  dayText

	// zone is that of instants which are written in local time, nil for UTC and for local times.
	zone    *zone.Zone
	clocks  zone.Span // of the last instant
	doubled int64     // how many local times came twice, since it was last taken
}

// newTimeFormat takes the number of fractional digits that the unit holds (0, 3,
// 6 or 9) and the number to write.
func newTimeFormat(held, written int) timeFormat {
	f := timeFormat{perSecond: scaled.Pow10[held], digits: written, dropped: 1, added: 1}
	if written < held {
		f.dropped = scaled.Pow10[held-written]
	} else {
		f.added = scaled.Pow10[written-held]
	}
	return f
}

const secondsPerDay = 86400

// putDate writes the day with that number, 0 being 1970-01-01.
func (f *timeFormat) putDate(b []byte, n int, day int64) int {
	if f.span == 0 || day != f.from {
		f.day = textOf(day)
		f.from, f.span = day, 1
	}
	return f.day.put(b, n)
}

// putTimestamp writes "YYYY-MM-DD HH:MM:SS" and the fraction of an instant in
// units since 1970, in local time where the column has a zone. It returns -1 if the fraction has more digits than are
// to be written.
func (f *timeFormat) putTimestamp(b []byte, n int, v int64) int {
	if f.zone != nil {
		seconds := zone.Seconds(v, int64(f.perSecond))
		if seconds < f.clocks.From || seconds >= f.clocks.Until {
			f.clocks = f.zone.At(seconds)
		}
		if f.clocks.Doubled {
			f.doubled++
		}
		shift := f.clocks.Offset * int64(f.perSecond)
		if shifted := v + shift; (shifted > v) == (shift > 0) {
			v = shifted // and else beyond what an instant can be, at the end of 64 bits
		}
	}
	rest := uint64(v - f.from)
	if rest >= f.span {
		rest = f.remember(v)
	}
	return f.putClock(b, f.day.put(b, n)+len(" "), rest)
}

// remember makes the day of v the remembered one and returns the units since its
// start.
func (f *timeFormat) remember(v int64) uint64 {
	perDay := int64(f.perSecond) * secondsPerDay
	day := v / perDay
	rest := v - day*perDay
	if rest < 0 {
		day--
		rest += perDay
	}
	f.day = textOf(day)
	f.from, f.span = v-rest, uint64(perDay)
	if f.from > v || f.from > math.MaxInt64-perDay {
		// The first and the last day reach beyond 64 bits, where the subtraction in
		// putTimestamp would take one for the other.
		f.span = 0
	}
	return uint64(rest)
}

// putClock writes HH:MM:SS and the fraction of a span below 100 hours, or more
// digits of hours beyond. It returns -1 as putTimestamp does.
func (f *timeFormat) putClock(b []byte, n int, v uint64) int {
	// Division by a constant is a multiplication.
	var seconds uint64
	switch f.perSecond {
	case 1:
		seconds = v
	case 1e3:
		seconds = v / 1e3
	case 1e6:
		seconds = v / 1e6
	default:
		seconds = v / 1e9
	}
	fraction := v - seconds*f.perSecond
	var s uint32
	if seconds < 100*3600 {
		s = uint32(seconds)
		h := s / 3600
		put2(b, n, h)
		n += 2
		s -= h * 3600
	} else {
		h := seconds / 3600
		n = PutUint(b, n, h)
		s = uint32(seconds - h*3600)
	}
	m := s / 60
	b[n] = ':'
	put2(b, n+1, m)
	b[n+3] = ':'
	put2(b, n+4, s-m*60)
	n += 6
	if f.digits == 0 {
		if fraction != 0 {
			return -1
		}
		return n
	}
	if f.dropped > 1 {
		kept := fraction / f.dropped
		if kept*f.dropped != fraction {
			return -1
		}
		fraction = kept
	}
	b[n] = '.'
	putPadded(b, n+1, fraction*f.added, f.digits)
	return n + 1 + f.digits
}

// putDuration writes a span of either sign.
func (f *timeFormat) putDuration(b []byte, n int, v int64) int {
	u := uint64(v)
	if v < 0 {
		b[n] = '-'
		n++
		u = -u
	}
	return f.putClock(b, n, u)
}

// dayText is the text of a day and a space behind it. It is kept in words, and written as it is read: a processor
// waits where it reads in one piece what was written a moment ago in several.
type dayText struct {
	words [3]uint64
	width int // without the space
}

// put writes the day and the space, and what is left of the last word. It returns the end of the day.
func (t *dayText) put(b []byte, n int) int {
	into := (*[24]byte)(b[n:])
	binary.LittleEndian.PutUint64(into[:], t.words[0])
	binary.LittleEndian.PutUint64(into[8:], t.words[1])
	binary.LittleEndian.PutUint64(into[16:], t.words[2])
	return n + t.width
}

// textOf is putDay with a shorter way for years of four digits, by the method of Neri and Schneider ("Euclidean affine
// functions and their application to calendar algorithms", 2022): neighbouring rows need not fall on one day.
func textOf(day int64) (t dayText) {
	// Counted from 0000-03-01, as in putDay; January and February of 10000 are left out.
	const daysToEpoch, days = 719468, 146097 * 25
	since := uint64(day + daysToEpoch)
	if since >= days-60 {
		var b [24]byte
		t.width = putDay(b[:], day)
		b[t.width] = ' '
		for i := range t.words {
			t.words[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		return t
	}
	quarters := 4*uint32(since) + 3
	century := quarters / 146097
	product := 2939745 * uint64(quarters%146097|3)
	year := 100*century + uint32(product>>32)
	inYear := uint32(product) / 2939745 / 4
	rest := 2141*inYear + 197913
	month, date := rest>>16, rest&0xffff/2141+1
	if inYear >= 306 {
		year++
		month -= 12
	}
	t.width = len("YYYY-MM-DD")
	t.words[0] = pairAt(year/100) | pairAt(year%100)<<16 | '-'<<32 | pairAt(month)<<40 | '-'<<56
	t.words[1] = pairAt(date) | ' '<<16
	return t
}

// pairAt is the two digits of v, which is below 100, the first in the low byte.
func pairAt(v uint32) uint64 { return uint64(binary.LittleEndian.Uint16(pairs[v][:])) }

// putDay writes a day of the proleptic Gregorian calendar at the start of b and
// returns its width. Years have at least four digits; the year before 0001 is
// 0000, and earlier ones have a minus sign (ISO 8601's numbering).
func putDay(b []byte, day int64) int {
	// Count from 0000-03-01, so that a leap day is the last of its year, in eras of
	// 400 years, which all have the same number of days.
	const daysPerEra, daysToEpoch = 146097, 719468
	day += daysToEpoch
	era := day / daysPerEra
	if day%daysPerEra < 0 {
		era--
	}
	inEra := uint32(day - era*daysPerEra)
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100)
	month := (5*inYear + 2) / 153 // 0 is March
	date := inYear - (153*month+2)/5 + 1
	full := era*400 + int64(year)
	if month < 10 {
		month += 3
	} else {
		month -= 9
		full++
	}

	n := 0
	if full < 0 {
		b[0] = '-'
		n, full = 1, -full
	}
	if full < 10000 {
		put2(b, n, uint32(full)/100)
		put2(b, n+2, uint32(full)%100)
		n += 4
	} else {
		n = PutUint(b, n, uint64(full))
	}
	b[n] = '-'
	put2(b, n+1, month)
	b[n+3] = '-'
	put2(b, n+4, date)
	return n + 6
}
