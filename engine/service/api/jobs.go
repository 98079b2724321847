package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// JobRecord is what the API itself asks of the record about jobs; the record is one.
type JobRecord interface {
	// ReserveIdempotency reserves a key for a request of which it is not known yet whether it becomes a job, or says which
	// job it has made already.
	ReserveIdempotency(ctx context.Context, key store.Idempotency) (job string, err error)
	// ReleaseIdempotency forgets a key of a request that was not answered with a job.
	ReleaseIdempotency(ctx context.Context, key store.Idempotency) error
	AppendAudit(ctx context.Context, a store.Audit) error
	// AuditOf lists the audit of a customer from a time on, the oldest first.
	AuditOf(ctx context.Context, customer string, since time.Time, most int) ([]store.Audit, error)
}

// jobsPath is where the jobs of a customer are.
func jobsPath(customer string) string { return "/v1/customers/" + customer + "/jobs" }

func jobPath(customer, id string) string { return jobsPath(customer) + "/" + id }

// jobBody is a job as customers see it. What is not known is not there.
type jobBody struct {
	JobID      string       `json:"job_id" doc:"Identifier of the job, and of its run: object, receipt and log carry it."`
	CustomerID string       `json:"customer_id" doc:"Whose it is."`
	Procedure  string       `json:"procedure_name" doc:"What was asked for."`
	JobType    string       `json:"job_type" enum:"extract,schedule" doc:"Who ordered it: a request, or a schedule."`
	Mode       string       `json:"mode" enum:"job" doc:"job, always."`
	Status     store.Status `json:"status" enum:"queued,running,completed,failed,cancelled" doc:"Where it stands. Nothing follows completed, failed and cancelled."`
	Message    string       `json:"message,omitempty" doc:"What that means, for people."`
	Priority   string       `json:"priority" enum:"low,normal,high" doc:"Its order among the customer's own jobs."`

	Progress        *int     `json:"progress_percent,omitempty" nullable:"false" minimum:"0" maximum:"100" doc:"How far it is. It never falls, is 100 of a completed job alone, and is absent while nothing tells how much there is."`
	RowsProcessed   int64    `json:"rows_processed" doc:"Rows that were read."`
	EstimatedRows   int64    `json:"estimated_rows,omitempty" doc:"Rows that it is likely to have."`
	EstimatedRemain *float64 `json:"estimated_completion_seconds,omitempty" nullable:"false" doc:"Seconds until it is likely to end, of a running job."`
	TotalRows       *int64   `json:"total_rows,omitempty" nullable:"false" doc:"Rows of the result, of a completed job."`

	CreatedAt     string   `json:"created_at" format:"date-time" doc:"When it was accepted."`
	StartedAt     string   `json:"started_at,omitempty" format:"date-time" doc:"When its attempt began, of several the last one."`
	CompletedAt   string   `json:"completed_at,omitempty" format:"date-time" doc:"When it ended, in whatever way."`
	UpdatedAt     string   `json:"updated_at" format:"date-time" doc:"When it changed last."`
	ExecutionTime *float64 `json:"execution_time_seconds,omitempty" nullable:"false" doc:"From started_at to completed_at, or until now."`

	OutputFormat string `json:"output_format" doc:"Format of the result."`
	Compression  string `json:"compression" doc:"Compression of the result."`
	Encrypted    bool   `json:"encrypted" doc:"Whether the result is sealed."`
	KeyID        string `json:"key_id,omitempty" doc:"The encryption key that has sealed it."`
	FileSize     *int64 `json:"file_size_bytes,omitempty" nullable:"false" doc:"Bytes of the result."`
	SHA256       string `json:"sha256,omitempty" doc:"SHA-256 of these bytes, hexadecimal."`
	FileName     string `json:"file_name,omitempty" doc:"Name of the result as a file."`
	S3URL        string `json:"s3_url,omitempty" format:"uri" doc:"Where the result can be fetched, without a key, until expires_at. It is made anew each time; a list has none."`
	ExpiresAt    string `json:"expires_at,omitempty" format:"date-time" doc:"When s3_url ends; in a list, when the result does."`

	ErrorCode    string `json:"error_code,omitempty" doc:"Why it failed or was cancelled; see the table of errors."`
	ErrorMessage string `json:"error_message,omitempty" doc:"Why, for people."`
	Suggestion   string `json:"suggestion,omitempty" doc:"What to do."`
	RetryCount   int    `json:"retry_count" doc:"How often it was begun again after a failure."`

	PeakMemory *float64 `json:"peak_memory_bytes,omitempty" nullable:"false" doc:"Most memory of all processes of its run."`
	CPUSeconds *float64 `json:"cpu_seconds,omitempty" nullable:"false" doc:"Processor time of its run."`
	// Webhook is of a job with webhooks.
	Webhook  string      `json:"webhook_status,omitempty" enum:"waiting,sending,delivered,dead" doc:"How it stands with what the webhooks of the job are sent, of several the worst: dead before sending, waiting and delivered. Absent where nothing is sent."`
	Metadata jobMetadata `json:"metadata" doc:"What was asked for."`
}

// jobMetadata is what was asked for, and why it is a job.
type jobMetadata struct {
	FromDate      string   `json:"from_date,omitempty" doc:"First day."`
	ToDate        string   `json:"to_date,omitempty" doc:"Last day."`
	DateModifier  string   `json:"date_modifier,omitempty" doc:"What the days are about."`
	Endpoint      string   `json:"endpoint" doc:"Where it was asked for."`
	EstimatedRows int64    `json:"estimated_rows,omitempty" doc:"Rows that it is likely to have."`
	EstimatedSize *float64 `json:"estimated_size_mb,omitempty" nullable:"false" doc:"Bytes that it is likely to have, in units of 1,000,000."`
	Reason        string   `json:"reason" enum:"requested,rows,size,time,load" doc:"Why it is a job: it was asked for, or the answer had too many rows or bytes, took too long, or the service had too much to do."`
}

// priorityNames are the priorities of jobs, as bodies name them, from the lowest on.
var priorityNames = []string{"low", "normal", "high"}

func priorityOf(name string) store.Priority {
	return store.Priority(slices.Index(priorityNames, name)) + store.Low
}

func priorityName(p store.Priority) string {
	return priorityNames[min(max(store.Low, p), store.High)-store.Low]
}

// statusMessages are what the states mean, for people.
var statusMessages = map[store.Status]string{
	store.Queued:    "The job waits for a worker.",
	store.Running:   "The job is running.",
	store.Completed: "The result is there.",
	store.Failed:    "The job has failed, and has left nothing.",
	store.Cancelled: "The job was cancelled, and has left nothing.",
}

// known is a pointer to a value that is known.
func known[T any](v T) *T { return &v }

// rounded are seconds with the thousandths that they are known with.
func rounded(d time.Duration) *float64 { return known(float64(d.Milliseconds()) / 1000) }

// timeOf writes a time, and nothing of one that has not come.
func timeOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timeText(t)
}

// jobBody describes a job, without a link to its result.
func (a *API) jobBody(j store.Job) jobBody {
	b := jobBody{
		JobID: j.ID, CustomerID: j.Customer, Procedure: j.Procedure, JobType: or(j.Type, "extract"), Mode: modeJob,
		Status: j.Status, Message: statusMessages[j.Status], Priority: priorityName(j.Priority),
		RowsProcessed: j.Rows, EstimatedRows: j.EstimatedRows,
		CreatedAt: timeText(j.CreatedAt), StartedAt: timeOf(j.StartedAt),
		CompletedAt: timeOf(j.CompletedAt), UpdatedAt: timeText(j.UpdatedAt),
		OutputFormat: j.Format, Compression: j.Compression, Encrypted: j.Encrypted,
		ErrorCode: j.ErrorCode, ErrorMessage: j.ErrorMessage, Suggestion: j.Suggestion, RetryCount: max(0, j.Attempts-1),
		Metadata: jobMetadata{FromDate: j.FromDate, ToDate: j.ToDate, DateModifier: j.Modifier,
			Endpoint: "/v1/procedures/" + j.Procedure, EstimatedRows: j.EstimatedRows, Reason: j.Reason},
	}
	if j.WebhookURL != "" {
		b.Webhook = string(store.DeliveryWaiting) // until there is something to send
	}
	if j.EstimatedBytes > 0 {
		b.Metadata.EstimatedSize = known(float64(j.EstimatedBytes/1000) / 1000)
	}
	if percent, remaining, ok := a.Jobs.Progress(j); ok {
		b.Progress = known(percent)
		if j.Status == store.Running && remaining > 0 {
			b.EstimatedRemain = rounded(remaining)
		}
	}
	switch {
	case j.StartedAt.IsZero():
	case !j.CompletedAt.IsZero():
		b.ExecutionTime = rounded(max(0, j.CompletedAt.Sub(j.StartedAt)))
	case j.Status == store.Running:
		b.ExecutionTime = rounded(max(0, a.Jobs.Now().Sub(j.StartedAt)))
	}
	if j.Status == store.Completed {
		b.Progress, b.TotalRows, b.FileSize = known(100), known(j.TotalRows), known(j.Size)
		b.SHA256, b.FileName = j.SHA256, j.FileName
		b.KeyID, b.ExpiresAt = j.SealingKey, timeOf(j.ObjectExpires)
		if !j.ObjectRemoved.IsZero() {
			b.ExpiresAt = timeText(j.ObjectRemoved)
		}
		if j.PeakMemory > 0 {
			b.PeakMemory = known(j.PeakMemory)
		}
		if j.CPUSeconds > 0 {
			b.CPUSeconds = known(j.CPUSeconds)
		}
	}
	return b
}

// myJobs lets the key in to a customer's jobs.
func (x *exchange) myJobs(policy admission.Policy) (*customer.Customer, *Error) {
	if e := x.authenticate(policy); e != nil {
		return nil, e
	}
	who, err := x.api.Customers.Customer(x.ctx, x.principal, x.r.PathValue("customer_id"), customer.Jobs)
	if err != nil {
		return nil, fromError(err)
	}
	if x.api.Jobs == nil {
		return nil, fail(JobsNotAvailable)
	}
	x.info.Customer = who.ID
	return who, nil
}

// myJob is the job of the address, which is the key's customer's.
func (x *exchange) myJob(policy admission.Policy) (store.Job, *Error) {
	who, e := x.myJobs(policy)
	if e == nil {
		e = x.noParameters()
	}
	if e != nil {
		return store.Job{}, e
	}
	j, e := x.findJob(who.ID, x.r.PathValue("job_id"))
	if e == nil {
		x.info.Procedure, x.info.JobID = j.Procedure, j.ID
	}
	return j, e
}

// maxJobID bounds what is looked for: no job has a longer name.
const maxJobID = 128

func (x *exchange) findJob(customer, id string) (store.Job, *Error) {
	if len(id) > maxJobID || printable(id, maxJobID) != id {
		return store.Job{}, fail(JobNotFound)
	}
	j, err := x.api.Jobs.Get(x.ctx, customer, id)
	if err != nil {
		return store.Job{}, fromJobs(err)
	}
	return j, nil
}

// fromJobs is fromError of what concerns one job.
func fromJobs(err error) *Error {
	if fault.Is(err, store.CodeUnknown) {
		return fail(JobNotFound)
	}
	return fromError(err)
}

// actor is who asks, for the audit.
func (x *exchange) actor() store.Actor {
	return store.Actor{Who: "key:" + x.principal.KeyID, From: x.info.From.String(), RequestID: x.info.RequestID}
}

// pollAfter is when to ask again about a job that has not ended.
const pollAfter = 2 * time.Second

// job answers GET /v1/customers/{customer_id}/jobs/{job_id}.
func (a *API) job(x *exchange) *Error {
	j, e := x.myJob(admission.Polling)
	if e != nil {
		return e
	}
	if wait := x.preferredWait(); wait > 0 && !j.Status.Ended() {
		if j, e = a.waitFor(x, j, wait); e != nil {
			return e
		}
	}
	return x.sendJob(http.StatusOK, j)
}

// sendJob answers with a job, and a fresh link to the result of one that is completed.
func (x *exchange) sendJob(status int, j store.Job) *Error {
	b := x.api.jobBody(j)
	x.webhookStatuses(j.Customer, &b)
	if j.Status == store.Completed && j.ObjectRemoved.IsZero() {
		link, expires, e := x.link(j)
		switch {
		case e == nil:
			if strings.HasPrefix(link, "/") {
				link = x.base() + link
			}
			b.S3URL, b.ExpiresAt = link, timeText(expires)
		case e.Code != ResultExpired:
			// The job is told all the same: it is the record that has it, and the bucket that is away.
			x.api.Log.WarnContext(x.ctx, "no link could be made", "request_id", x.info.RequestID, "job", j.ID, "cause", e.Inner)
			b.ExpiresAt = ""
		}
	}
	if !j.Status.Ended() {
		x.w.Header().Set("Retry-After", seconds(pollAfter))
	}
	x.send(status, typeJSON, b)
	return nil
}

// cancelJob answers POST /v1/customers/{customer_id}/jobs/{job_id}/cancel.
func (a *API) cancelJob(x *exchange) *Error {
	j, e := x.myJob(admission.Polling)
	if e != nil {
		return e
	}
	j, err := a.Jobs.Cancel(x.ctx, j.Customer, j.ID, x.actor())
	if fault.Is(err, store.CodeJobEnded) {
		return fail(JobEnded)
	}
	if err != nil {
		return fromJobs(err)
	}
	b := a.jobBody(j)
	x.webhookStatuses(j.Customer, &b)
	if j.Status == store.Running {
		b.Message = "The job was told to end, and does so within seconds."
		x.w.Header().Set("Retry-After", seconds(pollAfter))
	}
	x.send(http.StatusOK, typeJSON, b)
	return nil
}

// manifest answers GET /v1/customers/{customer_id}/jobs/{job_id}/manifest.
func (a *API) manifest(x *exchange) *Error {
	j, e := x.myJob(admission.Polling)
	if e != nil {
		return e
	}
	if e := completed(j); e != nil {
		return e
	}
	if !json.Valid(j.Manifest) {
		return fail(Internal)
	}
	x.w.Header().Set("Content-Disposition", `attachment; filename="`+j.ID+`.manifest.json"`)
	x.sendBytes(http.StatusOK, typeJSON, append(j.Manifest[:len(j.Manifest):len(j.Manifest)], '\n'))
	return nil
}

// completed refuses what only a job that is completed has.
func completed(j store.Job) *Error {
	if j.Status == store.Completed {
		return nil
	}
	e := fail(JobNotCompleted).with(Detail{Code: or(j.ErrorCode, string(JobNotCompleted)), Field: "status",
		Message: "The job is " + string(j.Status) + "."})
	if !j.Status.Ended() {
		e.RetryAfter = pollAfter
	}
	return e
}

// jobAccepted answers a request that has become a job.
func (x *exchange) jobAccepted(j store.Job, replayed bool) {
	h := x.w.Header()
	at := jobPath(j.Customer, j.ID)
	h.Set("Location", at)
	h.Set("Link", "<"+at+`/events>; rel="monitor"`)
	h.Set(headerMode, modeJob)
	h.Set(headerRun, j.ID)
	x.info.JobID = j.ID
	if replayed {
		h.Set(headerReplayed, strconv.FormatBool(true))
	}
	status := http.StatusOK
	if x.prefers("respond-async") {
		status = http.StatusAccepted
		x.applied("respond-async")
	}
	b := x.api.jobBody(j)
	x.webhookStatuses(j.Customer, &b)
	if !j.Status.Ended() {
		h.Set("Retry-After", seconds(pollAfter))
		b.Message = acceptedMessages[j.Reason] + " " + b.Message
	}
	x.send(status, typeJSON, b)
}

// acceptedMessages say why a request became a job.
var acceptedMessages = map[string]string{
	"requested": "The request is a job, as was asked for.",
	"rows":      "The answer has more rows than one may have, and goes on as a job.",
	"size":      "The answer is larger than one may be, and goes on as a job.",
	"time":      "The answer takes longer than one may, and goes on as a job.",
	"load":      "The service has too much to do to answer at once; the request waits as a job.",
}
