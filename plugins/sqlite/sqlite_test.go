package sqlite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

// writeForever is the argument with which this test program writes rows until it is killed.
const writeForever = "write-forever"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == writeForever {
		forever(os.Args[2], os.Args[3])
		return
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]any{
		"create": {}, "replace": {"mode": "replace"}, "append": {"mode": "append"}, "text": {"unsigned": "text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings["path"], settings["table"] = "{{dir}}/x.sqlite", "rows"
			stagetest.Run(t, Stage(), stagetest.Options{Settings: settings, Object: "{{dir}}/x.sqlite", Prompt: 10 * time.Second})
		})
	}
}

// open makes a sink in a new folder, or at the path in settings, and opens it.
func open(t *testing.T, s Settings, schema *arrow.Schema) (*sink, error) {
	t.Helper()
	if s.Table == "" {
		s.Table = "t"
	}
	if s.Mode == "" {
		s.Mode = modeCreate
	}
	if s.Unsigned == "" {
		s.Unsigned = "integer"
	}
	made, err := newSink(s, sdk.Env{Memory: memory.DefaultAllocator, Count: func(string, int64) {}})
	if err != nil {
		return nil, err
	}
	opened := made.(*sink)
	t.Cleanup(func() {
		if err := opened.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return opened, opened.Open(t.Context(), sdk.Table{Schema: schema, RunID: "run_1"})
}

// deliver takes one batch all the way.
func deliver(t *testing.T, s Settings, rec arrow.Record) (sdk.Receipt, error) {
	t.Helper()
	opened, err := open(t, s, rec.Schema())
	if err == nil {
		err = opened.Write(t.Context(), sdk.Rows{Record: rec})
	}
	if err != nil {
		return sdk.Receipt{}, err
	}
	return opened.Commit(t.Context())
}

// record builds a batch from JSON, as Arrow reads it.
func record(t *testing.T, fields []arrow.Field, rows string) arrow.Record {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// dump is what Python's sqlite3 reads of a database: the statement that made the table, and every row as storage class
// and value, blobs in hexadecimal.
type dump struct {
	Integrity string     `json:"integrity"`
	SQL       string     `json:"sql"`
	Rows      [][]string `json:"rows"`
}

const reader = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
table = sys.argv[2]
q = '"' + table.replace('"', '""') + '"'
columns = [c[1] for c in db.execute("SELECT * FROM pragma_table_info(?)", (table,))]
def text(v):
    if v is None: return "null"
    if isinstance(v, bytes): return "blob " + v.hex()
    if isinstance(v, float): return "real " + v.hex()
    if isinstance(v, int): return "integer " + str(v)
    return "text " + v
rows = [[text(v) for v in r] for r in db.execute("SELECT * FROM " + q + " ORDER BY rowid")] if columns else []
sql = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
print(json.dumps({"integrity": db.execute("PRAGMA integrity_check").fetchone()[0], "sql": sql and sql[0], "rows": rows}))
`

func read(t *testing.T, path, table string) (d dump) {
	t.Helper()
	if err := json.Unmarshal(python.Run(t, reader, path, table), &d); err != nil {
		t.Fatal(err)
	}
	if d.Integrity != "ok" {
		t.Errorf("the database is damaged: %s", d.Integrity)
	}
	return d
}

// query runs a statement in a database by Python.
func query(t *testing.T, path, script string) {
	t.Helper()
	python.Run(t, "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.executescript(sys.argv[2])\ndb.commit()\ndb.close()", path, script)
}

// TestValues: every type is declared and stored as the documentation says, judged by another implementation.
func TestValues(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd ? # % name.sqlite")
	of := func(name string, typ arrow.DataType, null bool, meta ...string) arrow.Field {
		f := arrow.Field{Name: name, Type: typ, Nullable: null}
		if len(meta) > 0 {
			f.Metadata = arrow.NewMetadata([]string{meta[0]}, []string{meta[1]})
		}
		return f
	}
	big, _ := decimal256.FromString("-12345678901234567890123456789012345.123456789012345678901234567890", 65, 30)
	small, _ := decimal128.FromString("99999999999999999999999999999999999999", 38, 0)
	noon := time.Date(2024, 2, 29, 12, 34, 56, 789012345, time.UTC)
	fields := []arrow.Field{
		of("bool", arrow.FixedWidthTypes.Boolean, false), of("i8", arrow.PrimitiveTypes.Int8, true), of("i64", arrow.PrimitiveTypes.Int64, false),
		of("u32", arrow.PrimitiveTypes.Uint32, true), of("u64", arrow.PrimitiveTypes.Uint64, true), of("f32", arrow.PrimitiveTypes.Float32, true),
		of("f64", arrow.PrimitiveTypes.Float64, true), of("d2", &arrow.Decimal128Type{Precision: 10, Scale: 2}, false),
		of("d38", &arrow.Decimal128Type{Precision: 38}, true), of("d65", &arrow.Decimal256Type{Precision: 65, Scale: 30}, true),
		of("day", arrow.FixedWidthTypes.Date32, true), of("at", &arrow.TimestampType{Unit: arrow.Microsecond}, true, sdk.MetaFraction, "6"),
		of("sec", &arrow.TimestampType{Unit: arrow.Second}, true), of("utc", &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, true, sdk.MetaFraction, "3"),
		of("span", &arrow.DurationType{Unit: arrow.Nanosecond}, true, sdk.MetaFraction, "0"), of("text", arrow.BinaryTypes.String, true),
		of("large", arrow.BinaryTypes.LargeString, true), of("json", arrow.BinaryTypes.String, true, sdk.MetaJSON, "true"),
		of("blob", arrow.BinaryTypes.Binary, true), of("fixed", &arrow.FixedSizeBinaryType{ByteWidth: 3}, true), of("nothing", arrow.Null, true),
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	field := func(i int) any { return b.Field(i) }
	field(0).(*array.BooleanBuilder).AppendValues([]bool{true, false}, nil)
	field(1).(*array.Int8Builder).AppendValues([]int8{-128, 0}, []bool{true, false})
	field(2).(*array.Int64Builder).AppendValues([]int64{math.MinInt64, math.MaxInt64}, nil)
	field(3).(*array.Uint32Builder).AppendValues([]uint32{math.MaxUint32, 0}, nil)
	field(4).(*array.Uint64Builder).AppendValues([]uint64{math.MaxInt64, 0}, []bool{true, false})
	field(5).(*array.Float32Builder).AppendValues([]float32{0.1, float32(math.Inf(-1))}, nil)
	field(6).(*array.Float64Builder).AppendValues([]float64{5e-324, 3}, nil)
	field(7).(*array.Decimal128Builder).AppendValues([]decimal128.Num{decimal128.FromI64(150), decimal128.FromI64(-7)}, nil)
	field(8).(*array.Decimal128Builder).AppendValues([]decimal128.Num{small, {}}, []bool{true, false})
	field(9).(*array.Decimal256Builder).AppendValues([]decimal256.Num{big, {}}, []bool{true, false})
	field(10).(*array.Date32Builder).AppendValues([]arrow.Date32{arrow.Date32FromTime(noon), -719162}, nil)
	field(11).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{arrow.Timestamp(noon.UnixMicro()), 0}, []bool{true, false})
	field(12).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{arrow.Timestamp(noon.Unix()), -1}, nil)
	field(13).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{arrow.Timestamp(noon.UnixMilli()), 0}, []bool{true, false})
	field(14).(*array.DurationBuilder).AppendValues([]arrow.Duration{-(838*3600 + 59*60 + 59) * 1e9, 0}, nil)
	field(15).(*array.StringBuilder).AppendValues([]string{"a'b\"c\x00d \U0001fa7a", ""}, nil)
	field(16).(*array.LargeStringBuilder).AppendValues([]string{"1e999", "007"}, nil)
	field(17).(*array.StringBuilder).AppendValues([]string{`{"a": 1.50}`, ""}, []bool{true, false})
	field(18).(*array.BinaryBuilder).AppendValues([][]byte{{0, 255, 10}, {}}, nil)
	field(19).(*array.FixedSizeBinaryBuilder).AppendValues([][]byte{{1, 2, 3}, {0, 0, 0}}, nil)
	field(20).(*array.NullBuilder).AppendNulls(2)
	rec := b.NewRecord()
	defer rec.Release()
	receipt, err := deliver(t, Settings{Path: path}, rec)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, path, "t")
	want := dump{Integrity: "ok", SQL: `CREATE TABLE "t" ("bool" INTEGER NOT NULL, "i8" INTEGER, "i64" INTEGER NOT NULL, "u32" INTEGER, "u64" INTEGER, "f32" REAL, ` +
		`"f64" REAL, "d2" TEXT NOT NULL, "d38" TEXT, "d65" TEXT, "day" TEXT, "at" TEXT, "sec" TEXT, "utc" TEXT, "span" TEXT, "text" TEXT, "large" TEXT, "json" TEXT, ` +
		`"blob" BLOB, "fixed" BLOB, "nothing" TEXT)`, Rows: [][]string{
		{"integer 1", "integer -128", "integer -9223372036854775808", "integer 4294967295", "integer 9223372036854775807", "real 0x1.99999a0000000p-4",
			"real 0x0.0000000000001p-1022", "text 1.50", "text 99999999999999999999999999999999999999",
			"text -12345678901234567890123456789012345.123456789012345678901234567890", "text 2024-02-29", "text 2024-02-29 12:34:56.789012",
			"text 2024-02-29 12:34:56", "text 2024-02-29 12:34:56.789", "text -838:59:59", "text a'b\"c\x00d \U0001fa7a", "text 1e999", `text {"a": 1.50}`,
			"blob 00ff0a", "blob 010203", "null"},
		{"integer 0", "null", "integer 9223372036854775807", "integer 0", "null", "real -inf", "real 0x1.8000000000000p+1", "text -0.07", "null", "null",
			"text 0001-01-01", "null", "text 1969-12-31 23:59:59", "null", "text 00:00:00", "text ", "text 007", "null", "blob ", "blob 000000", "null"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != receipt.Bytes || info.Mode().Perm() != 0o600 || len(receipt.SHA256) != 64 || receipt.Location != path {
		t.Errorf("the receipt is %+v, the file %v, %v", receipt, info, err)
	}
	only(t, filepath.Dir(path), filepath.Base(path))
}

// only holds that nothing else is in a folder.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("in the folder are %q, expected %q", names, want)
	}
}

// TestUnsigned: a number that SQLite's integers cannot hold is refused with its row, or is text like all of its column.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Uint64, Nullable: true}}, nil))
	defer b.Release()
	b.Field(0).(*array.Uint64Builder).AppendValues([]uint64{7, math.MaxUint64, 0}, []bool{true, true, false})
	rec := b.NewRecord()
	defer rec.Release()
	path := filepath.Join(t.TempDir(), "x")
	_, err := deliver(t, Settings{Path: path}, rec)
	if row, ok := fault.From(err).Row(); !fault.Is(err, "sqlite.unsigned") || !ok || row != 1 {
		t.Errorf("%v", err)
	}
	path = filepath.Join(t.TempDir(), "x")
	if _, err = deliver(t, Settings{Path: path, Unsigned: "text"}, rec); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, "t"); got.SQL != `CREATE TABLE "t" ("n" TEXT)` || !reflect.DeepEqual(got.Rows, [][]string{{"text 7"}, {"text 18446744073709551615"}, {"null"}}) {
		t.Errorf("%+v", got)
	}
}

// TestNames: whatever a column or a table is called, it is a name and nothing else.
func TestNames(t *testing.T) {
	t.Parallel()
	hostile := []string{`a"b`, "select", "", " ", "x); DROP TABLE t; --", "a'b", "[a]", "`a`", "naïve 漢字", "line\nbreak", "?1", ":a", "rowid", "%s", "\\"}
	for _, table := range append(hostile[:2:2], hostile[3:]...) {
		path := filepath.Join(t.TempDir(), "x")
		var fields []arrow.Field
		row := map[string]int{}
		for i, name := range hostile {
			fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64})
			row[name] = i
		}
		text, _ := json.Marshal([]any{row})
		if _, err := deliver(t, Settings{Path: path, Table: table}, record(t, fields, string(text))); err != nil {
			t.Fatalf("%q: %v", table, err)
		}
		script := `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master")]
columns = [c[1] for c in db.execute("SELECT * FROM pragma_table_info(?)", (tables[0],))]
cursor = db.execute('SELECT * FROM "' + tables[0].replace('"', '""') + '"')
print(json.dumps([tables, columns, list(cursor.fetchone())]))`
		var got []any
		if err := json.Unmarshal(python.Run(t, script, path), &got); err != nil {
			t.Fatal(err)
		}
		want := []any{[]string{table}, hostile, make([]int, len(hostile))}
		for i := range hostile {
			want[2].([]int)[i] = i
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestRefused: what cannot be stored as it is fails before or with its row, and leaves nothing.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ints := func(names ...string) (fields []arrow.Field) {
		for _, name := range names {
			fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
		}
		return fields
	}
	many := make([]string, 2001)
	for i := range many {
		many[i] = "c" + strconv.Itoa(i)
	}
	one := func(f arrow.Field, build func(array.Builder)) arrow.Record {
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{f}, nil))
		defer b.Release()
		build(b.Field(0))
		rec := b.NewRecord()
		t.Cleanup(rec.Release)
		return rec
	}
	floats := one(arrow.Field{Name: "f", Type: arrow.PrimitiveTypes.Float64}, func(b array.Builder) {
		b.(*array.Float64Builder).AppendValues([]float64{1, 2, math.NaN()}, nil)
	})
	texts := one(arrow.Field{Name: "s", Type: arrow.BinaryTypes.String}, func(b array.Builder) { b.(*array.StringBuilder).AppendValues([]string{"a", "\xff"}, nil) })
	liar := one(arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int64}, func(b array.Builder) {
		b.(*array.Int64Builder).AppendValues([]int64{1, 2}, []bool{true, false})
	})
	nested := one(arrow.Field{Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)}, func(b array.Builder) { b.AppendEmptyValue() })
	plain := record(t, ints("a"), `[{"a": 1}]`)
	for _, c := range []struct {
		name string
		s    Settings
		rec  arrow.Record
		code string
		row  int64
	}{
		{"a relative path", Settings{Path: "x.sqlite"}, plain, "sqlite.path", -1},
		{"memory", Settings{Path: ":memory:"}, plain, "sqlite.path", -1},
		{"a table of SQLite's own", Settings{Path: dir + "/x", Table: "SQLITE_master"}, plain, "sqlite.table", -1},
		{"a table with a NUL", Settings{Path: dir + "/x", Table: "a\x00b"}, plain, "sqlite.table", -1},
		{"no folder", Settings{Path: dir + "/none/x"}, plain, "sink.not_found", -1},
		{"a folder", Settings{Path: dir}, plain, "sqlite.not_a_file", -1},
		{"names that differ in their case", Settings{Path: dir + "/x"}, record(t, ints("Id", "iD"), `[]`), "sqlite.duplicate_column", -1},
		{"a name with a NUL", Settings{Path: dir + "/x"}, record(t, ints("a\x00"), `[]`), "sqlite.column_name", -1},
		{"too many columns", Settings{Path: dir + "/x"}, record(t, ints(many...), `[]`), "sqlite.columns", -1},
		{"no column", Settings{Path: dir + "/x"}, record(t, nil, `[]`), "sqlite.columns", -1},
		{"a list", Settings{Path: dir + "/x"}, nested, "encoder.unsupported_type", -1},
		{"NaN", Settings{Path: dir + "/x"}, floats, "sqlite.not_a_number", 2},
		{"no UTF-8", Settings{Path: dir + "/x"}, texts, "sqlite.invalid_utf8", 1},
		{"NULL where none may be", Settings{Path: dir + "/x"}, liar, "sqlite.constraint", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := deliver(t, c.s, c.rec)
			f := fault.From(err)
			if f == nil || f.Code != c.code {
				t.Fatalf("%v", err)
			}
			if row, ok := f.Row(); ok != (c.row >= 0) || ok && row != c.row {
				t.Errorf("row %d, %v", row, ok)
			}
		})
	}
	t.Cleanup(func() { only(t, dir) })
}

// TestFolding: letters that SQLite does not fold make two names.
func TestFolding(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	fields := []arrow.Field{{Name: "ä", Type: arrow.PrimitiveTypes.Int64}, {Name: "Ä", Type: arrow.PrimitiveTypes.Int64}, {Name: "\u212a", Type: arrow.PrimitiveTypes.Int64}, {Name: "k", Type: arrow.PrimitiveTypes.Int64}}
	if _, err := deliver(t, Settings{Path: path}, record(t, fields, `[{"ä": 1, "Ä": 2, "\u212a": 3, "k": 4}]`)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, "t"); fmt.Sprint(got.Rows) != "[[integer 1 integer 2 integer 3 integer 4]]" {
		t.Errorf("%+v", got)
	}
}

// TestModes: what becomes of what is there.
func TestModes(t *testing.T) {
	t.Parallel()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "amount", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}, Nullable: true}}
	rec := record(t, fields, `[{"id": 3, "amount": "1.50"}]`)
	for _, c := range []struct {
		name, mode, before string
		code               string
		rows               string
	}{
		{"create, nothing", modeCreate, "", "", "[[integer 3 text 1.50]]"},
		{"create, a database", modeCreate, "CREATE TABLE t (id INTEGER, amount TEXT)", "sqlite.exists", "[]"},
		{"replace, nothing", modeReplace, "", "", "[[integer 3 text 1.50]]"},
		{"replace, a database", modeReplace, "CREATE TABLE t (other); INSERT INTO t VALUES (1); CREATE TABLE u (x)", "", "[[integer 3 text 1.50]]"},
		{"append, nothing", modeAppend, "", "", "[[integer 3 text 1.50]]"},
		{"append, another table", modeAppend, "CREATE TABLE u (x)", "", "[[integer 3 text 1.50]]"},
		{"append, the table", modeAppend, "CREATE TABLE T (note DEFAULT 'n', AMOUNT VARCHAR(20), id BIGINT); INSERT INTO t VALUES ('a', '9', 1)", "",
			"[[text a text 9 integer 1] [text n text 1.50 integer 3]]"},
		{"append, a column that changes values", modeAppend, "CREATE TABLE t (id INTEGER, amount DECIMAL(10,2))", "sqlite.column_type", "[]"},
		{"append, a column that is not there", modeAppend, "CREATE TABLE t (id INTEGER)", "sqlite.missing_column", "[]"},
		{"append, a constraint", modeAppend, "CREATE TABLE t (id INTEGER PRIMARY KEY, amount TEXT); INSERT INTO t VALUES (3, 'x')", codeConstraint, "[[integer 3 text x]]"},
		{"append, a view", modeAppend, "CREATE TABLE u (id INTEGER, amount TEXT); CREATE VIEW t AS SELECT * FROM u", "sqlite.not_a_table", "[]"},
		{"append, a log in use", modeAppend, "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER, amount TEXT)", "", "[[integer 3 text 1.50]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x")
			if c.before != "" {
				query(t, path, c.before)
			}
			receipt, err := deliver(t, Settings{Path: path, Mode: c.mode}, rec)
			if f := fault.From(err); (c.code == "") != (f == nil) || f != nil && f.Code != c.code {
				t.Fatalf("%v", err)
			}
			if appended := c.mode == modeAppend && c.before != ""; err == nil && appended != (receipt.SHA256 == "") {
				t.Errorf("the receipt is %+v", receipt)
			}
			if got := read(t, path, "t"); fmt.Sprint(got.Rows) != c.rows {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestOthers: a file that is no database, one that somebody has locked, and journals that would be played into another
// file.
func TestOthers(t *testing.T) {
	t.Parallel()
	rec := record(t, []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, `[{"id": 3}]`)
	text := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := deliver(t, Settings{Path: text, Mode: modeAppend}, rec); !fault.Is(err, "sqlite.not_a_database") {
		t.Errorf("%v", err)
	}
	if _, err := deliver(t, Settings{Path: text, Mode: modeReplace}, rec); err != nil {
		t.Errorf("%v", err)
	}
	for _, journal := range []string{"-journal", "-wal"} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path+journal, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{modeCreate, modeReplace} {
			if _, err := deliver(t, Settings{Path: path, Mode: mode}, rec); !fault.Is(err, "sqlite.in_use") {
				t.Errorf("%s, %s: %v", journal, mode, err)
			}
		}
		only(t, filepath.Dir(path), "x"+journal)
	}
	// Somebody makes the file while the rows come.
	path := filepath.Join(t.TempDir(), "x")
	s, err := open(t, Settings{Path: path}, rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context()); !fault.Is(err, "sqlite.exists") {
		t.Errorf("%v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "theirs" {
		t.Errorf("%q, %v", content, err)
	}
	only(t, filepath.Dir(path), "x")
}

// TestBusy: a database that somebody else writes to is waited for, and then said to be busy, which is worth another
// try.
func TestBusy(t *testing.T) {
	t.Parallel()
	rec := record(t, []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, `[{"id": 3}]`)
	path := filepath.Join(t.TempDir(), "x")
	query(t, path, "CREATE TABLE t (id INTEGER)")
	first, err := open(t, Settings{Path: path, Mode: modeAppend}, rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, Settings{Path: path, Mode: modeAppend}, rec.Schema()); !fault.Is(err, "sqlite.busy") || !fault.From(err).Retryable {
		t.Errorf("%v", err)
	}
	if err := first.Write(t.Context(), sdk.Rows{Record: rec}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, "t"); len(got.Rows) != 0 {
		t.Errorf("seen before Commit: %+v", got)
	}
	if _, err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, "t"); len(got.Rows) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestCheck: a check finds what a run would fail with, and leaves everything as it was.
func TestCheck(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	for _, known := range []*arrow.Schema{nil, schema} {
		dir := t.TempDir()
		check := func(mode string) (codes []string) {
			made, err := newSink(Settings{Path: dir + "/x", Table: "t", Mode: mode, Unsigned: "integer"}, sdk.Env{Count: func(string, int64) {}})
			if err != nil {
				t.Fatal(err)
			}
			var report sdk.Report
			made.(sdk.TableChecker).CheckTable(t.Context(), sdk.Table{Schema: known, RunID: "r"}, &report)
			for _, f := range report.Findings {
				codes = append(codes, f.Fault.Code)
			}
			return codes
		}
		if got := check(modeCreate); fmt.Sprint(got) != "[check.fine]" {
			t.Errorf("%v", got)
		}
		only(t, dir)
		query(t, dir+"/x", "CREATE TABLE t (id TEXT)")
		if got := check(modeCreate); fmt.Sprint(got) != "[sqlite.exists]" {
			t.Errorf("%v", got)
		}
		want := map[bool]string{true: "[check.fine]", false: "[sqlite.column_type]"}[known == nil]
		if got := check(modeAppend); fmt.Sprint(got) != want {
			t.Errorf("%v", got)
		}
		only(t, dir, "x")
	}
}

// forever writes batches until it is killed, and says how many.
func forever(path, mode string) {
	made, err := newSink(Settings{Path: path, Table: "t", Mode: mode, Unsigned: "integer"}, sdk.Env{Count: func(string, int64) {}})
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "pad", Type: arrow.BinaryTypes.String}}, nil))
	for i := range 4096 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(strings.Repeat("x", 1000))
	}
	rec := b.NewRecord()
	if err == nil {
		err = made.Open(context.Background(), sdk.Table{Schema: rec.Schema(), RunID: "killed"})
	}
	for n := 1; err == nil; n++ {
		err = made.Write(context.Background(), sdk.Rows{Record: rec})
		fmt.Println(n)
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKilled: a process that is killed in mid-write, with more written than SQLite keeps in memory, leaves the
// destination as it was for whoever opens it next.
func TestKilled(t *testing.T) {
	t.Parallel()
	program, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ mode, before string }{
		{modeCreate, ""}, {modeReplace, "rows"}, {modeAppend, "rows"}, {modeAppend, "log"}, {modeAppend, ""},
	} {
		t.Run(c.mode+" "+c.before, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			if c.before == "log" {
				query(t, path, "PRAGMA journal_mode = WAL")
			}
			if c.before != "" {
				query(t, path, "CREATE TABLE t (id INTEGER, pad TEXT); INSERT INTO t VALUES (1, 'before')")
			}
			cmd := exec.CommandContext(t.Context(), program, writeForever, path, c.mode)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(line) == "10" { // 40 MB, five times the cache
					break
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, lines)
			_ = cmd.Wait()
			if c.before == "" {
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the destination is there: %v", err)
				}
				return
			}
			if got := read(t, path, "t"); fmt.Sprint(got.Rows) != "[[integer 1 text before]]" {
				t.Errorf("%d rows", len(got.Rows))
			}
		})
	}
}
