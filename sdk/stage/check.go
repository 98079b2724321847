package stage

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Level says what a finding means for a run.
type Level string

// The levels.
const (
	// LevelWrong: a run would fail with this fault.
	LevelWrong Level = "wrong"
	// LevelWarning: a run would do what is rarely meant, or might fail.
	LevelWarning Level = "warning"
	// LevelUnchecked: only a run can tell.
	LevelUnchecked Level = "unchecked"
	// LevelFine: it was checked, and nothing is wrong. The message says what was found.
	LevelFine Level = "fine"
)

// The codes of findings that are no faults.
const (
	CodeUnchecked = "check.unchecked"
	CodeFine      = "check.fine"
)

// CodeDropped is the code of a filter whose output lacks a column that the pipeline needs behind it.
const CodeDropped = "check.dropped_column"

// Dropped returns a fault that names the columns of wanted, what the stages behind a filter need, that are missing in
// what the filter gives. It is nil when none is.
func Dropped(wanted, gives *arrow.Schema) error {
	if wanted == nil || gives == nil {
		return nil
	}
	for _, f := range wanted.Fields() {
		if len(gives.FieldIndices(f.Name)) == 0 {
			return fault.New(CodeDropped, fault.Usage,
				"the column %q is needed behind the filter, which does not give it", f.Name).
				WithHint("the pipeline's columns name it, or a filter behind: leave it in here, or take it out there")
		}
	}
	return nil
}

// Finding is something that a check has found.
type Finding struct {
	Level Level
	// Fault is what was found. Of LevelFine and LevelUnchecked it has a code and a message.
	Fault *fault.Fault
}

// Report collects what a check finds. The zero value is ready. It is for one goroutine.
type Report struct {
	Findings []Finding
}

// Wrong reports an error that would end a run. It ignores nil.
func (r *Report) Wrong(err error) {
	if f := fault.From(err); f != nil {
		r.Findings = append(r.Findings, Finding{LevelWrong, f})
	}
}

// Warn reports something that would not end a run, but is rarely meant.
func (r *Report) Warn(f *fault.Fault) { r.Findings = append(r.Findings, Finding{LevelWarning, f}) }

// Unchecked says what only a run can tell, and why.
func (r *Report) Unchecked(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{LevelUnchecked, fault.New(CodeUnchecked, fault.Usage, format, args...)})
}

// Fine reports what was checked and found to be right.
func (r *Report) Fine(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{LevelFine, fault.New(CodeFine, fault.Usage, format, args...)})
}

// SourceChecker is an optional ability of a source. CheckSource checks what can be checked without reading a row: that
// the server answers, that a table exists. It reports everything that it finds, and returns the schema that Open would
// return, or nil when only a run can tell. It is called in place of Open, and Close is called after it.
type SourceChecker interface {
	CheckSource(ctx context.Context, report *Report) *arrow.Schema
}

// SinkChecker is an optional ability of a sink. CheckSink checks the place that the sink delivers to, reports
// everything that it finds, and leaves nothing there. It is called in place of Open; the object's media type is empty
// when it is not known.
type SinkChecker interface {
	CheckSink(ctx context.Context, object Object, report *Report)
}

// TableChecker is SinkChecker for a table sink. The table's schema is nil when only a run can tell it.
type TableChecker interface {
	CheckTable(ctx context.Context, table Table, report *Report)
}
