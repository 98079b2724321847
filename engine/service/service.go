// Package service puts the service together: customers, admission, spools and the record behind the API, the listeners,
// what is done from time to time, reload and the end. It owns their order, and no logic of its own: each part is a
// package below this one, and none of them knows this one.
//
//	s, err := service.New(ctx, service.Config{Settings: settings, Engine: e, Record: record, DataKey: key})
//	err = s.Start(ctx)   // listens
//	s.Reload(ctx, changed)
//	s.Stop(ctx)          // not ready at once; what runs may go on for a while, and is cut then
package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of a service that does not start, or not as it was told.
const (
	CodeListen = "service.listen"
	CodeReload = "service.reload"
	// CodeElsewhere: this process has no place for results.
	CodeElsewhere = "service.elsewhere"
)

// Record is what the service remembers.
type Record interface {
	customer.Record
	api.Requests
	PruneRequests(ctx context.Context, before time.Time) (int64, error)
	PruneAudit(ctx context.Context, before time.Time) (int64, error)
	// Of jobs.
	job.Record
	// Queues are the jobs that wait and run, by procedure.
	Queues(ctx context.Context) (map[string]store.Queue, error)
	api.JobRecord
	schedule.Record
	deliveryRecord
	changes.Record
}

// Config is what a service is made of. Settings, Engine, Record and DataKey have to be given; they stay the caller's, who
// closes them when the service has stopped.
type Config struct {
	Settings *config.Settings
	Engine   *engine.Engine
	// Streams runs the pipelines of data streams, which are files as well, and run for as long as the process does: their memory
	// is none that requests and jobs share. Default there are no data streams.
	Streams *engine.Engine
	Record  Record
	// DataKey seals the encryption keys that the service makes.
	DataKey *datakey.Key
	// Buckets are where the objects of jobs go. Default none, and no jobs.
	Buckets Buckets
	// Version is that of the program.
	Version string
	// Log receives what operators should know, and Level is changed by a reload; nil leaves it.
	Log   *slog.Logger
	Level *slog.LevelVar
	// Isolation spreads the stages of a run over processes. Default the engine's.
	Isolation engine.Isolation
	// Roots sign the certificates of those who receive webhooks. Default those of the system.
	Roots *x509.CertPool
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Service is one that runs, or can.
type Service struct {
	cfg      Config
	settings atomic.Pointer[config.Settings] // those in effect; changed by Reload only
	registry *customer.Registry
	api      *api.API
	metrics  *telemetry.Metrics
	// What a reload gives other limits.
	admission *admission.Controller
	spools    *spool.Pool
	jobs      *job.Manager // nil when there are none
	schedules *schedules   // nil when there are no jobs
	streams   *streams     // nil when there are none
	accepts   *acceptance
	hooks     *hooks
	traces    *telemetry.Traces
	public    *listener
	ops       *listener // nil when there is none
	admin     *admin.Server
	loops     []*loop
	failed    chan error
}

func (cfg *Config) orDefault() {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// New makes a service, which does nothing yet.
func New(ctx context.Context, cfg Config) (*Service, error) {
	cfg.orDefault()
	set := cfg.Settings
	s := &Service{cfg: cfg, failed: make(chan error, 1)}
	s.settings.Store(set)
	var err error
	if s.registry, err = Customers(ctx, set, cfg.Record, cfg.DataKey, cfg.Now); err != nil {
		return nil, err
	}
	spools, err := spool.New(spool.Config{Dir: set.Limits.Spool.Directory, Memory: int64(set.Limits.Spool.Memory),
		Answer: int64(set.Limits.Spool.Answer), Process: int64(set.Limits.Spool.Process)})
	if err != nil {
		return nil, err
	}
	s.spools, s.admission = spools, admission.New(admission.Config{Limits: admitted(set), Now: cfg.Now})
	if s.traces, err = telemetry.NewTraces(ctx, cfg.Version, cfg.Log); err != nil {
		return nil, err
	}
	s.metrics = telemetry.NewMetrics(cfg.Engine.Names(), cfg.Version)
	s.gauges(s.admission, spools)
	s.hooks = newHooks(&cfg)
	if cfg.Buckets != nil {
		if s.jobs, err = newJobs(&cfg, s.registry, s.admission, set.Jobs.Workers, &jobObserver{s.metrics, s.traces, s.hooks}); err != nil {
			return nil, err
		}
		s.accepts = &acceptance{record: cfg.Record, holder: holder(), log: cfg.Log}
		jobGauges(s.metrics, &cfg, s.jobs, s.accepts)
		if s.schedules, err = newSchedules(&s.cfg, s.registry, s.metrics); err != nil {
			return nil, err
		}
		if err := s.schedules.check(set); err != nil {
			return nil, err
		}
	}
	if err := s.hooks.use(s.jobs, s.registry, s.metrics); err != nil {
		return nil, err
	}
	if s.streams, err = newStreams(&s.cfg, s.registry, s.metrics); err != nil {
		return nil, err
	}
	parts := api.Config{
		Engine: cfg.Engine, Tuning: tuning(set), Customers: s.registry, Admission: s.admission, Spools: spools, Requests: cfg.Record,
		Observer: &observer{metrics: s.metrics, traces: s.traces}, Log: cfg.Log, Now: cfg.Now,
		Servers: set.Servers, Version: cfg.Version,
		TLS:     set.Listen.Certificate != "" || set.Listen.Plain == "proxy",
		Metrics: s.metrics.Handler(), Isolation: cfg.Isolation, Operators: s.registry, Webhooks: s.hooks.api(&cfg),
	}
	if s.jobs != nil {
		parts.Jobs, parts.JobRecord, parts.LinkKey, parts.JobsRefused = s.jobs, cfg.Record, cfg.DataKey.Derive("links"), s.accepts.refused
		parts.Schedules, parts.States = s.schedules, schedule.NewStates(cfg.DataKey)
	}
	if s.streams != nil {
		parts.DataStreams = s.streams
	}
	if s.api, err = api.New(parts); err != nil {
		return nil, err
	}
	s.loops = []*loop{
		{name: "requests", every: time.Hour, do: func(ctx context.Context) error {
			_, err := cfg.Record.PruneRequests(ctx, cfg.Now().Add(-api.RequestAge))
			return err
		}},
		{name: "audit", every: time.Hour, do: func(ctx context.Context) error {
			now, err := cfg.Record.Clock(ctx) // its own: this machine's may be another
			if err != nil {
				return err
			}
			_, err = cfg.Record.PruneAudit(ctx, now.Add(-set.Jobs.Retention.Audit))
			return err
		}},
		{name: "keys", every: time.Minute, do: s.registry.Flush, atEnd: true},
	}
	s.loops = append(s.loops, s.hooks.pruning())
	if s.accepts != nil {
		s.loops = append(s.loops, s.accepts.loop())
	}
	return s, nil
}

// Customers is the registry of the customers of a document, for a service, and for an operator's work where none runs.
func Customers(ctx context.Context, set *config.Settings, record customer.Record, key *datakey.Key, now func() time.Time) (*customer.Registry, error) {
	return customer.New(ctx, record, customers(set), customer.Options{DataKey: key, AdminNetworks: set.AdminNetworks, Now: now})
}

// admitted are the limits of admission in settings, and tuning and spooled those of the API and of spools.
func admitted(set *config.Settings) admission.Limits {
	l := set.Limits
	return admission.Limits{Memory: int64(l.Memory), Streams: l.Streams, MaxWait: l.MaxWait, Rates: rates(l.Rates)}
}

func tuning(set *config.Settings) api.Tuning {
	return api.Tuning{TrustedProxies: set.TrustedProxies, RunMemory: int64(set.Limits.RunMemory)}
}

func spooled(set *config.Settings) spool.Limits {
	l := set.Limits.Spool
	return spool.Limits{Memory: int64(l.Memory), Answer: int64(l.Answer), Process: int64(l.Process)}
}

func rates(r config.Rates) map[admission.Policy]admission.Rate {
	of := func(r config.Rate) admission.Rate { return admission.Rate{Quota: r.Requests, Window: r.Window} }
	return map[admission.Policy]admission.Rate{
		admission.Procedures: of(r.Procedures), admission.Polling: of(r.Polling), admission.Downloads: of(r.Downloads), admission.Anonymous: of(r.Anonymous),
	}
}

// gauges are what is asked for when metrics are read.
func (s *Service) gauges(a *admission.Controller, p *spool.Pool) {
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"streams", "Streams that run.", func() float64 { return float64(a.Stats().Streams) }},
		{"streams_waiting", "Streams that wait for memory.", func() float64 { return float64(a.Stats().Waiting) }},
		{"memory_used_bytes", "Memory that runs were given.", func() float64 { return float64(a.Stats().Used) }},
		{"memory_limit_bytes", "Memory that runs may be given.", func() float64 { return float64(a.Stats().Memory) }},
		{"spool_used_bytes", "Bytes of answers that wait until they are whole.", func() float64 { return float64(p.Stats().Bytes) }},
		{"spool_limit_bytes", "Bytes that may wait.", func() float64 { return float64(p.Stats().Limit) }},
		{"spools", "Answers that wait until they are whole.", func() float64 { return float64(p.Stats().Spools) }},
		{"rate_keys", "Keys and addresses that are known to have asked of late.", func() float64 { return float64(a.Stats().Keys) }},
		{"customers", "Customers that are declared.", func() float64 { return float64(len(s.settings.Load().Customers)) }},
	} {
		s.metrics.Gauge(g.name, g.help, g.value)
	}
}

// Registry is that of the customers, for work that an operator does in this process.
func (s *Service) Registry() *customer.Registry { return s.registry }

// Start listens and begins with what is done from time to time. When it fails, nothing is left.
func (s *Service) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.Stop(ctx)
		}
	}()
	set := s.settings.Load()
	if s.public, err = listen(set.Listen.Address, s.cfg.Log, s.fail); err != nil {
		return err
	}
	if err = s.public.certificate(set.Listen.Certificate, set.Listen.Key); err != nil {
		return err
	}
	if set.Operations.Address != config.Off {
		if s.ops, err = listen(set.Operations.Address, s.cfg.Log, s.fail); err != nil {
			return err
		}
		secure := onLoopback(s.ops)
		if !secure && set.Listen.Certificate != "" {
			if err = s.ops.certificate(set.Listen.Certificate, set.Listen.Key); err != nil {
				return err
			}
			secure = true
		}
		s.ops.serve(s.operations(secure))
	}
	if set.Directory != "" {
		if s.admin, err = admin.Listen(set.Directory, s.registry, s.cfg.Log); err != nil {
			return err
		}
	}
	s.public.serve(s.api.Handler())
	for _, l := range s.loops {
		l.start(s.cfg.Log)
	}
	if s.jobs != nil {
		if err = s.schedules.use(ctx, set); err != nil {
			return err
		}
		s.jobs.Start()
		s.schedules.Start()
	}
	s.hooks.dispatcher.Start()
	if s.streams != nil {
		s.streams.Start()
	}
	attributes := []any{"address", s.public.address(), "tls", set.Listen.Certificate != "", "state", cmp.Or(set.Directory, "on a server"), "customers", len(set.Customers),
		"version", s.cfg.Version}
	if pin := s.public.pin(); pin != "" {
		attributes = append(attributes, "pin", pin)
	}
	if s.ops != nil {
		attributes = append(attributes, "operations", s.ops.address())
	}
	s.cfg.Log.InfoContext(ctx, "serving", attributes...)
	return nil
}

// fail tells that a listener has ended by itself.
func (s *Service) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first one tells
	}
}

// Failed gives the error with which a listener has ended by itself.
func (s *Service) Failed() <-chan error { return s.failed }

// Address is where customers reach the service, and OperationsAddress where operators do, HOST:PORT; empty is nowhere.
func (s *Service) Address() string { return s.public.address() }

// OperationsAddress is where operators reach metrics and health; empty is nowhere.
func (s *Service) OperationsAddress() string { return s.ops.address() }

// Pin is the SHA-256 of the certificate's public key, for clients that take no other; empty without TLS.
func (s *Service) Pin() string { return s.public.pin() }

// cutTime is how long what was told to end may take to do so.
const cutTime = 10 * time.Second

// Stop ends the service: it is not ready at once, takes no more connections, lets what runs go on for the time of
// the settings, and then cuts it; jobs are handed back. It may be called twice. When ctx ends first, what runs is cut then.
func (s *Service) Stop(ctx context.Context) {
	s.api.Drain()
	if s.public.serving() {
		s.cfg.Log.InfoContext(ctx, "stopping")
		defer func() { s.cfg.Log.InfoContext(ctx, "stopped") }()
	}
	grace := s.settings.Load().Shutdown.Grace
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if cut := s.public.stop(graceful); cut {
		s.cfg.Log.WarnContext(ctx, "requests that were running were cut", "after", grace.String())
	}
	if s.admin != nil {
		if err := s.admin.Close(); err != nil {
			s.cfg.Log.WarnContext(ctx, "admin.sock was not closed properly", "err", err)
		}
	}
	if s.schedules != nil {
		s.schedules.Stop()
	}
	if s.jobs != nil { // those that requests became in the meantime, too
		handedBack, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTime)
		s.jobs.Stop(handedBack)
		cancel()
	}
	sent, cancelSent := context.WithTimeout(context.WithoutCancel(ctx), cutTime)
	s.streams.stop(sent)
	s.hooks.dispatcher.Stop(sent) // what is broken off is sent again by another process, or the next one
	cancelSent()
	for _, l := range s.loops {
		l.stop()
	}
	s.api.Close()
	s.ops.stop(graceful)
	over, cancelOver := context.WithTimeout(context.WithoutCancel(ctx), cutTime)
	defer cancelOver()
	if err := s.traces.Stop(over); err != nil {
		s.cfg.Log.WarnContext(ctx, "the last traces were not sent", "err", err)
	}
}

// Reload takes other settings into effect: all of them, or, when it returns an error, none.
func (s *Service) Reload(ctx context.Context, to *config.Settings) (err error) {
	defer func() { s.metrics.Reload(err == nil) }()
	changes := config.Changes(s.settings.Load(), to)
	var paths, restart []string
	for _, c := range changes {
		paths = append(paths, c.Path)
		if c.Restart {
			restart = append(restart, c.Path)
		}
	}
	if len(restart) > 0 {
		return fault.New(CodeReload, fault.Usage, "these settings take effect at a start only: %v", restart).WithHint("restart the service, or leave them as they are")
	}
	if s.schedules != nil {
		if err := s.schedules.check(to); err != nil {
			return err
		}
	}
	var pipelines map[string]*engine.Prepared
	if s.streams != nil {
		if pipelines, err = s.streams.prepare(to); err != nil {
			return err
		}
	}
	// The certificate is read anew even where its path is the same: that is what is renewed most.
	pair, err := readCertificate(to.Listen.Certificate, to.Listen.Key)
	if err != nil {
		return err
	}
	if s.cfg.Buckets != nil {
		if err := s.cfg.Buckets.Use(to); err != nil {
			return err
		}
	}
	if err := s.registry.Reload(ctx, customers(to), to.AdminNetworks); err != nil {
		if s.cfg.Buckets != nil {
			err = errors.Join(err, s.cfg.Buckets.Use(s.settings.Load()))
		}
		return err
	}
	if s.schedules != nil {
		if err := s.schedules.use(ctx, to); err != nil {
			return errors.Join(err, s.registry.Reload(ctx, customers(s.settings.Load()), s.settings.Load().AdminNetworks), s.cfg.Buckets.Use(s.settings.Load()))
		}
	}
	// Nothing below can fail.
	if s.streams != nil {
		s.streams.use(pipelines)
		s.streams.Wake()
	}
	s.admission.Change(admitted(to))
	s.spools.Change(spooled(to))
	s.api.Tune(tuning(to))
	before := s.public.pin()
	s.public.use(pair)
	if s.ops != nil && s.ops.pair.Load() != nil {
		s.ops.use(pair)
	}
	if s.public.pin() != before {
		paths = append(paths, "listen.certificate (its content)")
	}
	s.settings.Store(to)
	if s.cfg.Level != nil {
		s.cfg.Level.Set(LogLevel(to.Log.Level))
	}
	s.cfg.Log.InfoContext(ctx, "reloaded", "changed", paths)
	return nil
}

// ReloadRefused counts a reload that did not come to Reload, because its document has mistakes.
func (s *Service) ReloadRefused() { s.metrics.Reload(false) }

// LogLevel is the level of a word of the document.
func LogLevel(word string) (level slog.Level) {
	_ = level.UnmarshalText([]byte(word)) // the document was checked
	return level
}

// customers are those of the settings, as the registry knows them.
func customers(set *config.Settings) []customer.Customer {
	var out []customer.Customer
	for _, c := range set.Customers {
		out = append(out, customer.Customer{
			ID: c.ID, Name: c.Name, Demo: c.Demo, DSN: c.DSN, Bucket: c.Bucket, SealingKeys: c.EncryptionKeys,
			Allow: engine.AllowList{Tables: c.Allow.Tables, Procedures: c.Allow.Procedures}, Networks: c.Networks, Streams: c.Streams,
			Attributes: attributes(&c), Emails: c.Notify.Emails, MailOf: c.Notify.Events,
		})
	}
	return out
}

// attributes are what pipelines know of a customer beside its identifier.
func attributes(c *config.Customer) map[string]any {
	all := map[string]any{}
	for name, value := range c.Attributes {
		all[name] = value
	}
	if c.TimeZone != "" {
		all["time_zone"] = c.TimeZone
	}
	return all
}
