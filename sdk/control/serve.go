package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// EnvLifeline names the environment variable that holds the number of an
// inherited descriptor: the reading end of a pipe whose writing end only the
// host holds. When it reaches its end, the host is dead.
const EnvLifeline = "CIPHERSTREAM_LIFELINE"

// EnvGCPercent names the environment variable with what Serve passes to debug.SetGCPercent when garbage has been collected
// for the first time. Until then GOGC holds.
const EnvGCPercent = "CIPHERSTREAM_GC_PERCENT"

// Serve runs the plugin program and does not return until the host ends it.
// Without a host it prints what this program is and exits with 2. With EnvAttach it
// says on standard error which run it waits for, and how that goes.
func Serve(bundle stage.Bundle) {
	var handshake io.Writer = os.Stdout
	path := os.Getenv(EnvAttach)
	attached := path != ""
	session := NewSession(bundle)
	if percent, err := strconv.Atoi(os.Getenv(EnvGCPercent)); err == nil {
		// The first collection finds the garbage.
		runtime.AddCleanup(&[64]byte{}, func(percent int) { debug.SetGCPercent(percent) }, percent)
	}
	if attached {
		var served func()
		handshake, served = attachTo(path, bundle.Name, session)
		defer served()
	}
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a CipherStream plugin (version %s). It is started by cipherstream, not by hand.\n",
			bundle.Name, bundle.Version)
		os.Exit(2)
	}
	if !attached {
		watchLifeline(session)
		// An interrupt at a terminal reaches the whole foreground group, and what ends a service or
		// a container often signals all its processes. It is the host that decides what
		// that means: it lets the sink clean up before it ends this process. And when the host has died, what is
		// written to standard output or standard error must not end the clean-up. Nobody reads the channel: signals
		// that are ignored would be so in whatever a stage starts, too.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	}
	if err := serve(handshake, session); err != nil {
		fmt.Fprintf(os.Stderr, "%s: cannot serve: %v\n", bundle.Name, err)
		os.Exit(1)
	}
}

// serve answers the host until that calls Shutdown: the plugin's side of PROTOCOL.md. go-plugin has one as well, which
// serves net/rpc too. That looks methods up by name, for whose sake the linker keeps every method of every type of the
// program.
func serve(handshake io.Writer, session *Session) error {
	identity, err := NewIdentity()
	if err != nil {
		return err
	}
	onlyTheHost, err := identity.server(os.Getenv(EnvHostCertificate))
	if err != nil {
		return err
	}
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if dir == "" {
		dir = os.TempDir()
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "s"+rand.Text()[:8]))
	if err != nil {
		return err
	}
	defer socket.Close() // and with it its name is gone
	if err := os.Chmod(socket.Addr().String(), 0o600); err != nil {
		return err
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(onlyTheHost)), grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage))
	pb.RegisterPluginServer(s, &server{session: session})
	s.RegisterService(&controller, func() {
		time.AfterFunc(farewell, s.Stop)
		go s.GracefulStop()
	})
	// A host that does not speak this version says which of the two is too old.
	if _, err := fmt.Fprintf(handshake, "%d|%d|unix|%s|grpc|%s\n", plugin.CoreProtocolVersion, ProtocolVersion, socket.Addr(), identity.der()); err != nil {
		return err
	}
	return s.Serve(socket)
}

// farewell is how long Shutdown lets calls go on, so that its own is answered.
const farewell = 100 * time.Millisecond

// controller is go-plugin's service that ends the process, with the function that does so for a server. Its messages
// are empty.
var controller = grpc.ServiceDesc{ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
	MethodName: "Shutdown",
	Handler: func(end any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(&emptypb.Empty{}); err != nil {
			return nil, err
		}
		end.(func())()
		return &emptypb.Empty{}, nil
	},
}}}

// cleanupTimeout bounds how long a process outlives its host, to end what it has begun: its query, its upload, its
// temporary file.
const cleanupTimeout = 10 * time.Second

// watchLifeline ends this process when the host dies, however it dies: at once when it has begun nothing, and otherwise
// when that is ended.
func watchLifeline(session *Session) {
	fd, err := strconv.Atoi(os.Getenv(EnvLifeline))
	if err != nil || fd < 3 {
		return
	}
	syscall.CloseOnExec(fd)
	lifeline := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		// Nothing is ever written: Read returns when the last writer is gone.
		_, _ = lifeline.Read(make([]byte, 1))
		time.AfterFunc(cleanupTimeout, func() { os.Exit(3) })
		session.End()
		os.Exit(3)
	}()
}
