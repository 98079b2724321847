//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// missedByUpdated are the changes after which date_modifier Updated does not bring
// all that a procedure now says otherwise: a row that was about what has gone
// elsewhere looks as if nothing had happened to it, or is no more. The first sentence
// of the pipeline's description says so.
var missedByUpdated = map[string][]string{
	"financials": {
		"account_payment_plan.invoice_id", "discount.invoice_id", "invoice_practitioner.invoice_id",
		"invoice_practitioner.practitioner_id", "payment_allocation.invoice_id",
	},
	"patient_lifetime_value": {
		"appointment.patient_id", "discount.patient_id", "invoice.patient_id", "payment_allocation.patient_id",
	},
}

// TestUpdatedBringsEveryChange changes the columns of the tables that a procedure
// reads, one at a time, as the practice does, ts_4_update with them: every row that
// All shows otherwise must come under Updated on that day, as All shows it.
func TestUpdatedBringsEveryChange(t *testing.T) {
	t.Parallel()
	p := readPractice(t)
	db := p.in(t, dbtest.MariaDB(t), "DEFAULT")
	p.fillEveryTable(t, db)
	for procedure, kinds := range datedProcedures {
		t.Run(procedure, func(t *testing.T) {
			key := kinds[0].says
			if key == "" {
				key = kinds[0].key
			}
			before := rowsByKey(t, db, "CALL "+procedure+allTime, key)
			seen, missed := map[string]bool{}, map[string]bool{}
			for _, table := range p.tablesOf(t, procedure) {
				for _, c := range p.changes(t, db, table) {
					shown, found := c.trial(t, db, procedure, key, before)
					if shown {
						seen[table] = true
					}
					if !found {
						missed[table+"."+c.column] = true
					}
				}
				if !seen[table] {
					t.Errorf("no change of %s is seen in what %s shows; give the test rows that are", table, procedure)
				}
			}
			if got, want := slices.Sorted(maps.Keys(missed)), missedByUpdated[procedure]; !slices.Equal(got, want) {
				t.Errorf("%s: Updated misses rows when these change: %v, want %v", procedure, got, want)
			}
			yaml, err := os.ReadFile("../../pipelines/" + procedure + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			if says := firstSentence.MatchString(string(yaml)); says != (missedByUpdated[procedure] != nil) {
				t.Errorf("%s: the description's first sentence says what Updated misses: %v", procedure, says)
			}
		})
	}
}

var firstSentence = regexp.MustCompile(`(?m)^  description: >-\n[^.]*\bUpdated\s+misses\b`)

// fillEveryTable inserts a hostile ledger, and a few rows into every other table,
// whose numbers are all the row's own, so that each knows one of every other table.
func (p practice) fillEveryTable(t *testing.T, db *sql.DB) {
	t.Helper()
	ledger := newHostile(3).rows
	for table, columns := range p.tables {
		rows := ledger[table]
		for n := 1; n <= 3 && len(ledger[table]) == 0; n++ {
			row := map[string]string{}
			for _, c := range columns {
				if c.name != "is_deleted" && (strings.HasSuffix(c.kind, "INT") || c.kind == "DECIMAL") {
					row[c.name] = strconv.Itoa(n)
				}
			}
			rows = append(rows, row)
		}
		for _, row := range rows {
			exec(t, db, p.insert(t, table, row))
		}
	}
}

// tablesOf are the tables that a procedure reads.
func (p practice) tablesOf(t *testing.T, procedure string) []string {
	t.Helper()
	script, err := os.ReadFile("../../pipelines/sql/procedures/" + procedure + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	for _, list := range regexp.MustCompile(`(?:FROM|JOIN) (\w+(?: \w)?(?:, \w+(?: \w)?)*)`).FindAllStringSubmatch(string(script), -1) {
		for _, table := range strings.Split(list[1], ", ") {
			if name, _, _ := strings.Cut(table, " "); p.tables[name] != nil {
				read[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(read))
}

// change is an UPDATE of one column of one row.
type change struct {
	column, statement string
}

// changeDay is when they all happen.
const changeDay = "2030-06-15"

// changes are what may happen to a table's rows: to every column but the key and the
// timestamps, of a few rows.
func (p practice) changes(t *testing.T, db *sql.DB, table string) (out []change) {
	t.Helper()
	columns := p.tables[table]
	key := columns[0].name // as in every table of schema.sql
	var ids []string
	r, err := answer(db, "SELECT "+key+" FROM "+table+" ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.rows {
		ids = append(ids, row[0])
	}
	const most = 5
	for i := 0; i < len(ids); i += 1 + len(ids)/most {
		for _, c := range columns[1:] {
			var values []string
			switch {
			case strings.HasPrefix(c.name, "ts_4_"):
			case c.kind == "VARCHAR":
				values = []string{"'x'"}
			case strings.HasPrefix(c.kind, "DATE"):
				values = []string{"COALESCE(" + c.name + ", '2024-05-05') + INTERVAL 40 DAY"}
			case c.kind == "TINYINT":
				values = []string{"1 - " + c.name}
			default:
				values = []string{"COALESCE(" + c.name + ", 0) + 1", "COALESCE(" + c.name + ", 2) - 1"}
			}
			if c.nullable {
				values = append(values, "NULL")
			}
			for _, v := range values {
				out = append(out, change{c.name, fmt.Sprintf("UPDATE %s SET %s = %s, ts_4_update = '%s 23:59:59' WHERE %s = %s",
					table, c.name, v, changeDay, key, ids[i])})
			}
		}
	}
	return out
}

// trial makes the change and takes it back. shown says whether All showed it, found
// whether Updated brought all that All then showed otherwise than before.
func (c change) trial(t *testing.T, db *sql.DB, procedure, key string, before map[string]string) (shown, found bool) {
	t.Helper()
	exec(t, db, "START TRANSACTION")
	defer exec(t, db, "ROLLBACK")
	exec(t, db, c.statement)
	after := rowsByKey(t, db, "CALL "+procedure+allTime, key)
	if maps.Equal(before, after) {
		return false, true
	}
	updated := rowsByKey(t, db, "CALL "+procedure+"('"+changeDay+"', '"+changeDay+"', 'Updated')", key)
	found = true
	for k := range before {
		if _, still := after[k]; !still {
			found = false
		}
	}
	for k, row := range after {
		if row != before[k] && updated[k] != row {
			found = false
		}
	}
	return true, found
}

// rowsByKey are the rows of an answer, each as one text, by what identifies them.
func rowsByKey(t *testing.T, db *sql.DB, call, key string) map[string]string {
	t.Helper()
	r, err := answer(db, call)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	at := slices.Index(r.columns, key)
	if at < 0 {
		t.Fatalf("%s: no column %s among %v", call, key, r.columns)
	}
	out := map[string]string{}
	for _, row := range r.rows {
		if _, double := out[row[at]]; double {
			t.Fatalf("%s: two rows of %s", call, row[at])
		}
		out[row[at]] = strings.Join(row, "|")
	}
	return out
}
