package record

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/link"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Codes of replays.
const (
	// CodeReplayStage is the code of a stage that cannot be replayed.
	CodeReplayStage = "replay.stage"
	// CodeReplaySecret is the code of a secret that the recording does not hold.
	CodeReplaySecret = "replay.secret"
)

// Replay says what is replayed, and how.
type Replay struct {
	// Dir is the folder of a recording, and Stage a stage of it: its ID, or the name of
	// what it uses when no other stage uses that.
	Dir, Stage string
	// Plugin is the plugin whose process serves the stage; empty for the one that did.
	Plugin string
	// Start starts the process, in place of Host.Start: one of a program that no lock file names. Reach is where its
	// data sockets are.
	Start func(ctx context.Context, reach ...host.Reach) (host.Process, error)
	// Attach waits for a process that somebody else starts.
	Attach bool
	// Set and Secrets change settings: texts by their places, as for plan.Assign.
	Set, Secrets map[string]string
	// Out is a file for the output, in place of the comparison.
	Out string
	// Events receives Awaiting, Attached and Log. It may be nil.
	Events func(run.Event)
}

// Replayed is the account of a replay.
type Replayed struct {
	Stage string      `json:"stage"`
	In    stage.Shape `json:"in"`
	Out   stage.Shape `json:"out"`
	// RowsIn and RowsOut count rows of tables, records, or pieces of byte streams.
	RowsIn  int64 `json:"rows_in"`
	RowsOut int64 `json:"rows_out"`
	// Partial is true when the recording ends before the stream did: what the stage was
	// given is then shorter, and what is compared as well. RowsCompared is how much that is.
	Partial      bool  `json:"partial"`
	RowsCompared int64 `json:"rows_compared"`
	// Difference is nil when there is none, or when nothing was compared.
	Difference *Difference `json:"difference,omitempty"`
}

// replay is one that goes on.
type replay struct {
	Replay
	record *Record
	stage  *Stage
	input  *recorded
	output *recorded
	result Replayed
	// words is true when the process knows the words of package peer.
	words bool
}

// Execute gives a stage what it was given in a recorded run, in a process of its own,
// and compares what it makes with what it made. A difference is no error.
func (in Replay) Execute(ctx context.Context, h *host.Host) (*Replayed, error) {
	r := &replay{Replay: in}
	var err error
	if r.record, err = Read(in.Dir); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	defer r.input.close()
	defer r.output.close()
	if err := r.run(ctx, h); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// open finds the stage and the files before and after it.
func (r *replay) open() error {
	p := plan.Plan{Name: r.record.Pipeline}
	for _, s := range r.record.Stages {
		p.Stages = append(p.Stages, plan.Stage{ID: s.ID, Name: s.Use})
	}
	i, err := p.Find(r.Stage)
	if err != nil {
		return err
	}
	r.stage = &r.record.Stages[i]
	r.result.Stage, r.result.In, r.result.Out = r.stage.ID, r.stage.In, r.stage.Out
	switch r.stage.Kind {
	case stage.KindSource:
		return fault.New(CodeReplayStage, fault.Usage,
			"stage %q is a source: nothing comes before it that could be replayed", r.stage.ID).
			WithHint("run the pipeline again, with --attach %s to debug the source", r.stage.ID)
	case stage.KindSink:
		return fault.New(CodeReplayStage, fault.Usage,
			"stage %q is a sink: nothing comes after it that could be compared", r.stage.ID).
			WithHint("run the pipeline again, with --attach %s to debug the sink", r.stage.ID)
	}
	for _, b := range r.record.Boundaries {
		if b.To == r.stage.ID {
			if r.input, err = openRecorded(r.Dir, b); err != nil {
				return err
			}
		}
		if b.From == r.stage.ID && r.Out == "" {
			r.output, err = openRecorded(r.Dir, b)
			if errors.Is(err, errEmpty) {
				// The run ended before the stage had made anything.
				r.output, err = nil, nil
			}
			if err != nil {
				return err
			}
		}
	}
	r.result.Partial = r.input != nil && r.input.partial || r.Out == "" && (r.output == nil || r.output.partial)
	if r.input == nil {
		return fault.New(CodeRecordRead, fault.Usage, "the recording has no boundary before stage %q", r.stage.ID)
	}
	return nil
}

func (r *replay) emit(e run.Event) {
	if r.Events != nil {
		r.Events(e)
	}
}

// start brings up the stage's process.
func (r *replay) start(ctx context.Context, h *host.Host, reach []host.Reach) (host.Process, error) {
	plugin := r.Plugin
	if plugin == "" {
		plugin = r.stage.Plugin
	}
	switch {
	case r.Attach:
	case r.Start != nil:
		return r.Start(ctx, reach...)
	default:
		return h.Start(ctx, plugin, reach...)
	}
	process, err := h.Attach(ctx, plugin, func(a host.Awaited) {
		r.emit(run.Awaiting{Stage: r.stage.ID, Plugin: a.Plugin, Environment: a.Environment, Program: a.Program, Args: a.Args,
			Interpreter: a.Interpreter})
	})
	if err == nil {
		r.emit(run.Attached{Stage: r.stage.ID, Plugin: plugin, PID: process.PID()})
	}
	return process, err
}

// settings are the stage's settings for the process, and the secrets among them.
func (r *replay) settings(ctx context.Context, process host.Process) ([]byte, []string, error) {
	offer, err := process.Describe(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.words = offer.LinkWords
	i := slices.IndexFunc(offer.Stages,
		func(m control.Manifest) bool { return m.Kind == r.stage.Kind && m.Name == r.stage.Use })
	if i < 0 {
		return nil, nil, fault.New("plugin.unknown_stage", fault.Plugin, "plugin %q has no %s called %q", offer.Plugin, r.stage.Kind, r.stage.Use)
	}
	s := plan.Stage{ID: r.stage.ID, Config: r.stage.Settings}
	if s.Config == nil {
		s.Config = map[string]any{}
	}
	given := map[string]bool{}
	for _, change := range []struct {
		values map[string]string
		secret bool
	}{{r.Set, false}, {r.Secrets, true}} {
		for _, place := range slices.Sorted(maps.Keys(change.values)) { // a whole before its parts
			if err := plan.Assign(offer.Stages[i].Spec, s.Config, place, change.values[place], change.secret); err != nil {
				return nil, nil, err
			}
			given[plan.Pointer(plan.Path(place))] = true
		}
	}
	for _, place := range r.stage.Secrets {
		if !covers(given, place) {
			return nil, nil, fault.New(CodeReplaySecret, fault.Usage, "setting %q of stage %q is a secret, which is not in the recording", place, r.stage.ID).
				WithHint("give --secret %s=SOURCE, where SOURCE is env:VARIABLE, file:PATH or command:PROGRAM", place)
		}
	}
	return s.SettingsJSON(), s.SecretTexts(), nil
}

// covers reports whether a setting was given, or one that it is a part of.
func covers(given map[string]bool, place string) bool {
	for place != "" && !given[place] {
		place = place[:strings.LastIndexByte(place, '/')]
	}
	return place != ""
}

// run runs the stage between the two files.
func (r *replay) run(ctx context.Context, h *host.Host) error {
	dir, err := h.NewDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	input, output := link.Socket(dir, 1), link.Socket(dir, 2)
	for _, socket := range []string{input, output} {
		if err := link.MakeDir(socket); err != nil {
			return err
		}
	}
	process, err := r.start(ctx, h, link.Reach(input, output))
	if err != nil {
		return fault.InStage(err, r.stage.ID)
	}
	defer process.Close()
	settings, secrets, err := r.settings(ctx, process)
	if err != nil {
		return fault.InStage(err, r.stage.ID)
	}
	request := &pb.OpenRequest{
		RunId:  r.record.RunID,
		Stages: []*pb.Stage{{Id: r.stage.ID, Kind: string(r.stage.Kind), Name: r.stage.Use, Settings: settings}},
		Input:  input, Output: output,
		Limits: &pb.Limits{BudgetBytes: runner.DefaultBudget, Workers: int32(runtime.GOMAXPROCS(0)),
			BatchRows: int32(r.record.Limits.BatchRows), BatchBytes: r.record.Limits.BatchBytes},
	}
	if r.Attach {
		request.Limits.StallNanoseconds = math.MaxInt64
	}
	patience := link.StrangerTimeout
	if r.Attach {
		patience = 0
	}
	stage := link.End{PID: process.PID(), Words: r.words}
	before, after := link.New(link.Own(), stage, patience), link.New(stage, link.Own(), patience)
	request.InputPeer, request.OutputPeer = control.PeerToProto(before.ToReader), control.PeerToProto(after.ToWriter)
	listener, err := link.Listen(request.Output)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := process.Open(ctx, request, secrets); err != nil {
		return fault.InStage(err, r.stage.ID)
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	var feedErr, drainErr error
	wait.Go(func() {
		if feedErr = r.feed(running, request.Input, before.ToWriter); feedErr != nil {
			cancel(feedErr)
		}
	})
	wait.Go(func() {
		if drainErr = r.drain(running, listener, after.ToReader); drainErr != nil {
			cancel(drainErr)
		}
	})
	startErr := process.Start(running, func(e *pb.Event) {
		if l := e.GetLog(); l != nil {
			r.emit(run.Log{Level: int(l.Level), Stage: l.Stage, Message: l.Message, Attributes: l.Attributes})
		}
	})
	if startErr != nil {
		cancel(startErr)
	}
	wait.Wait()
	redaction := host.NewRedaction(secrets)
	if d := r.result.Difference; d != nil {
		d.Message, d.Recorded, d.Replayed = redaction.Text(d.Message), redaction.Text(d.Recorded), redaction.Text(d.Replayed)
	}
	return redaction.Fault(r.cause(ctx, startErr, feedErr, drainErr))
}

// cause picks what explains a failure: the files' own faults, then the stage's, then
// what is only its echo.
func (r *replay) cause(ctx context.Context, startErr, feedErr, drainErr error) error {
	for _, err := range []error{feedErr, drainErr} {
		if fault.Is(err, CodeRecordRead) || fault.Is(err, CodeRecordWrite) || fault.Is(err, runner.LinkStranger) {
			return err
		}
	}
	switch {
	case ctx.Err() != nil && (startErr == nil || fault.From(startErr).Class == fault.Cancelled):
		return context.Cause(ctx)
	case startErr != nil:
		return fault.InStage(startErr, r.stage.ID)
	}
	return errors.Join(feedErr, drainErr)
}

// feed writes the recorded input. When the stage goes away it says why itself.
func (r *replay) feed(ctx context.Context, path string, to peer.Expected) error {
	conn, err := link.Dial(ctx, path, to)
	if conn == nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	writer, err := wire.NewWriter(conn, r.input.reader.Schema(), wire.WithMaxBatchBytes(math.MaxInt32))
	if err != nil {
		return nil
	}
	for {
		rec, err := r.input.reader.Read()
		if r.input.partial && errors.Is(err, wire.ErrTruncated) {
			err = io.EOF
		}
		if err == io.EOF {
			_ = writer.Close() // a stage that needs no more has gone
			return nil
		}
		if err != nil {
			return recordUnreadable(err)
		}
		r.result.RowsIn += rec.NumRows()
		err = writer.WriteWithMetadata(rec, r.input.reader.Metadata())
		rec.Release()
		if err != nil {
			return nil
		}
	}
}

// drain takes the stage's output.
func (r *replay) drain(ctx context.Context, listener *net.UnixListener, from peer.Expected) error {
	conn, err := peer.Accept(ctx, listener, from, nil)
	if err != nil {
		return nil // the stage has ended, and says why
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if r.Out != "" {
		return r.keep(conn)
	}
	reader, err := wire.NewReader(conn)
	if err != nil {
		return linkFault(err)
	}
	got := &cursor{reader: reader}
	if r.output == nil {
		err = got.drain()
		got.release()
	} else {
		r.result.Difference, err = compare(&r.output.cursor, got, r.stage.Out)
		r.result.RowsCompared = r.output.rows
	}
	r.result.RowsOut = got.rows
	if err != nil {
		return linkFault(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(wire.EndTimeout))
	if reader.More() {
		return fault.New(runner.LinkProtocol, fault.Plugin,
			"the stage sent more behind the end of its stream; a stream has one schema, that of its beginning")
	}
	return nil
}

// linkFault is the fault of a stream that the stage writes; when the stage failed it is
// an echo.
func linkFault(err error) error {
	var f *fault.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, wire.ErrTruncated), errors.Is(err, net.ErrClosed):
		return fault.New(runner.UpstreamEnded, fault.Plugin, "the stage ended without finishing its stream")
	}
	return fault.New(runner.LinkProtocol, fault.Plugin, "the stage sent something that is not a valid Arrow stream: %w",
		err)
}

// keep writes the output to a file, which appears when it is whole.
func (r *replay) keep(conn net.Conn) error {
	partial := r.Out + partialEnding
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(CodeRecordWrite, fault.Usage, "%s is there already: another replay writes it, or was killed", partial).WithHint("remove it if nobody does")
	}
	if err != nil {
		return writeFailed(partial, err)
	}
	defer file.Close()
	out, err := newArrowFile(file)
	ended := endedTruncated
	if err == nil {
		ended, err = copyStream(io.Discard, out, conn)
	}
	if err == nil && ended == endedWhole {
		err = out.finish()
	}
	r.result.RowsOut = out.rows
	if err == nil && ended == endedWhole {
		if err = os.Rename(partial, r.Out); err == nil {
			return nil
		}
	}
	os.Remove(partial)
	switch {
	case ended == endedForeign || err == wire.ErrNoSchema:
		return linkFault(wire.ErrMalformed)
	case err != nil:
		return writeFailed(r.Out, err)
	}
	return linkFault(wire.ErrTruncated)
}
