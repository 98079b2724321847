//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestProcedures fills the practice's tables by hand, on both servers. Creating
// them takes longer than the tests, so that these share them.
func TestProcedures(t *testing.T) {
	p := readPractice(t)
	servers := emptyServers(t, p)
	t.Run("fields", func(t *testing.T) { testFields(t, p, servers) })
	t.Run("rows", func(t *testing.T) { testRows(t, p, servers) })
	t.Run("days", func(t *testing.T) { testDays(t, p, servers) })
}

// testRows runs the fixtures: every procedure, on few rows whose answer is written
// down, over both protocols.
func testRows(t *testing.T, p practice, servers map[string]*sql.DB) {
	files, err := filepath.Glob("testdata/procedures/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	fixtures := map[string]fixture{}
	called := map[string]bool{}
	for _, file := range files {
		fixtures[file] = readFixture(t, file)
		for _, b := range fixtures[file] {
			if m := callPattern.FindStringSubmatch(b.head); m != nil {
				called[m[1]] = true
			}
		}
	}
	for _, procedure := range p.procedures {
		if !called[procedure] {
			t.Errorf("no fixture calls %s", procedure)
		}
	}
	for name, db := range servers {
		for _, file := range files {
			t.Run(name+"/"+strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				p.empty(t, db)
				for _, b := range fixtures[file] {
					if !strings.HasPrefix(b.head, "CALL ") {
						for _, row := range b.rows {
							values := map[string]string{}
							for i, c := range b.columns {
								values[c] = row[i]
							}
							exec(t, db, p.insert(t, b.head, values))
						}
						continue
					}
					want := result{columns: b.columns, rows: b.rows}
					for _, prepared := range []bool{false, true} {
						r, err := ask(t, db, b.head, prepared)
						if err != nil {
							t.Fatalf("%s:%d: %v", file, b.line, err)
						}
						if got := r.choose(t, b.columns); !got.equal(want) {
							t.Errorf("%s:%d: %s (prepared: %v)\ngot:\n%swant:\n%s", file, b.line, b.head, prepared, got, want)
						}
					}
				}
			})
		}
	}
}

// dated is a procedure that takes a range of days.
type dated struct {
	// table holds a row for each of the answer's; key is that row's key.
	table, key string
	// business is the column that All is about.
	business string
	// says is the answer's column that identifies the row, as this much of text
	// before the key and after it.
	says, before, after string
	// also are rows that go with a row: the table, its columns, # standing for the
	// key and DAY for the day of the business date.
	also map[string]map[string]string
}

var share = map[string]string{"invoice_practitioner_id": "#", "invoice_id": "#", "practitioner_id": "7"}

var datedProcedures = map[string][]dated{
	"patients":                       {{table: "patient", key: "patient_id", business: "new_patient_date"}},
	"patient_lifetime_value":         {{table: "patient", key: "patient_id", business: "new_patient_date"}},
	"recalls":                        {{table: "recall", key: "recall_id", business: "recall_date"}},
	"appointments":                   {{table: "appointment", key: "appointment_id", business: "appointment_date"}},
	"appointment_cancellations":      {{table: "appointment_cancellation", key: "cancellation_id", business: "cancelled_date"}},
	"appointment_reminders":          {{table: "appointment_reminder", key: "reminder_id", business: "reminder_date"}},
	"waitlist":                       {{table: "waitlist", key: "waitlist_id", business: "added_date"}},
	"treatment":                      {{table: "treatment", key: "treatment_id", business: "treatment_date"}},
	"expenses":                       {{table: "expense", key: "expense_id", business: "expense_date"}},
	"financials_receipts":            {{table: "receipt", key: "receipt_id", business: "date_effective", says: "receipt_key", before: "R"}},
	"financials_invoices":            {{table: "invoice", key: "invoice_id", business: "date_effective", says: "invoice_key", before: "I"}},
	"financials_deposits":            {{table: "deposit", key: "deposit_id", business: "date_effective", says: "deposit_key", before: "H"}},
	"financials_discounts":           {{table: "discount", key: "discount_id", business: "date_effective", says: "discount_key", before: "D"}},
	"financials_payment_allocations": {{table: "payment_allocation", key: "allocation_id", business: "date_effective", says: "allocation_key", before: "A"}},
	"treatment_plans": {{table: "treatment_plan_item", key: "plan_item_id", business: "",
		also: map[string]map[string]string{"treatment_plan": {"plan_id": "#", "plan_date": "DAY"}}}},
	"financials": {
		{table: "invoice", key: "invoice_id", business: "date_effective", says: "fin_key", before: "I", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share}},
		{table: "discount", key: "discount_id", business: "date_effective", says: "fin_key", before: "D", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share}},
		{table: "payment_allocation", key: "allocation_id", business: "date_effective", says: "fin_key", before: "P", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share, "invoice": {"invoice_id": "#"}}},
	},
}

// testDays puts rows around the ends of days, of every procedure that takes a range,
// and asks for days.
func testDays(t *testing.T, p practice, servers map[string]*sql.DB) {
	// key: business date, created, updated. Entered out of order.
	rows := [][4]string{
		{"5", "2024-03-01", "2024-02-29 00:00:00", "2024-12-31 23:59:59"},
		{"1", "2024-02-28", "2024-02-28 23:59:59", "2024-02-29 00:00:00"},
		{"4", "2024-03-01", "2024-02-29 23:59:59", "2024-03-01 00:00:00"},
		{"2", "2024-02-29", "2024-02-28 12:00:00", "2024-02-29 23:59:59"},
		{"3", "2024-02-29", "2024-03-01 00:00:00", "2024-03-01 00:00:01"},
	}
	calls := []struct{ arguments, want string }{
		{"NULL, NULL, 'All'", "1 2 3 4 5"},
		{"'2024-02-29', '2024-02-29', 'All'", "2 3"},
		{"'2024-02-29', NULL, 'All'", "2 3 4 5"},
		{"NULL, '2024-02-28', 'All'", "1"},
		{"NULL, '9999-12-31', 'All'", "1 2 3 4 5"},
		{"'2024-03-01', '2024-02-28', 'All'", ""},
		{"'2024-02-29', '2024-02-29', 'aLL'", "2 3"},
		{"NULL, NULL, 'Created'", "1 2 3 4 5"},
		{"'2024-02-29', '2024-02-29', 'Created'", "4 5"}, // its first and its last second
		{"'2024-02-28', '2024-02-28', 'Created'", "1 2"},
		{"'2024-03-01', '2024-03-01', 'Created'", "3"},
		{"'2024-02-29', '2024-02-29', 'CREATED'", "4 5"},
		{"NULL, NULL, 'Updated'", "1 2 3 4 5"},
		{"'2024-02-29', '2024-02-29', 'Updated'", "1 2"},
		{"'2024-03-01', '2024-12-31', 'Updated'", "3 4 5"},
		{"NULL, '2024-12-30', 'Updated'", "1 2 3 4"},
		{"'2024-03-02', '2024-12-30', 'Updated'", ""},
	}
	for name, db := range servers {
		for procedure, kinds := range datedProcedures {
			t.Run(name+"/"+procedure, func(t *testing.T) {
				for _, d := range kinds {
					p.empty(t, db)
					for i, r := range rows {
						business := r[1]
						for _, c := range p.tables[d.table] {
							if c.name == d.business && c.kind == "DATETIME" { // an edge of the day
								business += []string{" 00:00:00", " 23:59:59"}[i%2]
							}
						}
						values := map[string]string{d.key: r[0], "ts_4_insert": r[2], "ts_4_update": r[3]}
						if d.business != "" {
							values[d.business] = business
						}
						for _, c := range p.tables[d.table] {
							if c.name == "invoice_id" || c.name == "plan_id" {
								values[c.name] = r[0]
							}
						}
						exec(t, db, p.insert(t, d.table, values))
						for table, also := range d.also {
							values := map[string]string{}
							for c, v := range also {
								values[c] = strings.NewReplacer("#", r[0], "DAY", r[1]).Replace(v)
							}
							exec(t, db, p.insert(t, table, values))
						}
					}
					says := d.says
					if says == "" {
						says = d.key
					}
					for _, c := range calls {
						for _, prepared := range []bool{false, true} {
							r, err := ask(t, db, "CALL "+procedure+"("+c.arguments+")", prepared)
							if err != nil {
								t.Fatal(err)
							}
							var keys []string
							for _, row := range r.choose(t, []string{says}).rows {
								if k := strings.TrimSuffix(strings.TrimPrefix(row[0], d.before), d.after); len(k) == 1 {
									keys = append(keys, k)
								}
							}
							if got := strings.Join(keys, " "); got != c.want {
								t.Errorf("%s of %s, %s (prepared: %v): keys %q, want %q", procedure, d.table, c.arguments, prepared, got, c.want)
							}
						}
					}
				}
				for _, modifier := range []any{nil, "", "Any", "All;--"} {
					_, err := db.Exec("CALL "+procedure+"(NULL, NULL, ?)", modifier)
					wantRefusal(t, err, fmt.Sprintf("modifier %v", modifier))
				}
			})
		}
		for _, procedure := range []string{"debtors", "debtors_detailed"} {
			for _, arguments := range []string{"NULL, '2024-01-01', '2024-01-01'", "'2024-01-01', NULL, '2024-01-01'", "'2024-01-01', '2024-01-01', NULL"} {
				_, err := ask(t, db, "CALL "+procedure+"("+arguments+")", false)
				wantRefusal(t, err, name+": "+procedure+"("+arguments+")")
			}
		}
	}
}

func wantRefusal(t *testing.T, err error, what string) {
	t.Helper()
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) || string(refused.SQLState[:]) != "45000" {
		t.Errorf("%s: %v, want SQLSTATE 45000", what, err)
	}
}
