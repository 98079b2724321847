package job

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// unsealed keeps states as they are.
type unsealed struct{}

func (unsealed) Open(of store.Schedule) (state engine.State, err error) {
	if len(of.State.Sealed) > 0 {
		err = json.Unmarshal(of.State.Sealed, &state)
	}
	return state, err
}

func (unsealed) Seal(_, _, _ string, state *engine.State) ([]byte, error) { return json.Marshal(state) }

func stateful(c *Config) { c.States = unsealed{} }

// came is a run that delivers a text and says how far it has come; empty is that it has read no row.
func came(value string, run runFunc) runFunc {
	return func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
		receipt, err := run(ctx, n, sink, o)
		if err == nil && value != "" {
			receipt.Facts["source."+stage.FactCursor], receipt.Facts["source."+stage.FactCursorOrigin] = value,
				"db:3306/practice"
			receipt.FinishedAt = time.Now()
		}
		return receipt, err
	}
}

// schedule is one of the pipeline that keeps state.
func (w *world) schedule() {
	w.Helper()
	if _, err := w.store.PutSchedule(w.Context(), store.Schedule{ID: "sch", Customer: "clinic", Name: "changes",
		Procedure: "following",
		Enabled:   true, State: store.ScheduleState{Epoch: "first"}}, store.Audit{}); err != nil {
		w.Fatal(err)
	}
}

// stands is what the record has.
func (w *world) stands() store.ScheduleState {
	w.Helper()
	s, err := w.store.Schedule(w.Context(), "clinic", "sch")
	if err != nil {
		w.Fatal(err)
	}
	return s.State
}

// value is how far that is.
func (w *world) value() string {
	w.Helper()
	state, err := unsealed{}.Open(store.Schedule{State: w.stands()})
	if err != nil {
		w.Fatal(err)
	}
	return state.Value
}

// orders makes a job of the schedule.
func (w *world) orders(request string) store.Job {
	w.Helper()
	of, err := w.store.Schedule(w.Context(), "clinic", "sch")
	if err != nil {
		w.Fatal(err)
	}
	n := w.order("clinic")
	n.Job.Procedure, n.Job.Type, n.Job.Bucket, n.Job.Request = "following", "schedule", "main", []byte(request)
	job, done, err := w.store.Tick(w.Context(), store.Tick{Schedule: of, Now: true, Job: &n, By: n.By})
	if err != nil || !done {
		w.Fatal(done, err)
	}
	return job
}

// TestStateOfSchedule: a job begins where the last that completed has ended, and one that does not complete, or has
// read nothing, leaves that as it was.
func TestStateOfSchedule(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.schedule()
		p := w.start("a", 1, nil, stateful)
		run := func(run runFunc) store.Job {
			t.Helper()
			p.engine.run = run
			return w.ended(w.orders(`{}`))
		}
		well := deliver("one\n", time.Second)
		first := run(came("7", well))
		if plan := p.engine.plan(); first.Status != store.Completed || !plan.State.Kept || plan.State.Last != "" ||
			w.value() != "7" || w.stands().Job != first.ID {
			t.Fatalf("%+v, %+v", first, w.stands())
		}
		kept := w.stands()
		if failed := run(fails(fault.New("mysql.value", fault.Data, "no"))); failed.Status != store.Failed ||
			w.stands().Revision != kept.Revision {
			t.Errorf("%+v, %+v", failed, w.stands())
		}
		if plan := p.engine.plan(); plan.State.Last != "7" || plan.State.From != "5" {
			t.Errorf("%+v", plan.State)
		}
		if idle := run(came("", well)); idle.Status != store.Completed || w.stands().Revision != kept.Revision {
			t.Errorf("%+v, %+v", idle, w.stands())
		}
		// What the source says wrongly is not kept, and not logged.
		if wrong := run(came("Maria", well)); wrong.Status != store.Completed || w.stands().Revision != kept.Revision {
			t.Errorf("%+v, %+v", wrong, w.stands())
		}
		if log := p.log.String(); !strings.Contains(log, "state.invalid") || strings.Contains(log, "Maria") ||
			strings.Contains(log, "3306") {
			t.Errorf("%s", log)
		}
		if next := run(came("9", well)); next.Status != store.Completed || w.value() != "9" ||
			p.engine.plan().State.Last != "7" {
			t.Errorf("%+v, %s", next, w.value())
		}
	})
}

// TestStateOfAttempt: every attempt begins with what the record has then, and not with what it had when the job was
// made.
func TestStateOfAttempt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.schedule()
		p := w.start("a", 1, came("7", deliver("one\n", time.Second)), stateful)
		w.ended(w.orders(`{}`))
		var lasts []string
		p.engine.run = func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			lasts = append(lasts, p.engine.plan().State.Last)
			if n > 1 {
				return came("8", deliver("two\n", time.Second))(ctx, n, sink, o)
			}
			if _, err := w.store.ResetSchedule(ctx, "clinic", "sch", store.Audit{}); err != nil {
				t.Error(err)
			}
			return nil, fault.New("mysql.deadlock", fault.Source, "again").WithRetry()
		}
		job := w.ended(w.orders(`{}`))
		if job.Status != store.Completed || job.Attempts != 2 || strings.Join(lasts, ",") != "7," || w.value() != "8" {
			t.Errorf("%+v, %q, %s", job, lasts, w.value())
		}
	})
}

// TestStateSuperseded: a job that completes does not undo what became of its schedule meanwhile.
func TestStateSuperseded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(w *world) error{
		"reset": func(w *world) error {
			_, err := w.store.ResetSchedule(w.Context(), "clinic", "sch", store.Audit{})
			return err
		},
		"other rows": func(w *world) error {
			_, err := w.store.PutSchedule(w.Context(), store.Schedule{ID: "sch", Customer: "clinic", Name: "changes",
				Procedure: "following",
				Request:   []byte(`{"rows":3}`), Enabled: true, State: store.ScheduleState{Epoch: "second"}}, store.Audit{})
			return err
		},
		"made anew": func(w *world) error {
			err := w.store.DeleteSchedule(w.Context(), "clinic", "sch", store.Audit{})
			w.schedule()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.schedule()
				p := w.start("a", 1, came("7", deliver("one\n", time.Second)), stateful)
				w.ended(w.orders(`{}`))
				p.engine.run = came("9", deliver("two\n", time.Second, func(context.Context) error { return c(w) }))
				if job := w.ended(w.orders(`{}`)); job.Status != store.Completed || w.value() != "" {
					t.Errorf("%+v, %+v", job, w.stands())
				}
			})
		})
	}
}

// TestStateGone: a job whose schedule has other rows since, or is no more, is not run: it would deliver every row for
// nothing.
func TestStateGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(w *world) error{
		"deleted": func(w *world) error { return w.store.DeleteSchedule(w.Context(), "clinic", "sch", store.Audit{}) },
		"replaced": func(w *world) error {
			_, err := w.store.PutSchedule(w.Context(), store.Schedule{ID: "sch", Customer: "clinic", Procedure: "counting",
				State: store.ScheduleState{Epoch: "second"}}, store.Audit{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.schedule()
				job := w.orders(`{}`)
				if err := c(w); err != nil {
					t.Fatal(err)
				}
				p := w.start("a", 1, nil, stateful)
				if job = w.ended(job); job.Status != store.Failed || job.ErrorCode != strings.ToUpper(CodeScheduleReplaced) ||
					p.engine.count(job.ID) != 0 {
					t.Errorf("%+v", job)
				}
			})
		})
	}
}

// TestStateRefused: the pipeline is run for a schedule alone, and with the parameters that its state is of.
func TestStateRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.schedule()
		p := w.start("a", 1, came("7", deliver("one\n", time.Second)), stateful)
		n := w.order("clinic")
		n.Job.Procedure = "following"
		alone, _, err := p.Create(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if alone = w.ended(alone); alone.Status != store.Failed || alone.ErrorCode != strings.ToUpper(binding.CodeState) {
			t.Errorf("%+v", alone)
		}
		w.ended(w.orders(`{"rows":5}`))
		kept := w.stands()
		other := w.ended(w.orders(`{"rows":6}`))
		if other.Status != store.Failed || p.engine.count(other.ID) != 0 || w.stands().Revision != kept.Revision {
			t.Errorf("%+v, %+v", other, w.stands())
		}
	})
}

// TestStateAway: where the record is away when a job begins, the job is begun again; where it is away at its end, the
// state is kept once or not at all, as the job's end is.
func TestStateAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.schedule()
		p := w.start("a", 1, came("7", deliver("one\n", time.Second)), stateful)
		times := 0
		p.record.set(func(call string) error {
			if call == "schedule" && times == 0 {
				times++
				return errAway
			}
			return nil
		}, nil)
		if job := w.ended(w.orders(`{}`)); job.Status != store.Completed || job.Attempts != 2 || w.value() != "7" {
			t.Errorf("%+v, %s", job, w.value())
		}
		// The record takes an end, and its answer is lost.
		lost := 0
		p.record.set(nil, func(call string) error {
			if call == "end" && lost == 0 {
				lost++
				return errAway
			}
			return nil
		})
		p.engine.run = came("8", deliver("two\n", time.Second))
		if job := w.ended(w.orders(`{}`)); job.Status != store.Completed || lost != 1 || w.value() != "8" ||
			w.stands().Revision != 2 {
			t.Errorf("%+v, %+v", job, w.stands())
		}
		// The object is committed, and the record takes no end of this process: another one does it once more, from the same
		// state.
		p.record.back()
		p.engine.run = came("9", deliver("three\n", time.Second, func(context.Context) error {
			p.record.set(func(call string) error {
				if call == "renew" {
					return nil // so that it commits
				}
				return errAway
			}, nil)
			return nil
		}))
		job := w.orders(`{}`)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if w.now(job).Status != store.Running || w.value() != "8" {
			t.Fatalf("%+v, %s", w.now(job), w.value())
		}
		go p.Stop(context.Background())
		other := w.start("b", 1, came("10", deliver("four\n", time.Second)), stateful)
		if job = w.ended(job); job.Status != store.Completed || job.Attempts != 2 || w.value() != "10" ||
			w.stands().Revision != 3 ||
			other.engine.plan().State.Last != "8" {
			t.Errorf("%+v, %+v", job, w.stands())
		}
	})
}
