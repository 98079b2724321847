package main

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

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/run"
)

// The values of --progress.
const (
	progressAuto  = "auto"
	progressBar   = "bar"
	progressPlain = "plain"
	progressJSON  = "json"
	progressNone  = "none"
)

var progressModes = []string{progressAuto, progressBar, progressPlain, progressJSON, progressNone}

const progressUsage = "`HOW` progress is shown on standard error: bar (a live line, on a terminal), plain (a line every 10 s), json (an event a line), none, or auto"

const (
	// barDelay keeps the bar away from short runs, whose data may be on its way to
	// the same terminal through a pipe.
	barDelay = time.Second
	// barEvery and plainEvery are the times between two showings.
	barEvery   = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

// reporter shows on standard error how a command gets on. It never writes to
// standard output. Its methods may be called from several goroutines.
type reporter struct {
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
	open  bool // the source has delivered its schema
}

// newReporter makes a reporter. With dataOnTerminal the data goes to a terminal,
// where a live line would stand in its midst.
func (a *app) newReporter(mode string, verbose, dataOnTerminal bool) (*reporter, error) {
	r := &reporter{out: a.err, verbose: verbose, color: colored(a.err), barColumn: func() int { return terminalWidth(a.err) }}
	terminal := isTerminal(a.err)
	switch {
	case !slices.Contains(progressModes, mode):
		return nil, usageFault("--progress is one of %s, not %q", strings.Join(progressModes, ", "), mode)
	case mode == progressJSON || mode == progressAuto && a.json:
		// A machine that reads events reads the error too.
		r.machine, a.json = true, true
	case mode == progressNone:
	case mode == progressAuto && dataOnTerminal:
		r.final = true
	case mode == progressPlain || !terminal:
		r.lines, r.final = true, true
	default:
		r.bar, r.final = true, true
	}
	r.json = a.json
	a.notice.set(func() { r.log(slog.LevelWarn, "", stillEnding, nil) })
	return r, nil
}

// event takes an event of a run.
func (r *reporter) event(e run.Event) {
	switch e := e.(type) {
	case run.Awaiting:
		r.awaiting(e)
	case run.Attached:
		r.attached(e)
	case run.Started:
		processes := []map[string]any{}
		for _, p := range e.Processes {
			processes = append(processes, map[string]any{"plugin": p.Plugin, "pid": p.PID, "stages": p.Stages})
		}
		r.emit("started", map[string]any{"run_id": e.RunID, "processes": processes})
	case run.Opened:
		r.mu.Lock()
		r.open = true
		r.mu.Unlock()
		columns := []map[string]any{}
		for _, c := range e.Columns {
			columns = append(columns, map[string]any{"name": c.Name, "type": c.Type, "nullable": c.Nullable, "source_type": c.SourceType})
		}
		r.emit("opened", map[string]any{"columns": columns})
	case run.Progress:
		r.emit("progress", map[string]any{"rows": e.Rows, "bytes": e.Bytes, "elapsed_seconds": e.Elapsed.Seconds()})
		r.show(e.Elapsed, func() string { return r.progressText(e) })
	case run.Log:
		r.log(slog.Level(e.Level), e.Stage, e.Message, e.Attributes)
	case run.Ended:
		r.clear()
		if e.Fault == nil {
			r.emit("ended", map[string]any{"receipt": e.Receipt})
			r.done(doneText(e.Receipt))
			for _, change := range e.Receipt.Changes {
				r.done("note: " + diag.Printable(change))
			}
		}
	}
}

func (r *reporter) progressText(p run.Progress) string {
	if !r.open && p.Rows == 0 {
		return "waiting for the source  " + clock(p.Elapsed)
	}
	perSecond := r.pace.add(p.Elapsed, p.Rows)
	text := fmt.Sprintf("%s rows  %s rows/s  ", grouped(p.Rows), grouped(perSecond))
	if p.Bytes > 0 { // a sink of rows counts none
		text += size(p.Bytes) + "  "
	}
	return text + clock(p.Elapsed)
}

func doneText(r *run.Receipt) string {
	to := r.Location
	if to == "stdout" {
		to = "standard output"
	}
	unit := "rows"
	if r.Rows == 1 {
		unit = "row"
	}
	if r.SHA256 == "" { // a sink of rows that leaves no object of its own
		return fmt.Sprintf("%s %s in %.1f s to %s", grouped(r.Rows), unit, r.Seconds, diag.Printable(to))
	}
	return fmt.Sprintf("%s %s, %s in %.1f s to %s, sha256 %.12s", grouped(r.Rows), unit, size(r.Bytes), r.Seconds, diag.Printable(to), r.SHA256)
}

// emit writes an event for machines.
func (r *reporter) emit(kind string, fields map[string]any) {
	if r.machine {
		r.write(kind, fields)
	}
}

// write writes a line of JSON.
func (r *reporter) write(kind string, fields map[string]any) {
	fields["event"] = kind
	fields["time"] = time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	r.mu.Lock()
	defer r.mu.Unlock()
	e := json.NewEncoder(r.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(fields) // nowhere is left to say that this failed
}

// show shows how far a command is, when it is time to. The text is asked for with
// the reporter locked.
func (r *reporter) show(elapsed time.Duration, text func() string) {
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
func (r *reporter) paint(text string) {
	if columns := r.barColumn(); columns > 0 && utf8.RuneCountInString(text) >= columns {
		text = string([]rune(text)[:columns-1])
	}
	fmt.Fprint(r.out, "\r\x1b[K"+text)
	r.live = true
}

// clear takes the live line away.
func (r *reporter) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
}

func (r *reporter) clearLocked() {
	if r.live {
		fmt.Fprint(r.out, "\r\x1b[K")
		r.live = false
	}
}

// done writes the last line.
func (r *reporter) done(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	if r.final {
		fmt.Fprintln(r.out, text)
	}
}

// shows reports whether a log line of that level is shown.
func (r *reporter) shows(level slog.Level) bool {
	return level >= slog.LevelWarn || r.verbose && level >= slog.LevelInfo
}

// log shows a log line above the live line.
func (r *reporter) log(level slog.Level, stage, message string, attributes map[string]string) {
	if !r.shows(level) {
		return
	}
	name := strings.ToLower(level.String())
	if r.machine {
		if attributes == nil {
			attributes = map[string]string{}
		}
		r.emit("log", map[string]any{"level": name, "stage": stage, "message": message, "attributes": attributes})
		return
	}
	var b strings.Builder
	if r.color && level >= slog.LevelWarn {
		name = bold + name + reset
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

// logger returns a logger that writes through the reporter.
func (r *reporter) logger() *slog.Logger { return slog.New(logHandler{reporter: r}) }

// logHandler is the slog.Handler of a reporter.
type logHandler struct {
	reporter *reporter
	group    string
	attrs    []slog.Attr
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return h.reporter.shows(level) }

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
