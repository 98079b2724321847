package datastream

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// Documents are compared in a spelling of their own: the members by name, each as the server prints the value, binary ones in
// hexadecimal. What stands in the copy is brought into it by what the type of a column says; what stands in the database is
// read with a driver that is not ours.

// column is one of a table.
type column struct {
	name, member string
	kind         string
}

// The kinds of columns, for what a document has of them.
const (
	kindText   = "text" // as the server prints it, in a string
	kindNumber = "number"
	kindDouble = "double"
	kindBinary = "binary" // in base64
)

func kindOf(database string) string {
	switch strings.ToLower(database) {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return kindNumber
	case "double", "float":
		return kindDouble
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return kindBinary
	}
	return kindText
}

// columns are those of a table of the stream.
func columns(ctx context.Context, db *sql.DB, table string, rename map[string]string) (list []column, err error) {
	rows, err := db.QueryContext(ctx, "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.kind); err != nil {
			return nil, err
		}
		c.kind, c.member = kindOf(c.kind), c.name
		if other := rename[c.name]; other != "" {
			c.member = other
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// escape is what parts of a key are joined with.
var escape = strings.NewReplacer(`\`, `\\`, `:`, `\:`)

// comparison knows the columns of the tables of the stream.
type comparison struct {
	columns map[string][]column // by type
}

// compare prepares for a database.
func compare(ctx context.Context, db *sql.DB) (*comparison, error) {
	c := &comparison{columns: map[string][]column{}}
	for _, s := range streamed {
		list, err := columns(ctx, db, s.table, s.rename)
		if err != nil || len(list) == 0 {
			return nil, fmt.Errorf("the columns of %s: %v", s.table, err)
		}
		c.columns[s.kind] = list
	}
	return c, nil
}

// wanted is what the copy has to hold, in one snapshot of the database.
func (c *comparison) wanted(ctx context.Context, db *sql.DB) (map[key]string, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	documents := map[key]string{}
	for _, s := range streamed {
		list := c.columns[s.kind]
		var names []string
		for _, one := range list {
			names = append(names, one.name)
		}
		rows, err := tx.QueryContext(ctx, "SELECT "+strings.Join(names, ", ")+" FROM "+s.table)
		if err != nil {
			return nil, err
		}
		values := make([]sql.NullString, len(list))
		into := make([]any, len(list))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				rows.Close()
				return nil, err
			}
			var id []string
			text := map[string]string{}
			for i, one := range list {
				v := values[i]
				if slices.Contains(s.keys, one.name) {
					part := v.String
					if one.kind == kindBinary {
						part = base64.StdEncoding.EncodeToString([]byte(part))
					}
					id = append(id, escape.Replace(part))
				}
				switch {
				case !v.Valid:
					text[one.member] = "NULL"
				case one.kind == kindBinary:
					text[one.member] = fmt.Sprintf("%x", v.String)
				case one.kind == kindDouble:
					text[one.member] = float(v.String)
				case one.kind == kindNumber:
					text[one.member] = strconv.Quote(strings.TrimPrefix(v.String, "000")) // the year 0000 is 0
				default:
					text[one.member] = strconv.Quote(v.String)
				}
			}
			k := key{s.channel, s.kind, strings.Join(id, ":")}
			if _, twice := documents[k]; twice {
				rows.Close()
				return nil, fmt.Errorf("two rows have the id %v", k)
			}
			documents[k] = spelled(k, text)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return documents, nil
}

func float(text string) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err.Error()
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// spelled is a document for comparison.
func spelled(k key, members map[string]string) string {
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", k.Type, k.ID)
	for _, name := range names {
		fmt.Fprintf(&b, "; %s %s", name, members[name])
	}
	return b.String()
}

// spell brings a document of the copy into that spelling. One that it does not understand is spelled as it is.
func (c *comparison) spell(k key, document string) string {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return err.Error() + ": " + document
	}
	if members["id"] != k.ID || members["type"] != k.Type {
		return "of another document: " + document
	}
	delete(members, "id")
	delete(members, "type")
	text := map[string]string{}
	for name, value := range members {
		i := slices.IndexFunc(c.columns[k.Type], func(one column) bool { return one.member == name })
		if i < 0 {
			return "a column that there is not: " + document
		}
		kind := c.columns[k.Type][i].kind
		switch v := value.(type) {
		case nil:
			text[name] = "NULL"
		case json.Number:
			switch kind {
			case kindNumber:
				text[name] = strconv.Quote(v.String())
			case kindDouble:
				text[name] = float(v.String())
			default:
				text[name] = "the number " + v.String()
			}
		case string:
			switch kind {
			case kindBinary:
				raw, err := base64.StdEncoding.DecodeString(v)
				if text[name] = fmt.Sprintf("%x", raw); err != nil {
					text[name] = err.Error()
				}
			case kindText:
				text[name] = strconv.Quote(v)
			default:
				text[name] = "the text " + v
			}
		default:
			text[name] = fmt.Sprintf("%T %v", v, v)
		}
	}
	return spelled(k, text)
}

// spellAll is a copy in the spelling of comparisons.
func (c *comparison) spellAll(copy map[key]kept) map[key]kept {
	spelled := map[key]kept{}
	for k, d := range copy {
		if !d.Deleted {
			d.Document = c.spell(k, d.Document)
		}
		spelled[k] = d
	}
	return spelled
}

// TestComparison: a load goes on for a while on both servers, everything is sent as the server itself makes JSON of it, and the
// comparison finds the copy to be the database, and whatever is then spoilt in it.
func TestComparison(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *servers.Server{"MySQL": servers.MySQL, "MariaDB": servers.MariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			practice(t, s, 300)
			db := s.Open(s.Database())
			l := &load{db: db, large: 2000, pause: 2 * time.Millisecond}
			ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
			defer stop()
			l.start(ctx, 2)()
			t.Logf("the load: %s", l.report(t))
			c, err := compare(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.wanted(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			to := keep(t, inPython(t))
			sendAll(t, to, c, db)
			h := &history{Wanted: want}
			copy, _, err := copied(to.db)
			if err != nil {
				t.Fatal(err)
			}
			h.Copy = c.spellAll(copy)
			differ := func() (list []string) {
				channels := map[string]*seen{entities: {latest: map[key]int64{}}, logs: {latest: map[key]int64{}}}
				for k, d := range h.Copy {
					channels[k.Channel].latest[k] = d.Number
				}
				h.end(channels, func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) })
				return list
			}
			if list := differ(); len(list) > 0 || len(want) < 200 {
				t.Fatalf("of %d documents: %s", len(want), strings.Join(list, "\n"))
			}
			// A value of each type is spoilt.
			for k, d := range copy {
				var members map[string]json.RawMessage
				if err := json.Unmarshal([]byte(d.Document), &members); err != nil {
					t.Fatal(err)
				}
				for name, value := range members {
					other := map[bool]string{true: `"QQ=="`, false: "77"}[value[0] == '"' || string(value) == "null"]
					if string(value) == other {
						other = "null"
					}
					was := members[name]
					members[name] = json.RawMessage(other)
					text, _ := json.Marshal(members) // was parsed
					members[name] = was
					if c.spell(k, string(text)) == want[k] {
						t.Errorf("%s of %v is %s, and nothing is wrong with %s", name, k, was, other)
					}
				}
			}
		})
	}
}

// sendAll sends the rows of the database, of which the server itself makes JSON.
func sendAll(t *testing.T, to *receiver, c *comparison, db *sql.DB) {
	t.Helper()
	numbers := map[string]int64{}
	for _, s := range streamed {
		var members, id []string
		for _, one := range c.columns[s.kind] {
			value := map[string]string{kindBinary: "REPLACE(TO_BASE64(%s), '\\n', '')", kindText: "CAST(%s AS CHAR CHARACTER SET utf8mb4)",
				kindNumber: "%s + 0", kindDouble: "%s"}[one.kind]
			value = fmt.Sprintf(value, one.name)
			members = append(members, fmt.Sprintf("'%s', %s", one.member, value))
			if slices.Contains(s.keys, one.name) {
				id = append(id, fmt.Sprintf(`REPLACE(REPLACE(%s, '\\', '\\\\'), ':', '\\:')`, value))
			}
		}
		rows, err := db.Query(fmt.Sprintf("SELECT JSON_OBJECT('id', CONCAT_WS(':', %s), 'type', '%s', %s) FROM %s", strings.Join(id, ", "), s.kind, strings.Join(members, ", "), s.table))
		if err != nil {
			t.Fatal(err)
		}
		var batch []numbered
		flush := func() {
			if len(batch) > 0 {
				to.sender().must(t, to.url(), s.channel, batch[len(batch)-1].Sequence, batch...)
				batch = nil
			}
		}
		for rows.Next() {
			var text []byte
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			numbers[s.channel]++
			if batch = append(batch, numbered{text, numbers[s.channel]}); len(batch) == 1000 {
				flush()
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		flush()
	}
}
