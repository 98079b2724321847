// Package control is the control plane of a plugin process: the service that the
// host calls (controlpb/control.proto), and the program around it. It owns the
// order of calls, events and the conversion of faults and receipts; the data
// itself never passes through it (package wire), and the stages are run by
// package runner.
package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// heartbeat is how often an event is sent while a group runs. The host takes a
// long silence for a process that hangs.
const heartbeat = 250 * time.Millisecond

// abortTimeout bounds the clean-up of a sink after a failure.
const abortTimeout = 10 * time.Second

// Session serves one run of one group of stages: Open, Start, Commit. The host
// uses it directly for stages in its own process.
type Session struct {
	bundle stage.Bundle

	mu        sync.Mutex
	group     *runner.Group
	cancel    context.CancelFunc
	cancelled bool
	events    *eventLog
	sink      bool
	running   context.Context // of Start
	prepared  bool
	commit    chan commitResult // the outcome of Commit, for Start
	announced announcements
	served    sync.WaitGroup // Start, while it goes on
}

type commitResult struct{ err error }

// NewSession returns a session over the stages of a bundle.
func NewSession(bundle stage.Bundle) *Session {
	return &Session{bundle: bundle, events: newEventLog(), commit: make(chan commitResult, 1)}
}

// Open builds the group.
func (s *Session) Open(_ context.Context, req *pb.OpenRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group != nil {
		return fault.New("control.order", fault.Internal, "this process already serves a run")
	}
	cfg := runner.Config{
		RunID:       req.RunId,
		Traceparent: req.Traceparent,
		Input:       req.Input,
		Output:      req.Output,
		InputPeer:   PeerFromProto(req.InputPeer),
		OutputPeer:  PeerFromProto(req.OutputPeer),
		BudgetBytes: req.GetLimits().GetBudgetBytes(),
		Workers:     int(req.GetLimits().GetWorkers()),
		BatchRows:   int(req.GetLimits().GetBatchRows()),
		BatchBytes:  int(req.GetLimits().GetBatchBytes()),
		Stall:       time.Duration(req.GetLimits().GetStallNanoseconds()),
		Dir:         req.Dir,
		Log:         slog.New(s.events),
		Announce:    s.announce,
		Opened: func(schema *arrow.Schema, estimatedRows int64) {
			s.events.put(&pb.Event{Kind: &pb.Event_Opened{Opened: &pb.Opened{Columns: columnsToProto(schema), EstimatedRows: estimatedRows}}})
		},
	}
	for _, r := range req.Stages {
		definition, ok := s.bundle.Find(stage.Kind(r.Kind), r.Name)
		if !ok {
			return unknownStage(s.bundle.Name, r)
		}
		cfg.Stages = append(cfg.Stages, runner.Stage{ID: r.Id, Definition: definition, Settings: r.Settings})
		s.sink = definition.Kind == stage.KindSink
	}
	group, err := runner.Open(cfg)
	if err != nil {
		return err
	}
	s.group = group
	return nil
}

// Start runs the group and sends events until it has finished or failed. The
// last event is Finished or Fault; the error is send's own.
func (s *Session) Start(ctx context.Context, send func(*pb.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	group := s.group
	if group == nil || s.cancel != nil {
		s.mu.Unlock()
		return fault.New("control.order", fault.Internal, "Start comes once, after Open")
	}
	s.cancel, s.running = cancel, ctx
	s.announced.begin(ctx)
	s.served.Add(1)
	defer s.served.Done()
	if s.cancelled {
		cancel()
	}
	s.mu.Unlock()

	// A panic of a goroutine that a stage started is beyond us; all others end
	// as faults in here.
	finished := make(chan error, 1)
	go func() { finished <- s.execute(ctx, group) }()

	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		var err error
		select {
		case event := <-s.events.queue:
			err = send(event)
		case <-ticker.C:
			err = send(progressOf(group))
			if e := checkpointOf(group); e != nil && err == nil {
				err = send(e)
			}
		case runErr := <-finished:
			return s.conclude(group, runErr, send)
		}
		if err != nil {
			// The host is gone or has turned away: end the group before returning.
			cancel()
			<-finished
			return err
		}
	}
}

// checkpointOf is the event of the newest checkpoint that the host was not told; nil where there is none. One that is
// overtaken before the next heartbeat is not told at all.
func checkpointOf(group *runner.Group) *pb.Event {
	c, is := group.TakeCheckpoint()
	if !is {
		return nil
	}
	return &pb.Event{Kind: &pb.Event_Checkpoint{Checkpoint: &pb.Checkpoint{Position: c.Position, Rows: c.Rows}}}
}

// execute runs the group, and for a sink waits for the host's decision.
func (s *Session) execute(ctx context.Context, group *runner.Group) error {
	err := group.Run(ctx)
	s.events.put(progressOf(group)) // the last one before Prepared is exact
	if e := checkpointOf(group); e != nil {
		s.events.put(e)
	}
	if err == nil && s.sink {
		s.mu.Lock()
		s.prepared = true
		s.mu.Unlock()
		account, streams := accountOf(group)
		s.events.put(&pb.Event{Kind: &pb.Event_Prepared{Prepared: &pb.Prepared{Account: account, Streams: streams}}})
		err = s.decision(ctx)
	}
	if err != nil {
		s.abort(ctx, group)
	}
	return err
}

// decision waits for the outcome of Commit, or for the end of ctx. A Commit that has begun by
// then decides: what it made visible must not be taken for gone.
func (s *Session) decision(ctx context.Context) error {
	select {
	case result := <-s.commit:
		return result.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	begun := !s.prepared
	s.prepared = false
	s.mu.Unlock()
	if begun {
		return (<-s.commit).err
	}
	return ctx.Err()
}

// abort lets the sink clean up, for as long as it may take.
func (s *Session) abort(ctx context.Context, group *runner.Group) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- group.Abort(ctx) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		slog.New(s.events).Error("clean-up after the failure failed too", "error", err.Error())
	}
}

func (s *Session) conclude(group *runner.Group, err error, send func(*pb.Event) error) error {
	for {
		select {
		case event := <-s.events.queue:
			if err := send(event); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	account, _ := accountOf(group)
	if err != nil {
		return send(&pb.Event{Kind: &pb.Event_Fault{Fault: FaultToProto(err)}, Account: account})
	}
	return send(&pb.Event{Kind: &pb.Event_Finished{Finished: account}})
}

// progressOf is how far a group is.
func progressOf(group *runner.Group) *pb.Event {
	result := group.Result()
	progress := &pb.Progress{Rows: result.Rows, Bytes: result.Bytes}
	progress.EncodedRows, progress.EncodedBytes = encodedOf(&result)
	return &pb.Event{Kind: &pb.Event_Progress{Progress: progress}}
}

// encodedOf is what a group has encoded: no rows without an encoder or a sink of rows, and no bytes where none were
// made.
func encodedOf(r *runner.Result) (rows, bytes *int64) {
	if r.Encodes {
		rows = &r.EncodedRows
	}
	if r.EncodedBytes > 0 {
		bytes = &r.EncodedBytes
	}
	return rows, bytes
}

// accountOf is the account of a group so far, and whether the bytes of its sink are seen as they come.
func accountOf(group *runner.Group) (account *pb.Finished, streams bool) {
	result := group.Result()
	cpu, peak := usage()
	account = &pb.Finished{
		Rows: result.Rows, Bytes: result.Bytes, Counters: result.Counters, Facts: result.Facts,
		Media:          MediaToProto(&result.Media),
		CpuNanoseconds: cpu.Nanoseconds(), PeakMemoryBytes: peak,
	}
	account.EncodedRows, account.EncodedBytes = encodedOf(&result)
	return account, result.Streams
}

// Commit makes the sink's output visible. Its context ends with that of Start as well.
func (s *Session) Commit(ctx context.Context) (stage.Receipt, error) {
	s.mu.Lock()
	ready, running := s.prepared, s.running
	s.prepared = false
	s.mu.Unlock()
	if !ready {
		return stage.Receipt{}, fault.New("control.order", fault.Internal, "Commit comes once, after Prepared")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, cancel)()
	receipt, err := s.group.Commit(ctx)
	s.commit <- commitResult{err}
	return receipt, err
}

// End cancels the group and waits until it has cleaned up, because nobody is there any more who would.
func (s *Session) End() {
	s.Cancel()
	s.served.Wait()
}

// Cancel stops the group; Start then ends with a fault. It may come at any time.
func (s *Session) Cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled = true
	if s.cancel != nil {
		s.cancel()
	} else if s.group != nil {
		_ = s.group.Abort(context.Background())
	}
}
