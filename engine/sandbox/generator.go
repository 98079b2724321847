package sandbox

// Table is a table of the practice database and its generated rows.
type Table struct {
	// Name is the table's name in schema.sql.
	Name string
	// Columns names the values of a row, in the order of schema.sql.
	Columns []string
	// Rows is the number of rows.
	Rows int64

	fill func(row int64, out []Value)
}

// Row puts the values of a row, counted from 0, into out, which must hold
// len(Columns) values. Rows may be asked for in any order, from any number of
// goroutines; row n always has the same values.
func (t *Table) Row(n int64, out []Value) { t.fill(n, out) }

// Tables returns the practice's tables for the options, or a fault with
// CodeOptions. Making them costs nothing: rows are computed when asked for.
func Tables(o Options) ([]Table, error) {
	patients, appointments, err := o.rows()
	if err != nil {
		return nil, err
	}
	g := &generator{
		seed: o.Seed, patients: patients, appointments: appointments,
		book: newBook(o.Seed, patients, appointments),
	}
	return []Table{
		{Name: "patient", Columns: patientColumns, Rows: patients, fill: g.patient},
		{Name: "appointment", Columns: appointmentColumns, Rows: appointments, fill: g.appointment},
	}, nil
}

type generator struct {
	seed                   uint64
	patients, appointments int64
	book                   book
}

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
