package sandbox

import (
	"math"
	"testing"
)

// TestSharesOfTheLedger holds the numbers of rows, and what becomes of invoices,
// against what schema.sql says they are about.
func TestSharesOfTheLedger(t *testing.T) {
	t.Parallel()
	all := practice(t, Options{Seed: 51})
	invoices, open, third, plans, receipts, undone, deposits := 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
	for _, i := range all["invoice"] {
		if i["reversal"].N == 1 {
			continue
		}
		invoices++
		if i["date_settled"].Kind == Null {
			open++
		}
		if i["third_party_id"].Kind != Null {
			third++
		}
	}
	for _, r := range all["receipt"] {
		receipts++
		undone += float64(r["reversal"].N)
		deposits += float64(r["deposit"].N - r["deposit"].N*r["reversal"].N)
	}
	plans = float64(len(all["account_payment_plan"]))
	several := 0
	for _, allocated := range byParent(all["payment_allocation"], "receipt_id") {
		if len(allocated) > 1 {
			several++
		}
	}
	if several < 100 {
		t.Errorf("only %d receipts pay several invoices", several)
	}
	shared := float64(len(all["invoice_practitioner"])) - float64(len(all["invoice"]))
	rows := func(table string) float64 { return float64(len(all[table])) }
	for _, c := range []struct {
		what            string
		got, want, most float64 // most it may be off
	}{
		{"reversed invoices", rows("invoice")/invoices - 1, 0.02, 0.005},
		{"open invoices", open / invoices, 0.1, 0.02},
		{"invoices of third parties", third / invoices, 0.04, 0.005},
		{"payment plans", plans / invoices, 0.03, 0.005},
		{"treatments", rows("treatment") / invoices, 2.2, 0.1},
		{"invoices of two practitioners", shared / rows("invoice"), 0.15, 0.01},
		{"receipts", receipts / invoices, 0.95, 0.1},
		{"allocations", rows("payment_allocation") / invoices, 1.05, 0.05},
		{"reversals among receipts", undone / receipts, 0.01, 0.005},
		{"deposits among receipts", deposits / receipts, 0.02, 0.005},
		{"discounts", rows("discount") / invoices, 0.1, 0.02},
		{"expenses of an appointment", rows("expense") / rows("appointment"), 0.1, 0.02},
		{"reminders of an appointment", rows("appointment_reminder") / rows("appointment"), 1.2, 0.01},
		{"recalls of a patient", rows("recall") / rows("patient"), 1.5, 0.01},
		{"waiting patients", rows("waitlist") / rows("patient"), 0.1, 0.01},
		{"plans of a patient", rows("treatment_plan") / rows("patient"), 0.4, 0.01},
		{"lines of a plan", rows("treatment_plan_item") / rows("treatment_plan"), 4, 0.1},
	} {
		if math.Abs(c.got-c.want) > c.most {
			t.Errorf("%s: %.3f, want about %.3f", c.what, c.got, c.want)
		}
	}
	for table, want := range map[string]map[string][]string{
		"account_payment_plan": {"plan_status": {"Active", "Completed", "Cancelled", "Defaulted"}},
		"appointment_reminder": {
			"reminder_type": {"Confirmation", "Reminder", "Follow-up"}, "channel": {"SMS", "Email", "Letter"},
			"delivery_status": {"Pending", "Sent", "Delivered", "Failed"}, "reply_status": {"Confirmed", "Declined", "Other"},
		},
		"appointment_cancellation": {"cancellation_type": {"FTA", "UTA"}},
		"item":                     {"item_code": {"011", "012", "013", "022", "037", "111", "114", "121", "161", "311", "415", "521", "613"}},
		"payment_type":             {"payment_type": {"Cash", "Cheque", "EFTPOS", "Visa", "Mastercard", "Direct Deposit", "HICAPS"}},
	} {
		for column, values := range want {
			seen := map[string]bool{}
			for _, row := range all[table] {
				seen[row[column].S] = true
			}
			for _, v := range values {
				if !seen[v] {
					t.Errorf("no %s has %s %q", table, column, v)
				}
			}
		}
	}
}

func TestShapesCoverEveryCourse(t *testing.T) {
	if len(shapes) != shapesInTurn {
		t.Fatalf("%d shapes, want %d", len(shapes), shapesInTurn)
	}
	seen := map[course]int{}
	for i, s := range shapes {
		seen[s.course]++
		if s.lines < 1 || s.lines > maxLines || s.live() < 1 || s.shared && s.live() < 2 {
			t.Errorf("shape %d has %d lines, %d of them live: %+v", i, s.lines, s.live(), s)
		}
		if s.course == bySponsor && s.member > 0 && (shapes[i-1].course != bySponsor || shapes[i-1].member != s.member-1) {
			t.Errorf("shape %d does not follow the sponsor's one before: %+v", i, s)
		}
		if s.rowsOf(receiptPart) > int64(len(list[taking]{}.items)) {
			t.Errorf("shape %d has too many receipts: %+v", i, s)
		}
	}
	for c := paidNow; c <= free; c++ {
		if seen[c] == 0 {
			t.Errorf("no account takes course %d", c)
		}
	}
}
