package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
)

var benchRows = flag.Int("rows", 100_000, "rows of the table that BenchmarkRead reads")

// appointmentDefs is the shape of the appointments table: 10 integers, 8 flags, 3
// texts, 6 dates and times, 1 decimal.
func appointmentDefs() []columnDef {
	defs := []columnDef{{name: "appointment_id", typ: typeLongLong, flags: flagNotNull | flagUnsigned, length: 20, charset: charsetBinary}}
	for i := range 9 {
		defs = append(defs, columnDef{name: fmt.Sprintf("ref_%d", i), typ: typeLong, length: 11, charset: charsetBinary})
	}
	for i := range 8 {
		defs = append(defs, columnDef{name: fmt.Sprintf("flag_%d", i), typ: typeTiny, length: 1, charset: charsetBinary})
	}
	for i := range 3 {
		defs = append(defs, columnDef{name: fmt.Sprintf("text_%d", i), typ: typeVarString, length: 400, charset: 45})
	}
	for i := range 2 {
		defs = append(defs, columnDef{name: fmt.Sprintf("day_%d", i), typ: typeDate, length: 10, charset: charsetBinary})
	}
	for i := range 4 {
		defs = append(defs, columnDef{name: fmt.Sprintf("at_%d", i), typ: typeDatetime, length: 19, charset: charsetBinary})
	}
	return append(defs, columnDef{name: "fee", typ: typeNewDecimal, length: 12, decimals: 2, charset: charsetBinary})
}

// appointmentRow makes row i of the table in one of the protocols.
func appointmentRow(i int, asText bool) []byte {
	defs := appointmentDefs()
	p := make([]byte, 1+(len(defs)+9)/8)
	if asText {
		p = nil
	}
	put := func(text string) { p = append(appendLengthEncoded(p, uint64(len(text))), text...) }
	for c, d := range defs {
		if c > 0 && (i+c)%11 == 0 {
			if asText {
				p = append(p, 0xfb)
			} else {
				p[1+(c+2)/8] |= 1 << ((c + 2) % 8)
			}
			continue
		}
		year, month, day, hour, minute := 2020+i/2000%5, 1+i/100%12, 1+i/10%28, 8+c%10, i%60
		switch {
		case d.typ == typeVarString:
			put([]string{"Smith", "recall, six months", "scale and polish; check the lower left"}[(i+c)%3])
		case d.typ == typeNewDecimal:
			put(fmt.Sprintf("%d.%02d", i%900, i%100))
		case asText && d.typ == typeDate:
			put(fmt.Sprintf("%04d-%02d-%02d", year, month, day))
		case asText && d.typ == typeDatetime:
			put(fmt.Sprintf("%04d-%02d-%02d %02d:%02d:00", year, month, day, hour, minute))
		case asText:
			put(fmt.Sprint((i * (c + 1)) % 120))
		case d.typ == typeDate:
			p = append(p, 4, byte(year), byte(year>>8), byte(month), byte(day))
		case d.typ == typeDatetime:
			p = append(p, 7, byte(year), byte(year>>8), byte(month), byte(day), byte(hour), byte(minute), 0)
		case d.typ == typeLongLong:
			p = binary.LittleEndian.AppendUint64(p, uint64(i))
		case d.typ == typeLong:
			p = binary.LittleEndian.AppendUint32(p, uint32(i*(c+1)))
		case d.typ == typeTiny:
			p = append(p, byte((i+c)%2))
		}
	}
	return p
}

// BenchmarkDecode measures rows in memory to released record batches, on one core.
func BenchmarkDecode(b *testing.B) {
	for _, protocol := range []string{"binary", "text"} {
		b.Run(protocol, func(b *testing.B) {
			const distinct = 2048 // about a read buffer full
			rows, bytes := make([][]byte, distinct), 0
			for i := range rows {
				rows[i] = appointmentRow(i, protocol == "text")
				bytes += len(rows[i])
			}
			schema, mappings, err := mapColumns(appointmentDefs(), zeroError)
			if err != nil {
				b.Fatal(err)
			}
			pool := newPool(memory.NewGoAllocator())
			batch := newBatch(pool, schema, mappings, zeroError, defaultBatchRows, defaultBatchBytes)
			decode := batch.decodeBinary
			if protocol == "text" {
				decode = batch.decodeText
			}
			b.ReportAllocs()
			b.SetBytes(int64(bytes / distinct))
			for i := 0; b.Loop(); i++ {
				if !batch.open {
					batch.begin()
				}
				if err := decode(rows[i%distinct]); err != nil {
					b.Fatal(err)
				}
				if batch.full() {
					batch.record().Release()
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkRead reads a real table, and lets the official client read it to
// nothing. One operation is one whole read; -rows sets the table's size.
func BenchmarkRead(b *testing.B) {
	db := dbtest.MariaDB(b)
	loadAppointments(db, *benchRows)
	const query = "SELECT * FROM appointment"
	for _, protocol := range []string{"binary", "text"} {
		b.Run(protocol, func(b *testing.B) {
			for b.Loop() {
				readToNothing(b, settings{"url": db.SocketDSN(db.Database()), "query": query, "protocol": protocol}, *benchRows)
			}
			b.ReportMetric(float64(b.N)*float64(*benchRows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	b.Run("mariadb-client", func(b *testing.B) {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer null.Close()
		for b.Loop() {
			cmd := db.Client("--quick", "--batch", "-N", "-e", query, db.Database())
			cmd.Stdout = null
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*float64(*benchRows)/b.Elapsed().Seconds(), "rows/s")
	})
}

func readToNothing(b *testing.B, with settings, want int) {
	b.Helper()
	s, err := sourceOf(with)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	if _, err := s.Open(ctx); err != nil {
		b.Fatal(err)
	}
	for rows := 0; ; {
		record, err := s.Next(ctx)
		if errors.Is(err, io.EOF) && rows == want {
			return
		}
		if err != nil {
			b.Fatalf("after %d rows: %v", rows, err)
		}
		rows += int(record.NumRows())
		record.Release()
	}
}

// loadAppointments fills the table "appointment" by doubling.
func loadAppointments(db *dbtest.Server, rows int) {
	var ddl []string
	for _, d := range appointmentDefs() {
		switch d.typ {
		case typeLongLong:
			ddl = append(ddl, d.name+" BIGINT UNSIGNED NOT NULL PRIMARY KEY")
		case typeLong:
			ddl = append(ddl, d.name+" INT")
		case typeTiny:
			ddl = append(ddl, d.name+" TINYINT(1)")
		case typeVarString:
			ddl = append(ddl, d.name+" VARCHAR(100)")
		case typeDate:
			ddl = append(ddl, d.name+" DATE")
		case typeDatetime:
			ddl = append(ddl, d.name+" DATETIME")
		case typeNewDecimal:
			ddl = append(ddl, d.name+" DECIMAL(10,2)")
		}
	}
	var list []string
	for i, d := range appointmentDefs() {
		value := map[byte]string{
			typeLongLong:   "seq",
			typeLong:       fmt.Sprintf("seq * %d %% 1000003", i),
			typeTiny:       fmt.Sprintf("(seq + %d) %% 2", i),
			typeVarString:  fmt.Sprintf("CONCAT('text ', (seq * %d) %% 5000)", i),
			typeDate:       "'2020-01-01' + INTERVAL seq %% 1800 DAY",
			typeDatetime:   fmt.Sprintf("'2020-01-01 08:00:00' + INTERVAL seq * %d %% 2600000 MINUTE", i),
			typeNewDecimal: "(seq %% 100000) / 100",
		}[d.typ]
		value = strings.ReplaceAll(value, "%%", "%")
		if i > 0 && i%3 == 0 {
			value = fmt.Sprintf("IF((seq + %d) %% 7 = 0, NULL, %s)", i, value)
		}
		list = append(list, value)
	}
	db.Exec("CREATE TABLE appointment (" + strings.Join(ddl, ", ") + ");" +
		fmt.Sprintf("INSERT INTO appointment SELECT %s FROM seq_1_to_%d", strings.Join(list, ", "), rows))
}

// sourceOf makes a source with the memory that the runner gives.
func sourceOf(with settings) (sdk.Source, error) {
	raw, err := jsonOf(with)
	if err != nil {
		return nil, err
	}
	instance, err := Stage().Make(raw, sdk.Env{Log: discardLog, Memory: memory.DefaultAllocator, Count: func(string, int64) {}})
	if err != nil {
		return nil, err
	}
	return instance.(sdk.Source), nil
}
