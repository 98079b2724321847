package store

import (
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// WorkerLost is the ErrorCode of a job whose workers were lost as often as it may be begun.
const WorkerLost = "WORKER_LOST"

// Step is a change of a job with all that is written in its transaction. The functions that make one are all that there
// is to know of what a change comes to: a record reads the job, makes the step, and writes it whole.
type Step struct {
	// Job is the job afterwards.
	Job Job
	// Audit says who has changed it.
	Audit Audit
	// Transition is nil where the state stays.
	Transition *Transition
	// Outbox is set when the job has ended.
	Outbox *OutboxEvent
	// Leftovers are set when a run ends that did not complete.
	Leftovers []Leftover
	// Schedule is that of the job where its state is another now, and nil otherwise.
	Schedule *Schedule
}

// Moment is what a record's clock says.
type Moment struct {
	// Now is the time of day; the times of jobs are of it. The clock may be set, forward and back.
	Now time.Time
	// Steady goes on as time does, however the clock is set; leases end, and jobs wait, by it.
	Steady time.Time
	// Server is whose clock it is; it stands in leases.
	Server string
	// FirstRun is the least number of a run that begins now: runs that another server has begun, and of which this one
	// knows nothing, have lower ones, and with them other objects. Zero is any.
	FirstRun int
}

// service is who changes a job when nobody has asked for it.
var service = Actor{Who: "service", From: "local"}

// CreateStep makes a job; with a holder it is running.
func CreateStep(n NewJob, at Moment) Step {
	ordered, now := n.Job, instant(at.Now)
	j := Job{
		ID: ordered.ID, Customer: ordered.Customer, Procedure: ordered.Procedure, Type: ordered.Type,
		Priority: ordered.Priority, Status: Queued, Reason: ordered.Reason, Request: ordered.Request,
		Format: ordered.Format, Compression: ordered.Compression, Encrypted: ordered.Encrypted,
		FromDate: ordered.FromDate, ToDate: ordered.ToDate, Modifier: ordered.Modifier, WebhookURL: ordered.WebhookURL,
		RequestID: ordered.RequestID, KeyID: ordered.KeyID, From: ordered.From, Trace: ordered.Trace,
		Schedule: ordered.Schedule, StateEpoch: ordered.StateEpoch,
		CreatedAt: now, UpdatedAt: now, Transition: 1, Progress: ordered.Progress,
	}
	j.Bucket = ordered.Bucket
	if n.Holder != "" {
		j = j.taken(n.Holder, now, at.FirstRun)
	}
	s := Step{Job: j, Audit: j.audit("job.created", n.By, now)}
	s.Transition = &Transition{Job: j.ID, Number: 1, To: j.Status, At: now, Attempt: j.Attempts}
	return s
}

// taken is the job when a worker has it.
func (j Job) taken(holder string, now time.Time, firstRun int) Job {
	j.Status, j.Holder, j.StartedAt, j.NotBefore = Running, holder, now, time.Time{}
	j.Attempts++
	j.Runs = max(j.Runs+1, firstRun)
	return j
}

// ClaimStep gives a job that waits to a worker. Its progress stays where an earlier run has left it, until this one has
// come further.
func ClaimStep(j Job, holder string, at Moment) (Step, error) {
	s, err := step(j, JobClaimed, service, at, "")
	if err != nil {
		return s, err
	}
	s.Job = s.Job.taken(holder, s.Job.UpdatedAt, at.FirstRun)
	s.Transition.Attempt = s.Job.Attempts
	s.Audit.Details["attempt"], s.Audit.Details["holder"] = strconv.Itoa(s.Job.Attempts), holder
	return s, nil
}

// EndStep is what a worker says of its run. A run that is to be tried again, or is handed back, is not where the job
// was told to end, and the last attempt is not tried again.
func EndStep(j Job, e Ending, at Moment) (Step, error) {
	event := e.Event
	switch {
	case (event == JobRetried || event == JobReturned) && !j.CancelAsked.IsZero():
		event, e.ErrorCode, e.ErrorMessage, e.Suggestion = JobCancelled, "", "", ""
	case event == JobRetried && j.Attempts >= MostAttempts:
		event = JobFailed
	case event == JobCompleted:
		e.ErrorCode = ""
	}
	if e.Result.Bucket == "" {
		e.Result.Bucket = j.Bucket
	}
	s, err := step(j, event, e.By, at, e.ErrorCode)
	if err != nil {
		return s, err
	}
	s.Job.Holder = ""
	s.Job.Progress = s.Job.Progress.After(e.Progress)
	switch event {
	case JobReturned:
		s.Job.Attempts--
	case JobRetried:
		if e.Delay > 0 {
			s.Job.NotBefore = instant(at.Steady.Add(e.Delay))
		}
	case JobCompleted:
		s.Job.Result = e.Result
		s.Job.DataAsOf, s.Job.ObjectExpires = instant(e.Result.DataAsOf), instant(e.Result.ObjectExpires)
		s.Job.ObjectRemoved = time.Time{}
		s.Job.Rows = max(s.Job.Rows, e.Result.TotalRows)
		return s, nil
	default:
		s.Job.ErrorCode, s.Job.ErrorMessage, s.Job.Suggestion = e.ErrorCode, e.ErrorMessage, e.Suggestion
	}
	for _, later := range []time.Duration{0, LookAgain} {
		s.Leftovers = append(s.Leftovers,
			Leftover{Job: j.ID, Customer: j.Customer, Bucket: e.Result.Bucket, Since: s.Job.UpdatedAt.Add(later)})
	}
	return s, nil
}

// KeepState has the step of a job that is completed replace the state of its schedule, which is nil where there is none
// any more. A state that another job has kept since this one began stays, and so does one that was reset, or is of
// another epoch: what this job has delivered is delivered again, and nothing is left out.
func (s *Step) KeepState(of *Schedule, n NewState) {
	if of == nil || of.Customer != s.Job.Customer || of.State.Epoch != s.Job.StateEpoch || of.State.Revision != n.From {
		s.Audit.Details["state"] = "superseded"
		return
	}
	after := *of
	after.State.Revision, after.State.Sealed, after.State.Job, after.State.SavedAt = n.From+1, n.Sealed, s.Job.ID,
		s.Job.CompletedAt
	s.Schedule = &after
	s.Audit.Details["state"] = "kept"
}

// KeepsState reports whether an ending has its job replace the state of its schedule.
func (j Job) KeepsState(e Ending) bool {
	return e.Event == JobCompleted && e.State != nil && j.Schedule != ""
}

// LostStep is what becomes of a job whose lease is over.
func LostStep(j Job, at Moment) (Step, error) {
	return EndStep(j, Ending{
		Event: JobRetried, ErrorCode: WorkerLost, By: service,
		ErrorMessage: "the job was begun " + strconv.Itoa(j.Attempts) + " times, and its worker was lost each time",
		Suggestion:   "order it again; if it is lost again, ask the operator of the service why its workers end",
	}, at)
}

// CancelStep is what a request to cancel comes to; changed says whether there is anything to be written. One that has
// ended otherwise is CodeJobEnded.
func CancelStep(j Job, by Actor, at Moment) (s Step, changed bool, err error) {
	s.Job = j
	switch {
	case j.Status == Cancelled, j.Status == Running && !j.CancelAsked.IsZero():
		return s, false, nil
	case j.Status == Running:
		now := j.notBefore(at.Now)
		s.Job.CancelAsked, s.Job.UpdatedAt = now, now
		s.Audit = j.audit("job.cancel_asked", by, now)
		return s, true, nil
	case j.Status.Ended():
		return s, false, fault.New(CodeJobEnded, fault.Usage, "the job %q is %s already", j.ID, j.Status)
	}
	s, err = step(j, JobCancelled, by, at, "")
	s.Job.CancelAsked = s.Job.UpdatedAt
	return s, err == nil, err
}

// step is the part that all changes of a state share.
func step(j Job, e JobEvent, by Actor, at Moment, code string) (Step, error) {
	to, ok := Next(j.Status, e)
	if !ok {
		return Step{Job: j}, fault.New(CodeIllegalEvent, fault.Internal, "a job that is %s cannot be %q", j.Status, e)
	}
	now := j.notBefore(at.Now)
	s := Step{Job: j, Audit: j.audit("job."+string(e), by, now)}
	if code != "" {
		s.Audit.Outcome = code
	}
	s.Job.Status, s.Job.UpdatedAt, s.Job.NotBefore = to, now, time.Time{}
	s.Job.Transition++
	s.Transition = &Transition{
		Job: j.ID, Number: s.Job.Transition, Event: e, From: j.Status, To: to, At: now, Attempt: j.Attempts, Code: code,
	}
	if to.Ended() {
		s.Job.CompletedAt = now
		s.Outbox = &OutboxEvent{
			Customer: j.Customer, Job: j.ID, Event: "job." + string(e), Transition: s.Job.Transition, At: now,
		}
	}
	return s, nil
}

// notBefore is a time of the record's clock for this job: the clock may be set back, and a job's times never go back.
func (j Job) notBefore(now time.Time) time.Time {
	if now = instant(now); now.Before(j.UpdatedAt) {
		return j.UpdatedAt
	}
	return now
}

func (j Job) audit(what string, by Actor, now time.Time) Audit {
	return Audit{
		At: now, Who: by.Who, What: what, Customer: j.Customer, From: by.From, RequestID: by.RequestID, RunID: j.ID,
		Outcome: "ok", Details: map[string]string{"procedure": j.Procedure, "attempt": strconv.Itoa(j.Attempts)},
	}
}

// AuditPruned is what the audit says of rows that were removed because they are from before a time.
func AuditPruned(rows int64, before time.Time, at Moment) Audit {
	return Audit{At: instant(at.Now), Who: service.Who, What: "audit.prune", From: service.From, Outcome: "ok", Details: map[string]string{
		"rows": strconv.FormatInt(rows, 10), "before": instant(before).Format(time.RFC3339)}}
}

// RemovedStep notes that the object of a completed job is gone.
func RemovedStep(j Job, at Moment) Step {
	now := instant(at.Now)
	j.ObjectRemoved = now
	return Step{Job: j, Audit: j.audit("job.object_removed", service, now)}
}

// After is the progress when a worker has reported another: what is done never falls, and an estimate that is not known
// changes none that is.
func (p Progress) After(reported Progress) Progress {
	p.Rows, p.Bytes = max(p.Rows, reported.Rows), max(p.Bytes, reported.Bytes)
	if reported.EstimatedRows > 0 {
		p.EstimatedRows = reported.EstimatedRows
	}
	if reported.EstimatedBytes > 0 {
		p.EstimatedBytes = reported.EstimatedBytes
	}
	return p
}

// Gave is what a completed job gave, for the estimates of those that come after it.
func (j Job) Gave() Progress { return Progress{Rows: j.TotalRows, Bytes: j.Bytes} }

// LeaseOf is the lease of a job that has just been taken.
func LeaseOf(j Job, server string) Lease {
	return Lease{Job: j.ID, Customer: j.Customer, Holder: j.Holder, Server: server, Fence: int64(j.Runs)}
}

// Holds reports whether a lease is the one that a job was last taken with; the record knows which server gave that one,
// and whether its time is over.
func (l Lease) Holds(j Job, server string) bool {
	return j.Status == Running && l == LeaseOf(j, server)
}

// LostLease is the error for a worker that has no job any more.
func LostLease(l Lease) error {
	return fault.New(CodeLeaseLost, fault.Internal, "the job %q is not held by %q (fence %d) any more", l.Job, l.Holder, l.Fence)
}

// instant is a time as a record keeps it.
func instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
