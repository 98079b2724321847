package dbf

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

// column is a field of a table that a test writes.
type column struct {
	name        string
	kind        byte
	size, scale int
}

var visits = []column{{"CODE", 'N', 6, 0}, {"NAME", 'C', 8, 0}, {"FEE", 'N', 9, 2}, {"BORN", 'D', 8, 0}, {"ACTIVE", 'L', 1, 0}}

// table lays a table out. A row begins with its mark.
func table(columns []column, rows ...[]string) []byte {
	width := 1
	for _, c := range columns {
		width += c.size
	}
	b := []byte{3, 124, 6, 30}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rows)))
	b = binary.LittleEndian.AppendUint16(b, uint16(32+32*len(columns)+1))
	b = binary.LittleEndian.AppendUint16(b, uint16(width))
	b = append(b, make([]byte, 20)...)
	for _, c := range columns {
		d := make([]byte, 32)
		copy(d, c.name)
		d[11], d[16], d[17] = c.kind, byte(c.size), byte(c.scale)
		b = append(b, d...)
	}
	b = append(b, 0x0D)
	for _, row := range rows {
		b = append(b, row[0]...)
		for i, c := range columns {
			format := "%*s" // numbers stand to the right
			if c.kind != 'N' {
				format = "%-*s"
			}
			b = fmt.Appendf(b, format, c.size, row[i+1])
		}
	}
	return append(b, 0x1A)
}

var rows = [][]string{
	{" ", "1", "Zo\x89", "12.50", "19840229", "T"}, // é in code page 850 is 0x82, ë is 0x89
	{"*", "-20", "", "-0.05", "", "n"},
	{" ", "", "a  b", "", "20010101", "?"},
}

func open(t *testing.T, content []byte, charset string, mem memory.Allocator) (sdk.Source, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "visits.dbf")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"path": path, "charset": charset})
	if err != nil {
		t.Fatal(err)
	}
	made, err := Stage().Make(raw, sdk.Env{Memory: mem, BatchRows: 2, BatchBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(sdk.Source)
	_, err = s.Open(t.Context())
	return s, err
}

// read returns the rows as text, NULL as (null), and what ended them.
func read(t *testing.T, content []byte, charset string) (lines []string, err error) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	s, err := open(t, content, charset, mem)
	defer s.Close()
	for err == nil {
		rec, e := s.Next(t.Context())
		if err = e; err != nil {
			break
		}
		for i := range int(rec.NumRows()) {
			var values []string
			for _, c := range rec.Columns() {
				if d, ok := c.(*array.Decimal128); ok && d.IsValid(i) {
					values = append(values, d.Value(i).ToString(d.DataType().(*arrow.Decimal128Type).Scale)) // ValueStr drops zeros
					continue
				}
				values = append(values, c.ValueStr(i))
			}
			lines = append(lines, strings.Join(values, "|"))
		}
		rec.Release()
	}
	if err == io.EOF {
		err = nil
	}
	return lines, err
}

func TestRead(t *testing.T) {
	got, err := read(t, table(visits, rows...), "cp850")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1|Zoë|12.50|1984-02-29|true|false", "-20||-0.05|(null)|false|true", "(null)|a  b|(null)|2001-01-01|(null)|false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, err := read(t, table(visits), "utf-8"); err != nil || len(got) > 0 {
		t.Errorf("without rows: %v, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	whole := table(visits, rows[1:]...)
	row := func(i int, value string) []byte {
		r := append([]string{}, rows[0]...)
		r[i] = value
		return table(visits, r)
	}
	for name, c := range map[string]struct {
		content []byte
		code    string
	}{
		"empty":                 {nil, "dbf.damaged"},
		"no table":              {[]byte(strings.Repeat("Hello, World! ", 9)), "dbf.version"},
		"cut off in the fields": {whole[:70], "dbf.damaged"},
		"cut off in the rows":   {whole[:len(whole)-10], "dbf.damaged"},
		"more than its rows":    {append(whole[:len(whole)-1:len(whole)-1], 'x'), "dbf.damaged"},
		"a memo field":          {table([]column{{"NOTE", 'M', 10, 0}}), "dbf.type"},
		"a bad mark":            {row(0, "x"), "dbf.damaged"},
		"a bad number":          {row(1, "1x"), "dbf.value"},
		"an overflown number":   {row(3, "*********"), "dbf.value"},
		"too many decimals":     {row(3, "1.234"), "dbf.value"},
		"a sign in the middle":  {row(3, "1-2"), "dbf.value"},
		"no such day":           {row(4, "20230229"), "dbf.value"},
		"a bad boolean":         {row(5, "x"), "dbf.value"},
		"not UTF-8":             {row(2, "Zo\x89"), "dbf.value"},
	} {
		if _, err := read(t, c.content, "utf-8"); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "visits.dbf")
	var many [][]string
	for range 300 {
		many = append(many, rows...)
	}
	if err := os.WriteFile(path, table(visits, many...), 0o600); err != nil {
		t.Fatal(err)
	}
	stagetest.Run(t, Stage(), stagetest.Options{Settings: map[string]any{"path": path, "charset": "cp850"}, Prompt: 10 * time.Second})
}

func FuzzRead(f *testing.F) {
	f.Add(table(visits, rows...))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := read(t, content, "windows-1252"); err != nil && !fault.Is(err, "dbf.damaged") && !fault.Is(err, "dbf.version") &&
			!fault.Is(err, "dbf.type") && !fault.Is(err, "dbf.value") {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
