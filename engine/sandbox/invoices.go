package sandbox

var invoiceColumns = columnNames(`invoice_id patient_id patient_head_id send_acc_to_pat_id third_party_id
	practitioner_id location_id health_fund_id date_effective date_processing date_due date_settled amount gst_amount
	lab_fees reversal reverses_invoice_id ts_4_insert ts_4_update`)

var invoicePractitionerColumns = columnNames(`invoice_practitioner_id invoice_id practitioner_id involvement
	commission_percent commission_expenses ts_4_insert ts_4_update`)

var instalmentColumns = columnNames(`instalment_id invoice_id instalment_number account_payment_plan_id date_due amount
	rem_1 rem_2 rem_3 rem_bad printed reminder_printed notes ts_4_insert ts_4_update`)

var agreementColumns = columnNames(`account_payment_plan_id invoice_id patient_head_id plan_status date_start
	instalments amount ts_4_insert ts_4_update`)

// key is an integer that is NULL when it is 0, which no key is.
func key(n int64) Value {
	if n == 0 {
		return Value{}
	}
	return integer(n)
}

// dayUnless0 is a date that is NULL when it is 0.
func dayUnless0(days int64) Value {
	if days == 0 {
		return Value{}
	}
	return date(days)
}

// invoice fills one row of the invoice table: an account's invoice, or its reversal.
func (g *generator) invoice(a *account, m *moves, row int64, which int, out []Value) {
	r := sequence(g.seed, forInvoice, a.number)
	of, due, settled, gst, updated, reverses := m.invoice, dayUnless0(a.dueDay(0)), m.settled, a.gst, m.last, int64(0)
	if which > 0 {
		of, due, settled, gst, updated = m.reversal, Value{}, m.reversal.day, -a.gst, m.reversal.inserted
		reverses = a.key(invoicePart, 0)
	}
	var third int64
	if a.course == bySponsor {
		_, _, third = g.sponsorOf(a)
	}
	labs, _ := g.labFees(a)

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.patient + 1))
	set(integer(a.head + 1))
	set(integer(choose(r.percent(92), a.head, a.patient) + 1))
	set(key(third))
	set(integer(a.visit.place.practitioner))
	set(integer(a.visit.place.id))
	set(key(a.cover.fund))
	set(date(of.day))
	set(dateTime(of.entered))
	set(due)
	set(dayUnless0(settled))
	set(of.amount.ledger())
	set(gst.ledger())
	set(labs.ledgerUnless(labs == 0))
	set(flag(which > 0))
	set(key(reverses))
	set(dateTime(of.inserted))
	set(dateTime(updated))
}

// invoicePractitioner fills one row of the invoice_practitioner table: the leading
// one of the invoice, the second one, and the same for its reversal.
func (g *generator) invoicePractitioner(a *account, m *moves, row int64, which int, out []Value) {
	each := 1
	if a.second > 0 {
		each = 2
	}
	invoice, second := which/each, which%each > 0
	of, practitioner := m.invoice, a.visit.place.practitioner
	if invoice > 0 {
		of = m.reversal
	}
	if second {
		practitioner = a.second
	}
	involvement := a.involvement(second)
	labs, borne := g.labFees(a)

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.key(invoicePart, invoice)))
	set(integer(practitioner))
	set(involvement.value())
	set(g.commissionOn(practitioner, a.visit.day).value())
	set(involvement.of(borne).ledgerUnless(labs == 0))
	set(dateTime(of.inserted))
	set(dateTime(of.inserted))
}

// instalment fills one row of the invoice_instalment table.
func (g *generator) instalment(a *account, m *moves, row int64, which int, out []Value) {
	r := sequence(g.seed, forInstalment, row)
	due := a.dueDay(which)
	var agreement int64
	if a.rates.number > 0 {
		agreement = a.key(agreementPart, 0)
	}

	// Reminders go out every two weeks until it is paid, and then it is a bad debt.
	paid := m.paidOn(which)
	var reminded [4]int64
	updated := m.invoice.inserted
	for i, day := 0, due; i < len(reminded); i++ {
		day += 14 + r.below(5)
		if i == 3 {
			day += 60
		}
		if day > practiceToday || paid != 0 && day >= paid || !r.percent(85) {
			break
		}
		reminded[i] = day
		updated = max(updated, on(&r, day, 0))
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.key(invoicePart, 0)))
	set(integer(int64(which) + 1))
	set(key(agreement))
	set(date(due))
	set(a.instalment(which).ledger())
	for _, day := range reminded {
		set(dayUnless0(day))
	}
	set(flag(r.percent(80)))
	set(flag(reminded[0] > 0 && r.percent(80)))
	set(maybe(&r, 10, func() string { return note(&r) }))
	set(dateTime(m.invoice.inserted))
	set(dateTime(updated))
}

// paidOn is the day on which an instalment was settled; 0 when it was not.
func (m *moves) paidOn(instalment int) int64 {
	a := m.account
	if a.course != byRates || a.rates.atOnce && instalment >= int(a.rates.paid) {
		return m.settled
	}
	if instalment < int(a.rates.paid) {
		return m.receipts.items[instalment].day
	}
	return 0
}

// agreement fills one row of the account_payment_plan table.
func (g *generator) agreement(a *account, m *moves, row int64, _ int, out []Value) {
	next := int(a.rates.paid)
	status := "Active"
	switch {
	case a.rates.atOnce:
		status = "Cancelled" // all that was left came at once
	case m.settled > 0:
		status = "Completed"
	case a.dueDay(next)+90 < practiceToday:
		status = "Defaulted"
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.key(invoicePart, 0)))
	set(integer(a.head + 1))
	set(text(status))
	set(date(a.visit.day))
	set(integer(a.instalments()))
	set(a.amount.ledger())
	set(dateTime(m.invoice.inserted))
	set(dateTime(m.last))
}
