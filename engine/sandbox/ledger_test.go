package sandbox

import (
	"fmt"
	"slices"
	"testing"
)

// records is a table by key.
type records map[int64]map[string]Value

func byKey(rows []map[string]Value, key string) records {
	out := records{}
	for _, row := range rows {
		out[row[key].N] = row
	}
	return out
}

// byParent groups rows by a column that names another row.
func byParent(rows []map[string]Value, column string) map[int64][]map[string]Value {
	out := map[int64][]map[string]Value{}
	for _, row := range rows {
		if v := row[column]; v.Kind != Null {
			out[v.N] = append(out[v.N], row)
		}
	}
	return out
}

// TestLedgerAddsUp holds what the head of schema.sql and the comments of the
// ledger's tables promise, on the last day of every movement and thereby on every
// day.
func TestLedgerAddsUp(t *testing.T) {
	for _, o := range []Options{
		{Seed: 21, Patients: 700, Appointments: 7_000}, {Seed: 22, Patients: 1, Appointments: 3}, {Seed: 23, Patients: 5, Appointments: 1_500},
		{Seed: 24, Patients: 2_000, Appointments: 483},
	} {
		t.Run(fmt.Sprintf("%d patients %d appointments", o.Patients, o.Appointments), func(t *testing.T) {
			t.Parallel()
			all := practice(t, o)
			l := ledger{
				T: t, patients: byKey(all["patient"], "patient_id"), items: byCode(all["item"], "item_code"),
				invoices: byKey(all["invoice"], "invoice_id"), receipts: byKey(all["receipt"], "receipt_id"),
				lines: byParent(all["treatment"], "invoice_id"), shares: byParent(all["invoice_practitioner"], "invoice_id"),
				instalments: byParent(all["invoice_instalment"], "invoice_id"), agreements: byParent(all["account_payment_plan"], "invoice_id"),
				paid: byParent(all["payment_allocation"], "invoice_id"), off: byParent(all["discount"], "invoice_id"),
				reversals: byParent(all["invoice"], "reverses_invoice_id"), expenses: byParent(all["expense"], "invoice_id"),
				allocated: byParent(all["payment_allocation"], "receipt_id"), deposits: byParent(all["deposit"], "receipt_id"),
				refunds: byParent(all["deposit"], "refunds_deposit_id"), plans: byKey(all["treatment_plan"], "plan_id"),
				categories: byKey(all["expense_category"], "expense_category_id"), fees: fees(all["fee_schedule"]),
				practitioners: byKey(all["practitioner"], "practitioner_id"), kinds: byKey(all["payment_type"], "payment_type_id"),
			}
			attended := 0
			for _, a := range all["appointment"] {
				attended += int(a["attended"].N)
			}
			if got := len(all["invoice"]) - len(l.reversals); got != attended {
				t.Errorf("%d invoices for %d attended appointments", got, attended)
			}
			for _, row := range all["invoice"] {
				l.invoice(row)
			}
			for _, row := range all["receipt"] {
				l.receipt(row)
			}
			for table, key := range map[string]string{"invoice": "invoice_id", "receipt": "receipt_id", "payment_allocation": "allocation_id", "deposit": "deposit_id", "discount": "discount_id"} {
				l.reversed(table, key, all[table])
			}
		})
	}
}

func byCode(rows []map[string]Value, column string) map[string]map[string]Value {
	out := map[string]map[string]Value{}
	for _, row := range rows {
		out[row[column].S] = row
	}
	return out
}

type feeKey struct {
	code  string
	level int64
}

// fees are the periods of each price, in order.
func fees(rows []map[string]Value) map[feeKey][]map[string]Value {
	out := map[feeKey][]map[string]Value{}
	for _, row := range rows {
		if row["is_deleted"].N == 0 {
			k := feeKey{row["item_code"].S, row["fee_level_id"].N}
			out[k] = append(out[k], row)
		}
	}
	return out
}

type ledger struct {
	*testing.T
	patients, invoices, receipts, plans, categories, practitioners, kinds                                records
	items                                                                                                map[string]map[string]Value
	fees                                                                                                 map[feeKey][]map[string]Value
	lines, shares, instalments, agreements, paid, off, reversals, expenses, allocated, deposits, refunds map[int64][]map[string]Value
}

func (l *ledger) check(ok bool, row map[string]Value, what string, args ...any) {
	l.Helper()
	if !ok {
		l.Fatalf("%s: %v", fmt.Sprintf(what, args...), row)
	}
}

// invoice checks an invoice and what belongs to it.
func (l *ledger) invoice(row map[string]Value) {
	id, amount, day := row["invoice_id"].N, row["amount"].N, row["date_effective"].N
	shares := int64(0)
	who := map[int64]bool{}
	for _, s := range l.shares[id] {
		shares += s["involvement"].N
		l.check(s["involvement"].N > 0 && !who[s["practitioner_id"].N], s, "no share, or one twice")
		who[s["practitioner_id"].N] = true
		l.check((s["commission_expenses"].Kind == Null) == (row["lab_fees"].Kind == Null), s, "commission expenses without lab fees")
	}
	l.check(shares == int64(whole) && who[row["practitioner_id"].N], row, "shares come to %d, or lack the leading practitioner", shares)
	l.check(row["date_processing"].N/daySeconds >= day && row["date_processing"].N <= row["ts_4_insert"].N, row, "entered before its day, or after it was inserted")
	patient := l.patients[row["patient_id"].N]
	l.check(row["patient_head_id"] == patient["family_head_id"], row, "the head is another one's")
	if row["reversal"].N == 1 {
		l.check(len(l.lines[id])+len(l.instalments[id])+len(l.paid[id])+len(l.off[id])+len(l.agreements[id])+len(l.expenses[id]) == 0, row, "a reversal with rows of its own")
		l.check(row["date_due"].Kind == Null && row["date_settled"].N == day, row, "a reversal that is due or not settled")
		return
	}

	var sum, gst, discounts, off, labs int64
	for _, x := range l.lines[id] {
		item := l.items[x["item_code"].S]
		total := x["item_qty"].N * x["item_fee"].N * int64(cent)
		if x["is_deleted"].N == 0 {
			sum += total
			if item["gst_applies"].N == 1 {
				gst += (total + 5) / 11
			}
		}
		discounts += x["fee_discount"].N * int64(cent)
		member := l.patients[x["patient_id"].N]
		l.check(member["family_head_id"] == patient["family_head_id"], x, "treated someone of another family")
		l.check(x["treatment_date"].N == day && x["location_id"] == row["location_id"] && x["health_fund_id"] == row["health_fund_id"], x, "differs from its invoice")
		l.check(who[x["practitioner_id"].N], x, "done by someone who has no share")
		l.check(x["item_paid"].N == 1 == (row["date_settled"].Kind != Null), x, "paid, or not, unlike its invoice")
		l.check(x["item_qty"].N >= 1 && x["fee_discount"].N >= 0 && x["fee_discount"].N*int64(cent) <= total, x, "quantity or discount out of range")
		l.check(x["ada_item"].S == item["ada_item"].S && x["non_treatment"] == item["non_treatment"] && x["non_reporting"] == item["non_reporting"], x, "differs from its item")
		level := patient["fee_level_id"].N
		l.check(x["item_fee"].N == l.feeOn(x["item_code"].S, max(level, 1), day), x, "is not the fee of the patient's level")
		if p := x["plan_id"]; p.Kind != Null {
			l.check(l.plans[p.N]["patient_id"] == x["patient_id"] && l.plans[p.N]["plan_date"].N <= day, x, "belongs to another's plan, or a later one")
		}
	}
	l.check(sum == amount, row, "lines come to %d", sum)
	l.check(gst == row["gst_amount"].N, row, "GST comes to %d", gst)

	var due int64
	number, before := int64(0), int64(0)
	for _, x := range l.instalments[id] {
		due += x["amount"].N
		number++
		l.check(x["instalment_number"].N == number && x["date_due"].N >= day && x["date_due"].N > before, x, "out of order")
		l.check(x["amount"].N > 0 || amount == 0, x, "nothing to pay")
		if number == 1 {
			l.check(x["date_due"] == row["date_due"], x, "the invoice is due on another day")
		}
		before = x["date_due"].N
		at := before
		for i, name := range []string{"rem_1", "rem_2", "rem_3", "rem_bad"} {
			if v := x[name]; v.Kind != Null {
				l.check(v.N > at && v.N <= practiceToday && (i == 0 || x["rem_1"].Kind != Null), x, "%s out of order", name)
				at = v.N
			} else {
				at = visitLast * 2 // none may follow
			}
		}
	}
	l.check(due == amount && number >= 1, row, "%d instalments come to %d", number, due)
	l.check(len(l.agreements[id]) <= 1 && (number > 1) == (len(l.agreements[id]) == 1), row, "rates without a plan, or a plan without rates")
	for _, x := range l.agreements[id] {
		l.check(x["instalments"].N == number && x["amount"].N == amount && x["date_start"].N == day && x["patient_head_id"] == row["patient_head_id"], x, "differs from its invoice")
		l.check((x["plan_status"].S == "Completed" || x["plan_status"].S == "Cancelled") == (row["date_settled"].Kind != Null), x, "status disagrees with the invoice")
	}

	// Every movement by day.
	type movement struct{ day, amount int64 }
	var moves []movement
	for _, x := range l.paid[id] {
		moves = append(moves, movement{x["date_effective"].N, x["amount"].N})
		r := l.receipts[x["receipt_id"].N]
		l.check(x["patient_id"] == row["patient_id"] && x["invoice_location_id"] == row["location_id"] && x["receipt_location_id"] == r["location_id"], x, "differs from its invoice or receipt")
		l.check(x["date_effective"].N >= day && x["date_effective"].N >= r["date_effective"].N, x, "before its invoice or receipt")
	}
	for _, x := range l.off[id] {
		moves = append(moves, movement{x["date_effective"].N, x["amount"].N})
		l.check(x["patient_id"] == row["patient_id"] && x["location_id"] == row["location_id"] && x["practitioner_id"] == row["practitioner_id"] && x["date_effective"].N >= day, x, "differs from its invoice, or before it")
		l.check((x["gst_amount"].Kind == Null) == (row["gst_amount"].N == 0), x, "GST disagrees with the invoice's")
		if x["reversal"].N == 0 {
			off += x["amount"].N
		}
	}
	l.check(off == discounts, row, "discounts come to %d, those of lines to %d", off, discounts)
	for _, x := range l.reversals[id] {
		moves = append(moves, movement{x["date_effective"].N, -x["amount"].N})
	}
	slices.SortFunc(moves, func(a, b movement) int { return int(a.day - b.day) })
	settled, last := int64(0), day
	for i, m := range moves {
		settled += m.amount
		last = m.day
		if i+1 == len(moves) || moves[i+1].day > m.day {
			l.check(settled >= 0 && settled <= amount, row, "%d settled on %d", settled, m.day)
		}
	}
	if settled == amount {
		l.check(row["date_settled"] == date(last), row, "settled on day %d", last)
	} else {
		l.check(row["date_settled"].Kind == Null, row, "owing, but settled")
	}

	for _, x := range l.expenses[id] {
		if x["is_deleted"].N == 0 && l.categories[x["expense_category_id"].N]["name"].S == "Laboratory" {
			labs += x["amount"].N
		}
		l.check(x["patient_id"] == row["patient_id"] && x["location_id"] == row["location_id"], x, "differs from its invoice")
	}
	l.check(labs == row["lab_fees"].N, row, "the laboratory's expenses come to %d", labs)
}

// feeOn is a price in cents by the schedule.
func (l *ledger) feeOn(code string, level, day int64) int64 {
	for _, f := range l.fees[feeKey{code, level}] {
		if f["effective_from"].N <= day && (f["effective_to"].Kind == Null || day <= f["effective_to"].N) {
			return f["fee"].N
		}
	}
	return -1
}

// receipt checks a receipt and what was made of it.
func (l *ledger) receipt(row map[string]Value) {
	id, amount := row["receipt_id"].N, row["amount"].N
	spent := int64(0)
	for _, x := range l.allocated[id] {
		spent += x["amount"].N
	}
	held := row["deposit"].N+row["deposit_refund"].N > 0
	l.check(held == (len(l.deposits[id]) == 1), row, "%d deposits", len(l.deposits[id]))
	l.check(held || spent == amount, row, "%d allocated", spent)
	for _, d := range l.deposits[id] {
		for _, name := range []string{"patient_id", "location_id", "date_effective", "date_processing", "amount", "reversal", "deposit_refund"} {
			l.check(d[name] == row[name], d, "%s differs from its receipt", name)
		}
		balance := amount - spent
		for _, r := range l.refunds[d["deposit_id"].N] {
			balance += r["amount"].N
			l.check(r["date_effective"].N >= d["date_effective"].N && r["amount"].N < 0, r, "refunded before it was taken")
		}
		if d["deposit_refund"].N == 1 || d["reversal"].N == 1 || l.takenBack(row) {
			balance = 0
		} else {
			l.check(spent <= amount, row, "%d allocated", spent)
		}
		l.check(d["balance"].N == balance && balance >= 0, d, "balance is %d", balance)
	}
	kind := l.kinds[row["payment_type_id"].N]["payment_type"].S
	l.check(kind == "Cheque" || row["cheque_payer"].Kind == Null && row["cheque_bank"].Kind == Null && row["cheque_branch"].Kind == Null, row, "a cheque's fields")
	l.check((kind == "HICAPS") == (row["health_fund_id"].Kind != Null), row, "a fund without a claim")
	l.check(row["practitioner_location_id"] == l.practitioners[row["practitioner_id"].N]["location_id"], row, "the practitioner works elsewhere")
}

// takenBack tells whether a receipt was reversed.
func (l *ledger) takenBack(row map[string]Value) bool {
	for _, other := range l.receipts {
		if v := other["reverses_receipt_id"]; v.Kind != Null && v.N == row["receipt_id"].N {
			return true
		}
	}
	return false
}

// reversed checks the reversals of a table.
func (l *ledger) reversed(table, key string, rows []map[string]Value) {
	all, seen := byKey(rows, key), map[int64]bool{}
	column := "reverses_" + key
	for _, row := range rows {
		of := row[column]
		l.check((row["reversal"].N == 1) == (of.Kind != Null), row, "a reversal of nothing")
		if of.Kind == Null {
			l.check(row["amount"].N > 0 || table == "invoice" && row["amount"].N == 0 || row["deposit_refund"].N == 1, row, "an amount out of range")
			continue
		}
		original := all[of.N]
		l.check(!seen[of.N] && original["reversal"].N == 0, row, "reversed twice, or a reversal reversed")
		seen[of.N] = true
		l.check(row["amount"].N == -original["amount"].N && row["gst_amount"].N == -original["gst_amount"].N, row, "amounts are not negated")
		l.check(row["date_effective"].N >= original["date_effective"].N && row["date_processing"].N >= original["date_processing"].N, row, "reversed before it was")
		for name, v := range row {
			switch name {
			case key, column, "reversal", "amount", "gst_amount", "balance", "date_effective", "date_processing", "date_due", "date_settled", "ts_4_insert", "ts_4_update",
				"receipt_id":
			default:
				l.check(v == original[name], row, "%s is not the original's", name)
			}
		}
	}
}
