package sandbox

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var oddRow = []Value{
	integer(-12), text("a\tb\nc\\d'e\"\x00"), {}, date(daysOf(2024, 2, 29)), dateTime(practiceNow), text(""),
	money(-5).ledger(), (1234 * cent).price(),
}

func TestAppendLine(t *testing.T) {
	want := "-12\ta\\tb\\nc\\\\d'e\"\\0\t\\N\t2024-02-29\t2025-09-30 23:59:59\t\t-0.0005\t12.34\n"
	if got := string(appendLine(nil, oddRow)); got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
}

func TestAppendTuple(t *testing.T) {
	want := "(-12,'a\tb\nc\\\\d\\'e\"\\0',NULL,'2024-02-29','2025-09-30 23:59:59','',-0.0005,12.34)"
	if got := string(appendTuple(nil, oddRow)); got != want {
		t.Errorf("tuple is %q, want %q", got, want)
	}
}

func TestRowReaderGivesTheSameTextInAnyPieces(t *testing.T) {
	tables, _ := Tables(Options{Patients: 20, Appointments: 500})
	for i := range tables {
		table := &tables[i]
		var want strings.Builder
		row := make([]Value, len(table.Columns))
		for n := range table.Rows {
			table.Row(n, row)
			want.Write(appendLine(nil, row))
		}
		var got strings.Builder
		for first := int64(0); first < table.Rows; first += 7 {
			piece := newRowReader(t.Context(), table, first, min(7, table.Rows-first))
			if err := iotest.TestReader(piece, []byte(want.String()[got.Len():got.Len()+remaining(t, table, first)])); err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(iotest.OneByteReader(newRowReader(t.Context(), table, first, min(7, table.Rows-first))))
			got.Write(text)
		}
		if got.String() != want.String() {
			t.Errorf("%s: the pieces do not add up", table.Name)
		}
	}
}

// remaining is the length of the piece that starts at a row.
func remaining(t *testing.T, table *Table, first int64) int {
	text, err := io.ReadAll(newRowReader(t.Context(), table, first, min(7, table.Rows-first)))
	if err != nil {
		t.Fatal(err)
	}
	return len(text)
}

func TestRowReaderStopsWhenCancelled(t *testing.T) {
	tables, _ := Tables(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	r := newRowReader(ctx, &tables[1], 0, tables[1].Rows)
	buf := make([]byte, 1<<16)
	if _, err := r.Read(buf); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); err != context.Canceled {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

// BenchmarkLoadText is what the loader does before the server gets anything, one
// goroutine of it: make the rows of every table, and write them as text.
func BenchmarkLoadText(b *testing.B) {
	tables, err := Tables(Options{Scale: 20})
	if err != nil {
		b.Fatal(err)
	}
	write := func(b *testing.B, tables []Table) {
		b.ReportAllocs()
		var rows, size int64
		for b.Loop() {
			for i := range tables {
				table := &tables[i]
				n := min(table.Rows, max(1, table.Rows/100)) // a hundredth of each, so that shares stay
				written, err := io.Copy(io.Discard, newRowReader(b.Context(), table, table.Rows-n, n))
				if err != nil {
					b.Fatal(err)
				}
				rows, size = rows+n, size+written
			}
		}
		b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
	}
	b.Run("all", func(b *testing.B) { write(b, tables) })
	for i := range tables {
		b.Run(tables[i].Name, func(b *testing.B) { write(b, tables[i:i+1]) })
	}
}

func BenchmarkTables(b *testing.B) {
	for b.Loop() {
		if _, err := Tables(Options{Scale: 50}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(50*appointmentsPerScale*b.N)/b.Elapsed().Seconds(), "appointments/s")
}
