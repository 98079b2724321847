package service

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/signing"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
)

// deliveryRecord is what the record remembers of webhooks, and of what customers are told.
type deliveryRecord interface {
	api.WebhookSettings
	api.Deliveries
	api.Notices
	signing.Record
	PruneDeliveries(ctx context.Context, before time.Time) (int64, error)
}

// hooks are the part of a process that tells customers what has happened.
type hooks struct {
	cfg    *Config
	keeper *signing.Keeper
}

func newHooks(cfg *Config, metrics *telemetry.Metrics) *hooks {
	h := &hooks{cfg: cfg, keeper: signing.New(cfg.Record, cfg.DataKey, cfg.Now)}
	metrics.Deliveries(func(ctx context.Context) (found telemetry.DeliveryQueue, err error) {
		waiting, dead, oldest, err := cfg.Record.DeliveryQueues(ctx)
		if err != nil {
			return found, err
		}
		if found.Waiting, found.Dead = waiting, dead; !oldest.IsZero() {
			now, err := cfg.Record.Clock(ctx) // its own: this machine's may be another
			if err != nil {
				return found, err
			}
			found.Oldest = max(0, now.Sub(oldest))
		}
		return found, nil
	})
	return h
}

// api is what the API needs of it.
func (h *hooks) api(cfg *Config) *api.Webhooks {
	return &api.Webhooks{Settings: cfg.Record, Secrets: h.keeper, Deliveries: cfg.Record, Notices: cfg.Record, Wake: h.wake, Sources: cfg.Settings.SourceAddresses}
}

// wake says that there may be something to tell. It never waits.
func (h *hooks) wake() {}

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
