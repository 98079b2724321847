package run

import (
	"context"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// FilterChecker checks third-party filters in processes of their plugins. The planner uses its Check
// (plan.Config.CheckFilter). A plugin is started, confined as in a run, for the first of its filters, and asked again
// for the next ones; a process that was given a secret is ended and not asked again. A run may go on with one that knows
// nothing but what the run gives it (Yield). It is safe for concurrent use.
type FilterChecker struct {
	host *host.Host

	mu       sync.Mutex
	programs map[string]*filterProgram
}

// filterProgram is the process of a plugin. It is asked one question at a time.
type filterProgram struct {
	mu      sync.Mutex
	process host.Process
	told    []filterSettings // that the process was asked about
}

// filterSettings is what a process has been told of a filter.
type filterSettings struct{ name, settings string }

// NewFilterChecker makes one that starts nothing yet.
func NewFilterChecker(h *host.Host) *FilterChecker {
	return &FilterChecker{host: h, programs: map[string]*filterProgram{}}
}

// Check asks the filter's plugin what a run would fail with, and what the filter must be given so that it gives some
// columns, which is nil when the plugin does not know. A plugin without checks finds nothing. One that does not start,
// does not answer in time, or breaks, is a warning only: in the run it may do well.
func (c *FilterChecker) Check(s *plan.Stage, gives *arrow.Schema) (takes *arrow.Schema, found []stage.Finding) {
	p := c.program(s.Plugin)
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := context.Background() // the host bounds both calls
	takes, found, err := p.check(ctx, c.host, s, gives)
	if err != nil {
		p.end()
		return nil, []stage.Finding{{Level: stage.LevelWarning, Fault: fault.From(err)}}
	}
	return takes, found
}

func (p *filterProgram) check(ctx context.Context, h *host.Host, s *plan.Stage,
	gives *arrow.Schema) (*arrow.Schema, []stage.Finding, error) {
	columns, err := control.ColumnsToProto(gives)
	if err != nil {
		return nil, nil, err
	}
	if p.process == nil {
		if p.process, err = h.Start(ctx, s.Plugin); err != nil {
			p.process = nil
			return nil, nil, err
		}
	}
	secrets := s.SecretTexts()
	if len(secrets) > 0 {
		defer p.end()
	}
	settings := s.SettingsJSON()
	p.told = append(p.told, filterSettings{s.Name, string(settings)})
	resp, err := p.process.Check(ctx, &pb.CheckRequest{
		Stage: &pb.Stage{Id: s.ID, Kind: string(s.Kind), Name: s.Name, Settings: settings}, Columns: columns, Backward: true,
	}, secrets)
	if err != nil {
		return nil, nil, err
	}
	takes, err := control.ColumnsFromProto(resp.Columns)
	return takes, findingsOf(s.Plugin, resp), err
}

func (p *filterProgram) end() {
	if p.process != nil {
		p.process.Close()
		p.process, p.told = nil, nil
	}
}

// Yield ends the programs, so that a run of a plan has the machine's memory to itself. The host keeps for the run those
// that were told nothing but settings of the plan's filters.
func (c *FilterChecker) Yield(of *plan.Plan) {
	known := map[string][]filterSettings{}
	for i := range of.Stages {
		if s := &of.Stages[i]; s.Kind == stage.KindFilter {
			known[s.Plugin] = append(known[s.Plugin], filterSettings{s.Name, string(s.SettingsJSON())})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for plugin, p := range c.programs {
		p.mu.Lock()
		if p.process != nil && isSubset(p.told, known[plugin]) {
			c.host.KeepAsked(p.process)
			p.process, p.told = nil, nil
		}
		p.end()
		p.mu.Unlock()
	}
	var used []string
	for _, g := range of.Groups {
		used = append(used, g.Plugin)
	}
	c.host.EndAsked(used...)
}

func isSubset(of, all []filterSettings) bool {
	return !slices.ContainsFunc(of, func(s filterSettings) bool { return !slices.Contains(all, s) })
}

func (c *FilterChecker) program(plugin string) *filterProgram {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.programs[plugin]
	if p == nil {
		p = &filterProgram{}
		c.programs[plugin] = p
	}
	return p
}

// Close ends the programs. Another Check starts them again.
func (c *FilterChecker) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.programs {
		p.mu.Lock()
		p.end()
		p.mu.Unlock()
	}
}

// findingsOf are the findings in a plugin's answer, which may be malformed.
func findingsOf(plugin string, resp *pb.CheckResponse) (list []stage.Finding) {
	for _, f := range resp.Findings {
		finding := stage.Finding{Level: stage.Level(f.Level), Fault: control.FaultFromProto(f.Fault)}
		switch finding.Level {
		case stage.LevelWrong, stage.LevelWarning, stage.LevelUnchecked, stage.LevelFine:
		default:
			finding.Level = stage.LevelWarning // a level that a later version of the protocol may have
		}
		if finding.Fault == nil {
			finding.Fault = fault.New("plugin.contract", fault.Plugin,
				"plugin %q found something, and does not say what", plugin)
		}
		list = append(list, finding)
	}
	return list
}
