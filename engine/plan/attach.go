package plan

import (
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of stages that are named from outside the pipeline.
const (
	CodeNoSuchStage   = "plan.no_such_stage"
	CodeStageAttached = "plan.stage_not_attachable"
)

// Find returns the index of the stage with that ID, or else of the only one that
// uses what has that name.
func (p *Plan) Find(name string) (int, error) {
	var ids []string
	var using []int
	for i, s := range p.Stages {
		if s.ID == name {
			return i, nil
		}
		if s.Name == name {
			using = append(using, i)
		}
		text := s.ID
		if s.ID != s.Name {
			text += " (" + s.Name + ")"
		}
		ids = append(ids, text)
	}
	if len(using) == 1 {
		return using[0], nil
	}
	if len(using) > 1 {
		return 0, fault.New(CodeNoSuchStage, fault.Usage, "several stages of pipeline %q use %q", p.Name, name).
			WithHint("name one of %s", strings.Join(ids, ", "))
	}
	return 0, fault.New(CodeNoSuchStage, fault.Usage, "pipeline %q runs no stage %q", p.Name, name).
		WithHint("it runs %s", strings.Join(ids, ", "))
}

// Attach gives each of these stages a group of its own, whose process a person starts, under a debugger for instance.
// Stages are named as in Find. When it fails, with a coded error, the plan is unchanged.
func (p *Plan) Attach(names ...string) error {
	var chosen []int
	for _, name := range names {
		i, err := p.Find(name)
		if err != nil {
			return err
		}
		if slices.Contains(chosen, i) {
			return fault.New(CodeStageAttached, fault.Usage, "stage %q is to be attached twice", p.Stages[i].ID).
				WithHint("name it once")
		}
		chosen = append(chosen, i)
	}
	var groups []Group
	for _, g := range p.Groups {
		rest := Group{Plugin: g.Plugin, InHost: g.InHost}
		flush := func() {
			if len(rest.Stages) > 0 {
				groups = append(groups, rest)
				rest.Stages = nil
			}
		}
		for _, i := range g.Stages {
			if !slices.Contains(chosen, i) {
				rest.Stages = append(rest.Stages, i)
				continue
			}
			if g.InHost {
				return fault.New(CodeStageAttached, fault.Usage,
					"stage %q runs in the host's own process, so that no other can be attached for it", p.Stages[i].ID).
					WithHint("stages have processes with the isolation group or stage; the stages are %s",
						strings.Join(p.ids(), ", "))
			}
			flush()
			groups = append(groups, Group{Plugin: g.Plugin, Attach: true, Stages: []int{i}})
		}
		flush()
	}
	p.Groups = groups
	return nil
}

func (p *Plan) ids() []string {
	ids := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		ids[i] = s.ID
	}
	return ids
}
