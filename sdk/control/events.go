package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
)

// eventLog queues events for the host. It is also the slog.Handler behind the
// stages' loggers. A stage that logs faster than the host reads loses lines, and
// the number of lost ones is told; it never blocks the data.
type eventLog struct {
	queue chan *pb.Event
	lost  *atomic.Int64
	stage string
	attrs map[string]string
	group string
}

const (
	queuedEvents   = 256
	reservedEvents = 16      // room that log lines leave to other events
	maxLogText     = 8 << 10 // bytes of one message or attribute
)

func newEventLog() *eventLog {
	return &eventLog{queue: make(chan *pb.Event, queuedEvents), lost: new(atomic.Int64)}
}

// put queues an event that must not be lost. There are only a handful in a run.
func (l *eventLog) put(e *pb.Event) { l.queue <- e }

// offer queues an event that may be lost when there is no room.
func (l *eventLog) offer(e *pb.Event) {
	select {
	case l.queue <- e:
	default:
	}
}

// Enabled leaves debug lines out.
func (l *eventLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle queues a log line, or counts it as lost.
func (l *eventLog) Handle(_ context.Context, r slog.Record) error {
	if len(l.queue) >= queuedEvents-reservedEvents {
		l.lost.Add(1)
		return nil
	}
	message := &pb.Log{Level: int32(r.Level), Message: clip(r.Message), Stage: l.stage, Attributes: map[string]string{}}
	for k, v := range l.attrs {
		message.Attributes[k] = v
	}
	r.Attrs(func(a slog.Attr) bool {
		message.Attributes[l.group+a.Key] = clip(a.Value.Resolve().String())
		return true
	})
	if lost := l.lost.Swap(0); lost > 0 {
		message.Attributes["lost_lines"] = fmt.Sprint(lost)
	}
	select {
	case l.queue <- &pb.Event{Kind: &pb.Event_Log{Log: message}}:
	default:
		l.lost.Add(1)
	}
	return nil
}

// WithAttrs keeps the attributes; "stage" names the stage.
func (l *eventLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.attrs = map[string]string{}
	for k, v := range l.attrs {
		c.attrs[k] = v
	}
	for _, a := range attrs {
		if a.Key == "stage" && l.group == "" {
			c.stage = a.Value.String()
			continue
		}
		c.attrs[l.group+a.Key] = clip(a.Value.Resolve().String())
	}
	return &c
}

// WithGroup prefixes the attributes that follow.
func (l *eventLog) WithGroup(name string) slog.Handler {
	c := *l
	c.group += name + "."
	return &c
}

func clip(text string) string {
	if len(text) > maxLogText {
		return text[:maxLogText] + "…"
	}
	return text
}
