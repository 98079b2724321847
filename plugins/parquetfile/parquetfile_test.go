package parquetfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	arrowparquet "github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	encoder "github.com/cipherstream/cipherstream/plugins/parquet"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// encode writes a record with the encoder of this program.
func encode(t testing.TB, r arrow.Record, settings string) []byte {
	t.Helper()
	var batches []sdk.Rows
	const morsel = 2048
	for i := int64(0); i < r.NumRows() || i == 0; i += morsel {
		slice := r.NewSlice(i, min(i+morsel, r.NumRows()))
		defer slice.Release()
		batches = append(batches, sdk.Rows{Record: slice, First: i})
	}
	out, err := sample.Encode(sample.NewEncoder(t, encoder.Stage(), settings, sdk.Env{}), batches...)
	if err != nil {
		t.Fatal(err)
	}
	return out.Data
}

// open starts a source on a file.
func open(t testing.TB, data []byte, env sdk.Env) *source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "extraction.parquet")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := Stage().Make(fmt.Appendf(nil, `{"path":%q}`, path), env)
	if err != nil {
		t.Fatal(err)
	}
	return made.(*source)
}

// readAll reads a file to its end.
func readAll(t testing.TB, data []byte, env sdk.Env) (arrow.Table, error) {
	t.Helper()
	s := open(t, data, env)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	schema, err := s.Open(context.Background())
	if err != nil {
		return nil, err
	}
	var records []arrow.Record
	defer func() {
		for _, r := range records {
			r.Release()
		}
	}()
	for {
		r, err := s.Next(context.Background())
		if err == io.EOF {
			return array.NewTableFromRecords(schema, records), nil
		}
		if err != nil {
			if _, again := s.Next(context.Background()); again != err {
				t.Errorf("after %v, Next gives %v", err, again)
			}
			return nil, err
		}
		records = append(records, r)
	}
}

// joined returns a table's column as one array.
func joined(t testing.TB, table arrow.Table, i int) arrow.Array {
	t.Helper()
	chunks := table.Column(i).Data().Chunks()
	if len(chunks) == 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, table.Schema().Field(i).Type, 0)
	}
	if chunks[0].DataType().ID() == arrow.NULL {
		return array.NewNull(int(table.NumRows()))
	}
	a, err := array.Concatenate(chunks, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRoundTrip reads back what the encoder wrote, types and metadata too.
func TestRoundTrip(t *testing.T) {
	all := sample.Everything()
	defer all.Release()
	big := sample.Appointments(20_000, 11)
	defer big.Release()
	// What is stored in another type or unit, and how it comes back.
	changed := map[string]arrow.DataType{
		"timestamp_s": nil, "duration_s": nil, "time32": arrow.FixedWidthTypes.Time32ms, "date64": arrow.FixedWidthTypes.Date32,
		"large_utf8": arrow.BinaryTypes.String, "large_binary": arrow.BinaryTypes.Binary,
	}
	var fields []arrow.Field
	var columns []arrow.Array
	for i, f := range all.Schema().Fields() {
		if to, ok := changed[f.Name]; !ok || to != nil {
			fields, columns = append(fields, f), append(columns, all.Column(i))
		}
	}
	everything := array.NewRecord(arrow.NewSchema(fields, nil), columns, all.NumRows())
	defer everything.Release()

	for _, c := range []struct {
		name, settings string
		record         arrow.Record
		env            sdk.Env
	}{
		{"every type", `{}`, everything, sdk.Env{}},
		{"every type, a row at a time", `{"compression":"none"}`, everything, sdk.Env{BatchRows: 1}},
		{"rows", `{"row_group":"64KiB","compression":"snappy"}`, big, sdk.Env{BatchRows: 1000}},
		{"rows in small batches by size", `{"row_group":"256KiB"}`, big, sdk.Env{BatchBytes: 10_000}},
		{"no rows", `{}`, big.NewSlice(0, 0), sdk.Env{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checked := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer checked.AssertSize(t, 0)
			c.env.Memory = checked
			table, err := readAll(t, encode(t, c.record, c.settings), c.env)
			if err != nil {
				t.Fatal(err)
			}
			defer table.Release()
			if table.NumRows() != c.record.NumRows() {
				t.Fatalf("%d rows, want %d", table.NumRows(), c.record.NumRows())
			}
			for i, f := range c.record.Schema().Fields() {
				want := c.record.Column(i)
				got := table.Schema().Field(i)
				if to := changed[f.Name]; to != nil {
					if !arrow.TypeEqual(got.Type, to) {
						t.Errorf("%s came back as %s", f, got.Type)
					}
				} else if !got.Equal(f) {
					t.Errorf("%s came back as %s", f, got)
				}
				a := joined(t, table, i)
				if arrow.TypeEqual(got.Type, f.Type) {
					if !array.Equal(a, want) {
						t.Errorf("%s: %s, want %s", f.Name, a, want)
					}
				} else {
					for row := range want.Len() {
						if a.ValueStr(row) != want.ValueStr(row) && f.Type.ID() != arrow.TIME32 {
							t.Errorf("%s, row %d: %s, want %s", f.Name, row, a.ValueStr(row), want.ValueStr(row))
						}
					}
				}
				a.Release()
			}
		})
	}
}

// TestArrowWrites reads files of Arrow's writer.
func TestArrowWrites(t *testing.T) {
	record := sample.Appointments(10_000, 5)
	defer record.Release()
	table := array.NewTableFromRecords(record.Schema(), []arrow.Record{record})
	defer table.Release()
	for _, c := range []struct {
		name    string
		options []arrowparquet.WriterProperty
	}{
		{"default", nil},
		{"plain", []arrowparquet.WriterProperty{arrowparquet.WithDictionaryDefault(false)}},
		{"snappy", []arrowparquet.WriterProperty{arrowparquet.WithCompression(compress.Codecs.Snappy)}},
		{"gzip", []arrowparquet.WriterProperty{arrowparquet.WithCompression(compress.Codecs.Gzip)}},
		{"zstd", []arrowparquet.WriterProperty{arrowparquet.WithCompression(compress.Codecs.Zstd), arrowparquet.WithMaxRowGroupLength(1234)}},
		{"small pages", []arrowparquet.WriterProperty{arrowparquet.WithDataPageSize(100), arrowparquet.WithBatchSize(7)}},
		{"pages of version 2", []arrowparquet.WriterProperty{arrowparquet.WithDataPageVersion(arrowparquet.DataPageV2), arrowparquet.WithCompression(compress.Codecs.Snappy)}},
		{"version 1", []arrowparquet.WriterProperty{arrowparquet.WithVersion(arrowparquet.V1_0)}},
		{"differences", []arrowparquet.WriterProperty{arrowparquet.WithDictionaryDefault(false),
			arrowparquet.WithEncodingFor("appointment_id", arrowparquet.Encodings.DeltaBinaryPacked),
			arrowparquet.WithEncodingFor("room_id", arrowparquet.Encodings.DeltaBinaryPacked),
			arrowparquet.WithEncodingFor("status", arrowparquet.Encodings.DeltaLengthByteArray),
			arrowparquet.WithEncodingFor("type_name", arrowparquet.Encodings.DeltaByteArray)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := pqarrow.WriteTable(table, &b, 4000, arrowparquet.NewWriterProperties(c.options...),
				pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema())); err != nil {
				t.Fatal(err)
			}
			got, err := readAll(t, b.Bytes(), sdk.Env{})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Release()
			for i, f := range record.Schema().Fields() {
				a := joined(t, got, i)
				defer a.Release()
				if f.Type.ID() == arrow.TIMESTAMP {
					// Arrow's writer stores all timestamps as instants, and those without a zone as
					// the older annotation has them.
					d := array.NewData(record.Column(i).DataType(), a.Len(), a.Data().Buffers(), nil, a.NullN(), a.Data().Offset())
					a = array.MakeFromData(d)
				}
				if !array.Equal(a, record.Column(i)) {
					t.Errorf("%s (%s): not what was written", f.Name, got.Schema().Field(i).Type)
				}
			}
		})
	}
}

// goRow has the encodings that parquet-go offers.
type goRow struct {
	ID      int64    `parquet:"id,delta"`
	Small   int32    `parquet:"small,delta,snappy"`
	Plain   uint32   `parquet:"plain,plain"`
	Name    string   `parquet:"name,delta,zstd"`
	Label   *string  `parquet:"label,optional,dict"`
	Prefix  []byte   `parquet:"prefix,delta,optional"`
	Split   float64  `parquet:"split,split"`
	Float   float32  `parquet:"float,split,gzip"`
	Flag    bool     `parquet:"flag"`
	Maybe   *bool    `parquet:"maybe,optional"`
	Tiny    int8     `parquet:"tiny"`
	Count   uint16   `parquet:"count"`
	Stamp   int64    `parquet:"stamp,timestamp(microsecond)"`
	Day     int32    `parquet:"day,date"`
	Money   int64    `parquet:"money,decimal(2:18)"`
	Big     [17]byte `parquet:"big,decimal(4:40)"`
	Unique  [16]byte `parquet:"unique,uuid"`
	JSON    string   `parquet:"json,json"`
	Present *int64   `parquet:"present,optional"`
}

func goRows(n int) []goRow {
	rows := make([]goRow, n)
	for i := range rows {
		r := &rows[i]
		*r = goRow{ID: int64(i) * 1_000_003, Small: int32(-i * 7), Plain: 1<<31 + uint32(i), Name: strings.Repeat("x", i%40) + fmt.Sprint(i), Split: float64(i) / 3,
			Float: float32(i) * -1.5, Flag: i%3 == 0, Tiny: int8(i), Count: uint16(i * 31), Stamp: int64(i) * 1e9, Day: int32(i), Money: int64(i) - 50, JSON: `{"n":1}`}
		if i%5 > 0 {
			text, yes, number := fmt.Sprint("label ", i%11), i%2 == 0, int64(i*i)
			r.Label, r.Maybe, r.Present, r.Prefix = &text, &yes, &number, []byte(fmt.Sprint("a common beginning ", i))
		}
		r.Big[16] = byte(i)
		r.Unique[3] = byte(i)
		if i%2 == 1 {
			for j := range 16 {
				r.Big[j] = 0xff
			}
			r.Big[16] = 0xff
		}
	}
	return rows
}

// TestParquetGoWrites reads files of parquet-go's writer.
func TestParquetGoWrites(t *testing.T) {
	rows := goRows(5000)
	for _, version := range []int{1, 2} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[goRow](&b, parquet.DataPageVersion(version), parquet.PageBufferSize(4000), parquet.MaxRowsPerRowGroup(1900))
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		table, err := readAll(t, b.Bytes(), sdk.Env{})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Release()
		column := func(name string) arrow.Array {
			return joined(t, table, table.Schema().FieldIndices(name)[0])
		}
		types := "int64 int32 uint32 utf8 utf8 binary float64 float32 bool bool int8 uint16 timestamp[us, tz=UTC] date32 decimal(18, 2) decimal256(40, 4) fixed_size_binary[16] utf8 int64"
		var got []string
		for _, f := range table.Schema().Fields() {
			got = append(got, f.Type.String())
		}
		if strings.Join(got, " ") != types {
			t.Errorf("version %d: types %s, want %s", version, got, types)
		}
		text := func(p *string) string {
			if p == nil {
				return array.NullValueStr
			}
			return *p
		}
		for i, r := range rows {
			for name, want := range map[string]string{
				"id": fmt.Sprint(r.ID), "small": fmt.Sprint(r.Small), "plain": fmt.Sprint(r.Plain), "name": r.Name, "label": text(r.Label),
				"split": fmt.Sprint(r.Split), "flag": fmt.Sprint(r.Flag), "tiny": fmt.Sprint(r.Tiny), "count": fmt.Sprint(r.Count), "json": r.JSON,
			} {
				if a := column(name); a.ValueStr(i) != want && !(name == "split" && a.(*array.Float64).Value(i) == r.Split) {
					t.Fatalf("version %d, %s, row %d: %s, want %s", version, name, i, a.ValueStr(i), want)
				}
			}
			if p := column("present").(*array.Int64); p.IsNull(i) != (r.Present == nil) || r.Present != nil && p.Value(i) != *r.Present {
				t.Fatalf("version %d, present, row %d: %s", version, i, p.ValueStr(i))
			}
			if p := column("maybe").(*array.Boolean); p.IsNull(i) != (r.Maybe == nil) || r.Maybe != nil && p.Value(i) != *r.Maybe {
				t.Fatalf("version %d, maybe, row %d: %s", version, i, p.ValueStr(i))
			}
			if p := column("prefix").(*array.Binary); !bytes.Equal(p.Value(i), r.Prefix) {
				t.Fatalf("version %d, prefix, row %d: %q", version, i, p.Value(i))
			}
			if m := column("money").(*array.Decimal128).Value(i); m.BigInt().Int64() != r.Money {
				t.Fatalf("version %d, money, row %d: %s", version, i, m.BigInt())
			}
			want := int64(byte(i))
			if i%2 == 1 {
				want = -1
			}
			if d := column("big").(*array.Decimal256).Value(i); d.BigInt().Int64() != want {
				t.Fatalf("version %d, big, row %d: %s, want %d", version, i, d.BigInt(), want)
			}
			if i == 40 {
				break
			}
		}
	}
}

func TestFaults(t *testing.T) {
	record := sample.Appointments(5000, 2)
	defer record.Release()
	good := encode(t, record, `{"row_group":"64KiB"}`)
	nested := func() []byte {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[struct{ List []int32 }](&b)
		w.Write([]struct{ List []int32 }{{[]int32{1}}})
		w.Close()
		return b.Bytes()
	}()
	flipped := bytes.Clone(good)
	flipped[2000] ^= 1
	for _, c := range []struct {
		name, code string
		data       []byte
		says       string
	}{
		{"empty", codeCorrupt, nil, "0 bytes"},
		{"not Parquet", codeCorrupt, []byte("appointment_id,status\n1,booked\n"), "does not end"},
		{"cut", codeCorrupt, good[:len(good)-100], "does not end"},
		{"cut in the middle", codeCorrupt, append(bytes.Clone(good[:3000]), good[len(good)-9000:]...), ""},
		{"a bit flipped", codeCorrupt, flipped, "checksum"},
		{"a footer that is too long", codeCorrupt, append([]byte("PAR1"), "\xff\xff\xff\x7fPAR1"...), "announces metadata"},
		{"encrypted", codeUnsupported, append(bytes.Clone(good[:len(good)-4]), "PARE"...), "encrypted"},
		{"nested", codeUnsupported, nested, `"List"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAll(t, c.data, sdk.Env{})
			if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s with %q", err, c.code, c.says)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct{ path, says string }{
		{"relative.parquet", "absolute"}, {"/nowhere/file.parquet", "no such file"}, {t.TempDir(), "not a file"},
	} {
		made, err := Stage().Make(fmt.Appendf(nil, `{"path":%q}`, c.path), sdk.Env{})
		if err == nil {
			s := made.(sdk.Source)
			_, err = s.Open(context.Background())
			s.Close()
		}
		if !fault.Is(err, codeOpen) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

func TestCancel(t *testing.T) {
	record := sample.Appointments(100, 2)
	defer record.Release()
	s := open(t, encode(t, record, `{}`), sdk.Env{})
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestMemory gives the source less than one page needs.
func TestMemory(t *testing.T) {
	record := sample.Text("blob", strings.Repeat("x", 4<<20))
	defer record.Release()
	s := open(t, encode(t, record, `{}`), sdk.Env{})
	defer s.Close()
	s.budget.limit = int64(config.Size(1 << 20))
	if _, err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(context.Background()); !fault.Is(err, codeTooLarge) || !strings.Contains(err.Error(), `"blob"`) || !strings.Contains(err.Error(), "1MiB") {
		t.Errorf("%v", err)
	}
}

// FuzzSource feeds damaged files: they are read or refused, and hold no memory afterwards.
func FuzzSource(f *testing.F) {
	all := sample.Everything()
	defer all.Release()
	small := sample.Appointments(12, 1)
	defer small.Release()
	text := sample.Text("a", "x", "y", "x")
	defer text.Release()
	f.Add(encode(f, small, `{"compression":"none"}`))
	f.Add(encode(f, text, `{"compression":"none"}`))
	f.Add(encode(f, text, `{"compression":"snappy"}`))
	f.Add(encode(f, text, `{"compression":"zstd"}`))
	for _, version := range []int{1, 2} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[goRow](&b, parquet.DataPageVersion(version), parquet.PageBufferSize(1000))
		w.Write(goRows(9))
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checked := memory.NewCheckedAllocator(memory.DefaultAllocator)
		defer checked.AssertSize(t, 0)
		made, err := newSource(Settings{Path: "/fuzz.parquet", Memory: 8 << 20}, sdk.Env{Memory: checked})
		if err != nil {
			t.Fatal(err)
		}
		s := made.(*source)
		s.damaged = true
		defer s.Close()
		if _, err := s.begin(bytes.NewReader(data), int64(len(data))); err != nil {
			coded(t, err)
			return
		}
		for range 10 {
			r, err := s.Next(context.Background())
			if err != nil {
				if err != io.EOF {
					coded(t, err)
				}
				return
			}
			for i, c := range r.Columns() {
				if c.Len() != int(r.NumRows()) {
					t.Errorf("column %d has %d rows of %d", i, c.Len(), r.NumRows())
				}
				for row := range c.Len() {
					_ = c.ValueStr(row)
				}
			}
			r.Release()
		}
	})
}

func coded(t *testing.T, err error) {
	t.Helper()
	switch f := fault.From(err); f.Code {
	case codeCorrupt, codeUnsupported, codeTooLarge:
	default:
		t.Errorf("%v is not coded", err)
	}
}
