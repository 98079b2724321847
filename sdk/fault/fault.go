// Package fault defines the coded errors that cross CipherStream's process
// boundary whole. It owns the code, the class, the message and the details of a
// failure, and their form on the wire; it never logs, retries or decides what
// happens next.
//
// A fault is made once, where the cause is known, and wrapped with %w on its way
// up. From finds it again:
//
//	return fault.New("mysql.auth", fault.Connect, "the server refused user %q", user).
//		WithHint("check the user and the password in the connection URL")
package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// Class says what a caller can do about a fault. It decides exit codes, HTTP
// status and retries; the code says exactly what happened.
type Class string

// The classes.
const (
	// Usage: the request, the pipeline or a setting is wrong. Nothing was started.
	Usage Class = "usage"
	// Connect: a server could not be reached, or refused to let us in.
	Connect Class = "connect"
	// Source: the database reported an error or delivered something unusable.
	Source Class = "source"
	// Data: a value cannot be represented exactly under the declared policy.
	Data Class = "data"
	// Sink: the output could not be written.
	Sink Class = "sink"
	// Plugin: a plugin process broke: panic, exit, hang, garbage on a socket.
	Plugin Class = "plugin"
	// Cancelled: somebody asked for the run to end.
	Cancelled Class = "cancelled"
	// Internal: a defect of CipherStream itself.
	Internal Class = "internal"
)

// Fault is a coded failure. The zero value is not meaningful; use New.
type Fault struct {
	// Code is stable and machine-readable: lower case, dotted, the part before the
	// first dot being the component, for instance "mysql.unknown_procedure".
	Code string
	// Class groups codes by what can be done about them.
	Class Class
	// Message says what was expected, what came and where. It holds no secrets.
	Message string
	// Hint says what to do. It may be empty.
	Hint string
	// Retryable is true when the same run may succeed later unchanged.
	Retryable bool
	// Details holds further facts, such as a server's error number. No secrets.
	Details map[string]string
	// Stage names the stage that failed, once the runner or the host knows it.
	Stage string

	cause error
	row   int64 // from 1, in the batch that a stage was given; 0 is none
}

// Details of a fault about a stage's settings, with which a checker of pipelines finds the
// place in the file.
const (
	// DetailSetting is the JSON Pointer (RFC 6901) of the setting.
	DetailSetting = "setting"
	// DetailPlace is the part of its text that is meant, "FROM-TO" in characters from 0.
	DetailPlace = "place"
)

// New returns a final fault with a formatted message. A %w verb in format keeps
// its operand as the cause.
func New(code string, class Class, format string, args ...any) *Fault {
	err := fmt.Errorf(format, args...)
	return &Fault{Code: code, Class: class, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Error returns the code and the message.
func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// Unwrap returns the cause, which does not cross a process boundary.
func (f *Fault) Unwrap() error { return f.cause }

// Is reports whether target is a fault with the same code.
func (f *Fault) Is(target error) bool {
	var other *Fault
	return errors.As(target, &other) && other.Code == f.Code
}

// WithHint sets what to do about the fault.
func (f *Fault) WithHint(format string, args ...any) *Fault {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// InRow says which row of the batch that a filter or a sink was given is meant, from 0 as the stage
// counts them. The runner, which knows the batches before, adds to the message which row of
// the stream that is, from 1 as people count.
func (f *Fault) InRow(row int) *Fault {
	f.row = int64(row) + 1
	return f
}

// Row is the row that InRow was given; false when there is none.
func (f *Fault) Row() (row int64, ok bool) { return f.row - 1, f.row > 0 }

// WithRetry marks the fault as one that may go away by itself.
func (f *Fault) WithRetry() *Fault {
	f.Retryable = true
	return f
}

// WithDetail adds a fact.
func (f *Fault) WithDetail(name, value string) *Fault {
	if f.Details == nil {
		f.Details = map[string]string{}
	}
	f.Details[name] = value
	return f
}

// From returns the fault in err's chain. An error without one becomes
// "run.cancelled" when it is a context's end, and "internal" otherwise, so that
// everything that crosses a boundary is coded. From(nil) is nil.
func From(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		f = New("run.cancelled", Cancelled, "the run was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		f = New("run.timeout", Cancelled, "the run took longer than its time limit")
	default:
		return New("internal", Internal, "%w", err)
	}
	f.cause = err
	return f
}

// InStage returns a copy of err's fault that names the stage it happened in; a
// stage that is already named is kept.
func InStage(err error, stage string) *Fault {
	f := From(err)
	if f == nil || f.Stage != "" {
		return f
	}
	c := *f
	c.Details = maps.Clone(f.Details)
	c.Stage = stage
	return &c
}

// Is reports whether err's chain holds a fault of that code.
func Is(err error, code string) bool {
	var f *Fault
	return errors.As(err, &f) && f.Code == code
}
