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
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM seq_1_to_%d", table, strings.Join(names, ", "), strings.Join(values, ", "), volume)
}

// TestProceduresUseTheDateIndexes counts how many rows MariaDB reads for a narrow
// range: in proportion to what is in it, not to the tables.
func TestProceduresUseTheDateIndexes(t *testing.T) {
	p := readPractice(t)
	s := dbtest.MariaDB(t)
	for _, statement := range p.statements {
		exec(t, open(t, s.DSN(s.Database())), statement)
	}
	script := ""
	var tables []string
	for table := range p.tables {
		otherwise := map[string]string{"reversal": "0", "amount": "1", "involvement": "100", "instalment_number": "1"}
		if table == "invoice" { // one in fifty reverses the one before it; all but the last hundred are settled in a month
			otherwise["reversal"], otherwise["reverses_invoice_id"] = "seq % 50 = 0", "IF(seq % 50 = 0, seq - 1, NULL)"
			otherwise["date_settled"] = fmt.Sprintf("IF(seq > %d, NULL, '2020-01-30' + INTERVAL seq DIV 5 DAY)", volume-100)
		}
		if table == "payment_allocation" || table == "discount" {
			otherwise["amount"] = "0"
		}
		script += p.spread(table, otherwise) + ";\n"
		tables = append(tables, table)
	}
	s.Exec("SET unique_checks = 0;\n" + script + "ANALYZE TABLE " + strings.Join(tables, ", "))
	// Reading one row of each joined table is one read; debtors read an invoice's
	// rows in several parts.
	check := func(procedure, arguments string, perRow int) {
		t.Helper()
		out := s.Query(fmt.Sprintf("FLUSH STATUS; CALL %s(%s); SELECT 'read', SUM(VARIABLE_VALUE) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN ('Handler_read_key', 'Handler_read_next', 'Handler_read_rnd_next', 'Handler_read_prev')", procedure, arguments))
		lines := strings.Split(strings.TrimSpace(out), "\n")
		rows := len(lines) - 1
		_, last, _ := strings.Cut(lines[rows], "\t")
		read, err := strconv.ParseFloat(strings.TrimSpace(last), 64)
		if err != nil {
			t.Fatalf("%v in %q", err, lines[rows])
		}
		if rows == 0 || int(read) > perRow*rows+50 {
			t.Errorf("%s(%s): %d rows were read for an answer of %d", procedure, arguments, int(read), rows)
		}
	}
	for procedure := range datedProcedures {
		for _, modifier := range []string{"All", "Created", "Updated"} {
			perRow := 4
			switch procedure {
			case "financials":
				perRow = 10
			case "patient_lifetime_value":
				perRow = 25
			}
			check(procedure, "'2024-05-06', '2024-05-08', '"+modifier+"'", perRow)
		}
	}
	for _, procedure := range []string{"debtors", "debtors_detailed"} { // and what reverses invoices, once
		check(procedure, "'2025-12-31', '2025-12-31', '9999-12-31'", 60)
	}
}
