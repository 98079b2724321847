package control

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// EnvLifeline names the environment variable that holds the number of an
// inherited descriptor: the reading end of a pipe whose writing end only the
// host holds. When it reaches its end, the host is dead.
const EnvLifeline = "CIPHERSTREAM_LIFELINE"

// Serve runs the plugin program and does not return until the host ends it.
// Without a host it prints what this program is and exits with 2. With EnvAttach it
// says on standard error which run it waits for, and how that goes.
func Serve(bundle stage.Bundle) {
	var handshake io.Writer = os.Stdout
	path := os.Getenv(EnvAttach)
	attached := path != ""
	if attached {
		var served func()
		handshake, served = attachTo(path, bundle.Name)
		defer served()
	}
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a CipherStream plugin (version %s). It is started by cipherstream, not by hand.\n",
			bundle.Name, bundle.Version)
		os.Exit(2)
	}
	session := NewSession(bundle)
	if !attached {
		watchLifeline(session)
		// An interrupt at a terminal reaches the whole foreground group, and what ends a service or
		// a container often signals all its processes. It is the host that decides what
		// that means: it lets the sink clean up before it ends this process.
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	}
	// go-plugin replaces both variables. The files behind them must not be closed by
	// the garbage collector: their descriptors would be given to other files.
	stdout, stderr := os.Stdout, os.Stderr
	defer runtime.KeepAlive(stdout)
	defer runtime.KeepAlive(stderr)

	var tlsProvider func() (*tls.Config, error)
	if hostPEM := os.Getenv(EnvHostCertificate); hostPEM != "" {
		identity, err := NewIdentity()
		if err == nil {
			err = identity.writeHandshake(handshake)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: cannot make its certificate: %v\n", bundle.Name, err)
			os.Exit(1)
		}
		tlsProvider = func() (*tls.Config, error) { return identity.server(hostPEM) }
	}
	service := &GRPC{Session: session, Stderr: stderr}
	if attached {
		service.Stdout = stdout
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake,
		TLSProvider:     tlsProvider,
		Plugins:         plugin.PluginSet{PluginName: service},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage))...)
		},
	})
}

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
