package host

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	// lastWords is how long the output of a process that has ended is still read: a
	// descendant that escaped its group may hold it open for ever.
	lastWords = time.Second
	// pipeHolds is what may be in a pipe when that time is over: what a pipe holds on Linux.
	pipeHolds = 64 << 10
)

// output is one of the two outputs of a process. It ends no sooner than the process, so
// that whoever sees it end can say how the process has ended. A process that closes it
// and lives on is waited for like one that says nothing. Whatever was written before the
// process ended is read, also by a host that gets to it only when lastWords are over.
type output struct {
	pipe  *os.File
	ended <-chan struct{}
	late  bool // lastWords are over
	left  int  // of what is then read
}

func newOutput(pipe *os.File, ended <-chan struct{}) *output {
	return &output{pipe: pipe, ended: ended, left: pipeHolds}
}

// cutOff is called when the process has ended.
func cutOff(pipe *os.File) { _ = pipe.SetReadDeadline(time.Now().Add(lastWords)) }

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
