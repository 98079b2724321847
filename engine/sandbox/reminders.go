package sandbox

var reminderColumns = columnNames(`reminder_id appointment_id patient_id reminder_type channel reminder_date sent_date
	delivery_status reply_status reply_date location_id is_deleted ts_4_insert ts_4_update`)

// remindersOf are the messages about each appointment of five in turn.
var remindersOf = newTally([]int64{1, 1, 2, 1, 1})

var deliveries = []string{"Delivered", "Delivered", "Delivered", "Delivered", "Delivered", "Sent", "Sent", "Failed"}

var reminderChannels = []string{"SMS", "SMS", "SMS", "SMS", "SMS", "SMS", "SMS", "Email", "Email", "Letter"}

// reminder fills one row of the appointment_reminder table.
func (g *generator) reminder(row int64, out []Value) {
	appointment, which := remindersOf.locate(row)
	patient, _ := g.book.patient(appointment)
	v := g.visit(appointment, patient)
	r := sequence(g.seed, forReminder, row)

	kind, day := "Reminder", max(v.created/daySeconds, v.day-1-r.below(3))
	inserted := v.created
	switch {
	case which == 0 && r.percent(40):
		kind, day = "Confirmation", v.created/daySeconds
	case which == 1 && v.outcome == attended:
		kind, day = "Follow-up", later(&r, v.day, 3)
		inserted = max(inserted, on(&r, v.day, v.start+2*hour))
	}
	channel := pick(&r, reminderChannels)

	status, sent, reply, replied := "Pending", Value{}, Value{}, Value{}
	updated := inserted
	// One in fifty got stuck; visits that were called off need no more messages.
	if day <= practiceToday && !r.percent(2) && !(v.outcome == cancelled && kind == "Reminder" && r.percent(50)) {
		at := min(max(day*daySeconds+openingTime(&r), inserted), day*daySeconds+daySeconds-1)
		sent = dateTime(at)
		status = pick(&r, deliveries)
		updated = at
		if status == "Delivered" && channel != "Letter" && r.percent(55) {
			reply = text(choose(v.outcome == cancelled, "Declined", "Confirmed"))
			if r.percent(15) {
				reply = text("Other")
			}
			updated = min(at+r.below(2*daySeconds), practiceNow)
			replied = dateTime(updated)
		}
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(appointment + 1))
	set(integer(patient + 1))
	set(text(kind))
	set(text(channel))
	set(date(day))
	set(sent)
	set(text(status))
	set(reply)
	set(replied)
	set(integer(v.place.id))
	set(flag(r.below(1000) < 10))
	set(dateTime(inserted))
	set(dateTime(updated))
}
