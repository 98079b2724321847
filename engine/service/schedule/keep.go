package schedule

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// List lists the schedules of a customer, by name.
func (s *Scheduler) List(ctx context.Context, customer string) ([]store.Schedule, error) {
	return s.cfg.Record.Schedules(ctx, customer)
}

// Get is a schedule of a customer.
func (s *Scheduler) Get(ctx context.Context, customer, id string) (store.Schedule, error) {
	return s.cfg.Record.Schedule(ctx, customer, id)
}

// Put makes a schedule of what was checked, or, with the identifier of one, replaces it.
func (s *Scheduler) Put(ctx context.Context, id string, spec Spec, by store.Actor) (store.Schedule, error) {
	return s.put(ctx, id, spec, false, by)
}

func (s *Scheduler) put(ctx context.Context, id string, spec Spec, document bool, by store.Actor) (store.Schedule, error) {
	put := spec.schedule()
	put.ID, put.Document = id, document
	put.State.Epoch = rand.Text()
	now, err := s.cfg.Record.Clock(ctx)
	if err != nil {
		return put, err
	}
	what := "schedule.replace"
	if id == "" {
		what = "schedule.create"
		put.ID = newID(now)
	}
	if put.Zone == "" {
		put.Zone = s.zoneOf(ctx, put.Customer)
	}
	c, err := s.cron(put)
	if err != nil {
		return put, err
	}
	if put.Enabled {
		put.NextTick = c.Next(now)
		put.DueAt = dueAt(put.ID, put.Jitter, put.NextTick)
	}
	audit := audited(what, put, now, by)
	audit.Details["procedure"] = put.Procedure
	return s.cfg.Record.PutSchedule(ctx, put, audit)
}

// audited is what the audit says of a change of a schedule.
func audited(what string, of store.Schedule, at time.Time, by store.Actor) store.Audit {
	return store.Audit{At: at, Who: by.Who, What: what, Customer: of.Customer, From: by.From, RequestID: by.RequestID,
		Outcome: "ok",
		Details: map[string]string{"schedule": of.ID, "name": of.Name}}
}

// zoneOf is the zone of a customer's practice, or UTC.
func (s *Scheduler) zoneOf(ctx context.Context, customer string) string {
	if who, err := s.cfg.Customers.Serves(ctx, customer); err == nil {
		if zone, _ := who.Attributes["time_zone"].(string); zone != "" {
			return zone
		}
	}
	return "UTC"
}

// newID names a schedule.
func newID(now time.Time) string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return fmt.Sprintf("sch_%d%s", now.UnixMilli(), hex.EncodeToString(b))
}

// Delete removes a schedule of a customer; its jobs stay.
func (s *Scheduler) Delete(ctx context.Context, of store.Schedule, by store.Actor) error {
	now, err := s.cfg.Record.Clock(ctx)
	if err != nil {
		return err
	}
	return s.cfg.Record.DeleteSchedule(ctx, of.Customer, of.ID, audited("schedule.delete", of, now, by))
}

// Reset has a schedule begin anew, with its window and its state: its next job reads what its first one did.
func (s *Scheduler) Reset(ctx context.Context, of store.Schedule, by store.Actor) (store.Schedule, error) {
	now, err := s.cfg.Record.Clock(ctx)
	if err != nil {
		return of, err
	}
	return s.cfg.Record.ResetSchedule(ctx, of.Customer, of.ID, audited("schedule.reset", of, now, by))
}

// tries is how often an order to run at once is made anew, because the schedule has become another in the meantime.
const tries = 5

// Run makes a job of a schedule at once, whether it is enabled or not. Its ticks stay as they are.
func (s *Scheduler) Run(ctx context.Context, of store.Schedule, by store.Actor) (job store.Job, err error) {
	for range tries {
		now, err := s.cfg.Record.Clock(ctx)
		if err != nil {
			return job, err
		}
		order, since, err := s.job(ctx, of, now, now)
		if err != nil {
			return job, err
		}
		order.By = by
		order.Job.KeyID, order.Job.From, order.Job.RequestID = keyOf(by), by.From, by.RequestID
		job, done, err := s.cfg.Record.Tick(ctx, store.Tick{Schedule: of, Now: true, Job: order, Since: since, By: by})
		if err != nil || done {
			return job, err
		}
		if of, err = s.cfg.Record.Schedule(ctx, of.Customer, of.ID); err != nil {
			return job, err
		}
	}
	return job, fmt.Errorf("the schedule %q changes all the time", of.ID)
}

// keyOf is the bearer key of who asks.
func keyOf(by store.Actor) string {
	if id, is := bytes.CutPrefix([]byte(by.Who), []byte("key:")); is {
		return string(id)
	}
	return ""
}

// Next are the next ticks of a schedule, in its zone.
func (s *Scheduler) Next(of store.Schedule, most int) (ticks []time.Time) {
	c, err := s.cron(of)
	if err != nil || !of.Enabled || of.NextTick.IsZero() {
		return nil
	}
	for at := of.NextTick.In(c.Zone()); len(ticks) < most && !at.IsZero(); at = c.Next(at) {
		ticks = append(ticks, at)
	}
	return ticks
}

// Sync has the record hold the schedules of documents, and no others of documents. What is the same is left as it is.
func (s *Scheduler) Sync(ctx context.Context, documents []Spec) error {
	all, err := s.cfg.Record.Schedules(ctx, "")
	if err != nil {
		return err
	}
	there := map[string]store.Schedule{}
	for _, one := range all {
		if one.Document {
			there[one.ID] = one
		}
	}
	// What goes makes room for what comes: a name may be another schedule's now.
	wanted := map[string]bool{}
	for _, spec := range documents {
		wanted[documentID(spec)] = true
	}
	for id, one := range there {
		if !wanted[id] {
			if err := s.Delete(ctx, one, service); err != nil {
				return err
			}
		}
	}
	for _, spec := range documents {
		id := documentID(spec)
		if before, is := there[id]; is && s.same(ctx, before, spec) {
			continue
		}
		_, err := s.put(ctx, id, spec, true, service)
		if fault.Is(err, store.CodeExists) { // made by the customer, who may not keep the service from starting by it
			s.cfg.Log.ErrorContext(ctx, "a schedule of a document is not in effect: another one of the customer has its name",
				"customer", spec.Customer, "name", spec.Name)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// documentID is the identifier of a document's schedule.
func documentID(spec Spec) string { return "sch_doc_" + spec.Customer + "." + spec.Name }

func (s *Scheduler) same(ctx context.Context, before store.Schedule, spec Spec) bool {
	after := spec.schedule()
	if after.Zone == "" {
		after.Zone = s.zoneOf(ctx, after.Customer)
	}
	return bytes.Equal(before.Request, after.Request) && before.Procedure == after.Procedure && before.Cron == after.Cron &&
		before.Zone == after.Zone && before.Overlap == after.Overlap && before.Missed == after.Missed && before.Jitter == after.Jitter &&
		before.Window == after.Window && before.WindowFirst == after.WindowFirst && before.WindowOverlap == after.WindowOverlap &&
		before.Enabled == after.Enabled
}
