// Package link is the data sockets between the process groups of a run: where each lies, what a process has to
// see of the run's directory, and what the two ends are told of each other. What flows there, and when, is the
// business of package run, and of what stands between two groups (package record).
package link

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// Socket is the socket at which the group after boundary n listens, counted from 1, and RelaySocket that of
// the relay before it. Each is in a directory of its own, so that a confined process can
// be shown its own sockets and no others of the run.
func Socket(dir string, n int) string      { return filepath.Join(dir, "e"+strconv.Itoa(n), "s") }
func RelaySocket(dir string, n int) string { return filepath.Join(dir, "r"+strconv.Itoa(n), "s") }

// MakeDir makes the directory of a socket.
func MakeDir(socket string) error {
	if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
		return fault.New("host.directory", fault.Internal, "cannot make a directory for a data socket: %w", err)
	}
	return nil
}

// Reach is what a process has to see to listen at one socket and to connect to another; either may be empty.
func Reach(input, output string) (list []host.Reach) {
	if input != "" {
		list = append(list, host.Reach{Path: filepath.Dir(input), Write: true})
	}
	if output != "" {
		list = append(list, host.Reach{Path: filepath.Dir(output)})
	}
	return list
}

// Listen listens at a socket for a process that connects to it.
func Listen(socket string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fault.New("link.listen", fault.Internal, "cannot listen on the data socket: %w", err)
	}
	return l, nil
}

// Dial connects to a socket at which a stage listens, and says hello. The connection is nil when the stage has ended,
// which says why itself; the error is a stranger in its place.
func Dial(ctx context.Context, socket string, to peer.Expected) (*net.UnixConn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil
	}
	conn := c.(*net.UnixConn)
	err = to.SendHello(conn)
	if err == nil {
		err = to.AwaitWelcome(ctx, conn)
	}
	if err == nil {
		return conn, nil
	}
	conn.Close()
	if err = runner.PeerFault(err); !fault.Is(err, runner.LinkStranger) {
		err = nil
	}
	return nil, err
}

// End is a process at the end of a data socket.
type End struct {
	PID int // 0 is unknown
	// Words is true when it knows the words of package peer.
	Words bool
}

// Own is this process: a relay, a replay, and stages that run in it.
func Own() End { return End{PID: os.Getpid(), Words: true} }

// StrangerTimeout is how long the two ends of a data socket wait for each other's word where neither the system tells
// who that is, nor somebody debugs a stage.
const StrangerTimeout = 10 * time.Second

// Link is a data socket: what its writer and its reader are told of each other.
type Link struct{ ToWriter, ToReader peer.Expected }

// EnvMemory is the variable that, when it is "off", keeps all batches on the sockets: for tests, and to find out whether
// something is the memory's fault. It is read at the start of a run.
const EnvMemory = "CIPHERSTREAM_SHARED_MEMORY"

// ShareMemory makes the two ends share memory where the system has it. Both must be processes of this program: each relies
// on the other's code.
func (l *Link) ShareMemory() {
	share := os.Getenv(EnvMemory) != "off"
	l.ToWriter.Memory, l.ToReader.Memory = share, share
}

// New introduces two ends to each other, who wait for each other's word as long as patience; 0 is as long as it takes.
func New(writer, reader End, patience time.Duration) Link {
	l := Link{peer.Expected{PID: reader.PID, Timeout: patience}, peer.Expected{PID: writer.PID, Timeout: patience}}
	if writer.Words && reader.Words {
		hello, welcome := peer.NewWord(), peer.NewWord()
		l.ToWriter.Hello, l.ToWriter.Welcome = hello, welcome
		l.ToReader.Hello, l.ToReader.Welcome = hello, welcome
	}
	return l
}
