package sandbox

var receiptColumns = columnNames(`receipt_id receipt_installment_id patient_id payment_type_id practitioner_id
	practitioner_location_id location_id health_fund_id date_effective date_processing amount deposit deposit_refund
	reversal reverses_receipt_id cheque_payer cheque_bank cheque_branch ts_4_insert ts_4_update`)

var allocationColumns = columnNames(`allocation_id receipt_id invoice_id patient_id invoice_location_id
	receipt_location_id date_effective date_processing amount reversal reverses_allocation_id ts_4_insert ts_4_update`)

var depositColumns = columnNames(`deposit_id receipt_id patient_id practitioner_id location_id date_effective
	date_processing amount balance deposit_refund refunds_deposit_id reversal reverses_deposit_id ts_4_insert ts_4_update`)

var discountColumns = columnNames(`discount_id invoice_id patient_id practitioner_id location_id date_effective
	date_processing amount gst_amount discount_reason reversal reverses_discount_id ts_4_insert ts_4_update`)

// reversedKey is the key of what a move takes back; NULL when it takes back nothing.
func (a *account) reversedKey(t part, m move) Value {
	if m.reverses < 0 {
		return Value{}
	}
	return integer(a.key(t, m.reverses))
}

// receipt fills one row of the receipt table.
func (g *generator) receipt(a *account, m *moves, row int64, which int, out []Value) {
	of := &m.receipts.items[which]
	// A reversal says what the receipt said.
	said := which
	if of.reverses >= 0 {
		said = of.reverses
	}
	r := sequence(g.seed, forReceipt, a.number<<3|int64(said))
	var payer, bank, branch Value
	if of.payment == payByCheque {
		payer = maybe(&r, 90, func() string { return pick(&r, femaleNames) + " " + pick(&r, surnames) })
		bank = maybe(&r, 95, func() string { return pick(&r, banks) })
		branch = maybe(&r, 70, func() string { return pick(&r, suburbs).name })
	}
	var fund, rate Value
	if of.payment == payByFund {
		fund = key(a.cover.fund)
	}
	if of.rate >= 0 {
		rate = integer(a.key(instalmentPart, of.rate))
	}
	changes := sequence(g.seed, forReceipt, ^row)

	set := columns(out)
	set(integer(row + 1))
	set(rate)
	set(integer(a.patient + 1))
	set(integer(of.payment.id()))
	set(integer(a.visit.place.practitioner))
	set(integer(a.visit.place.id)) // practitioners belong to one location
	set(integer(of.place))
	set(fund)
	set(date(of.day))
	set(dateTime(of.entered))
	set(of.amount.ledger())
	set(flag(of.deposit))
	set(flag(of.refund))
	set(flag(of.reverses >= 0))
	set(a.reversedKey(receiptPart, of.move))
	set(payer)
	set(bank)
	set(branch)
	set(dateTime(of.inserted))
	set(dateTime(touched(&changes, of.inserted, 5)))
}

// allocation fills one row of the payment_allocation table.
func (g *generator) allocation(a *account, m *moves, row int64, which int, out []Value) {
	of := &m.allocations.items[which]
	var receipt, place int64
	if a.course == bySponsor {
		first, _, _ := g.sponsorOf(a)
		receipt, place = partsOf[receiptPart].key(first, 0), g.sponsorPlace(first)
	} else {
		receipt, place = a.key(receiptPart, of.receipt), m.receipts.items[of.receipt].place
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(receipt))
	set(integer(a.key(invoicePart, 0)))
	set(integer(a.patient + 1))
	set(integer(a.visit.place.id))
	set(integer(place))
	set(date(of.day))
	set(dateTime(of.entered))
	set(of.amount.ledger())
	set(flag(of.reverses >= 0))
	set(a.reversedKey(allocationPart, of.move))
	set(dateTime(of.inserted))
	set(dateTime(of.inserted))
}

// deposit fills one row of the deposit table: the row of a deposit, and that of its
// refund or reversal. They are the account's first receipts, in the same order.
func (g *generator) deposit(a *account, m *moves, row int64, which int, out []Value) {
	of := &m.receipts.items[which]
	r := sequence(g.seed, forDeposit, a.number)
	balance, refunds, updated := money(0), Value{}, of.inserted
	if of.deposit && of.reverses < 0 {
		balance, updated = m.balance, max(of.inserted, m.last)
		for _, other := range m.receipts.all() {
			if other.refund {
				updated = max(updated, other.inserted)
			}
		}
	}
	if of.refund {
		refunds = integer(a.key(depositPart, 0))
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.key(receiptPart, which)))
	set(integer(a.patient + 1))
	set(maybeInteger(&r, 75, a.visit.place.practitioner))
	set(integer(of.place))
	set(date(of.day))
	set(dateTime(of.entered))
	set(of.amount.ledger())
	set(balance.ledger())
	set(flag(of.refund))
	set(refunds)
	set(flag(of.reverses >= 0))
	set(a.reversedKey(depositPart, of.move))
	set(dateTime(of.inserted))
	set(dateTime(updated))
}

// discount fills one row of the discount table.
func (g *generator) discount(a *account, m *moves, row int64, which int, out []Value) {
	of := &m.discounts.items[which]
	r := sequence(g.seed, forDiscount, a.number)
	gst := a.gstOff(max(of.amount, -of.amount))
	if of.amount < 0 {
		gst = -gst
	}

	set := columns(out)
	set(integer(row + 1))
	set(integer(a.key(invoicePart, 0)))
	set(integer(a.patient + 1))
	set(integer(a.visit.place.practitioner))
	set(integer(a.visit.place.id))
	set(date(of.day))
	set(dateTime(of.entered))
	set(of.amount.ledger())
	set(gst.ledgerUnless(a.gst == 0))
	set(maybe(&r, 85, func() string { return pick(&r, discountReasons) }))
	set(flag(of.reverses >= 0))
	set(a.reversedKey(discountPart, *of))
	set(dateTime(of.inserted))
	set(dateTime(of.inserted))
}

var discountReasons = []string{
	"Pensioner", "Family", "Staff & friends", "Prompt payment", "Goodwill: long wait", "Fund gap waived", "Senior's card",
	"10% off, first visit", "Remake, no charge", "Студенческая скидка", "家族割引",
}

var banks = []string{"Commonwealth Bank", "Westpac", "ANZ", "NAB", "Bendigo & Adelaide", "People's Choice", "Bank of Queensland"}
