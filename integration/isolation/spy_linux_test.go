package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// spying are the settings of the spy.
type spying struct {
	// Address is that of a TCP listener, Resolver that of a DNS server; Abstract and
	// Socket are unix sockets, without and with a path.
	Address  string `config:"address"`
	Resolver string `config:"resolver"`
	Abstract string `config:"abstract"`
	Socket   string `config:"socket"`
	// Marker is what is looked for in the environments of other processes.
	Marker string `config:"marker"`
	// Try are ways out of the confinement, as WAY:WHAT.
	Try []string `config:"try"`
}

// report is what the spy has seen. Errors are text, empty where something worked.
type report struct {
	PID, Group, UID          int
	Dial, DialAbstract       string
	DialSocket, Resolve      string
	Interfaces               []string // that are up
	Environments             int      // of processes, in which the marker is
	NoNewPrivs               int
	Processors, GOMAXPROCS   int
	Directory, Temp, Program string
	Inherited                []string // what was open when the process began
	Tried                    []string // how each of Try failed, or worked
}

// inherited is what was open when this process began, by where it leads.
var inherited []string

// noteInherited notes what is open and does not close on exec: whatever a Go program
// opens itself does.
func noteInherited() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		n := 0
		for _, digit := range e.Name() {
			n = 10*n + int(digit-'0')
		}
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		kind, _, _ := strings.Cut(target, ":")
		inherited = append(inherited, e.Name()+" "+kind)
	}
	slices.Sort(inherited)
}

type spy struct {
	settings spying
	env      stage.Env
}

func (s spy) Open(ctx context.Context) (*arrow.Schema, error) {
	see := report{
		PID: os.Getpid(), Group: unix.Getpgrp(), UID: os.Getuid(), Temp: os.TempDir(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Processors: runtime.NumCPU(), Inherited: inherited,
	}
	see.Directory, _ = os.Getwd()
	see.Program, _ = os.Executable()
	see.Dial = dial(ctx, "tcp", s.settings.Address)
	see.DialAbstract = dial(ctx, "unix", s.settings.Abstract)
	see.DialSocket = dial(ctx, "unix", s.settings.Socket)
	see.Resolve = resolve(ctx, s.settings.Resolver)
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 {
			see.Interfaces = append(see.Interfaces, i.Name)
		}
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && s.settings.Marker != "" && bytes.Contains(text, []byte(s.settings.Marker)) {
			see.Environments++
		}
	}
	see.NoNewPrivs, _ = unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	for _, way := range s.settings.Try {
		see.Tried = append(see.Tried, escape(ctx, way))
	}
	text, err := json.Marshal(see)
	if err != nil {
		return nil, err
	}
	return nil, fault.New("spy.report", fault.Source, "this is what the process sees").WithDetail("report", string(text))
}

func (spy) Next(context.Context) (arrow.Record, error) { return nil, io.EOF }
func (spy) Close() error                               { return nil }

const patience = 10 * time.Second

// dial says why there is no connection.
func dial(ctx context.Context, network, address string) string {
	if address == "" {
		return "not tried"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// resolve asks a DNS server for a name.
func resolve(ctx context.Context, server string) string {
	if server == "" {
		return "not tried"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server)
	}}
	addresses, err := resolver.LookupHost(ctx, "plugin.test.")
	if err != nil {
		return err.Error()
	}
	if !slices.Equal(addresses, []string{"192.0.2.7"}) {
		return "wrong answer"
	}
	return ""
}
