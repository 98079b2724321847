package config

import "slices"

// Cursor says from where a source reads in a pipeline that keeps state between runs. The zero value is a pipeline that
// keeps none. A setting of this type stands at the top of a source's settings; a source that has one
//
//   - delivers every row whose Column is not below From, and may deliver others: unless Bound, it leaves out what is
//     below From by itself, and never reads From as code;
//   - fails at a row that has no value there, since nobody could say when it is to be read;
//   - states, when the last row is read, stage.FactCursor and the other facts of its name;
//   - fails before the first row where Zone or Origin is not its own.
type Cursor struct {
	// Column is the column, by the name that it has in the source's schema.
	Column string
	// Type is how its values are ordered: one of CursorTypes.
	Type string
	// From is the least value to read, as text that is exact; empty is the first run, in which every row is read. It is
	// YYYY-MM-DD HH:MM:SS[.ffffff] of a timestamp, as clocks of Zone show it, YYYY-MM-DD of a date, and a number
	// otherwise.
	From string
	// Bound says that the settings hold From already, where the author has put it, such as in the arguments of a query.
	Bound bool
	// Zone and Origin are what the run stated that From comes of; empty in the first run. Zone is that of the clocks.
	Zone, Origin string
}

// The types of a cursor.
const (
	CursorTimestamp = "timestamp"
	CursorDate      = "date"
	CursorInteger   = "integer"
	CursorDecimal   = "decimal"
)

// CursorTypes lists them.
var CursorTypes = []string{CursorTimestamp, CursorDate, CursorInteger, CursorDecimal}

// Tree is the cursor as a tree of settings:
//
//	{"column": "updated_at", "type": "timestamp", "from": "2024-01-30 23:59:59",
//	 "bound": false, "zone": "UTC", "origin": "db:3306/practice"}
func (c Cursor) Tree() map[string]any {
	return map[string]any{"column": c.Column, "type": c.Type, "from": c.From, "bound": c.Bound, "zone": c.Zone,
		"origin": c.Origin}
}

// cursor reads such a tree. The text says what is wrong.
func cursor(value any) (c Cursor, problem string) {
	tree, ok := value.(map[string]any)
	if !ok {
		return c, "expected a cursor, not " + describe(value)
	}
	for name, given := range tree {
		text, isText := given.(string)
		switch name {
		case "bound":
			if c.Bound, ok = given.(bool); !ok {
				return c, "bound of a cursor is neither true nor false"
			}
			continue
		case "column":
			c.Column = text
		case "type":
			c.Type = text
		case "from":
			c.From = text
		case "zone":
			c.Zone = text
		case "origin":
			c.Origin = text
		default:
			return c, "a cursor has an unknown key"
		}
		if !isText {
			return c, name + " of a cursor is no text"
		}
	}
	if c.Column == "" || !slices.Contains(CursorTypes, c.Type) {
		return c, "a cursor has no column, or a type that is none of timestamp, date, integer and decimal"
	}
	return c, ""
}
