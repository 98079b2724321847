package sandbox

// move is an entry of the ledger that changes what is owed or held.
type move struct {
	amount   money
	day      int64 // effective
	entered  int64 // seconds
	inserted int64 // seconds
	reverses int   // the move of the same list that it takes back; -1 for none
}

// taking is a receipt.
type taking struct {
	move
	payment *paymentType
	place   int64 // the location where it was taken
	rate    int   // the instalment it was taken for; -1 for none
	deposit bool
	refund  bool
}

// allocating is a part of a receipt that pays the account's invoice.
type allocating struct {
	move
	receipt int // of the account; of the sponsor's first account for bySponsor
}

// list is a short list that needs no memory of its own.
type list[T any] struct {
	n     int
	items [6]T
}

func (l *list[T]) add(v T) int {
	l.items[l.n] = v
	l.n++
	return l.n - 1
}

func (l *list[T]) all() []T { return l.items[:l.n] }

// moves are what happened to an account, each list in the order of its keys.
type moves struct {
	invoice     move
	reversal    move // of the invoice, when the account is reversed
	receipts    list[taking]
	allocations list[allocating]
	discounts   list[move]
	balance     money // of the deposit
	settled     int64 // day of the last move, when nothing is owed after it; 0 otherwise
	last        int64 // seconds: when the last of them was inserted

	account *account
	random  random
}

// enter dates a move: effective on a day, entered then or up to three days later,
// but not before another moment.
func enter(r *random, amount money, day, notBefore int64) move {
	at := day
	if r.percent(3) {
		at = later(r, day, 3)
	}
	m := move{amount: amount, day: day, entered: on(r, at, notBefore), reverses: -1}
	m.inserted = m.entered
	if r.percent(30) {
		m.inserted = min(m.entered+r.below(2*minute), practiceNow)
	}
	return m
}

// move computes what happened to an account.
func (g *generator) move(m *moves, a *account) {
	m.account, m.random = a, sequence(g.seed, forMoves, a.number)
	m.receipts.n, m.allocations.n, m.discounts.n, m.balance = 0, 0, 0, 0
	r := &m.random
	day := a.visit.day
	m.invoice = enter(r, a.amount, day, 0)
	start := m.invoice.entered
	if a.discounts[0] > 0 {
		m.discounts.add(enter(r, a.discounts[0], day, start))
	}
	due := a.amount - a.off()

	switch a.course {
	case paidNow:
		m.pay(due, day, start)
	case paidLater:
		on := later(r, day, 45)
		if a.discounts[1] > 0 {
			m.discounts.add(enter(r, a.discounts[1], on, start))
		}
		m.pay(due, on, start)
	case paidTwice:
		claim := (share(40+r.below(40)) * percentage).cents(due)
		first := m.pay(claim, day, start)
		if a.cover.fund > 0 {
			m.receipts.items[first].payment = payByFund
		}
		m.pay(due-claim, day, start)
	case paidInParts:
		part := (share(20+r.below(60)) * percentage).cents(due)
		m.pay(part, day, start)
		m.pay(due-part, later(r, day, 60), start)
	case partPaid:
		m.pay((share(20+r.below(60)) * percentage).cents(due), day, start)
	case byRates:
		m.payRates()
	case bySponsor:
		g.paySponsored(m)
	case bounced, bouncedPaid:
		paid := m.pay(due, day, start)
		m.receipts.items[paid].payment = payByCheque
		back := m.unpay(paid, later(r, day, 10))
		if a.course == bouncedPaid {
			m.pay(due, later(r, back.day, 20), back.entered)
		}
	case depositUsed:
		part := (share(20+r.below(50)) * percentage).cents(due)
		m.allocate(m.takeDeposit(part), part, day)
		m.pay(due-part, day, start)
	case depositHeld, depositRefunded:
		const step = 50 * dollar
		held := (due+step-1)/step*step + step*money(1+r.below(3))
		d := m.takeDeposit(held)
		m.allocate(d, due, day)
		m.balance = held - due
		if a.course == depositRefunded {
			m.balance = 0
			refund := m.receipts.items[d]
			refund.move = enter(r, due-held, later(r, day, 30), max(start, refund.entered))
			refund.deposit, refund.refund = false, true
			m.receipts.add(refund)
		}
	case depositReversed:
		part := (share(20+r.below(50)) * percentage).cents(due)
		d := m.takeDeposit(part)
		m.undo(d, within(r, m.receipts.items[d].day, day))
		m.pay(due, day, start)
	case discountWithdrawn:
		m.withdrawDiscount(later(r, day, 10))
		back := m.discounts.items[1]
		m.pay(a.amount, later(r, back.day, 20), back.entered)
	case reversedPaid:
		back := m.unpay(m.pay(due, day, start), later(r, day, 20))
		m.reversal = enter(r, -a.amount, back.day, back.entered)
	case reversedUnpaid, reversedDiscounted:
		on := day
		if !r.percent(30) {
			on = later(r, day, 20)
		}
		if m.discounts.n > 0 {
			m.withdrawDiscount(on)
			start = m.discounts.items[1].entered
		}
		m.reversal = enter(r, -a.amount, on, start)
	}
	m.close()
}

// take adds a receipt.
func (m *moves) take(amount money, day, notBefore int64) int {
	t := taking{payment: pick(&m.random, usualPayments), place: m.account.visit.place.id, rate: -1}
	if t.payment == payByFund && m.account.cover.fund == 0 {
		t.payment = payByCard
	}
	if m.random.percent(6) {
		t.place = 1 + m.random.below(locations)
	}
	t.move = enter(&m.random, amount, day, notBefore)
	return m.receipts.add(t)
}

// pay adds a receipt that pays the invoice with all of its amount.
func (m *moves) pay(amount money, day, notBefore int64) int {
	receipt := m.take(amount, day, notBefore)
	m.allocate(receipt, amount, day)
	return receipt
}

func (m *moves) allocate(receipt int, amount money, day int64) {
	from := &m.receipts.items[receipt]
	m.allocations.add(allocating{move: enter(&m.random, amount, day, max(from.entered, m.invoice.entered)), receipt: receipt})
}

// takeDeposit adds a receipt taken on the day of the booking or after, before the
// visit.
func (m *moves) takeDeposit(amount money) int {
	v := &m.account.visit
	day := within(&m.random, v.created/daySeconds, v.day)
	receipt := m.take(amount, day, v.created)
	t := &m.receipts.items[receipt]
	t.deposit = true
	if t.payment == payByFund {
		t.payment = payByCard
	}
	return receipt
}

// undo reverses a receipt.
func (m *moves) undo(receipt int, day int64) int {
	t := m.receipts.items[receipt]
	t.move = enter(&m.random, -t.amount, day, t.entered)
	t.reverses = receipt
	return m.receipts.add(t)
}

// unpay reverses a receipt and its only allocation, and tells the latter's reversal.
func (m *moves) unpay(receipt int, day int64) move {
	back := m.undo(receipt, day)
	for i, paid := range m.allocations.all() {
		if paid.receipt == receipt {
			m.allocate(back, -paid.amount, day)
			reversal := &m.allocations.items[m.allocations.n-1]
			reversal.entered = max(reversal.entered, paid.entered)
			reversal.inserted = max(reversal.inserted, reversal.entered)
			reversal.reverses = i
		}
	}
	return m.allocations.items[m.allocations.n-1].move
}

// withdrawDiscount reverses the only discount.
func (m *moves) withdrawDiscount(day int64) {
	given := m.discounts.items[0]
	back := enter(&m.random, -given.amount, day, given.entered)
	back.reverses = 0
	m.discounts.add(back)
}

// payRates pays the rates of a payment plan about when they are due.
func (m *moves) payRates() {
	a := m.account
	day, left := a.visit.day, a.amount
	after := m.invoice.entered
	for i := range int(a.rates.paid) {
		amount := a.instalment(i)
		if a.rates.atOnce && i == int(a.rates.paid)-1 {
			amount = left
		}
		left -= amount
		day = min(max(day, a.dueDay(i)+m.random.below(6)), practiceToday)
		receipt := m.pay(amount, day, after)
		m.receipts.items[receipt].rate = i
		after = m.receipts.items[receipt].entered
	}
}

// close computes what the moves come to.
func (m *moves) close() {
	owed, day := m.account.amount, m.invoice.day
	m.last, m.settled = m.invoice.inserted, 0
	count := func(of move) {
		owed -= of.amount
		day, m.last = max(day, of.day), max(m.last, of.inserted)
	}
	for _, x := range m.discounts.all() {
		count(x)
	}
	for _, x := range m.allocations.all() {
		count(x.move)
	}
	if m.account.reversed() {
		of := m.reversal
		of.amount = -of.amount
		count(of)
	}
	if owed == 0 {
		m.settled = day
	}
}
