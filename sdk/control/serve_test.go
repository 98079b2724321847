package control_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// asPlugin is the argument with which the test program is a plugin.
const asPlugin = "serve-as-plugin"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asPlugin {
		b := runnertest.Bundle("test")
		b.Stages = append(b.Stages, stage.DefineSink(stage.About{Name: "talkative", Summary: "Says what it removes."},
			func(s talkative, _ stage.Env) (stage.Sink, error) { return s, nil }))
		control.Serve(b)
		return
	}
	goleak.VerifyTestMain(m)
}

// talkative is a sink that writes to standard error before it removes what it has begun, as a database driver does
// whose connection is lost.
type talkative struct {
	Path string `config:"path,required"`
	// Signals is where to write which signals a program that it starts ignores.
	Signals string `config:"signals"`
}

func (s talkative) Open(context.Context, stage.Object) error {
	if s.Signals != "" {
		status, err := exec.Command("/bin/cat", "/proc/self/status").Output()
		if err == nil {
			err = os.WriteFile(s.Signals, status, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return os.WriteFile(s.Path, nil, 0o600)
}
func (s talkative) Write(context.Context, []byte) error           { return nil }
func (s talkative) Prepare(context.Context) error                 { return nil }
func (s talkative) Commit(context.Context) (stage.Receipt, error) { return stage.Receipt{}, nil }
func (s talkative) Abort(context.Context) error {
	for range 3 {
		fmt.Fprintln(os.Stderr, "the connection is lost")
		fmt.Println("removing", s.Path)
	}
	return os.Remove(s.Path)
}

// process is a plugin program that this test has started, as a host would.
type process struct {
	t        *testing.T
	dir      string
	identity *control.Identity
	command  *exec.Cmd
	lifeline *os.File // its writing end
	stdout   *os.File
	stderr   *os.File
	output   *bufio.Reader
	inherits []*os.File // what it gets
}

// launch starts the program with these variables beside those of a host, which they replace.
func launch(t *testing.T, variables ...string) *process {
	t.Helper()
	p := prepare(t, variables...)
	p.start()
	return p
}

// prepare does all of launch but the start.
func prepare(t *testing.T, variables ...string) *process {
	t.Helper()
	identity, err := control.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the path of a socket in it would be too long.
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	pipe := func() (read, write *os.File) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { read.Close(); write.Close() })
		return read, write
	}
	p := &process{t: t, dir: dir, identity: identity, command: exec.Command(self, asPlugin)}
	var childLifeline, childOut, childErr *os.File
	childLifeline, p.lifeline = pipe()
	p.stdout, childOut = pipe()
	p.stderr, childErr = pipe()
	p.output = bufio.NewReader(p.stdout)
	p.command.Env = append([]string{
		control.Handshake.MagicCookieKey + "=" + control.Handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		control.EnvHostCertificate + "=" + identity.PEM(), "PLUGIN_UNIX_SOCKET_DIR=" + dir, "TMPDIR=" + dir,
		control.EnvLifeline + "=3", "GORACE=atexit_sleep_ms=0",
	}, variables...)
	p.command.Stdout, p.command.Stderr, p.command.ExtraFiles = childOut, childErr, []*os.File{childLifeline}
	p.inherits = []*os.File{childLifeline, childOut, childErr}
	return p
}

func (p *process) start() {
	p.t.Helper()
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = p.command.Process.Kill() })
	for _, f := range p.inherits {
		f.Close()
	}
}

// handshake reads the fields of the handshake line.
func (p *process) handshake() []string {
	p.t.Helper()
	line, err := p.output.ReadString('\n')
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "|")
	if err != nil || len(fields) != 6 {
		p.t.Fatalf("handshake %q: %v", line, err)
	}
	return fields
}

// connect is the host's connection; with other it is somebody else's, with another certificate.
func (p *process) connect(fields []string, other *control.Identity) *grpc.ClientConn {
	p.t.Helper()
	der, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		p.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	identity := p.identity
	if other != nil {
		identity = other
	}
	config := identity.Client()
	config.RootCAs.AddCert(certificate)
	return p.dial(fields, credentials.NewTLS(config))
}

func (p *process) dial(fields []string, with credentials.TransportCredentials) *grpc.ClientConn {
	p.t.Helper()
	conn, err := grpc.NewClient("unix://"+fields[3], grpc.WithTransportCredentials(with))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// status waits for the end of the process; negative is that a signal ended it.
func (p *process) status() int {
	p.t.Helper()
	stuck := time.AfterFunc(time.Minute, func() { _ = p.command.Process.Kill() })
	defer stuck.Stop()
	_ = p.command.Wait() // the status says it
	return p.command.ProcessState.ExitCode()
}

// empty fails where something is left in the directory of the socket.
func (p *process) empty() {
	p.t.Helper()
	if left, err := os.ReadDir(p.dir); err != nil || len(left) > 0 {
		p.t.Errorf("left behind: %v, %v", left, err)
	}
}

// run opens and starts an endless run into the sink, and returns when rows flow.
func (p *process) run(client pb.PluginClient, signals string) (path string, stream grpc.ServerStreamingClient[pb.Event]) {
	p.t.Helper()
	path = filepath.Join(p.dir, "begun")
	opened, err := client.Open(p.t.Context(), &pb.OpenRequest{RunId: "r", Dir: p.dir, Stages: []*pb.Stage{
		{Id: "source", Kind: "source", Name: "count", Settings: []byte(`{"rows":1000000000}`)},
		{Id: "encoder", Kind: "encoder", Name: "lines"},
		{Id: "sink", Kind: "sink", Name: "talkative", Settings: fmt.Appendf(nil, `{"path":%q,"signals":%q}`, path, signals)},
	}})
	if err != nil || opened.Fault != nil {
		p.t.Fatalf("%v, %v", opened, err)
	}
	stream, err = client.Start(p.t.Context(), &pb.StartRequest{})
	for err == nil {
		var event *pb.Event
		if event, err = stream.Recv(); event.GetProgress().GetRows() > 0 {
			return path, stream
		}
		if f := event.GetFault(); f != nil {
			p.t.Fatal(f)
		}
	}
	p.t.Fatal(err)
	return "", nil
}

// TestServe: what the protocol page promises of the handshake line, the certificates, the socket, signals and Shutdown.
func TestServe(t *testing.T) {
	p := launch(t)
	fields := p.handshake()
	if got := strings.Join([]string{fields[0], fields[1], fields[2], fields[4]}, "|"); got != "1|1|unix|grpc" ||
		filepath.Dir(fields[3]) != p.dir {
		t.Errorf("handshake %q", fields)
	}
	info, err := os.Lstat(fields[3])
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	stranger, err := control.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pb.NewPluginClient(p.connect(fields, stranger)).Describe(t.Context(), &pb.DescribeRequest{}); err == nil {
		t.Error("it answers another certificate than the host's")
	}
	if _, err := pb.NewPluginClient(p.dial(fields, insecure.NewCredentials())).Describe(t.Context(),
		&pb.DescribeRequest{}); err == nil {
		t.Error("it answers without TLS")
	}
	if conn, err := tls.Dial("unix", fields[3], &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		conn.Close()
		t.Error("it speaks TLS 1.2")
	}
	// They are the host's to understand.
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := p.command.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	conn := p.connect(fields, nil)
	if d, err := pb.NewPluginClient(conn).Describe(t.Context(), &pb.DescribeRequest{}); err != nil || d.Name != "test" {
		t.Errorf("%v, %v", d, err)
	}
	err = conn.Invoke(t.Context(), "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if status := p.status(); status != 0 {
		t.Errorf("status %d after Shutdown", status)
	}
	p.empty()
}

// TestServeRefuses: where the surroundings are not a host's, the program ends at once, says why, and never listens to
// anybody.
func TestServeRefuses(t *testing.T) {
	for _, c := range []struct {
		variable, says string
		status         int
	}{
		{control.Handshake.MagicCookieKey + "=", "is a CipherStream plugin", 2},
		{control.Handshake.MagicCookieKey + "=1", "is a CipherStream plugin", 2},
		{control.EnvHostCertificate + "=", "the host's certificate cannot be read", 1},
		{control.EnvHostCertificate + "=x", "the host's certificate cannot be read", 1},
		{control.EnvHostCertificate + "=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
			"the host's certificate cannot be read", 1},
		{"PLUGIN_UNIX_SOCKET_DIR=/nonexistent", "no such file or directory", 1},
		{"PLUGIN_UNIX_SOCKET_DIR=/" + strings.Repeat("x", 120), "cannot serve", 1},
	} {
		t.Run(c.variable, func(t *testing.T) {
			p := launch(t, c.variable)
			said, err := io.ReadAll(p.stderr)
			if err != nil || !bytes.Contains(said, []byte(c.says)) {
				t.Errorf("it says %q, %v", said, err)
			}
			if shown, err := io.ReadAll(p.output); err != nil || len(shown) > 0 {
				t.Errorf("it writes %q, %v", shown, err)
			}
			if status := p.status(); status != c.status {
				t.Errorf("status %d", status)
			}
			p.empty()
		})
	}
}

// TestServeToNobody: a host that ends before the handshake leaves no socket behind.
func TestServeToNobody(t *testing.T) {
	p := prepare(t)
	p.stdout.Close()
	p.stderr.Close()
	p.start()
	if status := p.status(); status != 1 {
		t.Errorf("status %d", status)
	}
	p.empty()
}

// TestCleanUpAfterTheHost: a sink that writes to standard output and standard error, which nobody reads any more, while
// it removes what it has begun, has removed it when the process ends.
func TestCleanUpAfterTheHost(t *testing.T) {
	p := launch(t)
	fields := p.handshake()
	conn := p.connect(fields, nil)
	path, _ := p.run(pb.NewPluginClient(conn), "")
	for _, f := range []io.Closer{p.stdout, p.stderr, conn, p.lifeline} {
		f.Close()
	}
	if status := p.status(); status != 3 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("what the sink had begun is still there: %v", err)
	}
}

// TestCleanUpAfterTheRun: so has one that was attached, when the run has gone that it was attached to.
func TestCleanUpAfterTheRun(t *testing.T) {
	dir, err := os.MkdirTemp("", "a") // of this user alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "a"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := launch(t, control.EnvAttach+"="+filepath.Join(dir, "a"), control.Handshake.MagicCookieKey+"=",
		control.EnvHostCertificate+"=")
	if err := listener.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	run, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	request, err := json.Marshal(control.AttachRequest{Environment: map[string]string{
		control.Handshake.MagicCookieKey: control.Handshake.MagicCookieValue, control.EnvHostCertificate: p.identity.PEM()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Write(append(request, '\n')); err != nil {
		t.Fatal(err)
	}
	p.output = bufio.NewReader(run)
	conn := p.connect(p.handshake(), nil)
	path, _ := p.run(pb.NewPluginClient(conn), "")
	run.Close()
	if status := p.status(); status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("what the sink had begun is still there: %v", err)
	}
}

// TestSignalsOfChildren: a program that a stage starts is not deaf to signals.
func TestSignalsOfChildren(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("only Linux tells which signals a process ignores")
	}
	p := launch(t)
	signals := filepath.Join(p.dir, "signals")
	p.run(pb.NewPluginClient(p.connect(p.handshake(), nil)), signals)
	status, err := os.ReadFile(signals)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "SigIgn:")
	var ignored uint64
	if _, err := fmt.Sscanf(rest, "%x", &ignored); err != nil || !found {
		t.Fatalf("%q: %v", status, err)
	}
	// Others may be ignored by whoever has started the tests, and are by what stands below a program in C.
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGTERM} {
		if ignored>>(signal-1)&1 != 0 {
			t.Errorf("it ignores %v", signal)
		}
	}
}
