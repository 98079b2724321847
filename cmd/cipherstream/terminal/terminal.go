// Package terminal owns how a command and whoever has started it, a person or a script,
// speak to each other: the standard files, results and errors as text and as JSON, tables,
// progress, exit codes and signals. It never knows a command, starts an engine or reads a
// file.
package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Terminal is what a command speaks through to a person or a script.
type Terminal struct {
	Streams
	// results are what goes to standard output, but for rows.
	results *results
	// JSON says that a machine reads: results on standard output and errors on
	// standard error are JSON.
	JSON bool
	// notice says that an interrupted command still cleans up.
	notice notice
	// hangUp takes SIGHUP; nil when that interrupts.
	hangUp atomic.Pointer[func()]
}

// New speaks through the files. Machine says that a machine may read.
func New(s Streams, machine bool) *Terminal {
	t := &Terminal{Streams: s, results: &results{file: s.Out}}
	t.notice.set(t.tellStillEnding(machine))
	return t
}

// CloseResults closes standard output, and returns why not all results could be written to it.
func (t *Terminal) CloseResults() error { return t.results.close() }

// ResultWriter is standard output for results.
func (t *Terminal) ResultWriter() io.Writer { return t.results }

// Codes of faults of the command line and of standard output.
const (
	codeUsage  = "cli.usage"
	CodeOutput = "cli.output"
)

// UsageFault is an error of the command line.
func UsageFault(format string, args ...any) *fault.Fault {
	return fault.New(codeUsage, fault.Usage, format, args...)
}

// Print writes a result to standard output.
func (t *Terminal) Print(write func(io.Writer) error) error {
	out := bufio.NewWriter(t.results)
	err := write(out)
	if err == nil {
		err = out.Flush()
	}
	return err
}

// diagnosed is a list of diagnostics with errors in it, and the files they show.
type diagnosed struct {
	list   diag.List
	source diag.Source
	err    error
}

func (d *diagnosed) Error() string { return d.err.Error() }

func (d *diagnosed) Unwrap() error { return d.err }

// DiagnosticsError is the error of diagnostics, which may be about a file; nil when they have no errors.
func DiagnosticsError(list diag.List, source diag.Source) error {
	if err := list.Err(); err != nil {
		return &diagnosed{list: list, source: source, err: err}
	}
	return nil
}

// Check returns an error when the list has errors, and prints it otherwise:
// it holds warnings then.
func (t *Terminal) Check(source diag.Source, list diag.List) error {
	if err := DiagnosticsError(list, source); err != nil {
		return err
	}
	if len(list) > 0 && !t.JSON {
		if err := diag.WriteText(t.Err, list, t.TextOptions(t.Err, source)); err != nil {
			return streamFault("error", err)
		}
	}
	return nil
}

// WriteJSON writes a value for machines. What a terminal would not show as text, such as what begins a command to it,
// is an escape.
func WriteJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escaped(b.Bytes()))
	return err
}

// escaped writes characters of JSON that are not printed as escapes. But for line ends, they stand within texts alone,
// and the encoder leaves those beyond U+001F as they are.
func escaped(text []byte) []byte {
	unseen := func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }
	if !bytes.ContainsFunc(text, unseen) {
		return text
	}
	var out []byte
	for _, c := range string(text) {
		switch high, low := utf16.EncodeRune(c); {
		case !unseen(c):
			out = utf8.AppendRune(out, c)
		case high != unicode.ReplacementChar:
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return out
}
