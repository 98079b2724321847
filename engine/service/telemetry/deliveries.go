package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// deliveries counts what customers are told. No label is anything of a customer's: where something goes is in no metric.
type deliveries struct {
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	ended    *prometheus.CounterVec
	opened   *prometheus.CounterVec
	disabled *prometheus.CounterVec
}

// deliveryEvents are the events that are a label by their names.
var deliveryEvents = map[string]bool{
	"job.completed": true, "job.failed": true, "job.cancelled": true, "job.progress": true, "system.maintenance": true, "api.rate_limit": true,
	"webhook.test": true, "webhook.disabled": true, "batch": true,
}

func eventLabel(event string) string {
	if deliveryEvents[event] {
		return event
	}
	return other
}

func (m *Metrics) newDeliveries() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cipherstream", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.deliveries = deliveries{
		attempts: counter("delivery_attempts_total", "Requests and mails that were sent to customers, by what they came to.", "channel", "event", "verdict"),
		ended:    counter("deliveries_ended_total", "Deliveries that this process has ended: delivered, or dead.", "channel", "event", "state"),
		opened:   counter("delivery_breakers_opened_total", "Times that an endpoint was let alone, because it failed.", "channel"),
		disabled: counter("webhooks_disabled_total", "Webhooks that get nothing any more, by why.", "reason"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "cipherstream", Name: "delivery_attempt_seconds",
			Help: "Time that a receiver took.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"channel"}),
	}
	m.registry.MustRegister(m.deliveries.seconds)
}

// Attempt counts a request or a mail that was sent. The event is batch for several in one; the verdict is one of a table.
func (m *Metrics) Attempt(channel, event, verdict string, took time.Duration) {
	m.deliveries.attempts.WithLabelValues(channel, eventLabel(event), verdict).Inc()
	m.deliveries.seconds.WithLabelValues(channel).Observe(took.Seconds())
}

// DeliveryEnded counts a delivery that was delivered, or given up.
func (m *Metrics) DeliveryEnded(channel, event, state string) {
	m.deliveries.ended.WithLabelValues(channel, eventLabel(event), state).Inc()
}

// BreakerOpened counts an endpoint that is let alone for a while.
func (m *Metrics) BreakerOpened(channel string) { m.deliveries.opened.WithLabelValues(channel).Inc() }

// WebhookDisabled counts a webhook that gets nothing any more; why is gone, or failing.
func (m *Metrics) WebhookDisabled(why string) { m.deliveries.disabled.WithLabelValues(why).Inc() }

// DeliveryQueue is what waits to be delivered, whichever process delivers it, and what was given up.
type DeliveryQueue struct {
	Waiting, Dead int64
	// Oldest is how long the oldest that waits has been there.
	Oldest time.Duration
}

// Deliveries adds the queue of deliveries. It is read when metrics are; where that fails it is absent, and
// deliveries_known is 0.
func (m *Metrics) Deliveries(read func(ctx context.Context) (DeliveryQueue, error)) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("cipherstream_"+name, help, nil, nil)
	}
	m.registry.MustRegister(&deliveryQueue{read: read,
		waiting: desc("deliveries_waiting", "Deliveries that wait, or are on their way."),
		dead:    desc("deliveries_dead", "Dead letters: deliveries that were given up, and can be sent again."),
		oldest:  desc("deliveries_oldest_seconds", "Age of the oldest delivery that waits."),
		known:   desc("deliveries_known", "1 where the queue of deliveries could be read."),
	})
}

// deliveryQueue is a prometheus.Collector.
type deliveryQueue struct {
	read                         func(ctx context.Context) (DeliveryQueue, error)
	waiting, dead, oldest, known *prometheus.Desc
}

func (q *deliveryQueue) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.waiting, q.dead, q.oldest, q.known} {
		to <- d
	}
}

func (q *deliveryQueue) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queueTime)
	defer cancel()
	found, err := q.read(ctx)
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	if err != nil {
		gauge(q.known, 0)
		return
	}
	gauge(q.known, 1)
	gauge(q.waiting, float64(found.Waiting))
	gauge(q.dead, float64(found.Dead))
	gauge(q.oldest, found.Oldest.Seconds())
}
