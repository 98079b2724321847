package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are what Prometheus reads. Labels are patterns of routes, classes of status, codes of errors, procedures of the
// catalogue, modes and formats: what a table of the program or the catalogue bounds. Nothing that a caller writes is one.
type Metrics struct {
	registry *prometheus.Registry
	known    map[string]bool // procedures

	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	firstByte *prometheus.HistogramVec
	runs      *prometheus.CounterVec
	rows      *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	reloads   *prometheus.CounterVec
	lost      prometheus.Counter

	deliveries deliveries
}

// other is the label of what no table knows.
const other = "other"

// NewMetrics makes metrics for the procedures of a catalogue.
func NewMetrics(procedures []string, version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), known: map[string]bool{}}
	for _, name := range procedures {
		m.known[name] = true
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cipherstream", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "cipherstream", Name: name, Help: help,
			Buckets: []float64{.001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180}}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.requests = counter("http_requests_total", "Requests that were answered.", "route", "status", "code")
	m.duration = histogram("http_request_seconds", "Time from the first byte of a request to the last of its answer.", "route")
	m.firstByte = histogram("http_first_byte_seconds", "Time to the first byte of the answer.", "route")
	m.runs = counter("runs_total", "Runs of procedures, by how they ended.", "procedure", "mode", "outcome")
	m.rows = counter("rows_total", "Rows that were delivered.", "procedure", "mode")
	m.bytes = counter("bytes_total", "Bytes that were delivered.", "procedure", "mode")
	m.refused = counter("refused_total", "Requests that were refused to protect others, by what they asked too much of.", "policy")
	m.reloads = counter("reloads_total", "Reloads of the configuration.", "outcome")
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "cipherstream", Name: "jobs_leases_lost_total",
		Help: "Jobs that this process ran and lost, because it did not renew its leases in time."})
	m.registry.MustRegister(m.lost)
	m.newDeliveries()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "cipherstream", Name: "build_info", Help: "The version, in a label."}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	m.registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gauge adds a value that is asked for when it is read.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "cipherstream", Name: name, Help: help}, value))
}

// Request counts an answer. The route is a pattern, and the code one of the table of errors, or empty.
func (m *Metrics) Request(route string, status int, code string, firstByte, whole time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status/100)+"xx", code).Inc()
	m.duration.WithLabelValues(route).Observe(whole.Seconds())
	if firstByte > 0 {
		m.firstByte.WithLabelValues(route).Observe(firstByte.Seconds())
	}
}

// Run counts a run of a procedure.
func (m *Metrics) Run(procedure, mode, outcome string, rows, bytes int64) {
	if !m.known[procedure] {
		procedure = other
	}
	m.runs.WithLabelValues(procedure, mode, outcome).Inc()
	m.rows.WithLabelValues(procedure, mode).Add(float64(rows))
	m.bytes.WithLabelValues(procedure, mode).Add(float64(bytes))
}

// LeaseLost counts a job that was lost to others.
func (m *Metrics) LeaseLost() { m.lost.Inc() }

// Refused counts a request that was refused by a policy: the name of a rate, or the code of another limit.
func (m *Metrics) Refused(policy string) { m.refused.WithLabelValues(policy).Inc() }

// Reload counts a reload.
func (m *Metrics) Reload(applied bool) {
	outcome := "applied"
	if !applied {
		outcome = "refused"
	}
	m.reloads.WithLabelValues(outcome).Inc()
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
