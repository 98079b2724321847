package sandbox

var recallColumns = columnNames(`recall_id patient_id recall_type_id recall_date recall_status last_contact_date
	contact_method reminder_count appointment_id practitioner_id location_id notes is_deleted ts_4_insert ts_4_update`)

var waitlistColumns = columnNames(`waitlist_id patient_id added_date preferred_date preferred_time priority
	appointment_book_id duration appointment_type_code practitioner_id location_id next_appointment_id notes created_by
	is_deleted ts_4_insert ts_4_update`)

// recallsOf are the recalls of each patient of four in turn.
var recallsOf = newTally([]int64{1, 2, 0, 3})

// recalled tells whether an appointment belongs to a recall: a patient's recalls go
// with their last bookings, one with each, unless that came to nothing.
func (g *generator) recalled(appointment, patient int64, v *visit) bool {
	if v.outcome != attended && v.outcome != booked || g.deleted(appointment, v) {
		return false
	}
	recalls := recallsOf.total(patient+1) - recallsOf.total(patient)
	last := int64(-1)
	g.book.back(patient, func(booking int64) bool {
		if recalls--; recalls >= 0 {
			last = booking
		}
		return recalls > 0 && booking > appointment
	})
	return last == appointment
}

// recalledTo is the appointment that belongs to one of a patient's recalls.
func (g *generator) recalledTo(patient, which int64) (appointment int64, v visit, ok bool) {
	g.book.back(patient, func(last int64) bool {
		if which--; which >= 0 {
			return true
		}
		v = g.visit(last, patient)
		appointment, ok = last, (v.outcome == attended || v.outcome == booked) && !g.deleted(last, &v)
		return false
	})
	return appointment, v, ok
}

// known is what a patient's appointments say to who plans the next one.
type known struct {
	since      int64 // the day from which the practice knows the patient
	seen, next int64 // the latest attended appointment, and the next one to come that is not deleted; -1 for none
	seenDay    int64
	nextDay    int64
	place      location
}

func (g *generator) known(patient int64) known {
	k := known{since: g.cover(patient).registered, seen: -1, next: -1, place: g.home(patient)}
	g.book.each(patient, func(appointment int64) {
		v := g.visit(appointment, patient)
		switch {
		case v.outcome == attended && (k.seen < 0 || v.day > k.seenDay):
			k.seen, k.seenDay = appointment, v.day
		case v.outcome == booked && !g.deleted(appointment, &v) && (k.next < 0 || v.day < k.nextDay):
			k.next, k.nextDay = appointment, v.day
		}
	})
	return k
}

// recall fills one row of the recall table.
func (g *generator) recall(row int64, out []Value) {
	patient, which := recallsOf.locate(row)
	k := g.known(patient)
	r := sequence(g.seed, forRecall, row)
	kind := &recallTypes[r.below(int64(len(recallTypes)-1))] // the last one is deleted

	due := max(k.since, k.seenDay) + kind.months*30 + r.below(30)
	status := pick(&r, []string{"Due", "Due", "Contacted", "Contacted", "Cancelled"})
	var appointment Value
	if key, v, ok := g.recalledTo(patient, which); ok {
		appointment = integer(key + 1)
		due = max(k.since, v.day-20+r.below(25))
		status = choose(v.outcome == attended, "Completed", "Booked")
	}
	due = min(due, visitLast)

	made := within(&r, k.since, min(due, practiceToday))
	inserted := on(&r, made, 0)
	updated := touched(&r, inserted, 25)
	reminders := r.below(4)
	if status == "Contacted" {
		reminders++
	}
	var contact, method Value
	if reminders > 0 {
		day := within(&r, made, max(made, min(due+20, practiceToday)))
		contact, method = date(day), text(pick(&r, channels))
		updated = max(updated, on(&r, day, inserted))
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(patient + 1))
	set(integer(int64(kind.id)))
	set(date(due))
	set(text(status))
	set(contact)
	set(method)
	set(integer(reminders))
	set(appointment)
	set(maybeInteger(&r, 80, k.place.practitioner))
	set(integer(k.place.id))
	set(maybe(&r, 20, func() string { return note(&r) }))
	set(flag(r.percent(5) && appointment.Kind == Null))
	set(dateTime(inserted))
	set(dateTime(updated))
}

// waiters have one patient in ten on the waiting list.
const waiters = 10

// waiting fills one row of the waitlist table.
func (g *generator) waiting(row int64, out []Value) {
	r := sequence(g.seed, forWaitlist, row)
	patient := row*waiters + r.below(min(waiters, g.patients-row*waiters))
	k := g.known(patient)
	added := within(&r, max(k.since, practiceToday-400), practiceToday)
	inserted := on(&r, added, 0)
	kind := &visitKinds[r.below(int64(len(visitKinds)))]
	var next Value
	if k.next >= 0 && r.percent(70) {
		next = integer(k.next + 1)
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(patient + 1))
	set(date(added))
	set(maybeDate(&r, 60, min(added+r.below(60), visitLast)))
	set(maybe(&r, 70, func() string { return pick(&r, preferredTimes) }))
	set(maybeInteger(&r, 75, 1+r.below(3)))
	set(maybeInteger(&r, 65, k.place.book))
	set(integer(pick(&r, kind.minutes)))
	set(maybe(&r, 85, func() string { return kind.code }))
	set(maybeInteger(&r, 70, k.place.practitioner))
	set(integer(k.place.id))
	set(next)
	set(maybe(&r, 50, func() string { return note(&r) }))
	set(text(receptionist(&r, r.percent(10))))
	set(flag(r.percent(4)))
	set(dateTime(inserted))
	set(dateTime(touched(&r, inserted, 40)))
}

var preferredTimes = []string{"Morning", "Morning", "Afternoon", "Afternoon", "08:00", "09:30", "12:15", "16:45", "17:00"}
