package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of deliveries whose end, or whose attempt, is not what a receiver has said.
const (
	// DeliveryDisabled: its endpoint gets nothing any more, or the customer has none.
	DeliveryDisabled = "webhook.disabled"
	// DeliveryBreakerOpen: its endpoint fails, and its retry is too short to wait until that is tried again.
	DeliveryBreakerOpen = "webhook.breaker_open"
	// DeliverySuperseded: it tells the progress of a job that has ended.
	DeliverySuperseded = "webhook.superseded"
	// DeliveryLost: the process that had it is gone, or was too late; whether the receiver has it is not known.
	DeliveryLost = "webhook.lost"
)

// How much is on its way at once, over all processes; and how many deliveries go in one request.
const (
	MostPerTarget   = 4
	MostPerCustomer = 8
	MostInBatch     = 100
)

// How failing endpoints are dealt with: after BreakAfter failures in a row nothing is sent for ShortestOpen, twice as
// long after each attempt that fails then, up to LongestOpen. After DisableAfter of nothing but failures the endpoint is
// disabled.
const (
	BreakAfter   = 5
	ShortestOpen = 30 * time.Second
	LongestOpen  = 10 * time.Minute
	DisableAfter = 5 * 24 * time.Hour
)

// Times of attempts: that of a request where no setting says another, and what a lease lasts longer than its request;
// the longest wait that a receiver may ask for.
const (
	DefaultTimeout = 30 * time.Second
	LeaseMargin    = 30 * time.Second
	LongestAfter   = time.Hour
)

// durable is how long a delivery waits after each attempt that failed, where Retry.Durable is set.
var durable = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
}

// LongestWait is the longest that a delivery waits for its next attempt.
const LongestWait = 10 * time.Hour

// BuriedTogether and ResentTogether bound how many deliveries are changed in one transaction.
const (
	BuriedTogether = 100
	ResentTogether = 500
)

// Wait is how long a delivery waits after so many attempts that failed, from 1; false says that it is not tried again.
// After is what the receiver has asked for. A field that is zero has its default: 3 attempts, after one second and two.
func (r Retry) Wait(tries int, after time.Duration) (time.Duration, bool) {
	after = min(after, LongestAfter)
	if r.Durable {
		if tries > len(durable) {
			return 0, false
		}
		return max(durable[max(tries, 1)-1], after), true
	}
	if tries >= cmp.Or(r.MaxAttempts, 3) {
		return 0, false
	}
	wait := float64(cmp.Or(r.InitialDelay, time.Second)) * math.Pow(cmp.Or(r.Multiplier, 2), float64(tries-1))
	if !(wait < float64(LongestWait)) {
		return LongestWait, true
	}
	return max(time.Duration(wait), after), true
}

// EndsJob reports whether an event is the last one of a job.
func EndsJob(event string) bool {
	switch event {
	case "job." + string(JobCompleted), "job." + string(JobFailed), "job." + string(JobCancelled):
		return true
	}
	return false
}

// EndpointKey names the endpoint of a delivery: what is sent to one target, of one customer. The customer's own is the
// same wherever it is.
func EndpointKey(d Delivery) string {
	target := d.Target
	if d.Own {
		target = ""
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q %q %q %t", d.Customer, d.Channel, target, d.Own)))
	return hex.EncodeToString(sum[:])
}

// NewEndpoint is the endpoint of a delivery of which nothing is known.
func NewEndpoint(d Delivery) Endpoint {
	return Endpoint{Customer: d.Customer, Channel: d.Channel, Target: d.Target, Own: d.Own}
}

// Idle reports whether there is nothing to know of an endpoint for which nothing waits.
func (e Endpoint) Idle(at Moment) bool {
	return e.InFlight == 0 && e.Failures == 0 && e.DisabledAt.IsZero() && !e.PacedUntil.After(at.Steady)
}

// Forgotten reports whether an endpoint for which nothing waits need not be known any more: all is well with it, or it was
// that of a request and has been failing since before a time.
func (e Endpoint) Forgotten(before time.Time, at Moment) bool {
	return e.Idle(at) || e.InFlight == 0 && !e.Own && e.FailingSince.Before(before)
}

// Receiver is an endpoint with the settings that hold for it.
type Receiver struct {
	Endpoint
	// Webhook is the customer's, of the own endpoint; nil where there is none.
	Webhook *Webhook
}

// settings are those of the endpoint.
func (r Receiver) settings() Webhook {
	if r.Own && r.Webhook != nil {
		return *r.Webhook
	}
	return Webhook{}
}

// durable reports whether deliveries wait while the breaker is open. Mail does: its server is the service's own.
func (r Receiver) durable() bool { return r.Channel == ByMail || r.settings().Retry.Durable }

// Condemned is the code with which everything that waits for the endpoint is dead, or "".
//
// While the breaker is open a delivery that is not durable is dead at once: its whole retry takes a few seconds, and the
// breaker is open for longer. To let it wait would make the retry mean nothing, and to have it spend its attempts would
// send to an endpoint that is to be left alone.
func (r Receiver) Condemned(at Moment) string {
	switch {
	case !r.DisabledAt.IsZero(), r.Own && (r.Webhook == nil || !r.Webhook.Enabled):
		return DeliveryDisabled
	case r.OpenUntil.After(at.Steady) && !r.durable():
		return DeliveryBreakerOpen
	}
	return ""
}

// most is how many requests may be on their way: one where a breaker waits for what becomes of it, and of batches, which
// would not be joined otherwise.
func (r Receiver) most() int {
	if !r.OpenUntil.IsZero() || r.settings().Batch {
		return 1
	}
	return MostPerTarget
}

// Due is when something is to be done for the endpoint: a delivery is to be sent, or what waits is dead. Next is when the
// first of those may be tried that no other of their job is before, and zero where there is none. A zero result is not
// before something else happens.
func (r Receiver) Due(next time.Time, at Moment) time.Time {
	switch {
	case next.IsZero():
		return next
	case r.Condemned(at) != "":
		return instant(at.Steady)
	case r.InFlight >= r.most():
		return time.Time{}
	}
	if r.OpenUntil.After(next) {
		next = r.OpenUntil
	}
	if r.settings().PerMinute > 0 && r.PacedUntil.After(next) {
		next = r.PacedUntil
	}
	return next
}

// Together is how many deliveries may go in one request.
func (r Receiver) Together() int {
	if r.settings().Batch {
		return MostInBatch
	}
	return 1
}

// Taking is what a claim comes to: the deliveries and their endpoint afterwards.
type Taking struct {
	Deliveries []Delivery
	Endpoint   Endpoint
	// Until is the end of the lease, on the steady clock.
	Until time.Time
	Lease DeliveryLease
}

// TakeStep gives deliveries of an endpoint to a process: one, or those that go in one request. Served is the number of the
// taking among all.
func TakeStep(r Receiver, together []Delivery, holder string, served int64, at Moment) Taking {
	settings := r.settings()
	t := Taking{Deliveries: slices.Clone(together), Endpoint: r.Endpoint}
	t.Until = instant(at.Steady.Add(cmp.Or(settings.Timeout, DefaultTimeout) + LeaseMargin))
	t.Lease = DeliveryLease{Customer: r.Customer, Holder: holder, Server: at.Server}
	for _, d := range together {
		t.Lease.Fence = max(t.Lease.Fence, d.Fence+1)
		t.Lease.Deliveries = append(t.Lease.Deliveries, d.ID)
	}
	batch := together[0].Batch
	if batch == "" && settings.Batch {
		// Another one whenever the same delivery is joined to others.
		batch = together[0].ID + "_" + strconv.FormatInt(t.Lease.Fence, 10)
	}
	for i := range t.Deliveries {
		d := &t.Deliveries[i]
		d.State, d.Batch, d.Fence, d.NextAt, d.LastAt = DeliverySending, batch, t.Lease.Fence, time.Time{}, instant(at.Now)
		d.Attempts++
		if r.Own {
			d.Target = settings.URL
		}
	}
	if r.Own {
		t.Endpoint.Target = settings.URL
	}
	t.Endpoint.InFlight++
	t.Endpoint.Served = served
	if n := settings.PerMinute; n > 0 {
		// So far apart that in no minute there are more.
		t.Endpoint.PacedUntil = instant(later(at.Steady, r.PacedUntil).Add(time.Minute / time.Duration(n)))
	}
	return t
}

// Attempted is what the outcome of an attempt comes to.
type Attempted struct {
	// Deliveries are those of the request, afterwards, and Attempts what their logs have of it.
	Deliveries []Delivery
	Attempts   []Attempt
	Endpoint   Endpoint
	// Audit and Outbox are set when the endpoint is disabled by it.
	Audit  *Audit
	Outbox *OutboxEvent
}

// AttemptStep is what a process says of its request. Over tells which of the deliveries say nothing that is still so: the
// progress of jobs that have ended; they are not tried again.
func AttemptStep(r Receiver, sent []Delivery, o Outcome, retry Retry, over map[string]bool, at Moment) Attempted {
	now, tries := instant(at.Now), mostTries(sent)
	if o.Verdict != Accepted {
		tries++
	}
	state, next, ended := DeliveryDelivered, time.Time{}, now
	switch o.Verdict {
	case Accepted:
		o.Code, o.Message = "", ""
	case Again:
		if wait, again := retry.Wait(tries, o.After); again {
			state, next, ended = DeliveryWaiting, instant(at.Steady.Add(wait)), time.Time{}
			break
		}
		state = DeliveryDead
	default:
		state = DeliveryDead
	}
	a := Attempted{Deliveries: slices.Clone(sent), Endpoint: r.Endpoint}
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		a.Attempts = append(a.Attempts, Attempt{
			Delivery: d.ID, Number: d.Attempts, At: d.LastAt, Duration: o.Duration.Truncate(time.Microsecond),
			HTTPStatus: o.HTTPStatus, Code: o.Code, Message: o.Message,
		})
		d.State, d.NextAt, d.EndedAt, d.HTTPStatus, d.Code, d.Message = state, next, ended, o.HTTPStatus, o.Code, o.Message
		if d.Tries = tries; d.State == DeliveryWaiting && over[d.ID] {
			*d = BuryStep(*d, DeliverySuperseded, at)
		}
	}
	e := &a.Endpoint
	e.InFlight = max(0, e.InFlight-1)
	switch {
	case e.Own && e.Target != sent[0].Target: // it says nothing of where the endpoint is now
	case o.Verdict == Accepted:
		e.Failures, e.FailingSince, e.OpenUntil, e.OpenFor = 0, time.Time{}, time.Time{}, 0
	default:
		a.failed(o, at)
	}
	return a
}

// mostTries is what counts for deliveries that go together.
func mostTries(all []Delivery) (tries int) {
	for _, d := range all {
		tries = max(tries, d.Tries)
	}
	return tries
}

// failed notes a failure of the endpoint.
func (a *Attempted) failed(o Outcome, at Moment) {
	e := &a.Endpoint
	e.Failures++
	if e.FailingSince.IsZero() {
		e.FailingSince = instant(at.Steady)
	}
	if e.Failures >= BreakAfter && !e.OpenUntil.After(at.Steady) {
		// What was on its way while the breaker opened tells nothing new.
		e.OpenFor = min(max(2*e.OpenFor, ShortestOpen), LongestOpen)
		e.OpenUntil = instant(at.Steady.Add(e.OpenFor))
	}
	reason := ""
	switch {
	case !e.DisabledAt.IsZero():
		return
	case o.Verdict == Gone:
		reason = "the endpoint says that it is gone"
	case e.Failures >= BreakAfter && !at.Steady.Before(e.FailingSince.Add(DisableAfter)):
		reason = "nothing but failures for " + strconv.Itoa(int(DisableAfter.Hours())/24) + " days"
	default:
		return
	}
	e.DisabledAt, e.DisabledReason = instant(at.Now), reason
	by := service
	a.Audit = &Audit{
		At: e.DisabledAt, Who: by.Who, What: "webhook.disabled", Customer: e.Customer, From: by.From, Outcome: "ok",
		Details: map[string]string{"channel": string(e.Channel), "reason": reason},
	}
	if e.Channel != ByWebhook {
		return // the notice would go there
	}
	data, err := json.Marshal(struct {
		Target     string    `json:"webhook_url"`
		Own        bool      `json:"own"`
		Reason     string    `json:"reason"`
		DisabledAt time.Time `json:"disabled_at"`
	}{e.Target, e.Own, reason, e.DisabledAt})
	if err == nil { // it is text and times: it cannot be one
		a.Outbox = &OutboxEvent{Customer: e.Customer, Event: EventDisabled, At: e.DisabledAt, Data: data}
	}
}

// LostAttemptStep is what becomes of a request whose lease is over: its deliveries may be tried at once, and the attempt
// counts for nothing but their logs.
func LostAttemptStep(r Receiver, sent []Delivery, over map[string]bool, at Moment) Attempted {
	a := Attempted{Deliveries: slices.Clone(sent), Endpoint: r.Endpoint}
	a.Endpoint.InFlight = max(0, a.Endpoint.InFlight-1)
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		d.State, d.Tries, d.NextAt, d.HTTPStatus, d.Code = DeliveryWaiting, mostTries(sent), instant(at.Steady), 0, DeliveryLost
		d.Message = "the process that was sending it is gone"
		a.Attempts = append(a.Attempts, Attempt{
			Delivery: d.ID, Number: d.Attempts, At: d.LastAt, Code: d.Code, Message: d.Message,
		})
		if over[d.ID] {
			*d = BuryStep(*d, DeliverySuperseded, at)
		}
	}
	return a
}

// buried says why a delivery has ended that was not sent.
var buried = map[string]string{
	DeliveryDisabled:    "the endpoint is disabled",
	DeliveryBreakerOpen: "the endpoint has failed too often, and is left alone for a while",
	DeliverySuperseded:  "the job has ended",
}

// BuryStep ends a delivery that waits.
func BuryStep(d Delivery, code string, at Moment) Delivery {
	d.State, d.NextAt, d.EndedAt = DeliveryDead, time.Time{}, instant(at.Now)
	d.HTTPStatus, d.Code, d.Message = 0, code, buried[code]
	return d
}

// QueueStep is a delivery that is to be made. Its time and state are the record's.
func QueueStep(d Delivery, at Moment) Delivery {
	return Delivery{
		ID: d.ID, Customer: d.Customer, Channel: d.Channel, Target: d.Target, Own: d.Own, Event: d.Event, Job: d.Job,
		Data: d.Data, State: DeliveryWaiting, CreatedAt: instant(at.Now), NextAt: instant(at.Steady),
	}
}

// ResendStep has a delivery that has ended sent again. Changed is false of one that has not, and of the progress of a job,
// which would not be so any more.
func ResendStep(d Delivery, at Moment) (again Delivery, changed bool) {
	if d.State != DeliveryDead && d.State != DeliveryDelivered || d.Event == EventProgress {
		return d, false
	}
	d.State, d.Batch, d.Tries, d.NextAt, d.EndedAt = DeliveryWaiting, "", 0, instant(at.Steady), time.Time{}
	return d, true
}

// ResentEndpoint is an endpoint to which something is sent again by hand: its breaker lets one delivery try at once, and
// one of a request, which nobody can enable otherwise, is not disabled any more.
func ResentEndpoint(e Endpoint, at Moment) Endpoint {
	if e.OpenUntil.After(at.Steady) {
		e.OpenUntil = instant(at.Steady)
	}
	if !e.Own {
		e.DisabledAt, e.DisabledReason = time.Time{}, ""
	}
	return e
}

// ResendAudit is the row of the audit for what was sent again together.
func ResendAudit(customer string, n int, by Actor, at Moment) Audit {
	return Audit{
		At: instant(at.Now), Who: by.Who, What: "delivery.resend", Customer: customer, From: by.From,
		RequestID: by.RequestID, Outcome: "ok", Details: map[string]string{"deliveries": strconv.Itoa(n)},
	}
}

// SetEndpoint is the own endpoint after the customer has set its webhook: another receiver begins anew, and so does one
// that was disabled and is to be enabled.
func SetEndpoint(e Endpoint, w Webhook) Endpoint {
	if e.Target == w.URL && (e.DisabledAt.IsZero() || !w.Enabled) {
		return e
	}
	return Endpoint{
		Customer: e.Customer, Channel: e.Channel, Target: w.URL, Own: true,
		InFlight: e.InFlight, Served: e.Served, PacedUntil: e.PacedUntil,
	}
}

// Holds reports whether a lease is the one that a delivery was last taken with, by a holder and on a server.
func (l DeliveryLease) Holds(d Delivery, holder, server string) bool {
	return d.State == DeliverySending && l.Customer == d.Customer && l.Fence == d.Fence && l.Holder == holder &&
		l.Server == server && slices.Contains(l.Deliveries, d.ID)
}

// LostDeliveryLease is the error for a process that has its deliveries no more.
func LostDeliveryLease(l DeliveryLease) error {
	return fault.New(CodeLeaseLost, fault.Internal, "the deliveries %s are not held by %q (fence %d) any more",
		strings.Join(l.Deliveries, ", "), l.Holder, l.Fence)
}

// WorseDelivery is which of two states says more of how it stands with the deliveries of a job.
func WorseDelivery(a, b DeliveryState) DeliveryState {
	order := []DeliveryState{"", DeliveryDelivered, DeliveryWaiting, DeliverySending, DeliveryDead}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
