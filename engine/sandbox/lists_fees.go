package sandbox

// What things cost, and how they are paid.

func feeLevelTable() Table {
	names := [feeLevels]string{"Standard", "Concession", "Preferred provider", "DVA & government schemes"}
	return listed("fee_level", "fee_level_id fee_level_name is_default is_active is_deleted", feeLevels, func(i int64, set func(Value)) {
		set(text(names[i]))
		set(flag(i == 0))
		state(set, true, false)
	})
}

// feesForOnePlace are prices of one location that were withdrawn.
const feesForOnePlace = 24

func feeScheduleTable() Table {
	regular := int64(len(items) * feeLevels * len(feePeriods))
	return listed("fee_schedule", `fee_schedule_id fee_level_id item_code fee effective_from effective_to location_id
		is_deleted`, int(regular)+feesForOnePlace, func(i int64, set func(Value)) {
		var place Value
		if i >= regular {
			i = (i - regular) * 61 % regular
			place = integer(1 + i%locations)
		}
		it := &items[i/(feeLevels*int64(len(feePeriods)))]
		level := 1 + i/int64(len(feePeriods))%feeLevels
		period := int(i % int64(len(feePeriods)))
		amount := feeIn(it, level, period)
		if place.Kind != Null {
			amount += 5 * dollar
		}
		set(integer(level))
		set(text(it.code))
		set(amount.price())
		set(date(feePeriods[period].from))
		if period+1 < len(feePeriods) {
			set(date(feePeriods[period+1].from - 1))
		} else {
			set(Value{})
		}
		set(place)
		set(flag(place.Kind != Null))
	})
}

// paymentType is a way to pay.
type paymentType struct {
	name       string
	electronic bool
	active     bool
	deleted    bool
}

var paymentTypes = []paymentType{
	{"Cash", false, true, false},
	{"Cheque", false, true, false},
	{"EFTPOS", true, true, false},
	{"Visa", true, true, false},
	{"Mastercard", true, true, false},
	{"Direct Deposit", false, true, false},
	{"HICAPS", true, true, false},
	{"American Express", true, false, false},
	{"Pay later (\"zip\")", true, true, false},
	{"Bartercard", true, false, true},
}

var (
	payByCheque   = &paymentTypes[1]
	payByCard     = &paymentTypes[2]
	payByTransfer = &paymentTypes[5]
	payByFund     = &paymentTypes[6]
)

// usualPayments weigh the draw of a payment type.
var usualPayments = []*paymentType{
	payByCard, payByCard, payByCard, payByCard, payByCard, &paymentTypes[3], &paymentTypes[3], &paymentTypes[3], &paymentTypes[4],
	&paymentTypes[4], &paymentTypes[0], &paymentTypes[0], payByFund, payByFund, payByFund, payByFund, payByCheque, payByTransfer,
	&paymentTypes[8], &paymentTypes[7],
}

func (p *paymentType) id() int64 {
	for i := range paymentTypes {
		if p == &paymentTypes[i] {
			return int64(i + 1)
		}
	}
	return 0
}

func paymentTypeTable() Table {
	return listed("payment_type", "payment_type_id payment_type is_electronic is_active is_deleted", len(paymentTypes),
		func(i int64, set func(Value)) {
			p := paymentTypes[i]
			set(text(p.name))
			set(flag(p.electronic))
			state(set, p.active, p.deleted)
		})
}

// itemCategories are in the order of the constants.
var itemCategories = []struct {
	name   string
	parent int64
}{
	{"Diagnostic services", 0}, {"Examinations", diagnostic}, {"Radiology & imaging", diagnostic}, {"Preventive & prophylactic", 0},
	{"Periodontics", 0}, {"Oral surgery", 0}, {"Endodontics", 0}, {"Restorative", 0}, {"Crown & bridge", restorative},
	{"Prosthodontics", 0}, {"Orthodontics", 0}, {"General services", 0}, {"Goods and the practice's own", 0}, {"Unused", general},
}

func itemCategoryTable() Table {
	return listed("item_category", "item_category_id category_name parent_category_id is_active is_deleted", len(itemCategories),
		func(i int64, set func(Value)) {
			set(text(itemCategories[i].name))
			set(key(itemCategories[i].parent))
			state(set, i != orthodontics-1, int(i) == len(itemCategories)-1)
		})
}

func itemTable() Table {
	return listed("item", `item_id item_code ada_item description item_category_id default_fee non_treatment non_reporting
		gst_applies is_active is_deleted`, len(items), func(i int64, set func(Value)) {
		it := &items[i]
		set(text(it.code))
		set(choose(it.own(), Value{}, text(it.code)))
		set(text(it.description))
		set(key(it.category))
		set(choose(it.is(unpriced), Value{}, feeIn(it, 0, len(feePeriods)-1).price()))
		set(flag(it.is(goods)))
		set(flag(it.is(unlisted)))
		set(flag(it.is(taxed)))
		state(set, !it.is(retired), it.is(withdrawn))
	})
}

// expenseCategory is what money is spent on.
type expenseCategory struct {
	name       string
	gst        bool
	unknownGST bool  // the percentage was never filled in
	toProvider share // percent; 0 for none
	deleted    bool
}

// expenseCategories begin with those of invoices; the last one is deleted.
var expenseCategories = []expenseCategory{
	{name: "Laboratory", toProvider: 50},
	{name: "Materials", gst: true, toProvider: 40},
	{name: "Rent", gst: true},
	{name: "Wages & super"},
	{name: "Electricity, water, gas", gst: true},
	{name: "Telephone & internet", gst: true},
	{name: "Equipment", gst: true, toProvider: 20},
	{name: "Repairs", gst: true},
	{name: "Marketing", gst: true},
	{name: "Continuing education", gst: true, toProvider: 100},
	{name: "Bank fees", unknownGST: true},
	{name: "Office & kitchen", gst: true},
	{name: "Petty cash (old)", unknownGST: true, deleted: true},
}

var (
	laboratory = &expenseCategories[0]
	materials  = &expenseCategories[1]
)

func (c *expenseCategory) id() int64 {
	for i := range expenseCategories {
		if c == &expenseCategories[i] {
			return int64(i + 1)
		}
	}
	return 0
}

// tax is the GST in an amount spent.
func (c *expenseCategory) tax(amount money) money {
	if c.gst {
		return amount.gst()
	}
	return 0
}

func expenseCategoryTable() Table {
	return listed("expense_category", `expense_category_id name gst_percent cost_to_provider_percent is_default is_active
		is_deleted`, len(expenseCategories), func(i int64, set func(Value)) {
		c := &expenseCategories[i]
		set(text(c.name))
		set(choose(c.unknownGST, Value{}, choose(c.gst, 10*percentage, 0).value()))
		set(choose(c.toProvider == 0, Value{}, (c.toProvider * percentage).value()))
		set(flag(c == materials))
		state(set, i != 8, c.deleted)
	})
}
