package service

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Worker is a process that runs jobs and data streams, and answers nobody but operators.
type Worker struct {
	cfg       Config
	registry  *customer.Registry
	jobs      *job.Manager
	schedules *schedules
	streams   *streams // nil when there are none
	accepts   *acceptance
	hooks     *hooks
	metrics   *telemetry.Metrics
	traces    *telemetry.Traces
	ops       *listener // nil when there is none
	loops     []*loop
	failed    chan error
	stopping  atomic.Bool
}

// NewWorker makes a worker, which does nothing yet, of what a service is made of; Config.Buckets has to be given.
func NewWorker(ctx context.Context, cfg Config) (*Worker, error) {
	cfg.orDefault()
	w := &Worker{cfg: cfg, failed: make(chan error, 1)}
	var err error
	if w.registry, err = Customers(ctx, cfg.Settings, cfg.Record, cfg.DataKey, cfg.Now); err != nil {
		return nil, err
	}
	memory := admission.New(admission.Config{Limits: admitted(cfg.Settings), Now: cfg.Now})
	if w.traces, err = telemetry.NewTraces(ctx, cfg.Version, cfg.Log); err != nil {
		return nil, err
	}
	w.metrics = telemetry.NewMetrics(cfg.Engine.Names(), cfg.Version)
	w.hooks = newHooks(&cfg)
	if w.jobs, err = newJobs(&cfg, w.registry, memory, max(1, cfg.Settings.Jobs.Workers), &jobObserver{w.metrics, w.traces, w.hooks}); err != nil {
		return nil, err
	}
	if err := w.hooks.use(w.jobs, w.registry, w.metrics); err != nil {
		return nil, err
	}
	w.accepts = &acceptance{record: cfg.Record, holder: holder(), log: cfg.Log}
	jobGauges(w.metrics, &cfg, w.jobs, w.accepts)
	if w.schedules, err = newSchedules(&w.cfg, w.registry, w.metrics); err != nil {
		return nil, err
	}
	if w.streams, err = newStreams(&w.cfg, w.registry, w.metrics); err != nil {
		return nil, err
	}
	w.metrics.Gauge("memory_used_bytes", "Memory that runs were given.", func() float64 { return float64(memory.Stats().Used) })
	w.metrics.Gauge("memory_limit_bytes", "Memory that runs may be given.", func() float64 { return float64(memory.Stats().Memory) })
	w.loops = []*loop{w.accepts.loop(), {name: "keys", every: time.Minute, do: w.registry.Flush, atEnd: true}, w.hooks.pruning()}
	return w, nil
}

// Start begins to take jobs. When it fails, nothing is left.
func (w *Worker) Start(ctx context.Context) (err error) {
	address := w.cfg.Settings.Operations.Address
	if address != config.Off {
		if w.ops, err = listen(address, w.cfg.Log, func(err error) {
			select {
			case w.failed <- err:
			default: // the first one tells
			}
		}); err != nil {
			return fault.From(err).WithHint("a service on this machine may have the address: give another one with --operations, or off")
		}
		w.ops.serve(w.operations())
	}
	for _, l := range w.loops {
		l.start(w.cfg.Log)
	}
	w.jobs.Start()
	w.schedules.Start()
	w.hooks.dispatcher.Start()
	if w.streams != nil {
		w.streams.Start()
	}
	attributes := []any{"workers", max(1, w.cfg.Settings.Jobs.Workers), "customers", len(w.cfg.Settings.Customers), "version", w.cfg.Version}
	if w.ops != nil {
		attributes = append(attributes, "operations", w.ops.address())
	}
	w.cfg.Log.InfoContext(ctx, "working", attributes...)
	return nil
}

// operations is what operators look at.
func (w *Worker) operations() http.Handler {
	mux := http.NewServeMux()
	say := func(rw http.ResponseWriter, status int, text string) {
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Header().Set("Cache-Control", "no-store")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, text+"\n")
	}
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { say(rw, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		switch why := w.accepts.refused(); {
		case w.stopping.Load():
			say(rw, http.StatusServiceUnavailable, "stopping")
		case why != "":
			say(rw, http.StatusServiceUnavailable, "jobs: not taken ("+why+")")
		default:
			say(rw, http.StatusOK, "ready")
		}
	})
	mux.Handle("GET /metrics", w.metrics.Handler())
	return mux
}

// Reload takes other settings into effect: all of them, or, when it returns an error, none. Limits and workers take effect at a
// start only.
func (w *Worker) Reload(ctx context.Context, to *config.Settings) error {
	before := w.cfg.Settings
	for _, c := range config.Changes(before, to) {
		if c.Restart {
			return fault.New(CodeReload, fault.Usage, "%s takes effect at a start only", c.Path).WithHint("restart the worker, or leave it as it is")
		}
	}
	var pipelines map[string]*engine.Prepared
	if w.streams != nil {
		var err error
		if pipelines, err = w.streams.prepare(to); err != nil {
			return err
		}
	}
	if err := w.cfg.Buckets.Use(to); err != nil {
		return err
	}
	if err := w.registry.Reload(ctx, customers(to), to.AdminNetworks); err != nil {
		return errors.Join(err, w.cfg.Buckets.Use(before))
	}
	if w.streams != nil {
		w.streams.use(pipelines)
		w.streams.Wake()
	}
	w.cfg.Settings = to
	if w.cfg.Level != nil {
		w.cfg.Level.Set(LogLevel(to.Log.Level))
	}
	w.cfg.Log.InfoContext(ctx, "reloaded")
	return nil
}

// Failed gives the error with which the operators' listener has ended by itself.
func (w *Worker) Failed() <-chan error { return w.failed }

// OperationsAddress is where operators reach metrics and health; empty is nowhere.
func (w *Worker) OperationsAddress() string { return w.ops.address() }

// Stop hands back the jobs that run, and returns when they have ended, or have had some time to. It may be called twice.
func (w *Worker) Stop(ctx context.Context) {
	if !w.stopping.Swap(true) {
		w.cfg.Log.InfoContext(ctx, "stopping")
		defer func() { w.cfg.Log.InfoContext(ctx, "stopped") }()
	}
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTime)
	defer cancel()
	w.schedules.Stop()
	w.jobs.Stop(over)
	w.streams.stop(over)
	w.hooks.dispatcher.Stop(over)
	for _, l := range w.loops {
		l.stop()
	}
	w.ops.stop(over)
	if err := w.traces.Stop(over); err != nil {
		w.cfg.Log.WarnContext(ctx, "the last traces were not sent", "err", err)
	}
}
