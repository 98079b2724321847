// Package storetest holds what every record has to do, as tests that each implementation runs. What it asks for here is
// what the packages that stand on the record may rely on.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Store is a record, whole.
type Store interface {
	Version() uint64
	Close() error

	Keys(ctx context.Context) ([]store.Key, error)
	CreateKey(ctx context.Context, k store.Key, most int, audit store.Audit) error
	RevokeKey(ctx context.Context, id string, at time.Time, audit store.Audit) error
	RotateKey(ctx context.Context, old string, ends time.Time, next store.Key, most int, audit store.Audit) error
	TouchKeys(ctx context.Context, used map[string]time.Time) error

	Disabled(ctx context.Context) ([]string, error)
	SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error

	SealingKeys(ctx context.Context, customer string) ([]store.SealingKey, error)
	CreateSealingKey(ctx context.Context, k store.SealingKey, audit store.Audit) error
	ActivateSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error
	RetireSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error
	AddSealingUses(ctx context.Context, customer, id string, n int64) (int64, error)
	SealingUses(ctx context.Context, customer string) (map[string]int64, error)

	BeginRequest(ctx context.Context, r store.Request, audit ...store.Audit) error
	EndRequest(ctx context.Context, r store.Request, audit ...store.Audit) error
	Request(ctx context.Context, customer, id string) (store.Request, error)
	PruneRequests(ctx context.Context, before time.Time) (int64, error)

	AppendAudit(ctx context.Context, a store.Audit) error
	AuditOf(ctx context.Context, customer string, since time.Time, most int) ([]store.Audit, error)
	PruneAudit(ctx context.Context, before time.Time) (int64, error)

	CreateJob(ctx context.Context, n store.NewJob) (job store.Job, lease store.Lease, replayed bool, err error)
	ReserveIdempotency(ctx context.Context, i store.Idempotency) (job string, err error)
	ReleaseIdempotency(ctx context.Context, i store.Idempotency) error
	ClaimJob(ctx context.Context, holder string, skip []string) (job store.Job, lease store.Lease, ok bool, err error)
	RenewJob(ctx context.Context, l store.Lease, p store.Progress) (store.Renewal, error)
	EndJob(ctx context.Context, l store.Lease, e store.Ending) (store.Job, error)
	CancelJob(ctx context.Context, customer, id string, by store.Actor) (store.Job, error)
	RecoverJobs(ctx context.Context) ([]store.Job, error)

	Job(ctx context.Context, customer, id string) (store.Job, error)
	Jobs(ctx context.Context, f store.JobFilter) (jobs []store.Job, total int64, err error)
	Transitions(ctx context.Context, customer, id string, after int64) ([]store.Transition, error)
	PastRuns(ctx context.Context, customer, procedure string) (store.Progress, error)

	ExtendObject(ctx context.Context, id string, until time.Time, audit ...store.Audit) error
	ExpiredObjects(ctx context.Context, before time.Time, most int, passing ...string) ([]store.Job, error)
	ObjectRemoved(ctx context.Context, id string) error
	Leftovers(ctx context.Context, before time.Time, most int, passing ...string) ([]store.Leftover, error)
	LeftoverSwept(ctx context.Context, seq int64) error
	PruneJobs(ctx context.Context, before time.Time) (int64, error)

	Schedules(ctx context.Context, customer string) ([]store.Schedule, error)
	Schedule(ctx context.Context, customer, id string) (store.Schedule, error)
	PutSchedule(ctx context.Context, s store.Schedule, audit store.Audit) (store.Schedule, error)
	DeleteSchedule(ctx context.Context, customer, id string, audit store.Audit) error
	ResetSchedule(ctx context.Context, customer, id string, audit store.Audit) (store.Schedule, error)
	DueSchedules(ctx context.Context, most int) ([]store.Schedule, error)
	SettleSchedules(ctx context.Context, most int) (int, error)
	Tick(ctx context.Context, t store.Tick) (job store.Job, done bool, err error)

	Outbox(ctx context.Context, after int64, most int) ([]store.OutboxEvent, error)
	Queues(ctx context.Context) (map[string]store.Queue, error)

	Webhook(ctx context.Context, customer string) (store.Webhook, error)
	PutWebhook(ctx context.Context, w store.Webhook, audit store.Audit) error
	DeleteWebhook(ctx context.Context, customer string, audit store.Audit) error
	WebhookSecrets(ctx context.Context, customer string) ([]store.WebhookSecret, error)
	CreateWebhookSecret(ctx context.Context, secret store.WebhookSecret, audit store.Audit) error
	ActivateWebhookSecret(ctx context.Context, customer, id string, audit store.Audit) error

	PutOutbox(ctx context.Context, events []store.OutboxEvent, audit ...store.Audit) error
	PutNotice(ctx context.Context, e store.OutboxEvent, name string, each time.Duration) (put bool, err error)
	Expand(ctx context.Context, expansions []store.Expansion) (made int, err error)
	PutProgress(ctx context.Context, d store.Delivery) error
	ClaimDeliveries(ctx context.Context, holder string) (claimed store.ClaimedDeliveries, ok bool, err error)
	EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) ([]store.Delivery, error)
	RecoverDeliveries(ctx context.Context) (int, error)
	Resend(ctx context.Context, f store.DeliveryFilter, by store.Actor) (int64, error)
	PruneDeliveries(ctx context.Context, before time.Time) (int64, error)

	Deliveries(ctx context.Context, f store.DeliveryFilter) (list []store.Delivery, total int64, err error)
	Delivery(ctx context.Context, customer, id string) (store.Delivery, error)
	Attempts(ctx context.Context, customer, id string) ([]store.Attempt, error)
	Endpoints(ctx context.Context, customer string) ([]store.Endpoint, error)
	WebhookStatuses(ctx context.Context, customer string, jobs []string) (map[string]store.DeliveryState, error)
	DeliveryQueues(ctx context.Context) (waiting, dead int64, oldest time.Time, err error)

	Streams(ctx context.Context) ([]store.Stream, error)
	Stream(ctx context.Context, customer string) (store.Stream, error)
	PutStream(ctx context.Context, s store.Stream, audit store.Audit) (store.Stream, error)
	SwitchStream(ctx context.Context, customer string, enabled bool, audit store.Audit) (store.Stream, error)
	FailStream(ctx context.Context, l store.StreamLease, f store.StreamFault, audit store.Audit) error
	ClaimStream(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error)
	ClaimDisabled(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error)
	RenewStream(ctx context.Context, l store.StreamLease) (store.StreamLease, error)
	ReleaseStream(ctx context.Context, l store.StreamLease) error
	Log(ctx context.Context, customer string) (store.StreamLog, error)

	Clock(ctx context.Context) (time.Time, error)
}

// Opened is an empty record, and its clock.
type Opened struct {
	Store Store
	// Advance has the record's clock go on.
	Advance func(time.Duration)
}

// Run runs the suite on empty records, which open gives and closes when the test ends.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for name, test := range map[string]func(*suite){
		"Keys":         (*suite).keys,
		"KeyLimit":     (*suite).keyLimit,
		"Rotation":     (*suite).rotation,
		"LastUse":      (*suite).lastUse,
		"Disabled":     (*suite).disabled,
		"SealingKeys":  (*suite).sealingKeys,
		"SealingUses":  (*suite).sealingUses,
		"Requests":     (*suite).requests,
		"Prune":        (*suite).prune,
		"Audit":        (*suite).audit,
		"AuditIsPart":  (*suite).auditIsPart,
		"PruneAudit":   (*suite).pruneAudit,
		"Version":      (*suite).version,
		"Text":         (*suite).text,
		"Copies":       (*suite).copies,
		"Cancelled":    (*suite).cancelled,
		"Closed":       (*suite).closed,
		"ManyAtOnce":   (*suite).manyAtOnce,
		"OneKeyAtMost": (*suite).oneKeyAtMost,

		"Life":              (*suite).life,
		"Ordered":           (*suite).ordered,
		"CreatedTwice":      (*suite).createdTwice,
		"CreatedHeld":       (*suite).createdHeld,
		"Illegal":           (*suite).illegal,
		"EndIsEnd":          (*suite).endIsEnd,
		"Completed":         (*suite).completed,
		"Failed":            (*suite).failed,
		"TimeLimit":         (*suite).timeLimit,
		"Progress":          (*suite).progress,
		"RenewalIsNoChange": (*suite).renewalIsNoChange,
		"ClockSetBack":      (*suite).clockSetBack,

		"Transitions":   (*suite).transitions,
		"PastRuns":      (*suite).pastRuns,
		"Queues":        (*suite).queues,
		"Outbox":        (*suite).outbox,
		"Notices":       (*suite).notices,
		"JobText":       (*suite).jobText,
		"JobCopies":     (*suite).jobCopies,
		"JobsCancelled": (*suite).jobsCancelled,
		"JobsClosed":    (*suite).jobsClosed,

		"LeaseIsLost":        (*suite).leaseIsLost,
		"LeaseIsKept":        (*suite).leaseIsKept,
		"LeaseOfAnother":     (*suite).leaseOfAnother,
		"Fences":             (*suite).fences,
		"Returned":           (*suite).returned,
		"Retried":            (*suite).retried,
		"NotBefore":          (*suite).notBefore,
		"RecoveredAtOnce":    (*suite).recoveredAtOnce,
		"RecoveredCancelled": (*suite).recoveredCancelled,
		"RecoveredLost":      (*suite).recoveredLost,
		"RecoveredMany":      (*suite).recoveredMany,
		"RecoveredByMany":    (*suite).recoveredByMany,

		"CancelQueued":  (*suite).cancelQueued,
		"CancelRunning": (*suite).cancelRunning,
		"CancelTwice":   (*suite).cancelTwice,
		"CancelEnded":   (*suite).cancelEnded,
		"CancelUnknown": (*suite).cancelUnknown,
		"CancelWaiting": (*suite).cancelWaiting,

		"ClaimNothing":      (*suite).claimNothing,
		"FairShares":        (*suite).fairShares,
		"FairInTurn":        (*suite).fairInTurn,
		"FairToTheNew":      (*suite).fairToTheNew,
		"FairToOne":         (*suite).fairToOne,
		"Priorities":        (*suite).priorities,
		"OldestFirst":       (*suite).oldestFirst,
		"Skip":              (*suite).skip,
		"DisabledCustomers": (*suite).disabledCustomers,
		"Delayed":           (*suite).delayed,
		"ClaimedOnce":       (*suite).claimedOnce,

		"Idempotency":       (*suite).idempotency,
		"IdempotentApart":   (*suite).idempotentApart,
		"IdempotentHeld":    (*suite).idempotentHeld,
		"IdempotentEnded":   (*suite).idempotentEnded,
		"Reservation":       (*suite).reservation,
		"Released":          (*suite).released,
		"ReservationEnds":   (*suite).reservationEnds,
		"IdempotencyEnds":   (*suite).idempotencyEnds,
		"IdempotentRefused": (*suite).idempotentRefused,
		"ThousandEqual":     (*suite).thousandEqual,

		"Lists":         (*suite).lists,
		"Pages":         (*suite).pages,
		"ListOfAnother": (*suite).listOfAnother,
		"ListAtOnce":    (*suite).listAtOnce,

		"ObjectExpires":   (*suite).objectExpires,
		"ExpiredInOrder":  (*suite).expiredInOrder,
		"Extended":        (*suite).extended,
		"ExtendedTooLate": (*suite).extendedTooLate,
		"Removed":         (*suite).removed,
		"Leftovers":       (*suite).leftovers,
		"LeftByLost":      (*suite).leftByLost,
		"PruneJobs":       (*suite).pruneJobs,
		"PruneKeys":       (*suite).pruneKeys,

		"Schedules":            (*suite).schedulesKept,
		"ScheduleNames":        (*suite).scheduleNames,
		"ScheduleOfAnother":    (*suite).scheduleOfAnother,
		"ScheduleOfDocument":   (*suite).scheduleOfDocument,
		"ScheduleReplaced":     (*suite).scheduleReplaced,
		"ScheduleCovers":       (*suite).scheduleCovers,
		"SchedulesDue":         (*suite).schedulesDue,
		"SchedulesDueDisabled": (*suite).schedulesDueDisabled,
		"SchedulesClockAhead":  (*suite).schedulesClockAhead,
		"Ticked":               (*suite).ticked,
		"TickedOnce":           (*suite).tickedOnce,
		"TickOfAnotherMind":    (*suite).tickOfAnotherMind,
		"TickSkipped":          (*suite).tickSkipped,
		"TickOverlaps":         (*suite).tickOverlaps,
		"TickWaits":            (*suite).tickWaits,
		"TickNow":              (*suite).tickNow,
		"TickIsWhole":          (*suite).tickIsWhole,
		"StateKept":            (*suite).stateKept,
		"StateOfJobs":          (*suite).stateOfJobs,
		"StateSuperseded":      (*suite).stateSuperseded,
		"StateOfOneJob":        (*suite).stateOfOneJob,
		"StateCovers":          (*suite).stateCovers,
		"ScheduleReset":        (*suite).scheduleReset,
		"Settled":              (*suite).settled,
		"SettledFailed":        (*suite).settledFailed,
		"SettledBeforeTick":    (*suite).settledBeforeTick,
		"SettledForgotten":     (*suite).settledForgotten,

		"JobAudit":           (*suite).jobAudit,
		"JobAuditIsPart":     (*suite).jobAuditIsPart,
		"EveryChangeIsThere": (*suite).everyChangeIsThere,

		"Webhook":             (*suite).webhook,
		"WebhookDeleted":      (*suite).webhookDeleted,
		"WebhookSecrets":      (*suite).webhookSecrets,
		"Rotated":             (*suite).rotated,
		"OneSecret":           (*suite).oneSecret,
		"PutOutbox":           (*suite).putOutbox,
		"ExpandOnce":          (*suite).expandOnce,
		"ExpandRefused":       (*suite).expandRefused,
		"ExpandedByMany":      (*suite).expandedByMany,
		"Delivered":           (*suite).delivered,
		"RetriedThree":        (*suite).retriedThree,
		"RetriedDurably":      (*suite).retriedDurably,
		"RetryAfter":          (*suite).retryAfter,
		"FinalIsDead":         (*suite).finalIsDead,
		"InOrderOfJob":        (*suite).inOrderOfJob,
		"ProgressIsCoalesced": (*suite).progressIsCoalesced,
		"NoProgressAfterEnd":  (*suite).noProgressAfterEnd,
		"EndBeforeProgress":   (*suite).endBeforeProgress,
		"DeliveryLists":       (*suite).deliveryLists,
		"DeliveryOfAnother":   (*suite).deliveryOfAnother,
		"WebhookStatuses":     (*suite).webhookStatuses,
		"DeliveryQueues":      (*suite).deliveryQueues,
		"PruneDeliveries":     (*suite).pruneDeliveries,
		"DeliveriesClosed":    (*suite).deliveriesClosed,
		"InFlightPerTarget":   (*suite).inFlightPerTarget,
		"InFlightPerCustomer": (*suite).inFlightPerCustomer,
		"FairOverCustomers":   (*suite).fairOverCustomers,
		"FairOverEndpoints":   (*suite).fairOverEndpoints,
		"BlockedEndpoint":     (*suite).blockedEndpoint,
		"BreakerOpens":        (*suite).breakerOpens,
		"BreakerWaits":        (*suite).breakerWaits,
		"BreakerStays":        (*suite).breakerStays,
		"MailWaits":           (*suite).mailWaits,
		"ResentAtOnce":        (*suite).resentAtOnce,
		"ResentAnew":          (*suite).resentAnew,
		"ResentMany":          (*suite).resentMany,
		"ResentBeforeOthers":  (*suite).resentBeforeOthers,
		"Gone":                (*suite).gone,
		"FailingForDays":      (*suite).failingForDays,
		"DisabledWebhook":     (*suite).disabledWebhook,
		"DeletedWebhook":      (*suite).deletedWebhook,
		"AnotherURL":          (*suite).anotherURL,
		"GoneRequest":         (*suite).goneRequest,
		"GoneMail":            (*suite).goneMail,
		"RateLimit":           (*suite).rateLimit,
		"Batch":               (*suite).batch,
		"BatchAnew":           (*suite).batchAnew,
		"BatchOfJobs":         (*suite).batchOfJobs,
		"AttemptLost":         (*suite).attemptLost,
		"SendingOfAnother":    (*suite).sendingOfAnother,
		"RecoveredRequests":   (*suite).recoveredRequests,
		"OutOfService":        (*suite).outOfService,
		"SentOnce":            (*suite).sentOnce,

		"Streams":             (*suite).streams,
		"StreamLeases":        (*suite).streamLeases,
		"StreamDisabled":      (*suite).streamDisabled,
		"StreamFault":         (*suite).streamFault,
		"StreamOutOfService":  (*suite).streamOutOfService,
		"StreamClaimedByMany": (*suite).streamClaimedByMany,
		"StreamAppend":        (*suite).streamAppend,
		"StreamDeletes":       (*suite).streamDeletes,
		"StreamSame":          (*suite).streamSame,
		"StreamNames":         (*suite).streamNames,
		"StreamFence":         (*suite).streamFence,
		"StreamWaiting":       (*suite).streamWaiting,
		"StreamAcknowledged":  (*suite).streamAcknowledged,
		"StreamDocuments":     (*suite).streamDocuments,
		"StreamReset":         (*suite).streamReset,
		"StreamLarge":         (*suite).streamLarge,
		"StreamAtOnce":        (*suite).streamAtOnce,
		"StreamClosed":        (*suite).streamClosed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			test(&suite{T: t, store: o.Store, advance: o.Advance})
		})
	}
}
