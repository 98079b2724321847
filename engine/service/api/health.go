package api

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Operations serves what operators look at: /healthz, /readyz and /metrics. It belongs on a listener of its own.
func (a *API) Operations() http.Handler {
	mux := a.probes()
	if a.Metrics != nil {
		mux.Handle("GET /metrics", a.Metrics)
	}
	return mux
}

// The addresses that whoever spreads requests over services asks, on the public listener too: he may reach no other. They need
// no key, are no lines in the log, and tell nothing but what they are for.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

func (a *API) probes() *http.ServeMux {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
	}
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET "+readyPath, func(w http.ResponseWriter, _ *http.Request) { a.ready(say, w) })
	return mux
}

// ready never asks a customer's database: one that is away is that customer's matter.
func (a *API) ready(say func(http.ResponseWriter, int, string), w http.ResponseWriter) {
	if a.draining.Load() {
		say(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	say(w, http.StatusOK, "ready"+a.jobsReady())
}

// jobsReady says whether jobs are accepted: where they are not, streams go on, so that the service is ready all the same.
func (a *API) jobsReady() string {
	if a.Jobs == nil || a.JobsRefused == nil {
		return ""
	}
	if why := a.JobsRefused(); why != "" {
		return "\njobs: not accepted (" + why + ")"
	}
	return "\njobs: accepted"
}

// The limits of a server for a handler of this package. Bodies and answers have deadlines of their own, which move on
// with them: a stream may take as long as its run, and its client only a while for each piece.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 32 << 10
	maxStreams    = 128 // of an HTTP/2 connection
)

// Server makes the server for a handler: Handler, or Operations. It speaks HTTP/1.1 and, with TLS, HTTP/2, and TLS of 1.3 only.
// Its listeners and its end are the caller's; see Stopping.
func Server(handler http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}},
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second,
			WriteByteTimeout: writeTimeout},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
