package terminal

import (
	"fmt"
	"strconv"
	"time"
)

// Counted writes a number with what is counted: 1 row, 2 rows.
func Counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// Grouped writes a number with a comma between every three digits: 1,234,567.
func Grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Bytes writes a number of bytes in decimal units: 999 B, 12.3 kB, 4.5 GB.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 999.95 && unit < 6 {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, " kMGTPE"[unit])
}

// Clock writes a duration as minutes and seconds, 1:02, or 1:02:03 with hours.
func Clock(d time.Duration) string {
	s := int64(d / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// pace measures a rate over the last few seconds, so that it follows a source
// that slows down, and does not jump.
type pace struct {
	// marks are measurements at least paceStep apart, oldest first.
	marks []mark
}

type mark struct {
	at time.Duration
	n  int64
}

const (
	paceStep  = 500 * time.Millisecond
	paceMarks = 10
)

// add takes a count at a time and returns the rate per second.
func (p *pace) add(at time.Duration, n int64) int64 {
	if len(p.marks) == 0 {
		p.marks = append(p.marks, mark{})
	}
	first := p.marks[0]
	if at-p.marks[len(p.marks)-1].at >= paceStep {
		if len(p.marks) == paceMarks {
			p.marks = append(p.marks[:0], p.marks[1:]...)
		}
		p.marks = append(p.marks, mark{at, n})
	}
	if at <= first.at {
		return 0
	}
	return int64(float64(n-first.n) / (at - first.at).Seconds())
}
