//go:build gms_pure_go

package sandbox_test

import (
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// invariants are what holds among the tables of a generated practice, as whoever joins
// them would expect: each is the FROM clause of the rows that break it.
var invariants = map[string]string{
	"patient: the head is a patient": `patient p LEFT JOIN patient h ON h.patient_id = p.family_head_id
		WHERE h.patient_id IS NULL`,
	"patient: a head is its own head": `patient p JOIN patient h ON h.patient_id = p.family_head_id
		WHERE h.family_head_id <> h.patient_id`,
	"patient: family_role says who is head": `patient
		WHERE (family_role = 'Family Head') <> (family_head_id = patient_id)`,
	"patient: record_status says what is deleted": `patient
		WHERE (record_status = 'Deleted') <> (is_deleted = 1)`,
	"patient: born before the first visit": `patient
		WHERE birthdate > new_patient_date OR birthdate > first_seen_date OR birthdate > first_treatment_date`,
	"patient: first_seen_date": `patient p LEFT JOIN (
			SELECT patient_id, MIN(appointment_date) AS day FROM appointment
			WHERE attended = 1 AND is_deleted = 0 GROUP BY patient_id
		) a ON a.patient_id = p.patient_id
		WHERE NOT p.first_seen_date <=> a.day`,
	"patient: first_treatment_date": `patient p LEFT JOIN (
			SELECT patient_id, MIN(treatment_date) AS day FROM treatment
			WHERE is_deleted = 0 GROUP BY patient_id
		) t ON t.patient_id = p.patient_id
		WHERE NOT p.first_treatment_date <=> t.day`,
	"patient: first before latest": `patient
		WHERE first_seen_date > latest_seen_date OR first_treatment_date > latest_seen_date`,
	"appointment: recall_set_linked": `appointment a
		LEFT JOIN (SELECT DISTINCT appointment_id FROM recall) r ON r.appointment_id = a.appointment_id
		WHERE a.recall_set_linked <> (r.appointment_id IS NOT NULL)`,
	"appointment: end_time": `appointment
		WHERE end_time <> start_time + INTERVAL duration MINUTE OR DATE(start_time) <> appointment_date`,
	"appointment: attended, cancelled, failed": `appointment WHERE attended + cancelled + failed > 1`,
	"appointment_cancellation: what it copies": `appointment_cancellation c
		LEFT JOIN appointment a ON a.appointment_id = c.appointment_id
		WHERE a.appointment_id IS NULL OR a.patient_id <> c.patient_id OR a.start_time <> c.start_time
			OR a.practitioner_id <> c.practitioner_id OR a.location_id <> c.location_id`,
	"appointment_cancellation: one for each, and for no other": `appointment a LEFT JOIN (
			SELECT appointment_id, COUNT(*) AS n FROM appointment_cancellation GROUP BY appointment_id
		) c ON c.appointment_id = a.appointment_id
		WHERE COALESCE(c.n, 0) <> IF(a.cancelled = 1 OR a.failed = 1, 1, 0)`,
	"recall: the appointment is the patient's": `recall r
		LEFT JOIN appointment a ON a.appointment_id = r.appointment_id
		WHERE r.appointment_id IS NOT NULL AND NOT r.patient_id <=> a.patient_id
			OR r.recall_status IN ('Booked', 'Completed') AND r.appointment_id IS NULL`,
	"waitlist: the next appointment is the patient's": `waitlist w
		LEFT JOIN appointment a ON a.appointment_id = w.next_appointment_id
		WHERE w.next_appointment_id IS NOT NULL AND NOT w.patient_id <=> a.patient_id`,
	"treatment: the invoice's": `treatment t LEFT JOIN invoice i ON i.invoice_id = t.invoice_id
		WHERE i.invoice_id IS NULL OR i.reversal = 1 OR t.location_id <> i.location_id
			OR NOT t.health_fund_id <=> i.health_fund_id`,
	"treatment: of the invoice's family": `treatment t JOIN invoice i ON i.invoice_id = t.invoice_id
		JOIN patient p ON p.patient_id = t.patient_id
		WHERE p.family_head_id <> i.patient_head_id`,
	"treatment: the item's": `treatment t LEFT JOIN item m ON m.item_code = t.item_code
		WHERE m.item_id IS NULL OR m.non_treatment <> t.non_treatment OR m.non_reporting <> t.non_reporting`,
	"treatment: on the day of the invoice": `treatment t JOIN invoice i ON i.invoice_id = t.invoice_id
		WHERE t.treatment_date <> i.date_effective`,
	"treatment: who did it has a share": `treatment t
		LEFT JOIN invoice_practitioner s ON s.invoice_id = t.invoice_id AND s.practitioner_id = t.practitioner_id
		WHERE t.is_deleted = 0 AND s.invoice_id IS NULL`,
	"treatment: the plan is the patient's": `treatment t LEFT JOIN treatment_plan n ON n.plan_id = t.plan_id
		WHERE t.plan_id IS NOT NULL AND NOT t.patient_id <=> n.patient_id`,
	"invoice: the amount is that of its lines": `invoice i LEFT JOIN (
			SELECT invoice_id, SUM(item_qty * item_fee) AS amount FROM treatment
			WHERE is_deleted = 0 GROUP BY invoice_id
		) t ON t.invoice_id = i.invoice_id
		WHERE i.reversal = 0 AND NOT i.amount <=> t.amount`,
	"invoice: the head is the patient's": `invoice i JOIN patient p ON p.patient_id = i.patient_id
		WHERE p.family_head_id <> i.patient_head_id`,
	"invoice: the instalments come to it": `invoice i LEFT JOIN (
			SELECT invoice_id, SUM(amount) AS amount FROM invoice_instalment GROUP BY invoice_id
		) n ON n.invoice_id = i.invoice_id
		WHERE i.reversal = 0 AND NOT i.amount <=> n.amount`,
	"invoice: the shares are the whole": `invoice i LEFT JOIN (
			SELECT invoice_id, SUM(involvement) AS involvement FROM invoice_practitioner GROUP BY invoice_id
		) s ON s.invoice_id = i.invoice_id
		WHERE NOT s.involvement <=> 100`,
	"invoice: the patient was seen that day": `invoice i LEFT JOIN appointment a
			ON a.patient_id = i.patient_id AND a.appointment_date = i.date_effective AND a.attended = 1
		WHERE i.reversal = 0 AND a.appointment_id IS NULL`,
	"deposit: the balance": `deposit d
		LEFT JOIN (
			SELECT receipt_id, SUM(amount) AS amount FROM payment_allocation GROUP BY receipt_id
		) a ON a.receipt_id = d.receipt_id
		LEFT JOIN (
			SELECT refunds_deposit_id AS deposit_id, SUM(amount) AS amount FROM deposit GROUP BY refunds_deposit_id
		) f ON f.deposit_id = d.deposit_id
		WHERE d.reversal = 0 AND d.deposit_refund = 0
			AND NOT EXISTS (SELECT 1 FROM deposit v WHERE v.reverses_deposit_id = d.deposit_id)
			AND d.balance <> d.amount - COALESCE(a.amount, 0) + COALESCE(f.amount, 0)`,
	"account_payment_plan: the number of its instalments": `account_payment_plan g
		WHERE g.instalments <> (SELECT COUNT(*) FROM invoice_instalment n WHERE n.invoice_id = g.invoice_id)`,
	"receipt: no less than its allocations": `receipt r JOIN (
			SELECT receipt_id, SUM(amount) AS amount FROM payment_allocation GROUP BY receipt_id
		) a ON a.receipt_id = r.receipt_id
		WHERE r.reversal = 0 AND a.amount > r.amount`,
	"payment_allocation: what it copies": `payment_allocation a
		LEFT JOIN invoice i ON i.invoice_id = a.invoice_id LEFT JOIN receipt r ON r.receipt_id = a.receipt_id
		WHERE NOT a.patient_id <=> i.patient_id OR NOT a.invoice_location_id <=> i.location_id
			OR NOT a.receipt_location_id <=> r.location_id`,
}

// TestInvariants loads the practice of scale 1 and counts the rows that break a rule:
// those above, that every key names a row, and that nothing changed before it was made.
func TestInvariants(t *testing.T) {
	t.Parallel()
	mariadb := dbtest.MariaDB(t)
	config := sandbox.LoadConfig{
		DSN: mariadb.DSN(mariadb.Database()), SQL: practiceSQL,
		Options: sandbox.Options{Patients: 2_000, Appointments: 20_000},
	}
	if _, err := sandbox.Load(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	db := open(t, config.DSN)
	rules := map[string]string{}
	for name, from := range invariants {
		rules[name] = from
	}
	// Of every table, the columns that name a key of another one.
	columns, err := answer(db, "SELECT c.table_name, c.column_name, k.table_name FROM information_schema.columns c "+
		"LEFT JOIN information_schema.columns k ON k.table_schema = c.table_schema AND k.column_key = 'PRI' "+
		"AND k.column_name = c.column_name AND k.table_name <> c.table_name WHERE c.table_schema = DATABASE()")
	if err != nil {
		t.Fatal(err)
	}
	keys, times := 0, 0
	for _, row := range columns.rows {
		if table, column, of := row[0], row[1], row[2]; of != null {
			rules[table+"."+column+" exists"] = fmt.Sprintf("%s t LEFT JOIN %s o ON o.%[3]s = t.%[3]s "+
				"WHERE t.%[3]s IS NOT NULL AND o.%[3]s IS NULL", table, of, column)
			keys++
		} else if column == "ts_4_update" {
			rules[table+": changed after it was made"] = table + " WHERE ts_4_update < ts_4_insert"
			times++
		}
	}
	if keys < 40 || times < 30 {
		t.Fatalf("%d keys of other tables and %d times of a change were found", keys, times)
	}
	for name, from := range rules {
		t.Run(name, func(t *testing.T) {
			var n int
			if err := db.QueryRow("SELECT COUNT(*) FROM " + from).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows break it, %v", n, err)
			}
		})
	}
}
