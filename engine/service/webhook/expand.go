package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// expand queues the deliveries of all events in the outbox, and the progress of the jobs that have told of some.
func (d *Dispatcher) expand(ctx context.Context) error {
	for {
		within, cancel := context.WithTimeout(ctx, recordTime)
		n, err := d.expandSome(within)
		cancel()
		if err != nil {
			return err
		}
		if n < expandTogether {
			break
		}
	}
	return d.putProgress(ctx)
}

func (d *Dispatcher) expandSome(ctx context.Context) (n int, err error) {
	events, err := d.cfg.Record.Outbox(ctx, 0, expandTogether)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	expansions := make([]store.Expansion, 0, len(events))
	for _, e := range events {
		deliveries, err := d.deliveries(ctx, e)
		if err != nil {
			return 0, fmt.Errorf("the deliveries of %s of the customer %s: %w", e.Event, e.Customer, err)
		}
		expansions = append(expansions, store.Expansion{Event: e, Deliveries: deliveries})
	}
	made, err := d.cfg.Record.Expand(ctx, expansions)
	if made > 0 {
		wake(d.claims)
	}
	return len(events), err
}

// deliveries are those of an event: to the customer's endpoint, to that of the request, and to addresses of mail.
func (d *Dispatcher) deliveries(ctx context.Context, e store.OutboxEvent) (all []store.Delivery, err error) {
	data, request := e.Data, ""
	if e.Job != "" {
		j, err := d.cfg.Jobs.Get(ctx, e.Customer, e.Job)
		if fault.Is(err, store.CodeUnknown) {
			return nil, nil // it was removed since: nothing can be said of it
		}
		if err != nil {
			return nil, err
		}
		request = j.WebhookURL
		if data, err = encode(d.jobData(j)); err != nil {
			return nil, err
		}
	}
	add := func(channel store.Channel, target string, own bool) {
		all = append(all, store.Delivery{ID: d.newID(), Customer: e.Customer, Channel: channel, Target: target, Own: own,
			Event: e.Event, Job: e.Job, Data: data})
	}
	w, err := d.cfg.Record.Webhook(ctx, e.Customer)
	switch {
	case fault.Is(err, store.CodeUnknown):
	case err != nil:
		return nil, err
	case e.Event == store.EventTest, e.Event != store.EventDisabled && slices.Contains(w.Events, e.Event):
		// That of an endpoint that is disabled is queued, too: it is dead, and can be sent again when it is enabled.
		add(store.ByWebhook, w.URL, true)
		if w.Enabled && request == w.URL {
			request = "" // it is told already
		}
	}
	if request != "" {
		add(store.ByWebhook, request, false)
	}
	if d.cfg.Mail == nil || e.Event == store.EventTest {
		return all, nil
	}
	addresses, told, err := d.cfg.Customers.Mail(ctx, e.Customer)
	if err != nil {
		return nil, err
	}
	if slices.Contains(told, e.Event) {
		for _, address := range addresses {
			add(store.ByMail, address, false)
		}
	}
	return all, nil
}

// newID names a delivery.
func (d *Dispatcher) newID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	return fmt.Sprintf("del_%d%s", d.cfg.Now().UnixMilli(), hex.EncodeToString(random[:]))
}

// Progressed says that a job has come further. It never waits: who wants to be told is looked at later, and of many changes
// the newest is told.
func (d *Dispatcher) Progressed(customer, job string) {
	d.progressMu.Lock()
	d.progressed[jobKey{customer, job}] = struct{}{}
	d.progressMu.Unlock()
	wake(d.events)
}

// putProgress queues the progress of jobs whose customers want to be told.
func (d *Dispatcher) putProgress(ctx context.Context) error {
	d.progressMu.Lock()
	jobs := d.progressed
	d.progressed = map[jobKey]struct{}{}
	d.progressMu.Unlock()
	for j := range jobs {
		within, cancel := context.WithTimeout(ctx, recordTime)
		err := d.putOne(within, j)
		cancel()
		if err != nil {
			return err // the next progress of the job is told
		}
	}
	return nil
}

func (d *Dispatcher) putOne(ctx context.Context, of jobKey) error {
	w, err := d.cfg.Record.Webhook(ctx, of.customer)
	if fault.Is(err, store.CodeUnknown) {
		return nil
	}
	if err != nil || !w.Enabled || !slices.Contains(w.Events, store.EventProgress) {
		return err
	}
	j, err := d.cfg.Jobs.Get(ctx, of.customer, of.job)
	if fault.Is(err, store.CodeUnknown) {
		return nil
	}
	if err != nil || j.Status.Ended() {
		return err
	}
	data, err := encode(d.jobData(j))
	if err != nil {
		return err
	}
	err = d.cfg.Record.PutProgress(ctx, store.Delivery{ID: d.newID(), Customer: of.customer, Channel: store.ByWebhook, Target: w.URL, Own: true,
		Event: store.EventProgress, Job: of.job, Data: data})
	wake(d.claims)
	return err
}

// jobData is the data of an event of a job. S3URL and ExpiresAt are made anew at each attempt, and kept nowhere.
type jobData struct {
	JobID         string   `json:"job_id"`
	CustomerID    string   `json:"customer_id"`
	ProcedureName string   `json:"procedure_name"`
	Status        string   `json:"status"`
	Progress      *int     `json:"progress_percent,omitempty"`
	RowsProcessed int64    `json:"rows_processed"`
	ExecutionTime *float64 `json:"execution_time_seconds,omitempty"`
	FileSize      *int64   `json:"file_size_bytes,omitempty"`
	S3URL         string   `json:"s3_url,omitempty"`
	ExpiresAt     string   `json:"expires_at,omitempty"`
	OutputFormat  string   `json:"output_format"`
	Compression   string   `json:"compression"`
	Metadata      struct {
		FromDate     string `json:"from_date,omitempty"`
		ToDate       string `json:"to_date,omitempty"`
		DateModifier string `json:"date_modifier,omitempty"`
	} `json:"metadata"`
	ErrorCode    string `json:"error_code,omitempty"`
	ErrorMessage string `json:"error_message,omitempty"`
	Suggestion   string `json:"suggestion,omitempty"`
}

// encode writes data as they are sent: links stay readable.
func encode(data jobData) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(data)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// timeForm is that of times in data.
const timeForm = "2006-01-02T15:04:05.000Z"

func (d *Dispatcher) jobData(j store.Job) jobData {
	data := jobData{JobID: j.ID, CustomerID: j.Customer, ProcedureName: j.Procedure, Status: string(j.Status), RowsProcessed: j.Rows,
		OutputFormat: j.Format, Compression: j.Compression, ErrorCode: j.ErrorCode, ErrorMessage: j.ErrorMessage, Suggestion: j.Suggestion}
	data.Metadata.FromDate, data.Metadata.ToDate, data.Metadata.DateModifier = j.FromDate, j.ToDate, j.Modifier
	if percent, _, known := d.cfg.Jobs.Progress(j); known {
		data.Progress = &percent
	}
	end := j.CompletedAt
	if end.IsZero() {
		end = d.cfg.Now()
	}
	if !j.StartedAt.IsZero() {
		seconds := float64(max(0, end.Sub(j.StartedAt)).Round(time.Millisecond).Milliseconds()) / 1000
		data.ExecutionTime = &seconds
	}
	if j.Status == store.Completed {
		data.FileSize = &j.Size
	}
	return data
}
