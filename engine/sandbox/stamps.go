package sandbox

// When rows were written. Nothing is written before what it depends on, nor after
// practiceNow; now and then it is in the first or the last second of a day.

// openingTime draws a time of day within opening hours.
func openingTime(r *random) int64 { return edgeOfDay(r, 8*hour+r.below(10*hour)) }

// on draws a moment of a day, not before another one.
func on(r *random, day, notBefore int64) int64 {
	return min(max(day*daySeconds+openingTime(r), notBefore), practiceNow)
}

// touched draws when a row was last changed: not at all, or at any time since.
func touched(r *random, inserted, percent int64) int64 {
	if !r.percent(percent) {
		return inserted
	}
	at := inserted + r.below(practiceNow-inserted+1)
	return max(inserted, at-at%daySeconds+edgeOfDay(r, at%daySeconds))
}

// within draws a day from a range, both ends included.
func within(r *random, first, last int64) int64 { return first + r.below(last-first+1) }

// later draws a day after another one, at most that many days, and not after
// practiceToday: what would be later still happened today.
func later(r *random, day, most int64) int64 {
	return min(day+1+r.below(most), practiceToday)
}
