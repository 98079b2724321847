package sandbox

import (
	"slices"
	"testing"
	"time"
)

// TestLiving: rows change, entries are added, and ts_4_update finds exactly those; nothing else changes.
func TestLiving(t *testing.T) {
	t.Parallel()
	o := Options{Patients: 40, Appointments: 200}
	before, err := Tables(o)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := Tables(o)
	if err != nil {
		t.Fatal(err)
	}
	living := Enliven(tables, o)
	began := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	for i := range 30 {
		living.Change(began.Add(time.Duration(i) * time.Second))
	}
	living.Change(began.Add(-time.Hour)) // a clock that is set back
	last := began.Unix() + 29
	changed := map[string]int{}
	for i := range tables {
		table, was := &tables[i], &before[i]
		a, b := make([]Value, len(table.Columns)), make([]Value, len(table.Columns))
		if table.Rows != was.Rows || table.Name != "log_entry" && table.Now() != table.Rows {
			t.Errorf("%s has %d rows, and had %d", table.Name, table.Now(), was.Rows)
		}
		for row := range table.Now() {
			table.Row(row, a)
			again := slices.Clone(a)
			if table.Row(row, again); !slices.Equal(a, again) {
				t.Fatalf("%s row %d is not the same twice", table.Name, row)
			}
			update := a[len(a)-1].N
			if update > last {
				t.Fatalf("%s row %d was changed at %d, behind the last change", table.Name, row, update)
			}
			if row < was.Rows {
				was.Row(row, b)
			}
			switch {
			case row >= was.Rows:
				if update < began.Unix() || a[0].N != row+1 || a[len(a)-2] != a[len(a)-1] {
					t.Errorf("%s row %d: %v", table.Name, row, a)
				}
			case slices.Equal(a, b) != (update < began.Unix()):
				t.Errorf("%s row %d is %v and was %v", table.Name, row, a, b)
			}
			if update >= began.Unix() {
				changed[table.Name]++
			}
		}
	}
	if changed["patient"] < 15 || changed["appointment"] < 20 || changed["log_entry"] < 31 || len(changed) != 3 {
		t.Errorf("changed: %v", changed)
	}
}
