package terminal

import (
	"errors"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Streams are the program's standard files.
type Streams struct{ In, Out, Err *os.File }

// Codes of faults of standard input and output.
const (
	// codeReaderGone is what "… | head" comes to; nobody is told (see report).
	codeReaderGone = "cli.reader_gone"
	codeNoOutput   = "cli.no_output"
	CodeNoInput    = "cli.no_input"
)

// results is standard output as commands write what they have found to it. It
// remembers that this failed: whatever a command makes of the error, the command has failed.
type results struct {
	file *os.File
	err  error
}

func (r *results) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.file.Write(p)
	if err != nil {
		r.err = OutputFault(err)
	}
	return n, r.err
}

// close closes standard output, which is when some file systems say that a write has failed.
func (r *results) close() error {
	if err := r.file.Close(); r.err == nil && err != nil {
		r.err = OutputFault(err)
	}
	return r.err
}

// OutputFault codes an error of standard output.
func OutputFault(err error) *fault.Fault { return streamFault("output", err) }

// streamFault codes an error of writing to standard output or standard error.
func streamFault(name string, err error) *fault.Fault {
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ReaderGone()
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(CodeOutput, fault.Sink, "standard %s cannot be written: %w", name, err).WithHint("make room, or write elsewhere")
	}
	return fault.New(CodeOutput, fault.Sink, "standard %s cannot be written: %w", name, err)
}

// ReaderGone is the fault of a command whose reader has had enough: it ends quietly.
func ReaderGone() *fault.Fault {
	return fault.New(codeReaderGone, fault.Sink, "the reader of standard output closed it before everything was written")
}

// WasClosed reports whether a standard file was closed when the program was started. The Go
// runtime opens /dev/null in its place, for reading and writing, so that no other file gets
// its number. A shell's own >/dev/null is open for writing only. A parent that gives /dev/null
// opened both ways (Node's "ignore", Python's DEVNULL) looks the same, and is told so.
func WasClosed(f *os.File) bool {
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, null) {
		return false
	}
	both := false
	withDescriptor(f, func(fd int) {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		both = err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
	})
	return both
}

// CheckOutput refuses to send what must not be lost, such as rows, to a standard output that is closed. Hint says what to give instead.
func (t *Terminal) CheckOutput(what, hint string) error {
	if !WasClosed(t.Out) {
		return nil
	}
	return fault.New(codeNoOutput, fault.Sink, "%s would go to standard output, which is closed, or %s opened for reading as well", what, os.DevNull).
		WithHint("%s", hint)
}

// EndByPipe ends the process as SIGPIPE does, so that whoever started it sees that, and returns where
// that cannot be had. The Go runtime lets the signal pass only for a write to a standard file.
func EndByPipe() {
	if os.Getpid() == 1 {
		return // the kernel protects it from its own signals
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	r.Close()
	const standardOutput = 1
	if unix.Dup2(int(w.Fd()), standardOutput) != nil {
		return
	}
	signal.Reset(syscall.SIGPIPE)
	_, _ = os.NewFile(standardOutput, "standard output").Write([]byte{0}) // does not return
}

// goRun is where "go run" has the programs that it starts: in the build cache, or in a temporary folder.
var goRun = regexp.MustCompile(`/go-build[0-9]*/b[0-9]+/exe/[^/]+$|/[0-9a-f]{2}/[0-9a-f]{64}-d/[^/]+$`)

// UnderGoRun reports whether "go run" has started this program. It ends with 1 after every status but 0,
// and writes a line about it, so that only after 0 it is quiet.
func UnderGoRun() bool {
	path, err := os.Executable()
	return err == nil && goRun.MatchString(path)
}
