package service

import (
	"cmp"
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"

	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
)

// observer tells metrics and traces of requests.
type observer struct {
	metrics *telemetry.Metrics
	traces  *telemetry.Traces
}

type spanKey struct{}

func (o *observer) Begin(ctx context.Context, r *http.Request) (context.Context, string) {
	ctx, end := o.traces.Start(ctx, propagation.HeaderCarrier(r.Header))
	return context.WithValue(ctx, spanKey{}, end), telemetry.Traceparent(ctx)
}

func (o *observer) Run(ctx context.Context, runID, procedure string) api.RunObserver {
	return o.traces.Run(ctx, runID, procedure)
}

func (o *observer) End(ctx context.Context, x api.Exchange) {
	route := x.Route
	if route == "" {
		route = "none"
	}
	outcome := "completed"
	switch {
	case x.Cut:
		outcome = "cut"
	case x.Code != "":
		outcome = "failed"
	case x.JobID != "":
		outcome = "job" // what becomes of that one is counted where it runs
	}
	o.metrics.Request(route, x.Status, string(x.Code), x.FirstByte, x.Duration)
	switch {
	case x.Status == http.StatusTooManyRequests:
		o.metrics.Refused(cmp.Or(x.Policy, string(x.Code)))
	case x.Cached:
		outcome = "cached"
	}
	if x.Procedure != "" && x.RunID != "" {
		o.metrics.Run(x.Procedure, x.Mode, outcome, x.Rows, x.Bytes)
	}
	if end, ok := ctx.Value(spanKey{}).(func(telemetry.Span)); ok {
		end(telemetry.Span{Route: route, Status: x.Status, Code: string(x.Code), RunID: x.RunID, Procedure: x.Procedure, RequestID: x.RequestID})
	}
}
