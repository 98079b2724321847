package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func (s *Store) schedule(customer, id string) (*store.Schedule, error) {
	if found, ok := s.schedules[id]; ok && found.Customer == customer {
		return found, nil
	}
	return nil, unknown("schedule", id)
}

func copied(s store.Schedule) store.Schedule {
	s.Request, s.State.Sealed = bytes.Clone(s.Request), bytes.Clone(s.State.Sealed)
	return s
}

// Schedules lists a customer's schedules by name, or those of all.
func (s *Store) Schedules(ctx context.Context, customer string) (list []store.Schedule, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, one := range s.schedules {
			if customer == "" || one.Customer == customer {
				list = append(list, copied(*one))
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b store.Schedule) int {
		return cmp.Or(cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.Name, b.Name))
	})
	return list, err
}

// Schedule returns a customer's schedule.
func (s *Store) Schedule(ctx context.Context, customer, id string) (found store.Schedule, err error) {
	err = s.do(ctx, false, nil, func() error {
		one, err := s.schedule(customer, id)
		if err == nil {
			found = copied(*one)
		}
		return err
	})
	return found, err
}

// PutSchedule makes or replaces a schedule.
func (s *Store) PutSchedule(ctx context.Context, put store.Schedule, audit store.Audit) (after store.Schedule, err error) {
	err = s.do(ctx, false, []store.Audit{audit}, func() error {
		before, there := s.schedules[put.ID]
		if there && before.Customer != put.Customer {
			return unknown("schedule", put.ID)
		}
		next, err := store.PutScheduleStep(before, copied(put), s.jobs.moment())
		if err != nil {
			return err
		}
		for _, other := range s.schedules {
			if other.ID != put.ID && other.Customer == put.Customer && other.Name == put.Name {
				return fault.New(store.CodeExists, fault.Usage, "there is a schedule %q already", put.Name)
			}
		}
		after = copied(next)
		s.schedules[put.ID] = &next
		return nil
	})
	return after, err
}

// DeleteSchedule removes a schedule.
func (s *Store) DeleteSchedule(ctx context.Context, customer, id string, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		_, err := s.schedule(customer, id)
		if err == nil {
			delete(s.schedules, id)
		}
		return err
	})
}

// ResetSchedule has a schedule begin anew.
func (s *Store) ResetSchedule(ctx context.Context, customer, id string, audit store.Audit) (after store.Schedule,
	err error) {
	err = s.do(ctx, false, []store.Audit{audit}, func() error {
		one, err := s.schedule(customer, id)
		if err == nil {
			*one = store.ResetScheduleStep(*one)
			after = copied(*one)
		}
		return err
	})
	return after, err
}

// DueSchedules lists schedules that are to be looked at.
func (s *Store) DueSchedules(ctx context.Context, most int) (list []store.Schedule, err error) {
	err = s.do(ctx, false, nil, func() error {
		now := s.jobs.now()
		for _, one := range s.schedules {
			if one.IsDue(now) && !s.disabled[one.Customer] {
				list = append(list, copied(*one))
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b store.Schedule) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID)) })
	return list[:min(len(list), max(0, most))], err
}

// SettleSchedules notes of schedules how their last jobs have ended.
func (s *Store) SettleSchedules(ctx context.Context, most int) (settled int, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, one := range s.schedules {
			if settled >= most {
				break
			}
			if after, changed := store.SettleStep(*one, s.lastJob(one)); changed {
				*one = after
				settled++
			}
		}
		return nil
	})
	return settled, err
}

func (s *Store) lastJob(one *store.Schedule) *store.Job {
	if j, err := s.job(one.Customer, one.LastJob); err == nil {
		return &j.Job
	}
	return nil
}

// Tick decides on a tick.
func (s *Store) Tick(ctx context.Context, t store.Tick) (made store.Job, done bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		one, err := s.schedule(t.Schedule.Customer, t.Schedule.ID)
		if err != nil {
			return err
		}
		step, err := store.TickStep(*one, t, s.lastJob(one), s.jobs.moment())
		if err != nil || !step.Changed {
			return err
		}
		audited := len(s.audit)
		if step.Audit != nil {
			s.audit = append(s.audit, *step.Audit)
		}
		if step.Job != nil {
			if made, _, _, err = s.createJob(*step.Job); err != nil {
				s.audit = s.audit[:audited]
				return err
			}
		}
		*one, done = copied(step.Schedule), step.Done
		return nil
	})
	return made, done, err
}
