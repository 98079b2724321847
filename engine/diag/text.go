package diag

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Source returns the content of a file that diagnostics point into, or nil.
type Source func(file string) []byte

// TextOptions say how WriteText presents diagnostics.
type TextOptions struct {
	// Source gives the lines that are shown with a caret. Without it no lines are shown.
	Source Source
	// Color adds ANSI colours.
	Color bool
	// Width is the number of terminal columns that a source line may take before it
	// is clipped around the caret. Zero means 100; less than 40 counts as 40.
	Width int
}

// WriteText renders diagnostics for people:
//
//	appointments.yaml:7:19: error: no source is called "mysq" [plan.unknown_stage]
//	  7 |     source: {use: mysq}
//	    |                   ^~~~
//	  help: did you mean "mysql"?
//	  note: templates/data.yaml:3:5: the template's stage is here
//
// Whatever the files and messages hold, the output has no control characters
// of theirs: they are written as \u{hex}. Tabs become spaces, wide characters
// count as two columns, and a long line is clipped around the caret.
func WriteText(w io.Writer, list List, o TextOptions) error {
	if o.Width == 0 {
		o.Width = 100
	}
	out := bufio.NewWriter(w)
	r := textRenderer{w: out, TextOptions: o, lines: map[string][]string{}}
	for _, d := range list {
		r.diagnostic(d)
	}
	return out.Flush()
}

type textRenderer struct {
	TextOptions
	w     *bufio.Writer
	lines map[string][]string
}

const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	bold   = "\x1b[1m"
	reset  = "\x1b[0m"
)

func (r *textRenderer) paint(style, text string) string {
	if !r.Color {
		return text
	}
	return style + text + reset
}

func (r *textRenderer) diagnostic(d Diagnostic) {
	style := red
	if d.Severity != Error {
		style = yellow
	}
	if d.File != "" {
		fmt.Fprintf(r.w, "%s: ", r.paint(bold, Printable(d.Position.String())))
	} else if d.Parameter != "" {
		fmt.Fprintf(r.w, "%s: ", r.paint(bold, "parameter "+Printable(d.Parameter)))
	}
	fmt.Fprintf(r.w, "%s %s [%s]\n", r.paint(style, string(d.Severity)+":"), Printable(d.Message), Printable(d.Code))
	r.excerpt(d.Position, style)
	if d.Hint != "" {
		fmt.Fprintf(r.w, "  %s %s\n", r.paint(cyan, "help:"), Printable(d.Hint))
	}
	for _, rel := range d.Related {
		fmt.Fprintf(r.w, "  %s %s: %s\n", r.paint(cyan, "note:"), Printable(rel.Position.String()),
			Printable(rel.Message))
	}
}

func (r *textRenderer) excerpt(p Position, style string) {
	if r.Source == nil || p.File == "" || p.Line == 0 {
		return
	}
	lines, ok := r.lines[p.File]
	if !ok {
		lines = Lines(r.Source(p.File))
		r.lines[p.File] = lines
	}
	if p.Line > len(lines) {
		return
	}
	text, lead, span := clip(lines[p.Line-1], p.Column, p.EndColumn, max(40, r.Width))
	number := strconv.Itoa(p.Line)
	fmt.Fprintf(r.w, "  %s | %s\n", number, text)
	if p.Column > 0 {
		caret := "^" + strings.Repeat("~", span-1)
		fmt.Fprintf(r.w, "  %s | %s%s\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", lead),
			r.paint(style, caret))
	}
}

// Lines splits a file at the line breaks that YAML 1.1 knows (LF, CRLF, CR,
// NEL, LS, PS), so that line numbers agree with the parser's.
func Lines(content []byte) []string {
	text := string(content)
	starts := LineStarts(text)
	lines := make([]string, len(starts))
	for i, start := range starts {
		if i+1 == len(starts) {
			lines[i] = text[start:]
			break
		}
		line := text[start:starts[i+1]]
		_, size := utf8.DecodeLastRuneInString(line)
		lines[i] = strings.TrimSuffix(line[:len(line)-size], "\r")
	}
	return lines
}

// LineStarts are the places in bytes at which those lines begin.
func LineStarts(text string) []int {
	starts := []int{0}
	for i, c := range text {
		switch c {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				continue
			}
		case '\n', '\u0085', '\u2028', '\u2029':
		default:
			continue
		}
		starts = append(starts, i+utf8.RuneLen(c))
	}
	return starts
}

// clip renders the part of a line around a column within limit cells. It
// returns the text, the cells before the caret, and the caret's cells. A line may
// be a megabyte long, or all of code points that take no room, so that what is
// looked at is bounded in code points too.
func clip(line string, column, endColumn, limit int) (text string, lead, span int) {
	column = max(1, column)
	most := 4 * limit
	from := len(line)
	n := 0
	for i := range line {
		if n++; n == column {
			from = i
			break
		}
	}
	start, at := from, column
	for cells := 0; start > 0 && column-at < most; at-- {
		_, size := utf8.DecodeLastRuneInString(line[:start])
		_, w := cell(line[start-size:], 0)
		if cells += w; cells > limit*3/4 {
			break
		}
		start -= size
	}
	var b strings.Builder
	used := 0
	if start > 0 {
		b.WriteString("…")
		used = 1
	}
	lead = -1
	for i := start; i < len(line); at++ {
		if i == from {
			lead = used
		}
		shown, w := cell(line[i:], used)
		size := runeLen(line[i:])
		if room := limit - used; w > room || w == room && i+size < len(line) || at > column+most {
			b.WriteString("…")
			break
		}
		b.WriteString(shown)
		if i >= from && at < max(endColumn, column+1) {
			span += w
		}
		used += w
		i += size
	}
	if lead < 0 {
		lead = used
	}
	return strings.TrimRight(b.String(), " "), lead, max(1, span)
}

func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// tabStop is the distance of tab stops in excerpts.
const tabStop = 4

// cell returns how the first code point of s is shown and how many cells it
// takes when the cell before it is number at.
func cell(s string, at int) (string, int) {
	c, n := utf8.DecodeRuneInString(s)
	switch {
	case c == '\t':
		w := tabStop - at%tabStop
		return strings.Repeat(" ", w), w
	case c == utf8.RuneError && n == 1:
		text := fmt.Sprintf(`\x%02X`, s[0])
		return text, len(text)
	case c == ' ':
		return " ", 1
	case !unicode.IsPrint(c):
		text := fmt.Sprintf(`\u{%X}`, c)
		return text, len(text)
	case unicode.In(c, unicode.Mn, unicode.Me):
		return s[:n], 0
	}
	if k := width.LookupRune(c).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return s[:n], 2
	}
	return s[:n], 1
}

// longestText is how many bytes of one message are shown.
const longestText = 2000

// Printable makes text from outside safe for a terminal: one line, no control
// characters, a bounded length.
func Printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i += runeLen(text[i:]) {
		if i >= longestText {
			b.WriteString("…")
			break
		}
		shown, _ := cell(text[i:], 0)
		if text[i] == '\t' || text[i] == '\n' {
			shown = " "
		}
		b.WriteString(shown)
	}
	return b.String()
}
