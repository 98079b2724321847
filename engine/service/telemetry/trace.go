package telemetry

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Traces are spans of requests and runs, sent to a collector by OTLP over HTTP. Without one, trace contexts are still
// taken from requests and handed on to runs and plugins.
type Traces struct {
	tracer trace.Tracer
	stop   func(context.Context) error
}

// NewTraces makes traces as the variables of the OpenTelemetry specification say (OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and others). Without an endpoint nothing is sent. Stop sends what is left.
func NewTraces(ctx context.Context, version string, log *slog.Logger) (*Traces, error) {
	if !wanted(os.Getenv) {
		return &Traces{tracer: noop.NewTracerProvider().Tracer(""), stop: func(context.Context) error { return nil }}, nil
	}
	// The library has one place in a process for what goes wrong while it sends.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces were not sent", "err", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "cipherstream"), attribute.String("service.version", version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		log.WarnContext(ctx, "a part of OTEL_RESOURCE_ATTRIBUTES cannot be used", "err", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Traces{tracer: provider.Tracer("github.com/cipherstream/cipherstream"), stop: provider.Shutdown}, nil
}

// wanted reports whether the environment asks for traces.
func wanted(env func(string) string) bool {
	off := strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_EXPORTER") == "none"
	return !off && (env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "")
}

// Stop sends what is left. It may be called twice.
func (t *Traces) Stop(ctx context.Context) error { return t.stop(ctx) }

var w3c = propagation.TraceContext{}

// Span is what is known of a request at its end. Nothing in it is a value of a field.
type Span struct {
	Route, Code, RequestID, RunID, Procedure string
	Status                                   int
}

// Start begins the span of a request whose headers are given: the child of the one that its traceparent names. End is to be
// called once.
func (t *Traces) Start(ctx context.Context, headers propagation.TextMapCarrier) (_ context.Context, end func(Span)) {
	ctx, span := t.tracer.Start(w3c.Extract(ctx, headers), "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(s Span) {
		span.SetName(s.Route)
		span.SetAttributes(attribute.Int("http.response.status_code", s.Status), attribute.String("http.route", s.Route))
		for key, value := range map[string]string{"error.type": s.Code, "cipherstream.request_id": s.RequestID,
			"cipherstream.run_id": s.RunID, "cipherstream.procedure": s.Procedure} {
			if value != "" {
				span.SetAttributes(attribute.String(key, value))
			}
		}
		if s.Status >= 500 {
			span.SetStatus(codes.Error, s.Code)
		}
		span.End()
	}
}

// Context is a context below the span of a traceparent, which was kept with an order; one that is none leaves it as it is.
func Context(ctx context.Context, traceparent string) context.Context {
	return w3c.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// Traceparent is the trace context that a run is given; empty when the request had none and nothing is sent.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

func traceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}
