package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// failure is an error for machines.
type failure struct {
	Code        string            `json:"code"`
	Class       fault.Class       `json:"class"`
	Message     string            `json:"message"`
	Hint        string            `json:"hint,omitempty"`
	Retryable   bool              `json:"retryable"`
	Stage       string            `json:"stage,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
	Diagnostics diag.List         `json:"diagnostics,omitempty"`
	ExitCode    int               `json:"exit_code"`
}

// ErrTold is in the error of a command that has told on standard output what it found.
var ErrTold = errors.New("what was found is on standard output")

// Report tells on standard error why a command failed.
func (t *Terminal) Report(ctx context.Context, err error) {
	f := fault.From(err)
	if interrupted(ctx) && f.Class == fault.Cancelled {
		f = fault.From(ErrInterrupted)
	}
	var d *diagnosed
	errors.As(err, &d)
	switch {
	case errors.Is(err, ErrTold):
		// What was found is on standard output.
	case f.Code == codeReaderGone:
		// Whoever closed it knows.
	case t.JSON:
		out := failure{f.Code, f.Class, f.Message, f.Hint, f.Retryable, f.Stage, f.Details, nil, ExitCode(ctx, err)}
		if d != nil {
			out.Diagnostics = d.list
		}
		e := json.NewEncoder(t.Err)
		e.SetEscapeHTML(false)
		_ = e.Encode(map[string]failure{"error": out}) // nowhere is left to say that this failed
	case d != nil:
		_ = diag.WriteText(t.Err, d.list, t.TextOptions(t.Err, d.source))
	default:
		writeFault(t.Err, f, Colored(t.Err))
	}
}

const (
	Red   = "\x1b[31m"
	Bold  = "\x1b[1m"
	Cyan  = "\x1b[36m"
	Reset = "\x1b[0m"
)

// DetailAt is the detail of a fault that says where in a file is what it is about: file:line:column.
const DetailAt = "at"

// writeFault renders a fault for people. Details are facts such as a server's
// error number, and a plugin's last lines.
func writeFault(w io.Writer, f *fault.Fault, color bool) {
	paint := func(style, text string) string {
		if !color {
			return text
		}
		return style + text + Reset
	}
	fmt.Fprintf(w, "%s: %s\n", paint(Red, "error["+diag.Printable(f.Code)+"]"), paint(Bold, diag.Printable(f.Message)))
	field := func(name, value string) {
		fmt.Fprintf(w, "  %s %s\n", paint(Cyan, name+":"), diag.Printable(value))
	}
	if f.Stage != "" {
		field("stage", f.Stage)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Details)) {
		value := strings.TrimSpace(f.Details[name])
		// What the message says already is not said again.
		if value == "" || name == "log" || strings.Contains(f.Message, value) {
			continue
		}
		if f.Details[DetailAt] != "" && (name == fault.DetailSetting || name == fault.DetailPlace) {
			continue // they are in the file's place
		}
		field(name, value)
	}
	if log := strings.TrimSpace(f.Details["log"]); log != "" {
		fmt.Fprintf(w, "  %s\n", paint(Cyan, "its last lines:"))
		for line := range strings.Lines(log) {
			fmt.Fprintf(w, "    %s\n", diag.Printable(strings.TrimRight(line, "\r\n")))
		}
	}
	if f.Hint != "" {
		field("help", f.Hint)
	}
	if f.Retryable {
		field("note", "the same command may succeed later")
	}
}

// TextOptions say how diagnostics look on a standard file.
func (t *Terminal) TextOptions(f *os.File, source diag.Source) diag.TextOptions {
	return diag.TextOptions{Source: source, Color: Colored(f), Width: max(0, terminalWidth(f)-8)}
}

// IsTerminal reports whether f is a terminal that understands control sequences.
func IsTerminal(f *os.File) bool {
	is := false
	withDescriptor(f, func(fd int) { is = term.IsTerminal(fd) })
	return is && os.Getenv("TERM") != "dumb"
}

// Colored reports whether colours are wanted on f (no-color.org).
func Colored(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && IsTerminal(f) }

// terminalWidth is the number of columns of f, or 0 when it has none.
func terminalWidth(f *os.File) int {
	columns := 0
	withDescriptor(f, func(fd int) {
		if width, _, err := term.GetSize(fd); err == nil {
			columns = width
		}
	})
	return columns
}

// withDescriptor lends the descriptor of f. Unlike Fd it leaves f as it is for
// those who share it: non-blocking, if it was.
func withDescriptor(f *os.File, do func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) }) // fails on a closed file, which is no terminal
	}
}
