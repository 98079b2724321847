package sandbox

import (
	flags "flag"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

var update = flags.Bool("update", false, "write the expected files anew")

// practice generates all rows of a small practice, by table and column name.
func practice(t testing.TB, o Options) map[string][]map[string]Value {
	t.Helper()
	tables, err := Tables(o)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]map[string]Value{}
	for _, table := range tables {
		for n := range table.Rows {
			row := make([]Value, len(table.Columns))
			table.Row(n, row)
			named := map[string]Value{}
			for i, c := range table.Columns {
				named[c] = row[i]
			}
			all[table.Name] = append(all[table.Name], named)
		}
	}
	return all
}

func TestRowsAreAFunctionOfSeedAndNumber(t *testing.T) {
	options := Options{Seed: 7, Patients: 300, Appointments: 2_000}
	tables, _ := Tables(options)
	again, _ := Tables(options)
	options.Seed = 8
	other, _ := Tables(options)
	for i := range tables {
		columns := len(tables[i].Columns)
		inOrder := make([][]Value, tables[i].Rows)
		for n := range inOrder {
			inOrder[n] = make([]Value, columns)
			tables[i].Row(int64(n), inOrder[n])
		}
		var wait sync.WaitGroup
		for worker := range int64(3) { // backwards, and from several goroutines
			wait.Go(func() {
				row := make([]Value, columns)
				for n := again[i].Rows - 1 - worker; n >= 0; n -= 3 {
					again[i].Row(n, row)
					if !slices.Equal(inOrder[n], row) {
						t.Errorf("%s row %d differs between two generators of one seed:\n%v\n%v", tables[i].Name, n, inOrder[n], row)
						return
					}
				}
			})
		}
		wait.Wait()
		rows, differs := min(tables[i].Rows, other[i].Rows), 0
		row := make([]Value, columns)
		for n := range rows {
			other[i].Row(n, row)
			if !slices.Equal(inOrder[n], row) {
				differs++
			}
		}
		if i < len(tables)-20 && int64(differs) < rows*9/10 { // the last 20 are the practice's set-up
			t.Errorf("%s: only %d of %d rows depend on the seed", tables[i].Name, differs, rows)
		}
	}
}

// TestDataIsFrozen notices a change of the generated data, which users and
// expected outputs depend on. Change the sums only together with a note to users:
// run with -update to write testdata/frozen.txt.
func TestDataIsFrozen(t *testing.T) {
	const golden = "testdata/frozen.txt"
	var got strings.Builder
	tables, _ := Tables(Options{})
	for _, table := range tables {
		h := fnv.New64a()
		row := make([]Value, len(table.Columns))
		var line []byte
		for n := range table.Rows {
			table.Row(n, row)
			line = appendLine(line[:0], row)
			h.Write(line)
		}
		fmt.Fprintf(&got, "%s %d rows %016x\n", table.Name, table.Rows, h.Sum64())
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the data of scale 1 has changed; it is\n%s\nwant\n%s", got.String(), want)
	}
	for _, line := range []string{"patient 2000 rows e48ef0318fcce186", "appointment 20000 rows 5e3412dd88891cf8"} {
		if !strings.Contains(string(want), line+"\n") {
			t.Errorf("the README's examples need %s", line)
		}
	}
}

func TestPracticeIsConsistent(t *testing.T) {
	for _, o := range []Options{
		{Seed: 1, Patients: 400, Appointments: 4_000},
		{Seed: 2, Patients: 1, Appointments: 500},
		{Seed: 3, Patients: 900, Appointments: 100},
		{Seed: 4, Patients: 2, Appointments: 1},
	} {
		t.Run(fmt.Sprintf("%d patients %d appointments", o.Patients, o.Appointments), func(t *testing.T) {
			t.Parallel()
			all := practice(t, o)
			patients, appointments := all["patient"], all["appointment"]
			type seen struct{ first, latest, treated Value }
			visits := map[int64]*seen{}
			firstBooked := map[int64]int64{}
			news := map[int64]int{}
			for i, a := range appointments {
				check := func(ok bool, what string) {
					t.Helper()
					if !ok {
						t.Fatalf("appointment %d: %s: %v", i+1, what, a)
					}
				}
				id := a["patient_id"].N
				check(a["appointment_id"].N == int64(i+1), "keys are not consecutive")
				check(id >= 1 && id <= o.Patients, "unknown patient")
				check(a["end_time"].N == a["start_time"].N+60*a["duration"].N, "end is not start + duration")
				check(a["start_time"].N/daySeconds == a["appointment_date"].N, "start is on another day")
				check(!closed(a["appointment_date"].N, true), "the practice is closed")
				check(a["appointment_date"].N >= visitFirst && a["appointment_date"].N <= visitLast, "outside the calendar")
				check(a["ts_4_insert"].N <= a["ts_4_update"].N && a["ts_4_update"].N <= practiceNow, "updated before created, or later than now")
				check(a["ts_4_insert"].N < a["start_time"].N, "booked after it began")
				check(a["cancelled"].N+a["failed"].N+a["attended"].N <= 1, "more than one outcome")
				codes := a["appointment_status_codes"].S
				for letter, column := range map[string]string{"X": "cancelled", "F": "failed", "A": "attended", "C": "confirmed"} {
					check(strings.Contains(codes, letter) == (a[column].N == 1), "codes disagree with "+column)
				}
				status := map[[3]int64]string{{1, 0, 0}: "Cancelled", {0, 1, 0}: "Failed to Attend", {0, 0, 1}: "Attended", {}: "Booked"}
				check(a["appointment_status"].S == status[[3]int64{a["cancelled"].N, a["failed"].N, a["attended"].N}], "status disagrees with flags")
				if a["attended"].N == 1 {
					check(a["actual_start_time"].Kind == DateTime, "attended without a start")
					check(a["appointment_arrival_time"].N <= a["actual_start_time"].N, "began before arrival")
					check(a["actual_end_time"].Kind == Null || a["actual_end_time"].N > a["actual_start_time"].N, "ended before it began")
				} else {
					check(a["appointment_arrival_time"].Kind == Null && a["actual_start_time"].Kind == Null && a["actual_end_time"].Kind == Null, "not attended, but timed")
				}
				check(a["original_date"].Kind == Null || a["original_date"].N < a["ts_4_insert"].N/daySeconds, "first booked after it was booked")
				if strings.Contains(codes, "N") {
					news[id]++
				}
				if b, ok := firstBooked[id]; !ok || a["ts_4_insert"].N < b {
					firstBooked[id] = a["ts_4_insert"].N
				}
				if a["attended"].N == 0 || a["is_deleted"].N == 1 {
					continue
				}
				day := a["appointment_date"]
				v := visits[id]
				if v == nil {
					v = &seen{first: day, latest: day}
					visits[id] = v
				}
				v.first.N, v.latest.N = min(v.first.N, day.N), max(v.latest.N, day.N)
			}
			for _, x := range all["treatment"] {
				if v := visits[x["patient_id"].N]; x["is_deleted"].N == 0 && (v == nil || x["treatment_date"].N < v.first.N || x["treatment_date"].N > v.latest.N) {
					t.Fatalf("treated before the first visit or after the latest: %v", x)
				} else if x["is_deleted"].N == 0 && x["non_treatment"].N == 0 && (v.treated.Kind == Null || x["treatment_date"].N < v.treated.N) {
					v.treated = x["treatment_date"]
				}
			}
			for i, p := range patients {
				check := func(ok bool, what string) {
					t.Helper()
					if !ok {
						t.Fatalf("patient %d: %s: %v", i+1, what, p)
					}
				}
				id := p["patient_id"].N
				head := p["family_head_id"].N
				check(id == int64(i+1), "keys are not consecutive")
				check(head >= 1 && head <= id, "unknown family head")
				check((head == id) == (p["family_role"].S == "Family Head"), "role disagrees with head")
				check(patients[head-1]["family_head_id"].N == head, "the head is not a head")
				check(patients[head-1]["suburb"].S == p["suburb"].S, "the family lives apart")
				check((p["is_deleted"].N == 1) == (p["record_status"].S == "Deleted"), "record status disagrees with the flag")
				check(p["ts_4_insert"].N <= p["ts_4_update"].N && p["ts_4_update"].N <= practiceNow, "updated before created, or later than now")
				if b, ok := firstBooked[id]; ok {
					check(p["ts_4_insert"].N <= b, "booked before registered")
					check(news[id] == 1, "not exactly one appointment as a new patient")
				}
				want := seen{}
				if v := visits[id]; v != nil {
					want = *v
				}
				check(p["first_seen_date"] == want.first && p["latest_seen_date"] == want.latest && p["first_treatment_date"] == want.treated,
					fmt.Sprintf("visits say %v", want))
				if want.first.Kind == Null {
					want.first = date(p["ts_4_insert"].N / daySeconds)
					check(p["new_patient_location_id"].Kind == Null, "a location without a visit")
				}
				check(p["new_patient_date"] == want.first, "new patient date is not the first visit or the registration")
			}
		})
	}
}

func TestPracticeHasWhatExportsMustSurvive(t *testing.T) {
	all := practice(t, Options{})
	var everything strings.Builder
	nulls, edges := map[string]int{}, map[int64]int{}
	for name, rows := range all {
		deleted, softly := 0, false
		for _, row := range rows {
			for column, v := range row {
				switch v.Kind {
				case Null:
					nulls[name+"."+column]++
				case Text:
					if !utf8.ValidString(v.S) {
						t.Fatalf("%s.%s is not UTF-8: %q", name, column, v.S)
					}
					everything.WriteString(v.S)
				}
			}
			softly = row["is_deleted"].Kind != Null // the map's zero for the ledger's tables
			deleted += int(row["is_deleted"].N)
			for _, column := range []string{"ts_4_insert", "ts_4_update"} {
				edges[row[column].N%daySeconds]++
			}
		}
		if softly && (deleted == 0 || deleted > max(10, len(rows)/10)) && name != "fee_level" {
			t.Errorf("%s: %d of %d rows are deleted", name, deleted, len(rows))
		}
	}
	for _, s := range []string{"'", `"`, ",", "\\", "\t", "\n", "=", "é", "И", "王", "さ", "🐻", "ف", "👨‍👩‍👧", "\r\n", "\\N", "오", "要"} {
		if !strings.Contains(everything.String(), s) {
			t.Errorf("no value holds %q", s)
		}
	}
	for _, c := range []string{"patient.middle_name", "patient.gender", "patient.practitioner_id", "patient.first_seen_date", "appointment.appointment_arrival_time", "appointment.original_date"} {
		if nulls[c] == 0 {
			t.Errorf("%s is never NULL", c)
		}
	}
	if edges[0] < 20 || edges[daySeconds-1] < 20 {
		t.Errorf("only %d and %d timestamps in the first and last second of a day", edges[0], edges[daySeconds-1])
	}
}

func TestBookIsItsOwnInverse(t *testing.T) {
	for _, size := range [][2]int64{{1, 1}, {1, 100}, {7, 3}, {10, 1000}, {97, 5000}, {500, 700}} {
		b := newBook(3, size[0], size[1])
		served := map[int64]int64{}
		for p := range size[0] {
			b.each(p, func(a int64) {
				if other, twice := served[a]; twice {
					t.Fatalf("%v: appointment %d belongs to patients %d and %d", size, a, other, p)
				}
				served[a] = p
			})
		}
		for a := range size[1] {
			p, ok := served[a]
			if got, _ := b.patient(a); !ok || got != p {
				t.Fatalf("%v: appointment %d belongs to patient %d, but is enumerated for %d (%v)", size, a, got, p, ok)
			}
		}
	}
}

func TestCalendarAgreesWithTime(t *testing.T) {
	for day := int64(0); day < daysOf(2101, 1, 1); day++ {
		want := time.Unix(day*daySeconds, 0).UTC()
		if got := string(appendDate(nil, day)); got != want.Format("2006-01-02") {
			t.Fatalf("day %d is %s, want %s", day, got, want.Format("2006-01-02"))
		}
		if w := want.Weekday(); closed(day, true) != closed(day, false) && w != time.Saturday {
			t.Fatalf("%s is taken for a Saturday", want)
		}
	}
	for _, d := range []time.Time{time.Date(1935, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1968, 2, 29, 0, 0, 0, 0, time.UTC)} {
		days := daysOf(int64(d.Year()), int64(d.Month()), int64(d.Day()))
		if got := string(appendDate(nil, days)); got != d.Format("2006-01-02") || days*daySeconds != d.Unix() {
			t.Errorf("%s is day %d, written %s", d, days, got)
		}
	}
	if got := string(appendDateTime(nil, practiceNow)); got != "2025-09-30 23:59:59" {
		t.Errorf("the practice's now is %s", got)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o                      Options
		patients, appointments int64
		bad                    bool
	}{
		{o: Options{}, patients: 2_000, appointments: 20_000},
		{o: Options{Scale: 0.01}, patients: 20, appointments: 200},
		{o: Options{Scale: 2, Patients: 5}, patients: 5, appointments: 40_000},
		{o: Options{Appointments: 1}, patients: 2_000, appointments: 1},
		{o: Options{Scale: -1}, bad: true},
		{o: Options{Scale: 1e300}, bad: true},
		{o: Options{Patients: -1}, bad: true},
		{o: Options{Patients: maxPatients + 1}, bad: true},
		{o: Options{Appointments: -5}, bad: true},
	} {
		tables, err := Tables(c.o)
		if c.bad {
			if !fault.Is(err, CodeOptions) {
				t.Errorf("%+v: error is %v, want %s", c.o, err, CodeOptions)
			}
			continue
		}
		if err != nil || tables[0].Rows != c.patients || tables[1].Rows != c.appointments {
			t.Errorf("%+v: %v, %v; want %d and %d rows", c.o, tables, err, c.patients, c.appointments)
		}
	}
}

// TestLargePractice computes rows of a practice of 100 million rows here and there,
// and holds them against the schema's keys.
func TestLargePractice(t *testing.T) {
	if patients, appointments, err := (Options{Scale: 5_000}).rows(); patients != 10_000_000 || appointments != 100_000_000 || err != nil {
		t.Errorf("scale 5,000 has %d patients and %d appointments, %v", patients, appointments, err)
	}
	tables, err := Tables(Options{Scale: 550})
	if err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, table := range tables {
		all += table.Rows
		row := make([]Value, len(table.Columns))
		for _, n := range []int64{0, table.Rows / 3, table.Rows / 2, table.Rows - 1} {
			table.Row(n, row)
			if len(table.Columns) == 0 || row[0].N < n+1 {
				t.Errorf("%s row %d has key %d", table.Name, n, row[0].N)
			}
		}
	}
	if all < 100_000_000 {
		t.Errorf("scale 550 has %d rows", all)
	}
}

func BenchmarkAppointments(b *testing.B) { benchmarkTable(b, 1) }

func BenchmarkPatients(b *testing.B) { benchmarkTable(b, 0) }

func benchmarkTable(b *testing.B, which int) {
	tables, err := Tables(Options{Scale: 50})
	if err != nil {
		b.Fatal(err)
	}
	table := &tables[which]
	row := make([]Value, len(table.Columns))
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		table.Row(n%table.Rows, row)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
