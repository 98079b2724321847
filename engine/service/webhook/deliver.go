package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// claim takes what is to be sent, as long as there is something and there are slots, and sends each on its own.
func (d *Dispatcher) claim(ctx context.Context) error {
	for {
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		claimed, ok, err := d.claimOne(ctx)
		if !ok {
			<-d.slots
			return err
		}
		d.inFlight.Go(func() {
			defer func() { <-d.slots }()
			d.deliver(d.sending, claimed)
			wake(d.claims) // of its endpoint the next may go
		})
	}
}

func (d *Dispatcher) claimOne(ctx context.Context) (store.ClaimedDeliveries, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	claimed, ok, err := d.cfg.Record.ClaimDeliveries(ctx, d.cfg.Holder)
	return claimed, ok && err == nil && len(claimed.Deliveries) > 0, err
}

// deliver makes one attempt, and has the record know what has become of it. What we could not make is not an attempt, and
// neither is what was broken off: the lease ends, and it is tried again.
func (d *Dispatcher) deliver(ctx context.Context, c store.ClaimedDeliveries) {
	first := c.Deliveries[0]
	event := first.Event
	if first.Batch != "" {
		event = webhook.Batch
	}
	log := d.cfg.Log.With("delivery", cmp.Or(first.Batch, first.ID), "customer", first.Customer, "event", event, "channel", string(first.Channel))
	o, err := d.attempt(ctx, c)
	switch {
	case err != nil:
		log.WarnContext(ctx, "a delivery could not be made, and is tried again", "err", err)
		return
	case ctx.Err() != nil && o.Verdict == store.Again:
		log.InfoContext(ctx, "a delivery was broken off, and is sent again")
		return
	}
	d.cfg.Observer.Attempt(string(first.Channel), event, string(o.Verdict), o.Duration)
	if o.Verdict != store.Accepted {
		log.InfoContext(ctx, "a delivery was not accepted", "attempt", first.Attempts, "code", o.Code, "status", o.HTTPStatus)
	}
	retry := c.Webhook.Retry
	if first.Channel == store.ByMail {
		retry = store.Retry{Durable: true} // the server is ours, and may be away for long
	}
	after, err := d.end(context.WithoutCancel(ctx), c.Lease, o, retry)
	if err != nil {
		log.WarnContext(ctx, "what has become of a delivery could not be written down, and it may be sent once more", "err", err)
		return
	}
	for _, one := range after {
		if one.State == store.DeliveryDelivered || one.State == store.DeliveryDead {
			d.cfg.Observer.DeliveryEnded(string(one.Channel), one.Event, string(one.State))
		}
	}
}

// end tells the record, which may be away for a moment.
func (d *Dispatcher) end(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) (after []store.Delivery, err error) {
	for try := range endTries {
		if try > 0 {
			time.Sleep(endPause)
		}
		within, cancel := context.WithTimeout(ctx, recordTime)
		after, err = d.cfg.Record.EndAttempt(within, l, o, retry)
		cancel()
		if err == nil || fault.Is(err, store.CodeLeaseLost) {
			break
		}
	}
	return after, err
}

// attempt makes the body and sends it.
func (d *Dispatcher) attempt(ctx context.Context, c store.ClaimedDeliveries) (store.Outcome, error) {
	first := c.Deliveries[0]
	if first.Channel == store.ByMail {
		if d.cfg.Mail == nil {
			return store.Outcome{Verdict: store.Final, Code: CodeNoMail, Message: "the service sends no mail"}, nil
		}
		return d.cfg.Mail.Send(ctx, first), nil
	}
	p, err := d.post(ctx, c)
	if err != nil {
		return store.Outcome{}, err
	}
	return d.cfg.Poster.Send(ctx, p), nil
}

// post is the request of an attempt.
func (d *Dispatcher) post(ctx context.Context, c store.ClaimedDeliveries) (p Post, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	first := c.Deliveries[0]
	current, pending, err := d.cfg.Secrets.Secrets(ctx, first.Customer)
	if err != nil {
		return p, err
	}
	secrets := []string{current.Reveal()}
	if text := pending.Reveal(); text != "" {
		secrets = append(secrets, text)
	}
	event, at := webhook.Event{Event: webhook.Batch, DeliveryID: first.Batch}, d.cfg.Now()
	for _, one := range c.Deliveries {
		member := webhook.Event{Event: one.Event, Timestamp: at, DeliveryID: one.ID, Attempt: one.Attempts}
		if member.Data, err = d.data(ctx, one); err != nil {
			return p, err
		}
		event.Timestamp, event.Attempt = at, max(event.Attempt, one.Attempts)
		event.Events = append(event.Events, member)
	}
	if first.Batch == "" {
		event = event.Events[0]
	}
	p = Post{URL: first.Target}
	if first.Own {
		p.Timeout, p.TLS12 = c.Webhook.Timeout, c.Webhook.TLS12
		if p.Custom, err = d.cfg.Secrets.OpenHeaders(first.Customer, c.Webhook.Headers); err != nil {
			return p, err
		}
	}
	p.Body, p.Signed, err = webhook.Sign(event, secrets...)
	return p, err
}

// linker is for whom links are signed that go with deliveries.
var linker = store.Actor{Who: "service", From: "webhook"}

// data is what a delivery says: as it was when it was queued, but for the progress of a job, and with a fresh link where the
// job has a result.
func (d *Dispatcher) data(ctx context.Context, one store.Delivery) (json.RawMessage, error) {
	if one.Event != store.EventProgress && one.Event != "job."+string(store.JobCompleted) {
		return one.Data, nil
	}
	j, err := d.cfg.Jobs.Get(ctx, one.Customer, one.Job)
	switch {
	case fault.Is(err, store.CodeUnknown):
		return one.Data, nil // it was removed since
	case err != nil:
		return nil, err
	case one.Event == store.EventProgress:
		if j.Status.Ended() {
			return one.Data, nil // its end is told next
		}
		return encode(d.jobData(j))
	}
	var data jobData
	if err := json.Unmarshal(one.Data, &data); err != nil {
		return nil, err
	}
	link, err := d.cfg.Jobs.Link(ctx, j, linker)
	switch {
	case fault.Is(err, job.CodeNoObject):
		return one.Data, nil // its result has expired, and the event is still true
	case err != nil:
		return nil, err
	case link.URL != "":
		data.S3URL, data.ExpiresAt = link.URL, link.Expires.UTC().Format(timeForm)
	}
	return encode(data)
}
