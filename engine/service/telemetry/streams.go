package telemetry

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Streams counts what data streams read and send. No label is anything of a customer's: how far behind streams are is told
// of all that this process has together.
type Streams struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	documents *prometheus.CounterVec
	numbered  prometheus.Counter
	failures  *prometheus.CounterVec
	now       func() time.Time

	mu   sync.Mutex
	lags map[streamChannel]streamLag
}

type streamChannel struct{ customer, channel string }

type streamLag struct {
	sequences int64
	since     time.Time // when the first that waits was committed
	told      time.Time
}

// lagTime is how long a lag counts that is not told again: the stream is another process's then, or is not enabled.
const lagTime = time.Minute

// Streams adds the metrics of data streams. It is called once.
func (m *Metrics) Streams(now func() time.Time) *Streams {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cipherstream", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	s := &Streams{
		requests:  counter("data_stream_requests_total", "Requests to receivers of data streams; code is ok, or what was wrong with the answer.", "channel", "code"),
		documents: counter("data_stream_documents_total", "Documents that receivers have said to have.", "channel"),
		failures:  counter("data_stream_failures_total", "Times that a data stream had to stop, or to begin to read anew, by why.", "code"),
		numbered: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "cipherstream", Name: "data_stream_numbered_total",
			Help: "Changes that were read and given a number."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "cipherstream", Name: "data_stream_request_seconds",
			Help: "Time that a receiver took.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"channel"}),
		now: now, lags: map[streamChannel]streamLag{},
	}
	m.registry.MustRegister(s.numbered, s.seconds, &streamLags{streams: s,
		sequences: prometheus.NewDesc("cipherstream_data_stream_lag_documents", "How many numbers receivers are behind, over all data streams that this process has.", []string{"channel"}, nil),
		seconds:   prometheus.NewDesc("cipherstream_data_stream_lag_seconds", "How long ago the oldest change was made that a receiver does not have.", []string{"channel"}, nil),
	})
	return s
}

// Requested counts a request to a receiver.
func (s *Streams) Requested(_, channel, code string, documents int, took time.Duration) {
	s.requests.WithLabelValues(channel, cmp.Or(code, "ok")).Inc()
	s.documents.WithLabelValues(channel).Add(float64(documents))
	s.seconds.WithLabelValues(channel).Observe(took.Seconds())
}

// Numbered counts changes that were given a number.
func (s *Streams) Numbered(_ string, documents int) { s.numbered.Add(float64(documents)) }

// Failed counts a stream that stands, or is tried again.
func (s *Streams) Failed(_, code string) { s.failures.WithLabelValues(code).Inc() }

// Lag takes down how far behind a channel of a stream is.
func (s *Streams) Lag(customer, channel string, sequences int64, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lags[streamChannel{customer, channel}] = streamLag{sequences, since, s.now()}
}

// behind sums up, by channel, what counts now.
func (s *Streams) behind() (sequences map[string]int64, longest map[string]time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequences, longest = map[string]int64{}, map[string]time.Duration{}
	now := s.now()
	for of, lag := range s.lags {
		if now.Sub(lag.told) > lagTime {
			delete(s.lags, of)
			continue
		}
		sequences[of.channel] += lag.sequences
		longest[of.channel] = max(longest[of.channel], 0)
		if !lag.since.IsZero() {
			longest[of.channel] = max(longest[of.channel], now.Sub(lag.since))
		}
	}
	return sequences, longest
}

// streamLags is a prometheus.Collector.
type streamLags struct {
	streams            *Streams
	sequences, seconds *prometheus.Desc
}

func (l *streamLags) Describe(to chan<- *prometheus.Desc) { to <- l.sequences; to <- l.seconds }

func (l *streamLags) Collect(to chan<- prometheus.Metric) {
	sequences, longest := l.streams.behind()
	for channel, n := range sequences {
		to <- prometheus.MustNewConstMetric(l.sequences, prometheus.GaugeValue, float64(n), channel)
		to <- prometheus.MustNewConstMetric(l.seconds, prometheus.GaugeValue, longest[channel].Seconds(), channel)
	}
}
