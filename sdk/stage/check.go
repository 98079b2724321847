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
	// LevelFine: it was looked at, and this is what is there.
	LevelFine Level = "fine"
)

// The codes of findings that are no faults.
const (
	CodeUnchecked = "check.unchecked"
	CodeFine      = "check.fine"
)

// CodeDropped is the code of a filter that never gives a column that it is to give.
const CodeDropped = "check.dropped_column"

// Dropped says which of the columns that a filter is to give are not in what it gives; nil
// when all are.
func Dropped(wanted, gives *arrow.Schema) error {
	if wanted == nil || gives == nil {
		return nil
	}
	for _, f := range wanted.Fields() {
		if len(gives.FieldIndices(f.Name)) == 0 {
			return fault.New(CodeDropped, fault.Usage, "the column %q is needed behind the filter, which does not give it", f.Name).
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

// Wrong reports what a run would fail with; nil reports nothing.
func (r *Report) Wrong(err error) {
	if f := fault.From(err); f != nil {
		r.Findings = append(r.Findings, Finding{LevelWrong, f})
	}
}

// Warn reports what a run would do and is rarely meant.
func (r *Report) Warn(f *fault.Fault) { r.Findings = append(r.Findings, Finding{LevelWarning, f}) }

// Unchecked says what only a run can tell, and why.
func (r *Report) Unchecked(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{LevelUnchecked, fault.New(CodeUnchecked, fault.Usage, format, args...)})
}

// Fine says what was looked at.
func (r *Report) Fine(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{LevelFine, fault.New(CodeFine, fault.Usage, format, args...)})
}

// SourceChecker is an optional ability of a source: CheckSource looks at what the source
// reads, as far as that goes without reading a row, reports all that it finds, and returns
// the schema that Open would, or nil when only a run can tell. It is called in place of
// Open; Close comes afterwards.
type SourceChecker interface {
	CheckSource(ctx context.Context, report *Report) *arrow.Schema
}

// SinkChecker is an optional ability of a sink: CheckSink looks at the place that the sink
// delivers to, and reports all that it finds. It leaves nothing there. It is called in
// place of Open; the object's media type is empty when it is not known.
type SinkChecker interface {
	CheckSink(ctx context.Context, object Object, report *Report)
}

// TableChecker is the same of a table sink. The table's schema is nil when only a run can tell.
type TableChecker interface {
	CheckTable(ctx context.Context, table Table, report *Report)
}
