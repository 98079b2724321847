package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Schedules counts what becomes of the ticks of schedules.
type Schedules struct {
	ticks  *prometheus.CounterVec
	missed prometheus.Counter
}

// Schedules adds the metrics of schedules. It is called once.
func (m *Metrics) Schedules() *Schedules {
	s := &Schedules{
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cipherstream", Name: "schedule_ticks_total",
			Help: "Ticks of schedules that this process has decided on, by what became of them: a job, or skipped or refused."}, []string{"outcome"}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "cipherstream", Name: "schedule_ticks_missed_total",
			Help: "Ticks that had passed at which no process looked, and that made no job of their own."}),
	}
	m.registry.MustRegister(s.ticks, s.missed)
	return s
}

// Ticked counts a decision.
func (s *Schedules) Ticked(outcome string, missed int) {
	s.ticks.WithLabelValues(outcome).Inc()
	s.missed.Add(float64(missed))
}
