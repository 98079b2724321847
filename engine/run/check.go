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
	// Fault is what a run would fail with, or what is to be known.
	Fault *fault.Fault `json:"-"`
}

// CheckReport is what a check has found, in the order in which a run would meet it.
type CheckReport struct {
	Findings []Finding
	// Columns are what the source would deliver; nil when only a run can tell.
	Columns []Column
}

// Wrong is the fault that a run would fail with; nil when nothing is wrong. Settings come
// first, which are looked at before anything is reached, and then the first stage.
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

// Check says everything that is wrong with a plan before it runs: it makes every stage,
// connects the source, gives its columns to the stages behind, and looks at the place
// where the sink delivers to. It reads no row and leaves nothing behind. The error is what
// kept it from looking.
func Check(ctx context.Context, h *host.Host, p *plan.Plan, id string) (*CheckReport, error) {
	c := &checking{host: h, plan: p, id: id, secrets: p.SecretTexts(), processes: map[string]host.Process{}}
	defer c.close()
	report := &CheckReport{}
	var columns *arrow.Schema
	var media *stage.Media
	for i := range p.Stages {
		s := &p.Stages[i]
		if s.Caller {
			continue // whoever has the sink knows what is wrong with it
		}
		findings, gives, becomes, err := c.stage(ctx, s, columns, media)
		if ctx.Err() != nil {
			return nil, fault.From(context.Cause(ctx))
		}
		if err != nil {
			findings = append(findings, Finding{Level: stage.LevelWrong, Fault: fault.From(err)})
		}
		for _, f := range findings {
			f.Stage, f.At, f.Fault = s.ID, s.At, fault.InStage(f.Fault, s.ID)
			report.Findings = append(report.Findings, f)
		}
		columns, media = gives, becomes
		if s.Kind == stage.KindSource && columns != nil {
			report.Columns = []Column{}
			for _, f := range columns.Fields() {
				column := Column{Name: f.Name, Type: f.Type.String(), Nullable: f.Nullable}
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
		// Whatever comes of it, the next stage of the plugin has a process of its own.
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

// process is the one of the stage's plugin, started when it is first needed.
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
