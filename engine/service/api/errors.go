package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Code is the code of an error as customers see it. It is stable.
type Code string

// The codes. What each means, with which status it comes and what to do about it, stands in Errors.
const (
	InvalidJSON           Code = "INVALID_JSON"
	InvalidRequest        Code = "INVALID_REQUEST"
	UnknownField          Code = "UNKNOWN_FIELD"
	DuplicateField        Code = "DUPLICATE_FIELD"
	MissingParameter      Code = "MISSING_PARAMETER"
	InvalidParameter      Code = "INVALID_PARAMETER"
	InvalidDateRange      Code = "INVALID_DATE_RANGE"
	ConflictingParameters Code = "CONFLICTING_PARAMETERS"

	AuthenticationRequired Code = "AUTHENTICATION_REQUIRED"
	InvalidAPIKey          Code = "INVALID_API_KEY"
	IPNotAllowed           Code = "IP_NOT_ALLOWED"
	ScopeMissing           Code = "SCOPE_MISSING"
	CustomerDisabled       Code = "CUSTOMER_DISABLED"

	NotFound             Code = "NOT_FOUND"
	UnknownProcedure     Code = "UNKNOWN_PROCEDURE"
	CustomerNotFound     Code = "CUSTOMER_NOT_FOUND"
	RequestNotFound      Code = "REQUEST_NOT_FOUND"
	ReceiptNotFound      Code = "RECEIPT_NOT_FOUND"
	JobNotFound          Code = "JOB_NOT_FOUND"
	ScheduleNotFound     Code = "SCHEDULE_NOT_FOUND"
	ScheduleExists       Code = "SCHEDULE_EXISTS"
	ScheduleManaged      Code = "SCHEDULE_MANAGED"
	ScheduleBusy         Code = "SCHEDULE_BUSY"
	TooManySchedules     Code = "TOO_MANY_SCHEDULES"
	ScheduleRequired     Code = "SCHEDULE_REQUIRED"
	ScheduleReplaced     Code = "SCHEDULE_REPLACED"
	ScheduleStateOther   Code = "SCHEDULE_STATE_OTHER"
	LinkInvalid          Code = "LINK_INVALID"
	TableNotAvailable    Code = "TABLE_NOT_AVAILABLE"
	CallNotAvailable     Code = "CALL_NOT_AVAILABLE"
	MethodNotAllowed     Code = "METHOD_NOT_ALLOWED"
	BodyTimeout          Code = "BODY_TIMEOUT"
	NoSealingKey         Code = "ENCRYPTION_KEY_MISSING"
	JobNotCompleted      Code = "JOB_NOT_COMPLETED"
	JobEnded             Code = "JOB_ENDED"
	IdempotencyBusy      Code = "IDEMPOTENCY_KEY_BUSY"
	IdempotencyMismatch  Code = "IDEMPOTENCY_KEY_REUSED"
	ResultExpired        Code = "RESULT_EXPIRED"
	PreconditionFailed   Code = "PRECONDITION_FAILED"
	RangeNotSatisfiable  Code = "RANGE_NOT_SATISFIABLE"
	BodyTooLarge         Code = "BODY_TOO_LARGE"
	UnsupportedMediaType Code = "UNSUPPORTED_MEDIA_TYPE"

	RateLimited    Code = "RATE_LIMITED"
	TooManyStreams Code = "TOO_MANY_STREAMS"

	Internal         Code = "INTERNAL"
	SourceFailed     Code = "SOURCE_FAILED"
	DataRefused      Code = "DATA_NOT_REPRESENTABLE"
	SchemaChanged    Code = "SCHEMA_CHANGED"
	StageFailed      Code = "STAGE_FAILED"
	ServiceRestarted Code = "SERVICE_RESTARTED"
	WorkerLost       Code = "WORKER_LOST"
	NotServed        Code = "CUSTOMER_NOT_SERVED"

	DatabaseUnavailable Code = "DATABASE_UNAVAILABLE"
	DatabaseBusy        Code = "DATABASE_BUSY"
	TimeLimit           Code = "TIME_LIMIT"
	ServiceBusy         Code = "SERVICE_BUSY"
	ShuttingDown        Code = "SHUTTING_DOWN"
	SpoolFull           Code = "SPOOL_FULL"
	SealingExhausted    Code = "ENCRYPTION_KEY_EXHAUSTED"
	RecordUnavailable   Code = "RECORD_UNAVAILABLE"
	StorageUnavailable  Code = "STORAGE_UNAVAILABLE"
	JobsNotAvailable    Code = "JOBS_NOT_AVAILABLE"
	WebhooksUnavailable Code = "WEBHOOKS_NOT_AVAILABLE"

	WebhookNotFound  Code = "WEBHOOK_NOT_FOUND"
	DeliveryNotFound Code = "DELIVERY_NOT_FOUND"
	WebhookDisabled  Code = "WEBHOOK_DISABLED"
	NothingPending   Code = "NO_PENDING_SECRET"
	DeliveryNotEnded Code = "DELIVERY_NOT_ENDED"

	DataStreamNotFound    Code = "DATA_STREAM_NOT_FOUND"
	DataStreamEnabled     Code = "DATA_STREAM_ENABLED"
	DataStreamEnding      Code = "DATA_STREAM_ENDING"
	ChannelEmpty          Code = "CHANNEL_EMPTY"
	ChannelNew            Code = "CHANNEL_NEW"
	DataStreamRefused     Code = "DATA_STREAM_REFUSED"
	DataStreamUnavailable Code = "DATA_STREAM_NOT_AVAILABLE"

	ClientGone Code = "CLIENT_GONE"
)

// Entry is a row of the table of errors.
type Entry struct {
	Code   Code
	Status int
	// Meaning is what has happened, in a sentence for customers: it is the message of an error that has none of
	// its own, and stands in the documentation.
	Meaning string
	// Suggestion is what to do.
	Suggestion string
	// Retryable is true when the same request may succeed later, unchanged.
	Retryable bool
	// inner are the codes of faults that become this one. A code that ends in a dot stands for all that begin so.
	inner []string
}

// Inner are the codes of faults that become this one, for the documentation. A code that ends in a dot stands for all that
// begin so.
func (e Entry) Inner() []string { return slices.Clone(e.inner) }

// Errors is the table of errors: every code that the API answers with. What customers read about errors is made from it.
func Errors() []Entry { return slices.Clone(table) }

var table = []Entry{
	{Code: InvalidJSON, Status: http.StatusBadRequest, Meaning: "The body is not a JSON object.",
		Suggestion: "Send one JSON object in UTF-8."},
	{Code: InvalidRequest, Status: http.StatusBadRequest, Meaning: "Several things are wrong with the request; details lists them all.",
		Suggestion: "Mend what details lists."},
	{Code: UnknownField, Status: http.StatusBadRequest, Meaning: "The body has a field, or the address a parameter, that is not taken there.",
		Suggestion: "Leave it out, or spell it as /docs and GET /v1/procedures/{procedure} list it.",
		inner:      []string{"parameter.unknown"}},
	{Code: DuplicateField, Status: http.StatusBadRequest, Meaning: "A member of a JSON object is given twice.",
		Suggestion: "Give every field once."},
	{Code: MissingParameter, Status: http.StatusBadRequest, Meaning: "A required field is missing.",
		Suggestion: "Give the field that details names.", inner: []string{"parameter.missing"}},
	{Code: InvalidParameter, Status: http.StatusBadRequest, Meaning: "A field has a value that it does not take.",
		Suggestion: "Give a value as details says.",
		inner: []string{"parameter.invalid", "parameter.not_allowed", "mysql.request", "mysql.argument", "mysql.argument_count",
			"mysql.unknown_column", "mysql.date_column", "mysql.time_zone", changes.CodeSettings, changes.CodeChannelUnknown,
			store.CodeStreamSequence}},
	{Code: InvalidDateRange, Status: http.StatusBadRequest, Meaning: "to_date is before from_date.",
		Suggestion: "Give from_date and to_date in order; they may be equal.", inner: []string{"mysql.date_range"}},
	{Code: ConflictingParameters, Status: http.StatusBadRequest, Meaning: "Fields are given that do not go together.",
		Suggestion: "Leave out the field that details names."},

	{Code: AuthenticationRequired, Status: http.StatusUnauthorized, Meaning: "The request has no API key.",
		Suggestion: "Send the header Authorization: Bearer KEY.", inner: []string{"customer.key_missing"}},
	{Code: InvalidAPIKey, Status: http.StatusUnauthorized, Meaning: "The API key is unknown, expired or revoked.",
		Suggestion: "Check the key, or ask for a new one.", inner: []string{"customer.key_unknown", "customer.key_revoked", "customer.key_expired"}},

	{Code: LinkInvalid, Status: http.StatusForbidden, Meaning: "The link was not made by this service, or has ended.",
		Suggestion: "Ask for a new one: GET /v1/customers/{customer_id}/jobs/{job_id}."},
	{Code: IPNotAllowed, Status: http.StatusForbidden, Meaning: "The customer's requests are not accepted from this address.",
		Suggestion: "Send from an address of the customer's allow-list, or have this one added.", inner: []string{"customer.address_not_allowed"}},
	{Code: ScopeMissing, Status: http.StatusForbidden, Meaning: "The API key does not have the scope that this needs.",
		Suggestion: "Use a key with that scope.", inner: []string{"customer.scope_missing"}},
	{Code: CustomerDisabled, Status: http.StatusForbidden, Meaning: "The customer is disabled.",
		Suggestion: "Ask the operator of the service.", inner: []string{"customer.disabled"}},

	{Code: NotFound, Status: http.StatusNotFound, Meaning: "There is nothing at this address.",
		Suggestion: "See /docs for what there is."},
	{Code: UnknownProcedure, Status: http.StatusNotFound, Meaning: "There is no such procedure.",
		Suggestion: "GET /v1/procedures lists them."},
	{Code: CustomerNotFound, Status: http.StatusNotFound, Meaning: "There is no such customer for this API key.",
		Suggestion: "Check customer_id, or use that customer's key.", inner: []string{"customer.unknown"}},
	{Code: RequestNotFound, Status: http.StatusNotFound, Meaning: "There is no such request of this customer, or it is older than 24 hours.",
		Suggestion: "Check the identifier: it is the X-Request-Id of the answer."},
	{Code: ReceiptNotFound, Status: http.StatusNotFound, Meaning: "The request has no receipt: it was not sealed, is still running or has failed.",
		Suggestion: "Ask for a receipt when a sealed answer has ended."},
	{Code: JobNotFound, Status: http.StatusNotFound, Meaning: "There is no such job of this customer, or it ended so long ago that it is listed no more.",
		Suggestion: "Check job_id: GET /v1/customers/{customer_id}/jobs lists them."},
	{Code: WebhookNotFound, Status: http.StatusNotFound, Meaning: "The customer has no webhook.",
		Suggestion: "PUT /v1/customers/{customer_id}/webhook makes one."},
	{Code: DeliveryNotFound, Status: http.StatusNotFound, Meaning: "There is no such delivery of this customer, or it ended so long ago that it is listed no more.",
		Suggestion: "Check delivery_id: GET /v1/customers/{customer_id}/webhook/deliveries lists them."},
	{Code: ScheduleNotFound, Status: http.StatusNotFound, Meaning: "There is no such schedule of this customer.",
		Suggestion: "Check schedule_id: GET /v1/customers/{customer_id}/schedules lists them."},
	{Code: ScheduleExists, Status: http.StatusConflict, Meaning: "The customer has a schedule of this name already.",
		Suggestion: "Give another name, or replace that one: PUT /v1/customers/{customer_id}/schedules/{schedule_id}."},
	{Code: ScheduleManaged, Status: http.StatusConflict, Meaning: "The operator of the service keeps this schedule in a document, and it cannot be changed here.",
		Suggestion: "Ask the operator of the service, or make a schedule of your own.", inner: []string{store.CodeScheduleDocument}},
	{Code: ScheduleBusy, Status: http.StatusConflict, Meaning: "The last job of the schedule has not ended.",
		Suggestion: "Wait until it has ended, or cancel it; last_job_id names it.", inner: []string{store.CodeScheduleBusy}},
	{Code: TooManySchedules, Status: http.StatusConflict, Meaning: "The customer has as many schedules as it may have.",
		Suggestion: "Delete one that is not needed any more."},
	{Code: ScheduleRequired, Status: http.StatusConflict,
		Meaning:    "The procedure goes on where its last job has ended, and only a schedule keeps where that is.",
		Suggestion: "Make a schedule of it: POST /v1/customers/{customer_id}/schedules.", inner: []string{binding.CodeState}},
	{Code: ScheduleReplaced, Status: http.StatusConflict,
		Meaning:    "The schedule of the job was deleted, or orders other rows since.",
		Suggestion: "Let the schedule make another job.", inner: []string{job.CodeScheduleReplaced}},
	{Code: ScheduleStateOther, Status: http.StatusConflict,
		Meaning:    "What the schedule has kept of how far its jobs have come is of other parameters, or of another database.",
		Suggestion: "POST /v1/customers/{customer_id}/schedules/{schedule_id}/reset, and the next job reads every row.",
		inner:      []string{engine.CodeStateOther, "mysql.cursor_origin"}},
	{Code: TableNotAvailable, Status: http.StatusNotFound, Meaning: "The table is not there, or the customer may not read it.",
		Suggestion: "Check table_name, or have the table added to the customer's allow-list.",
		inner:      []string{"mysql.table_not_available", "mysql.unknown_table"}},
	{Code: CallNotAvailable, Status: http.StatusNotFound, Meaning: "The database's procedure is not there, or the customer may not call it.",
		Suggestion: "Check procedure_name, or have the procedure added to the customer's allow-list.",
		inner:      []string{"mysql.procedure_not_available"}},
	{Code: MethodNotAllowed, Status: http.StatusMethodNotAllowed, Meaning: "The address does not take this method.",
		Suggestion: "Use a method of the header Allow."},
	{Code: BodyTimeout, Status: http.StatusRequestTimeout, Meaning: "The body of the request did not arrive in time.", Retryable: true,
		Suggestion: "Send the request again."},
	{Code: NoSealingKey, Status: http.StatusConflict, Meaning: "The customer has no active encryption key.",
		Suggestion: "Have a key made and activated, or ask with encrypted: false.", inner: []string{"customer.no_sealing_key"}},
	{Code: JobNotCompleted, Status: http.StatusConflict, Meaning: "The job has no result: it has not completed.",
		Suggestion: "Wait until status is completed; of one that is failed or cancelled error_code says why there will be none."},
	{Code: JobEnded, Status: http.StatusConflict, Meaning: "The job has ended, and cannot be cancelled any more.",
		Suggestion: "Nothing is to be done; its status says how it ended.", inner: []string{store.CodeJobEnded}},
	{Code: IdempotencyBusy, Status: http.StatusConflict, Meaning: "An earlier request with this Idempotency-Key has not been answered yet.", Retryable: true,
		Suggestion: "Wait as Retry-After says, and send it again: the answer is that request's job.", inner: []string{store.CodeIdempotencyBusy}},
	{Code: IdempotencyMismatch, Status: http.StatusUnprocessableEntity, Meaning: "The Idempotency-Key was used with another body.",
		Suggestion: "Use a new key for every new request, and the same one to repeat a request unchanged.", inner: []string{store.CodeIdempotencyMismatch}},
	{Code: WebhookDisabled, Status: http.StatusConflict, Meaning: "The customer's webhook is off, or was disabled because nothing but failures came of it.",
		Suggestion: "PUT /v1/customers/{customer_id}/webhook with enabled: true."},
	{Code: NothingPending, Status: http.StatusConflict, Meaning: "No secret waits to be activated.",
		Suggestion: "POST /v1/customers/{customer_id}/webhook/rotate-secret makes one.", inner: []string{signing.CodeNothingPending}},
	{Code: DeliveryNotEnded, Status: http.StatusConflict, Meaning: "The delivery has not ended: it waits, or is on its way.",
		Suggestion: "Wait until its status is delivered or dead."},
	{Code: DataStreamNotFound, Status: http.StatusNotFound, Meaning: "The customer has no data stream.",
		Suggestion: "PUT /v1/customers/{customer_id}/data-stream sets one up."},
	{Code: DataStreamEnabled, Status: http.StatusConflict, Meaning: "The data stream is enabled, and what is asked for is possible only while it is not.",
		Suggestion: "POST /v1/customers/{customer_id}/data-stream/disable first.", inner: []string{store.CodeStreamEnabled}},
	{Code: DataStreamEnding, Status: http.StatusConflict, Meaning: "The data stream was disabled, and what has it is about to end its work.", Retryable: true,
		Suggestion: "Wait for some seconds, and send the request again.", inner: []string{changes.CodeEnding}},
	{Code: ChannelNew, Status: http.StatusConflict, Meaning: "A channel is to be sent whose tables were not followed so far.",
		Suggestion: "Reset the stream with anew: true while it is disabled, so that all tables are copied first.", inner: []string{changes.CodeChannelNew}},
	{Code: ChannelEmpty, Status: http.StatusConflict, Meaning: "No table belongs to a channel that is to be sent.",
		Suggestion: "Leave the channel out of channels, or have the operator of the service add tables to it.", inner: []string{changes.CodeChannelEmpty}},
	{Code: DataStreamRefused, Status: http.StatusConflict, Meaning: "The practice's database cannot be followed exactly as it is, and nothing is sent otherwise.",
		Suggestion: "Tell the operator of the service the code in details: cipherstream data-stream check says what to change in the database.",
		inner:      []string{"changes."}},
	{Code: ResultExpired, Status: http.StatusGone, Meaning: "The result of the job was kept until its time was over, and is gone.",
		Suggestion: "Order it again.", inner: []string{job.CodeNoObject, object.CodeMissing}},
	{Code: PreconditionFailed, Status: http.StatusPreconditionFailed, Meaning: "The result is not the one that If-Match or If-Unmodified-Since names.",
		Suggestion: "Begin anew, without a condition."},
	{Code: RangeNotSatisfiable, Status: http.StatusRequestedRangeNotSatisfiable, Meaning: "The range begins behind the end of the result.",
		Suggestion: "Ask for a range within it: Content-Range says how many bytes it has."},
	{Code: BodyTooLarge, Status: http.StatusRequestEntityTooLarge, Meaning: "The body of the request is larger than 1 MiB.",
		Suggestion: "Send a smaller body."},
	{Code: UnsupportedMediaType, Status: http.StatusUnsupportedMediaType, Meaning: "The body is not announced as JSON, or is compressed.",
		Suggestion: "Send Content-Type: application/json and no Content-Encoding."},

	{Code: RateLimited, Status: http.StatusTooManyRequests, Meaning: "The API key, or the address of requests without a good one, has used up its requests for now.", Retryable: true,
		Suggestion: "Wait as Retry-After says.", inner: []string{"admission.rate_limited"}},
	{Code: TooManyStreams, Status: http.StatusTooManyRequests, Meaning: "As many streams of the customer are open as it may have.", Retryable: true,
		Suggestion: "Wait as Retry-After says, or let a stream end first.", inner: []string{"admission.streams_busy"}},

	{Code: Internal, Status: http.StatusInternalServerError, Meaning: "Something in the service is broken.",
		Suggestion: "Tell the operator of the service the request_id.", inner: []string{"admission.too_large"}},
	{Code: SourceFailed, Status: http.StatusInternalServerError, Meaning: "The database reported an error, or delivered what cannot be used.",
		Suggestion: "Tell the operator of the service the request_id and the code in details.", inner: []string{"mysql."}},
	{Code: DataRefused, Status: http.StatusInternalServerError, Meaning: "A stored value cannot be delivered exactly, and nothing is delivered otherwise.",
		Suggestion: "Ask in another format, or for custom_table with another policy; the code in details says what it is about.",
		inner:      []string{"mysql.zero_date", "mysql.value", "mysql.warning", "mysql.row_size", "encoder."}},
	{Code: SchemaChanged, Status: http.StatusInternalServerError, Meaning: "The database no longer delivers the columns that the procedure promises.",
		Suggestion: "Tell the operator of the service the request_id.", inner: []string{"drift.", "mysql.table_changed"}},
	{Code: StageFailed, Status: http.StatusInternalServerError, Meaning: "A process of the run broke.", Retryable: true,
		Suggestion: "Send the request again; if it happens again, tell the operator of the service the request_id.",
		inner:      []string{"plugin.", "link."}},
	{Code: ServiceRestarted, Status: http.StatusInternalServerError, Meaning: "The service ended while the request was running.", Retryable: true,
		Suggestion: "Send the request again."},

	{Code: WorkerLost, Status: http.StatusInternalServerError, Meaning: "The job was begun as often as it may be, and what ran it was lost each time.", Retryable: true,
		Suggestion: "Order it again; if it happens again, tell the operator of the service the job_id."},
	{Code: NotServed, Status: http.StatusInternalServerError, Meaning: "The job waited for a day, and nothing that runs jobs knew the customer.",
		Suggestion: "Order it again; if it happens again, tell the operator of the service the job_id.", inner: []string{job.CodeUnserved}},

	{Code: DatabaseUnavailable, Status: http.StatusServiceUnavailable, Meaning: "The customer's database cannot be reached.", Retryable: true,
		Suggestion: "Try again later. Other customers are not affected.",
		inner:      []string{"mysql.connect", "mysql.auth", "mysql.tls", "mysql.unknown_database", "mysql.connection_lost", "mysql.access_denied"}},
	{Code: DatabaseBusy, Status: http.StatusServiceUnavailable, Meaning: "The customer's database ended the query.", Retryable: true,
		Suggestion: "Try again later.",
		inner:      []string{"mysql.deadlock", "mysql.lock_wait", "mysql.killed", "mysql.snapshot", "mysql.timeout"}},
	{Code: TimeLimit, Status: http.StatusServiceUnavailable, Meaning: "The result was not complete within the time limit.",
		Suggestion: "Ask for less, such as a shorter range.", inner: []string{"run.timeout"}},
	{Code: ServiceBusy, Status: http.StatusServiceUnavailable, Meaning: "The service has too much to do.", Retryable: true,
		Suggestion: "Wait as Retry-After says.", inner: []string{"admission.loaded", "budget."}},
	{Code: ShuttingDown, Status: http.StatusServiceUnavailable, Meaning: "The service is about to end.", Retryable: true,
		Suggestion: "Send the request again.", inner: []string{codeStopping, job.CodeStopping}},
	{Code: SpoolFull, Status: http.StatusServiceUnavailable, Meaning: "The answer is larger than what can be kept for it, or there is no room for it.", Retryable: true,
		Suggestion: "Ask for less, or with mode: stream over HTTP/1.1 or later.", inner: []string{"spool.full", "spool.disk_full", "spool.io"}},
	{Code: SealingExhausted, Status: http.StatusServiceUnavailable, Meaning: "The customer's encryption key has sealed as much as a key may.",
		Suggestion: "Have a new key made and activated.", inner: []string{"customer.sealing_key_spent"}},
	{Code: RecordUnavailable, Status: http.StatusServiceUnavailable, Meaning: "The service's own record cannot be used.", Retryable: true,
		Suggestion: "Try again later.", inner: []string{"store."}},
	{Code: StorageUnavailable, Status: http.StatusServiceUnavailable, Meaning: "The place where results of jobs are kept cannot be used.", Retryable: true,
		Suggestion: "Try again later.", inner: []string{"sink.", "object."}},
	{Code: JobsNotAvailable, Status: http.StatusServiceUnavailable, Meaning: "The result is one for a background job, and there are none for this customer.",
		Suggestion: "Ask for less, or with mode: stream.", inner: []string{"delivery.jobs_not_available", "schedule.no_bucket"}},
	{Code: WebhooksUnavailable, Status: http.StatusServiceUnavailable, Meaning: "This service sends no webhooks.",
		Suggestion: "Leave out webhook_url, and ask about jobs: GET /v1/customers/{customer_id}/jobs/{job_id}."},

	{Code: DataStreamUnavailable, Status: http.StatusServiceUnavailable, Meaning: "There is no data stream for this customer.",
		Suggestion: "Ask the operator of the service to name the pipeline of the customer's data stream.", inner: []string{changes.CodeNoPipeline}},

	// It is never answered with: nobody is there to read it. It is the code of the request's outcome.
	{Code: ClientGone, Status: 499, Meaning: "The client went away before the answer had ended.", Retryable: true,
		Suggestion: "Send the request again, and read the answer to its end.", inner: []string{"delivery.client_gone", "run.cancelled"}},
}

var entries = func() map[Code]*Entry {
	m := make(map[Code]*Entry, len(table))
	for i := range table {
		m[table[i].Code] = &table[i]
	}
	return m
}()

// Detail is one mistake of a request, or what is known of the cause of another error.
type Detail struct {
	Code string `json:"code" doc:"What is wrong: a code of this API, or the code of the part of the service that has failed."`
	// Field is the name of a field of the body, the JSON Pointer of a place deeper in it, or that of a header or parameter.
	Field      string `json:"field,omitempty" doc:"The field that it is about; a JSON Pointer for a place within one."`
	Message    string `json:"message,omitempty" doc:"What was expected, and what came."`
	Suggestion string `json:"suggestion,omitempty" doc:"What to do."`
}

// Error is an error of the API. It is an answer, or the outcome of a request that could not be answered any more.
type Error struct {
	*Entry
	// Message is for customers; default the code's meaning.
	Message    string
	Suggestion string
	Details    []Detail
	RetryAfter time.Duration
	// Inner is the code of the fault behind it, for the log, and cause the fault.
	Inner string
	cause error
}

// Error returns the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// fail makes an error of a code.
func fail(code Code) *Error {
	entry := entries[code]
	return &Error{Entry: entry, Message: entry.Meaning, Suggestion: entry.Suggestion}
}

func (e *Error) saying(message string) *Error {
	e.Message = message
	return e
}

func (e *Error) with(details ...Detail) *Error {
	e.Details = append(e.Details, details...)
	return e
}

// mistakes makes one error of all mistakes of a request: theirs when they have one code, and InvalidRequest otherwise.
func mistakes(details []Detail) *Error {
	code := Code(details[0].Code)
	if slices.ContainsFunc(details, func(d Detail) bool { return d.Code != string(code) }) || entries[code] == nil {
		code = InvalidRequest
	}
	e := fail(code).with(details...)
	if len(details) == 1 && details[0].Message != "" {
		e.Message = details[0].Message
		if s := details[0].Suggestion; s != "" {
			e.Suggestion = s
		}
	}
	return e
}

// fromError turns what went wrong inside into what customers see. Nothing of a fault is shown but its code: its message
// may name a host, a statement or a value.
func fromError(err error) *Error {
	if e, ok := asError(err); ok {
		return e
	}
	f := fault.From(err)
	entry := entryOf(f)
	e := fail(entry.Code)
	e.Inner, e.cause, e.RetryAfter = f.Code, err, retryAfter(f)
	if entry.Status >= 500 && entry.Code != Internal || strings.HasPrefix(f.Code, "mysql.") || entry.Code == DataStreamRefused {
		e.Details = []Detail{{Code: f.Code}} // why somebody is not let in is not told closer than the table does
	}
	return e
}
