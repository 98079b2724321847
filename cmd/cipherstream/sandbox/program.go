package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	modulePath = "github.com/cipherstream/cipherstream"

	// The program that holds the embedded server, and the tag that it is built with.
	sandboxName    = "cipherstream-sandbox"
	sandboxPackage = modulePath + "/cmd/" + sandboxName
	sandboxTag     = "gms_pure_go"
)

// Server is the program with the embedded server, in a process of its own. It ends
// with this process, however this one ends: it reads a standard input that nobody writes to.
type Server struct {
	dsn  string
	cmd  *exec.Cmd
	hold io.Closer // the other end of its standard input
	said *sandboxSaid
}

// DSN is the connection URL of the practice database.
func (s *Server) DSN() string { return s.dsn }

// Close ends the process, and waits for it.
func (s *Server) Close() error {
	_ = s.hold.Close()
	// It waits for the queries that it ends; one that does not is left to the system.
	over := time.AfterFunc(sandboxTimeout, s.kill)
	defer over.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("%w%s", err, s.said.tail())
	}
	return nil
}

// sandboxTimeout is how long the sandbox may take to end.
const sandboxTimeout = 30 * time.Second

func (s *Server) kill() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }

// Start starts the program with the embedded server. The log takes what it has to say; nil drops it.
func Start(ctx context.Context, t *terminal.Terminal, p *Practice, addr string, log *slog.Logger) (*Server, error) {
	if _, err := p.options(); err != nil {
		return nil, err
	}
	cmd, err := sandboxProgram(ctx, t)
	if err != nil {
		return nil, err
	}
	cmd.Args = append(cmd.Args, "-seed", strconv.FormatUint(p.seed, 10), "-scale", strconv.FormatFloat(p.scale, 'g', -1, 64),
		"-patients", strconv.FormatInt(p.patients, 10), "-appointments", strconv.FormatInt(p.appointments, 10))
	if p.changes > 0 {
		cmd.Args = append(cmd.Args, "-changes", p.changes.String())
	}
	if addr != "" {
		cmd.Args = append(cmd.Args, "-addr", addr)
	}
	if log != nil {
		cmd.Args = append(cmd.Args, "-log")
	}
	// A key pressed at the terminal is for this process, which ends the sandbox last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	said := &sandboxSaid{log: log}
	cmd.Stderr = said
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, sandboxFault("%w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, sandboxFault("%w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, sandboxFault("%w", err)
	}
	s := &Server{cmd: cmd, hold: hold, said: said}
	stop := context.AfterFunc(ctx, s.kill)
	s.dsn, err = readServed(out)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return s, nil
	}
	s.kill()
	_ = hold.Close()
	_ = cmd.Wait() // it was killed
	var f *fault.Fault
	if errors.As(err, &f) {
		return nil, err
	}
	return nil, sandboxFault("%w%s", err, said.tail())
}

func sandboxFault(format string, args ...any) *fault.Fault {
	return fault.New(sandbox.CodeStart, fault.Internal, "starting the sandbox: "+format, args...)
}

// maxServed bounds the line with which the sandbox says where it is, in bytes.
const maxServed = 64 << 10

// readServed reads the line with which the sandbox says where it is, or why it is not.
func readServed(r io.Reader) (dsn string, err error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, maxServed), maxServed).ReadSlice('\n')
	if err != nil {
		return "", errors.New("it ended without having served anything")
	}
	var served struct {
		DSN   string
		Fault *struct{ Code, Class, Message, Hint string }
	}
	switch err := json.Unmarshal(line, &served); {
	case err != nil:
		return "", errors.New("it does not say where it serves")
	case served.Fault != nil:
		f := fault.New(served.Fault.Code, fault.Class(served.Fault.Class), "%s", served.Fault.Message)
		return "", f.WithHint("%s", served.Fault.Hint)
	case served.DSN == "":
		return "", errors.New("it does not say where it serves")
	}
	return served.DSN, nil
}

// sandboxProgram is the command that starts the sandbox's program: the one that is named, the
// one beside this program, or, where this one is being developed, the one that is built from
// the source at hand.
func sandboxProgram(ctx context.Context, t *terminal.Terminal) (*exec.Cmd, error) {
	if path := os.Getenv(session.EnvSandbox); path != "" {
		return sandboxCommand(path), nil
	}
	if path := besideThis(); path != "" {
		return sandboxCommand(path), nil
	}
	unavailable := fault.New(sandbox.CodeUnavailable, fault.Usage, "the sandbox is a program of its own, %s, which is not beside this one", sandboxName).
		WithHint("put it there, or name it in %s; it is built with: go build -tags %s %s", session.EnvSandbox, sandboxTag, sandboxPackage)
	// Built from its source, with the source in the current folder and the Go toolchain at hand.
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != modulePath || info.Main.Sum != "" {
		return nil, unavailable
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, unavailable
	}
	modules, err := exec.CommandContext(ctx, tool, "list", "-m").Output()
	if err != nil || !slices.Contains(strings.Fields(string(modules)), modulePath) {
		return nil, unavailable
	}
	if !t.JSON && !terminal.UnderGoRun() {
		fmt.Fprintf(t.Err, "note: no %s beside this program; building it: go run -tags %s %s\n", sandboxName, sandboxTag, sandboxPackage)
	}
	return exec.Command(tool, "run", "-tags", sandboxTag, sandboxPackage), nil
}

// sandboxCommand starts a program in an environment that holds nothing of this process's.
func sandboxCommand(path string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"TMPDIR", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// besideThis is the sandbox's program in the folder of this one, or empty. A release's name goes
// on after the program's, as in cipherstream-linux-amd64, and so does the sandbox's.
func besideThis() string {
	executable, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(executable); err == nil {
		executable = real
	}
	dir, base := filepath.Split(executable)
	names := []string{sandboxName}
	if rest, is := strings.CutPrefix(base, "cipherstream"); is {
		names = append([]string{sandboxName + rest}, names...)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// sandboxSaid takes what the sandbox's program writes to standard error: what it logs, for the
// log, and the end of anything else, for when it fails.
type sandboxSaid struct {
	log *slog.Logger

	mu   sync.Mutex
	line []byte
	last []byte
}

// maxSandboxSaid bounds what is kept, in bytes.
const maxSandboxSaid = 4 << 10

func (s *sandboxSaid) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range p {
		if s.line = append(s.line, b); b == '\n' || len(s.line) == maxSandboxSaid {
			s.take(s.line)
			s.line = s.line[:0]
		}
	}
	return len(p), nil
}

func (s *sandboxSaid) take(line []byte) {
	var entry map[string]any
	if s.log != nil && json.Unmarshal(line, &entry) == nil && entry[slog.MessageKey] != nil {
		var level slog.Level
		_ = level.UnmarshalText(fmt.Append(nil, entry[slog.LevelKey])) // one that is unknown is info
		message := fmt.Sprint(entry[slog.MessageKey])
		for _, known := range []string{slog.MessageKey, slog.LevelKey, slog.TimeKey} {
			delete(entry, known)
		}
		var attrs []slog.Attr
		for name, value := range entry {
			attrs = append(attrs, slog.Any(name, value))
		}
		slices.SortFunc(attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
		s.log.LogAttrs(context.Background(), level, message, attrs...)
		return
	}
	s.last = append(s.last, line...)
	s.last = s.last[max(0, len(s.last)-maxSandboxSaid):]
}

// tail is what it said last, to be put behind an error.
func (s *sandboxSaid) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := bytes.TrimSpace(append(s.last, s.line...)); len(text) > 0 {
		return ":\n" + string(text)
	}
	return ""
}
