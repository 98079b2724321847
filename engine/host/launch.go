package host

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// firstExtra is the first descriptor after the three standard ones; mostInherited
// is where those that a host may have inherited are taken to end, where the system
// cannot be asked. The lifeline is the first of exec.Cmd.ExtraFiles.
const (
	firstExtra    = 3
	lifelineFD    = firstExtra
	mostInherited = 1024
)

func sealEach() {
	for fd := firstExtra; fd < mostInherited; fd++ {
		syscall.CloseOnExec(fd)
	}
}

// lastWords is how long the output of a process that has ended is still read: a
// descendant that escaped its group may hold it open for ever.
const lastWords = time.Second

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
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		c.startErr = err
		return err
	}
	defer statusRead.Close()
	defer statusWrite.Close()
	if c.hold.jail != nil {
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, statusWrite) // jail.StatusFD
	}
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
	// The parent-death signal is sent when the thread that made the child ends, so this
	// one stays as long as the child. What restrains it ends with it.
	onThread(func() {
		err := c.launch()
		statusWrite.Close()
		if err == nil && c.hold.jail != nil {
			if err = readStatus(statusRead); err != nil {
				c.await()
			}
		}
		started <- err
		if err != nil {
			return
		}
		c.await()
		_ = stdoutRead.SetReadDeadline(time.Now().Add(lastWords))
		_ = stderrRead.SetReadDeadline(time.Now().Add(lastWords))
		close(c.exited)
	})
	if err := <-started; err != nil {
		c.startErr = err
		stdoutRead.Close()
		stderrRead.Close()
		lifelineWrite.Close()
		close(c.exited)
		return c.startErr
	}

	greetingRead, greetingWrite := io.Pipe()
	nothingRead, nothingWrite := io.Pipe()
	c.greeting, c.nothing = greetingRead, nothingRead
	var output sync.WaitGroup
	output.Go(func() {
		splitGreeting(stdoutRead, greetingWrite, c.log.stream("stdout"), c.noteChatter)
		stdoutRead.Close()
	})
	output.Go(func() {
		_, _ = io.Copy(c.log.stream("stderr"), stderrRead)
		stderrRead.Close()
		nothingWrite.Close()
	})
	go func() {
		output.Wait()
		close(c.drained)
	}()
	go c.watchUse()
	return nil
}

// launch starts the process, unless it was killed before that.
func (c *child) launch() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return context.Canceled
	}
	sealDescriptors()
	if err := prepareThread(c.hold); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.process = c.cmd.Process
	limitCoreDumps(c.process.Pid)
	return nil
}

// await waits for the process. Whatever it has started must not outlive it, nor keep
// its output open.
func (c *child) await() {
	waitEnd(c.process.Pid)
	c.mu.Lock()
	_ = syscall.Kill(-c.process.Pid, syscall.SIGKILL)
	c.gone = true
	c.mu.Unlock()
	c.waitErr = c.cmd.Wait()
}
