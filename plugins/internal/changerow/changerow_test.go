package changerow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/internal/jsonrow"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// patients is a record with a column of every class, and awkward values; the fields as the mysql source gives them.
func patients(t *testing.T, mem memory.Allocator) arrow.Record {
	t.Helper()
	local := arrow.MetadataFrom(map[string]string{sdk.MetaFraction: "3"})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "digest", Type: arrow.BinaryTypes.Binary},
		{Name: "fee", Type: &arrow.Decimal128Type{Precision: 10, Scale: 4}, Nullable: true},
		{Name: "weight", Type: arrow.PrimitiveTypes.Float64},
		{Name: "seen", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "Australia/Sydney"}, Metadata: local},
		{Name: "type", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	rows := `[
		{"id": 1, "name": "Ann \"A\" O'Neil\\", "digest": "AAEC/w==", "fee": "148.4", "weight": 0.1, "seen": "2026-04-04T15:30:00.123", "type": "x"},
		{"id": -9223372036854775808, "name": null, "digest": "", "fee": null, "weight": 1e300, "seen": "2026-04-04T16:30:00.123", "type": ""},
		{"id": 3, "name": "日本\n\u0000 :\\:", "digest": "Ojo=", "fee": "-0.0001", "weight": -0.0, "seen": "1969-12-31T23:59:59.999", "type": "y"}
	]`
	for _, row := range strings.Split(strings.Trim(strings.TrimSpace(rows), "[]"), "},") {
		row = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(row), "}")) + "}"
		if err := b.UnmarshalJSON([]byte(row)); err != nil {
			t.Fatal(err)
		}
	}
	return b.NewRecord()
}

// rowsOf are a batch's rows as texts: the columns with "|" between, "-" for null.
func rowsOf(t *testing.T, r arrow.Record) []string {
	t.Helper()
	if !r.Schema().Equal(changes.Schema()) {
		t.Fatalf("schema: %s", r.Schema())
	}
	var rows []string
	for i := range int(r.NumRows()) {
		var texts []string
		for _, c := range r.Columns() {
			switch a := c.(type) {
			case *array.String:
				if a.IsNull(i) {
					texts = append(texts, "-")
				} else {
					texts = append(texts, a.Value(i))
				}
			case *array.Timestamp:
				if a.IsNull(i) {
					texts = append(texts, "-")
				} else {
					texts = append(texts, a.Value(i).ToTime(arrow.Microsecond).Format("2006-01-02T15:04:05.999999Z07:00"))
				}
			}
		}
		rows = append(rows, strings.Join(texts, "|"))
	}
	return rows
}

func code(err error) string {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return ""
	}
	return f.Code
}

func mapper(t *testing.T, table changerow.Table, schema *arrow.Schema, key ...string) *changerow.Mapper {
	t.Helper()
	m, err := changerow.NewMapper(table, schema, key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRows(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	r := patients(t, mem)
	defer r.Release()
	m := mapper(t, changerow.Table{Table: "patients", Type: `pa"tient`, Channel: "entities", Columns: []string{"name", "fee", "type"},
		Rename: map[string]string{"type": "kind"}}, r.Schema(), "id", "digest")
	var rows changerow.Rows
	if err := m.Map(&rows, r); err != nil {
		t.Fatal(err)
	}
	b := changerow.NewBuilder(mem)
	defer b.Release()
	at := time.Date(2026, 11, 28, 1, 2, 3, 4000, time.FixedZone("", 3600))
	b.Write(&rows, 2, changes.OriginLog, at)
	b.Write(&rows, 0, changes.OriginCopy, time.Time{})
	b.Delete(m, rows.ID(1), changes.OriginAgain, at)
	b.Truncate(m, changes.OriginLog, at)
	if b.Rows() != 4 || b.Bytes() < 200 {
		t.Errorf("%d rows, %d bytes", b.Rows(), b.Bytes())
	}
	got := b.Record()
	defer got.Release()
	want := []string{
		`entities|pa"tient|3:Ojo=|write|log|{"id":"3:Ojo=","type":"pa\"tient","name":"日本\n\u0000 :\\:","fee":"-0.0001","kind":"y"}|2026-11-28T00:02:03.000004Z`,
		`entities|pa"tient|1:AAEC/w==|write|copy|{"id":"1:AAEC/w==","type":"pa\"tient","name":"Ann \"A\" O'Neil\\","fee":"148.4000","kind":"x"}|-`,
		`entities|pa"tient|-9223372036854775808:|delete|again|-|2026-11-28T00:02:03.000004Z`,
		`entities|pa"tient||truncate|log|-|2026-11-28T00:02:03.000004Z`,
	}
	for i, row := range rowsOf(t, got) {
		if row != want[i] {
			t.Errorf("row %d\n got  %s\n want %s", i, row, want[i])
		}
	}
	if b.Rows() != 0 || b.Bytes() != 0 {
		t.Errorf("behind Record: %d rows, %d bytes", b.Rows(), b.Bytes())
	}
}

// TestDocumentsAreTheEncoders: what stands in a document is what the encoder writes of the same columns.
func TestDocumentsAreTheEncoders(t *testing.T) {
	t.Parallel()
	r := patients(t, memory.DefaultAllocator)
	defer r.Release()
	fields := r.Schema().Fields()
	fields = append([]arrow.Field{}, fields[1:]...)
	fields[len(fields)-1].Name = "kind"
	plain := array.NewRecord(arrow.NewSchema(fields, nil), r.Columns()[1:], r.NumRows())
	defer plain.Release()
	encoder, err := jsonrow.New(plain.Schema(), jsonrow.Settings{InvalidUTF8: "error", JSONColumns: "text"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines sdk.Output
	if err := encoder.AppendLines(sdk.Rows{Record: plain}, &lines); err != nil {
		t.Fatal(err)
	}
	m := mapper(t, changerow.Table{Table: "p", Type: "p", Channel: "logs", Rename: map[string]string{"type": "kind", "id": "number"}}, r.Schema(), "id")
	var rows changerow.Rows
	for range 2 { // the second time in the memory of the first
		if err := m.Map(&rows, r); err != nil {
			t.Fatal(err)
		}
	}
	b := changerow.NewBuilder(memory.DefaultAllocator)
	defer b.Release()
	for i := range rows.Len() {
		b.Write(&rows, i, changes.OriginLog, time.Time{})
	}
	got := b.Record()
	defer got.Release()
	for i, line := range bytes.SplitAfter(bytes.TrimSuffix(lines.Data, []byte("\n")), []byte("\n")) {
		document := got.Column(changes.ColumnDocument).(*array.String).Value(i)
		var number struct{ Number int64 }
		if err := json.Unmarshal([]byte(document), &number); err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		_, members, _ := strings.Cut(document, `"number":`)
		_, members, _ = strings.Cut(members, ",")
		if want := strings.TrimPrefix(strings.TrimSpace(string(line)), "{"); members != want {
			t.Errorf("row %d\n got  %s\n want %s", i, members, want)
		}
	}
}

// TestInstantsInKeys: a local time that clocks show twice is two keys.
func TestInstantsInKeys(t *testing.T) {
	t.Parallel()
	r := patients(t, memory.DefaultAllocator)
	defer r.Release()
	m := mapper(t, changerow.Table{Table: "p", Type: "p", Channel: "logs", Columns: []string{"seen"}}, r.Schema(), "seen")
	keys := array.NewRecord(arrow.NewSchema([]arrow.Field{r.Schema().Field(5)}, nil), r.Columns()[5:6], r.NumRows())
	defer keys.Release()
	var rows, alone changerow.Rows
	if err := errors.Join(m.Map(&rows, r), m.MapKeys(&alone, keys)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`2026-04-04 15\:30\:00.123`, `2026-04-04 16\:30\:00.123`, `1969-12-31 23\:59\:59.999`} {
		if string(rows.ID(i)) != want || string(alone.ID(i)) != want {
			t.Errorf("row %d: %s and %s, want %s", i, rows.ID(i), alone.ID(i), want)
		}
	}
}

func TestNoColumns(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String}}, nil)
	m, err := changerow.NewMapper(changerow.Table{Table: "p", Type: "p", Channel: "logs"}, schema, []string{"id"})
	if code(err) != changerow.CodeMember {
		t.Fatalf("%v %v", m, err)
	}
}

func TestUnfitTables(t *testing.T) {
	t.Parallel()
	zeroText := arrow.MetadataFrom(map[string]string{sdk.MetaSourceType: "timestamp"})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
		{Name: "Name", Type: arrow.BinaryTypes.String},
		{Name: "at", Type: arrow.BinaryTypes.String, Metadata: zeroText},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)},
	}, nil)
	for _, c := range []struct {
		columns []string
		rename  map[string]string
		key     []string
		code    string
		says    string
	}{
		{[]string{"k"}, nil, nil, changerow.CodeKey, "no primary key"},
		{[]string{"k"}, nil, []string{"gone"}, changerow.CodeColumn, `no column "gone"`},
		{[]string{"name"}, nil, []string{"k"}, changerow.CodeColumn, `no column "name"`},
		{[]string{"k"}, map[string]string{"gone": "x"}, []string{"k"}, changerow.CodeColumn, `no column "gone"`},
		{[]string{"k"}, nil, []string{"at"}, changerow.CodeKey, "may come twice"},
		{[]string{"k"}, map[string]string{"k": "deleted"}, []string{"k"}, changerow.CodeMember, `the member "deleted"`},
		{[]string{"k", "Name"}, map[string]string{"k": "Name"}, []string{"k"}, changerow.CodeMember, `one member, "Name"`},
		{[]string{"list"}, nil, []string{"k"}, "encoder.unsupported_type", "table t: "},
		{[]string{"k"}, nil, []string{"list"}, "encoder.unsupported_type", "table t: "},
	} {
		_, err := changerow.NewMapper(changerow.Table{Table: "t", Type: "t", Channel: "logs", Columns: c.columns, Rename: c.rename}, schema, c.key)
		if code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v %v %v: %v", c.columns, c.rename, c.key, err)
		}
	}
}

func TestUnfitValues(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64},
		{Name: "s", Type: arrow.BinaryTypes.String},
	}, nil)
	table := changerow.Table{Table: "t", Type: "t", Channel: "logs"}
	for _, c := range []struct {
		key, code string
		fill      func(*array.RecordBuilder)
	}{
		{"k", changerow.CodeKey, func(b *array.RecordBuilder) { b.Field(0).AppendNull() }},
		{"f", "encoder.not_a_number", func(b *array.RecordBuilder) { b.Field(1).(*array.Float64Builder).Append(math.NaN()) }},
		{"s", "encoder.invalid_utf8", func(b *array.RecordBuilder) { b.Field(2).(*array.StringBuilder).Append("\xff") }},
	} {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		c.fill(b)
		for _, f := range b.Fields() {
			if f.Len() == 0 {
				f.AppendEmptyValue()
			}
		}
		r := b.NewRecord()
		var rows changerow.Rows
		if err := mapper(t, table, schema, c.key).Map(&rows, r); code(err) != c.code {
			t.Errorf("key %s: %v", c.key, err)
		}
		other := "k"
		if c.key == "k" {
			continue
		}
		if err := mapper(t, table, schema, other).Map(&rows, r); code(err) != c.code {
			t.Errorf("document %s: %v", c.key, err)
		}
	}
	// Batches of another shape are not misread.
	r := patients(t, memory.DefaultAllocator)
	defer r.Release()
	var rows changerow.Rows
	m := mapper(t, table, schema, "s")
	if err := errors.Join(m.Map(&rows, r)); code(err) != "encoder.schema_changed" {
		t.Error(err)
	}
	if err := m.MapKeys(&rows, r); code(err) != "encoder.schema_changed" {
		t.Error(err)
	}
}

func TestCheckTables(t *testing.T) {
	t.Parallel()
	ok := changerow.Table{Table: "patients", Type: "patient", Channel: "entities"}
	if err := changerow.CheckTables([]changerow.Table{ok, {Table: "db.logs", Type: "log", Channel: "logs", Columns: []string{"a", "type"},
		Rename: map[string]string{"type": "a2"}}}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		second      changerow.Table
		code, place string
	}{
		{changerow.Table{Table: "patients", Type: "other"}, changerow.CodeTables, "/tables/1/table"},
		{changerow.Table{Table: "db.", Type: "other"}, changerow.CodeTables, "/tables/1/table"},
		{changerow.Table{Table: ".t", Type: "other"}, changerow.CodeTables, "/tables/1/table"},
		{changerow.Table{Table: "t", Type: "patient"}, changerow.CodeTables, "/tables/1/type"},
		{changerow.Table{Table: "t", Type: "t", Columns: []string{"a", "a"}}, changerow.CodeTables, "/tables/1/columns/1"},
		{changerow.Table{Table: "t", Type: "t", Columns: []string{"a", "deleted"}}, changerow.CodeMember, "/tables/1/columns/1"},
		{changerow.Table{Table: "t", Type: "t", Columns: []string{"a"}, Rename: map[string]string{"a": "id"}}, changerow.CodeMember, "/tables/1/rename/a"},
		{changerow.Table{Table: "t", Type: "t", Columns: []string{"a"}, Rename: map[string]string{"a": ""}}, changerow.CodeMember, "/tables/1/rename/a"},
		{changerow.Table{Table: "t", Type: "t", Columns: []string{"a"}, Rename: map[string]string{"b/~": "c"}}, changerow.CodeColumn, "/tables/1/rename/b~1~0"},
		{changerow.Table{Table: "t", Type: "t", Rename: map[string]string{"a": "x", "b": "x"}}, changerow.CodeMember, "/tables/1/rename/b"},
	} {
		err := changerow.CheckTables([]changerow.Table{ok, c.second})
		if code(err) != c.code || fault.From(err).Details[fault.DetailSetting] != c.place || fault.From(err).Hint == "" {
			t.Errorf("%+v: %v at %v", c.second, err, fault.From(err))
		}
	}
	if err := changerow.CheckTables(nil); code(err) != changerow.CodeTables {
		t.Error(err)
	}
}

// FuzzID: an id taken apart is what it was made of, different keys never have one id, and ids of the mapper are those of
// changes.AppendID.
func FuzzID(f *testing.F) {
	f.Add("a", "b", "a", "b")
	f.Add(`a\`, ":b", `a\:`, "b")
	f.Add("", "", ":", "")
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil)
	m, err := changerow.NewMapper(changerow.Table{Table: "t", Type: "t", Channel: "logs"}, schema, []string{"a", "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		one := string(changes.AppendID(changes.AppendID(nil, a), b))
		other := string(changes.AppendID(changes.AppendID(nil, c), d))
		if (one == other) != (a == c && b == d) {
			t.Errorf("%q,%q and %q,%q have the ids %q and %q", a, b, c, d, one, other)
		}
		parts, err := changerow.SplitID(one, 2)
		if err != nil || parts[0] != a || parts[1] != b {
			t.Errorf("%q: %q %v", one, parts, err)
		}
		if parts, err := changerow.SplitID(a, 2); err == nil {
			if again := string(changes.AppendID(changes.AppendID(nil, parts[0]), parts[1])); again != a {
				t.Errorf("%q is read as %q", a, again)
			}
		}
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		builder.Field(0).(*array.StringBuilder).Append(a)
		builder.Field(1).(*array.StringBuilder).Append(b)
		var rows changerow.Rows
		switch err := m.MapKeys(&rows, builder.NewRecord()); {
		case err == nil && string(rows.ID(0)) != one:
			t.Errorf("the mapper's id is %q, not %q", rows.ID(0), one)
		case err != nil && code(err) != "encoder.invalid_utf8":
			t.Error(err)
		}
	})
}

func BenchmarkRows(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String},
		{Name: "fee", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}}, {Name: "seen", Type: &arrow.TimestampType{Unit: arrow.Second}},
	}, nil)
	const n = 8192
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range n {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		rb.Field(1).(*array.StringBuilder).Append("Somebody of a usual name")
		rb.Field(2).AppendEmptyValue()
		rb.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(1700000000 + i))
	}
	r := rb.NewRecord()
	m, err := changerow.NewMapper(changerow.Table{Table: "t", Type: "patient", Channel: "entities", Rename: map[string]string{"id": "number"}}, schema, []string{"id"})
	if err != nil {
		b.Fatal(err)
	}
	var rows changerow.Rows
	out := changerow.NewBuilder(memory.DefaultAllocator)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Map(&rows, r); err != nil {
			b.Fatal(err)
		}
		for i := range rows.Len() {
			out.Write(&rows, i, changes.OriginLog, time.Time{})
		}
		out.Record().Release()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
