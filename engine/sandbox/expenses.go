package sandbox

var expenseColumns = columnNames(`expense_id expense_date expense_category_id description amount gst_amount
	cost_to_provider_percent practitioner_id patient_id invoice_id location_id is_deleted ts_4_insert ts_4_update`)

// overheads are the appointments for each expense that is tied to no invoice.
const overheads = 15

// expenses gives the rows of the expense table: first those tied to invoices, then
// the others.
func (g *generator) expenses() func(row int64, out []Value) {
	tied, ofInvoice := partsOf[expensePart].total(g.kept.count()), g.ledger(expensePart, g.invoiceExpense)
	return func(row int64, out []Value) {
		if row < tied {
			ofInvoice(row, out)
		} else {
			g.overhead(row, out)
		}
	}
}

func (g *generator) invoiceExpense(a *account, _ *moves, row int64, which int, out []Value) {
	e := g.tiedExpense(a, which)
	r := sequence(g.seed, forExpense, row)
	day := min(a.visit.day+r.below(20), practiceToday)
	inserted := on(&r, day, 0)

	set := columns(out)
	set(integer(row + 1))
	set(date(day))
	set(integer(e.category.id()))
	set(maybe(&r, 90, func() string { return pick(&r, labWork) }))
	set(e.amount.ledger())
	set(e.category.tax(e.amount).ledger())
	set(e.percent.value())
	set(integer(a.visit.place.practitioner))
	set(integer(a.patient + 1))
	set(integer(a.key(invoicePart, 0)))
	set(integer(a.visit.place.id))
	set(flag(e.deleted))
	set(dateTime(inserted))
	set(dateTime(touched(&r, inserted, 20)))
}

func (g *generator) overhead(row int64, out []Value) {
	r := sequence(g.seed, forExpense, row)
	category := &expenseCategories[2+r.below(int64(len(expenseCategories)-3))] // neither an invoice's nor the deleted one
	day := within(&r, bookingFirst, practiceToday)
	inserted := on(&r, day, 0)
	amount := money(1_500+r.below(400_000)) * cent

	set := columns(out)
	set(integer(row + 1))
	set(date(day))
	set(integer(category.id()))
	set(maybe(&r, 80, func() string { return pick(&r, suppliers) }))
	set(amount.ledger())
	set(category.tax(amount).ledger())
	if category.toProvider > 0 && r.percent(80) {
		set((category.toProvider * percentage).value())
	} else {
		set(Value{})
	}
	set(Value{})
	set(Value{})
	set(Value{})
	set(integer(1 + r.below(locations)))
	set(flag(r.percent(3)))
	set(dateTime(inserted))
	set(dateTime(touched(&r, inserted, 25)))
}

// tiedExpense is an expense of an invoice.
type tiedExpense struct {
	category *expenseCategory
	amount   money
	percent  share // what of it the practitioners bear
	deleted  bool
}

func (g *generator) tiedExpense(a *account, which int) tiedExpense {
	r := sequence(g.seed, forExpense, ^(a.number<<1 | int64(which)))
	e := tiedExpense{category: laboratory, percent: pick(&r, labPercents) * percentage}
	if a.shape.expenses == materialsOnly {
		e.category = materials
	}
	e.amount = (share(8+r.below(15)) * percentage).cents(a.amount)
	e.deleted = a.shape.expenses == labDropped && which == 1
	return e
}

// labFees adds up what the laboratory charged for an account's invoice, and what of
// it the practitioners bear.
func (g *generator) labFees(a *account) (all, borne money) {
	for i := range int(a.rowsOf(expensePart)) {
		if e := g.tiedExpense(a, i); e.category == laboratory && !e.deleted {
			all += e.amount
			borne += e.percent.of(e.amount)
		}
	}
	return all, borne
}

var labPercents = []share{40, 50, 50, 100} // what practitioners bear

var labWork = []string{
	"Crown, porcelain", "Crown, zirconia, shade A2", "Denture repair", "Bridge, 3 units", "Night guard", "Study models",
	"Remake: \"too high\"", "Коронка", "義歯修理", "Express, 24 h ⏱",
}

var suppliers = []string{
	"Southern Dental Supplies", "Henry's Handpieces, Pty Ltd", "Energy Australia", "Rent, month", "Telstra", "O'Brien Cleaning",
	"Gloves & masks", "Autoclave service", "Software licence", "Landscaping\nand car park", "Café beans ☕", "Continuing education",
}
