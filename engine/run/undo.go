package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// undoTime bounds how long a failed run may take to undo what its stages left behind, with the starts of processes for
// it.
const undoTime = 20 * time.Second

// DetailLeft is the detail of a fault that lists what the run left behind because it could not be undone, each with
// what a person can do to remove it.
const DetailLeft = "left_behind"

// ledger holds what the stages of a run have announced and not released. It is safe for concurrent use.
type ledger struct {
	mu   sync.Mutex
	open []*announcement
}

// announcement is something that a stage has announced. The number is unique in its group.
type announcement struct {
	group, stage int // in the plan
	id           int64
	resource     stage.Resource
	forget       func() // in the host's journal
}

func (l *ledger) add(a *announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, a)
}

// release removes what a group has ended itself.
func (l *ledger) release(group int, id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(a *announcement) bool {
		is := a.group == group && a.id == id
		if is {
			a.forget()
		}
		return is
	})
}

// take empties the ledger.
func (l *ledger) take() []*announcement {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := l.open
	l.open = nil
	return open
}

// announced notes what a stage of group i is about to begin. It returns before the stage gets its acknowledgement. The
// ledger is for the end of this run; the host's journal is for a later run, in case this process dies.
func (r *run) announced(h Host, i int, e *pb.Announced) {
	at := slices.IndexFunc(r.plan.Groups[i].Stages, func(s int) bool { return r.plan.Stages[s].ID == e.Stage })
	if at < 0 {
		r.emit(Log{Level: int(slog.LevelWarn), Stage: joined(r.groups[i].stages), Message: "something was announced of a stage that is not in this process; it cannot be undone"})
		return
	}
	a := &announcement{group: i, stage: r.plan.Groups[i].Stages[at], id: e.Id,
		resource: control.ResourceFromProto(e.Resource), forget: func() {}}
	a.resource.RunID = r.opts.ID
	s := &r.plan.Stages[a.stage]
	// Not written to the journal is what a later run finds by itself, and a state with a secret in it, which a stage
	// should not have put there.
	state := string(a.resource.State)
	if !a.resource.Discoverable && host.NewRedaction(r.plan.SecretTexts()).Text(state) == state {
		forget, err := h.Keep(host.Leftover{Plugin: s.Plugin, Kind: s.Kind, Stage: s.Name, Resource: a.resource})
		if err == nil {
			a.forget = forget
		} else {
			r.emit(Log{Level: int(slog.LevelWarn), Stage: s.ID, Message: "what the stage begins is not kept for a later run, should this process die",
				Attributes: map[string]string{"error": err.Error()}})
		}
	}
	r.ledger.add(a)
}

// undo is called when the processes of a run are gone. If the run has failed, it has everything undone that was
// announced and not released, and names what could not be undone in the run's fault. After a run that succeeded nothing
// is left.
func (r *run) undo(ctx context.Context, h Host, err error) error {
	open := r.ledger.take()
	if err == nil {
		for _, a := range open {
			a.forget()
		}
		return nil
	}
	if len(open) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	byStage := map[int][]*announcement{}
	for _, a := range open {
		byStage[a.stage] = append(byStage[a.stage], a)
	}
	left := make([][]string, len(r.plan.Stages))
	var wait sync.WaitGroup
	for s, list := range byStage {
		wait.Go(func() {
			resources := make([]stage.Resource, len(list))
			for i, a := range list {
				resources[i] = a.resource
			}
			inHost := r.plan.Groups[list[0].group].InHost
			for i, failure := range undoStage(ctx, h, r.plan, s, inHost, r.opts.ID, resources) {
				if failure == nil {
					list[i].forget()
					continue
				}
				r.emit(Log{Level: int(slog.LevelWarn), Stage: r.plan.Stages[s].ID, Message: "something of the run is left behind",
					Attributes: map[string]string{"what": resources[i].Name, "error": failure.Error()}})
				left[s] = append(left[s], describeLeft(resources[i]))
			}
		})
	}
	wait.Wait()
	return leftBehind(err, slices.Concat(left...))
}

// describeLeft says what is left behind, and how a person removes it.
func describeLeft(r stage.Resource) string {
	if r.Remedy == "" {
		return r.Name
	}
	return fmt.Sprintf("%s, remove it by: %s", r.Name, r.Remedy)
}

// leftBehind adds what could not be undone to a fault.
func leftBehind(err error, left []string) error {
	if len(left) == 0 {
		return err
	}
	whole := *fault.From(err)
	whole.Details = map[string]string{DetailLeft: strings.Join(left, "\n")}
	for k, v := range fault.From(err).Details {
		whole.Details[k] = v
	}
	whole.Message += "; left behind: " + strings.Join(left, "; ")
	return &whole
}

// undoStage asks a fresh process of a stage's plugin to undo what the stage has announced.
func undoStage(ctx context.Context, h Host, p *plan.Plan, s int, inHost bool, runID string,
	resources []stage.Resource) []error {
	failed := func(err error) []error {
		errs := make([]error, len(resources))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	planned := &p.Stages[s]
	var process host.Process
	if inHost {
		process = h.Local()
	} else {
		var err error
		if process, err = h.Start(ctx, planned.Plugin); err != nil {
			return failed(err)
		}
	}
	defer process.Close()
	req := &pb.UndoRequest{RunId: runID, Stage: &pb.Stage{Id: planned.ID, Kind: string(planned.Kind), Name: planned.Name, Settings: planned.SettingsJSON()}}
	for _, r := range resources {
		req.Resources = append(req.Resources, control.ResourceToProto(r))
	}
	errs, err := process.Undo(ctx, req, p.SecretTexts())
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fault.New("undo.timeout", fault.Plugin, "it was not undone within %s: %w", undoTime, err)
		}
		return failed(err)
	}
	return errs
}

// undoLeftovers has everything undone that runs of dead hosts have left at the places that this run uses. A run does
// this before all else. What cannot be undone is logged, and does not stop the run.
func (r *run) undoLeftovers(ctx context.Context, h Host) {
	undoLeftovers(ctx, h, r.plan, r.opts.ID, func(s *plan.Stage, of stage.Resource, err error) {
		r.emit(Log{Level: int(slog.LevelWarn), Stage: s.ID, Message: "what an earlier run left behind could not be ended",
			Attributes: map[string]string{"what": describeLeft(of), "error": err.Error()}})
	})
}

// UndoLeftovers has everything undone, in this process, that runs of dead hosts have left at the place in the settings
// of a first-party stage. It returns how many things that were, and an error that names those that are left.
func UndoLeftovers(ctx context.Context, h Host, s plan.Stage) (undone int, err error) {
	p := &plan.Plan{Name: "sweep", Stages: []plan.Stage{s},
		Groups: []plan.Group{{Plugin: s.Plugin, InHost: true, Stages: []int{0}}}}
	var left []error
	undone = undoLeftovers(ctx, h, p, NewID(p.Name, time.Now()), func(_ *plan.Stage, of stage.Resource, failure error) {
		left = append(left, leftBehind(failure, []string{describeLeft(of)}))
	})
	return undone, errors.Join(left...)
}

func undoLeftovers(ctx context.Context, h Host, p *plan.Plan, runID string,
	failed func(*plan.Stage, stage.Resource, error)) (undone int) {
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	h.Leftovers(func(list []host.Leftover) []bool {
		over := make([]bool, len(list))
		for s := range p.Stages {
			planned := &p.Stages[s]
			if planned.Caller || ctx.Err() != nil {
				continue
			}
			var at []int
			var resources []stage.Resource
			for i, l := range list {
				if l.Plugin == planned.Plugin && l.Kind == planned.Kind && l.Stage == planned.Name && !over[i] {
					at, resources = append(at, i), append(resources, l.Resource)
				}
			}
			if len(at) == 0 {
				continue
			}
			inHost := slices.ContainsFunc(p.Groups,
				func(g plan.Group) bool { return g.InHost && slices.Contains(g.Stages, s) })
			for i, failure := range undoStage(ctx, h, p, s, inHost, runID, resources) {
				switch {
				case failure == nil:
					over[at[i]] = true
					undone++
				case !fault.Is(failure, stage.CodeElsewhere):
					failed(planned, resources[i], failure)
				}
			}
		}
		return over
	})
	return undone
}
