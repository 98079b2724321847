//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"math/big"
	"slices"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestGeneratedPractice calls every procedure on generated data, on MariaDB and on
// the embedded server, which must answer the same, and adds up the money.
func TestGeneratedPractice(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	options := sandbox.Options{Seed: 11, Patients: 150, Appointments: 1_500}
	mariadb := dbtest.MariaDB(t)
	if _, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: mariadb.DSN(mariadb.Database()), SQL: practiceSQL, Options: options}); err != nil {
		t.Fatal(err)
	}
	embedded, real := open(t, startSandbox(t, options).DSN()), open(t, mariadb.DSN(mariadb.Database()))
	for _, procedure := range p.procedures {
		calls := []string{"()"}
		if datedProcedures[procedure] != nil {
			calls = []string{"(NULL, NULL, 'All')", "('2024-01-01', '2024-12-31', 'Created')", "('2023-06-30', NULL, 'Updated')"}
		} else if procedure == "debtors" || procedure == "debtors_detailed" {
			calls = []string{"('2024-06-30', '2024-07-31', '2024-08-31')", "('2023-12-31', '2024-12-31', '9999-12-31')"}
		}
		for _, arguments := range calls {
			call := "CALL " + procedure + arguments
			got, want := rowsOf(t, embedded, call), rowsOf(t, real, call)
			if len(want.rows) == 0 {
				t.Errorf("%s answers no rows", call)
			}
			if !got.equal(want) {
				t.Errorf("%s: %d rows, on MariaDB %d; %s", call, len(got.rows), len(want.rows), firstDifference(got, want))
			}
		}
	}
	t.Run("ledger", func(t *testing.T) { testLedger(t, real) })
}

func rowsOf(t testing.TB, db *sql.DB, call string) result {
	t.Helper()
	r, err := ask(t, db, call, true)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	return r
}

// testLedger holds what the money procedures say against each other.
func testLedger(t *testing.T, db *sql.DB) {
	equal := func(what string, got, want *big.Rat) {
		t.Helper()
		if got.Cmp(want) != 0 {
			t.Errorf("%s: %s is not %s", what, got.FloatString(8), want.FloatString(8))
		}
	}
	// day is quoted, or NULL for all days.
	owed := func(day string) *big.Rat {
		t.Helper()
		until := "(NULL, " + day + ", 'All')"
		invoices := total(t, rowsOf(t, db, "CALL financials_invoices"+until), "invoice_amount")
		discounts := total(t, rowsOf(t, db, "CALL financials_discounts"+until), "discount_amount")
		payments := total(t, rowsOf(t, db, "CALL financials_payment_allocations"+until), "allocated_amount")
		ledger := rowsOf(t, db, "CALL financials"+until)
		equal("invoices until "+day, total(t, ledger, "invoice_total", "invoice_involvement"), invoices)
		equal("discounts until "+day, total(t, ledger, "invoice_discount", "invoice_involvement"), discounts)
		equal("payments until "+day, total(t, ledger, "payment_total", "payment_involvement"), payments)
		return sub(invoices, discounts, payments)
	}
	for _, day := range []string{"'2023-03-31'", "'2024-02-29'", "'2024-12-31'"} {
		want := owed(day)
		if want.Sign() <= 0 {
			t.Errorf("nothing is owed on %s; choose another day", day)
		}
		as := "(" + day + ", " + day + ", '9999-12-31')"
		debtors, detailed := rowsOf(t, db, "CALL debtors"+as), rowsOf(t, db, "CALL debtors_detailed"+as)
		equal("debtors on "+day, total(t, debtors, "balance"), want)
		equal("debtors in detail on "+day, total(t, detailed, "balance"), want)
		for _, row := range debtors.choose(t, []string{"balance", "balance_current", "balance_30", "balance_60", "balance_90"}).rows {
			equal("bands on "+day, sub(rat(t, row[0]), rat(t, row[1]), rat(t, row[2]), rat(t, row[3])), rat(t, row[4]))
		}
		for _, row := range detailed.choose(t, []string{"instalment", "balance"}).rows {
			if b := rat(t, row[1]); b.Sign() <= 0 || b.Cmp(rat(t, row[0])) > 0 {
				t.Errorf("on %s %s is owed of an instalment of %s", day, row[1], row[0])
			}
		}
	}
	all := "(NULL, NULL, 'All')"
	value := rowsOf(t, db, "CALL patient_lifetime_value"+all)
	invoices := rowsOf(t, db, "CALL financials_invoices"+all)
	equal("what patients owe", total(t, value, "outstanding_balance"), owed("NULL"))
	equal("what patients were invoiced", total(t, value, "total_invoiced"), total(t, invoices, "invoice_amount"))
	receipts, deposits := rowsOf(t, db, "CALL financials_receipts"+all), rowsOf(t, db, "CALL financials_deposits"+all)
	equal("receipts", total(t, receipts, "receipt_amount"), new(big.Rat).Add(total(t, value, "total_paid"), total(t, deposits, "deposit_balance")))

	lines := map[string]*big.Rat{}
	for _, row := range rowsOf(t, db, "CALL treatment"+all).choose(t, []string{"invoice_id", "item_qty", "item_fee", "is_deleted"}).rows {
		if row[3] == "0" {
			line := new(big.Rat).Mul(rat(t, row[1]), rat(t, row[2]))
			if sum := lines[row[0]]; sum != nil {
				line.Add(line, sum)
			}
			lines[row[0]] = line
		}
	}
	for _, row := range invoices.choose(t, []string{"invoice_id", "invoice_amount", "reversal"}).rows {
		if row[2] == "0" {
			if lines[row[0]] == nil {
				t.Errorf("invoice %s has no treatment", row[0])
			} else {
				equal("treatments of invoice "+row[0], lines[row[0]], rat(t, row[1]))
			}
		}
	}
}

// total adds up a column, NULL being 0; of each row the percentage, when a second
// column has one.
func total(t testing.TB, r result, columns ...string) *big.Rat {
	t.Helper()
	sum := new(big.Rat)
	for _, row := range r.choose(t, columns).rows {
		if slices.Contains(row, null) {
			continue
		}
		part := rat(t, row[0])
		if len(row) == 2 {
			part.Mul(part, rat(t, row[1]))
			part.Quo(part, big.NewRat(100, 1))
		}
		sum.Add(sum, part)
	}
	return sum
}

func rat(t testing.TB, text string) *big.Rat {
	t.Helper()
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}

func sub(from *big.Rat, parts ...*big.Rat) *big.Rat {
	out := new(big.Rat).Set(from)
	for _, p := range parts {
		out.Sub(out, p)
	}
	return out
}
