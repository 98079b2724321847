package host

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
)

// Awaited describes a plugin process that somebody else is to start.
type Awaited struct {
	Plugin string
	// Environment is what has to be in its environment, as NAME=VALUE.
	Environment string
	// Program and Args are the program that the host would start. Any other build of the plugin may be attached as
	// well: its digest is not checked against the lock file.
	Program string
	Args    []string
	// Interpreter is the name of the program that runs Program, by the latter's first line, such as python3; empty where
	// it has no such line.
	Interpreter string
}

// Attach returns a process of a plugin that the host does not start itself: a person starts it, under a debugger for
// instance, with the environment that waiting is given. Attach waits for it until ctx ends.
//
// The host never takes such a process for one that hangs, however long a debugger stops it. It keeps its own terminal,
// environment and directory, is not confined, and is not killed: at the end of the run it is told so. The
// control connection is encrypted and bound to both certificates, as with every process.
func (h *Host) Attach(ctx context.Context, plugin string, waiting func(Awaited)) (Process, error) {
	program, args, err := h.programOf(plugin)
	if err != nil {
		return nil, err
	}
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "a")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		os.RemoveAll(dir)
		return nil, fault.New("host.directory", fault.Internal, "cannot wait for a plugin to attach: %w", err)
	}
	defer listener.Close()
	waiting(Awaited{Plugin: plugin, Environment: control.EnvAttach + "=" + path, Program: program, Args: args,
		Interpreter: interpreterOf(program)})
	conn, pid, err := meet(ctx, listener)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	r := &remote{cfg: &h.cfg, plugin: plugin, dir: dir, log: newCapture(plugin, h.cfg.Log), attached: true}
	r.program = newAttached(plugin, conn, pid)
	if err := r.connect(ctx, h.identity, forEver); err != nil {
		return nil, err
	}
	return &discreet{Process: r}, nil
}

// forEver is longer than anybody debugs.
const forEver = 365 * 24 * time.Hour

// programOf is the program that serves a plugin.
func (h *Host) programOf(plugin string) (program string, args []string, err error) {
	if plugin == h.cfg.FirstParty.Name {
		return h.cfg.Executable, h.cfg.Args, nil
	}
	entry, ok := h.lock.Find(plugin)
	if !ok {
		return "", nil, unknownPlugin(plugin)
	}
	program = filepath.Join(h.cfg.PluginDir, entry.Program())
	if entry.Bundle {
		program = filepath.Join(program, BundleProgram)
	}
	if path, err := filepath.Abs(program); err == nil {
		program = path
	}
	return program, nil, nil
}

// interpreterOf is the name of what the first line of a program names, behind env and its flags where these stand
// there; empty where it has no such line.
func interpreterOf(program string) string {
	words, err := firstLine(program)
	if err != nil || len(words) == 0 {
		return ""
	}
	name, found := byEnv(words)
	if !found {
		name = words[0]
	}
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

// meet waits until a process of this user connects, and returns its connection and number. Others are turned away.
func meet(ctx context.Context, listener *net.UnixListener) (*net.UnixConn, int, error) {
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			return nil, 0, fault.New("host.directory", fault.Internal, "cannot wait for a plugin to attach: %w", err)
		}
		// The directory keeps all but this user and root out.
		if p, err := peer.Of(conn); err == nil && (p.UID < 0 || p.UID == os.Geteuid()) {
			return conn, p.PID, nil
		}
		conn.Close()
	}
}

// attached is a program that somebody else has started. Its connection takes the
// place of its standard output, its lifeline and its exit.
type attached struct {
	plugin      string
	conn        *net.UnixConn
	process     int // 0 is unknown
	environment map[string]string
	handshake   *io.PipeReader
	nothing     *io.PipeReader
	exited      chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	started bool
	failure error
	reason  string // why the host released it
}

func newAttached(plugin string, conn *net.UnixConn, pid int) *attached {
	return &attached{plugin: plugin, conn: conn, process: pid, exited: make(chan struct{})}
}

// prepare takes the environment for the attach request.
func (a *attached) prepare(env []string) {
	a.environment = map[string]string{}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		a.environment[name] = value
	}
}

// Start sends the attach request.
func (a *attached) Start(context.Context) error {
	line, err := json.Marshal(control.AttachRequest{Environment: a.environment})
	if err == nil && len(line) >= control.MaxAttachRequest {
		err = errors.New("the attach request is too long")
	}
	if err == nil {
		_, err = a.conn.Write(append(line, '\n'))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure = err; err != nil {
		return err
	}
	a.started = true
	handshakeRead, handshakeWrite := io.Pipe()
	nothingRead, nothingWrite := io.Pipe()
	a.handshake, a.nothing = handshakeRead, nothingRead
	go func() {
		splitHandshake(a.conn, handshakeWrite, io.Discard, func() {})
		nothingWrite.Close()
		close(a.exited)
	}()
	return nil
}

// Wait waits for the end of the connection.
func (a *attached) Wait(context.Context) error {
	<-a.exited
	return nil
}

// Kill releases the process.
func (a *attached) Kill(context.Context) error {
	a.kill()
	return nil
}

// kill ends the connection. The process belongs to somebody else: it ends itself
// when it notices, which may be when its debugger lets it run.
func (a *attached) kill() { a.conn.Close() }

func (a *attached) killFor(reason string) {
	a.mu.Lock()
	if a.reason == "" {
		a.reason = reason
	}
	a.mu.Unlock()
	a.kill()
}

// release tells the process that nobody needs it any more.
func (a *attached) release() { _ = a.conn.CloseWrite() } // fails when the process has gone

func (a *attached) exitStatus(within time.Duration) string {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-a.exited:
	case <-timer.C:
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reason != "" {
		return "was released: it " + a.reason
	}
	return "ended; it was attached, so that its own terminal says how"
}

func (a *attached) awaitEnd() {
	a.mu.Lock()
	started := a.started
	a.mu.Unlock()
	if started {
		<-a.exited
	}
}

func (a *attached) startFailure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

// drain does nothing: what the process writes goes to its own terminal.
func (a *attached) drain() {}

// Memory, silence and output of a process that a person debugs are not the host's business.
func (a *attached) chattered() bool      { return false }
func (a *attached) killedByHost() bool   { return false }
func (a *attached) advice() string       { return "" }
func (a *attached) isolation() Isolation { return Isolation{} }

func (a *attached) done() <-chan struct{} { return a.exited }

// killedOutside is not known here.
func (a *attached) killedOutside() bool { return false }

func (a *attached) ownDoing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reason != ""
}

func (a *attached) pid() int { return a.process }

// Diagnose adds nothing.
func (a *attached) Diagnose(context.Context) string { return "" }

// Stdout is the handshake line.
func (a *attached) Stdout() io.ReadCloser { return a.handshake }

// Stderr is empty.
func (a *attached) Stderr() io.ReadCloser { return a.nothing }

// Name is the plugin.
func (a *attached) Name() string { return a.plugin }

// ID is the process number; go-plugin takes an empty one for no process.
func (a *attached) ID() string { return strconv.Itoa(a.process) }

// PluginToHost changes nothing: both see the same file system.
func (a *attached) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (a *attached) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
