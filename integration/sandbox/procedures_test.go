//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// The contracts: the catalogue's fields in its order.
var contracts = map[string][]string{
	"patients": strings.Fields(`patient_id family_head_id patient_card family_role patient_status record_status title
		first_name middle_name surname preferred_name gender birthdate occupation email phone mobile work_phone address1
		address2 postcode suburb state work_address1 work_address2 work_postcode work_suburb work_state
		recall_comm_preference appointment_comm_preference invoice_comm_preference queries_comm_preference
		first_seen_date first_treatment_date new_patient_date latest_seen_date practitioner_id location_id
		new_patient_location_id created_date updated_date is_deleted referral_source_id health_fund_id fee_level_id`),
	"appointments": strings.Fields(`appointment_id appointment_status appointment_status_codes cancelled failed attended
		online appointment_type_code appointment_type appointment_date start_time end_time appointment_arrival_time
		actual_start_time actual_end_time duration recall_set_linked patient_id practitioner_id location_id created_date
		original_date created_by updated_date updated_by is_deleted confirmed appointment_book_id`),
}

// source says which table a procedure reads, and which of its columns each
// modifier filters on.
var sources = map[string]struct {
	table     string
	modifiers map[string]string
}{
	"patients":     {"patient", map[string]string{"All": "new_patient_date", "Created": "ts_4_insert", "Updated": "ts_4_update"}},
	"appointments": {"appointment", map[string]string{"All": "appointment_date", "Created": "ts_4_insert", "Updated": "ts_4_update"}},
}

// TestEveryServerAnswersWhatTheGeneratorMade asks the embedded server and
// MariaDB, loaded by LOAD DATA and by INSERT, over both protocols, and holds the
// answers against the generator's rows filtered here.
func TestEveryServerAnswersWhatTheGeneratorMade(t *testing.T) {
	options := sandbox.Options{Seed: 5, Patients: 250, Appointments: 2_500}
	tables, err := sandbox.Tables(options)
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for _, table := range tables {
		rows += table.Rows
	}
	infile := dbtest.MariaDB(t)
	inserts := infile.NewDatabase()
	for database, method := range map[string]sandbox.Method{infile.Database(): sandbox.Infile, inserts: sandbox.Inserts} {
		if method == sandbox.Inserts {
			infile.Exec("SET GLOBAL local_infile = 0")
			defer infile.Exec("SET GLOBAL local_infile = 1")
		} else {
			infile.Exec("SET GLOBAL local_infile = 1")
		}
		r, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: infile.DSN(database), SQL: practiceSQL, Options: options})
		if err != nil {
			t.Fatal(err)
		}
		if r.Method != method || r.Rows() != rows {
			t.Fatalf("loaded %d rows by %s, want %d by %s", r.Rows(), r.Method, rows, method)
		}
	}
	servers := map[string]*sql.DB{
		"sandbox":                    open(t, startSandbox(t, options).DSN()),
		"mariadb, load data":         open(t, infile.DSN(infile.Database())),
		"mariadb, multi-row inserts": open(t, infile.DSN(inserts)),
	}
	for procedure, source := range sources {
		table := &tables[slices.IndexFunc(tables, func(t sandbox.Table) bool { return t.Name == source.table })]
		for modifier, column := range source.modifiers {
			answered := 0
			for _, days := range ranges(table, column) {
				want := expected(table, contracts[procedure], column, days[0], days[1])
				if len(want.rows) > 0 {
					answered++
				}
				for name, db := range servers {
					for _, prepared := range []bool{true, false} {
						got := call(t, db, prepared, procedure, days[0], days[1], modifier)
						if !got.equal(want) {
							t.Errorf("%s (prepared: %v): %s %v %s: %d rows, want %d; %s", name, prepared, procedure, days, modifier,
								len(got.rows), len(want.rows), firstDifference(got, want))
						}
					}
				}
			}
			if answered < 6 {
				t.Errorf("%s %s: only %d ranges hold rows; choose other days", procedure, modifier, answered)
			}
		}
		// The contract's types mean the same on both servers.
		real := call(t, servers["mariadb, load data"], true, procedure, nil, nil, "All").types
		if embedded := call(t, servers["sandbox"], true, procedure, nil, nil, "All").types; !slices.Equal(embedded, real) {
			t.Errorf("%s: the sandbox's types are %v, MariaDB's are %v", procedure, embedded, real)
		}
	}
}

// ranges chooses days for a column: open on one side or both, and single days on
// which rows lie in the first or in the last second.
func ranges(table *sandbox.Table, column string) [][2]any {
	out := [][2]any{
		{nil, nil}, {"2024-01-01", nil}, {nil, "2024-06-30"}, {"2024-01-01", "2024-12-31"}, {"2023-02-28", "2023-03-01"},
		{nil, "9999-12-31"}, {"0001-01-01", nil}, {"1999-01-01", "1999-12-31"}, {"2024-12-31", "2024-01-01"},
	}
	index := slices.Index(table.Columns, column)
	row := make([]sandbox.Value, len(table.Columns))
	edges := map[string]int{"00:00:00": 2, "23:59:59": 2, "": 4} // "": a date without a time
	for n := range table.Rows {
		table.Row(n, row)
		day, time, _ := strings.Cut(string(row[index].AppendText(nil)), " ")
		if edges[time] > 0 {
			edges[time]--
			out = append(out, [2]any{day, day})
		}
	}
	return out
}

// expected filters the generator's rows, comparing dates as text.
func expected(table *sandbox.Table, fields []string, column string, from, to any) result {
	at := map[string]int{}
	for i, c := range table.Columns {
		at[c] = i
	}
	at["created_date"], at["updated_date"] = at["ts_4_insert"], at["ts_4_update"]
	r := result{columns: fields}
	values := make([]sandbox.Value, len(table.Columns))
	for n := range table.Rows {
		table.Row(n, values)
		day := string(values[at[column]].AppendText(nil))[:10]
		if from != nil && day < from.(string) || to != nil && day > to.(string) {
			continue
		}
		row := make([]string, len(fields))
		for i, f := range fields {
			row[i] = null
			if v := values[at[f]]; v.Kind != sandbox.Null {
				row[i] = string(v.AppendText(nil))
			}
		}
		r.rows = append(r.rows, row)
	}
	return r
}

func firstDifference(got, want result) string {
	if !slices.Equal(got.columns, want.columns) {
		return fmt.Sprintf("columns are %v, want %v", got.columns, want.columns)
	}
	for i := range min(len(got.rows), len(want.rows)) {
		for c := range want.columns {
			if got.rows[i][c] != want.rows[i][c] {
				return fmt.Sprintf("row %d: %s is %q, want %q", i, want.columns[c], got.rows[i][c], want.rows[i][c])
			}
		}
	}
	return "the common rows are the same"
}
