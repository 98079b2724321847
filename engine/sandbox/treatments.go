package sandbox

var treatmentColumns = columnNames(`treatment_id patient_id treatment_date item_code ada_item item_qty item_fee
	fee_discount item_paid tooth_number invoice_id practitioner_id location_id plan_id non_treatment non_reporting
	health_fund_id is_deleted ts_4_insert ts_4_update`)

// treatment fills one row of the treatment table.
func (g *generator) treatment(a *account, m *moves, row int64, which int, out []Value) {
	l := &a.lines[which]
	r := sequence(g.seed, forTreatment, row)
	practitioner := a.visit.place.practitioner
	if l.second {
		practitioner = a.second
	}
	var planned int64
	if r.percent(60) {
		if p, ok := g.planOf(l.patient); ok && p.day <= a.visit.day {
			planned = p.key
		}
	}
	code := l.item.code
	if l.item.own() {
		code = ""
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(l.patient + 1))
	set(date(a.visit.day))
	set(text(l.item.code))
	set(text(code))
	set(integer(l.quantity))
	set(l.fee.price())
	set(l.discount.price())
	set(flag(m.settled > 0))
	set(text(l.item.tooth(&r)))
	set(integer(a.key(invoicePart, 0)))
	set(integer(practitioner))
	set(integer(a.visit.place.id))
	set(key(planned))
	set(flag(l.item.is(goods)))
	set(flag(l.item.is(unlisted)))
	set(key(a.cover.fund))
	set(flag(l.dropped))
	set(dateTime(m.invoice.inserted))
	set(dateTime(max(m.last, m.invoice.inserted)))
}
