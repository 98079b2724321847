package row

import (
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of this package's faults.
const (
	// CodeColumn: a column's type is not known here, or cannot be decoded under these settings.
	CodeColumn = "changes.column"
	// CodeTable: the log's description of the table is not that of the columns: it was altered, or is another one.
	CodeTable = "changes.table_changed"
	// CodeImage: a row image cannot be read, or lacks a column that is wanted.
	CodeImage = "changes.row_image"
	// CodeValue: a value that the column's type cannot hold.
	CodeValue = "changes.value"
	// CodeZeroDate: a zero, partial or impossible date, where zero_dates is error.
	CodeZeroDate = "changes.zero_date"
)

// Column is a column of a table as information_schema.COLUMNS has it.
type Column struct {
	Name       string
	DataType   string // DATA_TYPE: varchar
	ColumnType string // COLUMN_TYPE: varchar(20), int(10) unsigned, enum('a','b')
	Charset    string // CHARACTER_SET_NAME; empty where there is none
	Collation  string // COLLATION_NAME; likewise
	Nullable   bool
	// Generated columns are computed from others, and stored or not.
	Generated bool
	// Invisible columns are not part of SELECT *.
	Invisible bool
}

// ColumnQuery selects what ColumnOf takes of a table, with a placeholder each for its database and its name: it says
// WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?, so that who cannot bind writes literals there.
const ColumnQuery = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, EXTRA" +
	" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION"

// ColumnOf makes a column of a row that ColumnQuery gives; NULL is the empty text.
func ColumnOf(cells []string) (Column, error) {
	if len(cells) != 7 {
		return Column{}, fault.New(CodeColumn, fault.Internal, "%d values describe a column, want 7", len(cells))
	}
	extra := strings.ToUpper(cells[6])
	return Column{
		Name: cells[0], DataType: strings.ToLower(cells[1]), ColumnType: cells[2], Charset: cells[3], Collation: cells[4],
		Nullable:  cells[5] == "YES",
		Generated: strings.Contains(extra, "GENERATED") && !strings.Contains(extra, "DEFAULT_GENERATED"),
		Invisible: strings.Contains(extra, "INVISIBLE"),
	}, nil
}

// Unsigned reports whether a column of numbers is UNSIGNED.
func (c *Column) Unsigned() bool { return strings.Contains(c.ColumnType, " unsigned") }

// charset is the one name of its character set, binary where it has none.
func (c *Column) charset() string {
	switch c.Charset {
	case "":
		return "binary"
	case "utf8":
		return "utf8mb3"
	}
	return c.Charset
}
