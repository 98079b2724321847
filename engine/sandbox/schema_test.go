package sandbox

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// column is what schema.sql says of a column.
type column struct {
	name, kind       string
	precision, scale int // of DECIMAL; precision is the length of VARCHAR
	nullable         bool
}

var columnLine = regexp.MustCompile(`(?m)^  (\w+) +([A-Z]+)(?:\((\d+)(?:,(\d+))?\))? +(NOT NULL|NULL),`)

// readSchema reads the tables of schema.sql, in its order.
func readSchema(t testing.TB) (names []string, tables map[string][]column) {
	t.Helper()
	defs, err := ReadDefinitions(practiceSQL)
	if err != nil {
		t.Fatal(err)
	}
	tables = map[string][]column{}
	for _, def := range defs.Tables {
		names = append(names, def.Name)
		for _, m := range columnLine.FindAllStringSubmatch(def.Statement, -1) {
			c := column{name: m[1], kind: m[2], nullable: m[5] == "NULL"}
			c.precision, _ = strconv.Atoi(m[3])
			c.scale, _ = strconv.Atoi(m[4])
			tables[def.Name] = append(tables[def.Name], c)
		}
	}
	return names, tables
}

func TestTablesAreThoseOfTheSchema(t *testing.T) {
	names, schema := readSchema(t)
	tables, err := Tables(Options{Scale: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, table := range tables {
		got = append(got, table.Name)
		var columns []string
		for _, c := range schema[table.Name] {
			columns = append(columns, c.name)
		}
		if !slices.Equal(columns, table.Columns) {
			t.Errorf("%s: schema.sql has columns\n%v, the generator\n%v", table.Name, columns, table.Columns)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("schema.sql has tables\n%v, the generator\n%v", names, got)
	}
}

// alwaysSet are nullable columns that the generator always fills.
var alwaysSet = map[string]bool{
	"patient.address1": true, "patient.postcode": true, "patient.suburb": true, "patient.state": true,
}

// TestValuesFitTheSchema looks at every value of a practice of scale 1: its kind,
// that it fits, that keys rise, and that columns are NULL neither always nor never.
func TestValuesFitTheSchema(t *testing.T) {
	t.Parallel()
	_, schema := readSchema(t)
	tables, err := Tables(Options{Seed: 11})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]Kind{"INT": Int, "BIGINT": Int, "TINYINT": Int, "VARCHAR": Text, "DECIMAL": Decimal, "DATE": Date, "DATETIME": DateTime}
	for _, table := range tables {
		columns := schema[table.Name]
		if table.Rows == 0 {
			t.Errorf("%s has no rows", table.Name)
		}
		nulls, ones := make([]int64, len(columns)), make([]int64, len(columns))
		row := make([]Value, len(columns))
		last := int64(0)
		for n := range table.Rows {
			clear(row)
			table.Row(n, row)
			if row[0].N <= last {
				t.Fatalf("%s row %d: key %d after %d", table.Name, n, row[0].N, last)
			}
			last = row[0].N
			for i, c := range columns {
				v := row[i]
				bad := func(what string) {
					t.Helper()
					t.Fatalf("%s row %d: %s is %+v: %s", table.Name, n, c.name, v, what)
				}
				if v.Kind == Null {
					nulls[i]++
					if !c.nullable {
						bad("NULL")
					}
					continue
				}
				if v.Kind != kinds[c.kind] {
					bad("not of type " + c.kind)
				}
				switch c.kind {
				case "INT":
					if v.N < 0 || v.N > 1<<31-1 {
						bad("out of range")
					}
				case "TINYINT":
					if v.N != 0 && v.N != 1 {
						bad("no flag")
					}
					ones[i] += v.N
				case "VARCHAR":
					if !utf8.ValidString(v.S) || utf8.RuneCountInString(v.S) > c.precision {
						bad("no UTF-8, or too long")
					}
				case "DECIMAL":
					if digits := len(strconv.FormatInt(max(v.N, -v.N), 10)); int(v.Scale) != c.scale || digits > c.precision {
						bad("does not fit")
					}
				case "DATETIME":
					if v.N > practiceNow && c.name != "start_time" && c.name != "end_time" {
						bad("later than the practice's now")
					}
				}
			}
			insert, update := row[len(row)-2], row[len(row)-1]
			if insert.N > update.N {
				t.Fatalf("%s row %d was updated before it was inserted", table.Name, n)
			}
		}
		for i, c := range columns {
			full := c.nullable && nulls[i] == 0
			if (full || nulls[i] == table.Rows) && !alwaysSet[table.Name+"."+c.name] {
				t.Errorf("%s.%s is NULL in %d of %d rows", table.Name, c.name, nulls[i], table.Rows)
			}
			if c.kind == "TINYINT" && (ones[i] == 0 || ones[i] == table.Rows) && !constantFlags[table.Name+"."+c.name] {
				t.Errorf("%s.%s is 1 in %d of %d rows", table.Name, c.name, ones[i], table.Rows)
			}
			if c.name == "is_deleted" && table.Rows > 100 && ones[i] > table.Rows/10 {
				t.Errorf("%s: %d of %d rows are deleted", table.Name, ones[i], table.Rows)
			}
		}
	}
}

// constantFlags are flags that do not vary in a list.
var constantFlags = map[string]bool{"fee_level.is_active": true, "fee_level.is_deleted": true}

// references says which table a column points to. Columns named with a table apply
// to that one only.
var references = map[string]string{
	"patient_id": "patient", "family_head_id": "patient", "patient_head_id": "patient", "send_acc_to_pat_id": "patient",
	"practitioner_id": "practitioner", "location_id": "location", "new_patient_location_id": "location",
	"practitioner_location_id": "location", "invoice_location_id": "location", "receipt_location_id": "location",
	"referral_source_id": "referral_source", "health_fund_id": "health_fund", "fee_level_id": "fee_level",
	"appointment_id": "appointment", "next_appointment_id": "appointment", "appointment_book_id": "appointment_book",
	"cancellation_reason_id": "cancellation_reason", "recall_type_id": "recall_type", "recall_set_id": "recall_set",
	"invoice_id": "invoice", "reverses_invoice_id": "invoice", "plan_id": "treatment_plan", "third_party_id": "third_party",
	"account_payment_plan_id": "account_payment_plan", "receipt_id": "receipt", "reverses_receipt_id": "receipt",
	"receipt_installment_id": "invoice_instalment", "payment_type_id": "payment_type",
	"reverses_allocation_id": "payment_allocation", "reverses_deposit_id": "deposit", "refunds_deposit_id": "deposit",
	"reverses_discount_id": "discount", "expense_category_id": "expense_category", "item_category_id": "item_category",
	"parent_category_id": "item_category", "user_role_id": "user_role", "user_id": "practice_user",
}

// byText are references by a code.
var byText = map[string][2]string{
	"item_code": {"item", "item_code"}, "appointment_type_code": {"appointment_type", "appointment_type_code"},
}

func TestEveryKeyPointsAtARow(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{Seed: 1, Patients: 400, Appointments: 4_000}, {Seed: 2, Patients: 1, Appointments: 1}, {Seed: 3, Patients: 1, Appointments: 900},
		{Seed: 4, Patients: 3_001, Appointments: 77}, {Seed: 5, Patients: 9, Appointments: 3_333}, {Seed: 6, Patients: 3_200, Appointments: 2_000},
	} {
		all := practice(t, o)
		keys, codes := map[string]map[int64]bool{}, map[string]map[string]bool{}
		tables, _ := Tables(o)
		for _, table := range tables {
			keys[table.Name] = map[int64]bool{}
			for _, row := range all[table.Name] {
				keys[table.Name][row[table.Columns[0]].N] = true
			}
		}
		for _, target := range byText {
			codes[target[0]] = map[string]bool{}
			for _, row := range all[target[0]] {
				code := row[target[1]].S
				if codes[target[0]][code] {
					t.Fatalf("%s %s comes twice", target[0], code)
				}
				codes[target[0]][code] = true
			}
		}
		for _, table := range tables {
			for i, name := range table.Columns {
				if target, ok := byText[name]; ok {
					for _, row := range all[table.Name] {
						if v := row[name]; v.Kind != Null && !codes[target[0]][v.S] {
							t.Fatalf("%+v: %s.%s %q is no %s: %v", o, table.Name, name, v.S, target[0], row)
						}
					}
				}
				if i == 0 || !strings.HasSuffix(name, "_id") {
					continue
				}
				target, ok := references[name]
				if !ok {
					t.Fatalf("%s.%s: the test does not know what it points to", table.Name, name)
				}
				for _, row := range all[table.Name] {
					if v := row[name]; v.Kind != Null && !keys[target][v.N] {
						t.Fatalf("%+v: %s.%s %d is no %s: %v", o, table.Name, name, v.N, target, row)
					}
				}
			}
		}
	}
}
