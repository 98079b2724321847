//go:build unix

package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// outlet is something to write to that gives up when ctx ends, even while nobody
// reads.
type outlet interface {
	write(ctx context.Context, p []byte) (int, error)
	close() error
}

// conn is a target with one phase.
type conn struct {
	name   string
	dial   func(ctx context.Context) (outlet, error)
	outlet outlet
}

func (c *conn) location() string { return c.name }
func (c *conn) streams() bool    { return true }

func (c *conn) open(ctx context.Context, _ string) (err error) {
	c.outlet, err = c.dial(ctx)
	return err
}

func (c *conn) write(ctx context.Context, p []byte) (int, error) { return c.outlet.write(ctx, p) }
func (c *conn) commit() error                                    { return c.abort() }

func (c *conn) abort() error {
	if c.outlet == nil {
		return nil
	}
	o := c.outlet
	c.outlet = nil
	return o.close()
}

func dialSocket(ctx context.Context, path string) (outlet, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return &polled{c}, nil
}

// sharing writes to f by a descriptor of its own, so that f stays open when the run has ended.
func sharing(f *os.File) (outlet, error) {
	// Not f.Fd, which would make the file blocking for everybody who shares it.
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again int
	var dupErr error
	err = raw.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if again, dupErr = syscall.Dup(int(fd)); dupErr == nil {
			syscall.CloseOnExec(again)
		}
	})
	if err := errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return newOutlet(os.NewFile(uintptr(again), f.Name()))
}

// newOutlet chooses how to write to f, which it owns from here on.
//
// A blocked write can be interrupted if the descriptor is non-blocking. That is a
// property of the open file, which f shares with this program's standard output
// and, for a terminal, with the user's shell: it must not be changed here. So a
// pipe or a terminal is opened anew, which Linux allows; where that fails, writes
// go through a goroutine that can be left behind.
func newOutlet(f *os.File) (outlet, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if info.Mode().IsRegular() {
		// Never blocks for long, and a file opened anew would begin at its start.
		return plain{f}, nil
	}
	if o, ok := nonBlocking(f); ok {
		return o, nil
	}
	if info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
		if again, err := reopen(f); err == nil {
			f.Close()
			if o, ok := nonBlocking(again); ok {
				return o, nil
			}
			// A device that cannot be waited for, such as /dev/null.
			return plain{again}, nil
		}
	}
	return newDetached(f), nil
}

// openDevice opens a character device, such as /dev/null or a terminal.
func openDevice(path string) (outlet, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if o, ok := nonBlocking(f); ok {
		return o, nil
	}
	return plain{f}, nil
}

func nonBlocking(f *os.File) (outlet, bool) {
	return &polled{f}, f.SetWriteDeadline(time.Time{}) == nil
}

// plain writes to what does not block for long.
type plain struct{ f *os.File }

func (o plain) write(_ context.Context, p []byte) (int, error) { return o.f.Write(p) }
func (o plain) close() error                                   { return o.f.Close() }

// polled writes to what the runtime can wait for.
type polled struct {
	w interface {
		io.WriteCloser
		SetWriteDeadline(time.Time) error
	}
}

func (o *polled) write(ctx context.Context, p []byte) (int, error) {
	stop := context.AfterFunc(ctx, func() { o.w.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	n, err := o.w.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return n, err
}

func (o *polled) close() error { return o.w.Close() }

// detached writes in a goroutine. A write that blocks when ctx ends is abandoned
// there; it holds the descriptor and one buffer until the reader moves or the
// process ends, which it does soon: a process serves one run.
type detached struct {
	buffer []byte
	pieces chan []byte
	// results has room for the two that come after an abandoned write.
	results chan result
	lost    bool
}

type result struct {
	n   int
	err error
}

// detachedBuffer is how much is copied at a time. The goroutine may outlive the
// caller's slice.
const detachedBuffer = 256 << 10

func newDetached(f *os.File) *detached {
	o := &detached{buffer: make([]byte, 0, detachedBuffer), pieces: make(chan []byte), results: make(chan result, 2)}
	go func() {
		for p := range o.pieces {
			n, err := f.Write(p)
			o.results <- result{n, err}
		}
		o.results <- result{0, f.Close()}
	}()
	return o
}

func (o *detached) write(ctx context.Context, p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if o.lost {
			return written, os.ErrClosed
		}
		o.buffer = append(o.buffer[:0], p[:min(len(p), detachedBuffer)]...)
		o.pieces <- o.buffer
		select {
		case r := <-o.results:
			written += r.n
			if r.err != nil {
				return written, r.err
			}
		case <-ctx.Done():
			o.lost = true
			return written, ctx.Err()
		}
		p = p[len(o.buffer):]
	}
	return written, nil
}

func (o *detached) close() error {
	close(o.pieces)
	if o.lost {
		return nil
	}
	return (<-o.results).err
}
