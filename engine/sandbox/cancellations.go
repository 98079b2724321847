package sandbox

var cancellationColumns = columnNames(`cancellation_id appointment_id patient_id practitioner_id location_id
	appointment_book_id appointment_date start_time cancellation_type cancellation_reason_id notes cancelled_by
	cancelled_date rescheduled is_deleted ts_4_insert ts_4_update`)

// cancellation fills one row of the appointment_cancellation table: row n is about
// the n-th appointment that was cancelled or failed.
func (g *generator) cancellation(row int64, out []Value) {
	appointment := g.missed.at(row)
	patient, _ := g.book.patient(appointment)
	v := g.visit(appointment, patient)
	same := sequence(g.seed, forAppointment, appointment)
	duration, online, _ := v.booking(&same)
	noted := v.missed(&same, duration)

	r := sequence(g.seed, forCancellation, appointment)
	at := noted - noted%daySeconds + edgeOfDay(&r, noted%daySeconds)
	kind, reasons := "FTA", reasonsToFail
	if v.outcome == cancelled {
		kind, reasons = "UTA", reasonsToCancel
		if at < v.created || at > v.start {
			at = noted
		}
	} else if at <= v.start {
		at = noted
	}
	var reason Value
	if r.percent(86) {
		reason = integer(pick(&r, reasons))
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(appointment + 1))
	set(integer(patient + 1))
	set(integer(v.place.practitioner))
	set(integer(v.place.id))
	set(integer(v.place.book))
	set(date(v.day))
	set(dateTime(v.start))
	set(text(kind))
	set(reason)
	set(maybe(&r, 30, func() string { return note(&r) }))
	set(text(receptionist(&r, online && v.outcome == cancelled)))
	set(dateTime(at))
	set(flag(r.percent(38)))
	set(flag(r.below(1000) < 15))
	set(dateTime(at))
	set(dateTime(touched(&r, at, 30)))
}
