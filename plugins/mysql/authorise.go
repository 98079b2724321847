package mysql

import (
	"slices"
	"strings"
)

// statement is SQL with the values that go where its question marks are.
type statement struct {
	query string
	args  []any
	doing string // for messages

	// Of a table: its name, the columns to read, and those of a base table that are TIMESTAMP.
	table   string
	columns []string
	unix    []string
	// rows is about how many rows that is; 0 where nobody knows without counting. rowBytes is about how many bytes one has.
	rows, rowBytes int64
	// order is the end of the query, by which rows come in the order of the key, whose first column is a whole number. Where it
	// is empty, undivided says why the rows have no ranges.
	order, key, undivided string

	// allOf is the table whose visible columns were all asked for, and invisible the others.
	allOf     string
	invisible []string
	// outs are the OUT and INOUT parameters; inout are the assignments that give the variables
	// of INOUT ones their values before the call.
	outs      []outParameter
	instants  []instantArgument
	inout     []string
	inoutArgs []any
}

// statement looks everything up that is asked for, and writes the statement. The
// query holds key words, question marks, and names in the catalogue's spelling.
func (r *checkedRequest) statement(c catalogue) (statement, error) {
	if r.procedure != "" {
		return r.call(c)
	}
	return r.read(c)
}

// find looks for a name among those that are allowed. Of the others, nothing is
// ever said: a name that is not allowed is answered like one that does not exist.
func find(visit func(func(name string)) error, wanted string, fold bool,
	allowed allowList) (found string, near *similar, err error) {
	near = similarTo(wanted)
	err = visit(func(name string) {
		if !allowed.allows(name, fold) {
			return
		}
		if name == wanted || found == "" && sameName(name, wanted, fold) {
			found = name
		} else if found == "" {
			near.offer(name)
		}
	})
	return found, near, err
}

// read writes a SELECT.
//
// Rows come in the order of the primary key where that costs nothing, which is
// where the rows are stored in it, and are not picked by an index on the date.
// Otherwise their order is the server's.
func (r *checkedRequest) read(c catalogue) (statement, error) {
	table, near, err := find(c.tables, r.table, c.foldsTables(), r.allowedTables)
	if err != nil {
		return statement{}, err
	}
	if table == "" {
		return statement{}, r.noTable(near)
	}
	info, err := c.table(table)
	if err != nil {
		return statement{}, err
	}
	if len(info.columns) == 0 {
		return statement{}, requestFault(codeBrokenView, "table_name", "%s has no columns: it is a view of something that is gone, or that the account may not read", shown(r.table)).
			WithHint("mend the view, or ask for the table that it reads")
	}
	columns, err := r.choose(info.columns)
	if err != nil {
		return statement{}, err
	}
	date, err := r.date(info.columns)
	if err != nil {
		return statement{}, err
	}
	var query strings.Builder
	var args []any
	query.WriteString("SELECT " + quoteNames(columns) + " FROM " + quoteName(table))
	for _, bound := range []struct{ day, operator string }{{r.from, ">="}, {r.until, "<"}} {
		if bound.day == "" {
			continue
		}
		word := " WHERE "
		if len(args) > 0 {
			word = " AND "
		}
		query.WriteString(word + quoteName(date) + " " + bound.operator + " ?")
		args = append(args, bound.day)
	}
	byCursor := ""
	if r.cursor != nil && !r.cursor.Bound {
		column, condition, from, err := r.cursor.condition(info.columns, columns)
		if err != nil {
			return statement{}, err
		}
		if condition != "" {
			word := " WHERE "
			if len(args) > 0 {
				word = " AND "
			}
			query.WriteString(word + condition)
			args, byCursor = append(args, from...), column
		}
	}
	read := statement{args: args, doing: "reading table " + shown(table), table: table, columns: columns, rowBytes: info.rowBytes}
	byIndex := date != "" && len(args) > 0 && info.indexed[date] || byCursor != "" && info.indexed[byCursor]
	if len(info.clustered) > 0 && !byIndex {
		order := " ORDER BY " + quoteNames(info.clustered)
		query.WriteString(order)
		if first, _ := findColumn(info.columns, info.clustered[0]); slices.Contains(wholeNumbers, first.dataType) {
			read.order, read.key = order, first.name
		} else {
			read.undivided = "the primary key begins with a column of type " + first.dataType + ", which is no whole number"
		}
	} else if byIndex {
		read.undivided = "an index on the date or the cursor picks the rows"
	} else {
		read.undivided = "there is no InnoDB table with a primary key"
	}
	read.query = query.String()
	if len(args) == 0 { // the statistics do not say how many are in a range
		read.rows = info.rows
	}
	for _, c := range info.columns {
		// Of a view's column, MySQL makes a UNIX time by way of its local time.
		if !info.view && c.dataType == "timestamp" && slices.Contains(columns, c.name) {
			read.unix = append(read.unix, c.name)
		}
	}
	if r.columns == nil {
		read.allOf = table
		for _, c := range info.columns {
			if c.invisible {
				read.invisible = append(read.invisible, c.name)
			}
		}
	}
	return read, nil
}

// wholeNumbers are the types of columns by whose values a table is cut into ranges. Others would be compared by a collation, a
// zone or a mode of the session's.
var wholeNumbers = []string{"tinyint", "smallint", "mediumint", "int", "bigint"}

func (r *checkedRequest) noTable(near *similar) error {
	return requestFault(codeTableNotAvailable, "table_name", "there is no table %s that may be read", shown(r.table)).
		WithHint("%s", near.hint("check the name and its case, and that the account has SELECT on it; whoever runs the service decides which tables may be read"))
}

// findColumn finds a column. Their case never matters.
func findColumn(columns []columnInfo, wanted string) (columnInfo, bool) {
	i := slices.IndexFunc(columns, func(c columnInfo) bool { return sameName(c.name, wanted, true) })
	if i < 0 {
		return columnInfo{}, false
	}
	return columns[i], true
}

// choose gives the columns to read.
func (r *checkedRequest) choose(all []columnInfo) (names []string, err error) {
	if r.columns == nil {
		for _, c := range all {
			if !c.invisible {
				names = append(names, c.name)
			}
		}
		return names, nil
	}
	for _, wanted := range r.columns {
		c, ok := findColumn(all, wanted)
		switch {
		case !ok:
			return nil, noColumn(codeUnknownColumn, "columns", wanted, all)
		case slices.Contains(names, c.name):
			return nil, requestFault(codeUnknownColumn, "columns", "column %s is named twice", shown(c.name)).
				WithHint("name it once")
		}
		names = append(names, c.name)
	}
	return names, nil
}

func noColumn(code, parameter, wanted string, all []columnInfo) error {
	near := similarTo(wanted)
	for _, c := range all {
		near.offer(c.name)
	}
	return requestFault(code, parameter, "the table has no column %s", shown(wanted)).
		WithHint("%s", near.hint("check the name"))
}

// date gives the column that the range is about, or empty when there is no range.
// What is named is checked, with and without a range.
func (r *checkedRequest) date(all []columnInfo) (name string, err error) {
	if r.dateColumn != "" {
		c, ok := findColumn(all, r.dateColumn)
		switch {
		case !ok:
			return "", noColumn(codeDateColumn, "date_column", r.dateColumn, all)
		case !c.dates():
			return "", requestFault(codeDateColumn, "date_column", "column %s is of type %s", shown(c.name), shown(c.dataType)).
				WithHint("name a column of type date, datetime or timestamp")
		}
		name = c.name
	}
	stamp := map[string]string{modifierCreated: createdColumn, modifierUpdated: updatedColumn}[r.modifier]
	if stamp == "" {
		return name, nil
	}
	c, ok := findColumn(all, stamp)
	if !ok || !c.dates() {
		return "", requestFault(codeDateColumn, "date_modifier", "%s is about column %s, and the table has none of that name and of type date, datetime or timestamp", r.modifier, stamp).
			WithHint("set date_modifier to All, and name the column with date_column")
	}
	return c.name, nil
}

func (c *columnInfo) dates() bool {
	return c.dataType == "date" || c.dataType == "datetime" || c.dataType == "timestamp"
}

// call writes a CALL. The names of procedures never depend on case.
func (r *checkedRequest) call(c catalogue) (statement, error) {
	procedure, near, err := find(c.procedures, r.procedure, true, r.allowedCall)
	if err != nil {
		return statement{}, err
	}
	if procedure == "" {
		return statement{}, requestFault(codeProcedureNotAvailable, "procedure_name", "there is no procedure %s that may be called", shown(r.procedure)).
			WithHint("%s", near.hint("check the name; whoever runs the service decides which procedures may be called"))
	}
	parameters, known, err := c.parameters(procedure)
	if err != nil {
		return statement{}, err
	}
	if !known && len(r.args) > 0 {
		// Without its type, a value could be rounded or cut on its way.
		return statement{}, requestFault(codeArgument, "arguments", "the server hides the parameters of procedure %s from an account that may call it by a role alone, and their types must be known", shown(procedure)).
			WithHint("GRANT EXECUTE ON PROCEDURE %s to the account itself, or EXECUTE on the database or SHOW_ROUTINE to the role", quoteName(procedure))
	}
	given := slices.DeleteFunc(slices.Clone(parameters), func(p parameterInfo) bool { return p.mode == "OUT" })
	if len(given) != len(r.args) {
		return statement{}, requestFault(codeArgumentCount, "arguments", "procedure %s takes %d arguments, and %d came", shown(procedure), len(given), len(r.args)).
			WithHint("%s", signature(given))
	}
	call := statement{args: []any{}, doing: "calling " + shown(procedure)}
	var places []string
	next := 0
	for i, p := range parameters {
		variable := outVariable(i)
		if p.mode == "OUT" {
			call.outs, places = append(call.outs, outParameter{p, variable}), append(places, variable)
			continue
		}
		t := parseParamType(p.typ)
		value, problem := t.bind(r.args[next])
		next++
		if text, is := value.(string); is && t.name == "timestamp" {
			call.instants = append(call.instants, instantArgument{next, p, text})
		}
		if problem != "" {
			return statement{}, requestFault(codeArgument, "arguments", "argument %d (%s %s): %s", next, p.name, p.typ, problem).
				WithHint("%s", signature(given))
		}
		if p.mode == "INOUT" {
			call.outs, places = append(call.outs, outParameter{p, variable}), append(places, variable)
			call.inout, call.inoutArgs = append(call.inout, variable+" = ?"), append(call.inoutArgs, value)
			continue
		}
		places, call.args = append(places, "?"), append(call.args, value)
	}
	call.query = "CALL " + quoteName(procedure) + "(" + strings.Join(places, ", ") + ")"
	return call, nil
}

// instantArgument is an argument for a TIMESTAMP, and its number, from 1.
type instantArgument struct {
	number    int
	parameter parameterInfo
	text      string
}

// signature says what a procedure takes.
func signature(parameters []parameterInfo) string {
	if len(parameters) == 0 {
		return "it takes none; leave arguments out"
	}
	names := make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = p.name + " " + p.typ
	}
	return "it takes " + strings.Join(names, ", ")
}
