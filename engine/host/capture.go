package host

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
)

const (
	keptLines    = 20      // of a plugin's output, for the fault that names it
	maxLine      = 2 << 10 // bytes
	linesPerSec  = 200     // that reach the log; a flood is counted, not copied
	secretMinLen = 4       // shorter text would blank out ordinary words
	redacted     = "[secret]"
)

// capture keeps the last lines that a plugin process wrote and copies lines to
// the log, within limits and without the run's secrets.
type capture struct {
	plugin string
	log    *slog.Logger

	mu      sync.Mutex
	lines   []string
	secrets *strings.Replacer
	texts   []string // that secrets replaces, the longest first
	window  time.Time
	count   int
	lost    int
}

func newCapture(plugin string, log *slog.Logger) *capture {
	return &capture{plugin: plugin, log: log, secrets: strings.NewReplacer()}
}

// redact replaces these texts from now on, and their lines: what has been cut into
// lines holds no text of several.
func (c *capture) redact(secrets []string) {
	seen := map[string]bool{}
	var texts []string
	add := func(text string) {
		if len(text) >= secretMinLen && !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	for _, s := range secrets {
		for _, spelled := range spellings(s) {
			add(spelled)
		}
		for line := range strings.Lines(s) {
			for _, spelled := range spellings(strings.TrimSpace(line)) {
				add(spelled)
			}
		}
	}
	// At the same place the first one is replaced: a secret that begins with another
	// must not leave its end.
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range texts {
		pairs = append(pairs, text, redacted)
	}
	c.mu.Lock()
	c.secrets, c.texts = strings.NewReplacer(pairs...), texts
	c.mu.Unlock()
}

// spellings are a text and what it becomes inside a quoted one, in Go and in JSON.
func spellings(text string) []string {
	inGo := strconv.Quote(text)
	var b strings.Builder
	e := json.NewEncoder(&b)
	_ = e.Encode(text) // text can be encoded
	inJSON := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	e.SetEscapeHTML(false)
	_ = e.Encode(text)
	plain := strings.TrimSuffix(b.String(), "\n")
	return []string{text, inGo[1 : len(inGo)-1], inJSON[1 : len(inJSON)-1], plain[1 : len(plain)-1]}
}

// blankEnd replaces the beginning of a secret at the end of a line that was cut.
func (c *capture) blankEnd(line string) string {
	c.mu.Lock()
	texts := c.texts
	c.mu.Unlock()
	longest := 0
	for _, text := range texts {
		for n := min(len(text)-1, len(line)); n >= secretMinLen && n > longest; n-- {
			if strings.HasSuffix(line, text[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return line
	}
	return line[:len(line)-longest] + redacted
}

// clean removes secrets from a log event.
func (c *capture) clean(l *pb.Log) {
	c.mu.Lock()
	secrets := c.secrets
	c.mu.Unlock()
	l.Message = secrets.Replace(l.Message)
	for k, v := range l.Attributes {
		l.Attributes[k] = secrets.Replace(v)
	}
}

// cleanFacts removes secrets from the facts of a group.
func (c *capture) cleanFacts(facts map[string]string) {
	c.mu.Lock()
	secrets := c.secrets
	c.mu.Unlock()
	for k, v := range facts {
		facts[k] = secrets.Replace(v)
	}
}

// last returns the last lines, oldest first.
func (c *capture) last() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.lines...)
	for i := range lines {
		lines[i] = c.secrets.Replace(lines[i])
	}
	return lines
}

func (c *capture) line(stream, text string) {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\uFFFD")
	if strings.TrimSpace(text) == "" {
		return
	}
	c.mu.Lock()
	if len(c.lines) == keptLines {
		c.lines = append(c.lines[:0], c.lines[1:]...)
	}
	c.lines = append(c.lines, text)
	text = c.secrets.Replace(text)
	now := time.Now()
	lost := 0
	if now.Sub(c.window) >= time.Second {
		c.window, c.count = now, 0
		lost, c.lost = c.lost, 0
	}
	c.count++
	pass := c.count <= linesPerSec
	if !pass {
		c.lost++
	}
	c.mu.Unlock()
	if lost > 0 {
		c.log.Warn("a plugin writes too much; lines were left out", "plugin", c.plugin, "lines", lost)
	}
	if pass {
		c.log.Info(text, "plugin", c.plugin, "stream", stream)
	}
}

// stream returns a writer that cuts what it is given into lines.
func (c *capture) stream(name string) io.Writer { return &lineWriter{capture: c, name: name} }

type lineWriter struct {
	capture *capture
	name    string
	mu      sync.Mutex
	partial []byte
	skip    bool // the rest of a line that was too long
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if !w.skip {
			room := maxLine - len(w.partial)
			w.partial = append(w.partial, part[:min(room, len(part))]...)
			if len(part) > room || i >= 0 {
				line := string(w.partial)
				w.partial = w.partial[:0]
				if w.skip = len(part) > room; w.skip {
					line = w.capture.blankEnd(line)
				}
				w.capture.line(w.name, line)
			}
		}
		if i < 0 {
			break
		}
		w.skip = false
		p = p[i+1:]
	}
	return n, nil
}
