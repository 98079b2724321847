package host

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
)

// environment is what a plugin process sees: nothing of the host's own, which
// may hold secrets. extra is what go-plugin's handshake needs.
func environment(dir string, memoryLimit int64, extra []string) []string {
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
	return append(env, extra...)
}

// lifelineFD is the first of exec.Cmd.ExtraFiles.
const lifelineFD = firstExtra

// child is a started program; it implements go-plugin's runner.Runner. We do not
// use go-plugin's own runner because that hands the host's standard input on and
// cannot give the process a group, a lifeline or a parent-death signal.
type child struct {
	cmd         *exec.Cmd
	log         *capture
	memoryLimit int64
	greeting    *io.PipeReader // standard output up to its first line's end
	nothing     *io.PipeReader // what go-plugin is shown as standard error
	lifeline    *os.File

	startErr error
	exited   chan struct{} // closed when the process has been waited for
	drained  chan struct{} // closed when its standard error has been read to the end
	waitErr  error

	mu      sync.Mutex
	process *os.Process // once it has started
	killed  bool
	reason  string // why the host killed it
}

func newChild(program string, args []string, dir string, memoryLimit int64, log *capture) *child {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = processAttributes()
	return &child{cmd: cmd, log: log, memoryLimit: memoryLimit, exited: make(chan struct{}), drained: make(chan struct{})}
}

// Start starts the process.
func (c *child) Start(context.Context) error {
	lifelineRead, lifelineWrite, err := os.Pipe()
	if err != nil {
		c.startErr = err
		return err
	}
	defer lifelineRead.Close()
	c.lifeline = lifelineWrite
	c.cmd.ExtraFiles = []*os.File{lifelineRead}
	stdoutRead, stdoutWrite, err := os.Pipe()
	if err != nil {
		c.startErr = err
		return err
	}
	defer stdoutWrite.Close()
	stderrRead, stderrWrite, err := os.Pipe()
	if err != nil {
		c.startErr = err
		return err
	}
	defer stderrWrite.Close()
	c.cmd.Stdout, c.cmd.Stderr = stdoutWrite, stderrWrite

	started := make(chan error)
	go func() {
		// The parent-death signal is sent when the thread that made the child
		// ends, so this one stays as long as the child.
		runtime.LockOSThread()
		err := c.launch()
		started <- err
		if err != nil {
			return
		}
		c.waitErr = c.cmd.Wait()
		// Whatever it started must not outlive it, nor keep its output open.
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		_ = stdoutRead.SetReadDeadline(time.Now().Add(lastWords))
		_ = stderrRead.SetReadDeadline(time.Now().Add(lastWords))
		close(c.exited)
	}()
	if c.startErr = <-started; c.startErr != nil {
		stdoutRead.Close()
		stderrRead.Close()
		lifelineWrite.Close()
		close(c.exited)
		return c.startErr
	}

	greetingRead, greetingWrite := io.Pipe()
	nothingRead, nothingWrite := io.Pipe()
	c.greeting, c.nothing = greetingRead, nothingRead
	go func() {
		splitGreeting(stdoutRead, greetingWrite, c.log.stream("stdout"))
		stdoutRead.Close()
	}()
	go func() {
		_, _ = io.Copy(c.log.stream("stderr"), stderrRead)
		stderrRead.Close()
		nothingWrite.Close()
		close(c.drained)
	}()
	go c.watchMemory()
	return nil
}

// firstExtra is the first descriptor after the three standard ones; mostInherited
// is where those that a host may have inherited are taken to end, where the system
// cannot be asked.
const (
	firstExtra    = 3
	mostInherited = 1024
)

func sealEach() {
	for fd := firstExtra; fd < mostInherited; fd++ {
		syscall.CloseOnExec(fd)
	}
}

// launch starts the process, unless it was killed before that.
func (c *child) launch() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return context.Canceled
	}
	sealDescriptors()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.process = c.cmd.Process
	limitCoreDumps(c.process.Pid)
	return nil
}

// lastWords is how long the output of a process that has ended is still read: a
// descendant that escaped its group may hold it open for ever.
const lastWords = time.Second

// maxGreeting bounds the handshake line; with a certificate it has about 1 kB.
const maxGreeting = 16 << 10

// splitGreeting gives the first line to the handshake and the rest, which a
// plugin has no business writing, to the log.
func splitGreeting(from io.Reader, greeting *io.PipeWriter, rest io.Writer) {
	reader := bufio.NewReaderSize(from, maxGreeting)
	line, err := reader.ReadSlice('\n')
	if err == nil && strings.Count(string(line), "|") < 3 || err == bufio.ErrBufferFull {
		_, _ = rest.Write(line)
	}
	if err == bufio.ErrBufferFull {
		line = []byte("too long\n")
	}
	_, _ = greeting.Write(line)
	_, _ = io.Copy(rest, reader)
	greeting.Close()
}

// memoryCheck is how often the resident memory of a plugin is looked at.
const memoryCheck = 200 * time.Millisecond

func (c *child) watchMemory() {
	ticker := time.NewTicker(memoryCheck)
	defer ticker.Stop()
	for {
		select {
		case <-c.exited:
			return
		case <-ticker.C:
			if n := residentMemory(c.pid()); n > c.memoryLimit {
				c.killFor(fmt.Sprintf("used %d MiB of memory; its limit is %d MiB", n>>20, c.memoryLimit>>20))
				return
			}
		}
	}
}

// Wait waits for the process.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return c.waitErr
}

// Kill kills the whole process group.
func (c *child) Kill(context.Context) error {
	// A program that is no plugin usually ends by itself, and its own exit status
	// says more than our signal.
	c.exitStatus(200 * time.Millisecond)
	c.kill()
	return nil
}

func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.process == nil {
		return
	}
	select {
	case <-c.exited:
		// The number may belong to somebody else by now.
	default:
		_ = syscall.Kill(-c.process.Pid, syscall.SIGKILL)
	}
}

// killFor kills the process for a reason that its exit status then tells.
func (c *child) killFor(reason string) {
	c.mu.Lock()
	if c.reason == "" {
		c.reason = reason
	}
	c.mu.Unlock()
	c.kill()
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
	if c.reason != "" {
		return "was ended: it " + c.reason
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

// Stdout is the handshake line.
func (c *child) Stdout() io.ReadCloser { return c.greeting }

// Stderr is empty; the log is captured here.
func (c *child) Stderr() io.ReadCloser { return c.nothing }

// Name is the program.
func (c *child) Name() string { return c.cmd.Path }

// ID is the process number.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

// PluginToHost changes nothing: both see the same file system.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
