package record

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// track keeps what crosses one boundary. It hands every byte on before it keeps it, and holds one buffer.
type track struct {
	name   string // of the file when it is whole
	plugin string // of the group before

	root  *os.Root
	out   *os.File
	file  *arrowFile
	whole bool
}

// create makes the file, under its name of one that is not whole.
func (t *track) create(root *os.Root) (err error) {
	t.root = root
	if t.out, err = root.OpenFile(t.name+partialEnding, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return writeFailed(t.name+partialEnding, err)
	}
	return nil
}

// Relay keeps what crosses a boundary. The error is the recording's own, or that of what is no Arrow stream.
func (r *Recorder) Relay(_ context.Context, n int, from, to *net.UnixConn) error {
	return r.tracks[n-1].relay(from, to)
}

func (t *track) relay(from, to *net.UnixConn) (err error) {
	partial := t.name + partialEnding
	if t.file, err = newArrowFile(t.out); err != nil {
		return writeFailed(partial, err)
	}
	ended, err := copyStream(to, t.file, from)
	if err == nil && ended == endedWhole && moreCame(from, to) {
		ended = endedForeign
	}
	// The neighbours need not wait for the rest.
	from.Close()
	to.Close()
	if err == nil && ended == endedWhole {
		err = t.file.finish()
	} else if err == nil {
		err = t.file.out.Flush()
	}
	if ended == endedForeign || err == wire.ErrNoSchema {
		return fault.New(runner.LinkProtocol, fault.Plugin,
			"plugin %q sent something that is not a valid Arrow stream, which cannot be recorded", t.plugin)
	}
	if err == nil {
		err = t.out.Close()
	}
	if err == nil && ended == endedWhole {
		err = t.root.Rename(partial, t.name)
	}
	if err != nil {
		return writeFailed(partial, err)
	}
	t.whole = ended == endedWhole
	return nil
}

// moreCame hands a byte on that comes behind the end of a stream, so that its reader refuses
// it as it would if the two groups were joined directly.
func moreCame(from, to net.Conn) bool {
	_ = from.SetReadDeadline(time.Now().Add(wire.EndTimeout))
	var one [1]byte
	n, _ := from.Read(one[:])
	if n > 0 {
		_, _ = to.Write(one[:])
	}
	return n > 0
}
