package schedule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestMissed: after a time in which no service ran there is one job for all ticks, or none, as the schedule says.
func TestMissed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		missed        string
		away          time.Duration
		jobs, missed0 int
		outcome       string
	}{
		{"once", 74 * time.Hour, 1, 2, "ok"},
		{"skip", 74 * time.Hour, 0, 3, store.OutcomeMissed},
		{"skip", 72*time.Hour + 2*time.Minute, 1, 2, "ok"}, // the last one is not late
		{"once", 24*time.Hour + time.Minute, 1, 0, "ok"},
		{"once", 50000 * 24 * time.Hour / 10, 1, 1004, "ok"}, // more are not counted
	} {
		w := newWorld(t, "2026-01-10T01:30:00Z") // the moment of a tick
		s := w.process(w.record)
		made := w.put(s, func(spec *Spec) { spec.Missed = c.missed })
		w.clock.advance(c.away)
		w.turn(s)
		w.turn(s)
		_, outcomes := w.decided()
		if len(w.jobs()) != c.jobs || !slices.Equal(outcomes, []string{c.outcome}) {
			t.Errorf("%s after %v: %d jobs, %v", c.missed, c.away, len(w.jobs()), outcomes)
		}
		if w.counts.missed != c.missed0 && c.missed0 < countedMissed || c.missed0 >= countedMissed && w.counts.missed < countedMissed {
			t.Errorf("%s after %v: %d ticks were missed, want %d", c.missed, c.away, w.counts.missed, c.missed0)
		}
		if next := w.schedule(made.ID).NextTick; next.Sub(w.clock.Now()) > 24*time.Hour || !next.After(w.clock.Now()) {
			t.Errorf("%s after %v: the next tick is at %v", c.missed, c.away, next)
		}
	}
}

// TestClockIsSet: a clock that is set back has no tick come twice, and one that was wrong by far does not stop a schedule.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T01:29:00Z")
	s := w.process(w.record)
	made := w.put(s, nil)
	w.clock.advance(2 * time.Minute)
	w.turn(s)
	w.work(never)
	w.clock.advance(-time.Hour)
	for range 120 {
		w.turn(s)
		w.clock.advance(time.Minute)
	}
	if len(w.jobs()) != 1 {
		t.Fatalf("%d jobs of one tick", len(w.jobs()))
	}
	right := w.clock.Now()
	w.clock.set(right.AddDate(2, 0, 0))
	w.turn(s)
	w.work(never)
	w.clock.set(right.Add(time.Minute))
	w.turn(s)
	if got := w.schedule(made.ID); got.LastOutcome != store.OutcomeClock || got.NextTick.Format(time.RFC3339) != "2026-01-11T01:30:00Z" {
		t.Fatalf("after the clock was two years ahead: %+v", got)
	}
	before := len(w.jobs())
	w.clock.advance(24 * time.Hour)
	w.turn(s)
	if len(w.jobs()) != before+1 {
		t.Errorf("%d jobs, want one more than %d", len(w.jobs()), before)
	}
}

// TestOverlap: what comes while a job runs.
func TestOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T00:59:00Z")
	s := w.process(w.record)
	skip := w.put(s, func(spec *Spec) { spec.Cron, spec.Name = "0 * * * *", "skips" })
	queue := w.put(s, func(spec *Spec) {
		spec.Cron, spec.Name, spec.Overlap, spec.Missed = "0 * * * *", "queues", "queue", "skip"
	})
	w.clock.advance(time.Minute)
	for range 3 {
		w.turn(s)
		w.clock.advance(time.Hour)
	}
	if len(w.jobs()) != 2 || w.schedule(skip.ID).LastOutcome != store.OutcomeOverlap || w.schedule(queue.ID).LastOutcome != store.OutcomeWaits {
		t.Fatalf("%d jobs, %q, %q", len(w.jobs()), w.schedule(skip.ID).LastOutcome, w.schedule(queue.ID).LastOutcome)
	}
	w.work(never)
	w.clock.advance(30 * time.Minute) // long after the tick, which waited
	w.turn(s)
	w.turn(s)
	// One for the tick that waited and those after it, and one of the other schedule.
	if got := w.schedule(queue.ID); len(w.jobs()) != 4 || got.LastOutcome != store.OutcomeJob || got.LastTick.Format(time.RFC3339) != "2026-01-10T04:00:00Z" {
		t.Errorf("%d jobs, %+v", len(w.jobs()), got)
	}
}

// TestWindow: each job reads from where the last success has told, less a day, and failures lose nothing.
func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T01:29:00Z")
	s := w.process(w.record)
	w.put(s, func(spec *Spec) { spec.Moving, spec.Window = true, Window{FirstDays: 30, OverlapDays: 1} })
	fixed := w.put(s, func(spec *Spec) {
		spec.Name, spec.Moving, spec.Window = "from a day on", true, Window{OverlapDays: 2}
		spec.RawRequest = []byte(`{"from_date":"2020-02-01","to_date":"2020-03-01","output_format":"csv"}`)
	})
	same := w.put(s, func(spec *Spec) { spec.Name, spec.RawRequest = "always the same", []byte(`{"from_date":"2020-01-01"}`) })
	var got []string
	for day := range 4 {
		w.clock.advance(24 * time.Hour)
		w.turn(s)
		for _, j := range w.work(func() bool { return day == 0 || day == 2 }) {
			got = append(got, fmt.Sprintf("%d %s..%s %s", day, j.FromDate, j.ToDate, j.Request))
		}
	}
	w.work(never)
	want := []string{
		`0 2020-01-01.. {"from_date":"2020-01-01"}`,
		`0 2020-02-01..2020-03-01 {"date_modifier":"Updated","from_date":"2020-02-01","output_format":"csv","to_date":"2020-03-01"}`,
		`0 2025-12-11.. {"date_modifier":"Updated","from_date":"2025-12-11"}`,
		`1 2020-01-01.. {"from_date":"2020-01-01"}`,
		`1 2020-02-01.. {"date_modifier":"Updated","from_date":"2020-02-01","output_format":"csv"}`,
		`1 2025-12-11.. {"date_modifier":"Updated","from_date":"2025-12-11"}`, // not 12-12: the first one has failed
		`2 2020-01-01.. {"from_date":"2020-01-01"}`,
		`2 2026-01-10.. {"date_modifier":"Updated","from_date":"2026-01-10"}`,
		`2 2026-01-10.. {"date_modifier":"Updated","from_date":"2026-01-10","output_format":"csv"}`,
	}
	slices.Sort(got)
	for i := range want {
		if !slices.Contains(got, want[i]) && !strings.HasPrefix(want[i], "2 2026") {
			t.Errorf("no job has read %s\n  %s", want[i], strings.Join(got, "\n  "))
		}
	}
	if s := w.schedule(fixed.ID); s.NextSince == "" {
		t.Error("the window has not moved")
	}
	if s := w.schedule(same.ID); s.NextSince != "" {
		t.Error("what has no window has one")
	}
}

// TestJitter is the same in every process, within its bound, and another one at each tick.
func TestJitter(t *testing.T) {
	t.Parallel()
	tick, seen := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), map[time.Duration]bool{}
	for range 100 {
		tick = tick.Add(time.Hour)
		late := dueAt("sch_1", 10*time.Minute, tick).Sub(tick)
		if late < 0 || late >= 10*time.Minute || late != dueAt("sch_1", 10*time.Minute, tick).Sub(tick) {
			t.Fatalf("%v", late)
		}
		seen[late] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d lengths at 100 ticks", len(seen))
	}
	if dueAt("sch_1", 0, tick) != tick || !dueAt("sch_1", time.Minute, time.Time{}).IsZero() {
		t.Error("no jitter is one")
	}
}

// TestRefused: a tick that no job can be made of is told of, and the one after comes. Of a customer that this process does not
// know another one may.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T01:29:00Z")
	s := w.process(w.record)
	unknown := w.put(s, func(spec *Spec) { spec.Procedure = "unknown" })
	poor := w.put(s, func(spec *Spec) { spec.Customer = "poor" })
	stranger := w.put(s, func(spec *Spec) { spec.Customer = "stranger" })
	at := func(of store.Schedule) string {
		found, err := w.record.Schedule(t.Context(), of.Customer, of.ID)
		if err != nil {
			t.Fatal(err)
		}
		return found.LastOutcome
	}
	w.clock.advance(2 * time.Minute)
	w.turn(s)
	if at(unknown) != "refused: test.unknown_procedure" || at(poor) != "refused: "+CodeNoBucket || at(stranger) != "" {
		t.Errorf("%q, %q, %q", at(unknown), at(poor), at(stranger))
	}
	w.clock.advance(lateAfter)
	w.turn(s)
	if at(stranger) != "refused: customer.unknown" {
		t.Errorf("%q", at(stranger))
	}
	if w.counts.outcomes["refused"] != 3 {
		t.Errorf("%v", w.counts.outcomes)
	}
}

// TestRunNow makes a job beside the ticks, and no second one.
func TestRunNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T12:00:00Z")
	s := w.process(w.record)
	made := w.put(s, func(spec *Spec) {
		spec.Enabled, spec.Moving, spec.Window = false, true, Window{FirstDays: 5, OverlapDays: 1}
	})
	job, err := s.Run(t.Context(), made, by)
	if err != nil || job.Type != JobType || job.KeyID != "ann" || job.FromDate != "2026-01-05" {
		t.Fatalf("%+v, %v", job, err)
	}
	if _, err := s.Run(t.Context(), made, by); !fault.Is(err, store.CodeScheduleBusy) {
		t.Errorf("%v", err)
	}
	w.work(never)
	// What is known of the window by then is used, whatever the caller has read.
	if job, err = s.Run(t.Context(), made, by); err != nil || job.FromDate != "2026-01-09" {
		t.Errorf("%+v, %v", job, err)
	}
	if len(s.Next(made, 3)) != 0 {
		t.Error("what is not enabled has ticks")
	}
}

// TestSync: documents are what the record has of them.
func TestSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-01-10T12:00:00Z")
	s := w.process(w.record)
	spec := func(name, cron string) Spec {
		out, err := Decode(DocumentSpec, []byte(`{"customer":"c","procedure":"visits","cron":"`+cron+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		out.Name = name
		return out
	}
	sync := func(all ...Spec) string {
		if err := s.Sync(context.Background(), all); err != nil {
			t.Fatal(err)
		}
		list, err := s.List(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, one := range list {
			names = append(names, fmt.Sprint(one.Name, " ", one.Cron, " ", one.Zone, " ", one.Document))
		}
		return strings.Join(names, "|")
	}
	w.put(s, func(spec *Spec) { spec.Name = "mine" })
	want := "a 0 1 * * * Europe/Berlin true|b 0 2 * * * Europe/Berlin true|mine 30 2 * * * Europe/Berlin false"
	if got := sync(spec("a", "0 1 * * *"), spec("b", "0 2 * * *"), spec("mine", "0 3 * * *")); got != want {
		t.Errorf("%s", got)
	}
	rows, err := w.record.AuditOf(t.Context(), "c", time.Time{}, 99)
	if err != nil {
		t.Fatal(err)
	}
	if got := sync(spec("a", "0 1 * * *"), spec("b", "0 2 * * *")); got != want {
		t.Errorf("%s", got)
	}
	if again, _ := w.record.AuditOf(t.Context(), "c", time.Time{}, 99); len(again) != len(rows) {
		t.Error("what is the same was written anew")
	}
	if got := sync(spec("b", "0 4 * * *")); got != "b 0 4 * * * Europe/Berlin true|mine 30 2 * * * Europe/Berlin false" {
		t.Errorf("%s", got)
	}
}

// TestLoop: what Start begins Stop ends, however often they are called.
func TestLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		record := memory.New()
		s, err := New(Config{Record: record, Orders: orders{}, Customers: served{"c": "main"}})
		if err != nil {
			t.Fatal(err)
		}
		spec, _ := Decode(full, []byte(`{"name":"n","customer":"c","procedure":"visits","cron":"* * * * *","jitter":"30s"}`))
		if _, err := s.Put(t.Context(), "", spec, by); err != nil {
			t.Fatal(err)
		}
		s.Start()
		s.Start()
		time.Sleep(2 * time.Minute)
		s.Stop()
		s.Stop()
		s.Start()
		list, _, err := record.Jobs(t.Context(), store.JobFilter{Customer: "c", Limit: 9})
		if err != nil || len(list) == 0 {
			t.Errorf("%d jobs after two minutes, %v", len(list), err)
		}
		time.Sleep(time.Hour)
	})
}
