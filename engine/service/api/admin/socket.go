package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
)

// socketName is the socket's in the data directory.
const socketName = "admin.sock"

// How long a request on the socket may take to come, and its answer to go.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	endTimeout    = 10 * time.Second
)

// Server answers on the socket of a data directory.
type Server struct {
	path   string
	server *http.Server
	ended  chan struct{}

	closing sync.Once
	err     error
}

// Listen begins to answer on admin.sock in the data directory, which the caller has locked: so a socket that is there
// is that of a process that has died, and is replaced. The socket is for its owner alone (0600), and each connection is
// asked who is at the other end: this user, or root. Log gets what breaks in a request; nil is nowhere.
func Listen(dir string, registry *customer.Registry, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	path := filepath.Join(dir, socketName)
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := listen(path)
	if err != nil {
		return nil, fault.New(CodeSocket, fault.Usage, "the socket for commands cannot be made: %w", err)
	}
	handler := NewHandler(Config{Manage: func(r *http.Request) (Manage, error) {
		who, err := caller(r.Context())
		if err != nil {
			return nil, err
		}
		return registry.Manage(customer.Actor{Who: who, From: socketName}), nil
	}})
	s := &Server{path: path, ended: make(chan struct{}), server: &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: bodyTimeout,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ConnContext: withPeer,
	}}
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the socket for commands has ended", "error", err)
		}
	}()
	return s, nil
}

// removeStale removes the socket of a process that has died. Whatever else has its name is left alone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(CodeSocket, fault.Usage, "the socket for commands cannot be made: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fault.New(CodeSocket, fault.Usage,
			"the socket for commands cannot be made: %s is there, and is no socket", path).
			WithHint("remove it, or give another data directory")
	}
	conn, err := dial(context.Background(), path)
	if err == nil {
		conn.Close()
		return fault.New(CodeSocket, fault.Usage, "another process answers on %s", path).
			WithHint("end it, or give another data directory")
	}
	if err := os.Remove(path); err != nil {
		return fault.New(CodeSocket, fault.Usage, "the socket of a service that has died cannot be removed: %w", err)
	}
	return nil
}

// listen makes the socket. The directory is its owner's alone, so nobody else can come in before its mode is set.
func listen(path string) (*net.UnixListener, error) {
	var listener *net.UnixListener
	err := atShortPath(path, func(short string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // Close does it, by the path that stays true
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(path))
	}
	return listener, nil
}

func dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = atShortPath(path, func(short string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// longestSocket is the length of a path that every system takes for a socket: 104 bytes with the zero behind it on
// macOS, 108 on Linux.
const longestSocket = 103

// atShortPath calls use with a path of the socket that the system takes: where its own is too long, Linux has another
// one for its directory once that is open.
func atShortPath(path string, use func(string) error) error {
	if len(path) <= longestSocket {
		return use(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := os.Stat(short); err != nil {
		return fmt.Errorf("the path %s is too long for a socket on this system: it has %d bytes, and may have %d",
			path, len(path), longestSocket)
	}
	return use(filepath.Join(short, filepath.Base(path)))
}

// peerKey is that of the other end in a connection's context.
type peerKey struct{}

// other is who is at the other end of a connection.
type other struct {
	peer.Process
	err error
}

func withPeer(ctx context.Context, conn net.Conn) context.Context {
	var o other
	if c, ok := conn.(*net.UnixConn); ok {
		o.Process, o.err = peer.Of(c)
	} else {
		o.err = errors.New("the connection is not one of a unix socket")
	}
	return context.WithValue(ctx, peerKey{}, o)
}

// caller names the user at the other end, when it is one that may change anything.
func caller(ctx context.Context) (string, error) {
	o, _ := ctx.Value(peerKey{}).(other)
	if o.err != nil {
		return "", fault.New(CodePeer, fault.Usage, "who is at the other end cannot be told: %w", o.err)
	}
	if !admitted(o.UID) {
		return "", fault.New(CodePeer, fault.Usage,
			"the process %d at the other end is of user %d, and not of the service's", o.PID, o.UID).
			WithHint("run the command as the user that the service runs as, or as root")
	}
	if o.UID < 0 {
		return "user:unknown", nil
	}
	if u, err := user.LookupId(strconv.Itoa(o.UID)); err == nil {
		return "user:" + u.Username, nil
	}
	return "user:" + strconv.Itoa(o.UID), nil
}

// admitted reports whether a user may change anything. Where the system does not tell who it is (-1), the modes of the
// socket and its directory have kept others out.
func admitted(uid int) bool { return uid == os.Geteuid() || uid == 0 || uid == -1 }

// Close waits for the requests that are being answered, ends it, and removes the socket. It may be called twice.
func (s *Server) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			s.err = errors.Join(err, s.server.Close())
		}
		<-s.ended
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.err = errors.Join(s.err, err)
		}
	})
	return s.err
}

// Dial returns a client of the service that runs with a data directory; its error has CodeNotRunning when none does.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, socketName)
	conn, err := dial(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return nil, fault.New(CodeNotRunning, fault.Connect, "no service runs with the data directory %s", dir).
			WithHint("start it with cipherstream serve, or give its data directory")
	case err != nil:
		return nil, fault.New(CodeConnection, fault.Connect, "the service's socket cannot be reached: %w", err).
			WithHint("run the command as the user that the service runs as, or as root")
	}
	conn.Close()
	over := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, path)
	}}
	client := &http.Client{Transport: over, CheckRedirect: noRedirect}
	return &Client{base: "http://" + socketName, http: client}, nil
}
