// Package statement says what a statement of a binary log means for whoever follows the rows of some tables: nothing, that
// a table is empty now, or that it cannot be followed any more. It knows as much of SQL as that takes. What it does not
// know it says, so that nothing is passed over that might have changed a row.
package statement

import "slices"

// Meaning is what a statement means.
type Meaning int

// The meanings.
const (
	// Nothing: no row that is followed has changed, nor what its columns are.
	Nothing Meaning = iota + 1
	// Truncated: all rows of a table are gone.
	Truncated
	// Altered: a table is another one now, or gone, or has taken the place of another.
	Altered
	// Changes: the statement may have changed rows, and they are not in the log.
	Changes
	// RolledBack: a part of the transaction is not valid.
	RolledBack
	// XABegin: the transaction becomes valid by another one, if at all. XAEnd: an earlier one becomes valid now, or never.
	XABegin
	XAEnd
	// Strange: nobody here knows it.
	Strange
)

// Tables are those whose rows are followed.
type Tables interface {
	// Has says whether a table is one, and HasDatabase whether a database has one.
	Has(database, table string) bool
	HasDatabase(database string) bool
}

// Verdict is what a statement means.
type Verdict struct {
	Meaning Meaning
	// What is the statement's kind in words of SQL, such as ALTER TABLE: it holds nothing of the statement's values.
	What string
	// Database and Table are which one it is about, of Truncated and Altered.
	Database, Table string
}

// Judge judges a statement. Names without a database are of that one.
func Judge(sql, database string, tables Tables) Verdict {
	p := &parser{tokens: scan(sql), database: database, tables: tables}
	if slices.ContainsFunc(p.tokens, func(t token) bool { return t.kind == broken }) {
		return Verdict{Meaning: Strange, What: "a statement that cannot be read"}
	}
	return p.judge()
}

// harmless are first words of statements that change no rows, and no table that they are in.
var harmless = []string{"BEGIN", "START", "SAVEPOINT", "RELEASE", "FLUSH", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM", "GRANT", "REVOKE",
	"INSTALL", "UNINSTALL", "LOCK", "UNLOCK", "CACHE", "SIGNAL", "RESIGNAL"}

// changing are those of statements that change rows, or may.
var changing = []string{"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "SELECT", "DO", "WITH", "VALUES", "TABLE", "EXECUTE", "IMPORT", "HANDLER", "("}

func (p *parser) judge() Verdict {
	first := p.word()
	switch {
	case first == "SET" && p.take("STATEMENT"): // of MariaDB: SET STATEMENT variable = value FOR statement
		for !p.end() && !p.take("FOR") {
			p.skip()
		}
		return p.judge()
	case first == "SET", slices.Contains(harmless, first):
		return Verdict{Meaning: Nothing, What: first}
	case first == "DELETE":
		return p.delete()
	case slices.Contains(changing, first):
		return Verdict{Meaning: Changes, What: first}
	}
	switch first {
	case "CREATE":
		return p.create()
	case "DROP":
		return p.drop()
	case "RENAME":
		return p.rename()
	case "ALTER":
		return p.alter()
	case "TRUNCATE":
		p.take("TABLE")
		v := Verdict{Meaning: Nothing, What: "TRUNCATE"}
		db, table, ok := p.name()
		switch {
		case !ok:
			v.Meaning = Strange
		case p.tables.Has(db, table):
			v = Verdict{Truncated, v.What, db, table}
		}
		return v
	case "ROLLBACK":
		return Verdict{Meaning: RolledBack, What: "ROLLBACK TO SAVEPOINT"}
	case "XA":
		switch second := p.word(); second {
		case "START", "BEGIN", "END":
			return Verdict{Meaning: XABegin, What: "XA " + second}
		case "COMMIT", "ROLLBACK":
			return Verdict{Meaning: XAEnd, What: "XA " + second}
		}
	}
	return Verdict{Meaning: Strange, What: shown(first)}
}

// shown is a word of SQL that a message may quote: what is no word might be of a value.
func shown(word string) string {
	if word == "" || len(word) > 32 {
		return "a statement without a first word"
	}
	return word
}

// delete judges a DELETE as the server writes it itself for a MEMORY table that it has lost with its memory.
func (p *parser) delete() Verdict {
	changes := Verdict{Meaning: Changes, What: "DELETE"}
	if !p.take("FROM") {
		return changes
	}
	db, table, ok := p.name()
	switch {
	case !ok || !p.end():
		return changes
	case p.tables.Has(db, table):
		return Verdict{Truncated, "DELETE", db, table}
	}
	return Verdict{Meaning: Nothing, What: "DELETE"}
}

func (p *parser) create() Verdict {
	replace := p.take("OR") && p.take("REPLACE")
	v := Verdict{Meaning: Nothing, What: "CREATE"}
	switch {
	case p.take("TABLE"):
		v.What = "CREATE TABLE"
		exists := p.take("IF") && p.take("NOT") && p.take("EXISTS")
		db, table, ok := p.name()
		switch {
		case !ok:
			v.Meaning = Strange
		case p.tables.Has(db, table) && (replace || !exists): // otherwise it was there, and stays as it was
			return Verdict{Altered, v.What, db, table}
		}
	case replace && (p.take("DATABASE") || p.take("SCHEMA")):
		return p.ofDatabase("CREATE OR REPLACE DATABASE")
	}
	return v
}

// ofDatabase judges what takes a database away.
func (p *parser) ofDatabase(what string) Verdict {
	if p.take("IF") {
		p.take("EXISTS")
	}
	name, ok := p.part()
	switch {
	case !ok:
		return Verdict{Meaning: Strange, What: what}
	case p.tables.HasDatabase(name):
		return Verdict{Meaning: Altered, What: what, Database: name}
	}
	return Verdict{Meaning: Nothing, What: what}
}

func (p *parser) drop() Verdict {
	switch {
	case p.take("DATABASE"), p.take("SCHEMA"):
		return p.ofDatabase("DROP DATABASE")
	case p.take("TABLE"), p.take("TABLES"):
	default: // TEMPORARY tables, too: their rows are not in the log
		return Verdict{Meaning: Nothing, What: "DROP"}
	}
	const what = "DROP TABLE"
	if p.take("IF") {
		p.take("EXISTS")
	}
	for {
		db, table, ok := p.name()
		switch {
		case !ok:
			return Verdict{Meaning: Strange, What: what}
		case p.tables.Has(db, table):
			return Verdict{Altered, what, db, table}
		}
		if !p.punctuation(",") {
			return Verdict{Meaning: Nothing, What: what}
		}
	}
}

func (p *parser) rename() Verdict {
	if !p.take("TABLE") && !p.take("TABLES") {
		return Verdict{Meaning: Nothing, What: "RENAME"}
	}
	const what = "RENAME TABLE"
	if p.take("IF") {
		p.take("EXISTS")
	}
	for {
		db, table, ok := p.name()
		if ok && p.tables.Has(db, table) {
			return Verdict{Altered, what, db, table}
		}
		p.wait()
		if !ok || !p.take("TO") {
			return Verdict{Meaning: Strange, What: what}
		}
		switch db, table, ok = p.name(); {
		case !ok:
			return Verdict{Meaning: Strange, What: what}
		case p.tables.Has(db, table):
			return Verdict{Altered, what, db, table}
		}
		if !p.punctuation(",") {
			return Verdict{Meaning: Nothing, What: what}
		}
	}
}

// wait passes over WAIT n and NOWAIT, of MariaDB.
func (p *parser) wait() {
	if p.take("WAIT") {
		p.skip()
	}
	p.take("NOWAIT")
}

func (p *parser) alter() Verdict {
	ignore := false
	for {
		switch {
		case p.take("IGNORE"):
			ignore = true
			continue
		case p.take("ONLINE"), p.take("OFFLINE"):
			continue
		}
		break
	}
	if !p.take("TABLE") {
		return Verdict{Meaning: Nothing, What: "ALTER"}
	}
	const what = "ALTER TABLE"
	if p.take("IF") {
		p.take("EXISTS")
	}
	db, table, ok := p.name()
	if !ok {
		return Verdict{Meaning: Strange, What: what}
	}
	p.wait()
	if p.tables.Has(db, table) {
		if !ignore && p.harmlessAlter() {
			return Verdict{Meaning: Nothing, What: what}
		}
		return Verdict{Altered, what, db, table}
	}
	// Another table may take the name, or the rows, of one that is followed.
	for !p.end() {
		switch {
		case p.take("RENAME"):
			if p.take("COLUMN") || p.take("INDEX") || p.take("KEY") {
				continue
			}
			_ = p.take("TO") || p.take("AS") || p.punctuation("=")
		case p.take("WITH") && p.take("TABLE"), p.take("CONVERT") && p.take("TABLE"):
		default:
			p.skip()
			continue
		}
		if db, table, ok := p.name(); ok && p.tables.Has(db, table) {
			return Verdict{Altered, what, db, table}
		}
	}
	return Verdict{Meaning: Nothing, What: what}
}

// options are of a table, and change no row and no column; each has a value.
var options = []string{"COMMENT", "AUTO_INCREMENT", "ALGORITHM", "LOCK", "STATS_PERSISTENT", "STATS_AUTO_RECALC", "STATS_SAMPLE_PAGES", "ROW_FORMAT", "KEY_BLOCK_SIZE",
	"COMPRESSION", "AVG_ROW_LENGTH", "MAX_ROWS", "MIN_ROWS"}

// harmlessAlter says whether what follows the table's name changes no row, no column and no key of one that is followed.
func (p *parser) harmlessAlter() bool {
	for {
		if !p.harmlessClause() {
			return false
		}
		if p.end() {
			return true
		}
		if !p.punctuation(",") {
			return false
		}
	}
}

func (p *parser) harmlessClause() bool {
	switch {
	case p.take("ADD"):
		if !p.oneOf("INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL") {
			return false
		}
	case p.take("DROP"):
		if !p.oneOf("INDEX", "KEY") && !(p.take("FOREIGN") && p.take("KEY")) {
			return false
		}
	case p.take("RENAME"):
		if !p.oneOf("INDEX", "KEY") {
			return false
		}
	case p.take("ALTER"):
		if !p.take("INDEX") {
			return false
		}
	case p.oneOf("FORCE"):
		return true
	default:
		return p.tableOptions()
	}
	depth := 0
	for !p.end() {
		switch t := p.tokens[p.at]; {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.is(",") && depth == 0:
			return true
		}
		p.skip()
	}
	return true
}

// tableOptions are one or several without commas between.
func (p *parser) tableOptions() bool {
	seen := false
	for !p.end() && !p.tokens[p.at].is(",") {
		engine := p.take("ENGINE")
		if !engine && !p.oneOf(options...) {
			return false
		}
		p.punctuation("=")
		if engine && !p.take("INNODB") {
			return false
		}
		if !engine {
			if p.end() {
				return false
			}
			p.skip()
		}
		seen = true
	}
	return seen
}
