// Package diag holds diagnostics as data: what is wrong with a pipeline, where
// exactly, and what to do about it; and renders them as text with a caret, as
// JSON, or as SARIF. It owns the form of a diagnostic and its presentation; it
// never reads a file, decides what is wrong, or ends the program.
package diag

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Severity says how bad a diagnostic is.
type Severity string

// The severities. Only an error keeps a pipeline from running.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Position is a place in a file. The zero value is no place.
type Position struct {
	// File is the path as the user wrote it, or "catalogue:NAME.yaml" for an
	// embedded file.
	File string `json:"file,omitempty"`
	// Line counts from 1. Zero means the whole file.
	Line int `json:"line,omitempty"`
	// Column counts code points from 1; EndColumn is the column after the last one.
	// EndColumn is zero when the extent is unknown.
	Column    int `json:"column,omitempty"`
	EndColumn int `json:"end_column,omitempty"`
}

// String returns file:line:column, as far as known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Related is another place that explains a diagnostic, "extends here" for instance.
type Related struct {
	Position
	Message string `json:"message"`
}

// Diagnostic is one thing that is wrong.
type Diagnostic struct {
	// Code is stable and machine-readable: "yaml.duplicate_key", or the code that a
	// pipeline's own rule declares, such as "INVALID_DATE_RANGE".
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Position
	// Parameter names the parameter whose given value is wrong; such a diagnostic
	// has no position of its own.
	Parameter string `json:"parameter,omitempty"`
	// Pointer is the JSON Pointer of what is wrong, where that is known: in the document with what it extends
	// (/spec/stages/source/with/url), or in the inputs of a run (/allow/tables/0).
	Pointer string `json:"pointer,omitempty"`
	// Message says what was expected and what came. It holds no secrets.
	Message string `json:"message"`
	// Hint says what to do. It may be empty.
	Hint string `json:"hint,omitempty"`
	// Fix is text that, put in place of the position's columns, mends the problem.
	// It is empty when no certain replacement is known.
	Fix string `json:"fix,omitempty"`
	// MissingKey is the key that, put into the mapping at the position, mends the problem.
	MissingKey string    `json:"missing_key,omitempty"`
	Related    []Related `json:"related,omitempty"`
}

// At makes an error at a position, with a formatted message.
func At(p Position, code, format string, args ...any) Diagnostic {
	return Diagnostic{Code: code, Severity: Error, Position: p, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns the diagnostic with advice.
func (d Diagnostic) WithHint(format string, args ...any) Diagnostic {
	d.Hint = fmt.Sprintf(format, args...)
	return d
}

// WithRelated returns the diagnostic with one more related place. A place
// without a file is left out.
func (d Diagnostic) WithRelated(p Position, format string, args ...any) Diagnostic {
	if p.File != "" {
		d.Related = append(slices.Clip(d.Related), Related{Position: p, Message: fmt.Sprintf(format, args...)})
	}
	return d
}

// WithSuggestion returns the diagnostic with a "did you mean" hint, and the
// replacement when there is exactly one candidate near enough. Without any,
// a short list of candidates becomes the hint.
func (d Diagnostic) WithSuggestion(found string, candidates []string) Diagnostic {
	near := Nearest(found, candidates)
	d.Hint = suggestion(near, candidates)
	if len(near) == 1 {
		d.Fix = near[0]
	}
	return d
}

// WithMissingKey returns the diagnostic with the key that is missing in the mapping at its position.
func (d Diagnostic) WithMissingKey(key string) Diagnostic {
	d.MissingKey = key
	return d
}

// WithoutFix returns the diagnostic without a replacement, for positions that
// are wider than the name that was meant.
func (d Diagnostic) WithoutFix() Diagnostic {
	d.Fix = ""
	return d
}

// AsWarning returns the diagnostic as a warning.
func (d Diagnostic) AsWarning() Diagnostic {
	d.Severity = Warning
	return d
}

// List is diagnostics in the order in which they were found.
type List []Diagnostic

// Add appends a diagnostic.
func (l *List) Add(d Diagnostic) { *l = append(*l, d) }

// HasErrors reports whether any diagnostic is an error.
func (l List) HasErrors() bool { return l.count(Error) > 0 }

func (l List) count(s Severity) int {
	n := 0
	for _, d := range l {
		if d.Severity == s {
			n++
		}
	}
	return n
}

// MaxShown is how many diagnostics Normalise keeps: a file of a megabyte can hold
// more mistakes than anybody wants to read, or a terminal to print.
const MaxShown = 200

// CodeTooMany is the code of the note that Normalise adds when it cuts a list.
const CodeTooMany = "diag.too_many"

// Normalise returns the list without repetitions, sorted by place: parameters first,
// then file by file in the order in which the files first appear. It keeps
// MaxShown diagnostics, errors before warnings, and says how many it left out.
func (l List) Normalise() List {
	order := map[string]int{}
	seen := map[string]bool{}
	var out List
	for _, d := range l {
		if _, ok := order[d.File]; !ok && d.File != "" {
			order[d.File] = len(order) + 1
		}
		key := fmt.Sprint(d.Code, "\x00", d.Position, d.Column, "\x00", d.Parameter, "\x00", d.Message)
		if !seen[key] {
			seen[key] = true
			out = append(out, d)
		}
	}
	left := max(0, len(out)-MaxShown)
	if left > 0 {
		slices.SortStableFunc(out, func(a, b Diagnostic) int { return cmp.Compare(rank(a), rank(b)) })
		out = out[:MaxShown:MaxShown]
	}
	slices.SortStableFunc(out, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
	if left > 0 {
		severity := Warning
		if out.HasErrors() {
			severity = Error
		}
		out = append(out, Diagnostic{Code: CodeTooMany, Severity: severity,
			Message: fmt.Sprintf("%d more problems are not shown", left), Hint: "mend these first"})
	}
	return out
}

func rank(d Diagnostic) int {
	if d.Severity == Error {
		return 0
	}
	return 1
}

// Problem is an error as a service gives it to who has asked.
type Problem struct {
	Code string `json:"code"`
	// Field is what is wrong: the name of a parameter, or the JSON Pointer of another place. It may be empty.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Problems are the errors of the list, without their places in files, of which who asks a service knows nothing.
func (l List) Problems() []Problem {
	var out []Problem
	for _, d := range l {
		if d.Severity == Error {
			out = append(out, Problem{Code: d.Code, Field: cmp.Or(d.Parameter, d.Pointer), Message: d.Message, Hint: d.Hint})
		}
	}
	return out
}

// CodeInvalid is the code of the fault that a Failure is.
const CodeInvalid = "pipeline.invalid"

// Failure is a list with errors in it, as an error. errors.As finds it, and also
// the usage fault "pipeline.invalid" under it.
type Failure struct {
	List  List
	fault *fault.Fault
}

// Err returns a *Failure when the list holds an error, and nil otherwise.
func (l List) Err() error {
	for _, d := range l {
		if d.Severity != Error {
			continue
		}
		where := ""
		if d.File != "" {
			where = d.Position.String() + ": "
		} else if d.Parameter != "" {
			where = "parameter " + d.Parameter + ": "
		}
		more := ""
		if n := l.count(Error) - 1; n > 0 {
			more = fmt.Sprintf(" (and %d more)", n)
		}
		f := fault.New(CodeInvalid, fault.Usage, "%s%s%s", where, d.Message, more).WithDetail("diagnostic", d.Code)
		f.Hint = d.Hint
		return &Failure{List: l, fault: f}
	}
	return nil
}

// Error returns the first error's place and message, and how many there are.
func (f *Failure) Error() string { return f.fault.Error() }

// Unwrap returns the fault.
func (f *Failure) Unwrap() error { return f.fault }
