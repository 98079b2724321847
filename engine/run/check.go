package run

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Finding is something that a check has found of a stage.
type Finding struct {
	// Stage is the stage's ID in the plan, and At its place in the pipeline's file.
	Stage string        `json:"stage,omitempty"`
	At    diag.Position `json:"at,omitzero"`
	Level stage.Level   `json:"level"`
	// Fault is the fault with which a run would fail, or the code and the text of a finding that is none.
	Fault *fault.Fault `json:"-"`
}

// CheckReport is the result of a check. Its findings are in the order of the stages.
type CheckReport struct {
	Findings []Finding
	// Columns are what the source would deliver; nil when only a run can tell.
	Columns []Column
}

// Wrong returns the fault with which a run would fail, or nil. Wrong settings come before all else, because a run
// refuses them first; then the first stage's finding counts.
func (r *CheckReport) Wrong() (first *fault.Fault) {
	for _, f := range r.Findings {
		switch {
		case f.Level != stage.LevelWrong:
		case f.Fault.Class == fault.Usage:
			return f.Fault
		case first == nil:
			first = f.Fault
		}
	}
	return first
}

// Check reports everything that is wrong with a plan without running it: it makes every stage, connects the source,
// binds the other stages to its columns, and checks the place that the sink delivers to. It reads no row and leaves
// nothing behind. It returns an error when it could not check.
func Check(ctx context.Context, h *host.Host, p *plan.Plan, id string) (*CheckReport, error) {
	c := &checking{host: h, plan: p, id: id, secrets: p.SecretTexts(), processes: map[string]host.Process{}}
	defer c.close()
	report := &CheckReport{}
	var columns *arrow.Schema
	var media *stage.Media
	for i := range p.Stages {
		s := &p.Stages[i]
		if s.Caller {
			continue // the caller's sink is the caller's to check
		}
		findings, gives, becomes, err := c.stage(ctx, s, columns, media)
		if ctx.Err() != nil {
			return nil, fault.From(context.Cause(ctx))
		}
		if err != nil {
			findings = append(findings, Finding{Level: stage.LevelWrong, Fault: fault.From(err)})
		}
		for _, f := range findings {
			f.Stage, f.At, f.Fault = s.ID, s.Locate(f.Fault), fault.InStage(f.Fault, s.ID)
			report.Findings = append(report.Findings, f)
		}
		columns, media = gives, becomes
		if s.Kind == stage.KindSource && columns != nil {
			report.Columns = []Column{}
			for _, f := range columns.Fields() {
				column := Column{Name: f.Name, Type: stage.TypeName(f), Nullable: f.Nullable}
				if k := f.Metadata.FindKey(stage.MetaSourceType); k >= 0 {
					column.SourceType = f.Metadata.Values()[k]
				}
				report.Columns = append(report.Columns, column)
			}
		}
	}
	return report, nil
}

// checking is the state of one check.
type checking struct {
	host      *host.Host
	plan      *plan.Plan
	id        string
	secrets   []string
	processes map[string]host.Process
}

// stage checks one stage in the process of its plugin.
func (c *checking) stage(ctx context.Context, s *plan.Stage, columns *arrow.Schema, media *stage.Media) (
	findings []Finding, gives *arrow.Schema, becomes *stage.Media, err error) {
	process, err := c.process(ctx, s)
	if err != nil {
		return nil, nil, nil, err
	}
	req := &pb.CheckRequest{
		Stage: &pb.Stage{Id: s.ID, Kind: string(s.Kind), Name: s.Name, Settings: s.SettingsJSON()},
		RunId: c.id, Media: control.MediaToProto(media), Connect: true,
	}
	if req.Columns, err = control.ColumnsToProto(columns); err != nil {
		return nil, nil, nil, err
	}
	resp, err := process.Check(ctx, req, c.secrets)
	if err != nil {
		// The process may be in any state now, so the next stage of the plugin is checked in another one.
		delete(c.processes, s.Plugin)
		process.Close()
		return nil, nil, nil, err
	}
	for _, f := range findingsOf(s.Plugin, resp) {
		findings = append(findings, Finding{Level: f.Level, Fault: f.Fault})
	}
	gives, err = control.ColumnsFromProto(resp.Columns)
	return findings, gives, control.MediaFromProto(resp.Media), err
}

// process returns a process of the stage's plugin. It is started for the first of its stages.
func (c *checking) process(ctx context.Context, s *plan.Stage) (host.Process, error) {
	if c.plan.Isolation == plan.IsolationNone && s.FirstParty {
		return c.host.Local(), nil
	}
	if p := c.processes[s.Plugin]; p != nil {
		return p, nil
	}
	p, err := c.host.Start(ctx, s.Plugin)
	if err == nil {
		c.processes[s.Plugin] = p
	}
	return p, err
}

func (c *checking) close() {
	for _, p := range c.processes {
		p.Close()
	}
}
