package store

import "time"

// Channel is the way on which a delivery goes.
type Channel string

// The channels.
const (
	ByWebhook Channel = "webhook"
	ByMail    Channel = "mail"
)

// Events that customers can be told of, beside job.completed, job.failed and job.cancelled of the outbox.
const (
	EventProgress    = "job.progress"
	EventMaintenance = "system.maintenance"
	EventRateLimit   = "api.rate_limit"
	// EventTest is what a customer asks for, to see whether its receiver works.
	EventTest = "webhook.test"
	// EventDisabled tells by mail that an endpoint gets no more deliveries.
	EventDisabled = "webhook.disabled"
)

// Webhook is where, of what and how a customer is told.
type Webhook struct {
	Customer string
	URL      string
	// Events are those that are sent.
	Events  []string
	Enabled bool
	// Headers are sent with each delivery: a JSON object, sealed, because such headers hold secrets. Empty is none.
	Headers []byte
	Retry   Retry
	Timeout time.Duration
	// Batch joins what waits into one request.
	Batch bool
	// PerMinute bounds the requests of a minute; 0 does not.
	PerMinute int
	// TLS12 lets the endpoint speak TLS 1.2.
	TLS12                bool
	CreatedAt, UpdatedAt time.Time
}

// Retry says how often, and when, a delivery that failed is tried again.
type Retry struct {
	// Durable is the preset: from 5 seconds to 10 hours, about 27 hours in all. The other fields do not count then.
	Durable      bool
	MaxAttempts  int
	Multiplier   float64
	InitialDelay time.Duration
}

// WebhookSecret is a text that deliveries of a customer are signed with.
type WebhookSecret struct {
	Customer, ID string
	// Sealed is the text under the key of the data directory.
	Sealed    []byte
	CreatedAt time.Time
	// Pending is a secret that a rotation has made: Standard Webhooks signatures are made with it too, our own header is
	// not until ActivatesAt, or until it is activated.
	Pending     bool
	ActivatesAt time.Time
}

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryWaiting   DeliveryState = "waiting"   // for its time, its turn, or its endpoint
	DeliverySending   DeliveryState = "sending"   // a process has it, or had it when it ended
	DeliveryDelivered DeliveryState = "delivered" // the receiver has said so
	DeliveryDead      DeliveryState = "dead"      // given up; it can be sent again
)

// Delivery is one event on its way to one receiver.
type Delivery struct {
	// ID is del_MILLISECONDS_HEX. It is the same at every attempt, and when it is sent again by hand.
	ID string
	// Seq orders the deliveries of a record.
	Seq      int64
	Customer string
	Channel  Channel
	// Target is a URL, or an address of mail.
	Target string
	// Own says that Target is the customer's own endpoint, whose settings hold; else it is a request's.
	Own   bool
	Event string
	// Job is whose event it is; deliveries of one job to one target go one after the other, in the order of Seq. Empty
	// is no job's.
	Job string
	// Data is the member data of the body, without what is made anew at each attempt: s3_url and expires_at.
	Data  []byte
	State DeliveryState
	// Batch names the request that it goes with, alone or as one of several. It is fixed at the first attempt, and
	// another when it is sent again by hand.
	Batch string
	// Attempts counts those that were begun; it is that of the body.
	Attempts int
	// Tries counts the attempts that failed since it was queued, for the retry: those that were lost with their process
	// do not count, and when it is sent again by hand they begin anew.
	Tries     int
	CreatedAt time.Time
	// NextAt is when it may be tried, on the steady clock of leases.
	NextAt time.Time
	// Of the last attempt, and of the end.
	LastAt, EndedAt time.Time
	// HTTPStatus is what the receiver answered; 0 is nothing.
	HTTPStatus int
	Code       string
	Message    string
	// Fence counts the takings.
	Fence int64
}

// Attempt is one try of a delivery, for its log. What the receiver's body said is not kept: it may repeat the link.
type Attempt struct {
	Delivery   string
	Number     int
	At         time.Time
	Duration   time.Duration
	HTTPStatus int
	Code       string
	Message    string
}

// Verdict is what an attempt comes to.
type Verdict string

// The verdicts.
const (
	Accepted Verdict = "accepted"
	Again    Verdict = "again" // it is tried again, as the retry of its endpoint says
	Final    Verdict = "final" // it would not be taken the next time either
	Gone     Verdict = "gone"  // the endpoint wants nothing any more: it is disabled
)

// Outcome is what a process says of its attempt.
type Outcome struct {
	Verdict    Verdict
	HTTPStatus int
	Code       string
	Message    string
	Duration   time.Duration
	// After is the least time until the next attempt, if the receiver has said one.
	After time.Duration
}

// Endpoint is how it stands with a receiver. A record keeps one as long as there is something to know: what waits, what
// is on its way, failures. None is an endpoint with which all is well.
type Endpoint struct {
	Customer string
	Channel  Channel
	Target   string
	// Own is the customer's own endpoint. It is one, whatever its Target is.
	Own bool
	// Failures counts those in a row, and FailingSince is the first of them.
	Failures     int
	FailingSince time.Time
	// OpenUntil is until when nothing is sent to it; then one delivery is tried. It is of the steady clock, as
	// FailingSince is. OpenFor is how long it was opened for the last time.
	OpenUntil time.Time
	OpenFor   time.Duration
	// DisabledAt is since when nothing is sent to it at all: what comes is dead at once. Zero is never.
	DisabledAt     time.Time
	DisabledReason string
	// InFlight counts the requests that are on their way to it.
	InFlight int
	// Served is when it was last given one: the number of that taking among all.
	Served int64
	// PacedUntil is when its PerMinute lets the next request go, on the steady clock.
	PacedUntil time.Time
}

// DeliveryLease is the right to send deliveries, all in one request, and to say what has become of it.
type DeliveryLease struct {
	Customer, Holder, Server string
	// Deliveries are the identifiers of those that go together, and Fence the number of the taking, which is that of each.
	Deliveries []string
	Fence      int64
}

// ClaimedDeliveries is one delivery, or those of a batch, in order.
type ClaimedDeliveries struct {
	Deliveries []Delivery
	Lease      DeliveryLease
	// Webhook has the settings, where the deliveries are for the customer's own endpoint. It is zero otherwise.
	Webhook Webhook
}

// Expansion is an event of the outbox with the deliveries that it becomes.
type Expansion struct {
	Event      OutboxEvent
	Deliveries []Delivery
}

// DeliveryFilter chooses deliveries.
type DeliveryFilter struct {
	Customer string // required
	// State, Event and Job are empty for all, and IDs names the deliveries if there are any.
	State DeliveryState
	Event string
	Job   string
	IDs   []string
	// Since is the first and Until the end of CreatedAt, Until not included; zero is unbounded.
	Since, Until time.Time
	Limit        int
	Offset       int64
}
