package sandbox

// line is a treatment: one line of an invoice.
type line struct {
	item     *item
	quantity int64
	fee      money // for one
	discount money // of the line
	patient  int64
	second   bool // done by the account's second practitioner
	dropped  bool // deleted
}

// total is what the line adds to its invoice.
func (l *line) total() money {
	if l.dropped {
		return 0
	}
	return l.fee * money(l.quantity)
}

const maxLines = 4

// account is an account up to its lines. Its moves are computed apart.
type account struct {
	*shape
	number        int64
	appointment   int64
	patient, head int64
	cover         cover
	visit         visit
	second        int64 // the second practitioner; 0 for none
	lines         [maxLines]line
	amount, gst   money
	discounts     [2]money // what was taken off, in order
	terms         int64    // days until the first instalment is due
}

// key is the key of the account's row in a table.
func (a *account) key(t part, which int) int64 { return partsOf[t].key(a.number, int64(which)) }

// entry is an account with its moves, kept for the rows that come next.
type entry struct {
	account account
	moves   moves
}

// ledger makes the rows of a table that accounts have rows in. fill gets the account
// of a row, and which of its rows it is.
func (g *generator) ledger(t part,
	fill func(a *account, m *moves, row int64, which int, out []Value)) func(row int64, out []Value) {
	return func(row int64, out []Value) {
		number, which := partsOf[t].locate(row)
		e, _ := g.entries.Get().(*entry)
		if e == nil {
			e = new(entry)
		}
		// Rows mostly come in order, so that the last account is the next one too.
		if e.account.shape == nil || e.account.number != number {
			g.open(&e.account, number)
			g.move(&e.moves, &e.account)
		}
		fill(&e.account, &e.moves, row, int(which), out)
		g.entries.Put(e)
	}
}

// open computes an account up to its lines.
func (g *generator) open(a *account, number int64) {
	*a = account{shape: &shapes[number%shapesInTurn], number: number, appointment: g.kept.at(number)}
	a.patient, _ = g.book.patient(a.appointment)
	a.head = g.familyHead(a.patient)
	a.cover = g.cover(a.patient)
	a.visit = g.visit(a.appointment, a.patient)
	r := sequence(g.seed, forAccount, number)
	if a.shared {
		a.second = g.assistant(&r, a.visit.place.id)
	}
	menu := a.visit.kind.menu
	for i := range int(a.shape.lines) {
		l := &a.lines[i]
		l.item, l.patient = pick(&r, menu.more), a.patient
		switch {
		case a.course == free:
			l.item = freeItem
		case i == 0:
			l.item = pick(&r, menu.main)
		}
		l.second = a.shared && i == 1
		l.dropped = a.shape.dropped && i == int(a.shape.lines)-1
		if i > 0 && r.percent(12) {
			// Nobody is treated before their first visit, or after their latest.
			if p := g.relative(&r, a.head); p == a.patient || g.among(p, a.visit.day) {
				l.patient = p
			}
		}
		l.quantity = l.item.quantity(&r)
		l.fee = fee(l.item, a.cover.level, a.visit.day)
		a.amount += l.total()
		if l.item.is(taxed) {
			a.gst += l.total().gst()
		}
	}
	a.discount(&r)
	a.terms = pick(&r, paymentTerms)
}

// paymentTerms are the days until an invoice is due.
var paymentTerms = []int64{0, 0, 0, 7, 14, 30}

// discount draws what is taken off, and spreads it over the lines.
func (a *account) discount(r *random) {
	given := int(a.shape.discounts)
	switch a.course {
	case discountWithdrawn, reversedDiscounted:
		given = 1 // the other one is its reversal
	}
	for i := range given {
		a.discounts[i] = (pick(r, discountRates) * percentage).cents(a.amount)
	}
	all := a.discounts[0] + a.discounts[1]
	if all == 0 {
		return
	}
	rest := all
	for i := range a.lines[:a.shape.lines] {
		l := &a.lines[i]
		l.discount = l.total() * all / a.amount / cent * cent
		rest -= l.discount
	}
	a.lines[0].discount += rest // less than a cent for each line; the discount is far below the line
}

var discountRates = []share{5, 5, 10, 10, 15, 20} // percent

// off is all that was taken off, before reversals.
func (a *account) off() money { return a.discounts[0] + a.discounts[1] }

// gstOff is the tax in a discount.
func (a *account) gstOff(discount money) money {
	return money(divide(int64(a.gst)*int64(discount), int64(a.amount)))
}

// dueDay is when an instalment is due: a rate every 30 days.
func (a *account) dueDay(instalment int) int64 { return a.visit.day + a.terms + 30*int64(instalment) }

// instalment is the amount of an instalment; the first one takes what is left over.
func (a *account) instalment(which int) money {
	n := money(a.instalments())
	each := a.amount / n / cent * cent
	if which == 0 {
		return a.amount - each*(n-1)
	}
	return each
}

// involvement is the share of a practitioner of the account: the second one's
// lines, and what that leaves to the leading one.
func (a *account) involvement(second bool) share {
	if a.second == 0 {
		return whole
	}
	of := share(divide(int64(a.lines[1].total())*int64(whole), int64(a.amount)))
	if second {
		return of
	}
	return whole - of
}
