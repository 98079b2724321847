package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// clock is one that is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

func (c *clock) advance(d time.Duration) { c.set(c.Now().Add(d)) }

// orders takes everything but the procedure "unknown".
type orders struct{}

func (orders) Order(customer, procedure string, request []byte) (store.Job, error) {
	if procedure == "unknown" {
		return store.Job{}, fault.New("test.unknown_procedure", fault.Usage, "there is no such procedure")
	}
	var fields struct {
		From string `json:"from_date"`
		To   string `json:"to_date"`
	}
	if err := json.Unmarshal(request, &fields); err != nil {
		return store.Job{}, err
	}
	return store.Job{Customer: customer, Procedure: procedure, Request: request, FromDate: fields.From, ToDate: fields.To, Reason: "requested"}, nil
}

// served are the customers that a process knows.
type served map[string]string

func (s served) Serves(_ context.Context, id string) (*customer.Customer, error) {
	bucket, is := s[id]
	if !is {
		return nil, fault.New(customer.CodeUnknown, fault.Usage, "there is no customer %q", id)
	}
	return &customer.Customer{ID: id, Bucket: bucket, Attributes: map[string]any{"time_zone": "Europe/Berlin"}}, nil
}

// counts are what an observer was told.
type counts struct {
	mu       sync.Mutex
	outcomes map[string]int
	missed   int
}

func (c *counts) Ticked(outcome string, missed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[outcome]++
	c.missed += missed
}

// world is a record with a clock, and what looks at it.
type world struct {
	*testing.T
	clock  *clock
	record *memory.Store
	counts *counts
}

var by = store.Actor{Who: "key:ann", From: "192.0.2.1", RequestID: "req_1"}

func newWorld(t *testing.T, at string) *world {
	t.Helper()
	now, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: now}
	return &world{T: t, clock: c, record: memory.NewAt(c.Now), counts: &counts{outcomes: map[string]int{}}}
}

// process is one that looks at schedules, and never by itself.
func (w *world) process(record Record) *Scheduler {
	w.Helper()
	s, err := New(Config{Record: record, Orders: orders{}, Customers: served{"c": "main", "poor": ""}, Observer: w.counts})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(s.Stop)
	return s
}

func (w *world) put(s *Scheduler, change func(*Spec)) store.Schedule {
	w.Helper()
	spec, err := Decode(full, []byte(`{"name":"nightly","customer":"c","procedure":"visits","cron":"30 2 * * *","time_zone":"Europe/Berlin"}`))
	if err != nil {
		w.Fatal(err)
	}
	if change != nil {
		change(&spec)
	}
	made, err := s.Put(w.Context(), "", spec, by)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

func (w *world) turn(s *Scheduler) {
	w.Helper()
	if err := s.turn(w.Context(), true); err != nil {
		w.Fatal(err)
	}
}

func (w *world) schedule(id string) store.Schedule {
	w.Helper()
	found, err := w.record.Schedule(w.Context(), "c", id)
	if err != nil {
		w.Fatal(err)
	}
	return found
}

func (w *world) jobs() []store.Job {
	w.Helper()
	list, _, err := w.record.Jobs(w.Context(), store.JobFilter{Customer: "c", Sort: store.CreatedAsc, Limit: 1 << 20})
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// work ends the jobs that wait: as a worker would, or with a failure.
func (w *world) work(fails func() bool) (jobs []store.Job) {
	w.Helper()
	for {
		_, lease, ok, err := w.record.ClaimJob(w.Context(), "worker", nil)
		if err != nil {
			w.Fatal(err)
		}
		if !ok {
			return jobs
		}
		e := store.Ending{Event: store.JobFailed}
		if !fails() {
			since := w.clock.Now().Format(time.DateOnly)
			e = store.Ending{Event: store.JobCompleted, Result: store.Result{Bucket: "main", ObjectKey: "k", Manifest: []byte(`{"next_since":"` + since + `"}`)}}
		}
		j, err := w.record.EndJob(w.Context(), lease, e)
		if err != nil {
			w.Fatal(err)
		}
		jobs = append(jobs, j)
	}
}

func never() bool { return false }

// decided are the ticks of the audit, each as often as it is there, and what became of them.
func (w *world) decided() (ticks, outcomes []string) {
	w.Helper()
	rows, err := w.record.AuditOf(w.Context(), "c", time.Time{}, 1<<20)
	if err != nil {
		w.Fatal(err)
	}
	for _, row := range rows {
		if row.What == "schedule.tick" {
			ticks, outcomes = append(ticks, row.Details["tick"]), append(outcomes, row.Outcome)
		}
	}
	return ticks, outcomes
}

// mortal is a record whose process is killed at any time: before what it asks for is done, or behind.
type mortal struct {
	Record
	random *rand.Rand
	killed int
}

var errKilled = errors.New("killed")

func (m *mortal) dies() bool {
	dead := m.random.IntN(6) == 0
	if dead {
		m.killed++
	}
	return dead
}

func (m *mortal) DueSchedules(ctx context.Context, most int) ([]store.Schedule, error) {
	due, err := m.Record.DueSchedules(ctx, most)
	if len(due) > 0 && m.dies() {
		return nil, errKilled
	}
	return due, err
}

func (m *mortal) Tick(ctx context.Context, t store.Tick) (job store.Job, done bool, err error) {
	if m.dies() {
		return job, false, errKilled
	}
	job, done, err = m.Record.Tick(ctx, t)
	if m.dies() {
		return store.Job{}, false, errKilled
	}
	return job, done, err
}

// TestMonths: two processes that are killed again and again decide on every tick of months once, across both changes of
// the clock, and what their jobs read leaves no day out.
func TestMonths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, from, to string }{
		{"Europe/Berlin", "2026-02-15T12:00:00Z", "2026-11-15T12:00:00Z"},
		{"Australia/Lord_Howe", "2026-03-15T12:00:00Z", "2026-11-01T12:00:00Z"},
		{"Asia/Kolkata", "2026-03-15T12:00:00Z", "2026-11-01T12:00:00Z"},
		{"America/Sao_Paulo", "2017-08-15T12:00:00Z", "2018-03-15T12:00:00Z"},
	} {
		for i, expression := range []string{"30 2 * * *", "*/30 1-3 * * *", "0 0 * * 1-5", "15 * * * *"} {
			t.Run(fmt.Sprint(c.zone, " ", i), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(7, uint64(i)))
				w := newWorld(t, c.from)
				end, err := time.Parse(time.RFC3339, c.to)
				if err != nil {
					t.Fatal(err)
				}
				if expression == "15 * * * *" {
					end = w.clock.Now().AddDate(0, 0, 60) // there are many
				}
				processes := [2]*mortal{{Record: w.record, random: random}, {Record: w.record, random: random}}
				first := w.put(w.process(w.record), func(s *Spec) {
					s.Cron, s.TimeZone, s.Moving, s.Window = expression, c.zone, true, Window{FirstDays: 30, OverlapDays: 1}
					s.Jitter, s.Overlap = time.Duration(i%2)*10*time.Minute, "queue"
				})
				running := [2]*Scheduler{w.process(processes[0]), w.process(processes[1])}
				next := "" // the first day that nothing has read yet, as of the last success
				for w.clock.Now().Before(end) {
					// To where something may happen, and some of the way beyond.
					pause := max(w.schedule(first.ID).DueAt.Sub(w.clock.Now()), 0)
					w.clock.advance(pause + time.Duration(random.IntN(240))*time.Second)
					for range 1 + random.IntN(3) {
						p := random.IntN(2)
						if err := running[p].turn(t.Context(), random.IntN(3) == 0); err != nil {
							if !errors.Is(err, errKilled) {
								t.Fatal(err)
							}
							running[p] = w.process(processes[p]) // another one begins
						}
					}
					if random.IntN(4) == 0 {
						continue // the workers are busy
					}
					for _, j := range w.work(func() bool { return random.IntN(5) == 0 }) {
						if next != "" && j.FromDate >= next {
							t.Fatalf("the job %s reads from %s on, and nothing has read %s", j.ID, j.FromDate, next)
						}
						if next == "" {
							next = j.CreatedAt.AddDate(0, 0, -28).Format(time.DateOnly)
						}
						if j.Status == store.Completed {
							next = j.CompletedAt.AddDate(0, 0, 1).Format(time.DateOnly)
						}
					}
				}
				got, outcomes := w.decided()
				cron, err := ParseCron(expression, c.zone)
				if err != nil {
					t.Fatal(err)
				}
				if sorted := slices.Compact(slices.Sorted(slices.Values(got))); len(sorted) != len(got) {
					t.Fatalf("%d of %d ticks were decided twice", len(got)-len(sorted), len(got))
				}
				// Each tick was decided on, but for those that were passed over while one waited or the processes were dead.
				seen := map[string]bool{}
				for _, tick := range got {
					seen[tick] = true
				}
				undecided := 0
				start, _ := time.Parse(time.RFC3339, c.from)
				last, _ := time.Parse(time.RFC3339, got[len(got)-1])
				for at := cron.Next(start); !at.After(last); at = cron.Next(at) {
					if text := at.UTC().Format(time.RFC3339); !seen[text] {
						undecided++
					} else {
						delete(seen, text)
					}
				}
				if len(seen) > 0 {
					t.Errorf("decided on what are no ticks: %v", seen)
				}
				if slices.ContainsFunc(outcomes, func(o string) bool { return o != "ok" }) {
					t.Errorf("outcomes %v", outcomes)
				}
				jobs := w.jobs()
				if len(jobs) != len(got) {
					t.Errorf("%d jobs of %d ticks", len(jobs), len(got))
				}
				if expression == "30 2 * * *" && undecided > 0 {
					t.Errorf("%d ticks were not decided on, which are days apart", undecided)
				}
				if processes[0].killed == 0 || processes[1].killed == 0 {
					t.Error("nobody was killed")
				}
				t.Logf("%d ticks, %d of them together with a later one, %d and %d kills", len(got)+undecided, undecided, processes[0].killed, processes[1].killed)
			})
		}
	}
}
