package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// The values of --progress.
const (
	ProgressAuto  = "auto"
	progressBar   = "bar"
	progressPlain = "plain"
	progressJSON  = "json"
	ProgressNone  = "none"
)

// ProgressModes are all of them, for completion.
var ProgressModes = []string{ProgressAuto, progressBar, progressPlain, progressJSON, ProgressNone}

// ProgressUsage explains the flag --progress.
const ProgressUsage = "`HOW` progress is shown on standard error: bar (a live line, on a terminal), plain (a line every 10 s), json (an event a line), none, or auto"

const (
	// barDelay keeps the bar away from short runs, whose data may be on its way to
	// the same terminal through a pipe.
	barDelay = time.Second
	// barEvery and plainEvery are the times between two showings.
	barEvery   = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

// Reporter shows on standard error how a command gets on. It never writes to
// standard output. Its methods may be called from several goroutines.
type Reporter struct {
	out       *os.File
	bar       bool // a live line
	lines     bool // a line every plainEvery
	machine   bool // JSON, an event a line
	final     bool // a line at the end
	verbose   bool // log lines of level info too
	json      bool // whatever is written is JSON
	color     bool
	barColumn func() int // columns of the terminal; 0 is unknown

	mu    sync.Mutex
	live  bool          // the live line stands on the terminal
	shown time.Duration // when progress was shown last
	frame int
	pace  pace
	open  bool  // the source has delivered its schema
	rows  int64 // about how many it has; 0 is unknown
}

// NewReporter makes a reporter. With dataOnTerminal the data goes to a terminal,
// where a live line would stand in its midst.
func (t *Terminal) NewReporter(mode string, verbose, dataOnTerminal bool) (*Reporter, error) {
	r := &Reporter{out: t.Err, verbose: verbose, color: Colored(t.Err), barColumn: func() int { return terminalWidth(t.Err) }}
	terminal := IsTerminal(t.Err)
	switch {
	case !slices.Contains(ProgressModes, mode):
		return nil, UsageFault("--progress is one of %s, not %q", strings.Join(ProgressModes, ", "), mode)
	case mode == progressJSON || mode == ProgressAuto && t.JSON:
		// A machine that reads events reads the error too.
		r.machine, t.JSON = true, true
	case mode == ProgressNone:
	case mode == ProgressAuto && dataOnTerminal:
		r.final = true
	case mode == progressPlain || !terminal:
		r.lines, r.final = true, true
	default:
		r.bar, r.final = true, true
	}
	r.json = t.JSON
	t.notice.set(func() { r.log(slog.LevelWarn, "", stillEnding, nil) })
	return r, nil
}

// Event takes an event of a run.
func (r *Reporter) Event(e engine.Event) {
	switch e := e.(type) {
	case engine.Awaiting:
		r.awaiting(e)
	case engine.Attached:
		r.attached(e)
	case engine.Started:
		r.mu.Lock()
		r.open, r.rows, r.pace, r.shown = false, 0, pace{}, 0 // it may not be the first attempt
		r.mu.Unlock()
		processes := []map[string]any{}
		for _, p := range e.Processes {
			processes = append(processes, map[string]any{"plugin": p.Plugin, "pid": p.PID, "stages": p.Stages})
		}
		r.Emit("started", map[string]any{"run_id": e.RunID, "processes": processes})
	case engine.Opened:
		r.mu.Lock()
		r.open, r.rows = true, e.EstimatedRows
		r.mu.Unlock()
		columns := []map[string]any{}
		for _, c := range e.Columns {
			columns = append(columns, map[string]any{"name": c.Name, "type": c.Type, "nullable": c.Nullable, "source_type": c.SourceType})
		}
		fields := map[string]any{"columns": columns}
		if e.EstimatedRows > 0 {
			fields["estimated_rows"] = e.EstimatedRows
		}
		r.Emit("opened", fields)
	case engine.Progress:
		r.Emit("progress", map[string]any{"rows": e.Rows, "bytes": e.Bytes, "elapsed_seconds": e.Elapsed.Seconds()})
		r.Show(e.Elapsed, func() string { return r.progressText(e) })
	case engine.LogLine:
		r.log(slog.Level(e.Level), e.Stage, e.Message, e.Attributes)
	case engine.Ended:
		r.Clear()
		if e.Fault == nil {
			r.Emit("ended", map[string]any{"receipt": e.Receipt})
			r.Done(doneText(e.Receipt))
			for _, change := range e.Receipt.Changes {
				r.Done("note: " + diag.Printable(change))
			}
		}
	}
}

func (r *Reporter) progressText(p engine.Progress) string {
	if !r.open && p.Rows == 0 {
		return "waiting for the source  " + Clock(p.Elapsed)
	}
	perSecond := r.pace.add(p.Elapsed, p.Rows)
	text := Grouped(p.Rows)
	if p.Rows < r.rows { // an estimate that is passed was none
		text += " of about " + Grouped(r.rows)
	}
	text += fmt.Sprintf(" rows  %s rows/s  ", Grouped(perSecond))
	if p.Bytes > 0 { // a sink of rows counts none
		text += Bytes(p.Bytes) + "  "
	}
	return text + Clock(p.Elapsed)
}

func doneText(r *engine.Receipt) string {
	to := r.Location
	if to == "stdout" {
		to = "standard output"
	}
	unit := "rows"
	if r.Rows == 1 {
		unit = "row"
	}
	switch {
	case r.Bytes == 0 && r.SHA256 == "": // a sink of rows that leaves no object of its own
		return fmt.Sprintf("%s %s in %.1f s to %s", Grouped(r.Rows), unit, r.Seconds, diag.Printable(to))
	case r.SHA256 == "":
		return fmt.Sprintf("%s %s, %s in %.1f s to %s", Grouped(r.Rows), unit, Bytes(r.Bytes), r.Seconds, diag.Printable(to))
	}
	return fmt.Sprintf("%s %s, %s in %.1f s to %s, sha256 %.12s", Grouped(r.Rows), unit, Bytes(r.Bytes), r.Seconds, diag.Printable(to), r.SHA256)
}

// Emit writes an event for machines.
func (r *Reporter) Emit(kind string, fields map[string]any) {
	if r.machine {
		r.write(kind, fields)
	}
}

// write writes a line of JSON.
func (r *Reporter) write(kind string, fields map[string]any) {
	fields["event"] = kind
	fields["time"] = time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	r.mu.Lock()
	defer r.mu.Unlock()
	e := json.NewEncoder(r.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(fields) // nowhere is left to say that this failed
}

// Rate is how fast n grows, per second. Show's text asks for it.
func (r *Reporter) Rate(elapsed time.Duration, n int64) int64 { return r.pace.add(elapsed, n) }

// Show shows how far a command is, when it is time to. The text is asked for with
// the reporter locked.
func (r *Reporter) Show(elapsed time.Duration, text func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.bar && elapsed >= barDelay && elapsed-r.shown >= barEvery:
		r.shown = elapsed
		r.frame++
		r.paint(string(`-\|/`[r.frame%4]) + " " + text())
	case r.lines && elapsed-r.shown >= plainEvery:
		r.shown = elapsed
		fmt.Fprintln(r.out, text())
	}
}

// paint puts the live line on the terminal, cut so that it never wraps.
func (r *Reporter) paint(text string) {
	if columns := r.barColumn(); columns > 0 && utf8.RuneCountInString(text) >= columns {
		text = string([]rune(text)[:columns-1])
	}
	fmt.Fprint(r.out, "\r\x1b[K"+text)
	r.live = true
}

// Clear takes the live line away.
func (r *Reporter) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
}

func (r *Reporter) clearLocked() {
	if r.live {
		fmt.Fprint(r.out, "\r\x1b[K")
		r.live = false
	}
}

// Done writes the last line.
func (r *Reporter) Done(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	if r.final {
		fmt.Fprintln(r.out, text)
	}
}

// Shows reports whether a log line of that level is shown.
func (r *Reporter) Shows(level slog.Level) bool {
	return level >= slog.LevelWarn || r.verbose && level >= slog.LevelInfo
}

// log shows a log line above the live line.
func (r *Reporter) log(level slog.Level, stage, message string, attributes map[string]string) {
	if !r.Shows(level) {
		return
	}
	name := strings.ToLower(level.String())
	if r.machine {
		if attributes == nil {
			attributes = map[string]string{}
		}
		r.Emit("log", map[string]any{"level": name, "stage": stage, "message": message, "attributes": attributes})
		return
	}
	var b strings.Builder
	if r.color && level >= slog.LevelWarn {
		name = Bold + name + Reset
	}
	b.WriteString(name)
	if stage != "" {
		b.WriteString("[" + diag.Printable(stage) + "]")
	}
	b.WriteString(": " + diag.Printable(message))
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		value := attributes[key]
		if value == "" || strings.ContainsAny(value, " \"=") {
			value = strconv.Quote(value)
		}
		b.WriteString(" " + diag.Printable(key+"="+value))
	}
	b.WriteByte('\n')
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	fmt.Fprint(r.out, b.String())
}

// Logger returns a logger that writes through the reporter.
func (r *Reporter) Logger() *slog.Logger { return slog.New(logHandler{reporter: r}) }

// logHandler is the slog.Handler of a reporter.
type logHandler struct {
	reporter *Reporter
	group    string
	attrs    []slog.Attr
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return h.reporter.Shows(level) }

func (h logHandler) Handle(_ context.Context, record slog.Record) error {
	attributes := map[string]string{}
	for _, a := range h.attrs {
		attributes[a.Key] = a.Value.Resolve().String()
	}
	record.Attrs(func(a slog.Attr) bool {
		attributes[h.group+a.Key] = a.Value.Resolve().String()
		return true
	})
	h.reporter.log(record.Level, "", record.Message, attributes)
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.group + a.Key
		h.attrs = append(h.attrs, a)
	}
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	h.group += name + "."
	return h
}
