package sandbox

// appointment fills one row of the appointment table.
func (g *generator) appointment(row int64, out []Value) {
	patient, isNew := g.book.patient(row)
	v := g.visit(row, patient)
	r := sequence(g.seed, forAppointment, row)

	duration, online, confirmed := v.booking(&r)
	end := v.start + duration*minute

	var arrival, actualStart, actualEnd Value // NULL unless attended
	updated := v.created
	switch v.outcome {
	case attended:
		arrived := v.start - 20*minute + r.below(25*minute)
		began := max(arrived, v.start) + r.below(10*minute)
		ended := began + duration*minute*(80+r.below(41))/100
		if !r.percent(3) { // the desk forgets
			arrival = dateTime(arrived)
		}
		actualStart = dateTime(began)
		if !r.percent(4) {
			actualEnd = dateTime(ended)
		}
		updated = ended + r.below(hour)
	case failed, cancelled:
		updated = v.missed(&r, duration)
	case booked:
		if confirmed || r.percent(30) {
			updated = v.created + r.below(practiceNow-v.created+1)
		}
	}
	updated = max(v.created, updated-updated%daySeconds+edgeOfDay(&r, updated%daySeconds))

	by := receptionist(&r, online)
	changedBy := by
	if updated != v.created {
		changedBy = receptionist(&r, false)
	}
	var original Value
	if r.percent(12) { // rescheduled
		original = date(v.created/daySeconds - 1 - r.below(20))
	}

	set := columns(out)
	set(integer(row + 1))
	set(text(statusNames[v.outcome]))
	set(text(statusCodes[statusKey(isNew, confirmed, v.outcome)]))
	set(flag(v.outcome == cancelled))
	set(flag(v.outcome == failed))
	set(flag(v.outcome == attended))
	set(flag(online))
	set(text(v.kind.code))
	set(text(v.kind.name))
	set(date(v.day))
	set(dateTime(v.start))
	set(dateTime(end))
	set(arrival)
	set(actualStart)
	set(actualEnd)
	set(integer(duration))
	set(flag(g.recalled(row, patient, &v)))
	set(integer(patient + 1))
	set(integer(v.place.practitioner))
	set(integer(v.place.id))
	set(original)
	set(text(by))
	set(text(changedBy))
	set(flag(g.deleted(row, &v)))
	set(flag(confirmed))
	set(integer(v.place.book))
	set(dateTime(v.created))
	set(dateTime(updated))
}

// booking draws what was agreed about a visit. It takes the first draws of the
// appointment's sequence.
func (v *visit) booking(r *random) (duration int64, online, confirmed bool) {
	duration = pick(r, v.kind.minutes)
	online = r.percent(22)
	confirmed = v.outcome == attended && r.percent(85) || v.outcome != attended && r.percent(35)
	return duration, online, confirmed
}

// missed draws when the desk noted that a visit failed or was cancelled. It takes
// the draw after booking's.
func (v *visit) missed(r *random, duration int64) int64 {
	if v.outcome == failed {
		return v.start + duration*minute + r.below(2*hour)
	}
	return v.created + r.below(min(v.start, practiceNow)-v.created+1)
}

// columns returns a function that sets one column after another.
func columns(out []Value) func(Value) {
	i := 0
	return func(v Value) {
		out[i] = v
		i++
	}
}

func receptionist(r *random, online bool) string {
	if online {
		return "Online Booking"
	}
	return pick(r, receptionists)
}

// visitKind is an appointment type.
type visitKind struct {
	code, name string
	minutes    []int64
	menu       *menu
}

// Repeats weigh the draw.
var visitKinds = []visitKind{
	{"EX", "Examination & Clean", []int64{30, 45}, menus["EX"]},
	{"EX", "Examination & Clean", []int64{30, 45}, menus["EX"]},
	{"EX", "Examination & Clean", []int64{30, 45}, menus["EX"]},
	{"HY", "Hygiene", []int64{30, 45, 60}, menus["HY"]},
	{"HY", "Hygiene", []int64{30, 45, 60}, menus["HY"]},
	{"FI", "Filling", []int64{30, 45, 60}, menus["FI"]},
	{"FI", "Filling", []int64{30, 45, 60}, menus["FI"]},
	{"CO", "Consultation", []int64{15, 30}, menus["CO"]},
	{"EM", "Emergency, same day", []int64{15, 30}, menus["EM"]},
	{"CR", "Crown / Bridge", []int64{60, 90}, menus["CR"]},
	{"RC", "Root Canal Therapy", []int64{60, 90}, menus["RC"]},
	{"XT", "Extraction", []int64{30, 45}, menus["XT"]},
	{"WH", `Whitening ("at home" kit)`, []int64{30}, menus["WH"]},
	{"OR", "Orthodontic Review", []int64{15, 30}, menus["OR"]},
}

var statusNames = [...]string{booked: "Booked", cancelled: "Cancelled", failed: "Failed to Attend", attended: "Attended"}

// statusCodes are the letters of an appointment by statusKey: N new patient, C
// confirmed, then X cancelled, F failed to attend, A attended.
var statusCodes = func() (codes [16]string) {
	last := [...]string{booked: "", cancelled: "X", failed: "F", attended: "A"}
	for o := booked; o <= attended; o++ {
		for _, isNew := range []bool{false, true} {
			for _, confirmed := range []bool{false, true} {
				s := ""
				if isNew {
					s += "N"
				}
				if confirmed {
					s += "C"
				}
				codes[statusKey(isNew, confirmed, o)] = s + last[o]
			}
		}
	}
	return codes
}()

func statusKey(isNew, confirmed bool, o outcome) int {
	k := int(o) << 2
	if isNew {
		k |= 2
	}
	if confirmed {
		k |= 1
	}
	return k
}

var receptionists = []string{
	"Karen O'Brien", "Priya N.", "Reception, Front Desk", "Mei-Ling Zhou", "Tom \"TJ\" Jarvis",
	"Анна К.", "Jodie", "Practice Manager", "José Álvarez", "Hygiene Team",
}
