package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// exchange is a request and its answer. It is of one goroutine, but for the writes of a run's sink.
type exchange struct {
	api         *API
	w           *writer
	r           *http.Request
	ctx         context.Context
	info        Exchange
	principal   customer.Principal
	traceparent string
	// clientID is the request's X-Request-Id, for the log.
	clientID string
	// limit is what was decided of the key's requests; nil where nothing was.
	limit *admission.Decision
	// failure is why the answer is an error, or was cut.
	failure *Error
}

type exchangeKey struct{}

// exchangeOf is the exchange of a request that came through Handler.
func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// newRequestID makes an identifier of a request.
func newRequestID() string {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return "req_" + hex.EncodeToString(random[:])
}

// Handler serves the public operations, the documentation, /healthz and /readyz.
func (a *API) Handler() http.Handler {
	probes := a.probes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == healthPath || r.URL.Path == readyPath {
			probes.ServeHTTP(w, r)
			return
		}
		a.serve(w, r)
	})
}

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	x := &exchange{api: a, w: &writer{ResponseWriter: w}, clientID: printable(r.Header.Get("X-Request-Id"), 128)}
	x.info = Exchange{RequestID: newRequestID(), Method: printable(r.Method, 16), Proto: r.Proto, Started: a.Now(), From: a.clientAddress(r)}
	ctx, traceparent := a.Observer.Begin(r.Context(), r)
	if x.traceparent = traceparent; traceparent == "" {
		x.traceparent = r.Header.Get("Traceparent")
	}
	x.ctx = context.WithValue(ctx, exchangeKey{}, x)
	x.r = r.WithContext(x.ctx)
	x.w.first = func() { x.info.FirstByte = a.Now().Sub(x.info.Started) }
	if r.ContentLength != 0 {
		// Also of a body that nobody reads: the server waits for its end before it sends what refuses it.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.BodyTimeout))
	}
	h := w.Header()
	h.Set("X-Request-Id", x.info.RequestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if len(r.TransferEncoding) > 0 {
		// A body in chunks may have had a length as well, which whoever stands before this may have gone by: what comes behind
		// is not answered (RFC 9112, section 6.1). The server does not tell.
		x.closeAfter()
	}
	if a.TLS {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	defer x.end()
	if p := x.r.URL.Path; p != path.Clean(p) && p != "/docs/" || strings.Contains(p, "\x00") {
		// The mux would send a client that left out a POST's body to somewhere else.
		x.fail(x.anonymous(fail(NotFound)))
		return
	}
	a.mux.ServeHTTP(x.w, x.r)
}

// end tells of the exchange, whatever became of it. A panic is that of a cut answer, or a defect that must not take
// others along.
func (x *exchange) end() {
	cause := recover()
	if cause != nil && cause != http.ErrAbortHandler {
		x.api.broke(x.ctx, x.info.RequestID, cause)
		if x.w.status == 0 {
			cause = nil
			x.fail(fail(Internal))
		} else {
			cause, x.failure = http.ErrAbortHandler, fail(Internal)
		}
	}
	x.info.Cut = cause != nil
	x.info.Status, x.info.Bytes = x.w.status, x.w.bytes
	if x.info.Duration = x.api.Now().Sub(x.info.Started); x.failure != nil {
		x.info.Code = x.failure.Code
	}
	x.info.Route = x.r.Pattern
	x.log()
	x.api.Observer.End(x.ctx, x.info)
	x.tellOfLimit()
	if cause != nil {
		panic(cause)
	}
}

// broke logs a panic. Its value may hold anything; where it was tells enough.
func (a *API) broke(ctx context.Context, requestID string, cause any) {
	a.Log.ErrorContext(ctx, "a request broke", "request_id", requestID, "panic", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
}

// log writes the request's line.
func (x *exchange) log() {
	i := x.info
	attributes := []slog.Attr{
		slog.String("request_id", i.RequestID), slog.String("method", i.Method), slog.String("route", i.Route),
		slog.Int("status", i.Status), slog.String("from", i.From.String()), slog.String("proto", i.Proto),
		slog.Int64("bytes", i.Bytes), slog.Duration("duration", i.Duration.Round(time.Microsecond)),
	}
	add := func(key, value string) {
		if value != "" {
			attributes = append(attributes, slog.String(key, value))
		}
	}
	add("customer", i.Customer)
	add("key_id", i.KeyID)
	add("procedure", i.Procedure)
	add("run_id", i.RunID)
	add("job_id", i.JobID)
	add("mode", i.Mode)
	add("format", i.Format)
	add("code", string(i.Code))
	add("client_request_id", x.clientID)
	level := slog.LevelInfo
	if i.RunID != "" {
		attributes = append(attributes, slog.Int64("rows", i.Rows))
	}
	if i.Cached {
		attributes = append(attributes, slog.Bool("cached", true))
	}
	if i.Cut {
		attributes = append(attributes, slog.Bool("cut", true))
	}
	if e := x.failure; e != nil {
		add("cause", e.Inner)
		if e.cause != nil {
			add("cause_message", logged(e.cause))
		}
		if e.Status >= 500 || e.Code == Internal {
			level = slog.LevelWarn
		}
		if e.Code == Internal {
			level = slog.LevelError
		}
	}
	x.api.Log.LogAttrs(x.ctx, level, "request", attributes...)
}

// printable is text of others for a log: short, and without control characters.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), most)]
}

// writer counts what is sent.
type writer struct {
	http.ResponseWriter
	status int
	bytes  int64
	first  func()
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
		w.first()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
