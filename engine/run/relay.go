package run

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// relay stands between two process groups of a run that is recorded, and keeps what
// crosses. It hands every byte on before it keeps it, and holds one buffer.
type relay struct {
	root   *os.Root
	name   string // of the file when it is whole
	plugin string // of the group before

	listener *net.UnixListener
	target   string // the socket of the group after
	// before and after are who connects here, and who listens there.
	before, after peer.Expected

	file  *arrowFile
	whole bool
	err   error
}

// listen waits for the group before at one socket, to reach the group after at another.
func (r *relay) listen(at, target string) (err error) {
	r.target = target
	if r.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"}); err != nil {
		return fault.New("link.listen", fault.Internal, "cannot listen on the data socket: %w", err)
	}
	return nil
}

func (r *relay) close() {
	if r.listener != nil {
		r.listener.Close()
	}
}

// run relays one stream. Whatever ends it early ends both connections, as if the two
// groups were joined directly; the error is the recording's own.
func (r *relay) run(ctx context.Context) error {
	r.err = r.copy(ctx)
	return r.err
}

func (r *relay) copy(ctx context.Context) error {
	partial := r.name + partialEnding
	file, err := r.root.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return writeFailed(partial, err)
	}
	defer file.Close()
	up, err := peer.Accept(ctx, r.listener, r.before, nil)
	if err != nil {
		return nil // the run has ended
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { up.Close() })()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", r.target)
	if err != nil {
		return nil // the group after has ended, and says why
	}
	defer conn.Close()
	down := conn.(*net.UnixConn)
	if err := greet(ctx, down, r.after); fault.Is(err, runner.LinkStranger) {
		return err
	} else if err != nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() { down.Close() })()

	if r.file, err = newArrowFile(file); err != nil {
		return writeFailed(partial, err)
	}
	ended, err := copyStream(down, r.file, up)
	if err == nil && ended == endedWhole && moreCame(up, down) {
		ended = endedForeign
	}
	// The neighbours need not wait for the rest.
	up.Close()
	down.Close()
	if err == nil && ended == endedWhole {
		err = r.file.finish()
	} else if err == nil {
		err = r.file.out.Flush()
	}
	if ended == endedForeign || err == errNoSchema {
		return fault.New(runner.LinkProtocol, fault.Plugin, "plugin %q sent something that is not a valid Arrow stream, which cannot be recorded", r.plugin)
	}
	if err == nil {
		err = file.Close()
	}
	if err == nil && ended == endedWhole {
		err = r.root.Rename(partial, r.name)
	}
	if err != nil {
		return writeFailed(partial, err)
	}
	r.whole = ended == endedWhole
	return nil
}

// moreCame hands a byte on that comes behind the end of a stream, so that its reader refuses
// it as it would if the two groups were joined directly.
func moreCame(up, down net.Conn) bool {
	_ = up.SetReadDeadline(time.Now().Add(wire.EndPatience))
	var one [1]byte
	n, _ := up.Read(one[:])
	if n > 0 {
		_, _ = down.Write(one[:])
	}
	return n > 0
}
