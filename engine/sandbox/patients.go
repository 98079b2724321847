package sandbox

import "strconv"

// patient fills one row of the patient table.
func (g *generator) patient(row int64, out []Value) {
	r := sequence(g.seed, forPatient, row)
	head := g.familyHead(row)
	family := sequence(g.seed, forFamily, head)
	_, _ = family.next(), family.next() // home took these
	home := g.home(row)
	seen := g.history(row)

	female := r.percent(51)
	first, title, gender := givenName(&r, female)
	surname := pick(&family, surnames)
	if head != row && r.percent(15) {
		surname = pick(&r, surnames)
	}
	street := strconv.FormatInt(1+family.below(240), 10) + " " + pick(&family, streets)
	unit := Value{}
	if family.percent(20) {
		unit = text(pick(&family, units))
	}
	suburb := pick(&family, suburbs)
	homePhone := maybe(&family, 50, func() string { return landline(suburb.state, &family) })
	works := r.percent(45)

	registered := seen.registered
	if seen.visits == 0 { // on the books, but never booked in
		registered = (bookingFirst+r.below(practiceToday-bookingFirst+1))*daySeconds + edgeOfDay(&r, 8*hour+r.below(10*hour))
	} else {
		// On the phone, just before the first booking was made, and on the same day.
		registered -= r.below(min(30*minute, registered%daySeconds+1))
	}
	updated := registered
	if !r.percent(25) {
		updated += r.below(practiceNow - registered + 1)
		updated = max(registered, updated-updated%daySeconds+edgeOfDay(&r, updated%daySeconds))
	}
	deleted := r.percent(2)
	inactive := deleted || r.percent(12)

	set := columns(out)
	set(integer(row + 1))
	set(integer(head + 1))
	set(maybe(&r, 90, func() string { return cardNumber(row) }))
	set(text(choose(head == row, "Family Head", "Family Member")))
	set(text(choose(inactive, "Inactive", "Active")))
	set(text(choose(deleted, "Deleted", choose(inactive, "Inactive", "Active"))))
	set(title)
	set(text(first))
	set(maybe(&r, 40, func() string { return pick(&r, choose(female, femaleNames, maleNames)) }))
	set(text(surname))
	set(maybe(&r, 12, func() string { return pick(&r, nicknames) }))
	set(gender)
	set(maybeDate(&r, 97, daysOf(1935, 1, 1)+r.below(daysOf(2022, 1, 1)-daysOf(1935, 1, 1))))
	set(maybe(&r, 55, func() string { return pick(&r, occupations) }))
	set(maybe(&r, 80, func() string { return "patient" + strconv.FormatInt(row+1, 10) + pick(&r, mailDomains) }))
	set(homePhone)
	set(maybe(&r, 88, func() string { return "0491 57" + digits(&r, 1) + " " + digits(&r, 3) }))
	set(maybe(&r, 15, func() string { return landline(suburb.state, &r) }))
	set(text(street))
	set(unit)
	set(text(suburb.postcode))
	set(text(suburb.name))
	set(text(suburb.state))
	g.workAddress(&r, works, set)
	for range 4 {
		set(maybe(&r, 90, func() string { return pick(&r, channels) }))
	}
	set(seen.first)
	set(seen.firstTreatment)
	if seen.first.Kind == Null {
		set(date(registered / daySeconds))
	} else {
		set(seen.first)
	}
	set(seen.latest)
	set(maybeInteger(&r, 92, home.practitioner))
	set(integer(home.id))
	set(seen.firstLocation)
	set(flag(deleted))
	set(maybeInteger(&r, 60, 1+r.below(12)))
	set(maybeInteger(&r, 55, 1+r.below(30)))
	set(maybeInteger(&r, 85, 1+r.below(4)))
	set(dateTime(registered))
	set(dateTime(updated))
}

func (g *generator) workAddress(r *random, works bool, set func(Value)) {
	if !works {
		for range 5 {
			set(Value{})
		}
		return
	}
	place := pick(r, suburbs)
	set(text(strconv.FormatInt(1+r.below(400), 10) + " " + pick(r, streets)))
	set(maybe(r, 30, func() string { return pick(r, units) }))
	set(text(place.postcode))
	set(text(place.name))
	set(text(place.state))
}

// familyHead is the head of a patient's family: the nearest head at or before
// the patient. One patient in eight is a head for certain, which bounds the search.
func (g *generator) familyHead(patient int64) int64 {
	for p := patient; ; p-- {
		if p%8 == 0 || mix(g.seed^uint64(p)*0x9e3779b97f4a7c15)%100 < 35 {
			return p
		}
	}
}

// history is what a patient's appointments say about the patient.
type history struct {
	visits                        int64
	registered                    int64 // seconds: when the first booking was made
	first, firstTreatment, latest Value // dates, NULL when there was none
	firstLocation                 Value
}

func (g *generator) history(patient int64) history {
	var h history
	g.book.each(patient, func(appointment int64) {
		v := g.visit(appointment, patient)
		if h.visits == 0 || v.created < h.registered {
			h.registered = v.created
		}
		h.visits++
		if v.outcome != attended {
			return
		}
		if h.first.Kind == Null || v.day < h.first.N {
			h.first, h.firstLocation = date(v.day), integer(v.place.id)
		}
		if h.latest.Kind == Null || v.day > h.latest.N {
			h.latest = date(v.day)
		}
		if v.kind.treatment && (h.firstTreatment.Kind == Null || v.day < h.firstTreatment.N) {
			h.firstTreatment = date(v.day)
		}
	})
	return h
}

func givenName(r *random, female bool) (name string, title, gender Value) {
	if female {
		name, title, gender = pick(r, femaleNames), text(pick(r, femaleTitles)), text("Female")
	} else {
		name, title, gender = pick(r, maleNames), text(pick(r, maleTitles)), text("Male")
	}
	switch n := r.below(100); {
	case n < 2:
		gender = text("Non-binary")
		title = text("Mx")
	case n < 8:
		gender = Value{}
	}
	if r.percent(5) {
		title = Value{}
	}
	return name, title, gender
}

func cardNumber(row int64) string {
	n := strconv.FormatInt(row+1, 10)
	return "P" + "0000000"[min(len(n), 7):] + n
}

// landline is a number of the ranges that Australia keeps free for fiction.
func landline(state string, r *random) string {
	area := "(02)"
	switch state {
	case "VIC", "TAS":
		area = "(03)"
	case "QLD":
		area = "(07)"
	case "WA", "SA", "NT":
		area = "(08)"
	}
	return area + " 5550 " + digits(r, 4)
}

func digits(r *random, n int) string {
	var b [8]byte
	for i := range n {
		b[i] = byte('0' + r.below(10))
	}
	return string(b[:n])
}

func maybe(r *random, percent int64, make func() string) Value {
	if !r.percent(percent) {
		return Value{}
	}
	return text(make())
}

func maybeDate(r *random, percent, days int64) Value {
	if !r.percent(percent) {
		return Value{}
	}
	return date(days)
}

func maybeInteger(r *random, percent, n int64) Value {
	if !r.percent(percent) {
		return Value{}
	}
	return integer(n)
}

func choose[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}
