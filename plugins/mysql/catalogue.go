package mysql

import (
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// catalogue is what a database says about itself. Names are as it spells them.
type catalogue interface {
	// foldsTables reports whether the case of tables' names does not matter.
	foldsTables() bool
	// tables visits the base tables and views, in any order.
	tables(visit func(name string)) error
	// table describes one of them.
	table(name string) (tableInfo, error)
	// procedures visits the procedures, in any order.
	procedures(visit func(name string)) error
	// parameters lists a procedure's parameters in order. Known is false when the server does not show them.
	parameters(procedure string) (list []parameterInfo, known bool, err error)
}

type tableInfo struct {
	view    bool // and no base table, which has an engine
	columns []columnInfo
	// clustered is the primary key whose order is the order of the rows on disk, or
	// nil.
	clustered []string
	// indexed are the columns that an index begins with.
	indexed map[string]bool
	// rows is about how many there are, as the server's statistics say, and rowBytes how long one is; 0 where they do not, as of
	// a view.
	rows, rowBytes int64
}

type columnInfo struct {
	name      string
	dataType  string // "varchar", "datetime"
	invisible bool   // not among those of SELECT *
}

type parameterInfo struct {
	name string
	mode string // "IN", "OUT" or "INOUT"
	typ  string // as declared: "decimal(10,2) unsigned"
}

// database reads the catalogue of a session's own database in information_schema.
//
// Conditions there follow collations that take names for equal that are not, by
// case, accents or spaces at the end; so names are compared again here.
type database struct {
	source *source
	name   string
	fold   bool            // the case of databases' and tables' names does not matter
	shown  map[string]bool // the procedures that the catalogue shows, by lower-case name
}

func openDatabase(s *source) (*database, error) {
	d := &database{source: s}
	err := s.texts("SELECT CAST(DATABASE() AS CHAR), CAST(@@lower_case_table_names AS CHAR)", nil, func(row []string) {
		d.name, d.fold = row[0], row[1] != "0"
	})
	return d, err
}

func (d *database) foldsTables() bool { return d.fold }

// read visits the rows of a query whose first two columns are a database and the
// name of something in it. Only rows of this database are visited, and, when only
// is not empty, only those of that name. The row is without the first column.
func (d *database) read(query string, only string, visit func(row []string)) error {
	var args []any
	if only != "" {
		args = []any{only}
	}
	return d.source.texts(query, args, func(row []string) {
		if sameName(row[0], d.name, d.fold) && (only == "" || row[1] == only) {
			visit(row[1:])
		}
	})
}

func (d *database) tables(visit func(name string)) error {
	return d.read(`SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')`, "",
		func(row []string) { visit(row[0]) })
}

func (d *database) table(name string) (tableInfo, error) {
	info := tableInfo{indexed: map[string]bool{}}
	err := d.read(`SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(data_type AS CHAR), CAST(extra AS CHAR)
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position`, name,
		func(row []string) {
			info.columns = append(info.columns,
				columnInfo{row[1], lower(row[2]), strings.Contains(row[3], "INVISIBLE")})
		})
	if err != nil {
		return info, err
	}
	inOrder := false
	err = d.read(`SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(engine AS CHAR), CAST(table_rows AS CHAR), CAST(avg_row_length AS CHAR)
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`, name,
		func(row []string) {
			info.view, inOrder = row[1] == "", row[1] == "InnoDB"
			info.rows, _ = strconv.ParseInt(row[2], 10, 64)
			info.rowBytes, _ = strconv.ParseInt(row[3], 10, 64)
		})
	if err != nil {
		return info, err
	}
	err = d.read(`SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(index_name AS CHAR), CAST(seq_in_index AS CHAR), CAST(column_name AS CHAR)
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? ORDER BY index_name, seq_in_index`, name,
		func(row []string) {
			if inOrder && row[1] == "PRIMARY" {
				info.clustered = append(info.clustered, row[3])
			}
			if row[2] == "1" {
				info.indexed[row[3]] = true
			}
		})
	return info, err
}

// procedures visits those that the catalogue shows, and those that a role alone lets the account call by their names:
// MySQL's catalogue hides these.
func (d *database) procedures(visit func(name string)) error {
	d.shown = map[string]bool{}
	err := d.read(`SELECT CAST(routine_schema AS CHAR), CAST(routine_name AS CHAR) FROM information_schema.routines
WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'`, "",
		func(row []string) {
			d.shown[lower(row[0])] = true
			visit(row[0])
		})
	if err != nil || d.source.session.mariaDB {
		return err
	}
	grants, err := d.source.session.grants()
	grantsOf(grants, "EXECUTE", func(schema, routine string, ofProcedure bool) {
		if ofProcedure && sameName(schema, d.name, d.fold) && !d.shown[lower(routine)] {
			visit(routine)
		}
	})
	return err
}

// parametersOf begins a query for parameters, whose columns are a database, the name of a
// procedure, and name, mode and type.
const parametersOf = `SELECT CAST(specific_schema AS CHAR), CAST(specific_name AS CHAR), CAST(parameter_name AS CHAR), CAST(parameter_mode AS CHAR), CAST(dtd_identifier AS CHAR)
FROM information_schema.parameters`

func (d *database) parameters(procedure string) (list []parameterInfo, known bool, err error) {
	err = d.read(parametersOf+` WHERE specific_schema = DATABASE() AND specific_name = ? AND routine_type = 'PROCEDURE' ORDER BY ordinal_position`, procedure,
		func(row []string) { list = append(list, parameterInfo{row[1], row[2], row[3]}) })
	return list, d.shown[lower(procedure)], err
}

// texts executes a statement whose columns are all text and visits its rows, NULL
// being empty.
func (s *source) texts(query string, args []any, visit func(row []string)) error {
	if err := s.send(query, args); err != nil {
		return err
	}
	for {
		defs, _, err := s.results.next()
		if defs == nil || err != nil {
			return err
		}
		for i := range defs {
			if row, ok := lookup(&defs[i]); !ok || row.kind != kindText && row.kind != kindBytes {
				return protocolFault("column %q of the server's catalogue is no text", defs[i].name)
			}
		}
		row := make([]string, len(defs))
		total := 0
		for {
			p, err := s.session.c.next()
			if err != nil {
				return err
			}
			if end, err := s.results.endOfRows(p); err != nil {
				return err
			} else if end {
				break
			}
			if total += len(p); total > largestAnswer {
				return protocolFault("the server's catalogue answers with more than %d bytes", largestAnswer)
			}
			if err := textsOf(row, p, s.binary); err != nil {
				return err
			}
			visit(row)
		}
	}
}

// textsOf reads a row whose columns are all text, in either protocol.
func textsOf(row []string, p []byte, binary bool) error {
	malformed := func() error { return protocolFault("a row of the server's catalogue cannot be read") }
	pos, nulls := 0, []byte(nil)
	if binary {
		pos = 1 + (len(row)+9)/8
		if len(p) < pos || p[0] != 0 {
			return malformed()
		}
		nulls = p[1:pos]
	}
	for i := range row {
		row[i] = ""
		switch {
		case binary && nulls[(i+2)>>3]&(1<<((i+2)&7)) != 0:
			continue
		case !binary && pos < len(p) && p[pos] == 0xfb:
			pos++
			continue
		}
		v, next, ok := lengthEncodedBytes(p, pos)
		if !ok {
			return malformed()
		}
		row[i], pos = string(v), next
	}
	if pos != len(p) {
		return malformed()
	}
	return nil
}

// noDatabase reports a connection that names no database to look into.
func noDatabase() error {
	return fault.New(codeSettings, fault.Usage,
		"a request is about the tables and procedures of one database, and the connection URL names none").
		WithHint("write mysql://user:password@host:3306/database")
}
