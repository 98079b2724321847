//go:build gms_pure_go

package sandbox_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// volume is the number of rows of each table in the index test.
const volume = 10_000

// spread is an INSERT of as many rows: every key is the row's number, so that rows
// of different tables belong together; every date moves on by a day in five rows.
// Columns that are said otherwise have that value.
func (p practice) spread(table string, otherwise map[string]string) string {
	var names, values []string
	for _, c := range p.tables[table] {
		value := "0"
		if v, said := otherwise[c.name]; said {
			value = v
		} else if strings.HasSuffix(c.name, "_id") && !strings.HasPrefix(c.name, "reverses_") {
			value = "seq"
		} else if c.nullable && !strings.HasPrefix(c.kind, "DATE") {
			value = "NULL"
		} else if c.kind == "DATE" {
			value = "'2020-01-01' + INTERVAL seq DIV 5 DAY"
		} else if c.kind == "DATETIME" {
			value = "'2020-01-01 12:00:00' + INTERVAL seq DIV 5 DAY"
		} else if c.kind == "VARCHAR" {
			value = "''"
		} else if strings.HasPrefix(c.name, "reverses_") {
			value = "NULL"
		}
		names, values = append(names, c.name), append(values, value)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM numbers", table, strings.Join(names, ", "), strings.Join(values, ", "))
}

// numbers makes the table numbers: seq, from 1 to volume.
func numbers() []string {
	const digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
	return []string{
		"CREATE TABLE numbers (seq INT NOT NULL PRIMARY KEY)",
		fmt.Sprintf("INSERT INTO numbers SELECT n.seq FROM (SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS seq FROM %s a, %[1]s b, %[1]s c, %[1]s e) n WHERE n.seq <= %d", digits, volume),
	}
}

func TestProceduresUseTheDateIndexes(t *testing.T) {
	t.Parallel()
	testIndexes(t, readPractice(t), dbtest.MariaDB(t))
}

// testIndexes counts how many rows the server reads for a narrow range, also one
// that is open: in proportion to what is in it, not to the tables.
func testIndexes(t *testing.T, p practice, s server) {
	db := p.in(t, s, "DEFAULT")
	for _, statement := range numbers() {
		exec(t, db, statement)
	}
	var tables []string
	for table := range p.tables {
		otherwise := map[string]string{"reversal": "0", "amount": "1", "involvement": "100", "instalment_number": "1"}
		switch table { // the first ten invoices and the last hundred are owing; one in fifty of the others reverses the one before it
		case "invoice":
			otherwise["reversal"], otherwise["reverses_invoice_id"] = "seq % 50 = 0", "IF(seq % 50 = 0, seq - 1, NULL)"
			otherwise["amount"] = "IF(seq % 50 = 0, -1, 1)"
		case "payment_allocation":
			otherwise["amount"] = fmt.Sprintf("IF(seq <= 10 OR seq > %d OR seq %% 50 IN (0, 49), 0, 1)", volume-100)
		case "discount":
			otherwise["amount"] = "0"
		}
		exec(t, db, p.spread(table, otherwise))
		tables = append(tables, table)
	}
	if _, err := answer(db, "ANALYZE TABLE "+strings.Join(tables, ", ")); err != nil {
		t.Fatal(err)
	}
	// Reading one row of each joined table is one read, and so is writing down a key
	// and reading it again. Beside that, whole may be read: the ledger, several times,
	// for what is owed at its end.
	check := func(procedure, arguments string, perRow, whole int) {
		t.Helper()
		exec(t, db, "FLUSH STATUS")
		rows := len(rowsOf(t, db, "CALL "+procedure+"("+arguments+")").rows)
		status, err := answer(db, "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_key', 'Handler_read_next', 'Handler_read_rnd_next', 'Handler_read_prev')")
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for _, counter := range status.rows {
			n, err := strconv.Atoi(counter[1])
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		if rows == 0 || read > perRow*rows+whole+50 {
			t.Errorf("%s(%s): %d rows were read for an answer of %d", procedure, arguments, read, rows)
		}
	}
	for procedure := range datedProcedures {
		for _, modifier := range []string{"All", "Created", "Updated"} {
			perRow := 4
			switch procedure { // those that choose keys first, for Updated by every table whose values they show
			case "recalls", "appointment_cancellations", "treatment_plans":
				perRow = 10
			case "financials":
				perRow = 20
				if modifier == "Updated" {
					perRow = 50
				}
			case "patient_lifetime_value":
				perRow = 65
			}
			for _, days := range []string{"'2024-05-06', '2024-05-08'", "'2025-06-21', NULL", "NULL, '2020-01-03'", "'2025-06-21', '9999-12-31'"} {
				check(procedure, days+", '"+modifier+"'", perRow, 0)
			}
		}
	}
	for _, procedure := range []string{"debtors", "debtors_detailed"} {
		check(procedure, "'2020-01-02', '2025-12-31', '9999-12-31'", 80, 0)
		check(procedure, "'2025-12-31', '2025-12-31', '9999-12-31'", 80, 16*3*volume)
	}
}
