package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/peer"
)

// EnvAttach names the environment variable with the path of a unix socket on which
// a host waits for a plugin that it does not start itself: one that runs under a
// debugger, or simply in another terminal.
//
// The plugin connects and reads one line, an AttachRequest. From then on it behaves as
// if it had been started with that environment, but writes its handshake to the
// connection instead of standard output. The connection stays open: each side takes
// its end for the end of the other.
const EnvAttach = "CIPHERSTREAM_ATTACH"

// AttachRequest is what the host sends over the socket of EnvAttach: one line of JSON,
// at most MaxAttachRequest bytes long.
type AttachRequest struct {
	// Environment is what go-plugin's handshake puts into a plugin's environment, and
	// EnvHostCertificate.
	Environment map[string]string `json:"environment"`
}

// MaxAttachRequest bounds an attach request, in bytes.
const MaxAttachRequest = 64 << 10

// attachVariables are the prefixes of the variables that an attach request may set.
var attachVariables = []string{"PLUGIN_", "CIPHERSTREAM_"}

// attach connects to the host that waits at path, and does as its attach request says.
func attach(path string) (*net.UnixConn, error) {
	if err := checkSocketDirectory(path); err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("no run waits there any more: %w", err)
	}
	err = (peer.Expected{}).SendHello(conn)
	if err == nil {
		err = readAttachRequest(conn)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// checkSocketDirectory makes sure that nobody but this user can have made the socket:
// who answers there is sent rows, and decides where they go.
func checkSocketDirectory(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("no run waits there any more")
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone; start the plugin as the user who started the run",
			dir)
	}
	return nil
}

// readAttachRequest reads the request and puts its environment in place.
func readAttachRequest(conn io.Reader) error {
	line, err := bufio.NewReaderSize(io.LimitReader(conn, MaxAttachRequest), MaxAttachRequest).ReadSlice('\n')
	if err != nil {
		return errors.New("the run ended before it said what it wants")
	}
	var in AttachRequest
	if err := json.Unmarshal(line, &in); err != nil {
		return errors.New("what waits there is not a run of cipherstream")
	}
	if in.Environment[EnvHostCertificate] == "" {
		return errors.New("the run sent no certificate")
	}
	for name := range in.Environment {
		if !slices.ContainsFunc(attachVariables, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			return fmt.Errorf("the run wants to set the variable %q", name)
		}
	}
	for name, value := range in.Environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// attachTo makes this process the plugin of the run that waits at path. It returns
// where its handshake goes, and what to call when it has served: that ends the process.
// When the run has gone, the process ends as soon as the session has ended what it began.
func attachTo(path, name string, session *Session) (handshake io.Writer, served func()) {
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, name+": "+format+"\n", args...)
	}
	say("attaching to the run that waits at %s", path)
	// What this process starts is no plugin.
	os.Unsetenv(EnvAttach)
	conn, err := attach(path)
	if err != nil {
		say("cannot attach: %v", err)
		os.Exit(1)
	}
	say("attached; waiting for the run to begin")
	served = sync.OnceFunc(func() {
		say("the run has ended")
		os.Exit(0)
	})
	go func() {
		// Nothing more is ever written.
		_, _ = conn.Read(make([]byte, 1))
		time.AfterFunc(cleanupTimeout, served)
		session.End()
		served()
	}()
	// An interrupt comes from the terminal of whoever started this process, and is meant for it.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		<-interrupts
		os.Exit(130)
	}()
	return conn, served
}
