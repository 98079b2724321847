package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Times of a stream of events.
const (
	// commentEvery is after how long of silence a comment is sent, so that nobody between takes the stream for dead.
	commentEvery = 15 * time.Second
	// lookEvery is how often progress, and the right to see it, is looked at.
	lookEvery = time.Second
	// longestStream is when a client has to come again at the latest.
	longestStream = 24 * time.Hour
	// reconnectAfter is when a client whose stream has ended comes again by itself.
	reconnectAfter = 2 * time.Second
)

const (
	typeEvents      = "text/event-stream"
	headerLastEvent = "Last-Event-ID"
)

// transitionBody is a change of a job's status, as an event.
type transitionBody struct {
	JobID     string         `json:"job_id" doc:"Identifier of the job."`
	Number    int64          `json:"transition" minimum:"1" doc:"Number of the change, from 1: the id of the event."`
	Event     store.JobEvent `json:"event,omitempty" enum:"claimed,returned,retried,completed,failed,cancelled" doc:"What has happened; absent of the first one, when the job was made."`
	Status    store.Status   `json:"status" enum:"queued,running,completed,failed,cancelled" doc:"Status since then."`
	Previous  store.Status   `json:"previous_status,omitempty" enum:"queued,running" doc:"Status before."`
	At        string         `json:"at" format:"date-time" doc:"When."`
	Attempt   int            `json:"attempt,omitempty" doc:"Which attempt it was, from 1."`
	ErrorCode string         `json:"error_code,omitempty" doc:"Why an attempt or the job failed; see the table of errors."`
}

// progressBody is how far a job is, as an event.
type progressBody struct {
	JobID           string   `json:"job_id" doc:"Identifier of the job."`
	Status          string   `json:"status" enum:"running" doc:"running, always."`
	Progress        *int     `json:"progress_percent,omitempty" nullable:"false" minimum:"0" maximum:"99" doc:"How far it is; absent while nothing tells how much there is."`
	RowsProcessed   int64    `json:"rows_processed" doc:"Rows that were read."`
	EstimatedRows   int64    `json:"estimated_rows,omitempty" doc:"Rows that it is likely to have."`
	EstimatedRemain *float64 `json:"estimated_completion_seconds,omitempty" nullable:"false" doc:"Seconds until it is likely to end."`
}

// events answers GET /v1/customers/{customer_id}/jobs/{job_id}/events: what has happened to a job and what happens, until
// it ends.
func (a *API) events(x *exchange) *Error {
	j, e := x.myJob(admission.Polling)
	if e != nil {
		return e
	}
	after := int64(0)
	if given := x.r.Header.Get(headerLastEvent); given != "" {
		n, err := strconv.ParseInt(given, 10, 64)
		if err != nil || n < 0 || n > j.Transition {
			return mistakes([]Detail{{Code: string(InvalidParameter), Field: headerLastEvent,
				Message: fmt.Sprintf("%s: expected the id of an event of this job, 0 to %d.", headerLastEvent, j.Transition)}})
		}
		after = n
	}
	if j.Status.Ended() && after == j.Transition {
		// A browser that comes again by itself does so until it gets this.
		x.setWriteDeadline(writeTimeout)
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	leave, ok := a.waiters.enter(j.Customer)
	if !ok {
		e := fail(TooManyStreams)
		e.RetryAfter = reconnectAfter
		return e
	}
	defer leave()
	h := x.w.Header()
	h.Set("Content-Type", typeEvents)
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	x.setWriteDeadline(writeTimeout)
	x.w.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return nil
	}
	s := &eventStream{x: x, job: j, after: after, control: http.NewResponseController(x.w)}
	if failure := s.run(); failure != nil {
		x.failure = failure // for the log: what has ended early is come for again
	}
	return nil
}

// eventStream is a stream of one job's events.
type eventStream struct {
	x       *exchange
	job     store.Job
	after   int64 // the last transition that was sent
	control *http.ResponseController
	// progress is the progress that was sent last.
	progress []byte
	sent     time.Time
	buffer   bytes.Buffer
}

// run sends what there is, waits for more, and returns when the job has ended, the client has gone, its key is no longer
// good or the service is about to end.
func (s *eventStream) run() *Error {
	x := s.x
	ctx, cancel := x.api.waiters.until(x.ctx, longestStream)
	defer cancel()
	s.buffer.WriteString("retry: " + strconv.FormatInt(reconnectAfter.Milliseconds(), 10) + "\n\n")
	for {
		if e := x.stillMine(s.job.Customer); e != nil {
			return e
		}
		ended, e := s.news(ctx)
		switch {
		case x.ctx.Err() != nil:
			return x.outcome(context.Cause(x.ctx))
		case ctx.Err() != nil:
			return nil // the client comes again, to another process
		case e != nil:
			return e
		case ended:
			return nil
		}
		if e := s.wait(ctx); e != nil {
			return e
		}
	}
}

// news sends the transitions since the last one, or how far the job is, or when there was nothing for long a comment.
func (s *eventStream) news(ctx context.Context) (ended bool, failure *Error) {
	a := s.x.api
	if s.job.Transition > s.after {
		list, err := a.Jobs.Transitions(ctx, s.job.Customer, s.job.ID, s.after)
		if err != nil {
			return false, fromJobs(err)
		}
		for _, t := range list {
			s.after = t.Number
			s.add("job."+string(t.To), t.Number, transitionBody{JobID: t.Job, Number: t.Number, Event: t.Event, Status: t.To,
				Previous: t.From, At: timeText(t.At), Attempt: t.Attempt, ErrorCode: t.Code})
			s.progress, ended = nil, t.To.Ended()
		}
	}
	if !ended && s.job.Status == store.Running && s.after == s.job.Transition {
		s.addProgress()
	}
	if s.buffer.Len() == 0 && a.Now().Sub(s.sent) >= commentEvery {
		s.buffer.WriteString(": still here\n\n")
	}
	return ended, s.flush()
}

// addProgress adds how far the job is, when that is news. It has no id: a client that comes again gets the newest.
func (s *eventStream) addProgress() {
	b := progressBody{JobID: s.job.ID, Status: string(store.Running), RowsProcessed: s.job.Rows,
		EstimatedRows: s.job.EstimatedRows}
	percent, remaining, estimated := s.x.api.Jobs.Progress(s.job)
	if estimated {
		b.Progress = known(percent)
	}
	text := encoded(b) // without what changes by itself
	if bytes.Equal(text, s.progress) {
		return
	}
	if s.progress = text; estimated && remaining > 0 {
		b.EstimatedRemain = rounded(remaining)
	}
	s.add("job.progress", 0, b)
}

func (s *eventStream) add(event string, id int64, data any) {
	s.buffer.WriteString("event: " + event + "\n")
	if id > 0 {
		s.buffer.WriteString("id: " + strconv.FormatInt(id, 10) + "\n")
	}
	s.buffer.WriteString("data: ")
	s.buffer.Write(encoded(data))
	s.buffer.WriteString("\n\n")
}

// encoded is a value as a line of JSON.
func encoded(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("api: an event cannot be encoded: " + err.Error())
	}
	return text
}

// flush sends what was added. A client that takes nothing for long is cut.
func (s *eventStream) flush() *Error {
	if s.buffer.Len() == 0 {
		return nil
	}
	s.x.setWriteDeadline(writeTimeout)
	_, err := s.x.w.Write(s.buffer.Bytes())
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		return fail(ClientGone)
	}
	s.buffer.Reset()
	s.sent = s.x.api.Now()
	return nil
}

// wait waits for the next change, or until it is time to look again.
func (s *eventStream) wait(ctx context.Context) *Error {
	a := s.x.api
	looking, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	j, err := a.Jobs.Wait(looking, s.job.Customer, s.job.ID, s.after)
	switch {
	case ctx.Err() != nil: // run sees why
	case err != nil:
		return fromJobs(err)
	default:
		s.job = j
	}
	return nil
}

// stillMine refuses whoever has lost the key or the customer since the request came.
func (x *exchange) stillMine(id string) *Error {
	p, e := x.principalOf()
	if e != nil {
		return e
	}
	if _, err := x.api.Customers.Customer(x.ctx, p, id, customer.Jobs); err != nil {
		return fromError(err)
	}
	return nil
}
