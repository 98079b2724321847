package host

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
)

// firstExtra is the first descriptor after the three standard ones, and lifelineFD that of the first file in
// exec.Cmd.ExtraFiles. Where the system has no call for all descriptors at once, those up to mostInherited are kept out
// of children.
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
	if c.confinement.jail != nil {
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
	// The kernel sends the parent-death signal when the thread that made the child ends. So this thread lives as long
	// as the child. It is used for nothing else, because prepareThread has restricted it.
	onThread(func() {
		err := c.launch()
		statusWrite.Close()
		if err == nil && c.confinement.jail != nil {
			if err = readStatus(statusRead); err != nil {
				c.await()
			}
		}
		started <- err
		if err != nil {
			return
		}
		c.await()
		cutOff(stdoutRead)
		cutOff(stderrRead)
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

	handshakeRead, handshakeWrite := io.Pipe()
	nothingRead, nothingWrite := io.Pipe()
	c.handshake, c.nothing = handshakeRead, nothingRead
	var output sync.WaitGroup
	output.Go(func() {
		splitHandshake(newOutput(stdoutRead, c.exited), handshakeWrite, c.log.stream("stdout"), c.noteChatter)
		stdoutRead.Close()
	})
	output.Go(func() {
		_, _ = io.Copy(c.log.stream("stderr"), newOutput(stderrRead, c.exited))
		stderrRead.Close()
		nothingWrite.Close()
	})
	go func() {
		output.Wait()
		close(c.drained)
	}()
	go c.watchLimits()
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
	if err := prepareThread(c.confinement); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.process = c.cmd.Process
	limitCoreDumps(c.process.Pid)
	return nil
}

// await waits for the process, and then kills what it has started, which could keep its output open.
func (c *child) await() {
	waitEnd(c.process.Pid)
	c.mu.Lock()
	_ = syscall.Kill(-c.process.Pid, syscall.SIGKILL)
	c.gone = true
	c.mu.Unlock()
	c.waitErr = c.cmd.Wait()
	// A process that was ending when it was killed has its own exit status.
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && (!status.Signaled() || status.Signal() != syscall.SIGKILL) {
		c.mu.Lock()
		c.cut = false
		c.mu.Unlock()
	}
}
