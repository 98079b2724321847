//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/go-sql-driver/mysql"
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
		if r.Method != method || r.Rows() != 2_750 {
			t.Fatalf("loaded %d rows by %s, want 2750 by %s", r.Rows(), r.Method, method)
		}
	}
	servers := map[string]*sql.DB{
		"sandbox":                    open(t, startSandbox(t, options).DSN()),
		"mariadb, load data":         open(t, infile.DSN(infile.Database())),
		"mariadb, multi-row inserts": open(t, infile.DSN(inserts)),
	}
	tables, err := sandbox.Tables(options)
	if err != nil {
		t.Fatal(err)
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

// TestRowsCheckedByHand fills the tables with a few rows around the ends of
// days, over SQL, on both servers.
func TestRowsCheckedByHand(t *testing.T) {
	mariadb := dbtest.MariaDB(t)
	embedded := open(t, startSandbox(t, sandbox.Options{Scale: 0.01}).DSN())
	embedded.SetMaxOpenConns(1) // USE belongs to a connection
	for _, statement := range []string{"CREATE DATABASE by_hand", "USE by_hand"} {
		if _, err := embedded.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, db := range map[string]*sql.DB{"sandbox": embedded, "mariadb": open(t, mariadb.DSN(mariadb.Database()))} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"schema.sql", "procedures/appointments.sql", "procedures/patients.sql"} {
				script, err := fs.ReadFile(practiceSQL, file)
				if err != nil {
					t.Fatal(err)
				}
				statements := []string{string(script)}
				if file == "schema.sql" {
					statements = strings.SplitAfter(strings.TrimSpace(string(script)), ";\n")
				}
				for _, s := range statements {
					if _, err := db.Exec(strings.TrimRight(strings.TrimSpace(s), ";")); err != nil {
						t.Fatalf("%s: %v", file, err)
					}
				}
			}
			// key: business date, created, updated. Entered out of order.
			rows := [][4]string{
				{"5", "2024-03-01", "2024-02-29 00:00:00", "2024-12-31 23:59:59"},
				{"1", "2024-02-28", "2024-02-28 23:59:59", "2024-02-29 00:00:00"},
				{"4", "2024-03-01", "2024-02-29 23:59:59", "2024-03-01 00:00:00"},
				{"2", "2024-02-29", "2024-02-28 12:00:00", "2024-02-29 23:59:59"},
				{"3", "2024-02-29", "2024-03-01 00:00:00", "2024-03-01 00:00:01"},
			}
			for _, r := range rows {
				appointment := fmt.Sprintf("INSERT INTO appointment VALUES (%s,'Booked','',0,0,0,0,'EX','Exam','%s','2024-01-01 09:00:00','2024-01-01 09:30:00',NULL,NULL,NULL,30,0,1,1,1,NULL,'a','b',0,0,101,'%s','%s')", r[0], r[1], r[2], r[3])
				patient := fmt.Sprintf("INSERT INTO patient (patient_id, family_head_id, family_role, patient_status, record_status, first_name, surname, new_patient_date, location_id, is_deleted, ts_4_insert, ts_4_update) VALUES (%s,1,'Family Member','Active','Active','A','B','%s',1,0,'%s','%s')", r[0], r[1], r[2], r[3])
				for _, s := range []string{appointment, patient} {
					if _, err := db.Exec(s); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, c := range []struct {
				from, to any
				modifier string
				want     string
			}{
				{nil, nil, "All", "1 2 3 4 5"},
				{"2024-02-29", "2024-02-29", "All", "2 3"},
				{"2024-02-29", nil, "All", "2 3 4 5"},
				{nil, "2024-02-28", "All", "1"},
				{"2024-02-29", "2024-02-29", "Created", "4 5"}, // its first and its last second
				{"2024-02-28", "2024-02-28", "Created", "1 2"},
				{"2024-03-01", "2024-03-01", "Created", "3"},
				{"2024-02-29", "2024-02-29", "Updated", "1 2"},
				{"2024-03-01", "2024-12-31", "Updated", "3 4 5"},
				{nil, "2024-12-30", "Updated", "1 2 3 4"},
				{"2024-03-02", "2024-12-30", "Updated", ""},
				{"2024-03-01", "2024-02-28", "All", ""},
				{"2024-02-29", "2024-02-29", "aLL", "2 3"},
				{"2024-02-29", "2024-02-29", "CREATED", "4 5"},
			} {
				for procedure := range contracts {
					for _, prepared := range []bool{true, false} {
						if got := strings.Join(call(t, db, prepared, procedure, c.from, c.to, c.modifier).keys(), " "); got != c.want {
							t.Errorf("%s(%v, %v, %s), prepared %v: keys %q, want %q", procedure, c.from, c.to, c.modifier, prepared, got, c.want)
						}
					}
				}
			}
			for _, modifier := range []any{nil, "", "Any", "All;--"} {
				_, err := db.Exec("CALL patients(NULL, NULL, ?)", modifier)
				var refused *mysql.MySQLError
				if !errors.As(err, &refused) || string(refused.SQLState[:]) != "45000" {
					t.Errorf("modifier %v: %v, want SQLSTATE 45000", modifier, err)
				}
			}
		})
	}
}

// TestProceduresUseTheDateIndexes counts how many rows MariaDB reads for a
// narrow range: about those of the range, not the table.
func TestProceduresUseTheDateIndexes(t *testing.T) {
	s := dbtest.MariaDB(t)
	if _, err := sandbox.Load(t.Context(), sandbox.LoadConfig{DSN: s.DSN(s.Database()), SQL: practiceSQL}); err != nil {
		t.Fatal(err)
	}
	s.Exec("ANALYZE TABLE patient, appointment")
	for procedure := range contracts {
		for _, modifier := range []string{"All", "Created", "Updated"} {
			out := s.Query(fmt.Sprintf("FLUSH STATUS; CALL %s('2024-05-06', '2024-05-08', '%s'); SELECT 'read', SUM(VARIABLE_VALUE) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN ('Handler_read_next', 'Handler_read_rnd_next', 'Handler_read_prev')", procedure, modifier))
			rows := strings.Count(out, "\n") - 1
			_, last, _ := strings.Cut(out[strings.LastIndex(out[:len(out)-1], "\n")+1:], "\t")
			read, err := strconv.ParseFloat(strings.TrimSpace(last), 64)
			if err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			if rows == 0 || int(read) > 3*rows+50 {
				t.Errorf("%s %s: %d rows were read for an answer of %d", procedure, modifier, int(read), rows)
			}
		}
	}
}
