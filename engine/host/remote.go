package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// remote is a plugin in a process of its own.
type remote struct {
	cfg    *Config
	plugin string
	dir    string
	client *plugin.Client
	child  *child
	rpc    pb.PluginClient
	log    *capture
	once   sync.Once
}

// startRemote starts program and waits for its handshake. It owns dir from here on.
func startRemote(ctx context.Context, cfg *Config, identity *control.Identity, name, program string, args []string, dir string) (*remote, error) {
	r := &remote{cfg: cfg, plugin: name, dir: dir, log: newCapture(name, cfg.Log)}
	r.child = newChild(program, args, dir, cfg.MemoryLimit, r.log)
	r.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  control.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{control.ProtocolVersion: {control.PluginName: &control.GRPC{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        identity.Client(),
		SkipHostEnv:      true,
		StartTimeout:     cfg.StartTimeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       r.log.stream("stdout"),
		SyncStderr:       r.log.stream("stderr"),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(control.MaxMessage), grpc.MaxCallSendMsgSize(control.MaxMessage))},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			r.child.cmd.Env = environment(dir, cfg.MemoryLimit, append(cmd.Env, control.EnvHostCertificate+"="+identity.PEM()))
			return r.child, nil
		},
	})
	connected := make(chan error, 1)
	go func() {
		connection, err := r.client.Client()
		if err == nil {
			var raw any
			raw, err = connection.Dispense(control.PluginName)
			if err == nil {
				r.rpc = raw.(pb.PluginClient)
			}
		}
		connected <- err
	}()
	var err error
	select {
	case err = <-connected:
	case <-ctx.Done():
		r.child.kill()
		<-connected
		r.Close()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		defer r.Close()
		return nil, r.startFault(err)
	}
	return r, nil
}

// startFault says why a program did not become a plugin.
func (r *remote) startFault(err error) error {
	f := fault.New("plugin.start", fault.Plugin, "plugin %q did not start", r.plugin).
		WithHint("the program must be a CipherStream plugin that speaks protocol version %d", control.ProtocolVersion)
	text := err.Error()
	switch {
	case strings.Contains(text, "Unrecognized remote plugin message"):
		f.Message += ": it wrote something other than a plugin's greeting to its standard output"
	case strings.Contains(text, "timeout"):
		f.Message += fmt.Sprintf(": no greeting within %s", r.cfg.StartTimeout)
	case strings.Contains(text, "incompatible"):
		f.Message += fmt.Sprintf(": it speaks another protocol version than %d", control.ProtocolVersion)
	}
	if r.child.startErr != nil {
		f.Message += ": " + r.child.startErr.Error()
	} else if status := r.child.exitStatus(time.Second); status != "" {
		f.Message += ": it " + status
	}
	return r.withLog(f)
}

// withLog adds the plugin's last lines. Those of a process that has ended are
// complete.
func (r *remote) withLog(f *fault.Fault) *fault.Fault {
	r.child.drain()
	if lines := r.log.last(); len(lines) > 0 {
		f.WithDetail("log", strings.Join(lines, "\n"))
	}
	return f.WithDetail("plugin", r.plugin)
}

func (r *remote) Plugin() string { return r.plugin }
func (r *remote) PID() int       { return r.child.pid() }

// answerInTime bounds a call that a healthy plugin answers at once.
func (r *remote) answerInTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.cfg.StartTimeout,
		fault.New(codeUnresponsive, fault.Plugin, "plugin %q did not answer within %s", r.plugin, r.cfg.StartTimeout))
}

// codeUnresponsive is the code of a process that lives and does not answer.
const codeUnresponsive = "plugin.unresponsive"

func (r *remote) describe(ctx context.Context) (name, version string, stages []control.Manifest, err error) {
	ctx, cancel := r.answerInTime(ctx)
	defer cancel()
	resp, err := r.rpc.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return "", "", nil, r.broken(ctx, err)
	}
	for _, s := range resp.Stages {
		m, err := control.ManifestFromProto(s)
		if err != nil {
			return "", "", nil, fault.New("plugin.manifest", fault.Plugin, "plugin %q: %w", r.plugin, err)
		}
		stages = append(stages, m)
	}
	return resp.Name, resp.Version, stages, nil
}

func (r *remote) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	r.log.redact(secrets)
	ctx, cancel := r.answerInTime(ctx)
	defer cancel()
	req.Dir = r.dir
	resp, err := r.rpc.Open(ctx, req)
	if err != nil {
		return r.broken(ctx, err)
	}
	if f := control.FaultFromProto(resp.Fault); f != nil {
		return f
	}
	return nil
}

func (r *remote) Start(ctx context.Context, handle func(*pb.Event)) error {
	// The stream outlives ctx by the grace period, so that a cancelled group can
	// clean up and say so.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := r.rpc.Start(streamCtx, &pb.StartRequest{})
	if err != nil {
		return r.broken(ctx, err)
	}
	var unheeded atomic.Bool
	stopped := context.AfterFunc(ctx, func() {
		cancelCtx, done := context.WithTimeout(streamCtx, r.cfg.CancelGrace)
		defer done()
		_, _ = r.rpc.Cancel(cancelCtx, &pb.CancelRequest{})
		<-cancelCtx.Done() // either the stream has ended, or the grace period has
		if errors.Is(cancelCtx.Err(), context.DeadlineExceeded) {
			unheeded.Store(true)
			r.child.kill()
		}
	})
	defer stopped()

	silence := time.AfterFunc(r.cfg.Silence, func() { r.child.killFor("was silent for " + r.cfg.Silence.String()) })
	defer silence.Stop()
	for {
		event, err := stream.Recv()
		if err != nil {
			if unheeded.Load() {
				return context.Cause(ctx)
			}
			// Even when others have failed already, a process that died may be why.
			return r.broken(ctx, err)
		}
		silence.Reset(r.cfg.Silence)
		if f := control.FaultFromProto(event.GetFault()); f != nil {
			if f.Class == fault.Plugin {
				r.withLog(f)
			}
			return f
		}
		if l := event.GetLog(); l != nil {
			r.log.clean(l)
		}
		handle(event)
		if event.GetFinished() != nil {
			return nil
		}
	}
}

func (r *remote) Commit(ctx context.Context) (stage.Receipt, error) {
	resp, err := r.rpc.Commit(ctx, &pb.CommitRequest{})
	if err != nil {
		return stage.Receipt{}, r.broken(ctx, err)
	}
	if f := control.FaultFromProto(resp.Fault); f != nil {
		return stage.Receipt{}, f
	}
	return control.ReceiptFromProto(resp.Receipt), nil
}

// broken explains a call that did not come back: the process has exited, was
// killed, or does not answer.
func (r *remote) broken(ctx context.Context, err error) error {
	patience := 2 * time.Second
	if ctx.Err() != nil {
		patience /= 10
	}
	if status := r.child.exitStatus(patience); status != "" {
		return r.withLog(fault.New("plugin.exited", fault.Plugin, "plugin %q %s", r.plugin, status).
			WithHint("its last lines are in the details"))
	}
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		if fault.Is(cause, codeUnresponsive) {
			return r.withLog(fault.From(cause))
		}
		return cause
	}
	return r.withLog(fault.New(codeUnresponsive, fault.Plugin, "plugin %q does not answer: %w", r.plugin, err))
}

// Close asks the process to end, kills what is left of its process group, and
// removes its directory.
func (r *remote) Close() {
	r.once.Do(func() {
		r.child.closeLifeline()
		r.client.Kill()
		r.child.kill()
		if r.child.startErr == nil && r.child.pid() != 0 {
			<-r.child.exited
		}
		os.RemoveAll(r.dir)
	})
}
