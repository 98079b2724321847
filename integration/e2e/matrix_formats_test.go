package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestMatrixOfFormats delivers a pipeline of each server in every format with every compression,
// plain and sealed, to a real store. Each object comes by its link, is the one of the receipt, and is opened by
// programs that are not ours; what is in it is held against go-sql-driver, value for value.
func TestMatrixOfFormats(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		// The one has decimals and dates, the other text and many columns.
		pipeline := "financials_invoices"
		if s.IsMariaDB() {
			pipeline = "appointments"
		}
		const customer = "clinic-7"
		key := newKey()
		d := deliveriesOf(t, s, servers.MinIO(t))
		d.env = append(d.env, "CIPHERSTREAM_KEYS="+key)
		d.must("sandbox", "load", "--patients", "200", "--appointments", "600")
		columns, kinds, want := fromDriver(t, s, "CALL "+pipeline+"(NULL, NULL, 'All')")
		if len(want) < 200 {
			t.Fatalf("the driver reads %d rows", len(want))
		}

		plain := map[string][]byte{}
		for _, format := range combinations.formats {
			plain[format] = d.must("run", pipeline, "-f", format)
			holds(t, format, plain[format], columns, kinds, want)
		}
		for _, format := range combinations.formats {
			for _, compression := range combinations.compressions {
				for _, sealed := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/sealed=%t", format, compression, sealed), func(t *testing.T) {
						t.Parallel()
						d := d.within(t)
						args := []string{"run", pipeline, "--job", "-f", format, "-c", compression, "--progress", "none"}
						if sealed {
							args = append(args, "--encrypted", "--customer", customer)
						}
						printed := d.must(args...)
						var told struct {
							receipt
							RunID string `json:"run_id"`
						}
						if err := json.Unmarshal(printed, &told); err != nil || told.Rows != int64(len(want)) {
							t.Fatalf("%v, want %d rows: %s", err, len(want), printed)
						}
						status, content := get(t, told.Link, "")
						if status != http.StatusOK {
							t.Fatalf("the link gives %d: %.500s", status, content)
						}
						told.isOf(t, content)
						entry := told.RunID + "." + format
						if sealed {
							content = openSealed(t, format, compression, told.RunID, content, key, customer)
						} else {
							content = decompress(t, compression, entry, content)
						}
						same(t, format, content, plain[format])
					})
				}
			}
		}
	})
}

// holds compares an output of any format with the rows of an oracle.
func holds(t testing.TB, format string, output []byte, columns []string, kinds []kind, want [][]value) {
	t.Helper()
	switch format {
	case "ndjson":
		rowsOfJSON(t, output, columns, kinds, want)
	case "csv":
		compareCSV(t, output, columns, kinds, want)
	case "json":
		var document struct {
			Data     []json.RawMessage
			Metadata struct {
				RecordCount   *int     `json:"record_count"`
				ExecutionTime *float64 `json:"execution_time"`
			}
		}
		if err := json.Unmarshal(output, &document); err != nil {
			t.Fatalf("json: %v: %.200s", err, output)
		}
		if m := document.Metadata; m.RecordCount == nil || *m.RecordCount != len(want) || m.ExecutionTime == nil {
			t.Errorf("json: other metadata than that of %d rows: %s", len(want), output[len(output)-min(len(output), 200):])
		}
		var lines bytes.Buffer
		for _, row := range document.Data {
			lines.Write(append(bytes.ReplaceAll(row, []byte("\n"), nil), '\n'))
		}
		rowsOfJSON(t, lines.Bytes(), columns, kinds, want)
	default:
		names, rows := cellsOf(t, format, output)
		if format == "parquet" {
			timesOf(rows, want)
		}
		compare(t, format, names, withoutZeros(rows), columns, plainBytes(kinds), withoutZeros(want))
	}
}

// rowsOfJSON compares lines of JSON, of which there may be none.
func rowsOfJSON(t testing.TB, lines []byte, columns []string, kinds []kind, want [][]value) {
	t.Helper()
	if len(want) > 0 {
		compareNDJSON(t, lines, columns, kinds, want)
	} else if len(lines) > 0 {
		t.Errorf("no rows, and the output is %.200s", lines)
	}
}

// plainBytes are the kinds of formats that have bytes as they are.
func plainBytes(kinds []kind) (plain []kind) {
	for _, k := range kinds {
		k.binary = false
		plain = append(plain, k)
	}
	return plain
}

var (
	// timeOfDay is a TIME, and fraction any time with digits behind the point.
	timeOfDay = regexp.MustCompile(`^-?\d{2,3}:\d\d:\d\d(\.\d+)?$`)
	fraction  = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d|-?\d{2,3}):\d\d:\d\d\.\d+$`)
)

// timesOf writes the integers of Parquet as the times that the oracle has there: the format has no type
// for them, and stores microseconds.
func timesOf(rows, want [][]value) {
	for i, row := range rows[:min(len(rows), len(want))] {
		for c := range row[:min(len(row), len(want[i]))] {
			if micros, err := strconv.ParseInt(row[c].text, 10, 64); err == nil && timeOfDay.MatchString(want[i][c].text) {
				row[c].text = timeText(micros)
			}
		}
	}
}

// withoutZeros are rows with the shortest fractions of seconds: the types of Arrow do not keep how many
// digits were declared.
func withoutZeros(rows [][]value) [][]value {
	short := make([][]value, len(rows))
	for i, row := range rows {
		short[i] = slices.Clone(row)
		for c, v := range row {
			if len(v.text) < 30 && fraction.MatchString(v.text) {
				short[i][c].text = strings.TrimSuffix(strings.TrimRight(v.text, "0"), ".")
			}
		}
	}
	return short
}

// cellsOf reads a file with Arrow's own reader, every value as the server writes it.
func cellsOf(t testing.TB, format string, document []byte) (columns []string, rows [][]value) {
	t.Helper()
	var schema *arrow.Schema
	see := func(batch arrow.Record) {
		begin := len(rows)
		for range batch.NumRows() {
			rows = append(rows, make([]value, batch.NumCols()))
		}
		for c, column := range batch.Columns() {
			for i := range column.Len() {
				rows[begin+i][c] = cellOf(column, i)
			}
		}
	}
	switch format {
	case "arrow":
		r, err := ipc.NewFileReader(bytes.NewReader(document))
		if err != nil {
			t.Fatalf("arrow: %v", err)
		}
		defer r.Close()
		for i := range r.NumRecords() {
			batch, err := r.Record(i)
			if err != nil {
				t.Fatalf("arrow: batch %d: %v", i, err)
			}
			see(batch)
		}
		schema = r.Schema()
	case "parquet":
		r, err := file.NewParquetReader(bytes.NewReader(document))
		if err != nil {
			t.Fatalf("parquet: %v", err)
		}
		defer r.Close()
		reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1 << 13}, memory.DefaultAllocator)
		if err != nil {
			t.Fatalf("parquet: %v", err)
		}
		batches, err := reader.GetRecordReader(t.Context(), nil, nil)
		if err != nil {
			t.Fatalf("parquet: %v", err)
		}
		defer batches.Release()
		for batches.Next() {
			see(batches.Record())
		}
		if err := batches.Err(); err != nil && err != io.EOF {
			t.Fatalf("parquet: %v", err)
		}
		if schema, err = reader.Schema(); err != nil {
			t.Fatalf("parquet: %v", err)
		}
		for c, f := range schema.Fields() {
			if of, ok := f.Type.(*arrow.Decimal256Type); ok {
				for i, text := range wideDecimals(t, r, c, of.Scale) {
					rows[i][c].text = text
				}
			}
		}
	}
	for _, f := range schema.Fields() {
		columns = append(columns, f.Name)
	}
	return columns, rows
}

// cellOf is one value as the server writes it. Arrow's own text of a decimal has lost digits.
func cellOf(column arrow.Array, i int) value {
	if column.IsNull(i) {
		return value{null: true}
	}
	switch column := column.(type) {
	case *array.Decimal128:
		return value{text: column.Value(i).ToString(column.DataType().(*arrow.Decimal128Type).Scale)}
	case *array.Decimal256:
		return value{text: column.Value(i).ToString(column.DataType().(*arrow.Decimal256Type).Scale)}
	case *array.Date32:
		return value{text: column.Value(i).ToTime().Format("2006-01-02")}
	case *array.Timestamp:
		unit := column.DataType().(*arrow.TimestampType).Unit
		return value{text: column.Value(i).ToTime(unit).Format("2006-01-02 15:04:05.999999")}
	case *array.Duration:
		unit := column.DataType().(*arrow.DurationType).Unit
		return value{text: timeText(int64(column.Value(i)) * int64(unit.Multiplier()/time.Microsecond))}
	case *array.Binary:
		return value{text: string(column.Value(i))}
	case *array.String:
		return value{text: column.Value(i)}
	default:
		return value{text: column.ValueStr(i)}
	}
}

// timeText is a TIME of so many microseconds, as a server writes it.
func timeText(micros int64) string {
	sign := ""
	if micros < 0 {
		sign, micros = "-", -micros
	}
	text := fmt.Sprintf("%s%02d:%02d:%02d.%06d", sign, micros/3600e6, micros/60e6%60, micros/1e6%60, micros%1e6)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// wideDecimals reads a column of Parquet as the bytes that are in the file: the reader of Arrow v15 that makes a
// decimal256 of them does not extend the sign rightly. A NULL has no text.
func wideDecimals(t testing.TB, r *file.Reader, column int, scale int32) (texts []string) {
	t.Helper()
	for g := range r.NumRowGroups() {
		chunk, err := r.RowGroup(g).Column(column)
		if err != nil {
			t.Fatalf("parquet: %v", err)
		}
		rows := r.MetaData().RowGroup(g).NumRows()
		stored, defined := make([]parquet.FixedLenByteArray, rows), make([]int16, rows)
		for n := int64(0); n < rows; {
			total, values, err := chunk.(*file.FixedLenByteArrayColumnChunkReader).ReadBatch(rows-n, stored, defined, nil)
			if err != nil || total == 0 {
				t.Fatalf("parquet: row %d of %d: %v", n, rows, err)
			}
			n += total
			next := 0
			for _, level := range defined[:total] {
				if level < chunk.Descriptor().MaxDefinitionLevel() {
					texts = append(texts, "")
					continue
				}
				v := new(big.Int).SetBytes(stored[next])
				if stored[next][0] >= 0x80 {
					v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(stored[next]))))
				}
				texts = append(texts, pointAt(v, int(scale)))
				next++
			}
			if next != values {
				t.Fatalf("parquet: %d values, want %d", values, next)
			}
		}
	}
	return texts
}

// pointAt writes a number with so many digits behind the point.
func pointAt(v *big.Int, scale int) string {
	digits := new(big.Int).Abs(v).String()
	if scale > 0 {
		digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}
