package row

import (
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// moment is a DATE, DATETIME or TIMESTAMP, which need not be a date of the calendar.
type moment struct {
	year, month, day     int
	hour, minute, second int
	micro                int
}

// duration is a TIME.
type duration struct {
	negative             bool
	hour, minute, second int
	micro                int
}

// longestHours is the hours of the longest TIME, 838:59:59.
const longestHours = 838

// bigEndian reads a number of at most 8 bytes.
func bigEndian(v []byte) (n uint64) {
	for _, octet := range v {
		n = n<<8 | uint64(octet)
	}
	return n
}

// microsOf reads a fraction of a second of 0 to 3 bytes, which hold its hundredths, ten-thousandths or millionths.
func microsOf(n uint64, size int) (int, bool) {
	micro := n * [4]uint64{0, 10000, 100, 1}[size]
	return int(micro), micro < 1e6
}

// datetime2 reads the DATETIME of MySQL 5.6 and later: a number of 5 bytes, and the fraction.
func datetime2(v []byte) (moment, bool) {
	whole := int64(bigEndian(v[:5])) - 1<<39
	micro, ok := microsOf(bigEndian(v[5:]), len(v)-5)
	if whole < 0 || !ok {
		return moment{}, false
	}
	return packedMoment(whole<<24 | int64(micro))
}

// packedMoment reads MySQL's number for a DATETIME, which has the microseconds in its lowest 24 bits.
func packedMoment(n int64) (moment, bool) {
	if n < 0 {
		return moment{}, false
	}
	whole := n >> 24
	months := int(whole >> 22)
	m := moment{
		year: months / 13, month: months % 13, day: int(whole>>17) & 31,
		hour: int(whole>>12) & 31, minute: int(whole>>6) & 63, second: int(whole) & 63,
		micro: int(n & (1<<24 - 1)),
	}
	return m, m.plausible()
}

// time2 reads the TIME of MySQL 5.6 and later: a number of 3 bytes and the fraction, of which the complement is taken for
// negative ones, both together.
func time2(v []byte) (duration, bool) {
	size := len(v) - 3
	n := int64(bigEndian(v)) - 1<<(8*len(v)-1)
	negative := n < 0
	if negative {
		n = -n
	}
	micro, ok := microsOf(uint64(n)&(1<<(8*size)-1), size)
	if !ok {
		return duration{}, false
	}
	packed := n>>(8*size)<<24 | int64(micro)
	if negative {
		packed = -packed
	}
	return packedDuration(packed)
}

// packedDuration reads MySQL's number for a TIME, which has the microseconds in its lowest 24 bits.
func packedDuration(n int64) (duration, bool) {
	d := duration{negative: n < 0}
	if d.negative {
		if n = -n; n < 0 {
			return d, false
		}
	}
	whole := n >> 24
	d.hour, d.minute, d.second = int(whole>>12)&1023, int(whole>>6)&63, int(whole)&63
	d.micro = int(n & (1<<24 - 1))
	return d, whole < 1<<22 && d.plausible()
}

// date3 reads a DATE: 5 bits of the day, 4 of the month, and the year.
func date3(v []byte) (moment, bool) {
	n := int(v[0]) | int(v[1])<<8 | int(v[2])<<16
	m := moment{year: n >> 9, month: n >> 5 & 15, day: n & 31}
	return m, m.plausible()
}

// oldDatetime reads the DATETIME of servers before MySQL 5.6: YYYYMMDDhhmmss as a decimal number.
func oldDatetime(v []byte) (moment, bool) {
	var n uint64
	for i, octet := range v {
		n |= uint64(octet) << (8 * i)
	}
	date, clock := n/1e6, int(n%1e6)
	if date > 99991231 {
		return moment{}, false
	}
	m := moment{
		year: int(date / 10000), month: int(date / 100 % 100), day: int(date % 100),
		hour: clock / 10000, minute: clock / 100 % 100, second: clock % 100,
	}
	return m, m.plausible()
}

// oldTime reads the TIME of servers before MySQL 5.6: hhhmmss as a decimal number of 3 bytes.
func oldTime(v []byte) (duration, bool) {
	n := int(int32(uint32(v[0])<<8|uint32(v[1])<<16|uint32(v[2])<<24) >> 8)
	d := duration{negative: n < 0}
	if d.negative {
		n = -n
	}
	d.hour, d.minute, d.second = n/10000, n/100%100, n%100
	return d, d.plausible()
}

// The bytes that MariaDB's own formats with fractions have (mysql56_temporal_format=OFF), by digits.
var (
	hiresTime      = [7]int{3, 4, 4, 5, 5, 5, 6}
	hiresDatetime  = [7]int{5, 6, 6, 7, 7, 7, 8}
	hiresTimestamp = [7]int{4, 5, 5, 6, 6, 7, 7}
)

// hiresMoment reads MariaDB's own DATETIME with a fraction.
func hiresMoment(v []byte, digits int) (moment, bool) {
	unit := scaled.Pow10[digits]
	n := bigEndian(v)
	m := moment{micro: int(n % unit * scaled.Pow10[6-digits])}
	n /= unit
	m.second, n = int(n%60), n/60
	m.minute, n = int(n%60), n/60
	m.hour, n = int(n%24), n/24
	m.day, n = int(n%32), n/32
	m.month, n = int(n%13), n/13
	if n > 9999 {
		return moment{}, false
	}
	m.year = int(n)
	return m, m.plausible()
}

// hiresDuration reads MariaDB's own TIME with a fraction.
func hiresDuration(v []byte, digits int) (duration, bool) {
	unit := int64(scaled.Pow10[digits])
	const zero = longestHours*3600 + 59*60 + 59 + 1
	n := int64(bigEndian(v)) - zero*unit
	d := duration{negative: n < 0}
	if d.negative {
		n = -n
	}
	d.micro = int(n % unit * int64(scaled.Pow10[6-digits]))
	n /= unit
	if n >= zero {
		return d, false
	}
	d.hour, d.minute, d.second = int(n/3600), int(n/60%60), int(n%60)
	return d, d.plausible()
}

// plausible reports whether the parts can stand in a date at all; that no calendar has the date is a matter of policy.
func (m moment) plausible() bool {
	return m.year <= 9999 && m.month <= 12 && m.day <= 31 && m.hour <= 23 && m.minute <= 59 && m.second <= 59 && m.micro < 1e6
}

func (d duration) plausible() bool {
	return d.hour <= longestHours && d.minute <= 59 && d.second <= 59 && d.micro < 1e6
}

// onCalendar reports whether the date exists in the proleptic Gregorian calendar.
func (m moment) onCalendar() bool {
	return m.month >= 1 && m.day >= 1 && int64(m.day) <= parse.DaysInMonth(int64(m.year), int64(m.month))
}

const secondsPerDay = 86400

// days since 1970-01-01 of a date of the calendar.
func (m moment) days() int64 {
	return time.Date(m.year, time.Month(m.month), m.day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
}

func (m moment) seconds() int64 {
	return m.days()*secondsPerDay + int64(m.hour)*3600 + int64(m.minute)*60 + int64(m.second)
}

func (d duration) seconds() int64 {
	return int64(d.hour)*3600 + int64(d.minute)*60 + int64(d.second)
}

// momentAt is a local time, in seconds since 1970 of that clock.
func momentAt(local int64, micro int) moment {
	t := time.Unix(local, 0).UTC()
	return moment{year: t.Year(), month: int(t.Month()), day: t.Day(), hour: t.Hour(), minute: t.Minute(), second: t.Second(), micro: micro}
}

// appendDate writes YYYY-MM-DD.
func (m moment) appendDate(out []byte) []byte {
	out = appendTwo(appendTwo(out, m.year/100), m.year%100)
	return appendTwo(append(appendTwo(append(out, '-'), m.month), '-'), m.day)
}

// appendTime writes hh:mm:ss and as many digits of the fraction.
func (m moment) appendTime(out []byte, digits int) []byte {
	out = appendTwo(append(appendTwo(append(appendTwo(out, m.hour), ':'), m.minute), ':'), m.second)
	return appendFraction(out, m.micro, digits)
}

// append writes a TIME, the hours with two digits or three.
func (d duration) append(out []byte, digits int) []byte {
	if d.negative {
		out = append(out, '-')
	}
	if d.hour > 99 {
		out = append(out, byte('0'+d.hour/100))
	}
	out = appendTwo(append(appendTwo(append(appendTwo(out, d.hour%100), ':'), d.minute), ':'), d.second)
	return appendFraction(out, d.micro, digits)
}

func appendFraction(out []byte, micro, digits int) []byte {
	if digits == 0 {
		return out
	}
	out = append(out, '.')
	for unit := 100000; digits > 0; digits-- {
		out = append(out, byte('0'+micro/unit%10))
		unit /= 10
	}
	return out
}

func appendTwo(out []byte, n int) []byte { return append(out, byte('0'+n/10), byte('0'+n%10)) }
