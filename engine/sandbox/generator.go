package sandbox

import (
	"strings"
	"sync"
)

// Table is a table of the practice database and its generated rows.
type Table struct {
	// Name is the table's name in schema.sql.
	Name string
	// Columns names the values of a row, in the order of schema.sql.
	Columns []string
	// Rows is the number of rows that are generated.
	Rows int64

	fill func(row int64, out []Value)
	more func() int64 // rows that were added to them; nil is none
}

// Now is the number of rows as it is now: Rows, unless the practice is a living one.
func (t *Table) Now() int64 {
	if t.more == nil {
		return t.Rows
	}
	return t.Rows + t.more()
}

// Row puts the values of a row, counted from 0, into out, which must hold
// len(Columns) values. Rows may be asked for in any order, from any number of
// goroutines; row n always has the same values.
func (t *Table) Row(n int64, out []Value) { t.fill(n, out) }

// Tables returns the practice's tables, in the order of schema.sql, for the options,
// or a fault with CodeOptions. It looks at each appointment once, to know what was
// attended; rows are computed when asked for.
func Tables(o Options) ([]Table, error) {
	patients, appointments, err := o.rows()
	if err != nil {
		return nil, err
	}
	g := &generator{
		seed: o.Seed, patients: patients, appointments: appointments,
		book: newBook(o.Seed, patients, appointments),
	}
	g.kept, g.missed = g.outcomes()
	return append(g.grown(), g.lists()...), nil
}

type generator struct {
	seed                   uint64
	patients, appointments int64
	book                   book
	// kept are the appointments that were attended, missed those that were
	// cancelled or failed.
	kept, missed selection
	entries      sync.Pool // of *entry
}

// grown are the tables that grow with the practice.
func (g *generator) grown() []Table {
	of := func(t part) int64 { return partsOf[t].total(g.kept.count()) }
	plans := plansOf.total(g.patients)
	return []Table{
		grown("patient", patientColumns, g.patients, g.patient),
		grown("appointment", appointmentColumns, g.appointments, g.appointment),
		grown("appointment_cancellation", cancellationColumns, g.missed.count(), g.cancellation),
		grown("appointment_reminder", reminderColumns, remindersOf.total(g.appointments), g.reminder),
		grown("waitlist", waitlistColumns, (g.patients+waiters-1)/waiters, g.waiting),
		grown("recall", recallColumns, recallsOf.total(g.patients), g.recall),
		grown("treatment", treatmentColumns, of(linePart), g.ledger(linePart, g.treatment)),
		grown("treatment_plan", planColumns, plans, g.treatmentPlan),
		grown("treatment_plan_item", planItemColumns, planItemsOf.total(plans), g.planItem),
		grown("invoice", invoiceColumns, of(invoicePart), g.ledger(invoicePart, g.invoice)),
		grown("invoice_practitioner", invoicePractitionerColumns, of(sharePart), g.ledger(sharePart, g.invoicePractitioner)),
		grown("invoice_instalment", instalmentColumns, of(instalmentPart), g.ledger(instalmentPart, g.instalment)),
		grown("account_payment_plan", agreementColumns, of(agreementPart), g.ledger(agreementPart, g.agreement)),
		grown("receipt", receiptColumns, of(receiptPart), g.ledger(receiptPart, g.receipt)),
		grown("payment_allocation", allocationColumns, of(allocationPart), g.ledger(allocationPart, g.allocation)),
		grown("deposit", depositColumns, of(depositPart), g.ledger(depositPart, g.deposit)),
		grown("discount", discountColumns, of(discountPart), g.ledger(discountPart, g.discount)),
		grown("expense", expenseColumns, of(expensePart)+g.appointments/overheads, g.expenses()),
		grown("log_entry", logColumns, g.logEntries(), g.logEntry),
	}
}

func grown(name string, columns []string, rows int64, fill func(row int64, out []Value)) Table {
	return Table{Name: name, Columns: columns, Rows: rows, fill: fill}
}

// columnNames are the words of a list.
func columnNames(list string) []string { return strings.Fields(list) }

var patientColumns = []string{
	"patient_id", "family_head_id", "patient_card", "family_role", "patient_status", "record_status",
	"title", "first_name", "middle_name", "surname", "preferred_name", "gender", "birthdate", "occupation",
	"email", "phone", "mobile", "work_phone", "address1", "address2", "postcode", "suburb", "state",
	"work_address1", "work_address2", "work_postcode", "work_suburb", "work_state",
	"recall_comm_preference", "appointment_comm_preference", "invoice_comm_preference", "queries_comm_preference",
	"first_seen_date", "first_treatment_date", "new_patient_date", "latest_seen_date",
	"practitioner_id", "location_id", "new_patient_location_id",
	"is_deleted", "referral_source_id", "health_fund_id", "fee_level_id", "ts_4_insert", "ts_4_update",
}

var appointmentColumns = []string{
	"appointment_id", "appointment_status", "appointment_status_codes", "cancelled", "failed", "attended", "online",
	"appointment_type_code", "appointment_type", "appointment_date", "start_time", "end_time",
	"appointment_arrival_time", "actual_start_time", "actual_end_time", "duration", "recall_set_linked",
	"patient_id", "practitioner_id", "location_id", "original_date", "created_by", "updated_by",
	"is_deleted", "confirmed", "appointment_book_id", "ts_4_insert", "ts_4_update",
}
