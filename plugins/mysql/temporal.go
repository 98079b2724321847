package mysql

import (
	"encoding/binary"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const secondsPerDay = 86400

// moment is a DATE, DATETIME or TIMESTAMP as the server sends it, which need not
// be a date of the calendar.
type moment struct {
	year                 uint16
	month, day           uint8
	hour, minute, second uint8
	micro                uint32
}

// duration is a TIME.
type duration struct {
	negative bool
	seconds  int64
	micro    uint32
}

// longestTime is 838:59:59 in seconds, the largest TIME.
const longestTime = 838*3600 + 59*60 + 59

// binaryMoment reads the body of a binary protocol date: 0, 4, 7 or 11 bytes.
func binaryMoment(v []byte) (m moment, ok bool) {
	switch len(v) {
	case 0:
		return m, true
	case 4, 7, 11:
	default:
		return m, false
	}
	m.year, m.month, m.day = binary.LittleEndian.Uint16(v), v[2], v[3]
	if len(v) >= 7 {
		m.hour, m.minute, m.second = v[4], v[5], v[6]
	}
	if len(v) == 11 {
		m.micro = binary.LittleEndian.Uint32(v[7:])
	}
	return m, m.plausible()
}

// binaryDuration reads the body of a binary protocol TIME: 0, 8 or 12 bytes.
func binaryDuration(v []byte) (d duration, ok bool) {
	switch len(v) {
	case 0:
		return d, true
	case 8, 12:
	default:
		return d, false
	}
	if v[0] > 1 || v[5] > 23 || v[6] > 59 || v[7] > 59 {
		return d, false
	}
	d.negative = v[0] == 1
	d.seconds = int64(binary.LittleEndian.Uint32(v[1:]))*secondsPerDay + int64(v[5])*3600 + int64(v[6])*60 + int64(v[7])
	if len(v) == 12 {
		d.micro = binary.LittleEndian.Uint32(v[8:])
	}
	return d, d.micro < 1e6
}

// textMoment reads "YYYY-MM-DD", with or without " HH:MM:SS" and a fraction.
func textMoment(v []byte) (m moment, ok bool) {
	if len(v) < 10 || v[4] != '-' || v[7] != '-' {
		return m, false
	}
	hundreds, ok1 := twoDigits(v[0], v[1])
	years, ok2 := twoDigits(v[2], v[3])
	month, ok3 := twoDigits(v[5], v[6])
	day, ok4 := twoDigits(v[8], v[9])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return m, false
	}
	m.year, m.month, m.day = uint16(hundreds)*100+uint16(years), month, day
	if len(v) == 10 {
		return m, m.plausible()
	}
	if len(v) < 19 || v[10] != ' ' || v[13] != ':' || v[16] != ':' {
		return m, false
	}
	m.hour, ok1 = twoDigits(v[11], v[12])
	m.minute, ok2 = twoDigits(v[14], v[15])
	m.second, ok3 = twoDigits(v[17], v[18])
	m.micro, ok4 = fractionOf(v[19:])
	return m, ok1 && ok2 && ok3 && ok4 && m.plausible()
}

// textDuration reads "[-]HHH:MM:SS" with or without a fraction; the hours have
// two or three digits.
func textDuration(v []byte) (d duration, ok bool) {
	if len(v) > 0 && v[0] == '-' {
		d.negative = true
		v = v[1:]
	}
	var hours uint8
	if len(v) >= 9 && v[3] == ':' {
		if v[0]-'0' > 9 {
			return d, false
		}
		hours = v[0] - '0'
		v = v[1:]
	}
	if len(v) < 8 || v[2] != ':' || v[5] != ':' {
		return d, false
	}
	h, ok1 := twoDigits(v[0], v[1])
	m, ok2 := twoDigits(v[3], v[4])
	s, ok3 := twoDigits(v[6], v[7])
	micro, ok4 := fractionOf(v[8:])
	d.seconds = int64(hours)*360000 + int64(h)*3600 + int64(m)*60 + int64(s)
	d.micro = micro
	return d, ok1 && ok2 && ok3 && ok4 && m < 60 && s < 60
}

func twoDigits(tens, ones byte) (uint8, bool) {
	return (tens-'0')*10 + ones - '0', tens-'0' <= 9 && ones-'0' <= 9
}

// fractionOf reads "" or "." and one to six digits as microseconds.
func fractionOf(v []byte) (micro uint32, ok bool) {
	if len(v) == 0 {
		return 0, true
	}
	if v[0] != '.' || len(v) < 2 || len(v) > 7 {
		return 0, false
	}
	for i := range 6 {
		micro *= 10
		if i+1 < len(v) {
			digit := v[i+1] - '0'
			if digit > 9 {
				return 0, false
			}
			micro += uint32(digit)
		}
	}
	return micro, true
}

// plausible reports whether the parts can stand in a date at all; month and day
// may be out of the calendar, which is a matter of policy.
func (m moment) plausible() bool {
	return m.year <= 9999 && m.month <= 12 && m.day <= 31 && m.hour <= 23 && m.minute <= 59 && m.second <= 59 && m.micro < 1e6
}

// onCalendar reports whether the date exists in the proleptic Gregorian calendar.
func (m moment) onCalendar() bool {
	return m.month >= 1 && m.day >= 1 && int64(m.day) <= parse.DaysInMonth(int64(m.year), int64(m.month))
}

func (m moment) key() uint32 {
	return uint32(m.year) | uint32(m.month)<<16 | uint32(m.day)<<24
}

// civilDays is the number of days from 1970-01-01 to a date of the proleptic
// Gregorian calendar. Years start in March, so that a leap day is a year's last;
// 400 years are 146,097 days.
func civilDays(year uint16, month, day uint8) int64 {
	y, m := int64(year)+400, (int64(month)+9)%12
	if month <= 2 {
		y--
	}
	dayOfYear := (153*m+2)/5 + int64(day) - 1
	return y*365 + y/4 - y/100 + y/400 + dayOfYear - 146097 - 719468
}

// learnDate makes the date of a key the column's last date, unless no calendar has it.
func (c *column) learnDate(key uint32) bool {
	m := moment{year: uint16(key), month: uint8(key >> 16), day: uint8(key >> 24)}
	if m.year > 9999 || m.month > 12 || !m.onCalendar() {
		return false
	}
	c.lastDate, c.lastDays = key, civilDays(m.year, m.month, m.day)
	return true
}

// setMoment stores m in column i, by the column's kind.
func (b *batch) setMoment(i int, m moment) error {
	c := &b.columns[i]
	if c.kind == kindDateText || c.kind == kindDatetimeText {
		return b.setMomentText(i, m)
	}
	if key := m.key(); key != c.lastDate && !c.learnDate(key) {
		return b.zeroDate(i)
	}
	seconds := int64(m.hour)*3600 + int64(m.minute)*60 + int64(m.second)
	if c.kind == kindDate {
		if seconds != 0 || m.micro != 0 {
			return b.outOfRange(i, "a date with a time of day")
		}
		binary.LittleEndian.PutUint32(c.data[b.rows*4:], uint32(int32(c.lastDays)))
		return nil
	}
	seconds += c.lastDays * secondsPerDay
	if c.zone != nil {
		instant, err := b.instant(i, seconds)
		if err != nil {
			return err
		}
		seconds = instant
	}
	return b.setTicks(i, seconds, m.micro)
}

// setTicks stores seconds and microseconds in the unit of column i.
func (b *batch) setTicks(i int, seconds int64, micro uint32) error {
	c := &b.columns[i]
	if micro%c.microTick != 0 {
		return b.outOfRange(i, "a fraction of a second")
	}
	b.put64(c, seconds*c.perSecond+int64(micro/c.microTick))
	return nil
}

// setDuration stores d in column i.
func (b *batch) setDuration(i int, d duration) error {
	c := &b.columns[i]
	if d.seconds > longestTime {
		return b.outOfRange(i, "a TIME beyond 838:59:59")
	}
	if d.micro%c.microTick != 0 {
		return b.outOfRange(i, "a fraction of a second")
	}
	ticks := d.seconds*c.perSecond + int64(d.micro/c.microTick)
	if d.negative {
		ticks = -ticks
	}
	b.put64(c, ticks)
	return nil
}

// zeroDate applies the policy to a date that no calendar has.
func (b *batch) zeroDate(i int) error {
	b.zeroDates++
	if b.zero == zeroNull {
		return b.setNull(i)
	}
	return fault.New(codeZeroDate, fault.Data, "column %q, %s: a zero, partial or impossible date",
		b.columns[i].name, b.place()).
		WithHint("set zero_dates to null or text, or correct the row")
}

// setMomentText stores m as "YYYY-MM-DD" or "YYYY-MM-DD HH:MM:SS[.ffffff]", the
// fraction with as many digits as are declared.
func (b *batch) setMomentText(i int, m moment) error {
	c := &b.columns[i]
	if !m.onCalendar() {
		b.zeroDates++
	}
	s := append(b.scratch[:0], byte('0'+m.year/1000), byte('0'+m.year/100%10), byte('0'+m.year/10%10),
		byte('0'+m.year%10))
	s = appendTwo(append(s, '-'), m.month)
	s = appendTwo(append(s, '-'), m.day)
	if c.kind == kindDateText {
		if m.hour|m.minute|m.second != 0 || m.micro != 0 {
			return b.outOfRange(i, "a date with a time of day")
		}
	} else {
		s = appendTwo(append(s, ' '), m.hour)
		s = appendTwo(append(s, ':'), m.minute)
		s = appendTwo(append(s, ':'), m.second)
		unit := uint32(scaled.Pow10[6-c.fraction])
		if m.micro%unit != 0 {
			return b.outOfRange(i, "a fraction of a second")
		}
		if c.fraction > 0 {
			s = append(s, '.')
			for digits, rest := c.fraction, m.micro/unit; digits > 0; digits-- {
				p := uint32(scaled.Pow10[digits-1])
				s = append(s, byte('0'+rest/p))
				rest %= p
			}
		}
	}
	b.scratch = s
	b.appendBytes(c, s)
	return nil
}

func appendTwo(b []byte, v uint8) []byte { return append(b, '0'+v/10, '0'+v%10) }
