package control

import (
	"context"
	"sync"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// announcements are those that wait for the host to say that it has them. They have a lock of their own: a stage that
// is made in Open may announce, which is refused, while the session is locked.
type announcements struct {
	mu      sync.Mutex
	running context.Context // of Start; nil before
	last    int64
	waiting map[int64]chan struct{}
}

// begin says that announcements are heard from now on, until ctx ends.
func (a *announcements) begin(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = ctx
}

// during is the context while which they are heard; nil before Start.
func (a *announcements) during() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}

// next numbers an announcement; the channel is closed when the host has it.
func (a *announcements) next() (id int64, heard <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	if a.waiting == nil {
		a.waiting = map[int64]chan struct{}{}
	}
	c := make(chan struct{})
	a.waiting[a.last] = c
	return a.last, c
}

func (a *announcements) heard(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.waiting[id]; c != nil {
		close(c)
		delete(a.waiting, id)
	}
}

// Acknowledge says that the host has an announcement. Another number than one that waits is passed over.
func (s *Session) Acknowledge(id int64) { s.announced.heard(id) }

// announce tells the host what a stage is about to begin, and returns when the host has it.
func (s *Session) announce(ctx context.Context, stageID string, r stage.Resource) (release func(), err error) {
	running := s.announced.during()
	switch {
	case running == nil:
		return nil, fault.New("control.order", fault.Internal, "stage %q announces something before it runs", stageID).
			WithHint("announce in Open or later, not when the stage is made")
	case len(r.Name) > stage.LongestResourceText || len(r.Remedy) > stage.LongestResourceText || len(r.State) > stage.LongestResourceState:
		return nil, fault.New("plugin.contract", fault.Plugin, "stage %q announces something in %d, %d and %d bytes; expected at most %d, %d and %d",
			stageID, len(r.Name), len(r.Remedy), len(r.State), stage.LongestResourceText, stage.LongestResourceText, stage.LongestResourceState)
	}
	id, heard := s.announced.next()
	event := &pb.Event{Kind: &pb.Event_Announced{Announced: &pb.Announced{Id: id, Stage: stageID, Resource: ResourceToProto(r)}}}
	var once sync.Once
	release = func() {
		once.Do(func() {
			s.announced.heard(id)
			s.events.offer(&pb.Event{Kind: &pb.Event_Released{Released: &pb.Released{Id: id}}})
		})
	}
	select {
	case s.events.queue <- event:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-running.Done():
		return nil, context.Cause(running)
	}
	select {
	case <-heard:
		return release, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-running.Done():
		err = context.Cause(running)
	}
	release()
	return nil, err
}

// Undo ends what another process had announced.
func (s *Session) Undo(ctx context.Context, req *pb.UndoRequest) *pb.UndoResponse {
	r := req.GetStage()
	errs := make([]error, len(req.Resources))
	if definition, ok := s.bundle.Find(stage.Kind(r.GetKind()), r.GetName()); ok {
		var resources []stage.Resource
		for _, of := range req.Resources {
			resources = append(resources, ResourceFromProto(of))
		}
		errs = runner.Undo(ctx, runner.Stage{ID: r.Id, Definition: definition, Settings: r.Settings}, req.RunId,
			req.Dir, resources)
	} else {
		for i := range errs {
			errs[i] = unknownStage(s.bundle.Name, r)
		}
	}
	resp := &pb.UndoResponse{}
	for _, err := range errs {
		resp.Outcomes = append(resp.Outcomes, &pb.UndoOutcome{Fault: FaultToProto(err)})
	}
	return resp
}

func (s *server) Acknowledge(_ context.Context, req *pb.AcknowledgeRequest) (*pb.AcknowledgeResponse, error) {
	s.session.Acknowledge(req.Id)
	return &pb.AcknowledgeResponse{}, nil
}

func (s *server) Undo(ctx context.Context, req *pb.UndoRequest) (*pb.UndoResponse, error) {
	return s.session.Undo(ctx, req), nil
}

// ResourceToProto makes a message of a resource.
func ResourceToProto(r stage.Resource) *pb.Resource {
	return &pb.Resource{Name: r.Name, Remedy: r.Remedy, State: r.State, Discoverable: r.Discoverable, RunId: r.RunID}
}

// ResourceFromProto is the inverse of ResourceToProto.
func ResourceFromProto(r *pb.Resource) stage.Resource {
	return stage.Resource{Name: r.GetName(), Remedy: r.GetRemedy(), State: r.GetState(),
		Discoverable: r.GetDiscoverable(), RunID: r.GetRunId()}
}
