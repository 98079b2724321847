package service

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// watch follows a job until it ends, whatever happens to the connections: by events, from the last one that came on, or by
// asking where events do not come.
type watch struct {
	*customerJobs
	id   string
	told func(*remoteJob) // of every piece of news

	// patience is how long the service may be away.
	patience time.Duration
	// pause is between two tries, and doubles up to longest.
	pause, longest time.Duration
	// silence is how long nothing may come: a service says something every 15 seconds, so that longer is somebody between who
	// keeps it back.
	silence time.Duration
	// hold is how long the service may wait with its answer when it is asked.
	hold time.Duration

	job  *remoteJob
	last string // the id of the last event
}

func newWatch(s *customerJobs, id string) *watch {
	return &watch{customerJobs: s, id: id, told: func(*remoteJob) {}, patience: 10 * time.Minute, pause: 500 * time.Millisecond,
		longest: 15 * time.Second, silence: 40 * time.Second, hold: 50 * time.Second}
}

// errNoEvents is that events do not come here, and asking may do.
var errNoEvents = errors.New("no events come")

// untilEnded returns the job when it has ended.
func (w *watch) untilEnded(ctx context.Context) (*remoteJob, json.RawMessage, error) {
	if err := w.ask(ctx, 0); err != nil && !passing(err) {
		return nil, nil, err
	}
	follow, byEvents := w.events, true
	var away time.Time // since when the service is
	pause := w.pause
	for w.job == nil || !w.job.ended() {
		began := time.Now()
		err := follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case errors.Is(err, errNoEvents):
			follow, byEvents = func(ctx context.Context) error { return w.ask(ctx, w.hold) }, false
			continue
		case err != nil && passing(err) && byEvents && w.ask(ctx, 0) == nil:
			away = time.Time{} // it answers, and has no room for one more that follows events
		case err != nil && !passing(err):
			return nil, nil, err
		case err == nil:
			away, pause = time.Time{}, w.pause
			if time.Since(began) > pause {
				continue // it has waited with its answer
			}
		case away.IsZero():
			away = began
		case time.Since(away) > w.patience:
			return nil, nil, err
		}
		select {
		case <-time.After(max(pause, retryAfter(err))):
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		if err != nil {
			pause = min(2*pause, w.longest)
		}
	}
	for { // what it came to, as the service tells it
		j, text, _, err := w.customerJobs.job(ctx, w.id)
		if err == nil || !passing(err) || ctx.Err() != nil || !away.IsZero() && time.Since(away) > w.patience {
			return j, text, err
		}
		if away.IsZero() {
			away = time.Now()
		}
		select {
		case <-time.After(max(pause, retryAfter(err))):
			pause = min(2*pause, w.longest)
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// passing reports whether an error may not come again: the service is away, is about to end, or has too much to do.
func passing(err error) bool {
	f := fault.From(err)
	return f.Code == codeUnreached || f.Code == codeRefused && f.Class == fault.Source
}

// retryAfter is how long the service wants to be left alone.
func retryAfter(err error) time.Duration {
	if err == nil {
		return 0
	}
	seconds, _ := strconv.Atoi(fault.From(err).Details["retry_after"]) // 0 where it has not said
	return min(time.Duration(seconds)*time.Second, time.Minute)
}

// ask asks how far the job is, and lets the service wait with its answer for the next change.
func (w *watch) ask(ctx context.Context, hold time.Duration) error {
	asking, cancel := context.WithTimeout(ctx, hold+w.silence)
	defer cancel()
	var header []string
	if hold > 0 {
		header = []string{"Prefer", "wait=" + strconv.Itoa(int(hold/time.Second))}
	}
	j, _, _, err := w.customerJobs.job(asking, w.id, header...)
	if err != nil {
		if ctx.Err() == nil && asking.Err() != nil {
			err = w.unreached(ctx, asking.Err())
		}
		return err
	}
	w.tell(j)
	return nil
}

func (w *watch) tell(j *remoteJob) {
	w.job = j
	w.told(j)
}

// events follows the events of the job until they end.
func (w *watch) events(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(w.silence, func() { cancel(errNoEvents) })
	defer quiet.Stop()
	header := []string{"Accept", "text/event-stream"}
	if w.last != "" {
		header = append(header, "Last-Event-ID", w.last)
	}
	answer, err := w.do(ctx, http.MethodGet, w.path(w.id, "events"), nil, header...)
	if err != nil {
		if f := fault.From(err); f.Code == codeRefused && f.Class == fault.Usage {
			return errNoEvents // whether the job is known the next question tells
		}
		return err
	}
	defer answer.Body.Close()
	if media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || media != "text/event-stream" {
		return errNoEvents
	}
	err = readEvents(answer.Body, func() { quiet.Reset(w.silence) }, w.event)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return w.unreached(ctx, err)
	}
	return nil
}

// event takes one event.
func (w *watch) event(id, data string) {
	if id != "" {
		w.last = id
	}
	j := remoteJob{ID: w.id}
	if w.job != nil {
		j = *w.job // an event says what is new, and nothing else
		j.Remaining = nil
	}
	if json.Unmarshal([]byte(data), &j) != nil || j.ID != w.id || j.Status == "" {
		return // of a later version
	}
	w.tell(&j)
}

// maxEvent bounds a line of a stream of events.
const maxEvent = 1 << 20

// readEvents reads a stream of events (WHATWG HTML, section 9.2), as far as it is used here. Line is called for every line.
func readEvents(r io.Reader, line func(), event func(id, data string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	id, data := "", []string(nil)
	for lines.Scan() {
		line()
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != nil {
				event(id, strings.Join(data, "\n"))
			}
			id, data = "", nil
		case field == "id" && !strings.Contains(value, "\x00"):
			id = value
		case field == "data":
			data = append(data, value)
		}
	}
	return lines.Err()
}
