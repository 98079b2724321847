package changes

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Sources are where the changes of customers come from; *Pipelines is what a service has.
type Sources interface {
	// Source makes one run of a customer's source. It starts nothing. An error of the code CodeNoPipeline, customer.CodeUnknown
	// or customer.CodeDisabled says that the customer has no stream in this process.
	Source(ctx context.Context, customer string, o Order) (Source, error)
}

// Order is what one run of a source is to read.
type Order struct {
	RunID string
	// Position is where to go on; empty begins with a copy.
	Position string
	// Again ends the run: it reads what there is, then these documents, if any. Nil is a run that does not end.
	Again *changes.Again
}

// Source is one run of a source.
type Source interface {
	// Channels are those that its tables belong to, sorted.
	Channels() []string
	// Check says what a run would fail with, without reading a row. It returns nil where nothing is known to be wrong.
	Check(ctx context.Context) error
	// Run delivers a table of sdk/changes to a sink, once.
	Run(ctx context.Context, sink engine.TableSink) error
}

// Engine runs plans; *engine.Engine is one.
type Engine interface {
	Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error)
	Check(ctx context.Context, plan *engine.Plan) (*engine.CheckReport, error)
}

// Customers are those that this process serves; *customer.Registry knows them.
type Customers interface {
	Serves(ctx context.Context, id string) (*customer.Customer, error)
}

// Pipelines are the sources of customers whose streams are pipelines: each has one source, and takes the parameters
// "position" and "again".
type Pipelines struct {
	Engine    Engine
	Customers Customers
	// Pipeline is that of a customer's stream, nil where there is none. It may be another one at each call.
	Pipeline func(customer string) *engine.Prepared
	// Isolation spreads the stages of a run over processes. Default the engine's.
	Isolation engine.Isolation
	// RunMemory is the most that may be in flight in a run, in bytes. Default what its pipeline allows.
	RunMemory int64
	Log       *slog.Logger
}

// secretDSN is the connection URL of the customer's database.
const secretDSN = "dsn"

// Source binds the customer's pipeline.
func (p *Pipelines) Source(ctx context.Context, id string, o Order) (Source, error) {
	c, err := p.Customers.Serves(ctx, id)
	if err != nil {
		return nil, err
	}
	prepared := p.Pipeline(id)
	if prepared == nil {
		return nil, fault.New(CodeNoPipeline, fault.Usage, "the customer %s has no pipeline of a data stream here", id).
			WithHint("name one in the declaration of the customer: data_stream: {pipeline: FILE}")
	}
	parameters := map[string]any{"position": o.Position, "again": ""}
	if o.Again != nil {
		text, err := json.Marshal(changes.Again{Documents: append([]changes.Document{}, o.Again.Documents...)})
		if err != nil {
			return nil, err
		}
		parameters["again"] = string(text)
	}
	plan, diags := prepared.Bind(engine.Inputs{
		Parameters: parameters, RunID: o.RunID, StartedAt: time.Now(), Timeout: -1, Memory: p.RunMemory,
		Secrets:  func(name string) (string, bool) { return c.DSN.Reveal(), name == secretDSN },
		Customer: engine.Customer{ID: c.ID, Attributes: c.Attributes}, Allow: c.Allow, Log: p.Log,
		Isolation: p.Isolation, End: engine.EndCallerTable,
	})
	if plan == nil {
		return nil, fault.New(CodePipeline, fault.Usage, "the pipeline of the customer's data stream: %w", diags.Err()).
			WithHint("cipherstream data-stream check shows all that is wrong with it")
	}
	return &pipeline{p.Engine, plan}, nil
}

// notHere reports whether an error of Sources says that another process may have the stream, and this one has not.
func notHere(err error) bool {
	return fault.Is(err, CodeNoPipeline) || fault.Is(err, customer.CodeUnknown) || fault.Is(err, customer.CodeDisabled)
}

// pipeline is one run of a pipeline.
type pipeline struct {
	engine Engine
	plan   *engine.Plan
}

// Channels are those that the setting "tables" of the source names.
func (p *pipeline) Channels() []string {
	var all []string
	tables, _ := p.plan.Stages[0].Config["tables"].([]any)
	for _, t := range tables {
		table, _ := t.(map[string]any)
		channel, _ := table["channel"].(string)
		all = append(all, channel)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *pipeline) Check(ctx context.Context) error {
	report, err := p.engine.Check(ctx, p.plan)
	if err != nil {
		return err
	}
	if wrong := report.Wrong(); wrong != nil {
		return wrong
	}
	return nil
}

func (p *pipeline) Run(ctx context.Context, sink engine.TableSink) error {
	_, err := p.engine.Run(ctx, p.plan, sink, engine.RunOptions{})
	return err
}
