package service

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/mail"
	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/engine/service/webhook"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// deliveryRecord is what the record remembers of webhooks, and of what customers are told.
type deliveryRecord interface {
	api.WebhookSettings
	api.Deliveries
	api.Notices
	webhook.Record
	signing.Record
	PruneDeliveries(ctx context.Context, before time.Time) (int64, error)
}

// hooks are the part of a process that tells customers what has happened.
type hooks struct {
	cfg        *Config
	keeper     *signing.Keeper
	dispatcher *webhook.Dispatcher // nil until use
}

// elsewhere are the jobs of a process that has no place for results: they are in the record, where others may have made
// them, and who has their results makes the links.
type elsewhere struct{ record Record }

func (e elsewhere) Get(ctx context.Context, customer, id string) (store.Job, error) {
	return e.record.Job(ctx, customer, id)
}

func (elsewhere) Link(_ context.Context, j store.Job, _ store.Actor) (object.Link, error) {
	return object.Link{}, fault.New(CodeElsewhere, fault.Connect, "the result of the job %q is not in reach of this process", j.ID)
}

func (elsewhere) Progress(store.Job) (int, time.Duration, bool) { return 0, 0, false }

// linked are the jobs of a process. Where a bucket signs no links, they are of the service, if it is known where that is reached.
type linked struct {
	*job.Manager
	key  []byte
	base string
}

func (l linked) Link(ctx context.Context, j store.Job, by store.Actor) (object.Link, error) {
	link, err := l.Manager.Link(ctx, j, by)
	if err != nil || link.URL != "" || l.base == "" {
		return link, err
	}
	return api.ObjectLink(l.base, l.key, j, by.Who), nil
}

// use makes the dispatcher of the process, which tells of these jobs: nil where it has none.
func (h *hooks) use(jobs *job.Manager, registry *customer.Registry, metrics *telemetry.Metrics) (err error) {
	var of webhook.Jobs = elsewhere{h.cfg.Record}
	if jobs != nil {
		of = linked{jobs, h.cfg.DataKey.Derive("links"), api.Base(h.cfg.Settings.Servers)}
	}
	metrics.Deliveries(func(ctx context.Context) (telemetry.DeliveryQueue, error) {
		d, err := registry.Manage(customer.Actor{}).Deliveries(ctx)
		return telemetry.DeliveryQueue{Waiting: d.Waiting, Dead: d.Dead, Oldest: time.Duration(d.OldestSeconds * float64(time.Second))}, err
	})
	var mailer webhook.Mailer
	if h.cfg.Settings.Mail.Server != "" {
		if mailer, err = Mailer(h.cfg.Settings); err != nil {
			return err
		}
	}
	h.dispatcher, err = webhook.New(webhook.Config{
		Record: &watched{h.cfg.Record, metrics}, Secrets: h.keeper, Jobs: of, Customers: registry, Holder: holder(), Log: h.cfg.Log, Now: h.cfg.Now, Observer: metrics, Mail: mailer,
		Poster: webhook.NewSender(webhook.SenderConfig{Allow: h.cfg.Settings.AllowNetworks, Roots: h.cfg.Roots}),
	})
	return err
}

func newHooks(cfg *Config) *hooks {
	return &hooks{cfg: cfg, keeper: signing.New(cfg.Record, cfg.DataKey, cfg.Now)}
}

// api is what the API needs of it.
func (h *hooks) api(cfg *Config) *api.Webhooks {
	return &api.Webhooks{Settings: cfg.Record, Secrets: h.keeper, Deliveries: cfg.Record, Notices: cfg.Record, Wake: h.wake, Sources: cfg.Settings.SourceAddresses}
}

// Mailer is the sender of mail that settings with a mail server describe.
func Mailer(set *config.Settings) (*mail.Sender, error) {
	return mail.New(mail.Config{Server: set.Mail.Server, Port: set.Mail.Port, From: set.Mail.From, Username: set.Mail.Username,
		Password: set.MailPassword, TLS: mail.TLS(set.Mail.TLS), API: api.Base(set.Servers)})
}

// watched is the record of the dispatcher: it counts what becomes of endpoints that fail.
type watched struct {
	deliveryRecord
	metrics *telemetry.Metrics
}

// EndAttempt says what has become of an attempt. Of one that was not accepted it looks at what that means for its endpoint.
func (w *watched) EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) ([]store.Delivery, error) {
	after, err := w.deliveryRecord.EndAttempt(ctx, l, o, retry)
	if err != nil || o.Verdict == store.Accepted || len(after) == 0 {
		return after, err
	}
	of := after[0]
	endpoints, unknown := w.Endpoints(ctx, of.Customer)
	for _, e := range endpoints {
		if unknown != nil || store.EndpointKey(store.Delivery{Customer: e.Customer, Channel: e.Channel, Target: e.Target, Own: e.Own}) != store.EndpointKey(of) {
			continue
		}
		switch {
		case !e.DisabledAt.IsZero() && o.Verdict == store.Gone:
			w.metrics.WebhookDisabled("gone")
		case !e.DisabledAt.IsZero():
			w.metrics.WebhookDisabled("failing")
		case !e.OpenUntil.IsZero():
			w.metrics.BreakerOpened(string(e.Channel))
		}
	}
	return after, nil
}

// wake says that there may be something to tell. It never waits.
func (h *hooks) wake() {
	if h.dispatcher != nil {
		h.dispatcher.Wake()
	}
}

// progressed says that a job has come further. It never waits.
func (h *hooks) progressed(customer, job string) {
	if h.dispatcher != nil {
		h.dispatcher.Progressed(customer, job)
	}
}

// pruning forgets deliveries that ended long ago.
func (h *hooks) pruning() *loop {
	return &loop{name: "deliveries", every: time.Hour, do: func(ctx context.Context) error {
		now, err := h.cfg.Record.Clock(ctx)
		if err == nil {
			_, err = h.cfg.Record.PruneDeliveries(ctx, now.Add(-h.cfg.Settings.Jobs.Retention.Jobs))
		}
		return err
	}}
}
