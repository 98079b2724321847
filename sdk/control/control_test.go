package control_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Faults must cross the boundary whole.
func TestFaultRoundTrip(t *testing.T) {
	t.Parallel()
	want := &fault.Fault{Code: "a.b", Class: fault.Sink, Message: "m", Hint: "h", Retryable: true,
		Details: map[string]string{"errno": "1045"}, Stage: "sink"}
	if got := control.FaultFromProto(control.FaultToProto(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if control.FaultToProto(nil) != nil || control.FaultFromProto(nil) != nil {
		t.Error("nothing became a fault")
	}
}

func group(path string, source string) *pb.OpenRequest {
	return &pb.OpenRequest{RunId: "r", Stages: []*pb.Stage{
		{Id: "source", Kind: "source", Name: "count", Settings: []byte(source)},
		{Id: "encoder", Kind: "encoder", Name: "lines"},
		{Id: "sink", Kind: "sink", Name: "file", Settings: []byte(`{"path":"` + path + `"}`)},
	}}
}

// start runs a session and commits as soon as it is prepared, if asked to.
func start(t *testing.T, s *control.Session, commit bool) (events []*pb.Event) {
	t.Helper()
	err := s.Start(context.Background(), func(e *pb.Event) error {
		events = append(events, e)
		if e.GetPrepared() != nil {
			if !commit {
				s.Cancel()
				return nil
			}
			go func() {
				if _, err := s.Commit(context.Background()); err != nil {
					t.Error(err)
				}
			}()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestSession(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	s := control.NewSession(runnertest.Bundle("test"))
	if err := s.Open(context.Background(), group(path, `{"rows":25}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(context.Background(), group(path, `{}`)); !fault.Is(err, "control.order") {
		t.Errorf("second Open: %v", err)
	}
	if _, err := s.Commit(context.Background()); !fault.Is(err, "control.order") {
		t.Errorf("Commit before Prepared: %v", err)
	}
	events := start(t, s, true)
	finished := events[len(events)-1].GetFinished()
	if finished == nil || finished.Rows != 25 || finished.GetEncodedRows() != 25 || finished.Media.Type != "text/plain" {
		t.Errorf("last event: %v", events[len(events)-1])
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if err := s.Start(context.Background(), func(*pb.Event) error { return nil }); !fault.Is(err, "control.order") {
		t.Errorf("second Start: %v", err)
	}
}

func TestSessionWithoutCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := control.NewSession(runnertest.Bundle("test"))
	if err := s.Open(context.Background(), group(filepath.Join(dir, "out"), `{"rows":25}`)); err != nil {
		t.Fatal(err)
	}
	events := start(t, s, false)
	if f := events[len(events)-1].GetFault(); f.GetCode() != "run.cancelled" {
		t.Errorf("last event: %v", events[len(events)-1])
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCancelBeforeStart(t *testing.T) {
	t.Parallel()
	s := control.NewSession(runnertest.Bundle("test"))
	if err := s.Open(context.Background(), group(filepath.Join(t.TempDir(), "out"), `{"rows":1000000000}`)); err != nil {
		t.Fatal(err)
	}
	s.Cancel()
	events := start(t, s, true)
	if f := events[len(events)-1].GetFault(); f.GetCode() != "run.cancelled" {
		t.Errorf("last event: %v", events[len(events)-1])
	}
}

// When the host goes away, the group must end, not run on unseen.
func TestHostGone(t *testing.T) {
	t.Parallel()
	s := control.NewSession(runnertest.Bundle("test"))
	if err := s.Open(context.Background(), group(filepath.Join(t.TempDir(), "out"), `{"rows":1000000000}`)); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	if err := s.Start(context.Background(), func(*pb.Event) error { return gone }); err != gone {
		t.Errorf("got %v", err)
	}
}

func TestUnknownStage(t *testing.T) {
	t.Parallel()
	s := control.NewSession(runnertest.Bundle("test"))
	err := s.Open(context.Background(), &pb.OpenRequest{Stages: []*pb.Stage{{Id: "filter-2", Kind: "filter", Name: "nope"}}})
	f := fault.From(err)
	if f == nil || f.Code != "plugin.unknown_stage" || f.Stage != "filter-2" {
		t.Errorf("got %+v", f)
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	for _, m := range control.ManifestsOf(runnertest.Bundle("test")) {
		if m.Spec == nil || m.Kind == "" || m.Name == "" || m.In == stage.ShapeNone && m.Kind != stage.KindSource {
			t.Errorf("manifest: %+v", m)
		}
	}
}

func TestReceiptRoundTrip(t *testing.T) {
	t.Parallel()
	want := stage.Receipt{Bytes: 1 << 40, SHA256: "ab", Location: "s3://b/k", Link: "https://x/y", LinkExpires: time.Unix(1900000000, 0).UTC()}
	m := &pb.Receipt{Bytes: want.Bytes, Sha256: want.SHA256, Location: want.Location, Link: want.Link, LinkExpires: want.LinkExpires.Unix()}
	if got := control.ReceiptFromProto(m); got != want {
		t.Errorf("got %+v", got)
	}
	if got := control.ReceiptFromProto(nil); got != (stage.Receipt{}) {
		t.Errorf("nothing became %+v", got)
	}
}

// A stage may log as much as it likes: the run goes on, and what was lost is counted.
func TestFloodOfLogs(t *testing.T) {

	s := control.NewSession(runnertest.Bundle("test"))
	req := group(filepath.Join(t.TempDir(), "out"), `{"rows":50,"break":"flood","at":10}`)
	if err := s.Open(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	silenceStderr(t)
	events := start(t, s, true)
	logs := 0
	for _, e := range events {
		if l := e.GetLog(); l != nil {
			logs++
			if l.Stage != "source" || l.Message != "flood" || l.Level != int32(slog.LevelInfo) {
				t.Fatalf("log: %v", l)
			}
		}
	}
	if finished := events[len(events)-1].GetFinished(); finished.GetRows() != 50 || logs == 0 {
		t.Errorf("%d log events, last event %v", logs, events[len(events)-1])
	}
}

// silenceStderr keeps the flood of a stage off the test's own output.
func silenceStderr(t *testing.T) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	original := os.Stderr
	os.Stderr = null
	t.Cleanup(func() {
		os.Stderr = original
		null.Close()
	})
}
