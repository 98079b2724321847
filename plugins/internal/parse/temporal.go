package parse

import "github.com/cipherstream/cipherstream/plugins/internal/scaled"

const secondsPerDay = 86400

// Day reads a date, YYYY-MM-DD in the proleptic Gregorian calendar, as days since
// 1970-01-01. Years beyond 9999 have more digits, years before 0000 a minus sign,
// as package format writes them.
func Day(b []byte) (int64, Status) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	n := len(b) - len("-MM-DD")
	if n < 4 || b[n] != '-' || b[n+3] != '-' || n > 4 && b[0] == '0' {
		return 0, Malformed
	}
	month, ok1 := two(b[n+1:])
	day, ok2 := two(b[n+4:])
	year, status := Int(b[:n])
	if !ok1 || !ok2 || status == Malformed || b[0] == '-' {
		return 0, Malformed
	}
	if status == Inexact || year > maxYear {
		return 0, Inexact
	}
	if negative {
		year = -year
	}
	if month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, month) {
		return 0, Malformed
	}
	return Civil(year, month, day), OK
}

// maxYear is beyond what 64 bits of seconds reach, and within what Civil computes.
const maxYear = 300_000_000_000

// Civil returns the day number of a date, 0 being 1970-01-01.
func Civil(year, month, day int64) int64 {
	// Count years from March, so that a leap day is the last of its year.
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	inEra := year - era*400
	return era*146097 + inEra*365 + inEra/4 - inEra/100 + (153*(month-3)+2)/5 + day - 1 - 719468
}

// FromCivil is the inverse of Civil.
func FromCivil(day int64) (year, month, date int64) {
	day += 719468
	era := floorDiv(day, 146097)
	inEra := day - era*146097
	inEraYear := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*inEraYear + inEraYear/4 - inEraYear/100)
	month = (5*inYear + 2) / 153
	date = inYear - (153*month+2)/5 + 1
	year = era*400 + inEraYear
	if month < 10 {
		return year, month + 3, date
	}
	return year + 1, month - 9, date
}

// DaysInMonth returns the length of a month in days.
func DaysInMonth(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func two(b []byte) (int64, bool) {
	return int64(b[0]-'0')*10 + int64(b[1]-'0'), b[0]-'0' <= 9 && b[1]-'0' <= 9
}

// Timestamp reads "YYYY-MM-DD HH:MM:SS", with a fraction of up to nine digits, or
// a date alone, which is its midnight; a T may stand for the space. The result
// is whole units since 1970, perSecond being 1, 1e3, 1e6 or 1e9.
func Timestamp(b []byte, perSecond int64) (int64, Status) {
	seconds, nanos, status := Instant(b)
	if status != OK {
		return 0, status
	}
	return units(seconds, nanos, perSecond)
}

// Instant is Timestamp in seconds and nanoseconds.
func Instant(b []byte) (seconds, nanos int64, status Status) {
	at := len(b)
	for i, c := range b {
		if c == ' ' || c == 'T' {
			at = i
			break
		}
	}
	day, status := Day(b[:at])
	if status != OK {
		return 0, 0, status
	}
	if at == len(b) {
		if seconds, ok := combine(day, secondsPerDay, 0); ok {
			return seconds, 0, OK
		}
		return 0, 0, Inexact
	}
	clock, nanos, status := span(b[at+1:])
	switch {
	case status == Malformed || clock >= secondsPerDay || b[at+3] != ':':
		return 0, 0, Malformed
	case status == Inexact:
		return 0, 0, Inexact
	}
	seconds, ok := combine(day, secondsPerDay, int64(clock))
	if !ok {
		return 0, 0, Inexact
	}
	return seconds, nanos, OK
}

// Duration reads a time of day or a span, "[-]HH:MM:SS" with a fraction of up to
// nine digits and two or more digits of hours, in whole units of which perSecond
// make a second.
func Duration(b []byte, perSecond int64) (int64, Status) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	whole, nanos, status := span(b)
	if status != OK {
		return 0, status
	}
	seconds := int64(whole)
	switch {
	case negative && nanos > 0:
		// Nanoseconds count upwards from the second before.
		seconds, nanos = -seconds-1, 1_000_000_000-nanos
		if whole == 1<<63 {
			return 0, Inexact
		}
	case negative:
		seconds = -seconds // of 1<<63, too
	case whole == 1<<63:
		return 0, Inexact
	}
	return units(seconds, nanos, perSecond)
}

// span reads HH:MM:SS and a fraction; it is at most 1<<63 seconds.
func span(b []byte) (seconds uint64, nanos int64, status Status) {
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	if n < 2 || n > 2 && b[0] == '0' || len(b) < n+6 || b[n] != ':' || b[n+3] != ':' {
		return 0, 0, Malformed
	}
	hours, status := Uint(b[:n])
	minute, ok1 := two(b[n+1:])
	second, ok2 := two(b[n+4:])
	if !ok1 || !ok2 || minute > 59 || second > 59 {
		return 0, 0, Malformed
	}
	if fraction := b[n+6:]; len(fraction) > 0 {
		if fraction[0] != '.' || len(fraction) < 2 {
			return 0, 0, Malformed
		}
		kept := 0
		for i, c := range fraction[1:] {
			switch {
			case c-'0' > 9:
				return 0, 0, Malformed
			case i < 9:
				nanos = nanos*10 + int64(c-'0')
				kept++
			case c != '0':
				status = Inexact
			}
		}
		nanos *= int64(scaled.Pow10[9-kept])
	}
	if status != OK || hours > 1<<63/3600 {
		return 0, 0, Inexact
	}
	seconds = hours*3600 + uint64(minute*60+second)
	if seconds > 1<<63 {
		return 0, 0, Inexact
	}
	return seconds, nanos, OK
}

// units scales; the nanoseconds must be whole in units, and the result fit 64 bits.
func units(seconds, nanos, perSecond int64) (int64, Status) {
	perUnit := 1_000_000_000 / perSecond
	if nanos%perUnit != 0 {
		return 0, Inexact
	}
	if v, ok := combine(seconds, perSecond, nanos/perUnit); ok {
		return v, OK
	}
	return 0, Inexact
}

// combine computes a × factor + b, where 0 <= b < factor, or fails if the result
// does not fit 64 bits.
func combine(a, factor, b int64) (int64, bool) {
	if a < 0 {
		// The product may pass the range where the sum does not.
		a, b = a+1, b-factor
	}
	v := a * factor
	if v/factor != a {
		return 0, false
	}
	sum := v + b
	return sum, (b < 0) == (sum < v) || b == 0
}
