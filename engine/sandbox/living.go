package sandbox

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Living makes the rows of a practice change: a patient has another mobile number, somebody touches an appointment, and
// entries are added to the log. What changes is chosen by the seed; when it does is the caller's. Every change is in
// ts_4_update, at a time that is not before that of any other row. The ledger never changes: its sums would not add up.
type Living struct {
	patients, appointments int64 // rows that can change

	mu      sync.RWMutex
	draw    random
	last    int64           // time of the last change
	changed map[rowOf]int64 // when rows were changed
	entries []int64         // when the log entries behind the generated ones were written
}

type rowOf struct {
	table string
	row   int64
}

// Enliven makes these tables of a practice change with the Living that it returns. It is called before any row is read.
func Enliven(tables []Table, o Options) *Living {
	l := &Living{draw: sequence(o.Seed, forChange, 0), last: practiceNow, changed: map[rowOf]int64{}}
	for i := range tables {
		t := &tables[i]
		switch t.Name {
		case "patient":
			l.patients = t.Rows
			l.override(t, "mobile", func(r *random) Value {
				return text(fmt.Sprintf("04%02d %03d %03d", r.below(100), r.below(1000), r.below(1000)))
			})
		case "appointment":
			l.appointments = t.Rows
			l.override(t, "updated_by", func(r *random) Value { return text(receptionist(r, false)) })
		case "log_entry":
			l.append(t)
		}
	}
	return l
}

// override gives a column of rows that were changed another value.
func (l *Living) override(t *Table, column string, value func(r *random) Value) {
	name, fill, at := t.Name, t.fill, slices.Index(t.Columns, column)
	t.fill = func(row int64, out []Value) {
		fill(row, out)
		l.mu.RLock()
		when, changed := l.changed[rowOf{name, row}]
		l.mu.RUnlock()
		if changed {
			r := sequence(uint64(when), forChange, row)
			out[at], out[len(out)-1] = value(&r), dateTime(when)
		}
	}
}

// append lets the table of log entries grow.
func (l *Living) append(t *Table) {
	fill, first := t.fill, t.Rows
	t.fill = func(row int64, out []Value) {
		fill(row, out)
		if row >= first {
			l.mu.RLock()
			when := dateTime(l.entries[row-first])
			l.mu.RUnlock()
			out[len(out)-2], out[len(out)-1] = when, when
		}
	}
	t.more = func() int64 {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return int64(len(l.entries))
	}
}

// Change makes a few changes at a time of the practice's clock, whatever the zone; it never goes back.
func (l *Living) Change(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, offset := at.Zone()
	l.last = max(l.last, at.Unix()+int64(offset))
	l.changed[rowOf{"patient", l.draw.below(l.patients)}] = l.last
	l.changed[rowOf{"appointment", l.draw.below(l.appointments)}] = l.last
	for range 1 + l.draw.below(2) {
		l.entries = append(l.entries, l.last)
	}
}
