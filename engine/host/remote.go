package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// remote is a plugin in a process of its own.
type remote struct {
	cfg     *Config
	plugin  string
	dir     string
	client  *plugin.Client
	program program
	rpc     pb.PluginClient
	log     *capture
	once    sync.Once
	// attached is true for a process that somebody else has started, under a debugger for instance: it may stand still.
	attached bool
	// silence is how long it may give no sign of life.
	silence time.Duration
}

// program is the process of a plugin: a child, or one that is attached.
type program interface {
	runner.Runner
	// prepare is given the variables of go-plugin's handshake, before Start.
	prepare(env []string)
	// startFailure is why Start failed.
	startFailure() error
	pid() int
	// kill ends it; killFor gives a reason, which its exit status then tells.
	kill()
	killFor(reason string)
	// release tells the process that the host needs it no more, so that it ends.
	release()
	// exitStatus describes how it ended; it is empty when it has not ended within the
	// given time. awaitEnd waits for the end of one that has started and was killed.
	exitStatus(within time.Duration) string
	awaitEnd()
	// done is closed when it has ended.
	done() <-chan struct{}
	// drain waits for the last words of a process that has ended.
	drain()
	// chattered reports whether it wrote something before its handshake, and
	// killedByHost whether it was killed before it had ended by itself.
	chattered() bool
	killedByHost() bool
	// ownDoing reports, of a process that has ended, whether that was its own doing: it
	// ended by itself, or was killed for a reason.
	ownDoing() bool
	// killedOutside reports, of a process that has ended, whether it was killed by
	// somebody else: by the system, for want of memory, or by whoever may.
	killedOutside() bool
	// advice is what to do about why the host has killed it; empty if it has not.
	advice() string
	// isolation is how it is kept apart.
	isolation() Isolation
}

// startRemote starts program and waits for its handshake. It owns dir from here on.
func startRemote(ctx context.Context, cfg *Config, identity *control.Identity, name, program string, args []string,
	dir string, confined confinement) (*remote, error) {
	r := &remote{cfg: cfg, plugin: name, dir: dir, log: newCapture(name, cfg.Log)}
	r.program = newChild(cfg, program, args, dir, confined, r.log)
	if err := r.connect(ctx, identity, cfg.StartTimeout); err != nil {
		return nil, err
	}
	return r, nil
}

// connect starts the program and waits for its handshake. When it fails, nothing is
// left.
func (r *remote) connect(ctx context.Context, identity *control.Identity, timeout time.Duration) error {
	r.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  control.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{control.ProtocolVersion: {control.PluginName: &control.GRPC{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        identity.Client(),
		SkipHostEnv:      true,
		StartTimeout:     timeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       r.log.stream("stdout"),
		SyncStderr:       r.log.stream("stderr"),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: r.dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(control.MaxMessage), grpc.MaxCallSendMsgSize(control.MaxMessage))},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			r.program.prepare(append(cmd.Env, control.EnvHostCertificate+"="+identity.PEM()))
			return r.program, nil
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
		r.program.kill()
		select {
		case <-connected:
			r.Close()
		case <-time.After(r.cfg.CancelGrace):
			// It stands still in the midst of the handshake, where go-plugin cannot be
			// interrupted.
			removeTree(r.dir)
		}
		return context.Cause(ctx)
	}
	if err != nil {
		defer r.Close()
		return r.startFault(err)
	}
	return nil
}

// prepare makes the environment of the process.
func (c *child) prepare(env []string) {
	c.cmd.Env = environment(c.cmd.Dir, c.memoryLimit, c.processors, !c.confinement.thirdParty, env)
}

func (c *child) startFailure() error { return c.startErr }

func (c *child) done() <-chan struct{} { return c.exited }

func (c *child) release() { c.closeLifeline() }

func (c *child) awaitEnd() {
	if c.startErr == nil && c.pid() != 0 {
		<-c.exited
	}
}

// startFault says why a program did not become a plugin.
func (r *remote) startFault(err error) error {
	f := fault.New("plugin.start", fault.Plugin, "plugin %q did not start", r.plugin).
		WithHint("the program must be a CipherStream plugin that speaks protocol version %d", control.ProtocolVersion)
	text := err.Error()
	if m := otherVersion.FindStringSubmatch(text); m != nil {
		return r.withLog(protocolFault(r.plugin, m[1]))
	}
	switch {
	case strings.Contains(text, "timeout"):
		f.Message += fmt.Sprintf(": no handshake within %s", r.cfg.StartTimeout)
	case errors.Is(err, errAddress):
		f.Message += ": " + errAddress.Error()
	case strings.Contains(text, "incompatible"):
		f.Message += ": its handshake has another form than go-plugin's of today"
	}
	if r.program.chattered() {
		f.Message += ": it wrote something other than a plugin's handshake to its standard output"
	}
	if failure := r.program.startFailure(); failure != nil {
		f.Message += ": " + failure.Error()
	} else if how := r.program.exitStatus(lostTimeout); how != "" && !r.program.killedByHost() {
		f.Message += ": it " + how
		r.markKilled(f)
	}
	return r.withLog(f)
}

// withLog adds the plugin's last lines. Those of a process that has ended are
// complete.
func (r *remote) withLog(f *fault.Fault) *fault.Fault {
	r.program.drain()
	if lines := r.log.last(); len(lines) > 0 {
		f.WithDetail("log", strings.Join(lines, "\n"))
	}
	return f.WithDetail("plugin", r.plugin)
}

func (r *remote) Plugin() string { return r.plugin }
func (r *remote) PID() int       { return r.program.pid() }

// answerInTime bounds a call that a healthy plugin answers at once, unless somebody
// debugs it.
func (r *remote) answerInTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.attached {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := startStopwatch(r.cfg.StartTimeout, func() {
		cancel(fault.New(codeUnresponsive, fault.Plugin, "plugin %q did not answer within %s", r.plugin, r.cfg.StartTimeout))
	})
	return ctx, func() {
		late.stop()
		cancel(nil)
	}
}

// Codes of a process that lives and does not answer, and of one that has ended.
const (
	codeUnresponsive = "plugin.unresponsive"
	codeExited       = "plugin.exited"
)

// Describe says what the plugin offers.
func (r *remote) Describe(ctx context.Context) (Offer, error) {
	ctx, cancel := r.answerInTime(ctx)
	defer cancel()
	resp, err := r.rpc.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return Offer{}, r.unanswered(ctx, err)
	}
	offer := Offer{Plugin: resp.Name, Version: resp.Version, Protocol: r.client.NegotiatedVersion(),
		Network: resp.Network, LinkWords: resp.LinkWords, Isolation: r.program.isolation()}
	for _, s := range resp.Stages {
		m, err := control.ManifestFromProto(s)
		if err != nil {
			return Offer{}, fault.New("plugin.manifest", fault.Plugin, "plugin %q: %w", r.plugin, err)
		}
		offer.Stages = append(offer.Stages, m)
	}
	return offer, nil
}

func (r *remote) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	r.log.redact(secrets)
	ctx, cancel := r.answerInTime(ctx)
	defer cancel()
	req.Dir = r.dir
	r.silence = r.cfg.silenceOf(time.Duration(req.GetLimits().GetStallNanoseconds()))
	if r.cfg.CPUs > 0 && req.Limits != nil {
		req.Limits.Workers = min(req.Limits.Workers, int32(r.cfg.CPUs))
	}
	resp, err := r.rpc.Open(ctx, req)
	if err != nil {
		return r.unanswered(ctx, err)
	}
	if f := control.FaultFromProto(resp.Fault); f != nil {
		return r.explainDenied(f)
	}
	return nil
}

func (r *remote) Start(ctx context.Context, handle func(*pb.Event)) error {
	// After the end of ctx the stream stays open for the grace period, so that the group can clean up and report how it
	// ended.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := r.rpc.Start(streamCtx, &pb.StartRequest{})
	if err != nil {
		return r.broken(ctx, err)
	}
	var drainTimedOut atomic.Bool
	stopped := context.AfterFunc(ctx, func() {
		cancelCtx, done := context.WithTimeout(streamCtx, r.cfg.CancelGrace)
		defer done()
		_, _ = r.rpc.Cancel(cancelCtx, &pb.CancelRequest{})
		<-cancelCtx.Done() // either the stream has ended, or the grace period has
		if errors.Is(cancelCtx.Err(), context.DeadlineExceeded) {
			drainTimedOut.Store(true)
			r.program.kill()
			if r.attached {
				cancel() // it may stand still, and its connection with it
			}
		}
	})
	defer stopped()

	silence := startStopwatch(r.silence, func() {
		if !r.attached {
			r.program.killFor("was silent for " + r.silence.String())
		}
	})
	defer silence.stop()
	var open announced
	for {
		event, err := stream.Recv()
		if err != nil {
			if drainTimedOut.Load() {
				// If it ended by itself just before it was killed, its own failure is told below.
				if r.program.awaitEnd(); !r.program.ownDoing() {
					return context.Cause(ctx)
				}
			}
			// Told also when another group has failed already: the death of this process may be the cause.
			return r.broken(ctx, err)
		}
		silence.reset()
		if f := control.FaultFromProto(event.GetFault()); f != nil {
			if event.Account != nil {
				silence.during(func() { handle(&pb.Event{Account: event.Account}) })
			}
			if f.Class == fault.Plugin {
				r.withLog(f)
			}
			return r.explainDenied(f)
		}
		if err := open.check(r.plugin, event); err != nil {
			return r.withLog(err)
		}
		silence.during(func() { handle(event) })
		if a := event.GetAnnounced(); a != nil {
			// The stage that announces waits for this call. It must not delay the events that come meanwhile.
			go func() { _, _ = r.rpc.Acknowledge(streamCtx, &pb.AcknowledgeRequest{Id: a.Id}) }()
		}
		if event.GetFinished() != nil {
			return nil
		}
	}
}

// DetailCommit is the detail of a fault after which nobody knows whether the output is visible.
const DetailCommit = "commit"

func (r *remote) Commit(ctx context.Context) (stage.Receipt, error) {
	// When ctx ends, Start cancels the group. The answer to the commit is waited for all the same, until the process is
	// killed: it says whether the output is visible.
	resp, err := r.rpc.Commit(context.WithoutCancel(ctx), &pb.CommitRequest{})
	if err != nil {
		f := *fault.From(r.broken(ctx, err)) // a copy: the cause of a context is the run's
		f.Details = maps.Clone(f.Details)
		return stage.Receipt{}, f.WithDetail(DetailCommit, "unknown: the plugin ended while it made the output visible")
	}
	if f := control.FaultFromProto(resp.Fault); f != nil {
		return stage.Receipt{}, r.explainDenied(f)
	}
	return control.ReceiptFromProto(resp.Receipt), nil
}

// How long broken waits for the exit status of a process: lostTimeout when the connection is lost, because a busy
// system may take long to end a process; answeredTimeout when it answered with an error of the protocol;
// cancelledTimeout when the host itself has given the call up.
const (
	lostTimeout      = 30 * time.Second
	answeredTimeout  = 2 * time.Second
	cancelledTimeout = 200 * time.Millisecond
)

// broken explains a call that did not come back: the process has exited, was
// killed, or does not answer.
func (r *remote) broken(ctx context.Context, err error) error {
	return r.brokenWithin(ctx, err, lostTimeout)
}

// unanswered is broken for a call that has a time limit. A process that accepts connections and serves none does not
// end, so it is not waited for much longer than for an answer.
func (r *remote) unanswered(ctx context.Context, err error) error {
	if r.attached {
		return r.broken(ctx, err)
	}
	return r.brokenWithin(ctx, err, min(lostTimeout, r.cfg.StartTimeout+answeredTimeout))
}

func (r *remote) brokenWithin(ctx context.Context, err error, lost time.Duration) error {
	// A process that the host has killed ends for certain, though freeing its memory may take long, and so does one
	// that has lost its connection. Its end is waited for, because it is the cause of what its neighbours report.
	timeout := lostTimeout
	if !r.program.killedByHost() {
		switch {
		case status.Code(err) == codes.Unavailable:
			timeout = lost
		case ctx.Err() != nil:
			timeout = cancelledTimeout
		default:
			timeout = answeredTimeout
		}
	}
	if how := r.program.exitStatus(timeout); how != "" {
		f := fault.New(codeExited, fault.Plugin, "plugin %q %s", r.plugin, how).
			WithHint("its last lines are in the details")
		r.markKilled(f)
		if advice := r.program.advice(); advice != "" {
			f.WithHint("%s", advice)
		}
		return r.withLog(f)
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

// markKilled makes the fault of a process that somebody else has killed retryable: neither the process nor this host is
// why.
func (r *remote) markKilled(f *fault.Fault) {
	if r.program.killedOutside() {
		f.WithRetry().WithHint("CipherStream did not kill it: the system does when memory runs out, which its log says (dmesg, journalctl -k); " +
			"run again, with less beside it")
	}
}

// Close asks the process to end, kills what is left of its process group, and
// removes its directory.
func (r *remote) Close() {
	r.once.Do(func() {
		r.program.release()
		// go-plugin asks for a graceful end, and waits for the answer of a process that
		// may stand still.
		timeout := time.AfterFunc(r.cfg.CancelGrace, r.program.kill)
		r.client.Kill()
		timeout.Stop()
		r.program.kill()
		r.program.awaitEnd()
		removeTree(r.dir)
	})
}
