package mysql

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Request is what somebody asks for who may not write SQL: a table by name, or a
// call. Nothing in it reaches the text of a statement. Names are looked up among
// those that are allowed and that the database has, and the database's own
// spelling of them is quoted; values are bound.
//
// Members are named like the parameters of a request, so that a fault's detail
// "parameter" says which one is wrong. A member that is null was not given.
type Request struct {
	TableName     config.Value `config:"table_name" doc:"Table or view to read, of the connection's own database. Either table_name or procedure_name is given. Rows come in the order of the primary key where that costs nothing: on InnoDB, unless an index on the date picks them. Otherwise their order is the server's."`
	ProcedureName config.Value `config:"procedure_name" doc:"Procedure to call, of the connection's own database."`
	Arguments     config.Value `config:"arguments" doc:"Arguments of the call in order, as text that is a JSON array of texts, numbers, booleans and nulls. One for every IN and INOUT parameter, of its type; bytes are base64. OUT parameters take none."`
	OutParameters bool         `config:"out_parameters" doc:"Deliver what the OUT and INOUT parameters hold after the call, as one row, whatever result sets the procedure gives; the same as result_set: out."`
	Columns       config.Value `config:"columns" doc:"Names of the table's columns to read, with commas between, or as a JSON array of texts, in the order wanted. Default: all that are visible; those that are not are counted as columns_invisible, and a column that the account may not read fails the run."`
	DateColumn    config.Value `config:"date_column" doc:"The DATE, DATETIME or TIMESTAMP column on which date_modifier All keeps the range."`
	FromDate      config.Value `config:"from_date" doc:"First day of the range, YYYY-MM-DD."`
	ToDate        config.Value `config:"to_date" doc:"Last day of the range, YYYY-MM-DD, to its last instant. For a TIMESTAMP column a day is one of the session's time zone."`
	DateModifier  string       `config:"date_modifier" enum:"All,Created,Updated" default:"All" doc:"What the range is about: date_column, ts_4_insert or ts_4_update."`

	AllowedTables     string `config:"allowed_tables" doc:"Tables and views that may be asked for: names with commas between, where * stands for any characters. Empty means none."`
	AllowedProcedures string `config:"allowed_procedures" doc:"Procedures that may be asked for, likewise. What a procedure reads, and whether it writes, is its own affair: allow those that are meant for it."`
}

// The values of date_modifier, and the columns that they stand for.
const (
	modifierAll     = "All"
	modifierCreated = "Created"
	modifierUpdated = "Updated"

	createdColumn = "ts_4_insert"
	updatedColumn = "ts_4_update"
)

// given reports whether the setting request is used at all.
func (r *Request) given() bool {
	return *r != Request{DateModifier: r.DateModifier}
}

// checkedRequest is a request without contradictions. What it names may not exist, or not be allowed.
type checkedRequest struct {
	table, procedure           string // one of them is not empty
	allowedTables, allowedCall allowList

	args []any // nil, bool, string or json.Number

	columns    []string // nil means all
	dateColumn string   // empty means none
	modifier   string
	from       string // first day; empty means no bound
	until      string // day after the last one; empty means no bound

	cursor *cursor // nil where the pipeline keeps no state
}

// check checks what can be checked without a server.
func (r *Request) check() (*checkedRequest, error) {
	checked := &checkedRequest{modifier: r.DateModifier, allowedTables: parseAllowList(r.AllowedTables),
		allowedCall: parseAllowList(r.AllowedProcedures)}
	for _, field := range []struct {
		name  string
		value config.Value
	}{
		{"table_name", r.TableName}, {"procedure_name", r.ProcedureName}, {"arguments", r.Arguments}, {"columns", r.Columns},
		{"date_column", r.DateColumn}, {"from_date", r.FromDate}, {"to_date", r.ToDate},
	} {
		if _, isText := field.value.(string); !isText && field.value != nil {
			return nil, requestFault(codeRequest, field.name, "expected text, not a %T", field.value)
		}
	}
	switch {
	case r.TableName == nil && r.ProcedureName == nil:
		return nil, requestFault(codeRequest, "table_name", "neither table_name nor procedure_name is given").
			WithHint("name a table with table_name, or a procedure with procedure_name")
	case r.TableName != nil && r.ProcedureName != nil:
		return nil, requestFault(codeRequest, "procedure_name", "both table_name and procedure_name are given").
			WithHint("give the one that is meant")
	case r.ProcedureName != nil:
		return checked, r.checkCall(checked)
	}
	return checked, r.checkTable(checked)
}

func (r *Request) checkCall(checked *checkedRequest) (err error) {
	for _, other := range []struct {
		name  string
		given bool
	}{
		{"columns", r.Columns != nil}, {"date_column", r.DateColumn != nil}, {"from_date", r.FromDate != nil},
		{"to_date", r.ToDate != nil}, {"date_modifier", r.DateModifier != modifierAll},
	} {
		if other.given {
			return requestFault(codeRequest, other.name,
				"it is about the rows of a table, and a procedure is to be called").
				WithHint("leave it out, and give the procedure what it needs as arguments")
		}
	}
	if checked.procedure, err = givenName("procedure_name", codeProcedureNotAvailable, r.ProcedureName); err == nil && r.Arguments != nil {
		checked.args, err = parseArguments(r.Arguments.(string))
	}
	return err
}

func (r *Request) checkTable(checked *checkedRequest) (err error) {
	if r.OutParameters {
		return requestFault(codeRequest, "out_parameters", "a procedure has OUT parameters, and a table is asked for").
			WithHint("leave it out, or give procedure_name instead of table_name")
	}
	if r.Arguments != nil {
		return requestFault(codeRequest, "arguments", "arguments are for a procedure, and a table is asked for").
			WithHint("leave it out, or give procedure_name instead of table_name")
	}
	if checked.table, err = givenName("table_name", codeTableNotAvailable, r.TableName); err != nil {
		return err
	}
	if r.Columns != nil {
		for _, column := range columnNames(r.Columns.(string)) {
			if column == "" {
				return requestFault(codeUnknownColumn, "columns", "a name is missing").
					WithHint("write names with commas between, such as patient_id,surname; leave columns out for all of them")
			}
			checked.columns = append(checked.columns, column)
		}
	}
	if checked.dateColumn, err = givenName("date_column", codeDateColumn, r.DateColumn); err != nil {
		return err
	}
	from, err := day("from_date", r.FromDate)
	if err != nil {
		return err
	}
	to, err := day("to_date", r.ToDate)
	if err != nil {
		return err
	}
	if !from.IsZero() {
		checked.from = from.Format(time.DateOnly)
	}
	if !to.IsZero() {
		if to.Before(from) {
			return requestFault(codeDateRange, "to_date", "to_date is before from_date").
				WithHint("swap the two, or correct one")
		}
		// No date is later than the last one that SQL can write.
		if next := to.AddDate(0, 0, 1); next.Year() <= 9999 {
			checked.until = next.Format(time.DateOnly)
		}
	}
	if (!from.IsZero() || !to.IsZero()) && checked.modifier == modifierAll && checked.dateColumn == "" {
		return requestFault(codeDateColumn, "date_column", "a range is given, and no column that it is about").
			WithHint("name a column with date_column, or set date_modifier to Created or Updated")
	}
	return nil
}

// columnNames reads names with commas between, or a JSON array of names, in which a name
// may hold a comma, and begin with a space. Text that looks like an array and is none is names.
func columnNames(text string) []string {
	var names []string
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &names) == nil {
		return names
	}
	names = strings.Split(text, ",")
	for i, name := range names {
		names[i] = strings.Trim(name, " ")
	}
	return names
}

// givenName is the text of a name that was given, or empty when it was not.
func givenName(parameter, code string, value config.Value) (string, error) {
	if value == nil {
		return "", nil
	}
	if text := value.(string); text != "" {
		return text, nil
	}
	return "", requestFault(code, parameter, "the name is empty").WithHint("give a name, or leave %s out", parameter)
}

// day reads a day that was given; it is zero when it was not.
func day(parameter string, value config.Value) (time.Time, error) {
	if value == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, value.(string))
	if err != nil || t.Year() == 0 {
		return time.Time{}, requestFault(codeDateRange, parameter, "expected a day that exists, as YYYY-MM-DD, not %s", shown(value.(string))).
			WithHint("write a day such as 2024-01-31")
	}
	return t, nil
}

// requestFault reports what is wrong with a request, and with which member of it.
func requestFault(code, parameter, format string, args ...any) *fault.Fault {
	f := fault.New(code, fault.Usage, format, args...).WithDetail("parameter", parameter)
	f.Message = parameter + ": " + f.Message
	return f
}
