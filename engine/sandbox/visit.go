package sandbox

// outcome is what became of an appointment.
type outcome uint8

const (
	booked outcome = iota // still to come
	cancelled
	failed // the patient did not come
	attended
)

// visit is the part of an appointment that its patient's row depends on too.
type visit struct {
	created int64 // seconds
	day     int64
	start   int64 // seconds
	kind    *visitKind
	outcome outcome
	place   location
}

// location is where a patient is seen: practitioners belong to one location and
// have one book each.
type location struct{ id, practitioner, book int64 }

const (
	locations                = 3
	practitionersPerLocation = 4
)

// home is the patient's usual location and practitioner.
func (g *generator) home(patient int64) location {
	r := sequence(g.seed, forFamily, patient)
	return locationOf(r.below(locations), r.below(practitionersPerLocation))
}

func locationOf(place, chair int64) location {
	practitioner := place*practitionersPerLocation + chair + 1
	return location{id: place + 1, practitioner: practitioner, book: 100 + practitioner}
}

const quarter = 15 * minute

// visit computes the core of an appointment.
func (g *generator) visit(appointment, patient int64) visit {
	v, r := g.slot(appointment)
	v.place = g.home(patient)
	if r.percent(10) {
		v.place = locationOf(r.below(locations), r.below(practitionersPerLocation))
	}
	return v
}

// slot is the part of a visit that does not depend on the patient, and the
// sequence that the rest is drawn from.
func (g *generator) slot(appointment int64) (visit, random) {
	r := sequence(g.seed, forVisit, appointment)
	v := visit{created: g.bookedAt(appointment, &r)}
	today := v.created / daySeconds

	var lead int64 // days from booking to visit
	switch n := r.below(10); {
	case n < 1:
	case n < 4:
		lead = 1 + r.below(7)
	case n < 8:
		lead = 8 + r.below(38)
	default:
		lead = 46 + r.below(135)
	}
	v.day = today + lead
	if v.day < visitFirst {
		v.day = visitFirst + r.below(60)
	}
	if v.day > visitLast {
		v.day = today + 1 + r.below(visitLast-today)
	}
	saturday := r.percent(30)
	v.day = openDay(v.day, saturday)
	v.kind = &visitKinds[r.below(int64(len(visitKinds)))]
	timeOfDay := 8*hour + quarter*r.below(38) // 08:00 to 17:15
	if v.day*daySeconds+timeOfDay <= v.created {
		v.day = openDay(v.day+1, saturday)
	}
	v.start = v.day*daySeconds + timeOfDay

	n := r.below(100)
	switch {
	case v.day > practiceToday && n < 5, v.day <= practiceToday && n < 11:
		v.outcome = cancelled
	case v.day > practiceToday:
		v.outcome = booked
	case n < 16:
		v.outcome = failed
	default:
		v.outcome = attended
	}
	return v, r
}

// deleted tells whether an appointment was deleted: one in eleven of those that did
// not take place. What was attended stands, as its invoice does.
func (g *generator) deleted(appointment int64, v *visit) bool {
	if v.outcome == attended {
		return false
	}
	r := sequence(g.seed, forDeletion, appointment)
	return r.percent(9)
}

// bookedAt spreads bookings evenly over the calendar, in order of number, within
// opening hours. Some come in over the internet in the first or the last second
// of a day, where date filters go wrong if they do.
func (g *generator) bookedAt(appointment int64, r *random) int64 {
	const open, opening = 8 * hour, 10 * hour
	span := (practiceToday - bookingFirst + 1) * opening
	// The products stay below 2^63: span is below 2^26, appointments at most 2^32.
	from := appointment * span / g.appointments
	to := (appointment + 1) * span / g.appointments
	at := from
	if to > from {
		at += r.below(to - from)
	}
	day := (bookingFirst + at/opening) * daySeconds
	return day + edgeOfDay(r, open+at%opening)
}

// createdDay is the day on which an appointment was booked.
func (g *generator) createdDay(appointment int64) int64 {
	r := sequence(g.seed, forVisit, appointment)
	return g.bookedAt(appointment, &r) / daySeconds
}

// edgeOfDay replaces a time of day, now and then, by the first or last second.
func edgeOfDay(r *random, timeOfDay int64) int64 {
	switch r.below(200) {
	case 0:
		return 0
	case 1:
		return daySeconds - 1
	}
	return timeOfDay
}
