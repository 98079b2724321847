package store

import "time"

// Codes of what goes wrong with jobs.
const (
	// CodeLeaseLost: the job is held by another worker, or by none, or has ended.
	CodeLeaseLost = "store.lease_lost"
	// CodeJobEnded: the job has ended otherwise than was asked for.
	CodeJobEnded = "store.job_ended"
	// CodeIllegalEvent: what a worker says has become of a job cannot have.
	CodeIllegalEvent = "store.illegal_event"
	// CodeIdempotencyMismatch: the key was used with another body.
	CodeIdempotencyMismatch = "store.idempotency_mismatch"
	// CodeIdempotencyBusy: the first request with the key is still on its way.
	CodeIdempotencyBusy = "store.idempotency_busy"
)

// Queued is the state of a job that waits for a worker. The others are those of requests.
const Queued Status = "queued"

// Ended reports whether nothing follows.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// JobEvent is what happens to a job.
type JobEvent string

// The events of jobs. Their names stand in transitions and, behind "job.", in the audit.
const (
	JobClaimed   JobEvent = "claimed"   // a worker has taken it
	JobReturned  JobEvent = "returned"  // a worker that ends has given it back; the attempt does not count
	JobRetried   JobEvent = "retried"   // an attempt has failed in a way that may not come again, or its worker is gone
	JobCompleted JobEvent = "completed" // its object is there
	JobFailed    JobEvent = "failed"
	JobCancelled JobEvent = "cancelled" // by its customer, an operator, or a limit of time
)

// Next is the state of a job after an event; false where the event cannot happen then. It is all that there is to know
// of the states: every record asks it.
func Next(from Status, e JobEvent) (to Status, ok bool) {
	switch from {
	case Queued:
		switch e {
		case JobClaimed:
			return Running, true
		case JobCancelled:
			return Cancelled, true
		}
	case Running:
		switch e {
		case JobReturned, JobRetried:
			return Queued, true
		case JobCompleted:
			return Completed, true
		case JobFailed:
			return Failed, true
		case JobCancelled:
			return Cancelled, true
		}
	}
	return from, false
}

// Priority orders the jobs of one customer; customers share equally whatever the priorities are.
type Priority int

// The priorities.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// Times of leases. A worker renews every RenewEvery, and has lost a job when the record's clock says that LeaseTime
// has passed since.
const (
	RenewEvery = 5 * time.Second
	LeaseTime  = 20 * time.Second
)

// MostAttempts is how often a job is begun, in all.
const MostAttempts = 3

// IdempotencyAge is how long an idempotency key stands for its job.
const IdempotencyAge = 24 * time.Hour

// Job is an order of a customer's, and what has become of it. It holds no row of data.
type Job struct {
	// ID is also the identifier of the run, whichever attempt it is: PROCEDURE_MILLISECONDS_HEX.
	ID, Customer, Procedure string
	// Type says who ordered it: "extract", or "schedule".
	Type     string
	Priority Priority
	Status   Status
	// Reason is why it is a job and no stream: requested, rows, size, time, load.
	Reason string
	// Request is the order: the fields of the body as they came, and nothing that they imply, as a JSON object. A worker
	// binds it to the pipeline.
	Request                       []byte
	Format, Compression           string
	Encrypted                     bool
	FromDate, ToDate, Modifier    string // as they were given, for lists
	WebhookURL                    string
	RequestID, KeyID, From, Trace string // whose order it was, and from where: request, bearer key, address, traceparent
	// Schedule has made the job, when its states were of StateEpoch; empty is none.
	Schedule, StateEpoch string

	// Times are of the record's clock; zero is not yet.
	CreatedAt, StartedAt, CompletedAt, UpdatedAt time.Time
	// NotBefore is when a job that waits may be taken again.
	NotBefore time.Time
	// Attempts counts those that were begun, from 1; one that was handed back does not count.
	Attempts int
	// Runs counts every taking, those that were handed back too: it stands in the key of the object, so that no two
	// takings write to the same one. After a fail-over it goes on with a much higher number.
	Runs int
	// Transition is the number of the last one, from 1: it grows with every change of state.
	Transition int64

	Progress
	// CancelAsked is when it was told to end; zero is never.
	CancelAsked time.Time

	// Of an end.
	ErrorCode, ErrorMessage, Suggestion string
	Result

	// Holder is who runs it; empty is nobody.
	Holder string
}

// Progress is how far a job is. What is done never falls, in a second attempt neither; zero of an estimate is not known.
type Progress struct {
	Rows, Bytes                   int64
	EstimatedRows, EstimatedBytes int64
}

// Result is what a completed job has left.
type Result struct {
	Bucket, ObjectKey      string // the name of the bucket in the settings, and the object there
	FileName               string
	MediaType              string
	Size                   int64
	SHA256                 string // hexadecimal, of the object's bytes
	TotalRows              int64
	SealingKey             string // its ID; empty when nothing is sealed
	Manifest               []byte // JSON, as it is served
	DataAsOf               time.Time
	PeakMemory, CPUSeconds float64 // bytes; of all processes of the run
	// ObjectExpires is when the last link ends at the latest. It is fixed when the job completes.
	ObjectExpires time.Time
	// ObjectRemoved is when the object went; zero while it is there.
	ObjectRemoved time.Time
}

// Lease is the right to run a job, and to say what has become of it. Server is who has given the number: after a
// fail-over a number may come again, but not from the same server.
type Lease struct {
	Job, Customer, Holder, Server string
	Fence                         int64
}

// NewJob is a job that is to be made.
type NewJob struct {
	// Job has what was ordered; its state, times and numbers are the record's.
	Job Job
	// Holder runs it from the beginning; empty queues it.
	Holder string
	// Idempotency, if set, makes it once: an order that came before is given back in its place.
	Idempotency *Idempotency
	By          Actor
}

// Idempotency is a key with which a client repeats an order that it got no answer to.
type Idempotency struct {
	Customer, Route, Key string
	// Body is the SHA-256 of the order, parsed, with defaults.
	Body [32]byte
	// Request is the request that has the key as long as there is no job; another one is told that it is busy. It is
	// forgotten after ReservedFor: its process is gone.
	Request string
}

// ReservedFor is how long a request may have an idempotency key before there is a job: longer than any request that becomes one.
const ReservedFor = time.Minute

// Actor is who changes something, for the audit.
type Actor struct {
	Who, From, RequestID string
}

// Ending is what becomes of a job that its worker held.
type Ending struct {
	// Event is JobCompleted, JobFailed, JobCancelled, JobRetried or JobReturned.
	Event                               JobEvent
	ErrorCode, ErrorMessage, Suggestion string
	// Delay is how long a job that is retried waits at least.
	Delay    time.Duration
	Progress Progress
	Result   Result // of JobCompleted
	// State is that of the job's schedule from now on, of JobCompleted; nil leaves it. See Step.KeepState.
	State *NewState
	By    Actor
}

// Renewal is what a worker learns when it renews.
type Renewal struct {
	// Cancel says that the job is to be cancelled.
	Cancel bool
}

// Transition is one change of a job's state.
type Transition struct {
	Job      string
	Number   int64 // from 1
	Event    JobEvent
	From, To Status // From is empty when the job was made, and Event too
	At       time.Time
	Attempt  int
	Code     string
}

// JobSort is the order of a list; ties are ordered by ID.
type JobSort string

// The orders.
const (
	CreatedDesc JobSort = "created_desc"
	CreatedAsc  JobSort = "created_asc"
	UpdatedDesc JobSort = "updated_desc"
	UpdatedAsc  JobSort = "updated_asc"
)

// JobFilter chooses the jobs of a list.
type JobFilter struct {
	Customer string // required
	// Status and Procedure are empty for all.
	Status    Status
	Procedure string
	// From is the first and To the end of CreatedAt, To not included; zero is unbounded.
	From, To time.Time
	Sort     JobSort // default CreatedDesc
	Limit    int
	Offset   int64
}

// Leftover is what a run that did not complete may have left in a bucket.
type Leftover struct {
	// Seq names it.
	Seq                   int64
	Job, Customer, Bucket string
	// Since is when the run lost its job, or LookAgain behind that.
	Since time.Time
	// Keep is the object that counts; empty is none.
	Keep string
}

// LookAgain is when what a run may have left is looked for once more: a store that was told to complete an object may do so
// when who has told it is gone, and its leftovers are swept.
const LookAgain = 2 * time.Hour

// OutboxEvent is something that customers are to be told of. Where a job has changed it is written in the transaction of
// the change.
type OutboxEvent struct {
	Seq           int64
	Customer, Job string
	// Event is job.completed, job.failed or job.cancelled; or one that is no job's, and then Job is empty.
	Event string
	// Transition is that of the job.
	Transition int64
	At         time.Time
	// Data is what an event that is no job's says, as a JSON object.
	Data []byte
}

// Queue is how many jobs wait, by class of their pipelines, and since when the oldest does.
type Queue struct {
	Queued, Running int64
	Oldest          time.Time
}
