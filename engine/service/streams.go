package service

import (
	"cmp"
	"context"
	"sync/atomic"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
)

// streams are the data streams of a process: what reads and sends them, and the pipelines of the customers that it serves.
type streams struct {
	*changes.Manager
	engine    *engine.Engine
	pipelines atomic.Pointer[map[string]*engine.Prepared]
}

// newStreams makes them, where the process has an engine for them; nil otherwise. Nothing is done before Start.
func newStreams(cfg *Config, registry *customer.Registry, metrics *telemetry.Metrics) (*streams, error) {
	if cfg.Streams == nil {
		return nil, nil
	}
	s := &streams{engine: cfg.Streams}
	prepared, err := s.prepare(cfg.Settings)
	if err != nil {
		return nil, err
	}
	s.use(prepared)
	limits := cfg.Settings.Limits
	s.Manager, err = changes.New(changes.Config{
		Record: cfg.Record, Key: cfg.DataKey, Holder: holder(), Public: api.Public, Observer: metrics.Streams(cfg.Now), Log: cfg.Log,
		Sources: &changes.Pipelines{Engine: cfg.Streams, Customers: registry, Pipeline: s.pipeline, Isolation: cfg.Isolation,
			RunMemory: int64(limits.RunMemory), Log: cfg.Log},
		Poster: changes.NewPoster(changes.PosterConfig{Allow: cfg.Settings.AllowNetworks, Roots: cfg.Roots}),
		Limits: changes.Limits{Documents: int64(limits.DataStream.Documents), Bytes: int64(limits.DataStream.Bytes)},
	})
	return s, err
}

// pipeline is that of a customer's stream; nil is none.
func (s *streams) pipeline(customer string) *engine.Prepared { return (*s.pipelines.Load())[customer] }

// prepare readies the pipelines of settings. The error names what is wrong with all of them.
func (s *streams) prepare(set *config.Settings) (map[string]*engine.Prepared, error) {
	prepared, _, diags := PrepareStreams(s.engine, set)
	return prepared, diags.Err()
}

// use takes pipelines into effect: streams whose pipeline is another one go on with it.
func (s *streams) use(prepared map[string]*engine.Prepared) { s.pipelines.Store(&prepared) }

// PrepareStreams readies the pipelines that customers of a configuration have for their data streams, and says what is wrong
// with any of them.
func PrepareStreams(e *engine.Engine, set *config.Settings) (_ map[string]*engine.Prepared, source diag.Source, diags diag.List) {
	prepared, known := map[string]*engine.Prepared{}, map[string]*engine.Prepared{}
	for _, c := range set.Customers {
		name := c.DataStream.Pipeline
		if name == "" {
			continue
		}
		if _, again := known[name]; !again {
			prepare := e.Prepare
			if config.PipelineFile(name) {
				prepare = e.PrepareFile
			}
			p, more := prepare(name)
			known[name] = p
			diags = append(diags, more...)
		}
		if known[name] == nil {
			continue
		}
		// What a run would be refused for is told now as well.
		if _, more := known[name].Bind(streamInputs(&c)); more.HasErrors() {
			diags = append(diags, more...)
			continue
		}
		prepared[c.ID] = known[name]
	}
	return prepared, e.Source, diags.Normalise()
}

// streamInputs are those of a run that begins with a copy.
func streamInputs(c *config.Customer) engine.Inputs {
	dsn := cmp.Or(c.DSN.Reveal(), "mysql://user@localhost/database") // secrets may not have been read
	return engine.Inputs{
		Parameters: map[string]any{"position": "", "again": ""}, Timeout: -1, End: engine.EndCallerTable,
		Secrets: func(name string) (string, bool) { return dsn, name == "dsn" }, Customer: engine.Customer{ID: c.ID, Attributes: attributes(c)},
	}
}

// stop ends the streams, if there are any.
func (s *streams) stop(ctx context.Context) {
	if s != nil {
		s.Stop(ctx)
	}
}
