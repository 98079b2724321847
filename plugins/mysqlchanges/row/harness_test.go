package row

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	driver "github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/internal/octets"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { servers.Main(m) }

// logged is a server that has a binary log.
type logged struct {
	database
	mariaDB bool
}

// database is what the packages of servers for tests have in common.
type database interface {
	Exec(sql string)
	Query(sql string) string
	Database() string
	DSN(database string) string
	Port() int
	Password() string
}

var logArgs = []string{"--log-bin=log", "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-checksum=CRC32", "--sql-mode=", "--max-binlog-size=1G"}

// TestServers compares what a server logs with what the mysql source reads from it: on MySQL, and on an older and a newer
// MariaDB. A part of it may change what is set globally, so that the parts of one server stand behind each other.
func TestServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) logged{
		"mysql":   func(t *testing.T) logged { return logged{servers.PrivateMySQL(t, logArgs...), false} },
		"mariadb": func(t *testing.T) logged { return logged{servers.PrivateMariaDB(t, logArgs...), true} },
		"older":   func(t *testing.T) logged { return logged{dbtest.Private(t, logArgs...), true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := start(t)
			t.Logf("%s", db.Query("SELECT VERSION()"))
			parts := map[string]func(t *testing.T, db logged){
				"types": testTypes, "charsets": testCharsets, "dates": testDates, "instants": testInstants,
				"random": testRandom, "labels": testLabels, "geometry": testGeometry, "altered": testAltered,
			}
			if db.mariaDB {
				parts["formats"] = testOldFormats // MySQL has the new ones only
			} else {
				parts["json"] = testJSON // MariaDB's is text
			}
			for name, part := range parts {
				t.Run(name, func(t *testing.T) { part(t, db) })
			}
		})
	}
}

// open connects with a driver that is not ours.
func (db logged) open(t *testing.T) *sql.DB {
	t.Helper()
	c := driver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = "root", db.Password(), "tcp", fmt.Sprintf("127.0.0.1:%d", db.Port()), db.Database()
	c.Logger, c.MaxAllowedPacket, c.MultiStatements = &driver.NopLogger{}, 1<<30, true
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	return pool
}

// image is the first row image of an event, and which columns are in it; the rest of the event's rows follow. Each is one
// before and one after, where a row was updated, and those before have the columns of before.
type image struct {
	table         TableMap
	data, present []byte
	before        []byte
}

// images runs statements and gives what they wrote to the log about a table. Of rows that were deleted, that is what they
// were.
func (db logged) images(t *testing.T, table, statements string) (list []image) {
	t.Helper()
	from := db.position(t)
	if _, err := db.open(t).Exec(statements); err != nil {
		t.Fatalf("%v\n%.2000s", err, statements)
	}
	until := db.position(t)
	if from.file != until.file {
		t.Fatalf("the log went from %v to %v", from, until)
	}
	maps := map[uint64]TableMap{}
	end := 0
	for _, event := range db.events(t, until.file) {
		kind, body := event[4], event[19:len(event)-4] // the checksum is behind it
		// Where an event of a transaction ends, MariaDB does not say since 11.7.
		end += len(event)
		if told := int(binary.LittleEndian.Uint32(event[13:])); told > 0 {
			end = told
		}
		if end <= from.offset || end > until.offset {
			continue
		}
		switch kind {
		case eventTableMap:
			m, err := ReadTableMap(body)
			if err != nil {
				t.Fatalf("table map %x: %v", body, err)
			}
			maps[m.ID] = m
		case eventWrite1, eventUpdate1, eventDelete1, eventWrite2, eventUpdate2, eventDelete2:
			r := octets.Reader{Rest: body}
			m := maps[r.Integer(6)]
			r.Take(2)
			if kind >= eventWrite2 {
				r.Take(int(r.Integer(2)) - 2)
			}
			one := image{table: m}
			size := (int(r.Packed()) + 7) / 8
			one.present = r.Take(size)
			if kind == eventUpdate1 || kind == eventUpdate2 {
				one.before, one.present = one.present, r.Take(size)
			}
			if one.data = r.Rest; m.Table == table {
				list = append(list, one)
			}
		}
	}
	return list
}

// events reads the events of a file of the log.
func (db logged) events(t *testing.T, name string) (events [][]byte) {
	t.Helper()
	if db.mariaDB { // which gives no file that not everybody on its machine may read, but what a replica asks for
		return dump(t, db, name)
	}
	var file []byte
	if err := db.open(t).QueryRow("SELECT LOAD_FILE(CONCAT(@@log_bin_basename, ?))", path.Ext(name)).Scan(&file); err != nil {
		t.Fatal(err)
	}
	for file = file[4:]; len(file) > 0; {
		size := int(binary.LittleEndian.Uint32(file[9:]))
		events, file = append(events, file[:size]), file[size:]
	}
	return events
}

// The types of events that are read here.
const (
	eventTableMap = 19
	eventWrite1   = 23
	eventUpdate1  = 24
	eventDelete1  = 25
	eventWrite2   = 30
	eventUpdate2  = 31
	eventDelete2  = 32
)

// position is a place in the log.
type position struct {
	file   string
	offset int
}

func (db logged) position(t *testing.T) (p position) {
	t.Helper()
	statement := "SHOW BINARY LOG STATUS"
	if db.mariaDB {
		statement = "SHOW MASTER STATUS"
	}
	if _, err := fmt.Sscan(db.Query(statement), &p.file, &p.offset); err != nil {
		t.Fatal(err)
	}
	return p
}

// columns reads a table's columns from the catalogue.
func (db logged) columns(t *testing.T, table string) (columns []Column) {
	t.Helper()
	rows, err := db.open(t).Query(ColumnQuery, db.Database(), table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		cells := make([]string, 7)
		into := make([]any, 7)
		for i := range cells {
			into[i] = &nullText{&cells[i]}
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		c, err := ColumnOf(cells)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
	}
	if len(columns) == 0 {
		t.Fatalf("there is no table %s", table)
	}
	return columns
}

// nullText reads NULL as the empty text.
type nullText struct{ to *string }

func (n *nullText) Scan(v any) error {
	switch v := v.(type) {
	case []byte:
		*n.to = string(v)
	case string:
		*n.to = v
	}
	return nil
}

type settings map[string]any

// selected reads a table with the mysql source.
func (db logged) selected(t *testing.T, table string, with settings) (schema *arrow.Schema, batches []arrow.Record) {
	t.Helper()
	all := settings{"url": db.DSN(db.Database()), "request": settings{"table_name": table, "allowed_tables": "*"}}
	for name, value := range with {
		all[name] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	made, err := mysql.Stage().Make(raw, sdk.Env{Log: slog.New(slog.DiscardHandler), Memory: memory.NewGoAllocator(), Count: func(string, int64) {}, Fact: func(string, string) {}})
	if err != nil {
		t.Fatal(err)
	}
	source := made.(sdk.Source)
	t.Cleanup(func() { _ = source.Close() })
	ctx := context.Background()
	if schema, err = source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		batch, err := source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return schema, batches
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(batch.Release)
		batches = append(batches, batch)
	}
}

// decoder makes a decoder of all the columns of a schema.
func decoder(t *testing.T, columns []Column, schema *arrow.Schema, o Options) *Decoder {
	t.Helper()
	var wanted []int
	for _, field := range schema.Fields() {
		for i := range columns {
			if columns[i].Name == field.Name {
				wanted = append(wanted, i)
			}
		}
	}
	d, err := NewDecoder(columns, wanted, schema, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// updated decodes all images of rows before and after updates.
func updated(t *testing.T, before, after *Decoder, list []image) (old, current arrow.Record) {
	t.Helper()
	for _, event := range list {
		for _, d := range []*Decoder{before, after} {
			if err := d.Table(event.table); err != nil {
				t.Fatal(err)
			}
		}
		for rest := event.data; len(rest) > 0; {
			var err error
			if rest, err = before.Row(rest, event.before); err == nil {
				rest, err = after.Row(rest, event.present)
			}
			if err != nil {
				t.Fatalf("%v (in %+v)", err, event.table)
			}
		}
	}
	old, current = before.Record(), after.Record()
	t.Cleanup(old.Release)
	t.Cleanup(current.Release)
	return old, current
}

// changedAsSelected updates every row of a table, in the order of its ids, and deletes them all, and compares the log with what the
// mysql source reads before and after.
func (db logged) changedAsSelected(t *testing.T, table, updates string, with settings, o Options) {
	t.Helper()
	o.MariaDB = db.mariaDB
	columns := db.columns(t, table)
	schema, was := db.selected(t, table, with)
	list := db.images(t, table, updates)
	_, is := db.selected(t, table, with)
	old, current := updated(t, decoder(t, columns, schema, o), decoder(t, columns, schema, o), list)
	same(t, old, was)
	same(t, current, is)
	same(t, decode(t, decoder(t, columns, schema, o), db.images(t, table, "DELETE FROM "+table+" ORDER BY id")), is)
}

// decode decodes all images of rows that were inserted, or deleted.
func decode(t *testing.T, d *Decoder, list []image) arrow.Record {
	t.Helper()
	for _, event := range list {
		if err := d.Table(event.table); err != nil {
			t.Fatalf("%v (%+v)", err, event.table)
		}
		for rest := event.data; len(rest) > 0; {
			next, err := d.Row(rest, event.present)
			if err != nil {
				t.Fatalf("%v (image %.200x of %+v)", err, rest, event.table)
			}
			rest = next
		}
	}
	record := d.Record()
	t.Cleanup(record.Release)
	return record
}

// sameAsSelected inserts rows into a table, and compares the log with what the mysql source reads.
func (db logged) sameAsSelected(t *testing.T, table, inserts string, with settings, o Options) arrow.Record {
	t.Helper()
	list := db.images(t, table, inserts)
	schema, batches := db.selected(t, table, with)
	o.MariaDB = db.mariaDB
	got := decode(t, decoder(t, db.columns(t, table), schema, o), list)
	same(t, got, batches)
	return got
}

func same(t *testing.T, got arrow.Record, batches []arrow.Record) {
	t.Helper()
	at := int64(0)
	for _, batch := range batches {
		if at+batch.NumRows() > got.NumRows() {
			t.Fatalf("the log has %d rows, and the table more", got.NumRows())
		}
		part := got.NewSlice(at, at+batch.NumRows())
		defer part.Release()
		if !array.RecordEqual(part, batch) {
			reported := map[int]int{}
			for row := range int(batch.NumRows()) {
				for i := range int(batch.NumCols()) {
					g, w := part.Column(i), batch.Column(i)
					if !array.SliceEqual(g, int64(row), int64(row+1), w, int64(row), int64(row+1)) {
						if reported[i]++; reported[i] < 4 {
							t.Errorf("row %d, column %q (%s): the log gives %.300q, SELECT %.300q", at+int64(row), batch.ColumnName(i), w.DataType(), g.ValueStr(row), w.ValueStr(row))
						}
					}
				}
			}
			if !t.Failed() {
				t.Error("records differ, and no value does")
			}
		}
		at += batch.NumRows()
	}
	if at != got.NumRows() || at == 0 {
		t.Errorf("the log has %d rows, the table %d", got.NumRows(), at)
	}
}

// wantFault checks an error's code, and that it says what to do.
func wantFault(t *testing.T, err error, code string) {
	t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) || f.Code != code || f.Hint == "" {
		t.Fatalf("error is %v, want fault %s with a hint", err, code)
	}
}

func loadZone(name string) *zone.Zone {
	z, ok := zone.Load(name)
	if !ok {
		panic("no zone " + name)
	}
	return z
}

// values joins SQL literals to rows.
func values(rows [][]string) string {
	var list []string
	for _, row := range rows {
		list = append(list, "("+strings.Join(row, ", ")+")")
	}
	return strings.Join(list, ",\n")
}
