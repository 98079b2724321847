package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

const (
	secret  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	pending = "whsec_Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
	clinic  = "clinic-7"
	hookURL = "https://hooks.example.com/in?token=9f1"
	linkURL = "https://objects.example.com/x?signature=abc&expires=1"
)

// house is all that a dispatcher works with; its record outlives the processes.
type house struct {
	t      *testing.T
	record *memory.Store
	log    bytes.Buffer

	mu       sync.Mutex
	rotating bool
	gone     bool  // results have expired
	away     error // of links
	links    int
	emails   []string
	received []request
	// answer is what becomes of a request; nil accepts.
	answer  func(ctx context.Context, p Post) store.Outcome
	mailed  []store.Delivery
	counted map[string]int
}

// request is what a receiver has seen.
type request struct {
	url, customer string
	event         webhook.Event
	at            time.Time
	custom        map[string]string
}

func newHouse(t *testing.T) *house {
	return &house{t: t, record: memory.NewAt(time.Now), counted: map[string]int{}}
}

func (h *house) Secrets(context.Context, string) (current, next config.Secret, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rotating {
		next = config.NewSecret(pending)
	}
	return config.NewSecret(secret), next, nil
}

func (h *house) OpenHeaders(_ string, sealed []byte) (headers map[string]string, err error) {
	if len(sealed) > 0 {
		err = json.Unmarshal(sealed, &headers)
	}
	return headers, err
}

func (h *house) Get(ctx context.Context, customer, id string) (store.Job, error) {
	return h.record.Job(ctx, customer, id)
}

func (h *house) Link(_ context.Context, j store.Job, by store.Actor) (object.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case j.Status != store.Completed || by.Who != "service":
		h.t.Errorf("a link to a job that is %s, for %v", j.Status, by)
	case h.gone:
		return object.Link{}, fault.New(job.CodeNoObject, fault.Usage, "it has expired")
	case h.away != nil:
		return object.Link{}, h.away
	}
	h.links++
	return object.Link{URL: linkURL + fmt.Sprint(h.links), Expires: time.Now().Add(12 * time.Hour)}, nil
}

func (h *house) Progress(j store.Job) (int, time.Duration, bool) {
	return int(j.Rows), 0, j.Status == store.Running
}

func (h *house) Mail(context.Context, string) (addresses, events []string, err error) {
	return h.emails, []string{"job.failed", store.EventDisabled, store.EventMaintenance}, nil
}

// Send is the network: it verifies what it gets as a customer would.
func (h *house) Send(ctx context.Context, p Post) store.Outcome {
	v := webhook.Verifier{Secrets: []string{secret}}
	e, err := v.Verify(p.Signed, p.Body)
	if err == nil {
		_, err = v.VerifyBody(p.Body)
	}
	if err == nil && h.rotating {
		v.Secrets = []string{pending}
		_, err = v.Verify(p.Signed, p.Body)
	}
	if err != nil {
		h.t.Errorf("%v: %s", err, p.Body)
	}
	h.mu.Lock()
	h.received = append(h.received, request{p.URL, "", e, time.Now(), p.Custom})
	answer := h.answer
	h.mu.Unlock()
	if answer == nil {
		return Answered(http.StatusOK, "", time.Now())
	}
	return answer(ctx, p)
}

func (h *house) Attempt(channel, event, verdict string, _ time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counted[channel+" "+event+" "+verdict]++
}

func (h *house) DeliveryEnded(channel, event, state string) { h.Attempt(channel, event, state, 0) }

type postman struct{ *house }

func (p postman) Send(_ context.Context, d store.Delivery) store.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mailed = append(p.mailed, d)
	return store.Outcome{Verdict: store.Accepted}
}

// process is one dispatcher, started, on the record of the house or what stands in front of it.
func (h *house) process(holder string, record Record) *Dispatcher {
	h.t.Helper()
	d, err := New(Config{Record: record, Secrets: h, Jobs: h, Customers: h, Poster: h, Mail: postman{h}, Holder: holder,
		Log: slog.New(slog.NewTextHandler(&locked{h: h}, nil)), Observer: h})
	if err != nil {
		h.t.Fatal(err)
	}
	d.Start()
	d.Start()
	return d
}

// locked is the log of all processes.
type locked struct{ h *house }

func (l *locked) Write(b []byte) (int, error) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	return l.h.log.Write(b)
}

func stop(d *Dispatcher) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d.Stop(ctx)
	d.Stop(ctx)
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) hook(customer string, change func(*store.Webhook)) {
	h.t.Helper()
	w := store.Webhook{Customer: customer, URL: hookURL, Enabled: true,
		Events: []string{"job.completed", "job.failed", "job.cancelled", store.EventMaintenance, store.EventRateLimit}}
	if change != nil {
		change(&w)
	}
	h.must(h.record.PutWebhook(context.Background(), w, store.Audit{}))
}

// run makes a job, which is running.
func (h *house) run(id, url string) store.Lease {
	h.t.Helper()
	_, lease, _, err := h.record.CreateJob(context.Background(), store.NewJob{Holder: "worker", Job: store.Job{ID: id, Customer: clinic, Procedure: "patients",
		Format: "ndjson", Compression: "gzip", FromDate: "2026-01-01", ToDate: "2026-01-31", Modifier: "All", WebhookURL: url}})
	h.must(err)
	return lease
}

func (h *house) end(l store.Lease, event store.JobEvent) {
	h.t.Helper()
	e := store.Ending{Event: event, Progress: store.Progress{Rows: 42}}
	switch event {
	case store.JobCompleted:
		e.Result = store.Result{ObjectKey: "k", Size: 1234, TotalRows: 42}
	case store.JobFailed:
		e.ErrorCode, e.ErrorMessage = "SOURCE_UNAVAILABLE", "the database is away"
	}
	_, err := h.record.EndJob(context.Background(), l, e)
	h.must(err)
}

// deliveries are all of a customer, the oldest first.
func (h *house) deliveries(customer string) []store.Delivery {
	h.t.Helper()
	list, _, err := h.record.Deliveries(context.Background(), store.DeliveryFilter{Customer: customer, Limit: 1 << 20})
	h.must(err)
	slices.Reverse(list)
	return list
}

func (h *house) states(customer string) string {
	var all []string
	for _, d := range h.deliveries(customer) {
		all = append(all, d.Event+":"+string(d.State)+":"+d.Code)
	}
	return strings.Join(all, " ")
}

func (h *house) announce(customer, event, data string, n int) {
	h.t.Helper()
	events := slices.Repeat([]store.OutboxEvent{{Customer: customer, Event: event, Data: []byte(data)}}, n)
	h.must(h.record.PutOutbox(context.Background(), events))
}

// TestDelivered: what a receiver gets of a job, and what is kept and logged of it.
func TestDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.rotating = true
		h.emails = []string{"a@example.com", "b@example.com"}
		h.hook(clinic, func(w *store.Webhook) { w.Headers = []byte(`{"Authorization":"Bearer 4711"}`) })
		d := h.process("a", h.record)
		h.end(h.run("patients_1_a", "https://elsewhere.example.com/"), store.JobCompleted)
		d.Wake()
		synctest.Wait()
		h.end(h.run("patients_2_b", hookURL), store.JobFailed)
		time.Sleep(time.Second) // it is found without a word, too
		stop(d)
		if len(h.received) != 3 || len(h.mailed) != 2 {
			t.Fatalf("%d requests and %d mails\n%s", len(h.received), len(h.mailed), h.log.String())
		}
		for i, url := range []string{"https://elsewhere.example.com/", hookURL} {
			at := slices.IndexFunc(h.received[:2], func(r request) bool { return r.url == url })
			if at < 0 {
				t.Fatalf("nothing was sent to %s", url)
			}
			r := h.received[at]
			var data map[string]any
			h.must(json.Unmarshal(r.event.Data, &data))
			link, _ := data["s3_url"].(string)
			if r.event.Event != "job.completed" || r.event.Attempt != 1 || data["job_id"] != "patients_1_a" || data["customer_id"] != clinic || data["status"] != "completed" ||
				data["rows_processed"] != 42.0 || data["file_size_bytes"] != 1234.0 || !strings.HasPrefix(link, linkURL) || data["expires_at"] == nil ||
				data["output_format"] != "ndjson" || data["compression"] != "gzip" || data["metadata"].(map[string]any)["date_modifier"] != "All" {
				t.Errorf("%s: %s", url, r.event.Data)
			}
			if !strings.Contains(string(r.event.Data), "&expires=") {
				t.Errorf("the link is written with escapes: %s", r.event.Data)
			}
			if (r.custom["Authorization"] == "Bearer 4711") != (i == 1) {
				t.Errorf("%s: headers %v", url, r.custom)
			}
		}
		// The one of the request is the customer's own: it is told once.
		if r := h.received[2]; r.event.Event != "job.failed" || r.url != hookURL || !strings.Contains(string(r.event.Data), `"error_code":"SOURCE_UNAVAILABLE"`) {
			t.Errorf("%+v", r)
		}
		if got := h.states(clinic); strings.Count(got, ":delivered:") != 5 || len(h.deliveries(clinic)) != 5 {
			t.Errorf("%s", got)
		}
		for _, one := range h.deliveries(clinic) {
			if strings.Contains(string(one.Data), "objects.example.com") {
				t.Errorf("the link is kept: %s", one.Data)
			}
		}
		for _, what := range []string{"objects.example.com", "9f1", "4711", "whsec_", "example.com/in"} {
			if strings.Contains(h.log.String(), what) {
				t.Errorf("the log has %s", what)
			}
		}
		if h.counted["webhook job.completed accepted"] != 2 || h.counted["mail job.failed delivered"] != 2 {
			t.Errorf("%v", h.counted)
		}
	})
}

// TestEvents: who is told of what.
func TestEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.emails = []string{"a@example.com"}
		h.hook(clinic, func(w *store.Webhook) { w.Events = []string{store.EventRateLimit} })
		d := h.process("a", h.record)
		for _, event := range []string{store.EventTest, store.EventRateLimit, store.EventMaintenance, store.EventDisabled} {
			h.announce(clinic, event, `{"x":1}`, 1)
			h.announce("nobody", event, `{"x":2}`, 1)
		}
		d.Wake()
		synctest.Wait()
		stop(d)
		var told, mailed []string
		for _, r := range h.received {
			told = append(told, r.event.Event+string(r.event.Data))
		}
		for _, m := range h.mailed {
			mailed = append(mailed, m.Customer+" "+m.Event)
		}
		slices.Sort(told)
		slices.Sort(mailed)
		if got := strings.Join(told, " "); got != `api.rate_limit{"x":1} webhook.test{"x":1}` {
			t.Error(got)
		}
		if got := strings.Join(mailed, ", "); got != "clinic-7 system.maintenance, clinic-7 webhook.disabled, nobody system.maintenance, nobody webhook.disabled" {
			t.Error(got)
		}
	})
}

// TestReceiverIsDown: for an hour nobody answers. With the default policy there are dead letters within seconds, and when
// they are sent again all come, in order; with the durable one nothing is lost.
func TestReceiverIsDown(t *testing.T) {
	t.Parallel()
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint("durable ", durable), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				up := time.Now().Add(time.Hour)
				h.answer = func(context.Context, Post) store.Outcome {
					if time.Now().Before(up) {
						return store.Outcome{Verdict: store.Again, Code: CodeConnection}
					}
					time.Sleep(10 * time.Millisecond)
					return store.Outcome{Verdict: store.Accepted}
				}
				h.hook(clinic, func(w *store.Webhook) { w.Retry.Durable = durable })
				d := h.process("a", h.record)
				h.announce(clinic, store.EventRateLimit, `{}`, 50)
				d.Wake()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if dead := strings.Count(h.states(clinic), ":dead:"); !durable && dead != 50 || durable && dead != 0 {
					t.Errorf("%d are dead after ten seconds", dead)
				}
				time.Sleep(time.Until(up) + time.Minute)
				synctest.Wait()
				if !durable {
					first := len(h.received)
					n, err := h.record.Resend(context.Background(), store.DeliveryFilter{Customer: clinic, State: store.DeliveryDead}, store.Actor{})
					if err != nil || n != 50 {
						t.Fatal(n, err)
					}
					d.Wake()
					time.Sleep(time.Minute)
					// In order, but for those that are on their way at the same time: no two are of one job.
					for i, one := range h.deliveries(clinic) {
						at := slices.IndexFunc(h.received[first:], func(r request) bool { return r.event.DeliveryID == one.ID })
						if at-i >= store.MostPerTarget || i-at >= store.MostPerTarget {
							t.Errorf("delivery %d came as number %d", i, at)
						}
					}
				} else {
					time.Sleep(3 * time.Hour)
				}
				stop(d)
				if got := strings.Count(h.states(clinic), ":delivered:"); got != 50 {
					t.Errorf("%d are delivered: %s", got, h.states(clinic))
				}
			})
		})
	}
}

// TestSlowEndpoint: 10,000 deliveries wait for an endpoint that hangs, of another customer and of the same one, and others
// are delivered as if there were none.
func TestSlowEndpoint(t *testing.T) {
	t.Parallel()
	const slow = "https://slow.example.com/"
	latency := func(t *testing.T, hanging int) (worst time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.answer = func(ctx context.Context, p Post) store.Outcome {
				if p.URL != slow {
					return store.Outcome{Verdict: store.Accepted}
				}
				select {
				case <-time.After(30 * time.Second):
				case <-ctx.Done():
				}
				return store.Outcome{Verdict: store.Again, Code: CodeTimeout}
			}
			h.hook("slow", func(w *store.Webhook) { w.URL, w.Retry.Durable = slow, true })
			for i := range 10 {
				h.hook(fmt.Sprint("other-", i), nil)
			}
			d := h.process("a", h.record)
			h.announce("slow", store.EventRateLimit, `{}`, hanging)
			d.Wake()
			synctest.Wait()
			for i := range 100 {
				time.Sleep(317 * time.Millisecond)
				h.announce(fmt.Sprint("other-", i%10), store.EventRateLimit, `{}`, 1)
				d.Wake()
			}
			synctest.Wait()
			h.mu.Lock()
			arrived := map[string]time.Time{}
			for _, r := range h.received {
				arrived[r.event.DeliveryID] = r.at
			}
			h.mu.Unlock()
			for i := range 10 {
				for _, one := range h.deliveries(fmt.Sprint("other-", i)) {
					if one.State != store.DeliveryDelivered {
						t.Errorf("%+v", one)
					}
					worst = max(worst, arrived[one.ID].Sub(one.CreatedAt))
				}
			}
			if n := strings.Count(h.states("slow"), ":sending:"); hanging > 0 && (n == 0 || n > store.MostPerTarget) {
				t.Errorf("%d are on their way to what hangs", n)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			d.Stop(ctx) // the slow ones are broken off
		})
		return worst
	}
	alone, beside := latency(t, 0), latency(t, 10_000)
	t.Logf("the slowest of 100 deliveries took %s alone, %s beside 10,000", alone, beside)
	if beside-alone >= 100*time.Millisecond {
		t.Errorf("%s alone, %s beside an endpoint that hangs", alone, beside)
	}
}

// TestTwoProcesses: each delivery is sent by one of them.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.answer = func(context.Context, Post) store.Outcome {
			time.Sleep(10 * time.Millisecond)
			return store.Outcome{Verdict: store.Accepted}
		}
		var all []*Dispatcher
		for i := range 3 {
			all = append(all, h.process(fmt.Sprint("process-", i), h.record))
		}
		for i := range 20 {
			customer := fmt.Sprint("clinic-", i)
			h.hook(customer, nil)
			h.announce(customer, store.EventRateLimit, `{}`, 10)
		}
		for _, d := range all {
			d.Wake()
		}
		time.Sleep(time.Minute)
		for _, d := range all {
			stop(d)
		}
		seen := map[string]int{}
		for _, r := range h.received {
			seen[r.event.DeliveryID]++
		}
		if len(seen) != 200 || len(h.received) != 200 {
			t.Errorf("%d deliveries in %d requests", len(seen), len(h.received))
		}
	})
}

var errKilled = errors.New("the process is killed")

// mortal is the record as a process sees it that is killed at one of its calls: before it, or behind it. From then on it
// reaches the record no more, and nothing that it does is seen.
type mortal struct {
	*memory.Store
	mu     sync.Mutex
	call   string
	behind bool
	// nothing says of a call that took no delivery that it did not.
	nothing func() bool
	dead    bool
}

func (m *mortal) at(call string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	if m.call != call {
		return do()
	}
	if m.behind {
		if err := do(); err == nil && call == "claim" && m.nothing() {
			return nil // there was nothing to take yet: it is killed behind the call that takes something
		}
	}
	m.dead = true
	return errKilled
}

func (m *mortal) Outbox(ctx context.Context, after int64, most int) (events []store.OutboxEvent, err error) {
	err = m.at("outbox", func() error { events, err = m.Store.Outbox(ctx, after, most); return err })
	return events, err
}

func (m *mortal) Expand(ctx context.Context, all []store.Expansion) (made int, err error) {
	err = m.at("expand", func() error { made, err = m.Store.Expand(ctx, all); return err })
	return made, err
}

func (m *mortal) ClaimDeliveries(ctx context.Context, holder string) (c store.ClaimedDeliveries, ok bool, err error) {
	err = m.at("claim", func() error {
		c, ok, err = m.Store.ClaimDeliveries(ctx, holder)
		m.nothing = func() bool { return !ok }
		return err
	})
	return c, ok, err
}

func (m *mortal) EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, r store.Retry) (after []store.Delivery, err error) {
	err = m.at("end", func() error { after, err = m.Store.EndAttempt(ctx, l, o, r); return err })
	return after, err
}

func (m *mortal) RecoverDeliveries(ctx context.Context) (n int, err error) {
	err = m.at("recover", func() error { n, err = m.Store.RecoverDeliveries(ctx); return err })
	return n, err
}

// TestKilled: a process is killed in each gap between its calls of the record; another one delivers all the same, within the
// time of a lease, and the log of the deliveries is what the receiver has seen.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"outbox", "expand", "claim", "end"} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprint(call, " behind ", behind), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h := newHouse(t)
					h.hook(clinic, nil)
					h.end(h.run("patients_1_a", ""), store.JobCompleted)
					victim := h.process("victim", &mortal{Store: h.record, call: call, behind: behind})
					victim.Wake()
					time.Sleep(3 * time.Second)
					other := h.process("other", h.record)
					time.Sleep(store.DefaultTimeout + store.LeaseMargin + recoverEvery + time.Second)
					stop(other)
					stop(victim)
					all := h.deliveries(clinic)
					if len(all) != 1 || all[0].State != store.DeliveryDelivered {
						t.Fatalf("%+v", all)
					}
					attempts, err := h.record.Attempts(context.Background(), clinic, all[0].ID)
					h.must(err)
					// Killed before the receiver was reached, an attempt is in the log that nobody saw.
					want := map[string]int{"claim true": 2, "end false": 2}[fmt.Sprint(call, " ", behind)]
					if want == 0 {
						want = 1
					}
					seen := want
					if call == "claim" {
						seen = 1
					}
					if len(attempts) != want || len(h.received) != seen {
						t.Errorf("%d attempts, and the receiver has seen %d: %+v", len(attempts), len(h.received), attempts)
					}
					for _, r := range h.received {
						if r.event.DeliveryID != all[0].ID {
							t.Errorf("%+v", r)
						}
					}
				})
			})
		}
	}
}

// TestProgress: it is told to who wants it, its newest only, and never behind the end of the job.
func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		busy := make(chan struct{})
		h.answer = func(context.Context, Post) store.Outcome {
			<-busy
			return store.Outcome{Verdict: store.Accepted}
		}
		h.hook(clinic, func(w *store.Webhook) { w.Events = append(w.Events, store.EventProgress) })
		d := h.process("a", h.record)
		lease := h.run("patients_1_a", "")
		for rows := range 50 {
			_, err := h.record.RenewJob(context.Background(), lease, store.Progress{Rows: int64(rows)})
			h.must(err)
			d.Progressed(clinic, "patients_1_a")
			synctest.Wait()
		}
		// One is on its way, and one waits.
		if got := h.states(clinic); got != "job.progress:sending: job.progress:waiting:" {
			t.Errorf("%s", got)
		}
		busy <- struct{}{}
		synctest.Wait()
		if n := len(h.received); n != 2 || !strings.Contains(string(h.received[1].event.Data), `"progress_percent":49,"rows_processed":49`) {
			t.Errorf("%d requests: %s", n, h.received[n-1].event.Data)
		}
		d.Progressed(clinic, "patients_1_a")
		synctest.Wait()
		h.end(lease, store.JobCompleted)
		d.Wake()
		synctest.Wait()
		close(busy)
		d.Progressed(clinic, "patients_1_a")
		time.Sleep(time.Minute)
		stop(d)
		var events []string
		for _, r := range h.received {
			events = append(events, r.event.Event)
		}
		if got := strings.Join(events, " "); got != "job.progress job.progress job.completed" {
			t.Errorf("%s", got)
		}
	})
}

// TestBatch: what waits goes in one request, which is signed as one.
func TestBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		failing := true
		h.answer = func(context.Context, Post) store.Outcome {
			if failing {
				failing = false
				return store.Outcome{Verdict: store.Again, Code: CodeStatus, HTTPStatus: 503}
			}
			return store.Outcome{Verdict: store.Accepted}
		}
		h.hook(clinic, func(w *store.Webhook) { w.Batch = true })
		h.announce(clinic, store.EventRateLimit, `{}`, 150)
		d := h.process("a", h.record)
		time.Sleep(time.Minute)
		stop(d)
		if len(h.received) != 3 {
			t.Fatalf("%d requests", len(h.received))
		}
		first, rest, again := h.received[0].event, h.received[1].event, h.received[2].event
		if first.Event != webhook.Batch || len(first.Events) != 100 || len(again.Events) != 100 || len(rest.Events) != 50 || first.DeliveryID != again.DeliveryID ||
			again.Attempt != 2 || first.Events[7].DeliveryID != again.Events[7].DeliveryID || rest.DeliveryID == first.DeliveryID || first.Events[0].Event != store.EventRateLimit {
			t.Errorf("%s attempt %d with %d, %s attempt %d with %d, %s attempt %d with %d", first.DeliveryID, first.Attempt, len(first.Events),
				again.DeliveryID, again.Attempt, len(again.Events), rest.DeliveryID, rest.Attempt, len(rest.Events))
		}
		if got := h.states(clinic); strings.Count(got, ":delivered:") != 150 {
			t.Error(got)
		}
	})
}

// TestResults: an event whose result has expired is told without a link; one whose bucket is away waits, and nobody takes
// that for a failure of the receiver.
func TestResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.hook(clinic, nil)
		h.gone = true
		d := h.process("a", h.record)
		h.end(h.run("patients_1_a", ""), store.JobCompleted)
		d.Wake()
		synctest.Wait()
		if len(h.received) != 1 || strings.Contains(string(h.received[0].event.Data), "s3_url") {
			t.Fatalf("%+v", h.received)
		}
		h.mu.Lock()
		h.gone, h.away = false, errors.New("the bucket is away")
		h.mu.Unlock()
		h.end(h.run("patients_2_b", ""), store.JobCompleted)
		d.Wake()
		time.Sleep(10 * time.Minute)
		if len(h.received) != 1 || !strings.HasPrefix(strings.Split(h.states(clinic), " ")[1], "job.completed:") || strings.Contains(h.states(clinic), "dead") {
			t.Errorf("%s", h.states(clinic))
		}
		if all, err := h.record.Endpoints(context.Background(), clinic); err != nil || len(all) > 0 && all[0].Failures != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		h.mu.Lock()
		h.away = nil
		h.mu.Unlock()
		time.Sleep(2 * time.Minute)
		stop(d)
		if len(h.received) != 2 || !strings.Contains(string(h.received[1].event.Data), linkURL) {
			t.Errorf("%+v", h.received)
		}
	})
}

// TestStop: what is in flight may end, as long as there is time; what is broken off is sent by the next process.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.answer = func(ctx context.Context, _ Post) store.Outcome {
			select {
			case <-time.After(20 * time.Second):
				return store.Outcome{Verdict: store.Accepted}
			case <-ctx.Done():
				return store.Outcome{Verdict: store.Again, Code: CodeStopped}
			}
		}
		h.hook(clinic, nil)
		for _, c := range []struct {
			patience time.Duration
			want     store.DeliveryState
		}{{time.Minute, store.DeliveryDelivered}, {time.Second, store.DeliverySending}} {
			h.announce(clinic, store.EventRateLimit, `{}`, 1)
			d := h.process("a", h.record)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), c.patience)
			began := time.Now()
			d.Stop(ctx)
			cancel()
			all := h.deliveries(clinic)
			if took := time.Since(began); all[len(all)-1].State != c.want || took > 20*time.Second {
				t.Errorf("%s: %s after %s", c.patience, all[len(all)-1].State, took)
			}
		}
		d := h.process("b", h.record)
		time.Sleep(2 * time.Minute)
		stop(d)
		if got := h.states(clinic); strings.Count(got, ":delivered:") != 2 {
			t.Error(got)
		}
		never, err := New(Config{Record: h.record, Secrets: h, Jobs: h, Customers: h, Holder: "c"})
		h.must(err)
		stop(never)
		never.Start()
		if _, err := New(Config{}); err == nil {
			t.Error("a dispatcher of nothing")
		}
	})
}
