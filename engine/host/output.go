package host

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	// drainTimeout is how long the output of a process that has ended is still read: a descendant that has left its
	// process group may keep the pipe open for ever.
	drainTimeout = time.Second
	// pipeCapacity is how much is read after that: as much as a pipe can have in it on Linux.
	pipeCapacity = 64 << 10
)

// output reads standard output or standard error of a process. It ends only when the process has ended, so that whoever
// sees the end can ask for the exit status; a process that closes its output and lives on looks like one that writes
// nothing. Everything that was written before the process ended is read, even if the host is so busy that drainTimeout
// is over before it reads at all.
type output struct {
	pipe  *os.File
	ended <-chan struct{}
	late  bool // drainTimeout is over
	left  int  // of pipeCapacity
}

func newOutput(pipe *os.File, ended <-chan struct{}) *output {
	return &output{pipe: pipe, ended: ended, left: pipeCapacity}
}

// cutOff is called when the process has ended.
func cutOff(pipe *os.File) { _ = pipe.SetReadDeadline(time.Now().Add(drainTimeout)) }

// Read ends with io.EOF or with the error of the pipe.
func (o *output) Read(p []byte) (int, error) {
	if !o.late {
		n, err := o.pipe.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err != nil {
				<-o.ended
			}
			return n, err
		}
		o.late = true
	}
	return o.readLeft(p[:min(len(p), o.left)])
}

// readLeft reads what is in the pipe, and waits for nothing.
func (o *output) readLeft(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, io.EOF
	}
	if err := o.pipe.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	raw, err := o.pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), p)
		return true
	})
	if err != nil {
		return 0, err
	}
	if readErr != nil || n <= 0 {
		return 0, io.EOF // it is empty
	}
	o.left -= n
	return n, nil
}
