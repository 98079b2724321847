package host

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	keptLines   = 20      // of a plugin's output, for the fault that names it
	maxLine     = 2 << 10 // bytes
	linesPerSec = 200     // that reach the log; a flood is counted, not copied
)

// capture keeps the last lines that a plugin process wrote and copies lines to
// the log, within limits and without the run's secrets.
type capture struct {
	plugin string
	log    *slog.Logger

	mu      sync.Mutex
	lines   []string
	secrets *Redaction
	window  time.Time
	count   int
	lost    int
}

func newCapture(plugin string, log *slog.Logger) *capture {
	return &capture{plugin: plugin, log: log}
}

// redact replaces these texts from now on.
func (c *capture) redact(secrets []string) {
	r := NewRedaction(secrets)
	c.mu.Lock()
	c.secrets = r
	c.mu.Unlock()
}

// redaction is what takes secrets out at the moment; nil takes out nothing.
func (c *capture) redaction() *Redaction {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secrets
}

// last returns the last lines, oldest first.
func (c *capture) last() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.lines...)
	for i := range lines {
		lines[i] = c.secrets.Text(lines[i])
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
	text = c.secrets.Text(text)
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
					line = w.capture.redaction().Cut(line)
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
