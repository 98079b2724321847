package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestCivilDaysAgainstTime(t *testing.T) {
	day := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; day.Year() <= 9999; day = day.AddDate(0, 0, 1) {
		y, m, d := day.Date()
		if got := civilDays(uint16(y), uint8(m), uint8(d)); got != day.Unix()/secondsPerDay {
			t.Fatalf("%v: %d days, want %d", day, got, day.Unix()/secondsPerDay)
		}
		if next := day.AddDate(0, 0, 1); next.Day() == 1 && parse.DaysInMonth(int64(y), int64(m)) != int64(d) {
			t.Fatalf("%d-%d has %d days, want %d", y, m, parse.DaysInMonth(int64(y), int64(m)), d)
		}
	}
}

// decodeOne decodes one value of one column.
func decodeOne(t *testing.T, d columnDef, row []byte, asText bool) (string, error) {
	t.Helper()
	schema, mappings, err := mapColumns([]columnDef{d}, zeroError)
	if err != nil {
		return "", err
	}
	b := newBatch(newPool(memory.NewGoAllocator()), schema, mappings, zeroError, 4, 1<<20)
	b.begin()
	defer b.release()
	decode := b.decodeBinary
	if asText {
		decode = b.decodeText
	}
	if err := decode(row); err != nil {
		return "", err
	}
	record := b.record()
	defer record.Release()
	return cell(record.Column(0), 0, schema.Field(0)), nil
}

func TestValuesThatLie(t *testing.T) {
	varString := func(s string) []byte { return append([]byte{0, 0, byte(len(s))}, s...) }
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	date := func(decimals byte) columnDef { return columnDef{name: "c", typ: typeDatetime, decimals: decimals} }
	money := columnDef{name: "c", typ: typeNewDecimal, length: 7, decimals: 2} // decimal(5,2)
	for _, c := range []struct {
		name   string
		def    columnDef
		row    []byte
		asText bool
		want   string
		code   string
	}{
		{"decimal that fits", money, varString("999.99"), false, "999.99", ""},
		{"decimal with needless zeros", money, varString("00999.9900"), false, "999.99", ""},
		{"decimal with too many digits", money, varString("1000.00"), false, "", codeValue},
		{"decimal with too long a fraction", money, varString("1.001"), false, "", codeValue},
		{"decimal in letters", money, varString("1x"), false, "", codeProtocol},
		{"decimal without a length", columnDef{name: "c", typ: typeNewDecimal, decimals: 1}, varString(strings.Repeat("9", 64) + ".5"), false, strings.Repeat("9", 64) + ".5", ""},
		{"decimal of 30 digits announced as 1", columnDef{name: "c", typ: typeNewDecimal, length: 1, decimals: 30}, varString("0.5"), false, "0.500000000000000000000000000000", ""},
		{"null in a NOT NULL column", columnDef{name: "c", typ: typeLong, flags: flagNotNull}, []byte{0, 4}, false, "", codeValue},
		{"fraction in a column of seconds", date(0), []byte("\x00\x00\x0b\xe8\x07\x02\x1d\x0a\x0b\x0c\x01\x00\x00\x00"), false, "", codeValue},
		{"zero fraction in a column of seconds", date(0), []byte("\x00\x00\x0b\xe8\x07\x02\x1d\x0a\x0b\x0c\x00\x00\x00\x00"), false, "2024-02-29 10:11:12", ""},
		{"microseconds in milliseconds", date(3), []byte("\x00\x00\x0b\xe8\x07\x02\x1d\x0a\x0b\x0c\x01\x00\x00\x00"), false, "", codeValue},
		{"hour 24", date(0), []byte("\x00\x00\x07\xe8\x07\x02\x1d\x18\x00\x00"), false, "", codeProtocol},
		{"year 10000", date(0), []byte("\x00\x00\x04\x10\x27\x01\x01"), false, "", codeProtocol},
		{"month 13", date(0), []byte("\x00\x00\x04\xe8\x07\x0d\x01"), false, "", codeProtocol},
		{"date with a time", columnDef{name: "c", typ: typeDate}, []byte("\x00\x00\x07\xe8\x07\x02\x1d\x0a\x00\x00"), false, "", codeValue},
		{"midnight without its zeros", date(0), []byte("\x00\x00\x04\xe8\x07\x02\x1d"), false, "2024-02-29 00:00:00", ""},
		{"time of 35 days", columnDef{name: "c", typ: typeTime}, []byte("\x00\x00\x08\x00\x23\x00\x00\x00\x00\x00\x00"), false, "", codeValue},
		{"midnight as TIME", columnDef{name: "c", typ: typeTime}, []byte("\x00\x00\x00"), false, "00:00:00", ""},
		{"bit of 9 bytes", columnDef{name: "c", typ: typeBit, length: 64}, varString("123456789"), false, "", codeProtocol},
		{"geometry without a shape", columnDef{name: "c", typ: typeGeometry}, varString("\x00\x00\x00\x00\x01"), false, "", codeProtocol},
		{"vector", columnDef{name: "c", typ: typeVector, length: 8, charset: charsetBinary}, varString("\x00\x00\x80\x3f"), false, "0000803F", ""},
		{"json", columnDef{name: "c", typ: typeJSON, charset: charsetBinary}, varString("[1]"), false, "[1]", ""},
		{"unknown type", columnDef{name: "c", typ: 0x55}, varString(""), false, "", codeType},
		{"text: 128 in a tinyint", columnDef{name: "c", typ: typeTiny}, text("128"), true, "", codeValue},
		{"text: 256 in an unsigned tinyint", columnDef{name: "c", typ: typeTiny, flags: flagUnsigned}, text("256"), true, "", codeValue},
		{"text: negative in an unsigned column", columnDef{name: "c", typ: typeLongLong, flags: flagUnsigned}, text("-1"), true, "", codeProtocol},
		{"text: 2^64", columnDef{name: "c", typ: typeLongLong, flags: flagUnsigned}, text("18446744073709551616"), true, "", codeProtocol},
		{"text: 2^63", columnDef{name: "c", typ: typeLongLong}, text("9223372036854775808"), true, "", codeProtocol},
		{"text: infinity", columnDef{name: "c", typ: typeDouble}, text("inf"), true, "", codeProtocol},
		{"text: hexadecimal", columnDef{name: "c", typ: typeDouble}, text("0x1p4"), true, "", codeProtocol},
		{"text: float too large", columnDef{name: "c", typ: typeFloat}, text("1e39"), true, "", codeProtocol},
		{"text: a value in a NULL column", columnDef{name: "c", typ: typeNull}, text("1"), true, "", codeProtocol},
		{"text: short date", columnDef{name: "c", typ: typeDate}, text("2024-2-3"), true, "", codeProtocol},
		{"text: minute 60", columnDef{name: "c", typ: typeTime}, text("10:60:00"), true, "", codeProtocol},
		{"text: a byte too many", columnDef{name: "c", typ: typeVarString, charset: 45}, []byte("\x01ab"), true, "", codeProtocol},
	} {
		got, err := decodeOne(t, c.def, c.row, c.asText)
		var f *fault.Fault
		switch {
		case c.code == "" && (err != nil || got != c.want):
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		case c.code != "" && (!errors.As(err, &f) || f.Code != c.code):
			t.Errorf("%s: %q, %v; want %s", c.name, got, err, c.code)
		}
	}
}

func TestJSONIsMarked(t *testing.T) {
	schema, _, err := mapColumns([]columnDef{{name: "j", typ: typeJSON, charset: charsetBinary}, {name: "t", typ: typeBlob, charset: 45}}, zeroError)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := schema.Field(0).Metadata.GetValue(sdk.MetaJSON); v != "true" {
		t.Errorf("json is marked %q", v)
	}
	if _, ok := schema.Field(1).Metadata.GetValue(sdk.MetaJSON); ok {
		t.Error("text is marked as JSON")
	}
}

// Every row of the table can be reached, and says what it is in words.
func TestTypeTableIsWhole(t *testing.T) {
	reached := map[string]bool{}
	for code := range 256 {
		for _, flags := range []uint16{0, flagUnsigned, flagEnum, flagSet} {
			for _, charset := range []uint16{45, charsetBinary} {
				for _, length := range []uint32{10, 60} {
					row, ok := lookup(&columnDef{typ: byte(code), flags: flags, charset: charset, length: length})
					if ok {
						reached[row.MySQL] = true
					}
				}
			}
		}
	}
	for _, row := range TypeTable {
		if !reached[row.MySQL] || row.Column == "" {
			t.Errorf("row %q: reached %t, column type %q", row.MySQL, reached[row.MySQL], row.Column)
		}
	}
}

// The table calls the types what they are called in a pipeline's columns and in messages.
func TestTypeTableSaysColumnTypes(t *testing.T) {
	general := strings.NewReplacer("(10,2)", "(p,s)", "(65,2)", "(p,s)", "(6)", "(fsp)", " in UTC", " in ZONE")
	seen := map[string]string{}
	for code := range 256 {
		for _, flags := range []uint16{0, flagUnsigned, flagEnum, flagSet} {
			for _, charset := range []uint16{45, charsetBinary} {
				for length, decimals := range map[uint32]uint8{12: 2, 67: 2, 26: 6} {
					d := &columnDef{name: "c", typ: byte(code), flags: flags, charset: charset, length: length, decimals: decimals}
					row, ok := lookup(d)
					if !ok {
						continue
					}
					mapping, err := mapColumn(d, zeroError)
					if err != nil {
						t.Fatalf("%s: %v", row.MySQL, err)
					}
					if got := general.Replace(sdk.TypeName(mapping.field)); got == row.Column {
						seen[row.MySQL] = got
					} else if seen[row.MySQL] == "" {
						seen[row.MySQL] = "another: " + got
					}
				}
			}
		}
	}
	for _, row := range TypeTable {
		if seen[row.MySQL] != row.Column {
			t.Errorf("%s is %q in the table, and %s", row.MySQL, row.Column, seen[row.MySQL])
		}
	}
}

func TestServerFaultsNameEachNumberOnce(t *testing.T) {
	seen := map[uint16]string{}
	for _, row := range ServerFaults {
		for _, errno := range row.Errnos {
			if other, ok := seen[errno]; ok {
				t.Errorf("error %d is %s and %s", errno, other, row.Code)
			}
			seen[errno] = row.Code
		}
		if row.Hint == "" {
			t.Errorf("%s has no hint", row.Code)
		}
	}
}

func TestPacketsAcrossReads(t *testing.T) {
	var payloads [][]byte
	for _, n := range []int{0, 1, 250, 70_000, readBuffer - 5, readBuffer - 4, readBuffer, readBuffer + 1, 3 << 20, 17} {
		payloads = append(payloads, bytes.Repeat([]byte{byte(n)}, n))
	}
	stream := packets(payloads...)
	for _, chunk := range []int{1 << 30, 4096, 7} {
		c := newWire(scriptConn{Reader: chunkReader{bytes.NewReader(stream), chunk}}, bound{bytes: 4 << 20}, 0)
		c.seq = 1
		for i, want := range payloads {
			got, err := c.next()
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("chunks of %d, packet %d: %d bytes, %v; want %d", chunk, i, len(got), err, len(want))
			}
		}
		_, err := c.next()
		wantFault(t, err, codeConnectionLost)
	}
}

type chunkReader struct {
	r    *bytes.Reader
	size int
}

func (c chunkReader) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.size)]) }

func TestPacketSequence(t *testing.T) {
	c := newWire(scriptConn{Reader: bytes.NewReader([]byte{1, 0, 0, 5, 'x'})}, bound{bytes: 100}, 0)
	_, err := c.next()
	wantFault(t, err, codeProtocol)
}

func TestInlineLiterals(t *testing.T) {
	args := []any{"a'b\\c", int64(-5), uint64(1<<64 - 1), 0.1, true, nil, decimalArg("1.50")}
	got, err := inline("SELECT ?, ?, ?, ?, ?, ?, ? -- ?\n", args, sqlMode{})
	if want := `SELECT 'a\'b\\c', -5, 18446744073709551615, 1e-01, 1, NULL, 1.50 -- ?` + "\n"; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	got, err = inline(`SELECT '\', ?, 'it''s ?', 5--?`, []any{`\'`, int64(1)}, sqlMode{noBackslashEscapes: true})
	if want := `SELECT '\', '\''', 'it''s ?', 5--1`; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	_, err = inline("SELECT /*!50000 ? */", []any{int64(1)}, sqlMode{})
	wantFault(t, err, codePrepare)
	for _, sql := range []string{"SELECT '?", "SELECT `?", "SELECT /* ?", "SELECT '\\", "SELECT ? # ?"} {
		if _, err := inline(sql, nil, sqlMode{}); strings.HasPrefix(sql, "SELECT ? ") != (err != nil) {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestArgumentTypes(t *testing.T) {
	got, err := arguments([]config.Value{jsonNumber("1"), jsonNumber("18446744073709551615"), jsonNumber("1.10"), jsonNumber("1e2"), "x", nil, true, 1.5})
	want := []any{int64(1), uint64(1<<64 - 1), decimalArg("1.10"), 100.0, "x", nil, true, 1.5}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%#v, %v; want %#v", got, err, want)
	}
	if _, err := arguments([]config.Value{jsonNumber("1e999")}); err == nil {
		t.Error("1e999 is taken")
	}
}

func TestCallStatement(t *testing.T) {
	for name, want := range map[string]string{"p": "CALL `p`(?, ?)", "db.p": "CALL `db`.`p`(?, ?)", "a`b": "CALL `a``b`(?, ?)"} {
		if got, err := callStatement(name, 2); err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestSnapshotRefused(t *testing.T) {
	refused := []byte("\xff\x28\x04#42000syntax error near 'SNAPSHOT'")
	ses := &session{c: newWire(scriptConn{Reader: bytes.NewReader(packets(refused))}, bound{bytes: 100}, 0)}
	f := wantFault(t, ses.beginTransaction(&Settings{Snapshot: true}), codeSnapshot)
	if f.Details["errno"] != "1064" || f.Hint == "" {
		t.Errorf("fault %+v", f)
	}
}

func ExampleTypeTable() {
	for _, row := range TypeTable[:3] {
		fmt.Println(row.MySQL, "→", row.Column)
	}
	// Output:
	// NULL → untyped NULL
	// TINYINT, BOOL → int8
	// TINYINT UNSIGNED → uint8
}
