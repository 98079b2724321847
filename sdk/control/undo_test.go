package control_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// announcer is a sink that announces, and says when it was heard.
type announcer struct {
	env   stage.Env
	early error // of an announcement when the sink was made
	heard chan struct{}
}

func (a *announcer) Open(ctx context.Context, _ stage.Object) error {
	if _, err := a.env.Announce(ctx, stage.Resource{Name: "x", State: make([]byte, stage.LongestResourceState+1)}); !fault.Is(err, "plugin.contract") {
		return errors.New("what is too long was taken")
	}
	release, err := a.env.Announce(ctx, stage.Resource{Name: "the thing", Remedy: "end it", State: []byte("state"), Discoverable: true})
	if err == nil {
		close(a.heard)
		release()
		release()
	}
	return err
}
func (a *announcer) Write(context.Context, []byte) error { return nil }
func (a *announcer) Commit(context.Context) (stage.Receipt, error) {
	return stage.Receipt{}, nil
}
func (a *announcer) Abort(context.Context) error { return nil }

func announcing(t *testing.T) (*control.Session, *announcer) {
	t.Helper()
	a := &announcer{heard: make(chan struct{})}
	b := runnertest.Bundle("test")
	b.Stages = append(b.Stages, stage.DefineSink(stage.About{Name: "announcer", Summary: "Announces."}, func(_ struct{}, env stage.Env) (stage.Sink, error) {
		a.env = env
		_, a.early = env.Announce(context.Background(), stage.Resource{Name: "early"})
		return a, nil
	}))
	s := control.NewSession(b)
	request := group("", `{"rows":3}`)
	request.Stages[2] = &pb.Stage{Id: "sink", Kind: "sink", Name: "announcer"}
	if err := s.Open(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	return s, a
}

// TestAnnounceWaits: what is announced may be begun when the host has it, and not before.
func TestAnnounceWaits(t *testing.T) {
	t.Parallel()
	s, a := announcing(t)
	if !fault.Is(a.early, "control.order") {
		t.Errorf("announced when it was made: %v", a.early)
	}
	var announced, released []int64
	err := s.Start(context.Background(), func(e *pb.Event) error {
		if of := e.GetAnnounced(); of != nil {
			announced = append(announced, of.Id)
			if of.Stage != "sink" || of.Resource.Name != "the thing" || of.Resource.Remedy != "end it" || string(of.Resource.State) != "state" || !of.Resource.Discoverable {
				t.Errorf("announced is %v", of)
			}
			select {
			case <-a.heard:
				t.Error("the stage went on before the host had it")
			default:
			}
			s.Acknowledge(of.Id + 7) // of nothing
			s.Acknowledge(of.Id)
			s.Acknowledge(of.Id)
		}
		if of := e.GetReleased(); of != nil {
			released = append(released, of.Id)
		}
		if e.GetPrepared() != nil {
			go func() { _, _ = s.Commit(context.Background()) }()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(announced) != 1 || len(released) != 1 || announced[0] != released[0] {
		t.Errorf("announced %v, released %v", announced, released)
	}
}

// TestAnnounceCancelled: a stage that waits for a host that does not answer ends with the run.
func TestAnnounceCancelled(t *testing.T) {
	t.Parallel()
	s, a := announcing(t)
	var last *pb.Event
	err := s.Start(context.Background(), func(e *pb.Event) error {
		if e.GetAnnounced() != nil {
			s.Cancel()
		}
		last = e
		return nil
	})
	if err != nil || last.GetFault().GetCode() != "run.cancelled" {
		t.Errorf("%v, and the last event is %v", err, last)
	}
	select {
	case <-a.heard:
		t.Error("the stage went on")
	default:
	}
	s.End() // waits for nothing any more
}

// TestUndoOfUnknown: what cannot be undone has a fault each.
func TestUndoOfUnknown(t *testing.T) {
	t.Parallel()
	s := control.NewSession(runnertest.Bundle("test"))
	for _, c := range []struct{ kind, name, settings, code string }{
		{"sink", "nowhere", "{}", "plugin.unknown_stage"}, {"sink", "file", `{"path":"/x"}`, stage.CodeCannotUndo}, {"sink", "file", `{"unknown":1}`, "config.invalid"},
		{"source", "count", `{"rows":1}`, stage.CodeCannotUndo},
	} {
		answer := s.Undo(t.Context(), &pb.UndoRequest{Stage: &pb.Stage{Id: "s", Kind: c.kind, Name: c.name, Settings: []byte(c.settings)}, Resources: []*pb.Resource{{}, {}}})
		if len(answer.Outcomes) != 2 || answer.Outcomes[1].GetFault().GetCode() != c.code {
			t.Errorf("%s %s: %v, want %s twice", c.kind, c.name, answer, c.code)
		}
	}
}
