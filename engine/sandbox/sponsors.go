package sandbox

// A sponsor is a third party that pays the invoices of several patients: a scheme
// of the government, an insurer, an employer. It sends one sum for the accounts of
// a group, which follow each other.

// sponsorOf tells the first account of an account's group, how many there are, and
// the third party. The practice may end before a group does.
func (g *generator) sponsorOf(a *account) (first, members, thirdParty int64) {
	first = a.number - int64(a.member)
	members = min(int64(a.members), g.kept.count()-first)
	r := sequence(g.seed, forGroup, first)
	return first, members, 1 + r.below(int64(len(thirdParties)-1)) // the last one is deleted
}

// paySponsored adds the sponsor's receipt to the first account of a group, and to
// each the allocation.
func (g *generator) paySponsored(m *moves) {
	a := m.account
	first, members, _ := g.sponsorOf(a)
	var day int64
	for n := first; n < first+members; n++ {
		v, _ := g.slot(g.kept.at(n))
		day = max(day, v.day)
	}
	// The group's own draws, so that all members agree.
	group := sequence(g.seed, forGroup, -1-first)
	receipt := taking{payment: payByTransfer, place: 1 + group.below(locations), rate: -1}
	receipt.move = enter(&group, 0, later(&group, day, 30), 0)
	if a.member == 0 {
		for n := first; n < first+members; n++ {
			if n == a.number {
				receipt.amount += a.amount
				continue
			}
			var other account
			g.open(&other, n)
			receipt.amount += other.amount
		}
		m.receipts.add(receipt)
	}
	m.allocations.add(allocating{
		move: enter(&m.random, a.amount, receipt.day, max(receipt.entered, m.invoice.entered)), receipt: 0,
	})
}

// sponsorPlace is where the sponsor's receipt was taken.
func (g *generator) sponsorPlace(first int64) int64 {
	group := sequence(g.seed, forGroup, -1-first)
	return 1 + group.below(locations)
}
