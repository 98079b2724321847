package run

import (
	"context"
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
// for the next ones; a process that was given a secret is ended and not asked again. It is safe for concurrent use.
type FilterChecker struct {
	host *host.Host

	mu       sync.Mutex
	programs map[string]*filterProgram
}

// filterProgram is the process of a plugin. It is asked one question at a time.
type filterProgram struct {
	mu      sync.Mutex
	process host.Process
}

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
	resp, err := p.process.Check(ctx, &pb.CheckRequest{
		Stage: &pb.Stage{Id: s.ID, Kind: string(s.Kind), Name: s.Name, Settings: s.SettingsJSON()}, Columns: columns, Backward: true,
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
		p.process = nil
	}
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
