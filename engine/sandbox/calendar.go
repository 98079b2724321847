package sandbox

// The generated practice lives in a fixed calendar, so that data doesn't depend
// on the day it is made: bookings are taken from bookingFirst to practiceToday,
// visits take place from visitFirst to visitLast. Visits after practiceToday are
// still to come.
var (
	bookingFirst  = daysOf(2022, 11, 1)
	visitFirst    = daysOf(2023, 1, 2)
	practiceToday = daysOf(2025, 9, 30)
	visitLast     = daysOf(2025, 12, 31)
	// practiceNow is the last second of practiceToday: nothing was written later.
	practiceNow = practiceToday*daySeconds + daySeconds - 1
)

const (
	minute     = 60
	hour       = 60 * minute
	daySeconds = 24 * hour
)

// daysOf counts days since 1970-01-01 of a date of the proleptic Gregorian
// calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
	}
	era := year / 400 // years here are never negative
	yearOfEra := year - era*400
	dayOfYear := (153*((month+9)%12)+2)/5 + day - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

// civil is the inverse of daysOf.
func civil(days int64) (year, month, day int64) {
	days += 719468
	era := days / 146097
	dayOfEra := days - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	mp := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

func appendDate(dst []byte, days int64) []byte {
	y, m, d := civil(days)
	return append(dst,
		byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10),
		'-', byte('0'+m/10), byte('0'+m%10), '-', byte('0'+d/10), byte('0'+d%10))
}

func appendDateTime(dst []byte, seconds int64) []byte {
	dst = appendDate(dst, seconds/daySeconds)
	s := seconds % daySeconds
	h, m, s := s/hour, s/minute%60, s%60
	return append(dst,
		' ', byte('0'+h/10), byte('0'+h%10), ':', byte('0'+m/10), byte('0'+m%10), ':', byte('0'+s/10), byte('0'+s%10))
}

// closed tells whether the practice sees nobody on a day: Sundays and public
// holidays with a fixed date. The practice is open on some Saturdays only, so
// the caller says whether this visit may be on one.
func closed(days int64, saturday bool) bool {
	switch (days + 4) % 7 { // 1970-01-01 was a Thursday; 0 is Sunday
	case 0:
		return true
	case 6:
		if !saturday {
			return true
		}
	}
	_, m, d := civil(days)
	switch {
	case m == 1 && (d == 1 || d == 26), m == 4 && d == 25, m == 12 && (d == 25 || d == 26):
		return true
	}
	return false
}

// openDay is the first day from days on when the practice is open.
func openDay(days int64, saturday bool) int64 {
	for closed(days, saturday) {
		days++
	}
	return days
}
