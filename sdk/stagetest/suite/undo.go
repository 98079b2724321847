package suite

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Mortal is a Running process that can be killed, and asked to undo what a killed one had announced.
type Mortal interface {
	Running
	// Kill ends the process at once, with no time to clean up. It is gone when Start has returned.
	Kill()
	// Undo is the call of the control service. The outcomes are in the order of the resources. Secrets are texts that
	// must not appear in a log.
	Undo(ctx context.Context, request *pb.UndoRequest, secrets []string) (outcomes []error, err error)
}

// resourceBreach says what is wrong with what is announced.
func resourceBreach(r stage.Resource) string {
	switch {
	case r.Name == "":
		return "something is announced without a name"
	case len(r.Name) > stage.LongestResourceText || len(r.Remedy) > stage.LongestResourceText || len(r.State) > stage.LongestResourceState:
		return "what is announced is longer than a host takes: " + r.Name[:min(len(r.Name), 100)]
	}
	return ""
}

// hostile are states that no stage has announced.
var hostile = []string{"", "garbage", "\x00\xff\xfe", "null", "{}", "[]", "/", "../../etc/passwd", `{"path":"/etc/passwd"}`}

// undo is the check of a stage in this process that has the ability: it refuses what it has not announced, and releases
// what it has ended.
func (h *harness) undo(d stage.Definition) Check {
	return h.check(CheckUndo, func(p *probe) {
		i, err := h.newInstance(p.ctx, d)
		if err != nil {
			p.try("making the stage", err)
			return
		}
		defer i.close()
		defer p.breaches(CheckUndo)
		undoer, can := i.made.(stage.Undoer)
		if !can {
			p.skip("the stage has no Undo, and so must announce nothing")
			return
		}
		for _, state := range hostile {
			err := i.call(p.ctx, "Undo", func(ctx context.Context) error {
				return undoer.Undo(ctx, stage.Resource{Name: "hostile", State: []byte(state), RunID: "conformance"})
			})
			p.result.Cases++
			if err == nil || fault.From(err).Code == "internal" {
				p.fail("Undo of %q, which no stage has announced, gave %v; expected a coded error", state, err)
			}
		}
		if source, is := i.made.(stage.Source); is {
			_ = source.Close() // it was not opened
		}
	})
}

// undo kills a sink's process while it is at work, and has another one undo what the first had announced: then nothing
// is there any more.
func (h *processHarness) undo() Check {
	return h.check(CheckUndo, func(p *probe) {
		resources, settings, dir, remove, err := h.killed(p.ctx)
		if remove != nil {
			defer remove()
		}
		if err != nil {
			p.try("a process that is killed", err)
			return
		}
		if len(resources) == 0 {
			p.skip("the process announced nothing that it began, or could not be killed")
			return
		}
		for _, what := range []string{"Undo after a kill", "Undo of what is gone"} {
			outcomes, err := h.ask(p.ctx, dir, settings, resources)
			for i := 0; err == nil && i < len(outcomes); i++ {
				err = outcomes[i]
			}
			p.try(what, err)
		}
		if left := filesIn(written(dir)); len(left) > 0 {
			p.fail("a process was killed and what it had announced was undone, but %s is left", left[0])
		}
		h.strange(p, dir, settings, hostile)
	})
}

// strange asks one process to undo states that no stage has announced, and another one for each of them where the first
// gave no answer.
func (h *processHarness) strange(p *probe, dir string, settings []byte, states []string) {
	var resources []*pb.Resource
	for _, state := range states {
		resources = append(resources, &pb.Resource{Name: "hostile", State: []byte(state), RunId: "conformance"})
	}
	outcomes, err := h.ask(p.ctx, dir, settings, resources)
	if err != nil && len(states) > 1 {
		for i := range states {
			h.strange(p, dir, settings, states[i:i+1])
		}
		return
	}
	for i, state := range states {
		var outcome error
		if err == nil {
			outcome = outcomes[i]
		}
		p.result.Cases++
		if outcome == nil || fault.Is(outcome, "plugin.panic") {
			p.fail("Undo of %q, which no stage has announced, gave %v, %v; expected a fault", state, outcome, err)
		}
	}
}

// killed runs a process until it has written something, and kills it. It returns what the process had announced and not
// released, and the directory that it reached, in which it wrote.
func (h *processHarness) killed(ctx context.Context) (resources []*pb.Resource, settings []byte, dir string, remove func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.Patience)
	defer cancel()
	dir, remove, err = tempDir()
	if err != nil {
		return nil, nil, "", nil, err
	}
	if err = os.Mkdir(written(dir), 0o700); err != nil {
		return nil, nil, "", remove, err
	}
	if settings, err = h.options.settings(written(dir)); err != nil {
		return nil, nil, "", remove, problemf("%v", err)
	}
	t, err := h.input(plainBatches()...)
	if err != nil {
		return nil, nil, "", remove, err
	}
	defer t.release()
	t.open = true
	running, err := h.start(ctx, dir)
	if err != nil {
		return nil, nil, "", remove, err
	}
	defer running.Close()
	process, is := running.(Mortal)
	if !is {
		return nil, settings, dir, remove, nil
	}
	request := &pb.OpenRequest{RunId: "conformance", Input: filepath.Join(dir, "i"), Stages: []*pb.Stage{h.stageOf(settings)},
		Limits: &pb.Limits{BudgetBytes: 32 << 20, Workers: 2, BatchRows: 50, BatchBytes: 1 << 20, StallNanoseconds: int64(10 * time.Second)}}
	if err = process.Open(ctx, request, secretsOf(h.manifest.Spec, settings)); err != nil {
		return nil, settings, dir, remove, err
	}
	feeding, hangUp := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { feed(feeding, request.Input, t) })
	open := map[int64]*pb.Resource{}
	killed := false
	err = process.Start(ctx, func(e *pb.Event) {
		if a := e.GetAnnounced(); a != nil {
			r := a.GetResource()
			if breach := resourceBreach(stage.Resource{Name: r.GetName(), Remedy: r.GetRemedy(), State: r.GetState()}); breach != "" {
				h.report(CheckUndo, "%s", breach)
			}
			r.RunId = request.RunId
			open[a.Id] = r
		}
		delete(open, e.GetReleased().GetId())
		moved := e.GetProgress().GetBytes()
		if h.manifest.In == stage.ShapeTable {
			moved = e.GetProgress().GetRows()
		}
		if moved > 0 && !killed {
			killed = true
			process.Kill()
		}
	})
	hangUp()
	wait.Wait()
	if killed {
		err = nil // of what it has died is known
	}
	for _, r := range open {
		resources = append(resources, r)
	}
	return resources, settings, dir, remove, err
}

// written is the folder for what a stage leaves, beside the sockets of a process's directory.
func written(dir string) string { return filepath.Join(dir, "d") }

func (h *processHarness) stageOf(settings []byte) *pb.Stage {
	return &pb.Stage{Id: "stage", Kind: string(h.manifest.Kind), Name: h.manifest.Name, Settings: settings}
}

// ask asks another process, which reaches the same directory, to undo something.
func (h *processHarness) ask(ctx context.Context, dir string, settings []byte,
	resources []*pb.Resource) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.Patience)
	defer cancel()
	running, err := h.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer running.Close()
	outcomes, err := running.(Mortal).Undo(ctx, &pb.UndoRequest{Stage: h.stageOf(settings), RunId: "conformance", Resources: resources},
		secretsOf(h.manifest.Spec, settings))
	if err == nil && len(outcomes) != len(resources) {
		err = problemf("Undo gave %d outcomes for %d resources", len(outcomes), len(resources))
	}
	return outcomes, err
}
