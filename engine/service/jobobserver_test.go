package service

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/engine/service/telemetry/telemetrytest"
)

// TestJobsAreObserved: the span of an attempt stands below the one of the order, and how it ended is counted.
func TestJobsAreObserved(t *testing.T) {
	collector := telemetrytest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	traces, err := telemetry.NewTraces(t.Context(), "1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	o := &jobObserver{telemetry.NewMetrics([]string{"visits"}, "1"), traces, &hooks{}}
	j := store.Job{ID: "visits_1_2", Procedure: "visits", Trace: "00-" + trace + "-" + parent + "-01"}
	run := o.Run(t.Context(), j)
	if given := run.Traceparent(); !strings.HasPrefix(given, "00-"+trace+"-") || strings.Contains(given, parent) {
		t.Errorf("stages are given %q", given)
	}
	run.End("LEASE_LOST")
	o.Ended(j, job.OutcomeLost, 0, 0)
	o.Ended(j, string(store.JobCompleted), 7, 70)
	if err := traces.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range collector.Spans(t) {
		found = found || s.Name == "run" && s.Trace == trace && s.Parent == parent && s.Failed && s.Attributes["cipherstream.run_id"] == j.ID
	}
	if !found {
		t.Errorf("%+v", collector.Spans(t))
	}
	answer := httptest.NewRecorder()
	o.metrics.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{"cipherstream_jobs_leases_lost_total 1", `cipherstream_rows_total{mode="job",procedure="visits"} 7`,
		`cipherstream_runs_total{mode="job",outcome="lost",procedure="visits"} 1`} {
		if !strings.Contains(answer.Body.String(), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}
