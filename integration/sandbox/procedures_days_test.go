//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

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
	// key, DAY for the day of the business date, and CHANGED for when it was updated.
	also map[string]map[string]string
}

var share = map[string]string{"invoice_practitioner_id": "#", "invoice_id": "#", "practitioner_id": "7", "ts_4_update": "CHANGED"}

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
		also: map[string]map[string]string{"treatment_plan": {"plan_id": "#", "plan_date": "DAY", "ts_4_update": "CHANGED"}}}},
	"financials": {
		{table: "invoice", key: "invoice_id", business: "date_effective", says: "fin_key", before: "I", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share}},
		{table: "discount", key: "discount_id", business: "date_effective", says: "fin_key", before: "D", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share}},
		{table: "payment_allocation", key: "allocation_id", business: "date_effective", says: "fin_key", before: "P", after: "-7",
			also: map[string]map[string]string{"invoice_practitioner": share, "invoice": {"invoice_id": "#", "ts_4_update": "CHANGED"}}},
	},
}

// testModes is testDays with the dates that other practices have: under other modes
// of the session that creates the procedures and calls them, and with fractions of
// seconds.
func testModes(t *testing.T, p practice, s server) {
	t.Run("none", func(t *testing.T) {
		db := p.in(t, s, "''")
		testDays(t, p, db, "")
		// A last day that is none must not ask for everything.
		for procedure, kinds := range datedProcedures {
			p.empty(t, db)
			kinds[0].fill(t, p, db, [][4]string{{"1", "2024-02-29", "2024-02-29 00:00:00", "2024-02-29 00:00:00"}}, "")
			for _, modifier := range []string{"All", "Created", "Updated"} {
				for day, want := range map[string]int{"0000-00-00": 0, "2024-02-29": 1} {
					if rows := rowsOf(t, db, "CALL "+procedure+"(NULL, '"+day+"', '"+modifier+"')").rows; len(rows) != want {
						t.Errorf("%s until %s, %s: %d rows, want %d", procedure, day, modifier, len(rows), want)
					}
				}
			}
		}
	})
	t.Run("strict", func(t *testing.T) {
		db := p.in(t, s, "'TRADITIONAL,ANSI'")
		for table, columns := range p.tables {
			for _, c := range columns {
				if c.kind == "DATETIME" && !c.nullable {
					exec(t, db, "ALTER TABLE "+table+" MODIFY "+c.name+" DATETIME(6) NOT NULL")
				}
			}
		}
		testDays(t, p, db, ".999999")
	})
}

// testDays puts rows around the ends of days and at the ends of time, of every
// procedure that takes a range, and asks for days. fraction is what the columns hold
// behind a second.
func testDays(t *testing.T, p practice, db *sql.DB, fraction string) {
	// key: business date, created, updated. Entered out of order.
	rows := [][4]string{
		{"0", "0000-00-00", "0000-00-00 00:00:00", "0000-00-00 00:00:00"},
		{"5", "2024-03-01", "2024-02-29 00:00:00", "2024-12-31 23:59:59"},
		{"1", "2024-02-28", "2024-02-28 23:59:59", "2024-02-29 00:00:00"},
		{"4", "2024-03-01", "2024-02-29 23:59:59", "2024-03-01 00:00:00"},
		{"2", "2024-02-29", "2024-02-28 12:00:00", "2024-02-29 23:59:59"},
		{"3", "2024-02-29", "2024-03-01 00:00:00", "2024-03-01 00:00:01"},
		{"7", "9999-12-31", "9999-12-31 23:59:59", "9999-12-31 00:00:00"},
		{"6", "9999-12-31", "9999-12-31 00:00:00", "9999-12-31 23:59:59"},
	}
	type question struct{ arguments, want string }
	questions := []question{
		{"'2024-02-29', '2024-02-29', 'All'", "2 3"},
		{"'2024-02-29', NULL, 'All'", "2 3 4 5 6 7"},
		{"NULL, '2024-02-28', 'All'", "0 1"},
		{"'2024-03-01', '2024-02-28', 'All'", ""},
		{"'2024-02-29', '2024-02-29', 'aLL'", "2 3"},
		{"'2024-02-29', '2024-02-29', 'Created'", "4 5"}, // its first and its last second
		{"'2024-02-28', '2024-02-28', 'Created'", "1 2"},
		{"'2024-03-01', '2024-03-01', 'Created'", "3"},
		{"'2024-02-29', '2024-02-29', 'CREATED'", "4 5"},
		{"'2024-02-29', '2024-02-29', 'Updated'", "1 2"},
		{"'2024-03-01', '2024-12-31', 'Updated'", "3 4 5"},
		{"NULL, '2024-12-30', 'Updated'", "0 1 2 3 4"},
		{"'2024-03-02', '2024-12-30', 'Updated'", ""},
	}
	for _, modifier := range []string{"All", "Created", "Updated"} {
		for _, c := range []question{
			{"NULL, NULL", "0 1 2 3 4 5 6 7"},
			{"NULL, '9999-12-31'", "0 1 2 3 4 5 6 7"},
			{"NULL, '9999-12-30'", "0 1 2 3 4 5"},
			{"'0001-01-01', NULL", "1 2 3 4 5 6 7"},
			{"'0001-01-01', '9999-12-31'", "1 2 3 4 5 6 7"},
			{"'9999-12-30', '9999-12-30'", ""},
			{"'9999-12-31', '9999-12-31'", "6 7"},
			{"'9999-12-31', NULL", "6 7"},
		} {
			questions = append(questions, question{c.arguments + ", '" + modifier + "'", c.want})
		}
	}
	for procedure, kinds := range datedProcedures {
		t.Run(procedure, func(t *testing.T) {
			for _, d := range kinds {
				p.empty(t, db)
				d.fill(t, p, db, rows, fraction)
				says := d.says
				if says == "" {
					says = d.key
				}
				for _, q := range questions {
					for _, prepared := range []bool{false, true} {
						r, err := ask(t, db, "CALL "+procedure+"("+q.arguments+")", prepared)
						if err != nil {
							t.Fatal(err)
						}
						var keys []string
						for _, row := range r.choose(t, []string{says}).rows {
							if k := strings.TrimSuffix(strings.TrimPrefix(row[0], d.before), d.after); len(k) == 1 {
								keys = append(keys, k)
							}
						}
						if got := strings.Join(keys, " "); got != q.want {
							t.Errorf("%s of %s, %s (prepared: %v): keys %q, want %q", procedure, d.table, q.arguments, prepared, got, q.want)
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
			wantRefusal(t, err, procedure+"("+arguments+")")
		}
	}
}

// fill inserts the rows, each a key, a business date, and when it was created and
// updated. The day that is none can be stored in a session without a mode only.
func (d dated) fill(t *testing.T, p practice, db *sql.DB, rows [][4]string, fraction string) {
	t.Helper()
	var mode string
	if err := db.QueryRow("SELECT @@SESSION.sql_mode").Scan(&mode); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "SET SESSION sql_mode = ''")
	precise := strings.NewReplacer("23:59:59", "23:59:59"+fraction)
	for i, r := range rows {
		values := map[string]string{d.key: r[0], "ts_4_insert": precise.Replace(r[2]), "ts_4_update": precise.Replace(r[3])}
		for _, c := range p.tables[d.table] {
			switch c.name {
			case "invoice_id", "plan_id":
				values[c.name] = r[0]
			case d.business:
				values[c.name] = r[1]
				if c.kind == "DATETIME" { // an edge of the day
					values[c.name] += precise.Replace([]string{" 00:00:00", " 23:59:59"}[i%2])
				}
			}
		}
		exec(t, db, p.insert(t, d.table, values))
		for table, also := range d.also {
			values := map[string]string{}
			for c, v := range also {
				values[c] = strings.NewReplacer("#", r[0], "DAY", r[1], "CHANGED", precise.Replace(r[3])).Replace(v)
			}
			exec(t, db, p.insert(t, table, values))
		}
	}
	exec(t, db, "SET SESSION sql_mode = '"+mode+"'")
}

func wantRefusal(t *testing.T, err error, what string) {
	t.Helper()
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) || string(refused.SQLState[:]) != "45000" {
		t.Errorf("%s: %v, want SQLSTATE 45000", what, err)
	}
}
