package schedule

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// lateAfter is how long after it was due a tick is one that was missed. Until then another process may decide on it that
// knows a customer which this one does not.
const lateAfter = 5 * time.Minute

// service is who decides on ticks.
var service = store.Actor{Who: "service", From: "local"}

// dueAt is when a tick is decided on: as much later as its jitter is, which is the same in every process.
func dueAt(id string, jitter time.Duration, tick time.Time) time.Time {
	if jitter <= 0 || tick.IsZero() {
		return tick
	}
	sum := sha256.Sum256(strconv.AppendInt([]byte(id+" "), tick.Unix(), 10))
	return tick.Add(time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(jitter)).Truncate(time.Millisecond))
}

// countedMissed is how many ticks are counted that were missed.
const countedMissed = 1000

// passed are the ticks of a schedule that are due: which is the last of them, how many come before it, and the one after.
func passed(c *Cron, of store.Schedule, now time.Time) (last time.Time, before int, next time.Time) {
	due := func(tick time.Time) bool { return !tick.IsZero() && !dueAt(of.ID, of.Jitter, tick).After(now) }
	last = of.NextTick
	for next = c.Next(last); due(next); next = c.Next(last) {
		last = next
		if before++; before == countedMissed {
			last = latest(c, last, now)
		}
	}
	return last, before, next
}

// latest is a tick not long before now, or another one where there is none.
func latest(c *Cron, otherwise, now time.Time) time.Time {
	for back := 48 * time.Hour; back < now.Sub(otherwise); back *= 4 {
		if tick := c.Next(now.Add(-back)); !tick.After(now) {
			return tick
		}
	}
	return otherwise
}

// decide decides on the ticks of a schedule that are due.
func (s *Scheduler) decide(ctx context.Context, of store.Schedule, now time.Time) error {
	c, err := s.cron(of)
	if err != nil {
		return err
	}
	t := store.Tick{Schedule: of, By: service}
	missed := 0
	if of.LastTick.After(now.Add(store.ClockAhead)) {
		t.At, t.Next, t.Outcome = now, c.Next(now), store.OutcomeClock
	} else {
		last, before, next := passed(c, of, now)
		t.At, t.Next, missed = last, next, before
		late := now.Sub(dueAt(of.ID, of.Jitter, last)) > lateAfter && of.LastOutcome != store.OutcomeWaits
		switch {
		case late && of.Missed == store.MissedSkip:
			t.Outcome = store.OutcomeMissed
			missed++
		default:
			job, since, err := s.job(ctx, of, last, now)
			switch {
			case err == nil:
				t.Job, t.Since = job, since
			case fault.Is(err, customer.CodeUnknown) && !late:
				return nil // it may be one of another process
			case refuses(err):
				code, _, _ := s.cfg.Public(err)
				t.Outcome = store.OutcomeRefused + code
				s.cfg.Log.WarnContext(ctx, "no job was made at a tick of a schedule", "customer", of.Customer, "schedule", of.ID, "name", of.Name, "code", code)
			default:
				return err
			}
		}
	}
	t.Due = dueAt(of.ID, of.Jitter, t.Next)
	made, done, err := s.cfg.Record.Tick(ctx, t)
	if err != nil || !done {
		return err
	}
	outcome := t.Outcome
	switch {
	case made.ID != "":
		outcome = store.OutcomeJob
	case t.Job != nil:
		outcome = store.OutcomeOverlap
	case refused(outcome):
		outcome = "refused"
	}
	s.cfg.Observer.Ticked(outcome, missed)
	s.cfg.Log.InfoContext(ctx, "a schedule had its tick", "customer", of.Customer, "schedule", of.ID, "name", of.Name,
		"tick", t.At.UTC().Format(time.RFC3339), "outcome", outcome, "job", made.ID, "missed", missed)
	return nil
}

func refused(outcome string) bool {
	return len(outcome) > len(store.OutcomeRefused) && outcome[:len(store.OutcomeRefused)] == store.OutcomeRefused
}

// refuses reports whether an error says that there is no such job to be made, and not that it cannot be known now.
func refuses(err error) bool {
	f := fault.From(err)
	return f.Class == fault.Usage && !f.Retryable
}

// job is what a tick makes, and from when on its window covers what is to be had.
func (s *Scheduler) job(ctx context.Context, of store.Schedule, tick, now time.Time) (*store.NewJob, string, error) {
	who, err := s.cfg.Customers.Serves(ctx, of.Customer)
	if err != nil {
		return nil, "", err
	}
	if who.Bucket == "" {
		return nil, "", fault.New(CodeNoBucket, fault.Usage, "the customer %q has no bucket", of.Customer)
	}
	zone, err := loadZone(of.Zone)
	if err != nil {
		return nil, "", err
	}
	request, since, err := requestAt(of, tick.In(zone))
	if err != nil {
		return nil, "", err
	}
	ordered, err := s.cfg.Orders.Order(of.Customer, of.Procedure, request)
	if err != nil {
		return nil, "", err
	}
	ordered.ID, ordered.Type, ordered.Bucket = engine.NewRunID(of.Procedure, now), JobType, who.Bucket
	return &store.NewJob{Job: ordered, By: store.Actor{Who: "schedule:" + of.ID, From: "local"}}, since, nil
}

// The fields of a request that a window sets.
const (
	fieldFrom     = "from_date"
	fieldTo       = "to_date"
	fieldModifier = "date_modifier"
	modifierAll   = "All"
	modifierMoved = "Updated"
)

// requestAt is the request of the job at a tick, with the dates of its window; since is where a window begins that has none
// yet. The day is that of the schedule's zone.
//
// A job reads from the day on from which the last one that completed has told that nothing is missed, less the overlap, and
// has no end: what its database knows then is in it, and where the next one begins it says itself.
func requestAt(of store.Schedule, tick time.Time) (request []byte, since string, err error) {
	if !of.Window {
		return of.Request, "", nil
	}
	fields, err := fieldsOf(of.Request)
	if err != nil {
		return nil, "", err
	}
	overlap := int(of.WindowOverlap / (24 * time.Hour))
	day := func(text string, days int) (string, error) {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return "", fault.New(CodeWindow, fault.Usage, "the window does not begin with a day such as 2026-01-31")
		}
		return at.AddDate(0, 0, days).Format(time.DateOnly), nil
	}
	if fields[fieldModifier] == nil {
		fields[fieldModifier] = modifierMoved
	}
	switch {
	case of.NextSince != "":
		if fields[fieldFrom], err = day(of.NextSince, -overlap); err != nil {
			return nil, "", err
		}
		delete(fields, fieldTo)
	default:
		from, _ := fields[fieldFrom].(string)
		if of.WindowFirst > 0 {
			from = tick.AddDate(0, 0, -int(of.WindowFirst/(24*time.Hour))).Format(time.DateOnly)
			fields[fieldFrom] = from
		}
		if since, err = day(from, overlap); err != nil {
			return nil, "", err
		}
	}
	request, err = json.Marshal(fields)
	return request, since, err
}

func fieldsOf(request []byte) (map[string]any, error) {
	fields := map[string]any{}
	if len(request) == 0 {
		return fields, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(request))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil || fields == nil {
		return nil, fault.New(CodeWindow, fault.Usage, "the request of a schedule is no JSON object")
	}
	return fields, nil
}
