package store

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what goes wrong with schedules.
const (
	// CodeScheduleDocument: a document has the schedule, and nobody else changes it.
	CodeScheduleDocument = "store.schedule_document"
	// CodeScheduleBusy: the last job of the schedule has not ended.
	CodeScheduleBusy = "store.schedule_busy"
)

// Schedule orders a job again and again.
type Schedule struct {
	// Name is one of a customer's, ID one of all.
	ID, Customer, Name string
	// Document is set where a document has it, and the API cannot change it.
	Document  bool
	Procedure string
	// Request is the body of the order, as of Job.Request. Where there is a window its dates are those of the first job.
	Request []byte
	Cron    string // five fields
	Zone    string // IANA name
	Overlap Overlap
	Missed  Missed
	Jitter  time.Duration
	// Window is set where from_date is given by the last success: its next_since, less WindowOverlap. The first job reads
	// from its tick less WindowFirst, or from the dates of Request where WindowFirst is zero.
	Window                     bool
	WindowFirst, WindowOverlap time.Duration
	Enabled                    bool

	// Times are of the record's clock. UpdatedAt grows with every change of what stands above.
	CreatedAt, UpdatedAt time.Time
	// NextTick is the tick that comes, of the schedule itself, and DueAt when it is decided on: its jitter later, or when
	// the job before may have ended. Zero is none.
	NextTick, DueAt time.Time
	// LastTick is the last one that was decided on, LastOutcome what became of it, and LastJob the last job that was made.
	LastTick    time.Time
	LastJob     string
	LastOutcome string
	// Settled says that NextSince knows how LastJob has ended.
	Settled bool
	// NextSince is where the window of the next job begins, before its overlap: of the last job that completed; while there
	// is none, of the first one that was made, so that nothing is lost when that fails.
	NextSince string
	// State is how far its jobs have come, where their pipeline keeps that.
	State ScheduleState
}

// ScheduleState says how far the jobs of a schedule have come. Revision, Sealed, Job and SavedAt are the record's.
type ScheduleState struct {
	// Epoch names what the states are of. A schedule that covers other rows than before has a new one, and jobs that were
	// made in another neither begin with the state nor replace it.
	Epoch string
	// Revision grows with every change. A job replaces the state that it began with, and no other.
	Revision int64
	// Sealed is the state, as who runs jobs has sealed it; empty is that none of them has kept one.
	Sealed []byte
	// Job is the one that came so far, and SavedAt when it had completed.
	Job     string
	SavedAt time.Time
}

// NewState is what a job that has completed makes of the state of its schedule.
type NewState struct {
	// From is the revision of the state that the job began with.
	From   int64
	Sealed []byte
}

// Overlap says what happens at a tick while the job of one before has not ended.
type Overlap string

// The ways.
const (
	OverlapSkip  Overlap = "skip"  // no job is made (default)
	OverlapQueue Overlap = "queue" // one job is made when that one has ended, for all ticks until then
)

// Missed says what happens with ticks at which nobody looked: the service was down, the record away, the clock set forward.
type Missed string

// The ways.
const (
	MissedOnce Missed = "once" // one job is made for all of them (default)
	MissedSkip Missed = "skip" // none is
)

// The outcomes of ticks. What the service refuses to make a job of has OutcomeRefused and the code.
const (
	OutcomeJob     = "job"
	OutcomeOverlap = "skipped: overlap"
	OutcomeMissed  = "skipped: missed"
	OutcomeClock   = "skipped: clock" // it was decided on when the clock was wrong, and is set anew
	OutcomeWaits   = "waits: overlap"
	OutcomeRefused = "refused: "
)

// WaitsFor is how long a tick that waits for the end of a job is not looked at again.
const WaitsFor = 5 * time.Second

// ClockAhead is how far the last tick may be ahead of the clock. Where it is farther the clock was wrong then, and has been
// set back since: the schedule would stand still until that time.
const ClockAhead = 25 * time.Hour

// Tick is the decision on a tick, or, where Now is set, on an order to run at once.
type Tick struct {
	// Schedule is what it was decided of. Where it is another by now, so is the decision.
	Schedule Schedule
	// At is the tick, and Next the one after it with its Due; Now leaves all three as they are.
	At, Next, Due time.Time
	Now           bool
	// Job is what is made, and nil where nothing is, because of Outcome.
	Job     *NewJob
	Outcome string
	// Since is NextSince from now on, where the schedule has none.
	Since string
	By    Actor
}

// ScheduleStep is a change of a schedule with what is written in its transaction.
type ScheduleStep struct {
	Schedule Schedule
	// Changed says that there is something to be written, and Done that the tick was decided.
	Changed, Done bool
	Job           *NewJob
	Audit         *Audit
}

// PutScheduleStep makes a schedule, or replaces one. What has become of it stays: its ticks where they are the same, and its
// window and state where it covers the same. Where it does not they begin anew, in the epoch that s has.
func PutScheduleStep(before *Schedule, s Schedule, at Moment) (Schedule, error) {
	now := instant(at.Now)
	s.NextTick, s.DueAt = instant(s.NextTick), instant(s.DueAt)
	s.LastTick, s.LastJob, s.LastOutcome, s.Settled, s.NextSince = time.Time{}, "", "", true, ""
	s.State = ScheduleState{Epoch: s.State.Epoch}
	if before == nil {
		s.CreatedAt, s.UpdatedAt = now, now
		return s, nil
	}
	if before.Document && !s.Document {
		return s, fault.New(CodeScheduleDocument, fault.Usage, "the schedule %q stands in a document", before.Name)
	}
	s.CreatedAt, s.UpdatedAt = before.CreatedAt, now
	if !now.After(before.UpdatedAt) {
		s.UpdatedAt = before.UpdatedAt.Add(time.Microsecond)
	}
	s.LastTick, s.LastJob, s.LastOutcome = before.LastTick, before.LastJob, before.LastOutcome
	if s.Cron == before.Cron && s.Zone == before.Zone && s.Jitter == before.Jitter && s.Enabled == before.Enabled {
		s.NextTick, s.DueAt = before.NextTick, before.DueAt
	}
	if s.Window == before.Window && s.Procedure == before.Procedure && bytes.Equal(covered(s.Request),
		covered(before.Request)) {
		s.Settled, s.NextSince, s.State = before.Settled, before.NextSince, before.State
	}
	return s, nil
}

// ResetScheduleStep has a schedule begin anew: what its next job reads is what its first one did. A job that runs
// meanwhile ends as it would, and neither its window nor its state counts.
func ResetScheduleStep(s Schedule) Schedule {
	s.NextSince = ""
	s.State = ScheduleState{Epoch: s.State.Epoch, Revision: s.State.Revision + 1}
	return s
}

// deliveryFields say how rows are delivered, and not which.
var deliveryFields = []string{"output_format", "compression", "encrypted", "webhook_url", "priority", "mode"}

// covered is what a request says of the rows that it covers.
func covered(request []byte) []byte {
	var fields map[string]any
	if json.Unmarshal(request, &fields) != nil {
		return request
	}
	for name := range fields {
		if slices.Contains(deliveryFields, name) {
			delete(fields, name)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return request
	}
	return text
}

// SettleStep is the schedule when it is known how its last job has ended. Of a job that is no longer listed it is not, and
// the window stays where it was. One that was reset since has none.
func SettleStep(s Schedule, last *Job) (after Schedule, changed bool) {
	if s.Settled || last != nil && !last.Status.Ended() {
		return s, false
	}
	s.Settled = true
	if s.Window && s.NextSince != "" && last != nil && last.Status == Completed {
		var manifest struct {
			NextSince string `json:"next_since"`
		}
		if err := json.Unmarshal(last.Manifest, &manifest); err == nil {
			if _, err := time.Parse(time.DateOnly, manifest.NextSince); err == nil {
				s.NextSince = manifest.NextSince
			}
		}
	}
	return s, true
}

// TickStep is what a decision comes to. S is the schedule as the record has it, and last its last job, nil where there is
// none that is listed.
func TickStep(s Schedule, t Tick, last *Job, at Moment) (ScheduleStep, error) {
	step := ScheduleStep{Schedule: s}
	read := t.Schedule
	if !s.UpdatedAt.Equal(read.UpdatedAt) || !s.NextTick.Equal(read.NextTick) || !s.Enabled && !t.Now {
		return step, nil
	}
	// A window that was made of what is known no more is made anew.
	if after, changed := SettleStep(s, last); changed && after.NextSince != s.NextSince || s.NextSince != read.NextSince {
		step.Schedule, step.Changed = after, changed
		return step, nil
	} else if changed {
		step.Schedule, s = after, after
	}
	job, outcome := t.Job, t.Outcome
	if busy := !s.Settled && last != nil; busy && job != nil {
		switch {
		case t.Now:
			return step, fault.New(CodeScheduleBusy, fault.Usage, "the job %q of the schedule %q has not ended", s.LastJob, s.Name)
		case s.Overlap == OverlapQueue:
			step.Schedule.LastOutcome, step.Schedule.DueAt = OutcomeWaits, instant(at.Now.Add(WaitsFor))
			step.Changed = true
			return step, nil
		}
		job, outcome = nil, OutcomeOverlap
	}
	if !t.Now {
		s.LastTick, s.NextTick, s.DueAt = instant(t.At), instant(t.Next), instant(t.Due)
	}
	details := map[string]string{"schedule": s.ID, "name": s.Name}
	if !t.Now {
		details["tick"] = s.LastTick.Format(time.RFC3339)
	}
	var run string
	if job != nil {
		outcome, run = OutcomeJob, job.Job.ID
		made := *job
		made.Job.Schedule, made.Job.StateEpoch = s.ID, s.State.Epoch
		job = &made
		s.LastJob, s.Settled = run, false
		if s.NextSince == "" {
			s.NextSince = t.Since
		}
	}
	if s.LastOutcome = outcome; t.Now {
		s.LastOutcome = step.Schedule.LastOutcome
	}
	what := "schedule.tick"
	if t.Now {
		what = "schedule.run"
	}
	audited := outcome
	if outcome == OutcomeJob {
		audited = "ok"
	}
	step = ScheduleStep{Schedule: s, Changed: true, Done: true, Job: job, Audit: &Audit{At: instant(at.Now), Who: t.By.Who, What: what,
		Customer: s.Customer, From: t.By.From, RequestID: t.By.RequestID, RunID: run, Outcome: audited, Details: details}}
	return step, nil
}

// IsDue reports whether a schedule is to be looked at: its tick is due, or was decided on when the clock was wrong.
func (s Schedule) IsDue(now time.Time) bool {
	return s.Enabled && !s.DueAt.IsZero() && (!s.DueAt.After(now) || s.LastTick.After(now.Add(ClockAhead)))
}
