package mysql

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// shelf is a catalogue in memory.
type shelf struct {
	fold  bool
	order []string
	infos map[string]tableInfo
	calls map[string][]parameterInfo
	asked []string // names that were asked about
}

func (s *shelf) foldsTables() bool { return s.fold }

func (s *shelf) tables(visit func(string)) error {
	for _, name := range s.order {
		visit(name)
	}
	return nil
}

func (s *shelf) table(name string) (tableInfo, error) {
	s.asked = append(s.asked, name)
	info, ok := s.infos[name]
	if !ok {
		return info, fmt.Errorf("asked about %q", name)
	}
	return info, nil
}

func (s *shelf) procedures(visit func(string)) error {
	for name := range s.calls {
		visit(name)
	}
	return nil
}

func (s *shelf) parameters(procedure string) ([]parameterInfo, bool, error) {
	s.asked = append(s.asked, procedure)
	list, ok := s.calls[procedure]
	if !ok {
		return nil, false, fmt.Errorf("asked about %q", procedure)
	}
	return list, true, nil
}

// strange is a name that every sloppy quoting stumbles over.
const strange = "a`b``?'\"\\ -- /*x*/;é"

func practice() *shelf {
	stamps := []columnInfo{{name: "ts_4_insert", dataType: "timestamp"}, {name: "ts_4_update", dataType: "datetime"}}
	return &shelf{
		order: []string{"invoice", "invoices_old", "payroll", "Mixed", "mixed", strange, "bare", "heap"},
		infos: map[string]tableInfo{
			"invoice": {
				columns: append([]columnInfo{{name: "invoice_id", dataType: "int"}, {name: "Amount", dataType: "decimal"},
					{name: "invoice_date", dataType: "date"}, {name: "due", dataType: "datetime"}, {name: "secret", dataType: "int", invisible: true}}, stamps...),
				clustered: []string{"invoice_id"}, indexed: map[string]bool{"invoice_id": true, "invoice_date": true},
			},
			"invoices_old": {columns: []columnInfo{{name: "id", dataType: "int"}}},
			"payroll":      {columns: []columnInfo{{name: "salary", dataType: "int"}}},
			"Mixed":        {columns: []columnInfo{{name: "upper", dataType: "int"}}},
			"mixed":        {columns: []columnInfo{{name: "lower", dataType: "int"}}},
			strange:        {columns: []columnInfo{{name: strange, dataType: "datetime"}}, clustered: []string{strange}, indexed: map[string]bool{}},
			"bare":         {columns: []columnInfo{{name: "id", dataType: "int"}, {name: "ts_4_insert", dataType: "varchar"}}},
			"heap":         {columns: stamps},
		},
		calls: map[string][]parameterInfo{
			"Totals":      {{"p_from", "IN", "date"}, {"p_word", "IN", "varchar(5)"}, {"p_n", "IN", "tinyint(4)"}},
			"nothing":     {},
			"gives_back":  {{"p", "OUT", "int(11)"}},
			"both_ways":   {{"p", "INOUT", "int(11)"}},
			"payroll_run": {},
			strange:       {},
		},
	}
}

// write makes the statement of a request on the practice's catalogue.
func write(r Request) (statement, error) {
	checked, err := r.check()
	if err != nil {
		return statement{}, err
	}
	return checked.statement(practice())
}

func TestRequestBecomesStatement(t *testing.T) {
	const columns = "SELECT `invoice_id`, `Amount`, `invoice_date`, `due`, `ts_4_insert`, `ts_4_update` FROM `invoice`"
	for _, c := range []struct {
		name    string
		request Request
		query   string
		args    []any
	}{
		{"a whole table", Request{TableName: "invoice"}, columns + " ORDER BY `invoice_id`", nil},
		{"columns in the order wanted, invisible ones too", Request{TableName: "invoice", Columns: "secret, AMOUNT ,invoice_id"},
			"SELECT `secret`, `Amount`, `invoice_id` FROM `invoice` ORDER BY `invoice_id`", nil},
		{"a range on an indexed column has no order", Request{TableName: "invoice", DateColumn: "INVOICE_DATE", FromDate: "2024-02-28", ToDate: "2024-02-29"},
			columns + " WHERE `invoice_date` >= ? AND `invoice_date` < ?", []any{"2024-02-28", "2024-03-01"}},
		{"a range on another column", Request{TableName: "invoice", DateColumn: "due", FromDate: "2024-12-31"},
			columns + " WHERE `due` >= ? ORDER BY `invoice_id`", []any{"2024-12-31"}},
		{"an end only", Request{TableName: "invoice", DateColumn: "due", ToDate: "2024-12-31"},
			columns + " WHERE `due` < ? ORDER BY `invoice_id`", []any{"2025-01-01"}},
		{"the last day of all", Request{TableName: "invoice", DateColumn: "due", FromDate: "9999-12-31", ToDate: "9999-12-31"},
			columns + " WHERE `due` >= ? ORDER BY `invoice_id`", []any{"9999-12-31"}},
		{"the last day of all, without a beginning", Request{TableName: "invoice", DateColumn: "due", ToDate: "9999-12-31"}, columns + " ORDER BY `invoice_id`", nil},
		{"a date column without a range", Request{TableName: "invoice", DateColumn: "due"}, columns + " ORDER BY `invoice_id`", nil},
		{"created", Request{TableName: "invoice", DateModifier: "Created", FromDate: "2024-01-01"},
			columns + " WHERE `ts_4_insert` >= ? ORDER BY `invoice_id`", []any{"2024-01-01"}},
		{"updated, whatever date_column says", Request{TableName: "invoice", DateModifier: "Updated", DateColumn: "due", ToDate: "2023-12-31"},
			columns + " WHERE `ts_4_update` < ? ORDER BY `invoice_id`", []any{"2024-01-01"}},
		{"created without a range", Request{TableName: "heap", DateModifier: "Created"}, "SELECT `ts_4_insert`, `ts_4_update` FROM `heap`", nil},
		{"the exact name wins", Request{TableName: "mixed"}, "SELECT `lower` FROM `mixed`", nil},
		{"a strange name", Request{TableName: strange, DateColumn: strange, ToDate: "2024-01-01"},
			"SELECT `a``b````?'\"\\ -- /*x*/;é` FROM `a``b````?'\"\\ -- /*x*/;é` WHERE `a``b````?'\"\\ -- /*x*/;é` < ? ORDER BY `a``b````?'\"\\ -- /*x*/;é`", []any{"2024-01-02"}},
		{"a call", Request{ProcedureName: "totals", Arguments: `["2024-01-31", "O'H", null]`}, "CALL `Totals`(?, ?, ?)", []any{"2024-01-31", "O'H", nil}},
		{"a call without arguments", Request{ProcedureName: "nothing"}, "CALL `nothing`()", []any{}},
		{"a call with no arguments", Request{ProcedureName: "nothing", Arguments: " []"}, "CALL `nothing`()", []any{}},
		{"an OUT parameter", Request{ProcedureName: "gives_back"}, "CALL `gives_back`(@cipherstream_1)", []any{}},
		{"an INOUT parameter", Request{ProcedureName: "both_ways", Arguments: "[1]"}, "CALL `both_ways`(@cipherstream_1)", []any{}},
		{"a strange call", Request{ProcedureName: strange}, "CALL `a``b````?'\"\\ -- /*x*/;é`()", []any{}},
	} {
		if c.request.DateModifier == "" {
			c.request.DateModifier = "All"
		}
		c.request.AllowedTables, c.request.AllowedProcedures = "*", "*"
		got, err := write(c.request)
		if err != nil || got.query != c.query || !reflect.DeepEqual(got.args, c.args) {
			t.Errorf("%s: %q %v, %v\nwant %q %v", c.name, got.query, got.args, err, c.query, c.args)
		}
	}
}

func TestRequestIsRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		request   Request
		code      string
		parameter string
		says      string // in the message or the hint
	}{
		{"nothing", Request{}, codeRequest, "table_name", "neither"},
		{"both", Request{TableName: "invoice", ProcedureName: "nothing"}, codeRequest, "procedure_name", "both"},
		{"not text", Request{TableName: true}, codeRequest, "table_name", "text"},
		{"an empty name", Request{TableName: ""}, codeTableNotAvailable, "table_name", "empty"},
		{"a name that is nearly right", Request{TableName: "invoce"}, codeTableNotAvailable, "table_name", `did you mean "invoice"?`},
		{"another case", Request{TableName: "INVOICE"}, codeTableNotAvailable, "table_name", `did you mean "invoice"?`},
		{"a look-alike", Request{TableName: "invоice"}, codeTableNotAvailable, "table_name", "invоice"},
		{"a look-alike that folds to a letter", Request{TableName: "invoiceſ"}, codeTableNotAvailable, "table_name", "invoice"},
		{"a space at the end", Request{TableName: "invoice "}, codeTableNotAvailable, "table_name", "invoice"},
		{"a database", Request{TableName: "mysql.user"}, codeTableNotAvailable, "table_name", "mysql.user"},
		{"two statements", Request{TableName: "invoice; DROP TABLE invoice"}, codeTableNotAvailable, "table_name", "DROP"},
		{"a backtick", Request{TableName: "invoice`"}, codeTableNotAvailable, "table_name", "invoice`"},
		{"a comment", Request{TableName: "invoice/**/"}, codeTableNotAvailable, "table_name", "invoice"},
		{"NUL", Request{TableName: "invoice\x00"}, codeTableNotAvailable, "table_name", `\x00`},
		{"a long name", Request{TableName: strings.Repeat("x", 1<<16)}, codeTableNotAvailable, "table_name", strings.Repeat("x", 64) + `"…`},
		{"a pattern", Request{TableName: "inv*"}, codeTableNotAvailable, "table_name", "inv*"},
		{"a table's column", Request{TableName: "invoice", Columns: "invoice_id,amuont"}, codeUnknownColumn, "columns", `did you mean "Amount"?`},
		{"an expression", Request{TableName: "invoice", Columns: "SLEEP(1)"}, codeUnknownColumn, "columns", "SLEEP(1)"},
		{"all columns", Request{TableName: "invoice", Columns: "*"}, codeUnknownColumn, "columns", `"*"`},
		{"a column twice", Request{TableName: "invoice", Columns: "amount,invoice_id,AMOUNT"}, codeUnknownColumn, "columns", "twice"},
		{"no column", Request{TableName: "invoice", Columns: ""}, codeUnknownColumn, "columns", "missing"},
		{"a comma too many", Request{TableName: "invoice", Columns: "amount,"}, codeUnknownColumn, "columns", "missing"},
		{"a range without a column", Request{TableName: "invoice", ToDate: "2024-01-01"}, codeDateColumn, "date_column", "Created"},
		{"an empty date column", Request{TableName: "invoice", DateColumn: ""}, codeDateColumn, "date_column", "empty"},
		{"no such date column", Request{TableName: "invoice", DateColumn: "invoice_dat", ToDate: "2024-01-01"}, codeDateColumn, "date_column", `"invoice_date"`},
		{"a date column that is none", Request{TableName: "invoice", DateColumn: "amount"}, codeDateColumn, "date_column", "decimal"},
		{"no timestamps", Request{TableName: "invoices_old", DateModifier: "Created"}, codeDateColumn, "date_modifier", "ts_4_insert"},
		{"a timestamp that is text", Request{TableName: "bare", DateModifier: "Created", FromDate: "2024-01-01"}, codeDateColumn, "date_modifier", "ts_4_insert"},
		{"upside down", Request{TableName: "invoice", DateColumn: "due", FromDate: "2024-01-02", ToDate: "2024-01-01"}, codeDateRange, "to_date", "before"},
		{"no such day", Request{TableName: "invoice", DateColumn: "due", FromDate: "2023-02-29"}, codeDateRange, "from_date", "2023-02-29"},
		{"an empty day", Request{TableName: "invoice", DateColumn: "due", ToDate: ""}, codeDateRange, "to_date", "YYYY-MM-DD"},
		{"a day and more", Request{TableName: "invoice", DateColumn: "due", ToDate: "2023-02-01' OR '1'='1"}, codeDateRange, "to_date", "YYYY-MM-DD"},
		{"arguments for a table", Request{TableName: "invoice", Arguments: "[]"}, codeRequest, "arguments", "procedure"},
		{"columns of a call", Request{ProcedureName: "nothing", Columns: "a"}, codeRequest, "columns", "procedure"},
		{"a range of a call", Request{ProcedureName: "nothing", FromDate: "2024-01-01"}, codeRequest, "from_date", "procedure"},
		{"a modifier of a call", Request{ProcedureName: "nothing", DateModifier: "Created"}, codeRequest, "date_modifier", "procedure"},
		{"an unknown procedure", Request{ProcedureName: "nothin"}, codeProcedureNotAvailable, "procedure_name", `did you mean "nothing"?`},
		{"a call and more", Request{ProcedureName: "nothing(); DROP TABLE invoice"}, codeProcedureNotAvailable, "procedure_name", "DROP"},
		{"an argument for an OUT parameter", Request{ProcedureName: "gives_back", Arguments: "[1]"}, codeArgumentCount, "arguments", "takes none"},
		{"none for an INOUT parameter", Request{ProcedureName: "both_ways"}, codeArgumentCount, "arguments", "p int(11)"},
		{"too few arguments", Request{ProcedureName: "Totals"}, codeArgumentCount, "arguments", "p_from date, p_word varchar(5), p_n tinyint(4)"},
		{"too many arguments", Request{ProcedureName: "nothing", Arguments: "[null]"}, codeArgumentCount, "arguments", "none"},
		{"an argument of another type", Request{ProcedureName: "Totals", Arguments: `["2024-01-31", 7, 1]`}, codeArgument, "arguments", "argument 2 (p_word varchar(5)): expected a text"},
		{"an argument that is too large", Request{ProcedureName: "Totals", Arguments: `["2024-01-31", "x", 128]`}, codeArgument, "arguments", "from -128 to 127"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.request.DateModifier == "" {
				c.request.DateModifier = "All"
			}
			c.request.AllowedTables, c.request.AllowedProcedures = "*", "*"
			_, err := write(c.request)
			f := wantFault(t, err, c.code)
			if f.Class != fault.Usage || f.Details["parameter"] != c.parameter || f.Hint == "" && c.code != codeRequest || !strings.HasPrefix(f.Message, c.parameter+": ") {
				t.Errorf("fault %+v", f)
			}
			if !strings.Contains(f.Message+" "+f.Hint, c.says) || len(f.Message) > 1000 || strings.ContainsAny(f.Message+f.Hint, "\x00\n\u202e") {
				t.Errorf("message %q, hint %q", f.Message, f.Hint)
			}
		})
	}
}

// A name that is not allowed cannot be told from one that does not exist, and is
// never suggested.
func TestNotAllowedLooksLikeNotThere(t *testing.T) {
	for _, c := range []struct{ tables, procedures string }{{"", ""}, {"invoice*", "Totals"}, {" invoice , m* ", "t*, nothing"}} {
		answer := func(table, procedure string) string {
			r := Request{AllowedTables: c.tables, AllowedProcedures: c.procedures, DateModifier: "All"}
			if r.TableName = table; table == "" {
				r.TableName, r.ProcedureName = nil, procedure
			}
			checked, err := r.check()
			if err != nil {
				t.Fatal(err)
			}
			s := practice()
			_, err = checked.statement(s)
			var f *fault.Fault
			if !errors.As(err, &f) || len(s.asked) > 0 {
				t.Fatalf("%s%s: %v, after asking about %v", table, procedure, err, s.asked)
			}
			return strings.NewReplacer(table+procedure, "NAME").Replace(fmt.Sprint(f.Code, f.Message, f.Hint, f.Details))
		}
		if there, not := answer("payroll", ""), answer("pay_day", ""); there != not || strings.Contains(there, "payroll") {
			t.Errorf("%q\n%q", there, not)
		}
		if there, not := answer("", "payroll_run"), answer("", "payroll_ram"); there != not || strings.Contains(there, "payroll") {
			t.Errorf("%q\n%q", there, not)
		}
	}
}

func TestAllowList(t *testing.T) {
	for _, c := range []struct {
		list, name string
		fold, want bool
	}{
		{"*", "x", false, true}, {"", "x", false, false}, {",", "", false, false}, {"x", "x", false, true}, {"x", "xy", false, false},
		{"x", "X", false, false}, {"x", "X", true, true}, {"a*", "ab", false, true}, {"a*", "ba", false, false}, {"*a", "ba", false, true},
		{"a*a", "a", false, false}, {"a*a", "aa", false, true}, {"a*b*c", "axbxbxc", false, true}, {"a*b*c", "axcxb", false, false},
		{"*b*", "abc", false, true}, {"**", "", false, true}, {"y, x ", "x", false, true}, {"a.c", "abc", false, false}, {"a?c", "abc", false, false},
		{"\u212a", "k", true, false}, {"*_old,x", "a_old", false, true}, {"a*", "A", true, true},
	} {
		if got := parseAllowList(c.list).allows(c.name, c.fold); got != c.want {
			t.Errorf("%q allows %q (fold %v): %v", c.list, c.name, c.fold, got)
		}
	}
}

func TestSimilarNames(t *testing.T) {
	s := similarTo("apointment")
	for _, name := range []string{"invoice", "appointments", "appointment", "appointment_log", "Apointment", "disappointment"} {
		s.offer(name)
	}
	if want := []string{"Apointment", "appointment", "appointments"}; !slices.Equal(s.best, want) {
		t.Errorf("%q, want %q", s.best, want)
	}
}

// With lower_case_table_names 1 and 2, the case of tables does not matter.
func TestTablesWithoutCase(t *testing.T) {
	checked, err := (&Request{TableName: "INVOICE", AllowedTables: "Inv*", DateModifier: "All", Columns: "amount"}).check()
	if err != nil {
		t.Fatal(err)
	}
	s := practice()
	s.fold = true
	if got, err := checked.statement(s); err != nil || got.query != "SELECT `Amount` FROM `invoice` ORDER BY `invoice_id`" {
		t.Errorf("%q, %v", got.query, err)
	}
}

// FuzzRequest: whatever is asked for, the query holds nothing but the key words,
// question marks, and quoted names that are in the catalogue, and as many arguments
// as question marks.
func FuzzRequest(f *testing.F) {
	f.Add("invoice", "", "", "amount,secret", "due", "2024-01-01", "2024-01-31", "All", "*")
	f.Add("", "totals", `["2024-01-31","'; DROP TABLE x",-1]`, "", "", "", "", "All", "T*")
	f.Add(strange, "", "", strange, strange, "0001-01-01", "9999-12-31", "All", "a*é,b")
	f.Add("invoice` WHERE 1=1 -- ", "", "", "`", "due`", "2024-01-01", "", "Created", "*")
	f.Add("heap", "", "", "", "", "", "2024-02-29", "Updated", "*")
	f.Fuzz(func(t *testing.T, table, procedure, arguments, columns, date, from, to, modifier, allowed string) {
		if !slices.Contains([]string{modifierAll, modifierCreated, modifierUpdated}, modifier) {
			return // the reader of settings takes no other
		}
		given := func(text string) config.Value {
			if text == "" {
				return nil
			}
			return text
		}
		r := Request{TableName: given(table), ProcedureName: given(procedure), Arguments: given(arguments), Columns: given(columns),
			DateColumn: given(date), FromDate: given(from), ToDate: given(to), DateModifier: modifier, AllowedTables: allowed, AllowedProcedures: allowed}
		got, err := write(r)
		var coded *fault.Fault
		if err != nil {
			if !errors.As(err, &coded) || coded.Class != fault.Usage || coded.Details["parameter"] == "" {
				t.Fatalf("not a coded refusal: %v", err)
			}
			return
		}
		if problem := suspicious(got); problem != "" {
			t.Fatalf("%s: %q", problem, got.query)
		}
	})
}

// suspicious says what is in a statement that should not be.
func suspicious(s statement) string {
	known := map[string]bool{}
	c := practice()
	for name, info := range c.infos {
		known[name] = true
		for _, column := range info.columns {
			known[column.name] = true
		}
	}
	for name := range c.calls {
		known[name] = true
	}
	marks, rest, query := 0, "", s.query
	for query != "" {
		if query[0] != '`' {
			if query[0] == '?' {
				marks++
			}
			rest += query[:1]
			query = query[1:]
			continue
		}
		var name strings.Builder
		query = query[1:]
		for {
			end := strings.IndexByte(query, '`')
			if end < 0 {
				return "a name has no end"
			}
			name.WriteString(query[:end])
			if query = query[end+1:]; !strings.HasPrefix(query, "`") {
				break
			}
			name.WriteByte('`')
			query = query[1:]
		}
		if !known[name.String()] {
			return fmt.Sprintf("%q is not in the catalogue", name.String())
		}
		rest += "NAME"
	}
	if marks != len(s.args) {
		return "question marks and arguments differ in number"
	}
	for _, word := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(" ,()", r) }) {
		if !slices.Contains([]string{"SELECT", "FROM", "WHERE", "AND", "ORDER", "BY", "CALL", "NAME", "?", ">=", "<"}, word) && !strings.HasPrefix(word, "@cipherstream_") {
			return fmt.Sprintf("%q is no key word", word)
		}
	}
	return ""
}
