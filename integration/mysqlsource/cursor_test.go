package mysqlsource

import (
	"maps"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// following is a source that reads table t from a cursor on.
func following(db *servers.Server, zone string, c config.Cursor) settings {
	return settings{"url": db.DSN(db.Database()), "time_zone": zone, "cursor": c.Tree(),
		"request": settings{"table_name": "t", "columns": "id," + c.Column, "allowed_tables": "*"}}
}

// TestCursor: of every type, with an index and without, the first run reads every row and says the greatest value;
// the next
// one reads what is not below where it is to begin, and neither more nor less.
func TestCursor(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		for _, c := range []struct {
			name, sql, typ string
			values         []string // in order, the last one the greatest
			from           string   // from the third value on
			last, zone     string
		}{
			{"datetime", "DATETIME(6)", config.CursorTimestamp, []string{"'0001-01-01 00:00:00'",
				"'2024-02-29 23:59:59.999998'", "'2024-02-29 23:59:59.999999'", "'2024-03-01 10:00:00.5'"},
				"2024-02-29 23:59:59.999999", "2024-03-01 10:00:00.5", "UTC"},
			{"seconds", "DATETIME", config.CursorTimestamp, []string{"'2024-02-29 23:59:59'", "'2024-02-29 23:59:58'",
				"'2024-03-01 00:00:00'", "'2024-03-01 10:00:00'"},
				"2024-02-29 23:59:59.5", "2024-03-01 10:00:00", "UTC"},
			{"instant", "TIMESTAMP(3)", config.CursorTimestamp, []string{"'1970-01-01 00:00:01'",
				"'2024-02-29 23:59:59.998'", "'2024-02-29 23:59:59.999'", "'2024-03-01 10:00:00'"},
				"2024-02-29 23:59:59.999", "2024-03-01 10:00:00", "UTC"},
			{"day", "DATE", config.CursorDate, []string{"'0001-01-01'", "'2024-02-28'", "'2024-02-29'",
				"'2024-03-01'"}, "2024-02-29", "2024-03-01", "UTC"},
			{"whole", "BIGINT UNSIGNED", config.CursorInteger, []string{"0", "9223372036854775807",
				"9223372036854775808", "18446744073709551615"},
				"9223372036854775808", "18446744073709551615", ""},
			{"negative", "SMALLINT", config.CursorInteger, []string{"-32768", "-2", "-1", "7"}, "-1", "7", ""},
			{"exact", "DECIMAL(65,30)", config.CursorDecimal, []string{"-99999999999999999999999999999999999",
				"0.099999999999999999999999999999", "0.1", "12345678901234567890123456789012345.000000000000000000000000000001"},
				"0.100000000000000000000000000000", "12345678901234567890123456789012345.000000000000000000000000000001", ""},
			{"small", "DECIMAL(5,2)", config.CursorDecimal, []string{"-999.99", "-0.06", "-0.05", "-0.01"}, "-0.05",
				"-0.01", ""},
		} {
			for _, key := range []string{"", ", KEY (v)"} {
				db.Exec("DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v " + c.sql + " NOT NULL" + key + "); SET time_zone = '+00:00'; INSERT INTO t VALUES (4, " +
					c.values[3] + "), (1, " + c.values[0] + "), (3, " + c.values[2] + "), (2, " + c.values[1] + ")")
				cursor := config.Cursor{Column: "v", Type: c.typ}
				first := mustRead(t, following(db, "+00:00", cursor))
				if len(first.rows) != 4 || first.facts[stage.FactCursor] != c.last ||
					first.facts[stage.FactCursorZone] != c.zone {
					t.Errorf("%s%s: %q, %v", c.name, key, first.rows, first.facts)
				}
				cursor.From, cursor.Zone, cursor.Origin = c.from, c.zone, first.facts[stage.FactCursorOrigin]
				for _, protocol := range []string{"binary", "text"} {
					with := following(db, "+00:00", cursor)
					with["protocol"] = protocol
					next := mustRead(t, with)
					ids := map[string]bool{}
					for _, row := range next.rows {
						ids[row[0]] = true
					}
					if !maps.Equal(ids, map[string]bool{"3": true, "4": true}) ||
						next.facts[stage.FactCursor] != c.last {
						t.Errorf("%s%s, %s: %q, %v", c.name, key, protocol, next.rows, next.facts)
					}
					with = following(db, "+00:00", cursor)
					bound := cursor
					bound.Bound = true
					with["cursor"], with["protocol"] = bound.Tree(), protocol
					delete(with, "request")
					with["query"], with["args"] = "SELECT id, v FROM t WHERE v >= ?", []any{c.from}
					if next := mustRead(t, with); len(next.rows) != 2 || next.facts[stage.FactCursor] != c.last {
						t.Errorf("%s%s, a query: %q, %v", c.name, key, next.rows, next.facts)
					}
				}
			}
			// What the arguments of a query's first run hold is not above anything.
			for typ, least := range map[string]string{config.CursorTimestamp: "0001-01-01 00:00:00",
				config.CursorDate: "0001-01-01"} {
				if typ == c.typ {
					if all := mustRead(t, settings{"url": db.DSN(db.Database()),
						"query": "SELECT id FROM t WHERE v >= ?", "args": []any{least}}); len(all.rows) != 4 {
						t.Errorf("%s: %q is above something: %q", c.name, least, all.rows)
					}
				}
			}
		}
	})
}

// TestCursorClocks: values that a zone's clocks show, of instants and of local times, in the hour that they show twice.
func TestCursorClocks(t *testing.T) {
	for name, db := range servers.PrivateIn(t, "Australia/Sydney") {
		t.Run(name, func(t *testing.T) {
			db := db.For(t)
			// 2024-04-07 03:00 of summer time is 02:00 again.
			db.Exec("CREATE TABLE t (id INT PRIMARY KEY, ts TIMESTAMP NOT NULL, dt DATETIME NOT NULL); SET time_zone = '+00:00';" +
				"INSERT INTO t VALUES (1, '2024-04-06 15:50:00', '2024-04-07 02:50:00'), (2, '2024-04-06 16:10:00', '2024-04-07 02:10:00'), (3, '2024-04-01 00:00:00', '2024-04-01 11:00:00')")
			for column, last := range map[string]string{"ts": "2024-04-07 02:10:00", "dt": "2024-04-07 02:50:00"} {
				first := mustRead(t, following(db, "server", config.Cursor{Column: column,
					Type: config.CursorTimestamp}))
				if first.facts[stage.FactCursor] != last || first.facts[stage.FactCursorZone] != "Australia/Sydney" ||
					len(first.rows) != 3 {
					t.Errorf("%s: %v, %q", column, first.facts, first.rows)
				}
				// With an hour of overlap, the plan begins three hours earlier still: the second time that clocks show
				// 02:10 is not left out after the first 02:50.
				next := mustRead(t, following(db, "server", config.Cursor{Column: column,
					Type: config.CursorTimestamp, From: "2024-04-06 22:50:00",
					Zone: "Australia/Sydney", Origin: first.facts[stage.FactCursorOrigin]}))
				if len(next.rows) != 2 {
					t.Errorf("%s: %q", column, next.rows)
				}
				// A time that clocks skipped is one to begin with, too.
				next = mustRead(t, following(db, "server", config.Cursor{Column: column, Type: config.CursorTimestamp,
					From: "2023-10-01 02:30:00",
					Zone: "Australia/Sydney", Origin: first.facts[stage.FactCursorOrigin]}))
				if len(next.rows) != 3 {
					t.Errorf("%s from a time that was skipped: %q", column, next.rows)
				}
				_, err := read(t, following(db, "+10:00", config.Cursor{Column: column, Type: config.CursorTimestamp,
					From: "2024-04-06 22:50:00",
					Zone: "Australia/Sydney", Origin: first.facts[stage.FactCursorOrigin]}))
				wantFault(t, err, "mysql.cursor_origin")
			}
		})
	}
}

// TestCursorRefuses: what would leave rows out is a fault, and a time from the future does not become the state.
func TestCursorRefuses(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME(6), word VARCHAR(9)); INSERT INTO t VALUES (1, NOW(6), 'a'), (2, '2999-01-01', 'b')")
		now := strings.TrimSpace(db.Query("SELECT UTC_TIMESTAMP(6)"))
		cursor := config.Cursor{Column: "at", Type: config.CursorTimestamp}
		first := mustRead(t, following(db, "+00:00", cursor))
		last := first.facts[stage.FactCursor]
		if last < strings.TrimRight(now, "0") || last > strings.TrimSpace(db.Query("SELECT UTC_TIMESTAMP(6)")) ||
			len(first.rows) != 2 {
			t.Errorf("a time from the future: %q at %s", last, now)
		}
		origin := first.facts[stage.FactCursorOrigin]
		db.Exec("CREATE TABLE no_rows LIKE t")
		with := following(db, "+00:00", cursor)
		with["request"].(settings)["table_name"], with["request"].(settings)["allowed_tables"] = "no_rows", "*"
		if none := mustRead(t, with); none.facts[stage.FactCursor] != "" {
			t.Errorf("without rows: %v", none.facts)
		}
		at := func(c config.Cursor, from string) config.Cursor {
			c.From, c.Zone, c.Origin = from, "UTC", origin
			return c
		}
		for name, c := range map[string]struct {
			prepare string
			cursor  config.Cursor
			change  func(settings)
			code    string
		}{
			"no value, first run": {"INSERT INTO t VALUES (3, NULL, 'c')", cursor, nil, "mysql.cursor_null"},
			"no value, later": {"INSERT INTO t VALUES (3, NULL, 'c')", at(cursor, "2998-01-01 00:00:00"),
				nil, "mysql.cursor_ahead"},
			"no value, and an index": {"INSERT INTO t VALUES (3, NULL, 'c'); ALTER TABLE t ADD KEY (at)",
				at(cursor, "2020-01-01 00:00:00"), nil, "mysql.cursor_null"},
			"a clock that was ahead": {"", at(cursor, "2998-01-01 00:00:00"), nil, "mysql.cursor_ahead"},
			"another database": {"", config.Cursor{Column: "at", Type: config.CursorTimestamp,
				From: "2020-01-01 00:00:00", Zone: "UTC", Origin: "elsewhere:3306/a"}, nil, "mysql.cursor_origin"},
			"another zone": {"", at(cursor, "2020-01-01 00:00:00"),
				func(with settings) { with["time_zone"] = "+10:00" }, "mysql.cursor_origin"},
			"another type": {"", config.Cursor{Column: "at", Type: config.CursorDate}, nil,
				"mysql.cursor"},
			"text": {"", config.Cursor{Column: "word", Type: config.CursorInteger}, nil,
				"mysql.cursor"},
			"no such column": {"", config.Cursor{Column: "att", Type: config.CursorTimestamp},
				func(with settings) { delete(with["request"].(settings), "columns") }, "mysql.cursor"},
			"a column that is not read": {"", cursor,
				func(with settings) { with["request"].(settings)["columns"] = "id" }, "mysql.cursor"},
			"a preview": {"", cursor, func(with settings) { with["max_rows"] = 1 }, "mysql.settings"},
			"times as text": {"", cursor, func(with settings) { with["zero_dates"] = "text" },
				"mysql.cursor"},
			"a date that is none": {"SET sql_mode = ''; INSERT INTO t VALUES (3, '0000-00-00', 'c')", cursor,
				func(with settings) { with["zero_dates"] = "null" }, "mysql.cursor_null"},
		} {
			with := following(db, "+00:00", c.cursor)
			if c.change != nil {
				c.change(with)
			}
			if c.prepare != "" {
				db.Exec(c.prepare)
			}
			_, err := read(t, with)
			if f := wantFault(t, err, c.code); f.Hint == "" {
				t.Errorf("%s: no hint", name)
			}
			db.Exec("DELETE FROM t WHERE id = 3")
		}
	})
}
