package row

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// everyType is a table with a column of every decoder, and what the log says of it.
func everyType() (columns []Column, schema *arrow.Schema, m TableMap) {
	var fields []arrow.Field
	for _, c := range []struct {
		dataType, columnType, charset string
		arrow                         arrow.DataType
		code                          byte
		meta                          uint16
	}{
		{"tinyint", "tinyint(4)", "", arrow.PrimitiveTypes.Int8, typeTiny, 0},
		{"mediumint", "mediumint(9)", "", arrow.PrimitiveTypes.Int32, typeInt24, 0},
		{"mediumint", "mediumint(8) unsigned", "", arrow.PrimitiveTypes.Uint32, typeInt24, 0},
		{"bigint", "bigint(20)", "", arrow.PrimitiveTypes.Int64, typeLongLong, 0},
		{"year", "year(4)", "", arrow.PrimitiveTypes.Uint16, typeYear, 0},
		{"float", "float", "", arrow.PrimitiveTypes.Float32, typeFloat, 4},
		{"double", "double", "", arrow.PrimitiveTypes.Float64, typeDouble, 8},
		{"decimal", "decimal(10,2)", "", &arrow.Decimal128Type{Precision: 10, Scale: 2}, typeNewDecimal, 10<<8 | 2},
		{"decimal", "decimal(65,30)", "", &arrow.Decimal256Type{Precision: 65, Scale: 30}, typeNewDecimal, 65<<8 | 30},
		{"bit", "bit(9)", "", arrow.PrimitiveTypes.Uint64, typeBit, 1<<8 | 1},
		{"date", "date", "", arrow.FixedWidthTypes.Date32, typeDate, 0},
		{"datetime", "datetime(3)", "", &arrow.TimestampType{Unit: arrow.Millisecond}, typeDatetime2, 3},
		{"datetime", "datetime(6)", "", &arrow.TimestampType{Unit: arrow.Microsecond}, typeDatetime, 0},
		{"datetime", "datetime", "", &arrow.TimestampType{Unit: arrow.Second}, typeDatetime, 0},
		{"timestamp", "timestamp(6)", "", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, typeTimestamp2, 6},
		{"timestamp", "timestamp(1)", "", &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, typeTimestamp, 0},
		{"time", "time(2)", "", &arrow.DurationType{Unit: arrow.Millisecond}, typeTime2, 2},
		{"time", "time(3)", "", &arrow.DurationType{Unit: arrow.Millisecond}, typeTime, 0},
		{"time", "time", "", &arrow.DurationType{Unit: arrow.Second}, typeTime, 0},
		{"char", "char(10)", "latin1", arrow.BinaryTypes.String, typeString, 10},
		{"varchar", "varchar(100)", "gb18030", arrow.BinaryTypes.String, typeVarchar, 400},
		{"varchar", "varchar(100)", "ujis", arrow.BinaryTypes.String, typeVarchar, 300},
		{"text", "text", "utf16", arrow.BinaryTypes.String, typeBlob, 2},
		{"text", "text", "utf8mb3", arrow.BinaryTypes.String, typeBlob, 2},
		{"text", "text", "utf32", arrow.BinaryTypes.String, typeBlob, 2},
		{"text", "text", "ucs2", arrow.BinaryTypes.String, typeBlob, 2},
		{"text", "text", "utf8mb4", arrow.BinaryTypes.String, typeBlobCompressed, 2},
		{"binary", "binary(5)", "", arrow.BinaryTypes.Binary, typeString, 5},
		{"blob", "blob", "", arrow.BinaryTypes.Binary, typeBlob, 2},
		{"enum", "enum('a','b')", "utf8mb4", arrow.BinaryTypes.String, typeEnum, 1},
		{"set", "set('a','b')", "utf8mb4", arrow.BinaryTypes.String, typeSet, 1},
		{"json", "json", "", arrow.BinaryTypes.String, typeJSON, 4},
		{"geometry", "geometry", "", arrow.BinaryTypes.Binary, typeGeometry, 4},
		{"inet6", "inet6", "", arrow.BinaryTypes.String, typeString, 16},
		{"inet4", "inet4", "", arrow.BinaryTypes.String, typeString, 4},
		{"uuid", "uuid", "", arrow.BinaryTypes.String, typeString, 16},
	} {
		name := "c" + string(rune('A'+len(columns)))
		columns = append(columns, Column{Name: name, DataType: c.dataType, ColumnType: c.columnType, Charset: c.charset, Nullable: true})
		fields = append(fields, arrow.Field{Name: name, Type: c.arrow, Nullable: true})
		m.Types, m.Meta = append(m.Types, c.code), append(m.Meta, c.meta)
	}
	return columns, arrow.NewSchema(fields, nil), m
}

func everyDecoder(t testing.TB, o Options) (*Decoder, int) {
	columns, schema, m := everyType()
	wanted := make([]int, len(columns))
	for i := range wanted {
		wanted[i] = i
	}
	d, err := NewDecoder(columns, wanted, schema, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Table(m); err != nil {
		t.Fatal(err)
	}
	return d, len(columns)
}

// sampleImage is an image of everyType.
func sampleImage() []byte {
	document, _ := hex.DecodeString("0001000c000b00010005070061")
	return slices.Concat(make([]byte, 5), []byte{0x80}, []byte{0xff, 0xff, 0xff}, []byte{0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x80}, 8), []byte{124},
		[]byte{0, 0, 0xc0, 0x3f}, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, []byte{0x80, 0, 0, 1, 50}, append([]byte{0x80}, make([]byte, 29)...), []byte{1, 1},
		[]byte{0x5d, 0xd0, 0x0f}, []byte{0x99, 0xb2, 0xba, 0xc6, 0x38, 0x1e, 0xd2}, bytes.Repeat([]byte{0}, 8), bytes.Repeat([]byte{0}, 8),
		[]byte{0x65, 0, 0, 0, 0, 0, 1}, []byte{0x65, 0, 0, 0, 1}, []byte{0x7f, 0xff, 0xff, 0xff}, []byte{0x00, 0xb4, 0x07, 0xa5, 0x80}, []byte{1, 0, 0},
		[]byte{2, 0xfc, 'a'}, []byte{6, 0, 0x81, 0x30, 0x81, 0x30, 0xb0, 0xa1}, []byte{4, 0, 'a', 0x8f, 0xa2, 0xaf}, []byte{4, 0, 0xd8, 0x3d, 0xde, 0x42}, []byte{2, 0, 0xc3, 0xa9},
		[]byte{4, 0, 0, 1, 0xf6, 0x42}, []byte{2, 0, 0, 0xe9}, []byte{2, 0, 0, 'a'}, []byte{1, 'a'}, []byte{1, 0, 0xff}, []byte{2}, []byte{3},
		append([]byte{byte(len(document)), 0, 0, 0}, document...), append([]byte{25, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}, make([]byte, 16)...),
		[]byte{1, 0xfe}, []byte{0}, []byte{2, 1, 2})
}

// FuzzRow: no image makes a decoder panic, or take memory beyond what the image is worth, and what it takes is a valid record.
func FuzzRow(f *testing.F) {
	f.Add(sampleImage())
	f.Add(append(sampleImage(), sampleImage()...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []Options{{ZeroDates: zeroNull}, {Geometry: "ewkb", LargestRow: 1 << 16}} {
			d, columns := everyDecoder(t, o)
			present := bytes.Repeat([]byte{0xff}, (columns+7)/8)
			rows := 0
			for rest := data; len(rest) > 0; rows++ {
				next, err := d.Row(rest, present)
				if err != nil {
					break
				}
				if len(next) >= len(rest) {
					t.Fatal("a row takes nothing")
				}
				rest = next
			}
			if d.Rows() != rows {
				t.Fatalf("%d rows, want %d", d.Rows(), rows)
			}
			if most := 8*len(data) + 600*(rows+1) + 1100*len(data); d.Bytes() > most { // zlib packs a thousandfold
				t.Fatalf("%d bytes of %d", d.Bytes(), len(data))
			}
			record := d.Record()
			if record.NumRows() != int64(rows) {
				t.Fatalf("the record has %d rows, want %d", record.NumRows(), rows)
			}
			for _, column := range record.Columns() {
				for row := range rows {
					if text, ok := column.(*array.String); ok {
						_ = strings.Clone(text.Value(row))
					} else {
						_ = column.ValueStr(row)
					}
				}
			}
			record.Release()
		}
	})
}

// FuzzJSON: what is taken is JSON, and not much longer than the document.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{"", "0400", "0401", "050100", "0b000000000000f03f", "0c0161", "0f0c0161", "0ff6040a0280000001", "0f0c080000000000b2b219",
		"0001000c000b00010005070061", "0202001100050100050200", "020200100002080002080000000000"} {
		document, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(document)
	}
	// Arrays that all point at one array, which points at one array: its text would be endless.
	bomb := []byte{jsonSmallArray}
	for range 40 {
		bomb = append(bomb, 8, 0, 0xff, 0xff)
		for range 8 {
			bomb = append(bomb, jsonSmallArray, 28, 0)
		}
	}
	f.Add(bomb)
	f.Fuzz(func(t *testing.T, document []byte) {
		text, ok := appendJSON(nil, document)
		if len(text) > 64+100*len(document) {
			t.Fatalf("%d bytes of %d", len(text), len(document))
		}
		if ok && !json.Valid(bytes.ToValidUTF8(text, []byte("?"))) {
			t.Fatalf("%q", text)
		}
	})
}

// FuzzTableMap: an event is read as a whole or refused, and gives as much for each column.
func FuzzTableMap(f *testing.F) {
	body := []byte("\x01\x00\x00\x00\x00\x00\x01\x00\x01d\x00\x01t\x00\x03\x03\x0f\xfe\x04\x28\x00\xf7\x01\x06\x01\x01\x00\x04\x06\x01a\x01b\x01c\x06\x05\x02\x01x\x01y\x02\x01\x2d\x0a\x01\x2d")
	f.Add(body)
	f.Add(body[:20])
	columns, schema, _ := everyType()
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ReadTableMap(body)
		if err != nil {
			return
		}
		if len(m.Types) != len(m.Meta) || len(m.Nullable) != (len(m.Types)+7)/8 {
			t.Fatalf("%+v", m)
		}
		n := min(len(m.Types), len(columns))
		wanted := make([]int, n)
		for i := range wanted {
			wanted[i] = i
		}
		d, err := NewDecoder(columns[:n], wanted, arrow.NewSchema(schema.Fields()[:n], nil), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Table(m) == nil {
			_, _ = d.Row(body, bytes.Repeat([]byte{0xff}, (n+7)/8))
		}
	})
}

// TestFaults: what is wrong with an image is told, nothing of its row stays, and the rows before it do.
func TestFaults(t *testing.T) {
	t.Parallel()
	d, columns := everyDecoder(t, Options{ZeroDates: zeroNull})
	present := bytes.Repeat([]byte{0xff}, (columns+7)/8)
	good := sampleImage()
	if rest, err := d.Row(good, present); err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes are left: %v", len(rest), err)
	}
	size := d.Bytes()
	for n := range good { // cut everywhere
		_, err := d.Row(good[:n], present)
		wantFault(t, err, CodeImage)
	}
	missing := slices.Clone(present)
	missing[0] = 0xfe
	_, err := d.Row(good, missing)
	wantFault(t, err, CodeImage)
	_, err = d.Row(good, present[1:])
	wantFault(t, err, CodeImage)
	if d.Rows() != 1 || d.Bytes() != size {
		t.Errorf("%d rows and %d bytes are there, want 1 and %d", d.Rows(), d.Bytes(), size)
	}
	nulls := bytes.Repeat([]byte{0xff}, 5)
	for range 9 {
		if _, err := d.Row(nulls, present); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Row(append(slices.Clone(nulls[:4]), 0), present); err == nil {
			t.Fatal("an image of NULLs and no values was taken")
		}
	}
	record := d.Record()
	defer record.Release()
	for _, column := range record.Columns() {
		if column.Len() != 10 || column.NullN() != 9 && column.NullN() != 10 || column.IsNull(0) && column.NullN() != 10 {
			t.Errorf("column %v", column)
		}
	}
	if got := record.Column(slices.IndexFunc(record.Schema().Fields(), func(f arrow.Field) bool { return f.Name == "cT" })).(*array.String).Value(0); got != "üa" {
		t.Errorf("the text is %q", got)
	}
	// A value that is larger than a row may be, and a compressed one that would be.
	d, _ = everyDecoder(t, Options{ZeroDates: zeroNull, LargestRow: 16})
	_, err = d.Row(good, present)
	wantFault(t, err, CodeValue)
	bare, err := NewDecoder([]Column{{Name: "a", DataType: "int", ColumnType: "int"}}, []int{0},
		arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int32}}, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bare.Row([]byte{0, 0, 0, 0, 0}, []byte{1})
	wantFault(t, err, CodeImage)
	if err := bare.Table(TableMap{Types: []byte{typeLong}, Meta: []uint16{0}}); err != nil {
		t.Fatal(err)
	}
	_, err = bare.Row([]byte{1}, []byte{1}) // NULL, though NOT NULL
	wantFault(t, err, CodeImage)
	for _, c := range []Column{{Name: "a", DataType: "int", ColumnType: "int unsigned"}, {Name: "b", DataType: "int", ColumnType: "int"}, {Name: "a", DataType: "xmltype", ColumnType: "xmltype"}} {
		_, err := NewDecoder([]Column{c}, []int{0}, bare.schema, Options{})
		wantFault(t, err, CodeColumn)
	}
}

func BenchmarkRow(b *testing.B) {
	d, columns := everyDecoder(b, Options{ZeroDates: zeroNull})
	present := bytes.Repeat([]byte{0xff}, (columns+7)/8)
	image := sampleImage()
	b.ReportAllocs()
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		if _, err := d.Row(image, present); err != nil {
			b.Fatal(err)
		}
		if d.Rows() == 8192 {
			d.Record().Release()
		}
	}
	b.ReportMetric(float64(b.N)*float64(columns)/b.Elapsed().Seconds(), "values/s")
}
