//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestMoneyOfHostileRows computes the four money procedures again, from the base
// tables and in Go, on ledgers that break every rule that the database does not
// enforce: several payment plans and shares, none, instalments that do not come to
// the invoice, movements of invoices that are gone, too much paid, date_settled set
// at random.
func TestMoneyOfHostileRows(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	dbs := map[string]*sql.DB{"sandbox": p.inSandbox(t), "mariadb": p.in(t, dbtest.MariaDB(t), "DEFAULT")}
	testHostileRows(t, p, dbs)
}

func TestMoneyOfHostileRowsOnMySQL(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	testHostileRows(t, p, map[string]*sql.DB{"mysql": p.in(t, servers.MySQL(t), "DEFAULT")})
}

func testHostileRows(t *testing.T, p practice, dbs map[string]*sql.DB) {
	for seed := range uint64(6) {
		h := newHostile(seed)
		for name, db := range dbs {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				p.empty(t, db)
				for _, table := range slices.Sorted(keysOf(h.rows)) {
					for _, row := range h.rows[table] {
						exec(t, db, p.insert(t, table, row))
					}
				}
				h.check(t, db)
			})
		}
	}
}

func keysOf(m map[string][]map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// hostile is a ledger of the year 2024 made at random.
type hostile struct {
	rows map[string][]map[string]string
}

func newHostile(seed uint64) *hostile {
	r := rand.New(rand.NewPCG(seed, 7))
	h := &hostile{rows: map[string][]map[string]string{}}
	n := 0
	add := func(table, key string, row map[string]string) {
		n++
		if key != "" {
			row[key] = strconv.Itoa(n)
		}
		row["ts_4_insert"], row["ts_4_update"] = h.moment(r), h.moment(r)
		if row["ts_4_update"] < row["ts_4_insert"] {
			row["ts_4_insert"], row["ts_4_update"] = row["ts_4_update"], row["ts_4_insert"]
		}
		h.rows[table] = append(h.rows[table], row)
	}
	money := func() string { return fmt.Sprintf("%d.%04d", r.IntN(400), r.IntN(3)*2500) }
	day := func() string { return h.moment(r)[:10] }
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for id := range 5 { // patient 6 and practitioner 9 are gone
		add("patient", "", map[string]string{"patient_id": strconv.Itoa(id + 1), "surname": "S" + strconv.Itoa(id), "new_patient_date": day()})
	}
	for _, id := range []string{"7", "8"} {
		add("practitioner", "", map[string]string{"practitioner_id": id, "practitioner_code": "C" + id})
	}
	for id := 1; id <= 30; id++ {
		invoice := strconv.Itoa(id)
		if id%10 != 0 { // every tenth is gone
			row := map[string]string{"invoice_id": invoice, "patient_id": pick("1", "2", "3", "6"), "patient_head_id": pick("1", "6"), "practitioner_id": pick("7", "8", "9"),
				"location_id": pick("1", "2"), "third_party_id": pick(null, null, "4"), "date_effective": day(), "amount": money(), "health_fund_id": pick(null, "5"),
				"date_due": pick(null, day()), "date_settled": pick(null, day()), "reversal": "0"}
			if r.IntN(6) == 0 {
				row["reversal"], row["amount"] = "1", "-"+row["amount"]
				row["reverses_invoice_id"] = pick(null, strconv.Itoa(1+r.IntN(30)))
			}
			add("invoice", "", row)
		}
		for range r.IntN(4) {
			add("invoice_practitioner", "invoice_practitioner_id", map[string]string{"invoice_id": invoice, "practitioner_id": pick("7", "8", "9"), "involvement": pick("50.0000", "33.3333"), "commission_percent": pick("40.0000", "35.0000")})
		}
		for range r.IntN(3) {
			add("account_payment_plan", "account_payment_plan_id", map[string]string{"invoice_id": invoice, "plan_status": pick("Cancelled", "Active", "Completed")})
		}
		for range r.IntN(4) {
			add("invoice_instalment", "instalment_id", map[string]string{"invoice_id": invoice, "instalment_number": pick("1", "2", "3"), "date_due": day(), "amount": money(), "rem_bad": pick(null, day())})
		}
		for range r.IntN(4) {
			add("payment_allocation", "allocation_id", map[string]string{"invoice_id": invoice, "receipt_id": strconv.Itoa(r.IntN(9)), "patient_id": pick("1", "2", "3", "6"), "date_effective": day(), "amount": pick("", "-") + money()})
		}
		for range r.IntN(2) {
			add("discount", "discount_id", map[string]string{"invoice_id": invoice, "patient_id": pick("1", "2", "3", "6"), "practitioner_id": "7", "date_effective": day(), "amount": money()})
		}
	}
	for id := range 6 {
		add("receipt", "", map[string]string{"receipt_id": strconv.Itoa(id), "payment_type_id": pick("1", "2"), "deposit": pick("0", "1"), "amount": money()})
	}
	add("payment_type", "", map[string]string{"payment_type_id": "1", "payment_type": "Cash"})
	for range 20 {
		add("appointment", "appointment_id", map[string]string{"patient_id": pick("1", "2", "3", "6"), "attended": pick("0", "1"), "is_deleted": pick("0", "0", "1")})
	}
	return h
}

func (*hostile) moment(r *rand.Rand) string {
	return fmt.Sprintf("2024-%02d-%02d %02d:00:00", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24))
}

// TestListsAndSumsAreWhole: neither the server's limit of lists nor a column's number
// of digits cuts what the procedures say.
func TestListsAndSumsAreWhole(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	testWhole(t, p, map[string]*sql.DB{"sandbox": p.inSandbox(t), "mariadb": p.in(t, dbtest.MariaDB(t), "DEFAULT")})
}

func TestListsAndSumsAreWholeOnMySQL(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	testWhole(t, p, map[string]*sql.DB{"mysql": p.in(t, servers.MySQL(t), "DEFAULT")})
}

func testWhole(t *testing.T, p practice, dbs map[string]*sql.DB) {
	const most, invoices, patients = "99999999.9999", 120, 400
	for name, db := range dbs {
		t.Run(name, func(t *testing.T) {
			if name == "mariadb" { // its default is larger, and can be made smaller
				exec(t, db, "SET SESSION group_concat_max_len = 1024")
			}
			exec(t, db, p.insert(t, "patient", map[string]string{"patient_id": "1", "surname": "Rich"}))
			for i := range invoices {
				exec(t, db, p.insert(t, "invoice", map[string]string{"invoice_id": strconv.Itoa(i + 1), "patient_id": "1", "patient_head_id": "1", "amount": most}))
			}
			ids := []string{"1"}
			for i := range patients {
				id := strconv.Itoa(1_000_000 + i)
				exec(t, db, p.insert(t, "treatment", map[string]string{"treatment_id": id, "invoice_id": "7", "patient_id": id}))
				ids = append(ids, id)
			}
			want := new(big.Rat).Mul(number(most), big.NewRat(invoices, 1)).FloatString(4) // 11,999,999,999.9880
			for call, column := range map[string]string{
				"patient_lifetime_value(NULL, NULL, 'All')": "total_invoiced", "debtors('2024-01-01', '2024-01-01', '2024-01-01')": "balance",
			} {
				if got := rowsOf(t, db, "CALL "+call).choose(t, []string{column}).rows; len(got) != 1 || got[0][0] != want {
					t.Errorf("%s: %s is %v, want %s", call, column, got, want)
				}
			}
			for range 2 { // a second call finds the session as the first one did
				rows := rowsOf(t, db, "CALL debtors_detailed('2024-01-01', '2024-01-01', '2024-01-01')").choose(t, []string{"patient_id_list"}).rows
				if got := rows[6][0]; got != strings.Join(ids, ",") {
					t.Errorf("the list has %d bytes, want %d", len(got), len(strings.Join(ids, ",")))
				}
			}
			if limit, err := answer(db, "SELECT @@SESSION.group_concat_max_len"); err != nil || name == "mariadb" && limit.rows[0][0] != "1024" {
				t.Errorf("the session's limit is %v after the call, %v", limit.rows, err)
			}
		})
	}
}

// find gives the rows of a table with a value in a column.
func (h *hostile) find(table, column, value string) (out []map[string]string) {
	for _, row := range h.rows[table] {
		if row[column] == value {
			out = append(out, row)
		}
	}
	return out
}

func number(text string) *big.Rat {
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return new(big.Rat)
	}
	return n
}

// check asks the four procedures, and compares.
func (h *hostile) check(t *testing.T, db *sql.DB) {
	h.checkFinancials(t, db)
	h.checkValue(t, db)
	for _, day := range []string{"2024-03-31", "2024-08-15", "2025-01-01"} {
		h.checkDebtors(t, db, day)
	}
}

// ranges are what the dated procedures are asked for.
var hostileRanges = [][2]string{{"NULL", "NULL"}, {"'2024-05-01'", "'2024-08-31'"}, {"'2024-10-15'", "NULL"}, {"NULL", "'2024-02-10'"}}

func within(days [2]string, value string) bool {
	value = value[:10]
	return (days[0] == "NULL" || value >= strings.Trim(days[0], "'")) && (days[1] == "NULL" || value <= strings.Trim(days[1], "'"))
}

func latest(rows ...map[string]string) string {
	out := ""
	for _, row := range rows {
		out = max(out, row["ts_4_update"])
	}
	return out
}

func first(rows []map[string]string) map[string]string {
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}

func orNull(row map[string]string, column string) string {
	if v, ok := row[column]; ok && row != nil {
		return v
	}
	return null
}

func (h *hostile) checkFinancials(t *testing.T, db *sql.DB) {
	columns := []string{"fin_key", "transaction_id", "invoice_total", "invoice_discount", "payment_total", "invoice_involvement", "practitioner_id", "commission_percent",
		"main_practitioner", "PPA_Status", "health_fund_id", "updated_date"}
	for _, modifier := range []string{"All", "Created", "Updated"} {
		for _, days := range hostileRanges {
			var want []string
			for kind, table := range map[string][2]string{"I": {"invoice", "invoice_id"}, "P": {"payment_allocation", "allocation_id"}, "D": {"discount", "discount_id"}} {
				for _, own := range h.rows[table[0]] {
					invoice := first(h.find("invoice", "invoice_id", own["invoice_id"]))
					var plan map[string]string
					for _, g := range h.find("account_payment_plan", "invoice_id", own["invoice_id"]) {
						plan = g // keys rise
					}
					shares := h.find("invoice_practitioner", "invoice_id", own["invoice_id"])
					if len(shares) == 0 {
						shares = []map[string]string{nil}
					}
					seen := map[string]bool{}
					for _, share := range shares {
						key := kind + own[table[1]]
						if share != nil {
							key += "-" + share["practitioner_id"]
							if seen[share["practitioner_id"]] {
								key += "-" + share["invoice_practitioner_id"]
							}
							seen[share["practitioner_id"]] = true
						}
						shown := []map[string]string{own, share, plan, first(h.find("patient", "patient_id", own["patient_id"])), first(h.find("practitioner", "practitioner_id", share["practitioner_id"]))}
						total, discount, payment, fund := "0.0000", "0.0000", null, orNull(invoice, "health_fund_id")
						switch kind {
						case "I":
							total = own["amount"]
						case "D":
							discount = own["amount"]
							shown = append(shown, invoice)
						case "P":
							receipt := first(h.find("receipt", "receipt_id", own["receipt_id"]))
							payment, fund = own["amount"], null
							shown = append(shown, invoice, receipt, first(h.find("payment_type", "payment_type_id", receipt["payment_type_id"])))
						}
						leading := orNull(invoice, "practitioner_id")
						if kind == "D" {
							leading = own["practitioner_id"]
						}
						by := map[string]string{"All": own["date_effective"], "Created": own["ts_4_insert"], "Updated": latest(shown...)}[modifier]
						if within(days, by) {
							want = append(want, strings.Join([]string{key, own["invoice_id"], total, discount, payment, orNull(share, "involvement"), orNull(share, "practitioner_id"),
								orNull(share, "commission_percent"), leading, orNull(plan, "plan_status"), fund, latest(shown...)}, " "))
						}
					}
				}
			}
			compare(t, db, "financials("+days[0]+", "+days[1]+", '"+modifier+"')", columns, want)
		}
	}
}

// compare holds an answer against rows in any order.
func compare(t *testing.T, db *sql.DB, call string, columns, want []string) {
	t.Helper()
	var got []string
	for _, row := range rowsOf(t, db, "CALL "+call).choose(t, columns).rows {
		for i := range row {
			if row[i] == "-0.0000" {
				row[i] = "0.0000"
			}
		}
		got = append(got, strings.Join(row, " "))
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " -0.0000", " 0.0000")
	}
	sort.Strings(got)
	sort.Strings(want)
	if !slices.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		at := func(list []string) string {
			return strings.ReplaceAll(strings.Join(list[min(i, len(list)):min(i+2, len(list))], "\n"), null, "NULL")
		}
		t.Errorf("%s: %d rows, want %d; got\n%s\nwant\n%s", call, len(got), len(want), at(got), at(want))
	}
}

func (h *hostile) checkValue(t *testing.T, db *sql.DB) {
	columns := []string{"patient_id", "patient_surname", "total_visits", "total_invoiced", "total_discount", "total_paid", "outstanding_balance", "updated_date"}
	for _, modifier := range []string{"All", "Created", "Updated"} {
		for _, days := range hostileRanges {
			var want []string
			for id := 1; id <= 6; id++ {
				key := strconv.Itoa(id)
				patient := first(h.find("patient", "patient_id", key))
				shown := []map[string]string{patient}
				sum := func(table string) *big.Rat {
					out := new(big.Rat)
					for _, row := range h.find(table, "patient_id", key) {
						out.Add(out, number(row["amount"]))
						shown = append(shown, row)
					}
					return out
				}
				invoiced, off, paid, visits := sum("invoice"), sum("discount"), sum("payment_allocation"), 0
				for _, a := range h.find("appointment", "patient_id", key) {
					shown = append(shown, a)
					if a["attended"] == "1" && a["is_deleted"] == "0" {
						visits++
					}
				}
				if patient == nil && len(shown) == 1 {
					continue
				}
				in := within(days, latest(shown...))
				if modifier != "Updated" {
					in = patient != nil && within(days, patient[map[string]string{"All": "new_patient_date", "Created": "ts_4_insert"}[modifier]]) || patient == nil && days == [2]string{"NULL", "NULL"}
				}
				if in {
					want = append(want, strings.Join([]string{key, orNull(patient, "surname"), strconv.Itoa(visits), invoiced.FloatString(4), off.FloatString(4), paid.FloatString(4),
						sub(invoiced, off, paid).FloatString(4), latest(shown...)}, " "))
				}
			}
			compare(t, db, "patient_lifetime_value("+days[0]+", "+days[1]+", '"+modifier+"')", columns, want)
		}
	}
}

func (h *hostile) checkDebtors(t *testing.T, db *sql.DB, day string) {
	owed := map[string]*big.Rat{}
	add := func(invoice, amount string, sign int64) {
		if owed[invoice] == nil {
			owed[invoice] = new(big.Rat)
		}
		owed[invoice].Add(owed[invoice], new(big.Rat).Mul(number(amount), big.NewRat(sign, 1)))
	}
	for _, i := range h.rows["invoice"] {
		if i["date_effective"] > day {
			continue
		}
		key := i["invoice_id"]
		if i["reversal"] == "1" && first(h.find("invoice", "invoice_id", i["reverses_invoice_id"])) != nil {
			key = i["reverses_invoice_id"]
		}
		add(key, i["amount"], 1)
	}
	for _, table := range []string{"payment_allocation", "discount"} {
		for _, m := range h.rows[table] {
			if m["date_effective"] <= day {
				add(m["invoice_id"], m["amount"], -1)
			}
		}
	}
	zero := new(big.Rat)
	type group struct{ head, third, place string }
	groups := map[group]*big.Rat{}
	var want []string
	for id, left := range owed {
		invoice := first(h.find("invoice", "invoice_id", id))
		instalments := slices.Clone(h.find("invoice_instalment", "invoice_id", id))
		sort.SliceStable(instalments, func(a, b int) bool { return instalments[a]["instalment_number"] < instalments[b]["instalment_number"] })
		if len(instalments) == 0 {
			instalments = append(instalments, map[string]string{"date_due": orNull(invoice, "date_due")})
		}
		// What is settled pays the first; what no instalment asks for is the last one's.
		total := number(orNull(invoice, "amount"))
		settled := maxRat(sub(total, left), zero)
		rest, unasked := new(big.Rat).Set(left), new(big.Rat).Set(total)
		for n, x := range instalments {
			asked := number(x["amount"])
			if asked.Cmp(unasked) > 0 {
				asked = new(big.Rat).Set(unasked)
			}
			if total.Sign() < 0 { // a reversal of nothing
				asked = new(big.Rat)
			}
			unasked.Sub(unasked, asked)
			balance := maxRat(sub(asked, settled), zero)
			settled = maxRat(sub(settled, asked), zero)
			if n == len(instalments)-1 {
				balance = rest
			} else {
				rest = sub(rest, balance)
			}
			if left.Sign() == 0 || balance.Sign() == 0 {
				continue
			}
			want = append(want, strings.Join([]string{id, orNull(x, "instalment_number"), orNull(x, "date_due"), balance.FloatString(4), orNull(invoice, "patient_head_id")}, " "))
			g := group{orNull(invoice, "patient_head_id"), orNull(invoice, "third_party_id"), orNull(invoice, "location_id")}
			if groups[g] == nil {
				groups[g] = new(big.Rat)
			}
			groups[g].Add(groups[g], balance)
		}
	}
	as := "('" + day + "', '" + day + "', '9999-12-31')"
	compare(t, db, "debtors_detailed"+as, []string{"invoice_id", "instalment_number", "date_due", "balance", "patient_head_id"}, want)
	var wantGroups []string
	for g, balance := range groups {
		if balance.Sign() != 0 {
			wantGroups = append(wantGroups, strings.Join([]string{g.head, balance.FloatString(4), g.place}, " "))
		}
	}
	compare(t, db, "debtors"+as, []string{"patient_head_id", "balance", "location_id"}, wantGroups)
}

func maxRat(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}
