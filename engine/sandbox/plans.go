package sandbox

var planColumns = columnNames(`plan_id patient_id plan_name plan_date practitioner_id location_id is_deleted
	ts_4_insert ts_4_update`)

var planItemColumns = columnNames(`plan_item_id plan_id item_code item_qty item_fee tooth_number visit_number accepted
	completed practitioner_id is_deleted ts_4_insert ts_4_update`)

var (
	// plansOf are the plans of each patient of five in turn, none with more than one.
	plansOf = newTally([]int64{0, 1, 0, 1, 0})
	// planItemsOf are the lines of every other plan.
	planItemsOf = newTally([]int64{3, 5})
)

// plan is a treatment plan.
type plan struct {
	key, patient       int64
	day                int64
	place              location
	deleted            bool
	inserted           int64
	acceptedTo, doneTo int64 // lines, from the first on
}

// planOf is the plan of a patient; false when there is none.
func (g *generator) planOf(patient int64) (plan, bool) {
	if plansOf.total(patient+1) == plansOf.total(patient) {
		return plan{}, false
	}
	return g.plan(plansOf.total(patient)), true
}

// plan computes a plan. It was proposed at the patient's first visit, or when the
// patient called first.
func (g *generator) plan(number int64) plan {
	patient, _ := plansOf.locate(number)
	r := sequence(g.seed, forPlan, number)
	p := plan{key: number + 1, patient: patient}
	if first, ok := g.book.first(patient); ok {
		v := g.visit(first, patient)
		p.day, p.place = v.created/daySeconds, v.place
		if v.outcome == attended {
			p.day = v.day
		}
	} else {
		p.day, p.place = within(&r, g.cover(patient).registered, practiceToday), g.home(patient)
	}
	p.inserted = on(&r, p.day, 0)
	p.deleted = r.percent(3)
	if r.percent(65) {
		p.acceptedTo = 1 + r.below(5)
		p.doneTo = r.below(p.acceptedTo + 1)
	}
	return p
}

// treatmentPlan fills one row of the treatment_plan table.
func (g *generator) treatmentPlan(row int64, out []Value) {
	p := g.plan(row)
	r := sequence(g.seed, forPlanItem, -1-row)
	set := columns(out)
	set(integer(p.key))
	set(integer(p.patient + 1))
	set(maybe(&r, 80, func() string { return pick(&r, planNames) }))
	set(date(p.day))
	set(integer(p.place.practitioner))
	set(integer(p.place.id))
	set(flag(p.deleted))
	set(dateTime(p.inserted))
	set(dateTime(touched(&r, p.inserted, 40)))
}

// planItem fills one row of the treatment_plan_item table.
func (g *generator) planItem(row int64, out []Value) {
	number, line := planItemsOf.locate(row)
	p := g.plan(number)
	r := sequence(g.seed, forPlanItem, row)
	it := pick(&r, plannedItems)
	inserted := min(p.inserted+line, practiceNow)
	updated := inserted
	accepted, done := line < p.acceptedTo, line < p.doneTo
	if accepted {
		updated = touched(&r, inserted, 90)
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(p.key))
	set(text(it.code))
	set(integer(it.quantity(&r)))
	set(fee(it, g.cover(p.patient).level, p.day).price())
	set(maybe(&r, choose[int64](it.site == noSite, 0, 92), func() string { return it.tooth(&r) }))
	set(maybeInteger(&r, 85, 1+line/2))
	set(flag(accepted))
	set(flag(done))
	set(integer(p.place.practitioner))
	set(flag(p.deleted || r.percent(3)))
	set(dateTime(inserted))
	set(dateTime(updated))
}

var planNames = []string{
	"Comprehensive", "Stage 1", "Stage 1", "Stage 2: crowns", "Option A (implant)", "Option B (bridge)", "Crown & root canal, 36",
	"Dr's recommendation", "\"Smile\" makeover", "План лечения", "治療計画", "Whitening ✨", "Hygiene programme, 12 months",
}
