package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
)

// gcPercent is GOGC of a Go plugin (runtime/debug.SetGCPercent). A plugin's heap is mostly buffers without pointers
// that are used again and again, so collecting more often than with Go's default of 100 saves memory and costs next to
// nothing.
const gcPercent = 50

// firstPercent is GOGC of a process of this program until its first collection, which it puts off until the heap has
// 8 MiB. What the program sets up before main is in use until its end, and a short run makes little more: with gcPercent
// it was collected four times before it answered, which took 8 of 20 ms of CPU, and once more in the run.
const firstPercent = 200

// environment is what a plugin process sees: nothing of the host's own, which
// may hold secrets. own is true for a process of this program, and extra is what go-plugin's handshake needs.
func environment(dir string, memoryLimit int64, processors int, own bool, extra []string) []string {
	percent := strconv.Itoa(gcPercent)
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"LANG=C.UTF-8",
		"TZ=UTC",
		"HOME=" + dir,
		"TMPDIR=" + dir,
		// The Go heap is made to stay well below the limit at which the process is ended.
		"GOMEMLIMIT=" + strconv.FormatInt(memoryLimit/4*3, 10),
		control.EnvLifeline + "=" + strconv.Itoa(lifelineFD),
	}
	if own {
		env = append(env, "GOGC="+strconv.Itoa(firstPercent), control.EnvGCPercent+"="+percent)
	} else {
		env = append(env, "GOGC="+percent)
	}
	if processors > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(processors))
	}
	// GORACE says where a plugin that is built with Go's race detector reports, and how long it waits before it exits:
	// a second by default, in every process of every test.
	if race, ok := os.LookupEnv("GORACE"); ok {
		env = append(env, "GORACE="+race)
	}
	return append(env, extra...)
}

// child is a started program; it implements go-plugin's runner.Runner. We do not
// use go-plugin's own runner because that hands the host's standard input on and
// cannot give the process a group, a lifeline or a parent-death signal.
type child struct {
	cmd         *exec.Cmd
	program     string
	log         *capture
	memoryLimit int64
	processors  int // that it may use, 0 for all
	confinement confinement
	handshake   *io.PipeReader // the one line of standard output that is for go-plugin
	nothing     *io.PipeReader // what go-plugin is shown as standard error
	lifeline    *os.File

	startErr error
	exited   chan struct{} // closed when the process has been waited for
	drained  chan struct{} // closed when its output has been read to the end
	waitErr  error

	mu       sync.Mutex
	process  *os.Process // once it has started
	gone     bool        // its number may be somebody else's
	killed   bool
	cut      bool   // the kill ended it; false when it had ended by itself before
	exceeded excess // why the host killed it
	chatter  bool   // it wrote something before its handshake
}

// excess is what a process did for which it was ended, and what to do about it.
type excess struct{ did, hint string }

func newChild(cfg *Config, program string, args []string, dir string, confined confinement, log *capture) *child {
	cmd := confined.command(program, args)
	cmd.Dir = dir
	cmd.SysProcAttr = processAttributes(confined.isolation)
	return &child{
		cmd: cmd, program: program, log: log, memoryLimit: cfg.MemoryLimit, processors: cfg.CPUs, confinement: confined,
		exited: make(chan struct{}), drained: make(chan struct{}),
	}
}

// Wait waits for the process.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return c.waitErr
}

// Kill kills the whole process group.
func (c *child) Kill(context.Context) error {
	// A program that is no plugin usually ends by itself, and its exit status tells the user more than a kill would.
	c.exitStatus(200 * time.Millisecond)
	c.kill()
	return nil
}

func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.process != nil && !c.gone {
		c.cut = true
		_ = syscall.Kill(-c.process.Pid, syscall.SIGKILL)
	}
}

func (c *child) killedByHost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

func (c *child) ownDoing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.cut || c.exceeded != (excess{})
}

func (c *child) killedOutside() bool {
	select {
	case <-c.exited:
	default:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil || c.cut || c.exceeded != (excess{}) {
		return false
	}
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// killFor kills the process for a reason that its exit status then tells.
func (c *child) killFor(reason string) { c.end(excess{did: reason}) }

func (c *child) end(e excess) {
	c.mu.Lock()
	if c.exceeded == (excess{}) {
		c.exceeded = e
	}
	c.mu.Unlock()
	c.kill()
}

func (c *child) isolation() Isolation { return c.confinement.isolation }

func (c *child) advice() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exceeded.hint
}

// closeLifeline tells the process that nobody needs it any more.
func (c *child) closeLifeline() {
	if c.lifeline != nil {
		c.lifeline.Close()
	}
}

// exitStatus describes how the process ended; it is empty when it has not ended
// within the given time.
func (c *child) exitStatus(within time.Duration) string {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exceeded != (excess{}) {
		return "was ended: it " + c.exceeded.did
	}
	if c.process == nil {
		return ""
	}
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("exited with status %d", c.cmd.ProcessState.ExitCode())
}

// drain waits for the last words of a process that has ended.
func (c *child) drain() {
	select {
	case <-c.exited:
		if c.startErr == nil {
			<-c.drained
		}
	default:
	}
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

// Diagnose adds nothing: the captured log says it.
func (c *child) Diagnose(context.Context) string { return "" }

// Stdout is the handshake.
func (c *child) Stdout() io.ReadCloser { return c.handshake }

// Stderr is empty; the log is captured here.
func (c *child) Stderr() io.ReadCloser { return c.nothing }

// Name is the program.
func (c *child) Name() string { return c.program }

// ID is the process number.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

// errAddress is what go-plugin is told about a handshake with an address that is no
// unix socket's.
var errAddress = errors.New("the handshake offers something other than the path of a unix socket")

// PluginToHost takes only unix sockets that have a path: whatever else a plugin may
// listen on cannot be reached from outside its network namespace. Both sides see the
// same file system.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || !filepath.IsAbs(address) {
		return "", "", errAddress
	}
	return network, address, nil
}

// HostToPlugin changes nothing.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
