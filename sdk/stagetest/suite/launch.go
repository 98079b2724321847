package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Program is a plugin's program, for its author's tests. It is started with a clean environment and a directory of its
// own; the limits, the captured log and the verified file of a real run are the host's and are not here.
type Program struct {
	Path string
	Args []string
}

// Plugin is what a program says of itself.
type Plugin struct {
	Name, Version string
	Stages        []control.Manifest
}

// Describe starts the program and asks what it offers.
func (p Program) Describe(ctx context.Context) (Plugin, error) {
	started, err := p.start()
	if err != nil {
		return Plugin{}, err
	}
	defer started.Close()
	ctx, cancel := context.WithTimeout(ctx, defaultPatience)
	defer cancel()
	answer, err := started.rpc.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return Plugin{}, fmt.Errorf("asking %s what it offers: %w", p.Path, err)
	}
	plugin := Plugin{Name: answer.Name, Version: answer.Version}
	for _, s := range answer.Stages {
		m, err := control.ManifestFromProto(s)
		if err != nil {
			return plugin, fmt.Errorf("%s: %w", p.Path, err)
		}
		plugin.Stages = append(plugin.Stages, m)
	}
	return plugin, nil
}

// Start starts the program for one run.
func (p Program) Start(context.Context, string) (Running, error) {
	started, err := p.start()
	if err != nil {
		return nil, err
	}
	return started, nil
}

// started is a program that runs.
type started struct {
	dir      string
	client   *plugin.Client
	rpc      pb.PluginClient
	lifeline *os.File
	command  *exec.Cmd
	once     sync.Once
}

func (p Program) start() (*started, error) {
	dir, remove, err := tempDir()
	if err != nil {
		return nil, err
	}
	identity, err := control.NewIdentity()
	if err != nil {
		remove()
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		remove()
		return nil, err
	}
	defer read.Close()
	command := exec.Command(p.Path, p.Args...)
	command.Dir = dir
	command.ExtraFiles = []*os.File{read} // descriptor 3
	command.Env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TZ=UTC", "HOME=" + dir, "TMPDIR=" + dir,
		control.EnvHostCertificate + "=" + identity.PEM(), control.EnvLifeline + "=3",
	}
	s := &started{dir: dir, lifeline: write, command: command}
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  control.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{control.ProtocolVersion: {control.PluginName: &control.GRPC{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        identity.Client(),
		Cmd:              command,
		SkipHostEnv:      true,
		StartTimeout:     defaultPatience,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(control.MaxMessage), grpc.MaxCallSendMsgSize(control.MaxMessage))},
	})
	connection, err := s.client.Client()
	if err == nil {
		var raw any
		if raw, err = connection.Dispense(control.PluginName); err == nil {
			s.rpc = raw.(pb.PluginClient)
			return s, nil
		}
	}
	s.Close()
	return nil, problemf("%s did not start as a plugin: %v", p.Path, err)
}

// Open implements Running.
func (s *started) Open(ctx context.Context, request *pb.OpenRequest, _ []string) error {
	request.Dir = s.dir
	answer, err := s.rpc.Open(ctx, request)
	if err != nil {
		return s.broken("Open", err)
	}
	if f := control.FaultFromProto(answer.Fault); f != nil {
		return f
	}
	return nil
}

// Start implements Running.
func (s *started) Start(ctx context.Context, handle func(*pb.Event)) error {
	streamContext, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := s.rpc.Start(streamContext, &pb.StartRequest{})
	if err != nil {
		return s.broken("Start", err)
	}
	stop := context.AfterFunc(ctx, func() {
		_, _ = s.rpc.Cancel(streamContext, &pb.CancelRequest{})
	})
	defer stop()
	for {
		event, err := stream.Recv()
		if err != nil {
			return s.broken("Start", err)
		}
		if f := control.FaultFromProto(event.GetFault()); f != nil {
			return f
		}
		handle(event)
		if a := event.GetAnnounced(); a != nil {
			go func() { _, _ = s.rpc.Acknowledge(streamContext, &pb.AcknowledgeRequest{Id: a.Id}) }()
		}
		if event.GetFinished() != nil {
			return nil
		}
	}
}

// Commit implements Running.
func (s *started) Commit(ctx context.Context) (stage.Receipt, error) {
	answer, err := s.rpc.Commit(ctx, &pb.CommitRequest{})
	if err != nil {
		return stage.Receipt{}, s.broken("Commit", err)
	}
	if f := control.FaultFromProto(answer.Fault); f != nil {
		return stage.Receipt{}, f
	}
	return control.ReceiptFromProto(answer.Receipt), nil
}

// Kill implements Mortal.
func (s *started) Kill() {
	_ = s.command.Process.Kill() // it may have ended by itself
	for !s.client.Exited() {
		time.Sleep(time.Millisecond)
	}
}

// Undo implements Mortal.
func (s *started) Undo(ctx context.Context, request *pb.UndoRequest, _ []string) ([]error, error) {
	request.Dir = s.dir
	answer, err := s.rpc.Undo(ctx, request)
	if err != nil {
		return nil, s.broken("Undo", err)
	}
	var outcomes []error
	for _, o := range answer.Outcomes {
		var outcome error
		if f := control.FaultFromProto(o.GetFault()); f != nil {
			outcome = f
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}

// broken explains a call without an answer.
func (s *started) broken(call string, err error) error {
	if s.client.Exited() {
		err = errors.New("the process ended")
	}
	return problemf("%s was not answered: %v", call, err)
}

// Close implements Running.
func (s *started) Close() {
	s.once.Do(func() {
		s.lifeline.Close()
		s.client.Kill()
		os.RemoveAll(s.dir)
	})
}
