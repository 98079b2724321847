package sandbox

// An account is an attended appointment's invoice and all that follows from it:
// its lines, instalments, discounts, receipts, allocations, deposits, expenses and
// reversal. Account n is the n-th attended appointment, counted from 0.
//
// What becomes of an account is laid down for 400 accounts in turn, so that the
// ledger's tables know the number of their rows, and the account behind each row,
// without counting: only dates, amounts and people are drawn.

// course is what becomes of an account.
type course uint8

const (
	paidNow            course = iota
	paidLater                 // within weeks
	paidTwice                 // at once, in two ways: a fund's claim and the gap, if there is a fund
	paidInParts               // a part at once, the rest within weeks
	byRates                   // by a payment plan
	bySponsor                 // by a third party, which pays several invoices with one receipt
	unpaid                    //
	partPaid                  //
	bounced                   // the cheque came back; still owing
	bouncedPaid               // the cheque came back, and was made good
	depositUsed               // a deposit, and the rest at the visit
	depositHeld               // a deposit that leaves a balance
	depositRefunded           // a deposit whose balance was paid back
	depositReversed           // a deposit that was taken back before the visit, which was then paid
	discountWithdrawn         // a discount that was taken back before the invoice was paid
	reversedUnpaid            // the invoice was wrong
	reversedDiscounted        // with its discount
	reversedPaid              // once its receipt was
	free                      // nothing to pay
)

// rates says how a payment plan goes: how many rates there are, and how many
// receipts came for them. atOnce is when the last receipt paid all that was left.
type rates struct {
	number, paid uint8
	atOnce       bool
}

// shape is an account without people, dates and amounts.
type shape struct {
	course    course
	lines     uint8 // treatments, the last one deleted if dropped
	dropped   bool
	shared    bool // a second practitioner did the second line
	discounts uint8
	rates     rates
	expenses  expenses
	// member counts the accounts before this one that the same sponsor pays with
	// the same receipt; members is how many there are.
	member, members uint8
}

// expenses are those tied to an invoice.
type expenses uint8

const (
	noExpense     expenses = iota
	oneLab                 // one of the laboratory
	twoLabs                // two
	labDropped             // two, one of them deleted
	materialsOnly          // one that is no laboratory's
)

// live is the number of treatments that were not deleted.
func (s *shape) live() int {
	if s.dropped {
		return int(s.lines) - 1
	}
	return int(s.lines)
}

func (s *shape) reversed() bool { return s.course >= reversedUnpaid && s.course <= reversedPaid }

// instalments is how many the invoice has.
func (s *shape) instalments() int64 { return max(1, int64(s.rates.number)) }

// rowsOf says how many rows an account of this shape has in a table.
func (s *shape) rowsOf(t part) int64 {
	invoices := int64(1)
	if s.reversed() {
		invoices = 2
	}
	switch t {
	case invoicePart:
		return invoices
	case sharePart:
		if s.shared {
			return 2 * invoices
		}
		return invoices
	case linePart:
		return int64(s.lines)
	case instalmentPart:
		return s.instalments()
	case agreementPart:
		return min(1, int64(s.rates.number))
	case discountPart:
		return int64(s.discounts)
	case expensePart:
		return [...]int64{noExpense: 0, oneLab: 1, twoLabs: 2, labDropped: 2, materialsOnly: 1}[s.expenses]
	}
	paid := payments[s.course]
	switch t {
	case receiptPart:
		if s.course == byRates {
			return int64(s.rates.paid)
		}
		if s.course == bySponsor && s.member > 0 {
			return 0
		}
		return paid.receipts
	case allocationPart:
		if s.course == byRates {
			return int64(s.rates.paid)
		}
		return paid.allocations
	}
	return paid.deposits
}

// payments are the rows of each course in receipt, payment_allocation and deposit;
// byRates has as many as its plan says, and bySponsor one receipt for all members.
var payments = [...]struct{ receipts, allocations, deposits int64 }{
	paidNow: {1, 1, 0}, paidLater: {1, 1, 0}, paidTwice: {2, 2, 0}, paidInParts: {2, 2, 0},
	byRates: {}, bySponsor: {1, 1, 0}, unpaid: {}, partPaid: {1, 1, 0}, bounced: {2, 2, 0}, bouncedPaid: {3, 3, 0},
	depositUsed: {2, 2, 1}, depositHeld: {1, 1, 1}, depositRefunded: {2, 1, 2}, depositReversed: {3, 1, 2},
	discountWithdrawn: {1, 1, 0}, reversedUnpaid: {}, reversedDiscounted: {}, reversedPaid: {2, 2, 0}, free: {},
}

// part is a table that accounts have rows in.
type part uint8

const (
	invoicePart part = iota
	sharePart
	linePart
	instalmentPart
	agreementPart
	receiptPart
	allocationPart
	depositPart
	discountPart
	expensePart
	parts
)

// shapesInTurn is the number of accounts after which shapes repeat.
const shapesInTurn = 400

var shapes = newShapes()

// partsOf numbers the rows of each table.
var partsOf = func() (tallies [parts]*tally) {
	for t := range parts {
		pattern := make([]int64, len(shapes))
		for i := range shapes {
			pattern[i] = shapes[i].rowsOf(t)
		}
		tallies[t] = newTally(pattern)
	}
	return tallies
}()

func newShapes() []shape {
	var groups [][]shape // what must stay together
	add := func(n int, s ...shape) {
		for range n {
			groups = append(groups, s)
		}
	}
	sponsored := func(members uint8) (all []shape) {
		for m := range members {
			all = append(all, shape{course: bySponsor, member: m, members: members})
		}
		return all
	}
	add(1, sponsored(6)...)
	add(1, sponsored(5)...)
	add(1, sponsored(3)...)
	add(1, sponsored(2)...)
	add(4, shape{course: byRates, rates: rates{number: 3, paid: 3}})
	add(2, shape{course: byRates, rates: rates{number: 4, paid: 4}})
	add(1, shape{course: byRates, rates: rates{number: 6, paid: 2}})
	add(2, shape{course: byRates, rates: rates{number: 12, paid: 3}})
	add(1, shape{course: byRates, rates: rates{number: 3, paid: 1}})
	add(2, shape{course: byRates, rates: rates{number: 5, paid: 3, atOnce: true}})
	add(8, shape{course: paidTwice})
	add(6, shape{course: paidInParts})
	add(21, shape{course: unpaid})
	add(10, shape{course: partPaid})
	add(1, shape{course: partPaid, discounts: 1})
	add(1, shape{course: bounced})
	add(1, shape{course: bouncedPaid})
	add(3, shape{course: depositUsed})
	add(1, shape{course: depositUsed, discounts: 1})
	add(2, shape{course: depositHeld})
	add(1, shape{course: depositRefunded})
	add(1, shape{course: depositReversed})
	add(1, shape{course: discountWithdrawn, discounts: 2})
	add(6, shape{course: reversedUnpaid})
	add(1, shape{course: reversedDiscounted, discounts: 2})
	add(1, shape{course: reversedPaid})
	add(4, shape{course: free})
	add(2, shape{course: paidLater, discounts: 2})
	add(8, shape{course: paidLater, discounts: 1})
	add(50, shape{course: paidLater})
	add(20, shape{course: paidNow, discounts: 1})
	add(9, shape{course: paidNow, expenses: oneLab})
	add(4, shape{course: paidLater, expenses: oneLab})
	add(2, shape{course: paidNow, expenses: twoLabs})
	add(1, shape{course: paidNow, expenses: labDropped})
	add(2, shape{course: paidNow, expenses: materialsOnly})
	n := 0
	for _, g := range groups {
		n += len(g)
	}
	add(shapesInTurn-n, shape{course: paidNow})

	r := random(2)
	for i := len(groups) - 1; i > 0; i-- {
		j := r.below(int64(i + 1))
		groups[i], groups[j] = groups[j], groups[i]
	}
	out := make([]shape, 0, shapesInTurn)
	for _, g := range groups {
		out = append(out, g...)
	}
	for i := range out {
		s := &out[i]
		s.lines = [...]uint8{1, 2, 2, 3, 1, 2, 3, 2, 4, 1}[i%10]
		switch {
		case s.course == free:
			s.lines = 1
		case i%10 == 3:
			s.lines, s.dropped = s.lines+1, true
		case i%10 == 5, i%20 == 8:
			s.shared = true
		}
	}
	return out
}
