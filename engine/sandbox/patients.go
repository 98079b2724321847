package sandbox

import "strconv"

// The keys that patients have in these lists, from 1 on.
const (
	feeLevels       = 4
	healthFunds     = 30
	referralSources = 12
)

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
	set(seen.first) // every visit has a treatment of its patient
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
	set(maybeInteger(&r, 60, 1+r.below(referralSources)))
	set(maybeInteger(&r, 55, 1+r.below(healthFunds)))
	set(maybeInteger(&r, 85, 1+r.below(feeLevels)))
	set(dateTime(registered))
	set(dateTime(updated))
}

// cover is the part of a patient's row that other tables need, and need quickly.
type cover struct {
	fund, level int64 // 0 for none
	// registered is the day from which the practice knows the patient.
	registered int64
}

// cover repeats the draws of patient up to those of the fund and the fee level,
// and spares the rest of the row.
func (g *generator) cover(row int64) cover {
	r := sequence(g.seed, forPatient, row)
	var c cover
	skip := func(draws int) {
		for range draws {
			r.next()
		}
	}
	maybe := func(percent int64, draws int) {
		if r.percent(percent) {
			skip(draws)
		}
	}
	skip(1 + 4) // female, and givenName's
	if g.familyHead(row) != row {
		maybe(15, 1) // surname
	}
	works := r.percent(45)
	if first, ok := g.book.first(row); ok {
		c.registered = g.createdDay(first)
		skip(1)
	} else {
		c.registered = bookingFirst + r.below(practiceToday-bookingFirst+1)
		skip(2)
	}
	if !r.percent(25) { // updated
		skip(2)
	}
	if !r.percent(2) { // deleted
		skip(1)
	}
	skip(1)      // card
	maybe(40, 1) // middle name
	maybe(12, 1) // preferred name
	skip(2)      // birthdate
	maybe(55, 1) // occupation
	maybe(80, 1) // email
	maybe(88, 4) // mobile
	maybe(15, 4) // work phone
	if works {
		skip(3)
		maybe(30, 1)
	}
	for range 4 { // preferences
		maybe(90, 1)
	}
	skip(1 + 2) // practitioner, referral source
	if fund := 1 + r.below(healthFunds); r.percent(55) {
		c.fund = fund
	}
	if level := 1 + r.below(feeLevels); r.percent(85) {
		c.level = level
	}
	return c
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

// relative is a patient of the same family as the one whose head is given, drawn
// evenly.
func (g *generator) relative(r *random, head int64) int64 {
	end := head + 1
	for end < g.patients && g.familyHead(end) == head {
		end++
	}
	return head + r.below(end-head)
}

// history is what a patient's appointments say about the patient.
type history struct {
	visits        int64
	registered    int64 // seconds: when the first booking was made
	first, latest Value // dates of what was attended, NULL when there was none
	firstLocation Value
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
	})
	return h
}

// among tells whether a day lies between a patient's first and latest visit.
func (g *generator) among(patient, day int64) bool {
	var before, after bool
	g.book.each(patient, func(appointment int64) {
		if before && after {
			return
		}
		if v, _ := g.slot(appointment); v.outcome == attended {
			before, after = before || v.day <= day, after || v.day >= day
		}
	})
	return before && after
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
