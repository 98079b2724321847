// Package telemetry lets operators see what a service does: a log of JSON lines, metrics and traces. It owns their form:
// what must never be in a line, names of metrics and the labels that they may have. It never decides anything, and
// nothing waits for it.
package telemetry

import (
	"context"
	"io"
	"log/slog"
)

// NewLog makes a log of JSON lines. What looks like a secret is left out of them; see Redact.
func NewLog(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(handler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: redactAttr})})
}

// handler adds what the context knows.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r.Message = Redact(r.Message)
	if trace := traceID(ctx); trace != "" {
		r.AddAttrs(slog.String("trace_id", trace))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
