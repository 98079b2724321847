package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// jobs is the part of the record that jobs have.
type jobs struct {
	now    func() time.Time
	start  time.Time // of the clock
	server string    // names this record in leases

	byID        map[string]*job
	made        int64            // how many jobs were ever made
	served      map[string]int64 // by customer, when it was last given a worker: the number of the taking
	takings     int64
	transitions map[string][]store.Transition
	past        map[[2]string]store.Progress // by customer and procedure
	keys        map[[3]string]store.IdempotencyEntry
	outbox      []store.OutboxEvent
	announced   int64 // how many there ever were
	leftovers   []store.Leftover
	leftoverSeq int64
}

// job is a job, with what only the record knows of it.
type job struct {
	store.Job
	seq   int64     // the order in which jobs were made
	lease time.Time // the end of its lease
	until time.Time // the end of the last link to its object
	going bool      // its object is being removed
}

func newJobs(now func() time.Time) jobs {
	return jobs{
		now: now, start: now(), server: rand.Text(),
		byID: map[string]*job{}, served: map[string]int64{}, transitions: map[string][]store.Transition{},
		past: map[[2]string]store.Progress{}, keys: map[[3]string]store.IdempotencyEntry{},
	}
}

// moment is the time. What is steady goes by the monotonic readings of the clock, where it has any.
func (j *jobs) moment() store.Moment {
	now := j.now()
	return store.Moment{Now: now, Steady: j.start.Add(now.Sub(j.start)), Server: j.server}
}

// clone is a job that belongs to the caller.
func clone(j store.Job) store.Job {
	j.Request, j.Manifest = bytes.Clone(j.Request), bytes.Clone(j.Manifest)
	return j
}

// write makes a step.
func (s *Store) write(j *job, step store.Step) {
	j.Job = clone(step.Job)
	if t := step.Transition; t != nil {
		s.jobs.transitions[j.ID] = append(s.jobs.transitions[j.ID], *t)
		if t.To == store.Running {
			j.lease = s.jobs.moment().Steady.Add(store.LeaseTime)
			s.jobs.takings++
			s.jobs.served[j.Customer] = s.jobs.takings
		}
		if t.Event == store.JobCompleted {
			s.jobs.past[[2]string{j.Customer, j.Procedure}] = j.Gave()
			j.until = j.ObjectExpires
		}
	}
	if o := step.Outbox; o != nil {
		s.announce(*o)
	}
	for _, l := range step.Leftovers {
		s.jobs.leftoverSeq++
		l.Seq = s.jobs.leftoverSeq
		s.jobs.leftovers = append(s.jobs.leftovers, l)
	}
	s.audit = append(s.audit, step.Audit)
}

// CreateJob makes a job.
func (s *Store) CreateJob(ctx context.Context, n store.NewJob) (made store.Job, lease store.Lease, replayed bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		made, lease, replayed, err = s.createJob(n)
		return err
	})
	return made, lease, replayed, err
}

// createJob is called with the lock held.
func (s *Store) createJob(n store.NewJob) (made store.Job, lease store.Lease, replayed bool, err error) {
	if n.Idempotency != nil {
		there, _, err := s.admit(*n.Idempotency)
		if err != nil {
			return made, lease, false, err
		}
		if there != "" {
			j, err := s.job(n.Idempotency.Customer, there)
			if err != nil {
				return made, lease, false, err
			}
			return clone(j.Job), lease, true, nil
		}
	}
	if _, twice := s.jobs.byID[n.Job.ID]; twice {
		return made, lease, false, fault.New(store.CodeExists, fault.Usage, "there is a job %q already", n.Job.ID)
	}
	s.jobs.made++
	j := &job{seq: s.jobs.made}
	s.write(j, store.CreateStep(n, s.jobs.moment()))
	s.jobs.byID[j.ID] = j
	if i := n.Idempotency; i != nil {
		s.reserve(*i, j.ID)
	}
	if made = clone(j.Job); n.Holder != "" {
		lease = store.LeaseOf(made, s.jobs.server)
	}
	return made, lease, false, nil
}

func idempotencyKey(i store.Idempotency) [3]string { return [3]string{i.Customer, i.Route, i.Key} }

// admit is the job that an order with a key has made before, or ""; ours says that its request has the key.
func (s *Store) admit(i store.Idempotency) (job string, ours bool, err error) {
	entry, ok := s.jobs.keys[idempotencyKey(i)]
	if !ok || !entry.Stands(s.jobs.now()) {
		return "", false, nil
	}
	job, err = entry.Admit(i)
	return job, true, err
}

func (s *Store) reserve(i store.Idempotency, job string) {
	s.jobs.keys[idempotencyKey(i)] = store.IdempotencyEntry{
		Body: i.Body, Request: i.Request, Job: job, At: instant(s.jobs.now()),
	}
}

// ReserveIdempotency has a key for a request of which it is not known whether it becomes a job.
func (s *Store) ReserveIdempotency(ctx context.Context, i store.Idempotency) (job string, err error) {
	err = s.do(ctx, false, nil, func() error {
		var ours bool
		if job, ours, err = s.admit(i); !ours {
			s.reserve(i, "")
		}
		return err
	})
	return job, err
}

// ReleaseIdempotency lets a key go that has become no job.
func (s *Store) ReleaseIdempotency(ctx context.Context, i store.Idempotency) error {
	return s.do(ctx, false, nil, func() error {
		if entry := s.jobs.keys[idempotencyKey(i)]; entry.Job == "" && entry.Request == i.Request {
			delete(s.jobs.keys, idempotencyKey(i))
		}
		return nil
	})
}

// ClaimJob takes the next job.
func (s *Store) ClaimJob(ctx context.Context, holder string, skip []string) (taken store.Job, lease store.Lease, ok bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		j := s.next(skip)
		if j == nil {
			return nil
		}
		step, err := store.ClaimStep(j.Job, holder, s.jobs.moment())
		if err != nil {
			return err
		}
		s.write(j, step)
		taken, lease, ok = clone(j.Job), store.LeaseOf(j.Job, s.jobs.server), true
		return nil
	})
	return taken, lease, ok, err
}

func (s *Store) next(skip []string) *job {
	running, now := map[string]int{}, s.jobs.moment().Steady
	var ready []*job
	for _, j := range s.jobs.byID {
		switch {
		case j.Status == store.Running:
			running[j.Customer]++
		case j.Status == store.Queued && !j.NotBefore.After(now) && !s.disabled[j.Customer] && !slices.Contains(skip, j.Customer):
			ready = append(ready, j)
		}
	}
	var best *job
	for _, j := range ready {
		if best == nil || cmp.Or(
			cmp.Compare(running[j.Customer], running[best.Customer]),
			cmp.Compare(s.jobs.served[j.Customer], s.jobs.served[best.Customer]),
			cmp.Compare(j.Customer, best.Customer),
			cmp.Compare(best.Priority, j.Priority),
			cmp.Compare(j.seq, best.seq),
		) < 0 {
			best = j
		}
	}
	return best
}

// held is the job of a lease that is not over.
func (s *Store) held(l store.Lease) (*job, error) {
	j, ok := s.jobs.byID[l.Job]
	if !ok || !l.Holds(j.Job, s.jobs.server) || !s.jobs.moment().Steady.Before(j.lease) {
		return nil, store.LostLease(l)
	}
	return j, nil
}

// RenewJob keeps a lease, and notes how far its job is.
func (s *Store) RenewJob(ctx context.Context, l store.Lease, p store.Progress) (renewal store.Renewal, err error) {
	err = s.do(ctx, false, nil, func() error {
		j, err := s.held(l)
		if err != nil {
			return err
		}
		j.Progress, j.lease = j.Progress.After(p), s.jobs.moment().Steady.Add(store.LeaseTime)
		renewal.Cancel = !j.CancelAsked.IsZero()
		return nil
	})
	return renewal, err
}

// EndJob notes what has become of a job.
func (s *Store) EndJob(ctx context.Context, l store.Lease, e store.Ending) (ended store.Job, err error) {
	err = s.do(ctx, false, nil, func() error {
		j, err := s.held(l)
		if err != nil {
			return err
		}
		step, err := store.EndStep(j.Job, e, s.jobs.moment())
		if err != nil {
			return err
		}
		if j.KeepsState(e) {
			of := s.schedules[j.Schedule]
			if step.KeepState(of, *e.State); step.Schedule != nil {
				*of = copied(*step.Schedule)
			}
		}
		s.write(j, step)
		ended = clone(j.Job)
		return nil
	})
	return ended, err
}

// CancelJob cancels a job, or asks its worker to.
func (s *Store) CancelJob(ctx context.Context, customer, id string, by store.Actor) (after store.Job, err error) {
	err = s.do(ctx, false, nil, func() error {
		j, err := s.job(customer, id)
		if err != nil {
			return err
		}
		step, changed, err := store.CancelStep(j.Job, by, s.jobs.moment())
		if changed {
			s.write(j, step)
		}
		after = clone(j.Job)
		return err
	})
	return after, err
}

// RecoverJobs ends the runs whose leases are over.
func (s *Store) RecoverJobs(ctx context.Context) (recovered []store.Job, err error) {
	err = s.do(ctx, false, nil, func() error {
		now := s.jobs.moment().Steady
		lost := s.inOrder(func(j *job) bool { return j.Status == store.Running && !now.Before(j.lease) })
		slices.SortStableFunc(lost, func(a, b *job) int { return instant(a.lease).Compare(instant(b.lease)) })
		for _, j := range lost {
			step, err := store.LostStep(j.Job, s.jobs.moment())
			if err != nil {
				return err
			}
			s.write(j, step)
			recovered = append(recovered, clone(j.Job))
		}
		return nil
	})
	return recovered, err
}

// inOrder are the jobs that are wanted, in the order in which they were made.
func (s *Store) inOrder(wanted func(*job) bool) (jobs []*job) {
	for _, j := range s.jobs.byID {
		if wanted(j) {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	return jobs
}

func (s *Store) job(customer, id string) (*job, error) {
	if j, ok := s.jobs.byID[id]; ok && j.Customer == customer {
		return j, nil
	}
	return nil, unknown("job", id)
}

// Job returns a customer's job.
func (s *Store) Job(ctx context.Context, customer, id string) (found store.Job, err error) {
	err = s.do(ctx, false, nil, func() error {
		j, err := s.job(customer, id)
		if err == nil {
			found = clone(j.Job)
		}
		return err
	})
	return found, err
}

// Jobs lists a customer's jobs.
func (s *Store) Jobs(ctx context.Context, f store.JobFilter) (list []store.Job, total int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, j := range s.jobs.byID {
			if j.Customer == f.Customer && (f.Status == "" || j.Status == f.Status) &&
				(f.Procedure == "" || j.Procedure == f.Procedure) && !j.CreatedAt.Before(instant(f.From)) &&
				(f.To.IsZero() || j.CreatedAt.Before(instant(f.To))) {
				list = append(list, clone(j.Job))
			}
		}
		return nil
	})
	total = int64(len(list))
	slices.SortFunc(list, func(a, b store.Job) int {
		switch f.Sort {
		case store.CreatedAsc:
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		case store.UpdatedAsc:
			return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.ID, b.ID))
		case store.UpdatedDesc:
			return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), cmp.Compare(b.ID, a.ID))
		}
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	list = list[min(total, max(0, f.Offset)):]
	return list[:min(len(list), max(0, f.Limit))], total, err
}

// Transitions lists the changes of a job's state after one.
func (s *Store) Transitions(ctx context.Context, customer, id string, after int64) (list []store.Transition, err error) {
	err = s.do(ctx, false, nil, func() error {
		if _, err := s.job(customer, id); err != nil {
			return err
		}
		for _, t := range s.jobs.transitions[id] {
			if t.Number > after {
				list = append(list, t)
			}
		}
		return nil
	})
	return list, err
}

// PastRuns is what the last completed job of a procedure gave.
func (s *Store) PastRuns(ctx context.Context, customer, procedure string) (past store.Progress, err error) {
	err = s.do(ctx, false, nil, func() error {
		past = s.jobs.past[[2]string{customer, procedure}]
		return nil
	})
	return past, err
}

// object is a completed job whose object is there.
func (s *Store) object(id string) (*job, error) {
	if j, ok := s.jobs.byID[id]; ok && j.Status == store.Completed && j.ObjectRemoved.IsZero() {
		return j, nil
	}
	return nil, unknown("object of a job", id)
}

// ExtendObject keeps an object until a time.
func (s *Store) ExtendObject(ctx context.Context, id string, until time.Time, audit ...store.Audit) error {
	return s.do(ctx, false, audit, func() error {
		j, err := s.object(id)
		if err != nil {
			return err
		}
		if j.going {
			return unknown("object of a job", id)
		}
		if until := instant(until); until.After(j.until) {
			j.until = until
		}
		return nil
	})
}

// ExpiredObjects lists jobs whose objects nobody needs, and marks them.
func (s *Store) ExpiredObjects(ctx context.Context, before time.Time, most int, passing ...string) (
	list []store.Job, err error) {
	err = s.do(ctx, false, nil, func() error {
		expired := s.inOrder(func(j *job) bool {
			if j.until.IsZero() || !j.until.Before(instant(before)) || slices.Contains(passing, j.Bucket) {
				return false
			}
			_, err := s.object(j.ID)
			return err == nil
		})
		slices.SortStableFunc(expired, func(a, b *job) int { return a.until.Compare(b.until) })
		for _, j := range expired[:min(len(expired), max(0, most))] {
			j.going = true
			list = append(list, clone(j.Job))
		}
		return nil
	})
	return list, err
}

// ObjectRemoved notes that an object is gone.
func (s *Store) ObjectRemoved(ctx context.Context, id string) error {
	return s.do(ctx, false, nil, func() error {
		j, ok := s.jobs.byID[id]
		if !ok || j.Status != store.Completed {
			return unknown("object of a job", id)
		}
		if j.ObjectRemoved.IsZero() {
			s.write(j, store.RemovedStep(j.Job, s.jobs.moment()))
		}
		return nil
	})
}

// Leftovers lists what runs may have left of jobs that have ended.
func (s *Store) Leftovers(ctx context.Context, before time.Time, most int, passing ...string) (
	list []store.Leftover, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, l := range s.jobs.leftovers {
			j, there := s.jobs.byID[l.Job]
			if !l.Since.Before(instant(before)) || there && !j.Status.Ended() || len(list) >= most || slices.Contains(passing, l.Bucket) {
				continue
			}
			if there {
				l.Keep = j.ObjectKey
			}
			list = append(list, l)
		}
		return nil
	})
	return list, err
}

// LeftoverSwept forgets one.
func (s *Store) LeftoverSwept(ctx context.Context, seq int64) error {
	return s.do(ctx, false, nil, func() error {
		s.jobs.leftovers = slices.DeleteFunc(s.jobs.leftovers, func(l store.Leftover) bool { return l.Seq == seq })
		return nil
	})
}

// PruneJobs removes jobs that ended before a time and whose objects are gone.
func (s *Store) PruneJobs(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		for id, j := range s.jobs.byID {
			gone := j.ObjectKey == "" || !j.ObjectRemoved.IsZero()
			if j.Status.Ended() && j.CompletedAt.Before(instant(before)) && gone {
				delete(s.jobs.byID, id)
				delete(s.jobs.transitions, id)
				removed++
			}
		}
		maps.DeleteFunc(s.jobs.keys, func(_ [3]string, e store.IdempotencyEntry) bool { return !e.Stands(s.jobs.now()) })
		return nil
	})
	return removed, err
}

// Outbox lists the changes that customers are to be told of.
func (s *Store) Outbox(ctx context.Context, after int64, most int) (list []store.OutboxEvent, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, o := range s.jobs.outbox {
			if o.Seq > after && len(list) < most {
				o.Data = bytes.Clone(o.Data)
				list = append(list, o)
			}
		}
		return nil
	})
	return list, err
}

// Queues says how many jobs wait, by procedure.
func (s *Store) Queues(ctx context.Context) (queues map[string]store.Queue, err error) {
	queues = map[string]store.Queue{}
	err = s.do(ctx, false, nil, func() error {
		for _, j := range s.jobs.byID {
			q := queues[j.Procedure]
			switch j.Status {
			case store.Queued:
				q.Queued++
				if q.Oldest.IsZero() || j.CreatedAt.Before(q.Oldest) {
					q.Oldest = j.CreatedAt
				}
			case store.Running:
				q.Running++
			default:
				continue
			}
			queues[j.Procedure] = q
		}
		return nil
	})
	return queues, err
}

// Clock is the time of the record.
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.do(ctx, false, nil, func() error {
		now = instant(s.jobs.now())
		return nil
	})
	return now, err
}
