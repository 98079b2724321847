package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Sizes of lists of jobs.
const (
	jobsOfList     = 50
	mostJobsOfList = 100
	mostOffset     = 1_000_000_000
)

// The parameters of a list of jobs.
const (
	paramLimit     = "limit"
	paramOffset    = "offset"
	paramStatus    = "status"
	paramProcedure = "procedure"
	paramSort      = "sort"
)

var (
	jobStatuses = texts(store.Queued, store.Running, store.Completed, store.Failed, store.Cancelled)
	jobSorts    = texts(store.CreatedDesc, store.CreatedAsc, store.UpdatedDesc, store.UpdatedAsc)
)

func texts[T ~string](values ...T) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// jobListBody is a part of the list of a customer's jobs.
type jobListBody struct {
	Jobs   []jobBody `json:"jobs" nullable:"false" doc:"The jobs, in the order of sort; those of the same time by job_id. They have no s3_url: ask for the one that is wanted."`
	Total  int64     `json:"total" doc:"How many jobs there are that fit, in all."`
	Limit  int       `json:"limit" doc:"How many were asked for."`
	Offset int64     `json:"offset" doc:"How many were left out before them."`
}

// listJobs answers GET /v1/customers/{customer_id}/jobs.
func (a *API) listJobs(x *exchange) *Error {
	who, e := x.myJobs(admission.Polling)
	if e != nil {
		return e
	}
	q, e := x.readParameters(paramLimit, paramOffset, paramStatus, paramProcedure, paramFrom, paramTo, paramSort)
	if e != nil {
		return e
	}
	f := store.JobFilter{
		Customer: who.ID, Limit: int(q.whole(paramLimit, jobsOfList, 1, mostJobsOfList)),
		Offset:    q.whole(paramOffset, 0, 0, mostOffset),
		Status:    store.Status(q.oneOf(paramStatus, "", jobStatuses)),
		Procedure: q.oneOf(paramProcedure, "", a.jobProcedures()),
		From:      q.day(paramFrom), To: q.day(paramTo),
		Sort: store.JobSort(q.oneOf(paramSort, jobSorts[0], jobSorts)),
	}
	if !f.To.IsZero() {
		if f.To.Before(f.From) {
			q.add(InvalidDateRange, paramTo, entries[InvalidDateRange].Meaning)
		}
		f.To = f.To.AddDate(0, 0, 1) // the whole day
	}
	if e := q.mistakes(); e != nil {
		return e
	}
	list, total, err := a.Jobs.List(x.ctx, f)
	if err != nil {
		return fromError(err)
	}
	out := jobListBody{Jobs: make([]jobBody, len(list)), Total: total, Limit: f.Limit, Offset: f.Offset}
	for i, j := range list {
		out.Jobs[i] = a.jobBody(j)
	}
	bodies := make([]*jobBody, len(out.Jobs))
	for i := range out.Jobs {
		bodies[i] = &out.Jobs[i]
	}
	x.webhookStatuses(who.ID, bodies...)
	x.send(http.StatusOK, typeJSON, out)
	return nil
}

// jobProcedures are the procedures that can be jobs.
func (a *API) jobProcedures() (names []string) {
	for _, name := range a.names {
		if !a.procedures[name].reference() {
			names = append(names, name)
		}
	}
	return names
}

// Sizes of the audit's list.
const (
	auditOfList     = 100
	mostAuditOfList = 1000
	paramSince      = "since"
)

// auditListBody is a part of a customer's audit.
type auditListBody struct {
	Audit []auditBody `json:"audit" nullable:"false" doc:"What was done, the oldest first. Rows are never changed, and kept for years."`
	Limit int         `json:"limit" doc:"How many were asked for. Those of the same time come together, so there may be a few more."`
	Since string      `json:"since,omitempty" format:"date-time" doc:"From when on."`
	Next  string      `json:"next_since,omitempty" format:"date-time" doc:"The since that the list goes on with. Absent when there are no more."`
}

// auditBody is something that was done.
type auditBody struct {
	At        string            `json:"at" format:"date-time" doc:"When."`
	Who       string            `json:"who" doc:"key:ID for an API key, link:ID for who had a link that this key got, schedule:ID for a schedule at its tick, operator, or service."`
	What      string            `json:"what" doc:"What was done, such as job.created or key.revoke."`
	From      string            `json:"from,omitempty" doc:"Address of who has asked."`
	RequestID string            `json:"request_id,omitempty" doc:"Identifier of the request."`
	JobID     string            `json:"job_id,omitempty" doc:"Identifier of the run or job."`
	Outcome   string            `json:"outcome" doc:"ok, or a code."`
	Details   map[string]string `json:"details,omitempty" doc:"What else is known: no row of data, and no key."`
}

// auditOf answers GET /v1/customers/{customer_id}/audit.
func (a *API) auditOf(x *exchange) *Error {
	who, e := x.myJobs(admission.Polling)
	if e != nil {
		return e
	}
	q, e := x.readParameters(paramSince, paramLimit)
	if e != nil {
		return e
	}
	since, limit := q.instant(paramSince), int(q.whole(paramLimit, auditOfList, 1, mostAuditOfList))
	if e := q.mistakes(); e != nil {
		return e
	}
	rows, next, err := a.auditRows(x.ctx, who.ID, since, limit)
	if err != nil {
		return fromError(err)
	}
	out := auditListBody{Audit: []auditBody{}, Limit: limit, Since: exactTime(since), Next: exactTime(next)}
	for _, r := range rows {
		b := auditBody{At: exactTime(r.At), Who: r.Who, What: r.What, From: r.From, RequestID: r.RequestID, JobID: r.RunID,
			Outcome: r.Outcome, Details: r.Details}
		if strings.HasPrefix(r.Who, "user:") {
			b.Who, b.From = "operator", "" // who it was, and where he sits, is the operator's own matter
		}
		out.Audit = append(out.Audit, b)
	}
	x.send(http.StatusOK, typeJSON, out)
	return nil
}

// auditRows are rows of the audit, and where they go on; zero is nowhere. Rows of the same time are not parted.
func (a *API) auditRows(ctx context.Context, customer string, since time.Time, limit int) (
	rows []store.Audit, next time.Time, err error) {
	for most := limit + 1; ; most *= 2 {
		if rows, err = a.JobRecord.AuditOf(ctx, customer, since, most); err != nil || len(rows) <= limit {
			return rows, next, err
		}
		for i, r := range rows[limit:] {
			if r.At.After(rows[limit-1].At) {
				return rows[:limit+i], r.At, nil
			}
		}
		if len(rows) < most {
			return rows, next, nil
		}
	}
}

// exactTime is a time as the record has it, so that a list can go on where it has ended.
func exactTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}
