package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/cipherstream/cipherstream/engine"
)

// Run is the span of a run, and the spans of what it consists of:
//
//	run                       from the moment when it was asked for
//	├── admission             until there was memory for it
//	├── start                 until its processes were up
//	├── source mysql          each stage, until the process that it is in had done its part,
//	├── encoder ndjson        with rows and bytes where the host is told of them
//	└── sink caller
//
// Names are those of kinds and stages, and attributes counts, identifiers of this program, and codes: nothing that is stored, asked
// for, or written by a stage. It is of one run and used by one goroutine at a time. Without a collector it does nothing.
type Run struct {
	tracer     trace.Tracer
	ctx        context.Context
	span, step trace.Span // step is the admission, and then the start
	planned    []engine.Stage
	stages     map[string]*stageSpan
}

type stageSpan struct {
	trace.Span
	kind string
	over time.Time // zero while it goes on
}

// Run begins the span of a run, as a child of the one in ctx.
func (t *Traces) Run(ctx context.Context, runID, procedure string) *Run {
	r := &Run{tracer: t.tracer, stages: map[string]*stageSpan{}}
	r.ctx, r.span = t.tracer.Start(ctx, "run", trace.WithAttributes(
		attribute.String("cipherstream.run_id", runID), attribute.String("cipherstream.procedure", procedure)))
	_, r.step = t.tracer.Start(r.ctx, "admission")
	return r
}

// Traceparent is the trace context that the run's stages are given.
func (r *Run) Traceparent() string { return Traceparent(r.ctx) }

// Admitted says that the run begins, by this plan.
func (r *Run) Admitted(plan *engine.Plan) {
	r.planned = plan.Stages
	r.step.End()
	_, r.step = r.tracer.Start(r.ctx, "start")
}

// Event takes an event of the run.
func (r *Run) Event(event engine.Event) {
	switch e := event.(type) {
	case engine.Started:
		r.step.SetAttributes(attribute.Int("cipherstream.processes", len(e.Processes)))
		r.step.End()
		for _, s := range r.planned {
			_, span := r.tracer.Start(r.ctx, string(s.Kind)+" "+s.Name, trace.WithAttributes(
				attribute.String("cipherstream.stage", s.ID), attribute.String("cipherstream.plugin", s.Plugin)))
			r.stages[s.ID] = &stageSpan{Span: span, kind: string(s.Kind)}
		}
	case engine.Opened:
		for _, s := range r.stages {
			if s.kind == kindSource {
				s.AddEvent("opened", trace.WithAttributes(attribute.Int("cipherstream.columns", len(e.Columns))))
			}
		}
	case engine.StagesEnded:
		for i, id := range e.Stages {
			if s := r.stages[id]; s != nil {
				s.count(e, i == len(e.Stages)-1)
				s.over = time.Now() // whether it has failed is told later
			}
		}
	case engine.Ended:
		if e.Fault != nil {
			if s := r.stages[e.Fault.Stage]; s != nil {
				s.SetStatus(codes.Error, "")
			}
		}
		if e.Receipt != nil {
			r.span.SetAttributes(attribute.Int64(rowsAttribute, e.Receipt.Rows), attribute.Int64("cipherstream.rows_read", e.Receipt.RowsRead),
				attribute.Int64(bytesAttribute, e.Receipt.Bytes))
		}
	}
}

const (
	kindSource, kindEncoder = "source", "encoder"
	rowsAttribute           = "cipherstream.rows"
	bytesAttribute          = "cipherstream.bytes"
)

// count says what is known of one stage of those that have ended together.
func (s *stageSpan) count(e engine.StagesEnded, last bool) {
	switch {
	case s.kind == kindSource:
		s.SetAttributes(attribute.Int64(rowsAttribute, e.Rows))
	case s.kind == kindEncoder:
		s.SetAttributes(attribute.Int64(rowsAttribute, e.EncodedRows), attribute.Int64(bytesAttribute, e.EncodedBytes))
	case last:
		s.SetAttributes(attribute.Int64(bytesAttribute, e.Bytes))
	}
}

// End ends the run and all that is still open in it. The code is one of the table of errors, or empty. It may be called twice; the
// first one counts: a span that has ended takes nothing more.
func (r *Run) End(code string) {
	r.step.End()
	for _, s := range r.stages {
		if s.over.IsZero() {
			s.over = time.Now()
		}
		s.End(trace.WithTimestamp(s.over))
	}
	if code != "" {
		r.span.SetAttributes(attribute.String("error.type", code))
		r.span.SetStatus(codes.Error, code)
	}
	r.span.End()
}
