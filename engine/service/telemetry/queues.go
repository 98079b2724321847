package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Queue is how many jobs of a procedure wait and run, whichever process runs them, and how old the oldest is that waits.
type Queue struct {
	Procedure, Class string
	Queued, Running  int64
	Oldest           time.Duration
}

// Queues adds the depth and the age of the queues of jobs, by which workers are scaled. They are read when metrics are; where
// that fails they are absent, and queues_known is 0.
func (m *Metrics) Queues(read func(ctx context.Context) ([]Queue, error)) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("cipherstream_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&queues{
		metrics: m, read: read,
		queued:  desc("jobs_queued", "Jobs that wait for a worker.", "procedure", "class"),
		running: desc("jobs_running", "Jobs that run, in all processes.", "procedure", "class"),
		oldest:  desc("jobs_oldest_seconds", "Age of the oldest job that waits.", "procedure", "class"),
		known:   desc("queues_known", "1 where the queues could be read."),
	})
}

// queues is a prometheus.Collector.
type queues struct {
	metrics                        *Metrics
	read                           func(ctx context.Context) ([]Queue, error)
	queued, running, oldest, known *prometheus.Desc
}

// queueTime is how long the record may take.
const queueTime = 3 * time.Second

func (q *queues) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.queued, q.running, q.oldest, q.known} {
		to <- d
	}
}

func (q *queues) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queueTime)
	defer cancel()
	list, err := q.read(ctx)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if err != nil {
		gauge(q.known, 0)
		return
	}
	gauge(q.known, 1)
	// What is no longer in the catalogue counts together, as it does elsewhere.
	all := map[[2]string]Queue{}
	for _, one := range list {
		labels := [2]string{one.Procedure, one.Class}
		if !q.metrics.known[one.Procedure] {
			labels = [2]string{other, ""}
		}
		sum := all[labels]
		sum.Queued, sum.Running, sum.Oldest = sum.Queued+one.Queued, sum.Running+one.Running, max(sum.Oldest, one.Oldest)
		all[labels] = sum
	}
	for labels, one := range all {
		gauge(q.queued, float64(one.Queued), labels[:]...)
		gauge(q.running, float64(one.Running), labels[:]...)
		gauge(q.oldest, one.Oldest.Seconds(), labels[:]...)
	}
}
