package service

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/telemetry/telemetrytest"
)

// TestSpansOfRuns: below the span of a request stands that of its run, and below that its admission, its start and its stages, with
// rows and bytes; of a run that fails the one that failed says so.
func TestSpansOfRuns(t *testing.T) {
	collector := telemetrytest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	s := start(t, settings(t), nil)
	status, text, err := s.ask(t, `{"customer_id":"one"}`)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, text, err)
	}
	if status, text, err = s.ask(t, `{"customer_id":"one","break":"error"}`); err != nil || status < 500 {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.Stop(context.Background())

	children := map[string][]telemetrytest.Span{}
	for _, span := range collector.Spans(t) {
		children[span.Parent] = append(children[span.Parent], span)
	}
	requests := children[""]
	if len(requests) != 2 {
		t.Fatalf("%d spans have no parent: %+v", len(requests), requests)
	}
	for i, request := range requests {
		if len(children[request.ID]) != 1 {
			t.Fatalf("below the request: %+v", children[request.ID])
		}
		run := children[request.ID][0]
		if run.Name != "run" || run.Trace != request.Trace || run.Attributes["cipherstream.procedure"] != "visits" ||
			run.Attributes["cipherstream.run_id"] == "" || run.Start < request.Start || run.End > request.End || run.Failed != (i == 1) {
			t.Errorf("the run: %+v", run)
		}
		below := map[string]telemetrytest.Span{}
		for _, span := range children[run.ID] {
			below[span.Name] = span
			if span.Start < run.Start || span.End > run.End || span.End < span.Start || span.Trace != run.Trace {
				t.Errorf("%s is not within its run: %+v", span.Name, span)
			}
		}
		source, encoder, sink := below["source gated"], below["encoder lines"], below["sink caller"]
		if len(below) != 5 || below["admission"].Name == "" || below["start"].End > source.Start || sink.Name == "" || source.Attributes["cipherstream.plugin"] != "test" || encoder.Name == "" {
			t.Fatalf("below the run: %+v", below)
		}
		if i == 1 {
			if !source.Failed || encoder.Failed || run.Attributes["error.type"] == "" {
				t.Errorf("of a source that has failed: %+v", below)
			}
			continue
		}
		if source.Attributes["cipherstream.rows"] != "3" || encoder.Attributes["cipherstream.rows"] != "3" || run.Attributes["cipherstream.rows"] != "3" ||
			encoder.Attributes["cipherstream.bytes"] == "0" || run.Attributes["cipherstream.bytes"] != sink.Attributes["cipherstream.bytes"] ||
			strings.Join(source.Events, " ") != "opened" {
			t.Errorf("rows and bytes: %+v\n%+v", run, below)
		}
	}
}
